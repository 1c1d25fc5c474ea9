package fence

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/smithy-go"

	"reseal/internal/item"
	"reseal/internal/table"
	"reseal/internal/test/testkit"
)

// A probe writes nothing, whatever the keys are: neither an item, nor a record.
func TestProbeWritesNothing(t *testing.T) {
	t.Parallel()
	db := testkit.Client(testkit.Engine(t))
	for _, spec := range []testkit.TableSpec{{Hash: "id:S"}, {Hash: "n:N"}, {Hash: "b:B", Range: "r:N"}, {Hash: "key:S", Range: "b:B"}} {
		name := testkit.CreateTable(t, db, spec)
		stream := testkit.EnableStream(t, db, name, types.StreamViewTypeNewAndOldImages)
		info, err := table.Describe(t.Context(), db, "source", name)
		if err != nil {
			t.Fatal(err)
		}
		for range 20 {
			denied, err := Probe{API: db, Table: name, Schema: info.Schema}.Denied(t.Context())
			if denied || err != nil {
				t.Errorf("%v: denied %t (%v)", spec, denied, err)
			}
		}
		if n := len(testkit.ScanAll(t, db, name)); n > 0 {
			t.Errorf("%v: %d items", spec, n)
		}
		if n := records(t, stream); n > 0 {
			t.Errorf("%v: %d records", spec, n)
		}
	}
}

// records is how many there are in a stream that was enabled just now.
func records(t *testing.T, stream string) (n int) {
	t.Helper()
	streams := testkit.Streams(testkit.Engine(t))
	described, err := streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &stream})
	if err != nil {
		t.Fatal(err)
	}
	for _, shard := range described.StreamDescription.Shards {
		iterator, err := streams.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
			StreamArn: &stream, ShardId: shard.ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			t.Fatal(err)
		}
		found, err := streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: iterator.ShardIterator})
		if err != nil {
			t.Fatal(err)
		}
		n += len(found.Records)
	}
	return n
}

var keySchema = item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}}

// answers has a probe be answered as a function says.
type answers func(since time.Duration) error

type probed struct {
	start  time.Time
	answer answers
}

func (p *probed) UpdateItem(context.Context, *dynamodb.UpdateItemInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	return &dynamodb.UpdateItemOutput{}, p.answer(time.Since(p.start))
}

var (
	errDenied   = &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "with an explicit deny in a resource-based policy"}
	errAdmitted = &types.ConditionalCheckFailedException{}
	errBusy     = &smithy.GenericAPIError{Code: "ThrottlingException"}
	errKey      = &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "KMS key access denied error: x"}
)

// Only denials without a break prove the fence: neither one that comes and goes, nor errors, nor a key that may not be used.
func TestProve(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer answers
		least  time.Duration // 0: never
	}{
		"at once": {func(time.Duration) error { return errDenied }, 3 * time.Second},
		"after a while": {func(at time.Duration) error {
			return map[bool]error{true: errAdmitted, false: errDenied}[at < 2*time.Second]
		}, 5 * time.Second},
		"coming and going": {func(at time.Duration) error {
			if at > 4*time.Second || at > time.Second && at < 3900*time.Millisecond {
				return errDenied
			}
			return errAdmitted
		}, 7 * time.Second},
		"with a gap": {func(at time.Duration) error {
			if at > time.Second && at < 2500*time.Millisecond {
				return errBusy
			}
			return errDenied
		}, 5500 * time.Millisecond},
		"with an error now and then": {func(at time.Duration) error {
			if at.Milliseconds()/100%5 == 0 {
				return errBusy
			}
			return errDenied
		}, 3 * time.Second},
		"errors only":        {func(time.Duration) error { return errBusy }, 0},
		"the key's trouble":  {func(time.Duration) error { return errKey }, 0},
		"an item of the key": {func(time.Duration) error { return nil }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				start := time.Now()
				_, err := Probe{API: &probed{start, c.answer}, Table: "t", Schema: keySchema}.Prove(ctx, 3*time.Second)
				took := time.Since(start)
				if (err == nil) != (c.least > 0) || err == nil && (took < c.least || took > c.least+500*time.Millisecond) {
					t.Errorf("proven after %s, want %s (%v)", took, c.least, err)
				}
			})
		})
	}
}
