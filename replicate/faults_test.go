package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/smithy-go"
)

// firstTimes answers the first n requests for an operation with the response.
func firstTimes(n int64, op string, response func() *testkit.Response) testkit.Hook {
	var seen atomic.Int64
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op == op && seen.Add(1) <= n {
			return response()
		}
		return nil
	}
}

func serverError() *testkit.Response {
	return testkit.Fail(500, "com.amazonaws.dynamodb.v20120810#InternalServerError", "try again")
}

func throttle() *testkit.Response { return testkit.Throttle("a test") }

func cut() *testkit.Response { return &testkit.Response{Cut: true} }

func tooManyReaders() *testkit.Response {
	return testkit.Fail(400, "com.amazonaws.dynamodb.v20120810#LimitExceededException", "too many readers")
}

func TestPassingFaultsAreRepeated(t *testing.T) {
	t.Parallel()
	testkit.BadAnswers(t, "GetRecords throttled as DynamoDB throttles", "exception")
	for _, test := range []struct {
		op        string
		fault     string
		answer    func() *testkit.Response
		throttled int64
	}{
		{"DescribeStream", "throttled", tooManyReaders, 2},
		{"DescribeStream", "500", serverError, 0},
		{"GetShardIterator", "throttled", tooManyReaders, 2},
		{"GetShardIterator", "cut", cut, 0},
		{"GetRecords", "throttled", throttle, 2},
		{"GetRecords", "limited", tooManyReaders, 2},
		{"GetRecords", "500", serverError, 0},
		{"GetRecords", "cut", cut, 0},
		{"BatchWriteItem", "throttled", throttle, 2},
		{"BatchWriteItem", "500", serverError, 0},
		{"BatchWriteItem", "cut", cut, 0},
	} {
		t.Run(test.op+" "+test.fault, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			changes, _, _ := changeAll(f)
			f.proxy.Use(firstTimes(2, test.op, test.answer))
			o := f.options()
			o.policy.Timeout = 2 * time.Second // a lost write may live 2.5 s then
			result := f.run(o)
			f.wantSame()
			if result.Records != changes || result.Throttled != test.throttled {
				t.Errorf("result is %+v, want %d records, throttled %d times", result, changes, test.throttled)
			}
		})
	}
}

func TestUnprocessedItemsAreRepeated(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for i := range 20 {
		f.put("id", fmt.Sprint(i), "v", "1")
	}
	f.del("3")
	var times atomic.Int64
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchWriteItem" || times.Add(1) > 2 {
			return nil
		}
		return processOne(t, x)
	})
	result := f.run(f.options())
	f.wantSame()
	if result.Throttled != 2 || times.Load() != 3 {
		t.Errorf("result is %+v after %d batches", result, times.Load())
	}
}

// processOne carries out the first write of a batch and leaves the others unprocessed.
func processOne(t *testing.T, x *testkit.Exchange) *testkit.Response {
	var request map[string]json.RawMessage
	var tables map[string][]json.RawMessage
	err := json.Unmarshal(x.Body, &request)
	if err == nil {
		err = json.Unmarshal(request["RequestItems"], &tables)
	}
	left := map[string][]json.RawMessage{}
	for table, writes := range tables {
		left[table], tables[table] = writes[1:], writes[:1]
	}
	if err == nil {
		request["RequestItems"], err = json.Marshal(tables)
	}
	if err == nil {
		x.Body, err = json.Marshal(request)
	}
	if err == nil {
		_, _, err = x.Forward()
	}
	body, marshal := json.Marshal(map[string]any{"UnprocessedItems": left})
	if err != nil || marshal != nil {
		t.Error(err, marshal)
	}
	return &testkit.Response{Body: body}
}

func TestExpiredIterator(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.limit = 2
	s.add("a", "")
	for _, v := range []string{"1", "2", "3"} {
		s.put("a", "k", v)
		s.put("a", "j", v)
	}
	reads := 0
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetRecords" {
			if reads++; reads == 1 || reads == 3 { // before anything is applied, and in the middle
				return errExpired
			}
		}
		return nil
	}
	if result := f.run(s.options()); result.Records != 6 || result.Puts != 6 {
		t.Errorf("result is %+v, want each record once", result)
	}
	f.wantSame()
	want := []string{"GetShardIterator a TRIM_HORIZON", "GetShardIterator a TRIM_HORIZON", "GetShardIterator a AFTER_SEQUENCE_NUMBER"}
	if got := s.made("GetShardIterator"); !slices.Equal(got, want) {
		t.Errorf("iterators: %v, want %v", got, want)
	}
}

func TestExpiredIteratorOfTheEngine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.put("id", "a", "v", "1")
	var reads atomic.Int64
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "GetRecords" || reads.Add(1) != 2 {
			return nil
		}
		if _, err := f.db.PutItem(x.Ctx, putInput(f.source, "b")); err != nil {
			t.Error(err)
		}
		return testkit.Fail(400, "com.amazonaws.dynamodb.v20120810#ExpiredIteratorException", "too old")
	})
	if result := f.run(f.options()); result.Records != 2 {
		t.Errorf("result is %+v", result)
	}
	f.wantSame()
}

// An iterator may expire any number of times, as on a computer that sleeps now and then.
func TestIteratorsThatExpireNowAndThen(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.limit = 1
	s.add("a", "")
	s.fill("a", 15)
	reads := 0
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetRecords" {
			if reads++; reads%2 == 1 && reads < 30 {
				return errExpired
			}
		}
		return nil
	}
	if result := f.run(s.options()); result.Records != 15 {
		t.Errorf("result is %+v", result)
	}
	f.wantSame()
}

func TestIteratorsThatAllExpire(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetRecords" {
			return errExpired
		}
		return nil
	}
	_, err := Run(limited(t), s.options())
	if errorCode(err) != "ExpiredIteratorException" {
		t.Errorf("error is %v", err)
	}
	if n := len(s.made("GetRecords")); n > 20 {
		t.Errorf("%d reads", n)
	}
}

func TestTrimmed(t *testing.T) {
	t.Parallel()
	for name, trim := range map[string]func(*fakeShard){
		"records": func(shard *fakeShard) { shard.trimmed = len(shard.records) },
		"shard":   func(shard *fakeShard) { shard.gone = true },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := newFake(f)
			s.limit = 1
			s.add("a", "")
			s.fill("a", 3)
			o := s.withCheckpoint()
			reads := 0
			s.before = func(_ context.Context, op, _ string) error {
				if op == "GetRecords" {
					if reads++; reads == 2 { // one record is applied
						s.change("a", trim)
					}
				}
				return nil
			}
			result, err := Run(limited(t), o)
			wantIs(t, err, ErrTrimmed)
			if result.Records != 1 {
				t.Errorf("result is %+v", result)
			}
			if iterators := s.made("GetShardIterator"); name == "records" && len(iterators) != 1 {
				t.Errorf("iterators: %v; another one may skip what was trimmed", iterators)
			}
			_, err = Run(limited(t), o) // this one fails when it asks for an iterator
			wantIs(t, err, ErrTrimmed)
		})
	}
}

func TestTrimmedByTheEngine(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.withCheckpoint()
	f.put("id", "a", "v", "1")
	f.run(o)
	f.proxy.Use(firstTimes(1, "GetShardIterator", func() *testkit.Response {
		return testkit.Fail(400, "com.amazonaws.dynamodb.v20120810#TrimmedDataAccessException", "too old")
	}))
	_, err := Run(limited(t), o)
	wantIs(t, err, ErrTrimmed)
}

// A first run starts with the oldest record that there is, whatever was trimmed before or meanwhile.
func TestTrimmedBeforeTheStart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("gone", "")
	s.add("trimmed", "gone")
	s.add("partly", "trimmed")
	for _, shard := range []string{"gone", "trimmed"} {
		s.record(shard, streamtypes.OperationTypeModify, "old", "x")
	}
	s.record("partly", streamtypes.OperationTypeModify, "old", "x")
	s.put("partly", "k", "1")
	s.close("gone", "trimmed")
	s.change("gone", func(shard *fakeShard) { shard.gone = true })
	s.before = func(_ context.Context, op, shard string) error {
		if op == "GetRecords" && shard != "gone" { // the iterator was had before
			s.change(shard, func(shard *fakeShard) { shard.trimmed = 1 })
		}
		return nil
	}
	f.run(s.options())
	f.wantSame()
}

// Of an open shard, not to be found is no end: it gets records that are needed.
func TestOpenShardThatIsNotFound(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.change("a", func(shard *fakeShard) { shard.gone = true })
	_, err := Run(limited(t), s.options())
	wantIs(t, err, ErrTrimmed)
}

// A shard that the service doesn't find for a moment is not gone.
func TestShardThatIsNotFoundForAMoment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.limit = 1
	s.add("a", "")
	s.fill("a", 3)
	var iterators, reads int
	s.before = func(_ context.Context, op, _ string) error {
		switch op {
		case "GetShardIterator":
			if iterators++; iterators <= 2 {
				return errGone
			}
		case "GetRecords":
			if reads++; reads == 3 {
				return errGone
			}
		}
		return nil
	}
	if result := f.run(s.options()); result.Records != 3 {
		t.Errorf("result is %+v", result)
	}
	f.wantSame()
}

// After a day of replication, a shard that is gone before it was read held changes that are needed.
func TestUnreadShardThatIsGoneLater(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	o := s.withCheckpoint()
	f.run(o)
	changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) { c.Started = time.Now().Add(-25 * time.Hour) })
	s.close("a")
	s.add("b", "a")
	s.close("b")
	s.change("b", func(shard *fakeShard) { shard.gone = true })
	_, err := Run(limited(t), o)
	wantIs(t, err, ErrTrimmed)
}

// A child goes on exactly where its drained parent ended: what was trimmed of it meanwhile is missed.
func TestChildWhoseOldestRecordsAreTrimmed(t *testing.T) {
	t.Parallel()
	for _, format := range []string{checkpointFormat1, checkpointFormat} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := newFake(f)
			s.add("a", "")
			s.put("a", "k", "1")
			s.close("a")
			o := s.withCheckpoint()
			f.run(o)
			changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) {
				c.Format = format
				position := c.Shards["a"]
				position.ReadAt = time.Now().Add(-23 * time.Hour)
				if position.AsOf = position.ReadAt; format == checkpointFormat1 {
					position.AsOf = time.Time{}
				}
				c.Shards["a"] = position
			})
			s.add("b", "a")
			s.put("b", "lost", "1")
			s.put("b", "kept", "1")
			s.change("b", func(shard *fakeShard) { shard.trimmed = 1 })
			_, err := Run(limited(t), o)
			wantIs(t, err, ErrTrimmed)
			f.wantTarget("kept", "")
		})
	}
}

// What a run was behind counts: down for less than a day, but with records next that are older.
func TestCheckpointOfALaggingRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	s.change("a", func(shard *fakeShard) {
		shard.records[0].Dynamodb.ApproximateCreationDateTime = aws.Time(time.Now().Add(-20 * time.Hour))
	})
	o := s.withCheckpoint()
	o.UntilIdle = 0
	ctx, cancel := context.WithCancel(limited(t))
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetRecords" && len(s.made("GetRecords")) == 2 { // it is applied
			cancel()
		}
		return nil
	}
	_, err := Run(ctx, o)
	wantIs(t, err, context.Canceled)
	changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) { // five hours pass
		c.Started = c.Started.Add(-5 * time.Hour)
		position := c.Shards["a"]
		position.ReadAt, position.AsOf = position.ReadAt.Add(-5*time.Hour), position.AsOf.Add(-5*time.Hour)
		c.Shards["a"] = position
	})
	wantIs(t, f.refusal(o, "reaches back too far"), ErrTrimmed)
}

// A service that doesn't take the number at which it says that a shard starts is asked for the oldest record, as long as none is so old
// that it may be trimmed.
func TestStartThatIsNotTaken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	s.close("a")
	s.add("b", "a")
	s.put("b", "k", "2")
	s.before = func(_ context.Context, op, shard string) error {
		if calls := s.made("GetShardIterator b"); op == "GetShardIterator" && shard == "b" && strings.HasSuffix(calls[len(calls)-1], " AT_SEQUENCE_NUMBER") {
			return answerOf(400, &smithy.GenericAPIError{Code: "ValidationException", Message: "no"})
		}
		return nil
	}
	f.run(s.options())
	f.wantSame()
}

func TestRecordWithoutImage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.limit = 1
	s.add("a", "")
	s.put("a", "k", "1")
	s.put("a", "j", "1")
	s.put("a", "i", "1")
	s.change("a", func(shard *fakeShard) { shard.records[1].Dynamodb.NewImage = nil })
	o := s.withCheckpoint()
	_, err := Run(limited(t), o)
	if err == nil || !strings.Contains(err.Error(), "no new image") {
		t.Errorf("error is %v", err)
	}
	if got := readCheckpoint(t, o.Checkpoint).Shards["a"].Sequence; got != *s.shards[0].records[0].Dynamodb.SequenceNumber {
		t.Errorf("the checkpoint is at %s", got)
	}
	f.wantTarget("i", "")
}
