package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	dynamodbtypes "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/aws/aws-sdk-go-v2/service/lambda/types"
)

const (
	fromARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/origin"
	toARN   = "arn:aws:dynamodb:eu-west-1:123456789012:table/copy"
)

// account has the target, and a function that reads its stream.
type account struct {
	state, writesTo string
	err             error
	lists           int
}

func (a *account) DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	return &dynamodb.DescribeTableOutput{Table: &dynamodbtypes.TableDescription{
		TableName: aws.String("copy"), TableArn: aws.String(toARN), TableStatus: dynamodbtypes.TableStatusActive, CreationDateTime: aws.Time(time.Now()),
		LatestStreamArn:      aws.String(toARN + "/stream/2026-01-01T00:00:00.000"),
		StreamSpecification:  &dynamodbtypes.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: dynamodbtypes.StreamViewTypeNewImage},
		KeySchema:            []dynamodbtypes.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: dynamodbtypes.KeyTypeHash}},
		AttributeDefinitions: []dynamodbtypes.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: dynamodbtypes.ScalarAttributeTypeS}},
	}}, nil
}

func (a *account) ListEventSourceMappings(_ context.Context, in *lambda.ListEventSourceMappingsInput, _ ...func(*lambda.Options)) (*lambda.ListEventSourceMappingsOutput, error) {
	a.lists++
	if aws.ToString(in.EventSourceArn) != toARN+"/stream/2026-01-01T00:00:00.000" {
		return nil, errors.New("another stream")
	}
	return &lambda.ListEventSourceMappingsOutput{EventSourceMappings: []types.EventSourceMappingConfiguration{
		{UUID: aws.String("mapping"), FunctionArn: aws.String("function"), State: aws.String(a.state)},
	}}, a.err
}

func (a *account) GetFunctionConfiguration(context.Context, *lambda.GetFunctionConfigurationInput, ...func(*lambda.Options)) (*lambda.GetFunctionConfigurationOutput, error) {
	return &lambda.GetFunctionConfigurationOutput{Role: aws.String("role"), Environment: &types.EnvironmentResponse{Variables: map[string]string{"RESEAL_TARGET_TABLE": a.writesTo}}}, nil
}

func (a *account) GetEventSourceMapping(context.Context, *lambda.GetEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.GetEventSourceMappingOutput, error) {
	return nil, errors.ErrUnsupported
}

func (a *account) UpdateEventSourceMapping(context.Context, *lambda.UpdateEventSourceMappingInput, ...func(*lambda.Options)) (*lambda.UpdateEventSourceMappingOutput, error) {
	return nil, errors.ErrUnsupported
}

type counting int

func (c *counting) Invoke(context.Context, []byte) ([]byte, error) {
	*c++
	return nil, nil
}

// While the other direction is on nothing is applied, and Lambda is told so. It is asked once a minute.
func TestOneDirection(t *testing.T) {
	t.Parallel()
	event := []byte(`{"Records":[{"eventSourceARN":"` + fromARN + `/stream/2026-01-01T00:00:00.000"}]}`)
	for name, c := range map[string]struct {
		account
		applies bool
	}{
		"on":            {account{state: "Enabled", writesTo: fromARN}, false},
		"ending":        {account{state: "Disabling", writesTo: "origin"}, false},
		"off":           {account{state: "Disabled", writesTo: fromARN}, true},
		"another table": {account{state: "Enabled", writesTo: "elsewhere"}, true},
		"not known":     {account{err: errors.New("denied")}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var applied counting
				o := &oneDirection{handler: &applied, api: &c.account, db: &c.account, target: toARN, log: slog.New(slog.NewJSONHandler(io.Discard, nil))}
				for range 3 {
					if _, err := o.Invoke(t.Context(), event); errors.Is(err, errBothDirections) == c.applies {
						t.Errorf("it says %v", err)
					}
				}
				if (applied == 3) != c.applies || applied%3 != 0 || c.lists != 1 {
					t.Errorf("applied %d times, asked %d times", applied, c.lists)
				}
				time.Sleep(checkInterval)
				c.state, c.err = "Disabled", nil
				if _, err := o.Invoke(t.Context(), event); err != nil || c.lists != 2 {
					t.Errorf("a minute later: %v, asked %d times", err, c.lists)
				}
			})
		})
	}
}
