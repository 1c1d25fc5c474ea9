package replicate

import (
	"context"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// memory is two tables without an engine, for tests whose time is a bubble's: "source", whose stream is a fakeStream, and "target".
type memory struct {
	// write is called before a batch is written, with how many were sent before; an error is the answer, and nothing is written then.
	write func(before int) error

	mu     sync.Mutex
	tables map[string]*types.TableDescription
	values map[string]string // of the target: v by id
	writes int
	denied bool // DescribeTable is
}

func newMemory() *memory {
	m := &memory{tables: map[string]*types.TableDescription{}, values: map[string]string{}}
	for _, name := range []string{"source", "target"} {
		m.tables[name] = &types.TableDescription{
			TableName: aws.String(name), TableArn: aws.String("arn:aws:dynamodb:eu-west-1:111122223333:table/" + name), TableId: aws.String("id of " + name),
			TableStatus: types.TableStatusActive, CreationDateTime: aws.Time(time.Unix(1700000000, 0)),
			KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
			SSEDescription:       &types.SSEDescription{Status: types.SSEStatusEnabled, SSEType: types.SSETypeKms},
			LatestStreamArn:      aws.String("arn:aws:dynamodb:eu-west-1:111122223333:table/" + name + "/stream/1"),
			StreamSpecification:  &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage},
		}
	}
	return m
}

// options replicate the stream.
func (m *memory) options(s *fakeStream) Options {
	return Options{Source: m, SourceTable: "source", Streams: s, Target: m, TargetTable: "target"}
}

// change changes a table's description.
func (m *memory) change(name string, with func(*types.TableDescription)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	changed := *m.tables[name]
	with(&changed)
	m.tables[name] = &changed
}

func (m *memory) value(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.values[id]
}

func (m *memory) DescribeTable(ctx context.Context, in *dynamodb.DescribeTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.denied {
		return nil, errDenied
	}
	return &dynamodb.DescribeTableOutput{Table: m.tables[*in.TableName]}, ctx.Err()
}

func (m *memory) BatchWriteItem(ctx context.Context, in *dynamodb.BatchWriteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
	m.mu.Lock()
	before := m.writes
	m.writes++
	m.mu.Unlock()
	if m.write != nil {
		if err := m.write(before); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, request := range in.RequestItems["target"] {
		if request.DeleteRequest != nil {
			delete(m.values, text(request.DeleteRequest.Key["id"]))
			continue
		}
		m.values[text(request.PutRequest.Item["id"])] = text(request.PutRequest.Item["v"])
	}
	return &dynamodb.BatchWriteItemOutput{UnprocessedItems: map[string][]types.WriteRequest{}}, ctx.Err()
}

func text(value types.AttributeValue) string {
	if s, is := value.(*types.AttributeValueMemberS); is {
		return s.Value
	}
	return ""
}

// modified appends a record that makes the item so.
func (s *fakeStream) modified(shard, id, v string) {
	s.record(shard, streamtypes.OperationTypeModify, id, v)
}
