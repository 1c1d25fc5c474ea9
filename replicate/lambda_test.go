package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// lambdaFixture is a fixture with a handler for its target.
type lambdaFixture struct {
	*fixture
	handler *Handler
	log     *bytes.Buffer
}

func newLambda(t *testing.T, f *fixture) *lambdaFixture {
	t.Helper()
	var log bytes.Buffer
	handler, err := NewHandler(t.Context(), testkit.Client(f.proxy.URL), f.target, slog.New(slog.NewJSONHandler(&log, nil)), HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return &lambdaFixture{fixture: f, handler: handler, log: &log}
}

// handle hands the event over as Lambda does, and returns the answer.
func (f *lambdaFixture) handle(ctx context.Context, event []byte) string {
	f.t.Helper()
	response, err := lambda.NewHandler(f.handler).Invoke(ctx, event)
	if err != nil {
		f.t.Fatalf("Invoke: %v", err)
	}
	return string(response)
}

const allApplied = `{"batchItemFailures":null}` // "a null batchItemFailures list" is a complete success

func failureAt(sequence string) string {
	return fmt.Sprintf(`{"batchItemFailures":[{"itemIdentifier":%q}]}`, sequence)
}

// logged returns the fields of the only line of the log.
func (f *lambdaFixture) logged() map[string]any {
	f.t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(f.log.Bytes(), &fields); err != nil {
		f.t.Fatalf("log %s: %v", f.log, err)
	}
	return fields
}

// record is one of a Lambda event.
type record map[string]any

func change(event, sequence, id string, image map[string]any) record {
	text := map[string]any{"id": map[string]string{"S": id}}
	dynamodb := map[string]any{"Keys": text, "SequenceNumber": sequence, "ApproximateCreationDateTime": 1700000000, "StreamViewType": "NEW_IMAGE"}
	if image != nil {
		image["id"] = text["id"]
		dynamodb["NewImage"] = image
	}
	return record{"eventID": "e" + sequence, "eventName": event, "eventSource": "aws:dynamodb", "dynamodb": dynamodb}
}

func modify(sequence, id, v string) record {
	return change("MODIFY", sequence, id, map[string]any{"v": map[string]string{"S": v}})
}

func eventOf(t *testing.T, records ...record) []byte {
	t.Helper()
	records = append([]record{}, records...) // none are an empty list, not null
	data, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// The event is as the service documents it, with each type, a TTL removal and a re-insertion.
func TestHandleDocumentedEvent(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	for _, id := range []string{"expired", "deleted"} {
		testkit.Put(t, f.db, f.target, testkit.Item("id", id, "v", "seeded"))
	}
	event, err := os.ReadFile("testdata/event.json")
	if err != nil {
		t.Fatal(err)
	}
	n := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	testkit.Put(t, f.db, f.source, testkit.Item(
		"id", "all", "text", "Grüße \u2028 <&>", "empty", "", "digits", n("12345678901234567890123456789012345678"), "above53", n("9007199254740993"),
		"binary", []byte{0, 1, 0xfe, 0xff}, "yes", true, "no", false, "null", &types.AttributeValueMemberNULL{Value: true},
		"ss", &types.AttributeValueMemberSS{Value: []string{"a", "b"}}, "ns", &types.AttributeValueMemberNS{Value: []string{"1", "9007199254740993"}},
		"bs", &types.AttributeValueMemberBS{Value: [][]byte{{0, 1}, {0xff}}},
		"list", []any{"x", []byte{0xff}, map[string]any{"deep": []byte{0xff}}, []any{}}, "map", &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"": &types.AttributeValueMemberM{}, "M": n("1")}},
	))
	testkit.Put(t, f.db, f.source, testkit.Item("id", "again", "w", "2"))
	if answer := f.handle(t.Context(), event); answer != allApplied {
		t.Errorf("answer is %s", answer)
	}
	f.wantSame()
	log := f.logged()
	for name, want := range map[string]any{"level": "INFO", "records": 6.0, "puts": 2.0, "deletes": 2.0, "coalesced": 2.0} {
		if log[name] != want {
			t.Errorf("log: %s is %v, want %v", name, log[name], want)
		}
	}
}

// An event is made of the engine's own records.
func TestHandleRecordsOfTheEngine(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	changeAll(f.fixture)
	streams := testkit.Streams(testkit.Engine(t))
	stream, err := streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &f.arn})
	if err != nil {
		t.Fatal(err)
	}
	iterator, err := streams.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
		StreamArn: &f.arn, ShardId: stream.StreamDescription.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	found, err := streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: iterator.ShardIterator})
	if err != nil {
		t.Fatal(err)
	}
	var records []record
	for _, r := range found.Records {
		dynamodb := map[string]any{"Keys": attributesJSON(t, r.Dynamodb.Keys), "SequenceNumber": *r.Dynamodb.SequenceNumber}
		if r.Dynamodb.NewImage != nil {
			dynamodb["NewImage"] = attributesJSON(t, r.Dynamodb.NewImage)
		}
		records = append(records, record{"eventName": r.EventName, "dynamodb": dynamodb})
	}
	for range 2 { // a replay is harmless
		if answer := f.handle(t.Context(), eventOf(t, records...)); answer != allApplied {
			t.Errorf("answer is %s", answer)
		}
		f.wantSame()
	}
}

func attributesJSON(t *testing.T, attributes map[string]streamtypes.AttributeValue) map[string]any {
	t.Helper()
	out := map[string]any{}
	for name, value := range attributes {
		out[name] = valueJSON(t, value)
	}
	return out
}

func valueJSON(t *testing.T, value streamtypes.AttributeValue) map[string]any {
	t.Helper()
	switch v := value.(type) {
	case *streamtypes.AttributeValueMemberS:
		return map[string]any{"S": v.Value}
	case *streamtypes.AttributeValueMemberN:
		return map[string]any{"N": v.Value}
	case *streamtypes.AttributeValueMemberB:
		return map[string]any{"B": v.Value}
	case *streamtypes.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}
	case *streamtypes.AttributeValueMemberNULL:
		return map[string]any{"NULL": v.Value}
	case *streamtypes.AttributeValueMemberSS:
		return map[string]any{"SS": v.Value}
	case *streamtypes.AttributeValueMemberNS:
		return map[string]any{"NS": v.Value}
	case *streamtypes.AttributeValueMemberBS:
		return map[string]any{"BS": v.Value}
	case *streamtypes.AttributeValueMemberL:
		list := make([]any, len(v.Value))
		for i, element := range v.Value {
			list[i] = valueJSON(t, element)
		}
		return map[string]any{"L": list}
	case *streamtypes.AttributeValueMemberM:
		return map[string]any{"M": attributesJSON(t, v.Value)}
	}
	t.Fatalf("value of type %T", value)
	return nil
}

// marker is in keys, values and the service's messages; it must not get into the log.
const marker = "TOP-SECRET"

func (f *lambdaFixture) wantFailure(answer, sequence string, left float64, words string) {
	f.t.Helper()
	if answer != failureAt(sequence) {
		f.t.Errorf("answer is %s, want a failure at %s", answer, sequence)
	}
	log := f.logged()
	if text, is := log["error"].(string); !is || !strings.Contains(text, words) {
		f.t.Errorf("the log's error is %v, want one with %q", log["error"], words)
	}
	if log["level"] != "ERROR" || log["from_sequence_number"] != sequence || log["records"] != left {
		f.t.Errorf("log is %v, want %v records from %s", log, left, sequence)
	}
	if strings.Contains(f.log.String(), marker) {
		f.t.Errorf("the log holds a key or a value: %s", f.log)
	}
}

func TestHandlePartialFailure(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	var records []record
	for i := range 30 {
		records = append(records, modify(fmt.Sprint(100+i), fmt.Sprint(marker, i), marker))
	}
	records = append(records, modify("200", marker+"27", "second"))
	refuseKey(f.fixture, denied, marker+"27") // and its message says so
	answer := f.handle(t.Context(), eventOf(t, records...))
	f.wantFailure(answer, "126", 5, "AccessDeniedException")
	f.wantTarget(marker+"25", marker)
	f.wantTarget(marker+"26", "")
}

func TestHandleUnreadableRecord(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		bad   record
		words string
	}{
		"no image (KEYS_ONLY)": {change("MODIFY", "2", marker, nil), "NEW_IMAGE"},
		"another key": {
			record{"eventName": "REMOVE", "dynamodb": map[string]any{"SequenceNumber": "2", "Keys": map[string]any{"other": map[string]string{"S": marker}}}}, "keys",
		},
		"unknown event": {change("MOVE", "2", marker, map[string]any{}), "MOVE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newLambda(t, newFixture(t))
			answer := f.handle(t.Context(), eventOf(t, modify("1", marker+"1", "1"), test.bad, modify("3", marker+"3", "1")))
			f.wantFailure(answer, "2", 2, test.words)
			f.wantTarget(marker+"1", "1")
			f.wantTarget(marker+"3", "")
		})
	}
}

// If an earlier record can't be written, that one is named.
func TestHandleFailureBeforeAnUnreadableRecord(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	refuseKey(f.fixture, denied, marker)
	answer := f.handle(t.Context(), eventOf(t, modify("1", marker, "1"), change("MODIFY", "2", "x", nil)))
	f.wantFailure(answer, "1", 2, "AccessDeniedException")
}

// Without a sequence number there is nothing to name, so the whole event must fail: an empty answer would be a success.
func TestHandleRecordWithoutSequenceNumber(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	if response, err := f.handler.Handle(t.Context(), eventOf(t, modify("1", "k", "1"), modify("", "j", "1"))); err == nil {
		t.Errorf("answer is %+v, want an error", response)
	}
}

// Lambda ends a function that is over its time without an answer, so the answer has to come before.
func TestHandleAnswersBeforeItsDeadline(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			return throttle()
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	answer := f.handle(ctx, eventOf(t, modify("1", "k", "1")))
	if err := ctx.Err(); err != nil {
		t.Error("the answer came too late")
	}
	f.wantFailure(answer, "1", 1, "deadline")
}

func TestBeforeDeadline(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ left, margin time.Duration }{{time.Minute, 2 * time.Second}, {4 * time.Second, time.Second}} {
		ctx, cancel := context.WithTimeout(t.Context(), test.left)
		defer cancel()
		earlier, cancel := beforeDeadline(ctx)
		defer cancel()
		deadline, _ := ctx.Deadline()
		got, is := earlier.Deadline()
		if margin := deadline.Sub(got); !is || margin > test.margin || margin < test.margin/2 {
			t.Errorf("of %s, %s are left for the answer, want %s", test.left, margin, test.margin)
		}
	}
	without, cancel := beforeDeadline(t.Context())
	defer cancel()
	if _, is := without.Deadline(); is {
		t.Error("a context without a deadline got one")
	}
}

func TestHandleEmptyEvent(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	if answer := f.handle(t.Context(), eventOf(t)); answer != allApplied {
		t.Errorf("answer is %s", answer)
	}
}

// One handler serves several events at a time.
func TestHandleConcurrently(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	handler, err := NewHandler(t.Context(), testkit.Client(f.proxy.URL), f.target, slog.New(slog.DiscardHandler), HandlerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for i := range 8 {
		event := eventOf(t, modify("1", fmt.Sprint("k", i), "1"))
		go func() {
			response, err := handler.Handle(t.Context(), event)
			if err == nil && len(response.BatchItemFailures) > 0 {
				err = fmt.Errorf("answer is %+v", response)
			}
			done <- err
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := len(testkit.ScanAll(t, f.db, f.target)); n != 8 {
		t.Errorf("%d items", n)
	}
}

// The largest batch that an event source mapping can be set to.
func TestHandleTenThousandRecords(t *testing.T) {
	t.Parallel()
	f := newLambda(t, newFixture(t))
	const count = 10_000
	records := make([]record, count)
	for i := range records {
		records[i] = modify(fmt.Sprint(i+1), fmt.Sprint("k", i%4000), fmt.Sprint(i))
	}
	if answer := f.handle(t.Context(), eventOf(t, records...)); answer != allApplied {
		t.Fatalf("answer is %s", answer)
	}
	if log := f.logged(); log["records"] != 10_000.0 || log["puts"] != 4000.0 || log["coalesced"] != 6000.0 {
		t.Errorf("log is %v", log)
	}
	f.wantTarget("k0", "8000")
	f.wantTarget("k1999", "9999")
	f.wantTarget("k3999", "7999")
	if n := len(testkit.ScanAll(t, f.db, f.target)); n != 4000 {
		t.Errorf("%d items", n)
	}
}
