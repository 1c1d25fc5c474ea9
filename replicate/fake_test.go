package replicate

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// fakeStream is a stream with shards of a test's making, since the engine's streams have a single one that never ends. What is
// put into it is put into the fixture's source table too, so that the tables can be compared in the end.
type fakeStream struct {
	f *fixture

	// before is called before a request is answered, after once its answer is made; shard is "" for DescribeStream. An error is
	// the answer then. They are set before Run and called without the lock.
	before func(ctx context.Context, op, shard string) error
	after  func(ctx context.Context, op, shard string)
	page   int // shards in one answer; 0: 100, as AWS has it
	limit  int // records in one answer; 0: 1000

	mu       sync.Mutex
	shards   []*fakeShard
	disabled bool
	sequence int
	calls    []string // such as "GetRecords a" and "GetShardIterator a LATEST"
}

type fakeShard struct {
	id, parent string
	records    []streamtypes.Record
	trimmed    int  // so many of the oldest are gone
	closed     bool // gets no more
	hidden     bool // from DescribeStream
	gone       bool // the service doesn't know it any more, though it may list it
}

func newFake(f *fixture) *fakeStream { return &fakeStream{f: f} }

func (s *fakeStream) options() Options {
	o := s.f.options()
	o.Streams = s
	return o
}

func (s *fakeStream) withCheckpoint() Options {
	o := s.f.withCheckpoint()
	o.Streams = s
	return o
}

// add makes an open shard.
func (s *fakeStream) add(id, parent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shards = append(s.shards, &fakeShard{id: id, parent: parent})
}

// change changes a shard.
func (s *fakeStream) change(id string, with func(*fakeShard)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	with(s.find(id))
}

func (s *fakeStream) close(ids ...string) {
	for _, id := range ids {
		s.change(id, func(shard *fakeShard) { shard.closed = true })
	}
}

func (s *fakeStream) disable() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.disabled = true
}

func (s *fakeStream) find(id string) *fakeShard {
	i := slices.IndexFunc(s.shards, func(shard *fakeShard) bool { return shard.id == id })
	if i < 0 {
		return nil
	}
	return s.shards[i]
}

// put writes an item with the attribute v, and its record into a shard.
func (s *fakeStream) put(shard, id, v string) {
	s.f.t.Helper()
	s.f.put("id", id, "v", v)
	s.record(shard, streamtypes.OperationTypeModify, id, v)
}

// del deletes an item.
func (s *fakeStream) del(shard, id string) {
	s.f.t.Helper()
	s.f.del(id)
	s.record(shard, streamtypes.OperationTypeRemove, id, "")
}

// record appends a record only.
func (s *fakeStream) record(shard string, event streamtypes.OperationType, id, v string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sequence++
	keys := map[string]streamtypes.AttributeValue{"id": &streamtypes.AttributeValueMemberS{Value: id}}
	change := &streamtypes.StreamRecord{
		Keys: keys, SequenceNumber: aws.String(fmt.Sprintf("%021d", s.sequence)), ApproximateCreationDateTime: aws.Time(time.Now()),
	}
	if event != streamtypes.OperationTypeRemove {
		change.NewImage = map[string]streamtypes.AttributeValue{"id": keys["id"], "v": &streamtypes.AttributeValueMemberS{Value: v}}
	}
	to := s.find(shard)
	to.records = append(to.records, streamtypes.Record{EventID: aws.String("e" + strconv.Itoa(s.sequence)), EventName: event, Dynamodb: change})
}

// fill puts n items of their own into a shard.
func (s *fakeStream) fill(shard string, n int) {
	s.f.t.Helper()
	var items []map[string]types.AttributeValue
	for i := range n {
		id := fmt.Sprintf("%s-%d", shard, i)
		items = append(items, testkit.Item("id", id, "v", shard))
		s.record(shard, streamtypes.OperationTypeInsert, id, shard)
	}
	testkit.Fill(s.f.t, s.f.db, s.f.source, items)
}

// made returns the requests made so far that begin with the prefix.
func (s *fakeStream) made(prefix string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []string
	for _, call := range s.calls {
		if strings.HasPrefix(call, prefix) {
			list = append(list, call)
		}
	}
	return list
}

// listings is how often the shards were listed, or begun to be.
func (s *fakeStream) listings() int { return len(s.made("DescribeStream")) }

func (s *fakeStream) enter(ctx context.Context, op, shard, detail string) error {
	s.mu.Lock()
	s.calls = append(s.calls, strings.TrimSpace(op+" "+shard+" "+detail))
	s.mu.Unlock()
	if s.before != nil {
		if err := s.before(ctx, op, shard); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (s *fakeStream) leave(ctx context.Context, op, shard string) {
	if s.after != nil {
		s.after(ctx, op, shard)
	}
}

// answerOf makes an error look as the SDK returns it.
func answerOf(status int, err error) error {
	return &smithy.OperationError{ServiceID: "DynamoDB Streams", OperationName: "Test", Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}}, Err: err,
	}}
}

var (
	errExpired = answerOf(400, &streamtypes.ExpiredIteratorException{})
	errTrimmed = answerOf(400, &streamtypes.TrimmedDataAccessException{})
	errGone    = answerOf(400, &streamtypes.ResourceNotFoundException{})
	errLimit   = answerOf(400, &streamtypes.LimitExceededException{})
	errServer  = answerOf(500, &streamtypes.InternalServerError{})
	errDenied  = answerOf(400, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "no"})
)

func (s *fakeStream) DescribeStream(ctx context.Context, in *dynamodbstreams.DescribeStreamInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.DescribeStreamOutput, error) {
	op := "DescribeStream"
	if in.ExclusiveStartShardId != nil {
		op = "Page"
	}
	if err := s.enter(ctx, op, "", aws.ToString(in.ExclusiveStartShardId)); err != nil {
		return nil, err
	}
	answer := s.describe(in)
	s.leave(ctx, op, "")
	return &dynamodbstreams.DescribeStreamOutput{StreamDescription: answer}, nil
}

func (s *fakeStream) describe(in *dynamodbstreams.DescribeStreamInput) *streamtypes.StreamDescription {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &streamtypes.StreamDescription{StreamArn: in.StreamArn, StreamStatus: streamtypes.StreamStatusEnabled}
	if s.disabled {
		answer.StreamStatus = streamtypes.StreamStatusDisabled
	}
	most := s.page
	if most == 0 {
		most = 100
	}
	from := 0
	if in.ExclusiveStartShardId != nil {
		from = 1 + slices.IndexFunc(s.shards, func(shard *fakeShard) bool { return shard.id == *in.ExclusiveStartShardId })
	}
	for i := from; i < len(s.shards); i++ {
		if i-from == most {
			answer.LastEvaluatedShardId = &s.shards[i-1].id
			break
		}
		if shard := s.shards[i]; !shard.hidden {
			answer.Shards = append(answer.Shards, shard.describe())
		}
	}
	return answer
}

func (shard *fakeShard) describe() streamtypes.Shard {
	sequences := &streamtypes.SequenceNumberRange{StartingSequenceNumber: aws.String(fmt.Sprintf("%021d", 0))}
	if shard.closed {
		sequences.EndingSequenceNumber = aws.String("9")
	}
	out := streamtypes.Shard{ShardId: &shard.id, SequenceNumberRange: sequences}
	if shard.parent != "" {
		out.ParentShardId = &shard.parent
	}
	return out
}

func (s *fakeStream) GetShardIterator(ctx context.Context, in *dynamodbstreams.GetShardIteratorInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetShardIteratorOutput, error) {
	if err := s.enter(ctx, "GetShardIterator", *in.ShardId, string(in.ShardIteratorType)); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	shard := s.find(*in.ShardId)
	if shard == nil || shard.gone {
		return nil, errGone
	}
	at := shard.trimmed
	switch in.ShardIteratorType {
	case streamtypes.ShardIteratorTypeTrimHorizon:
	case streamtypes.ShardIteratorTypeLatest:
		at = len(shard.records)
	case streamtypes.ShardIteratorTypeAtSequenceNumber: // the number at which the shard starts is less than that of its first record
		at = slices.IndexFunc(shard.records, func(r streamtypes.Record) bool { return *r.Dynamodb.SequenceNumber >= *in.SequenceNumber })
		if at < 0 {
			at = len(shard.records)
		}
		if at < shard.trimmed {
			return nil, errTrimmed
		}
	case streamtypes.ShardIteratorTypeAfterSequenceNumber:
		at = 1 + slices.IndexFunc(shard.records, func(r streamtypes.Record) bool { return *r.Dynamodb.SequenceNumber == *in.SequenceNumber })
		if at <= shard.trimmed {
			return nil, errTrimmed
		}
	default:
		return nil, errors.New("fake: no such iterator")
	}
	return &dynamodbstreams.GetShardIteratorOutput{ShardIterator: aws.String(fmt.Sprintf("%s|%d", shard.id, at))}, nil
}

func (s *fakeStream) GetRecords(ctx context.Context, in *dynamodbstreams.GetRecordsInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetRecordsOutput, error) {
	id, position, _ := strings.Cut(*in.ShardIterator, "|")
	if err := s.enter(ctx, "GetRecords", id, ""); err != nil {
		return nil, err
	}
	answer, err := s.read(id, position)
	s.leave(ctx, "GetRecords", id)
	return answer, err
}

func (s *fakeStream) read(id, position string) (*dynamodbstreams.GetRecordsOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, err := strconv.Atoi(position)
	if err != nil {
		return nil, err
	}
	shard := s.find(id)
	switch {
	case shard.gone:
		return nil, errGone
	case at < shard.trimmed:
		return nil, errTrimmed
	}
	most := s.limit
	if most == 0 {
		most = 1000
	}
	to := min(len(shard.records), at+most)
	out := &dynamodbstreams.GetRecordsOutput{Records: slices.Clone(shard.records[at:to])}
	if !shard.closed || to < len(shard.records) {
		out.NextShardIterator = aws.String(fmt.Sprintf("%s|%d", id, to))
	}
	return out, nil
}

// putInput writes an item with v "1", from any goroutine.
func putInput(table, id string) *dynamodb.PutItemInput {
	return &dynamodb.PutItemInput{TableName: &table, Item: testkit.Item("id", id, "v", "1")}
}
