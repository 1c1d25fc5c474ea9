// Package retire deletes a table that nobody uses any more: when it is fenced, its stream is silent, nobody reads its stream, CloudWatch knows
// of no read and no write for a while, and a backup of it is there. [Check] lists what speaks against it, all of it; [Do] then acts.
package retire

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"reseal/internal/call"
	"reseal/internal/fence"
	"reseal/internal/stream"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
)

// API is what is asked of DynamoDB; *dynamodb.Client has it.
type API interface {
	table.DescribeAPI
	fence.API
	DescribeKinesisStreamingDestination(context.Context, *dynamodb.DescribeKinesisStreamingDestinationInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeKinesisStreamingDestinationOutput, error)
	CreateBackup(context.Context, *dynamodb.CreateBackupInput, ...func(*dynamodb.Options)) (*dynamodb.CreateBackupOutput, error)
	DescribeBackup(context.Context, *dynamodb.DescribeBackupInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeBackupOutput, error)
	UpdateTable(context.Context, *dynamodb.UpdateTableInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error)
	DeleteTable(context.Context, *dynamodb.DeleteTableInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteTableOutput, error)
}

// Options say which table, and what is asked for.
type Options struct {
	API        API
	Streams    stream.API
	CloudWatch CloudWatch
	Lambda     lambda.ListEventSourceMappingsAPIClient
	Table      table.Info // as it was described at the start

	UnusedFor time.Duration // for how long nobody may have used it; 0: that is not looked at
	Unfenced  bool          // whoever asks says that nobody can write to it
	Unprotect bool          // take the deletion protection off
	NoBackup  bool

	Tell func(string) // what is being done; may be nil
}

// Result is what was found, and done.
type Result struct {
	Source        string   `json:"source"`
	Applied       bool     `json:"applied"`
	Would         []string `json:"would"` // what is done with Applied, or would be
	BackupARN     string   `json:"backup_arn"`
	Deleted       bool     `json:"deleted"`
	Bytes         int64    `json:"bytes"` // of the table, up to six hours old
	KeepDollars   float64  `json:"keep_dollars_a_month"`
	BackupDollars float64  `json:"backup_dollars_a_month"`
}

// Prices of us-east-1, dollars a GB and month, and a provisioned unit and hour (Amazon DynamoDB pricing).
const (
	storagePrice   = 0.25
	backupPrice    = 0.10
	readUnitPrice  = 0.00013
	writeUnitPrice = 0.00065
	monthHours     = 730
)

// Costs are what the table costs while nobody uses it, and what a backup of it does, in dollars a month.
func Costs(info table.Info) (keep, backup float64) {
	gigabytes := float64(info.Bytes) / (1 << 30)
	keep = gigabytes * storagePrice
	add := func(p *types.ProvisionedThroughputDescription) {
		if p != nil {
			keep += monthHours * (float64(aws.ToInt64(p.ReadCapacityUnits))*readUnitPrice + float64(aws.ToInt64(p.WriteCapacityUnits))*writeUnitPrice)
		}
	}
	add(info.Raw.ProvisionedThroughput)
	for _, index := range info.Raw.GlobalSecondaryIndexes {
		add(index.ProvisionedThroughput)
		keep += float64(aws.ToInt64(index.IndexSizeBytes)) / (1 << 30) * storagePrice
	}
	return keep, gigabytes * backupPrice
}

// Check returns what speaks against deleting the table; nothing, if that is all right. What could not be found out speaks against it, too.
// Its only errors are the context's.
func Check(ctx context.Context, o Options) (against []string, err error) {
	if n := len(o.Table.Raw.Replicas); n > 0 {
		against = append(against, fmt.Sprintf("it is a global table with %d replicas: take them away first", n))
	}
	if aws.ToBool(o.Table.Raw.DeletionProtectionEnabled) && !o.Unprotect {
		against = append(against, "it is protected against deletion: add --disable-deletion-protection")
	}
	for _, check := range []func(context.Context, Options) ([]string, error){checkFence, checkConsumers, checkKinesis, checkStream, checkUse} {
		list, err := check(ctx, o)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			list = []string{unknown(err)}
		}
		against = append(against, list...)
	}
	return against, nil
}

// unknown is what an error of a check says, on one line.
func unknown(err error) string {
	if denial, is := call.DeniedBy(err); is {
		return denial.String() + ": " + denial.Remedy()
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

func checkFence(ctx context.Context, o Options) ([]string, error) {
	if o.Unfenced {
		return nil, nil
	}
	const otherwise = "cut over first, or give --fenced-otherwise if nobody can write to it"
	found, err := fence.NewPolicy(o.API, o.Table.ARN, "").Found(ctx)
	if errors.Is(err, fence.ErrUnknown) {
		return []string{"its endpoint knows no resource policies, by which it would be fenced: " + otherwise}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("whether it is fenced is not known: %w", call.Private(err))
	}
	for _, f := range found {
		if strings.HasPrefix(f.Sid, fence.SidFence) && f.Until.IsZero() {
			return nil, nil
		}
	}
	return []string{"it is not fenced: no statement in its resource policy refuses writes for good: " + otherwise}, nil
}

func checkConsumers(ctx context.Context, o Options) ([]string, error) {
	if o.Table.StreamARN() == "" {
		return nil, nil
	}
	var list []string
	arn := o.Table.StreamARN()
	pages := lambda.NewListEventSourceMappingsPaginator(o.Lambda, &lambda.ListEventSourceMappingsInput{EventSourceArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("which Lambdas read its stream is not known: %w", err)
		}
		for _, one := range page.EventSourceMappings {
			if aws.ToString(one.State) != "Disabled" {
				list = append(list, fmt.Sprintf("the Lambda %s reads its stream (%s): disable or delete its mapping", aws.ToString(one.FunctionArn), aws.ToString(one.State)))
			}
		}
	}
	return list, nil
}

func checkKinesis(ctx context.Context, o Options) ([]string, error) {
	out, err := o.API.DescribeKinesisStreamingDestination(ctx, &dynamodb.DescribeKinesisStreamingDestinationInput{TableName: &o.Table.Sent})
	if err != nil {
		return nil, fmt.Errorf("whether it feeds a Kinesis stream is not known: %w", call.Private(err))
	}
	var list []string
	for _, one := range out.KinesisDataStreamDestinations {
		if one.DestinationStatus != types.DestinationStatusDisabled {
			list = append(list, fmt.Sprintf("it feeds the Kinesis stream %s (%s): disable that", aws.ToString(one.StreamArn), one.DestinationStatus))
		}
	}
	return list, nil
}

// checkStream reads the stream from its oldest record on: of 24 hours, not more.
func checkStream(ctx context.Context, o Options) ([]string, error) {
	arn := o.Table.StreamARN()
	if arn == "" || o.UnusedFor <= 0 {
		return nil, nil // CloudWatch tells of writes
	}
	since := o.Table.Clock.Now().Add(-o.UnusedFor)
	var newest latest
	records, err := stream.NewRecords(ctx, stream.RecordsOptions{
		API: o.Streams, ARN: arn, Schema: o.Table.Schema, Oldest: true, Clock: o.Table.Clock,
		Told: func(_ context.Context, record stream.Record) error {
			newest.note(record.Made)
			return nil
		},
	})
	if err == nil {
		err = records.RunFor(ctx, 0)
	}
	if err != nil {
		return nil, fmt.Errorf("whether its stream is silent is not known: %w", call.Private(err))
	}
	if made := newest.time(); made.After(since) {
		return []string{fmt.Sprintf("it was written to at %s, as its stream tells: wait, or give a shorter --unused-for", made.UTC().Format(time.RFC3339))}, nil
	}
	return nil, nil
}
