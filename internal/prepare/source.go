// Package prepare makes the first things that a move needs out of the live source table: a CloudFormation template with the
// encrypted target and its replicator (Template), or the target itself (Apply).
package prepare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"reseal/internal/call"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// ReadAPI is what Read asks of a table's client; *dynamodb.Client has it.
type ReadAPI interface {
	table.DescribeAPI
	DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
	DescribeContinuousBackups(context.Context, *dynamodb.DescribeContinuousBackupsInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeContinuousBackupsOutput, error)
	ListTagsOfResource(context.Context, *dynamodb.ListTagsOfResourceInput, ...func(*dynamodb.Options)) (*dynamodb.ListTagsOfResourceOutput, error)
}

// Setting is a part of a table's configuration that has a call of its own, which an engine may not know and a caller may not make.
type Setting[T any] struct {
	Value   T
	Unknown string // why the value could not be read, on one line; "": it was
}

// Recovery is a table's point-in-time recovery.
type Recovery struct {
	On   bool
	Days int32 // how far back it reaches; 0: not told
}

// Table is a table with all of its configuration that prepare repeats.
type Table struct {
	table.Info
	TimeToLive Setting[string] // the attribute; "": off
	Recovery   Setting[Recovery]
	Tags       Setting[[]types.Tag] // without those of AWS, sorted by key
	Scaling    Setting[[]Scalable]  // of the table and its indexes; none on demand
	Deleting   []string             // global secondary indexes that are being deleted; they are not in Raw
}

// patience is how long the calls beyond DescribeTable may take, the SDK's retries included.
const patience = 30 * time.Second

// Read describes a table. side is "source" or "target", for messages; a nil scaling is asked nothing, and autoscaling then is not
// known. A setting that can't be read is no error. The errors are *refuse.Error, but for the context's own.
func Read(ctx context.Context, api ReadAPI, scaling ScalingAPI, side, name string) (Table, error) {
	info, err := table.Describe(ctx, api, side, name)
	if err != nil {
		return Table{}, err
	}
	t := Table{Info: info}
	if err := t.CheckState(); err != nil {
		return Table{}, err
	}
	t.leaveOutDeleting()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t.TimeToLive = asked(timeToLive(limited, api, name))
	t.Recovery = asked(recovery(limited, api, name))
	t.Tags = asked(tags(limited, api, info.ARN))
	switch {
	case !t.isProvisioned():
	case scaling == nil:
		t.Scaling.Unknown = notAsked
	default:
		t.Scaling = asked(readScaling(limited, scaling, t.Info))
	}
	if err := ctx.Err(); err != nil {
		return Table{}, fmt.Errorf("read table configuration: %w", err)
	}
	return t, nil
}

// notAsked is why autoscaling is not known where nobody was asked.
const notAsked = "not asked"

// whyNoScaling says why nobody was asked for the table's autoscaling.
func (t *Table) whyNoScaling(why string) {
	if why != "" && t.Scaling.Unknown == notAsked {
		t.Scaling.Unknown = why
	}
}

// asked makes a setting of an answer.
func asked[T any](value T, err error) Setting[T] {
	if err != nil {
		return Setting[T]{Unknown: call.Message(err)}
	}
	return Setting[T]{Value: value}
}

func timeToLive(ctx context.Context, api ReadAPI, name string) (string, error) {
	out, err := api.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &name})
	if err != nil {
		return "", err
	}
	d := out.TimeToLiveDescription
	if d == nil {
		return "", errNoAnswer
	}
	switch d.TimeToLiveStatus {
	case types.TimeToLiveStatusEnabled, types.TimeToLiveStatusEnabling:
		return aws.ToString(d.AttributeName), nil
	case types.TimeToLiveStatusDisabled, types.TimeToLiveStatusDisabling:
		return "", nil
	}
	return "", errNoAnswer
}

// errNoAnswer is for an answer that has nothing in it, or a state of a later API: nothing that could be repeated.
var errNoAnswer = errors.New("the answer doesn't tell")

func recovery(ctx context.Context, api ReadAPI, name string) (Recovery, error) {
	out, err := api.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &name})
	if err != nil {
		return Recovery{}, err
	}
	if out.ContinuousBackupsDescription == nil || out.ContinuousBackupsDescription.PointInTimeRecoveryDescription == nil {
		return Recovery{}, errNoAnswer
	}
	d := out.ContinuousBackupsDescription.PointInTimeRecoveryDescription
	switch d.PointInTimeRecoveryStatus {
	case types.PointInTimeRecoveryStatusEnabled:
		return Recovery{On: true, Days: aws.ToInt32(d.RecoveryPeriodInDays)}, nil
	case types.PointInTimeRecoveryStatusDisabled:
		return Recovery{}, nil
	}
	return Recovery{}, errNoAnswer
}

// tags leaves out those of AWS (aws:cloudformation:stack-name and the like): nobody else can set them.
func tags(ctx context.Context, api ReadAPI, arn string) ([]types.Tag, error) {
	var list []types.Tag
	in := &dynamodb.ListTagsOfResourceInput{ResourceArn: &arn}
	for {
		out, err := api.ListTagsOfResource(ctx, in)
		if err != nil {
			return nil, err
		}
		for _, tag := range out.Tags {
			if !strings.HasPrefix(aws.ToString(tag.Key), "aws:") {
				list = append(list, tag)
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			break
		}
	}
	slices.SortFunc(list, func(a, b types.Tag) int { return strings.Compare(aws.ToString(a.Key), aws.ToString(b.Key)) })
	return list, nil
}

// isProvisioned tells a table with provisioned capacity from one on demand. One that has always been provisioned has no summary.
func (t Table) isProvisioned() bool {
	if s := t.Raw.BillingModeSummary; s != nil && s.BillingMode != "" {
		return s.BillingMode == types.BillingModeProvisioned
	}
	p := t.Raw.ProvisionedThroughput
	return p != nil && aws.ToInt64(p.ReadCapacityUnits) > 0
}

// leaveOutDeleting takes the global secondary indexes out of the description that are being deleted, and the definitions of attributes
// that no key has then: CreateTable refuses those.
func (t *Table) leaveOutDeleting() {
	td := *t.Raw // the description belongs to whoever made it
	td.GlobalSecondaryIndexes = nil
	for _, index := range t.Raw.GlobalSecondaryIndexes {
		if index.IndexStatus == types.IndexStatusDeleting {
			t.Deleting = append(t.Deleting, aws.ToString(index.IndexName))
		} else {
			td.GlobalSecondaryIndexes = append(td.GlobalSecondaryIndexes, index)
		}
	}
	if t.Deleting == nil {
		return
	}
	used := map[string]bool{}
	note := func(keys []types.KeySchemaElement) {
		for _, key := range keys {
			used[aws.ToString(key.AttributeName)] = true
		}
	}
	note(td.KeySchema)
	for _, index := range td.LocalSecondaryIndexes {
		note(index.KeySchema)
	}
	for _, index := range td.GlobalSecondaryIndexes {
		note(index.KeySchema)
	}
	td.AttributeDefinitions = slices.DeleteFunc(slices.Clone(td.AttributeDefinitions), func(d types.AttributeDefinition) bool {
		return !used[aws.ToString(d.AttributeName)]
	})
	t.Raw = &td
}

// unfinishedIndexes are those that don't serve queries yet, each with its state. A table is ACTIVE while its indexes are made.
func (t Table) unfinishedIndexes() []string {
	var list []string
	for _, index := range t.Raw.GlobalSecondaryIndexes {
		state := string(index.IndexStatus)
		if aws.ToBool(index.Backfilling) {
			state += ", backfilling"
		}
		if state != "" && state != string(types.IndexStatusActive) {
			list = append(list, aws.ToString(index.IndexName)+" is "+state)
		}
	}
	return list
}

// hasNewImages tells whether the stream is on and has what a replicator needs.
func (t Table) hasNewImages() bool {
	view := t.StreamView()
	return view == types.StreamViewTypeNewImage || view == types.StreamViewTypeNewAndOldImages
}

// class is the table's class; a table that was always standard has none.
func (t Table) class() types.TableClass {
	if s := t.Raw.TableClassSummary; s != nil && s.TableClass != "" {
		return s.TableClass
	}
	return types.TableClassStandard
}

// Unchecked names the settings that could not be read, each with the reason.
func (t Table) Unchecked() []string {
	var list []string
	for _, one := range []struct{ what, why string }{
		{"time to live", t.TimeToLive.Unknown},
		{"point-in-time recovery", t.Recovery.Unknown},
		{"tags", t.Tags.Unknown},
		{"autoscaling", t.Scaling.Unknown},
	} {
		if one.why != "" {
			list = append(list, one.what+" ("+one.why+")")
		}
	}
	return list
}
