package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// poisonedKeys are those among which an item is that the target's index refuses.
func poisoned(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	f.target = testkit.CreateTable(t, f.db, testkit.TableSpec{Hash: "id:S", Index: "g:N"})
	return f
}

// poisonRecords are 30 records, the one of "bad" in their midst.
func poisonRecords(t *testing.T) []Record {
	t.Helper()
	var changes []string
	for i := range 30 {
		changes = append(changes, fmt.Sprintf("k%d=1", i))
	}
	records := recordsOf(t, slices.Insert(changes, 10, "bad=1", "bad=2")...)
	for i := range records {
		records[i].Event, records[i].Stream, records[i].Made = "MODIFY", "stream", time.Unix(1700000000, 0)
		if strings.Contains(records[i].Key.ID(), "bad") {
			attrs := records[i].Image.Attributes()
			attrs["g"] = &types.AttributeValueMemberS{Value: "no number"}
			records[i].Image = item.Of(attrs)
		}
	}
	return records
}

// A poison item is the first that isn't applied: what comes before it in its batch is written, and nothing that comes after it.
func TestPoisonBlocks(t *testing.T) {
	t.Parallel()
	f := poisoned(t)
	_, err := Apply(t.Context(), f.writer(), poisonRecords(t), nil)
	var unapplied *Unapplied
	if !errors.As(err, &unapplied) || unapplied.Sequence != "s10" || !errors.Is(err, ErrPoison) || errorCode(err) != "ValidationException" {
		t.Errorf("error is %v, want one for record s10", err)
	}
	for i := range 24 { // those after it are in another batch
		want := ""
		if i < 10 {
			want = "1"
		}
		f.wantTarget(fmt.Sprint("k", i), want)
	}
	f.wantTarget("bad", "")
}

// blockedEvent is an event whose first record is a poison item's.
func blockedEvent(more ...record) []record {
	return append([]record{change("MODIFY", "0", "bad", map[string]any{"g": map[string]string{"S": "no number"}})}, more...)
}

// Each time that a blocked event comes again, only its first item is tried.
func TestBlockedEventIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	f := poisoned(t)
	records := blockedEvent()
	for i := range 999 {
		records = append(records, modify(fmt.Sprint(i+1), fmt.Sprint("k", i), strings.Repeat("x", 600)))
	}
	l := newLambda(t, f)
	event := eventOf(t, records...)
	for range 3 {
		before := f.proxy.Count("BatchWriteItem")
		if answer := l.handle(t.Context(), event); answer != failureAt("0") {
			t.Fatalf("answer is %s", answer)
		}
		if n := f.proxy.Count("BatchWriteItem") - before; n != 1 {
			t.Errorf("%d requests, want one", n)
		}
	}
	if n := len(testkit.ScanAll(t, f.db, f.target)); n != 0 {
		t.Errorf("%d items were written over the blocked one", n)
	}
}

// A blocked event that comes again in halves takes no other item back to an older value.
func TestBlockedEventInHalves(t *testing.T) {
	t.Parallel()
	f := poisoned(t)
	l := newLambda(t, f)
	var more []record
	for i := range 60 { // so many that the last ones are in another batch
		more = append(more, modify(fmt.Sprint(i+1), fmt.Sprint("x", i), "1"))
	}
	first := append(append([]record{modify("00", "a", "1")}, more...), blockedEvent(modify("71", "k", "old"), modify("72", "y", "1"), modify("73", "k", "new"))...)
	if answer := l.handle(t.Context(), eventOf(t, first...)); answer != failureAt("0") {
		t.Fatalf("answer is %s", answer)
	}
	before := f.valueInTarget("k")
	if answer := l.handle(t.Context(), eventOf(t, blockedEvent(modify("71", "k", "old"))...)); answer != failureAt("0") {
		t.Fatalf("answer is %s", answer)
	}
	f.wantTarget("k", before)
	f.wantTarget("a", "1")
	// Put right by a record that the event has, it is blocked no more.
	right := change("MODIFY", "74", "bad", map[string]any{"v": map[string]string{"S": "right"}})
	if answer := l.handle(t.Context(), eventOf(t, blockedEvent(modify("71", "k", "old"), modify("73", "k", "new"), right)...)); answer != allApplied {
		t.Fatalf("answer is %s", answer)
	}
	f.wantTarget("bad", "right")
	f.wantTarget("k", "new")
}

// A full item collection is handed on like any other item that the target refuses, and its neighbours are written.
func TestFullItemCollection(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	refuseKey(f, "com.amazonaws.dynamodb.v20120810#ItemCollectionSizeLimitExceededException", "bad")
	var changes []string
	for i := range 24 {
		changes = append(changes, fmt.Sprintf("k%d=1", i))
	}
	taken := 0
	records := recordsOf(t, append(changes, "bad=1")...)
	counts, err := Apply(t.Context(), f.writer(), records, func(context.Context, Record, error) error { taken++; return nil })
	if want := (Counts{Records: 25, Puts: 24, DeadLettered: 1}); err != nil || counts != want || taken != 1 {
		t.Errorf("counts %+v, error %v, %d taken", counts, err, taken)
	}
	if _, err := Apply(t.Context(), f.writer(), records, nil); !errors.Is(err, ErrPoison) {
		t.Errorf("in block mode: error is %v", err)
	}
}

// A table that refuses everything must not fill the queue: the Lambda's function hands on only so many in a row, whatever events they
// are in, and so does a run.
func TestRefusalsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var taken atomic.Int64
	handler, err := NewHandler(t.Context(), testkit.Client(f.proxy.URL), f.target, slog.New(slog.DiscardHandler), HandlerOptions{
		Poison: func(context.Context, Record, error) error { taken.Add(1); return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	var refuse atomic.Bool
	refuse.Store(true)
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" && refuse.Load() {
			return testkit.Fail(400, invalid, "The provided key element does not match the schema")
		}
		return nil
	})
	handle := func(from, to int) string {
		var records []record
		for i := from; i < to; i++ {
			records = append(records, modify(fmt.Sprint(i), fmt.Sprint("k", i), "1"))
		}
		response, err := handler.Handle(t.Context(), eventOf(t, records...))
		if err != nil {
			t.Fatal(err)
		}
		if len(response.BatchItemFailures) == 0 {
			return ""
		}
		return response.BatchItemFailures[0].ItemIdentifier
	}
	if at := handle(0, 60); at != "" || taken.Load() != 60 {
		t.Errorf("the first event failed at %q, %d handed on", at, taken.Load())
	}
	for range 2 {
		if at := handle(60, 200); at == "" || taken.Load() != maxRefusedInRow {
			t.Errorf("it failed at %q, %d handed on", at, taken.Load())
		}
	}
	refuse.Store(false)
	if at := handle(60, 200); at != "" || taken.Load() != maxRefusedInRow {
		t.Errorf("later it failed at %q, %d handed on", at, taken.Load())
	}
	r := &refusals{total: maxRefused}
	if err := r.count(errors.New("reason")); !errors.Is(err, ErrRefusesAll) || !isFinal(err) {
		t.Errorf("error is %v", err)
	}
}

// With somebody to take it, a poison item is no failure, and is not counted as written.
func TestPoisonIsHandedOn(t *testing.T) {
	t.Parallel()
	f := poisoned(t)
	var taken []Record
	take := func(_ context.Context, r Record, reason error) error {
		taken = append(taken, r)
		if errorCode(reason) != "ValidationException" {
			t.Errorf("reason is %v", reason)
		}
		return nil
	}
	counts, err := Apply(t.Context(), f.writer(), poisonRecords(t), take)
	if want := (Counts{Records: 32, Puts: 30, Coalesced: 1, DeadLettered: 1}); err != nil || counts != want {
		t.Errorf("counts %+v, error %v, want %+v", counts, err, want)
	}
	if len(taken) != 1 || taken[0].Sequence != "s11" || taken[0].Event != "MODIFY" {
		t.Errorf("taken: %+v", taken)
	}
	full := errors.New("queue full")
	_, err = Apply(t.Context(), f.writer(), poisonRecords(t), func(context.Context, Record, error) error { return full })
	var unapplied *Unapplied
	if !errors.As(err, &unapplied) || unapplied.Sequence != "s10" || !errors.Is(err, full) {
		t.Errorf("error is %v, want one for record s10", err)
	}
}

// queueServer is as much of SQS as takes messages.
type queueServer struct {
	mu       sync.Mutex
	messages []map[string]any // the requests
	fail     bool
}

func (q *queueServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request map[string]any
	if err == nil {
		err = json.Unmarshal(body, &request)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	switch op := r.Header.Get("X-Amz-Target"); {
	case err != nil:
		w.WriteHeader(http.StatusBadRequest)
	case op == "AmazonSQS.GetQueueUrl" && strings.HasPrefix(request["QueueName"].(string), "queue") && request["QueueOwnerAWSAccountId"] == "111122223333":
		_, _ = fmt.Fprintf(w, `{"QueueUrl":"http://%s/111122223333/%s"}`, r.Host, request["QueueName"])
	case op == "AmazonSQS.SendMessage" && !q.fail:
		q.messages = append(q.messages, request)
		_, _ = io.WriteString(w, `{"MessageId":"1"}`)
	default:
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no such queue"}`)
	}
}

// newQueue starts a server that the environment names as SQS.
func newQueue(t *testing.T) *queueServer {
	t.Helper()
	q := &queueServer{}
	server := httptest.NewServer(q)
	t.Cleanup(server.Close)
	t.Setenv("AWS_ENDPOINT_URL_SQS", server.URL)
	t.Setenv("AWS_ACCESS_KEY_ID", "test")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "test")
	t.Setenv("AWS_CONFIG_FILE", "/dev/null")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
	return q
}

const queueARN = "arn:aws:sqs:eu-west-1:111122223333:queue"

func TestDeadLetterQueue(t *testing.T) {
	q := newQueue(t)
	f := poisoned(t)
	queue, err := OpenQueue(t.Context(), table.Side{Name: "queue"}, queueARN, "target")
	if err != nil {
		t.Fatal(err)
	}
	if counts, err := Apply(t.Context(), f.writer(), poisonRecords(t), queue.Take); err != nil || counts.DeadLettered != 1 {
		t.Fatalf("%+v, %v", counts, err)
	}
	if len(q.messages) != 1 || !strings.HasSuffix(q.messages[0]["QueueUrl"].(string), "/111122223333/queue") || q.messages[0]["MessageGroupId"] != nil {
		t.Fatalf("messages: %v", q.messages)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(q.messages[0]["MessageBody"].(string)), &got); err != nil {
		t.Fatal(err)
	}
	if reason, is := got["error"].(string); !is || !strings.Contains(reason, "ValidationException") {
		t.Errorf("reason: %v", got["error"])
	}
	delete(got, "error")
	want := `{"error_code":"ValidationException","event":"MODIFY","key":{"id":{"S":"bad"}},"made":"2023-11-14T22:13:20Z","sequence_number":"s11","stream_arn":"stream","table":"target"}`
	if text, err := json.Marshal(got); err != nil || string(text) != want {
		t.Errorf("message %s, %v, want %s", text, err, want)
	}

	// A queue that takes nothing leaves the record unapplied.
	q.fail = true
	var unapplied *Unapplied
	if _, err := Apply(t.Context(), f.writer(), poisonRecords(t), queue.Take); !errors.As(err, &unapplied) || unapplied.Sequence != "s10" {
		t.Errorf("error is %v", err)
	}
}

func TestFIFOQueue(t *testing.T) {
	q := newQueue(t)
	f := poisoned(t)
	queue, err := OpenQueue(t.Context(), table.Side{Name: "queue"}, queueARN+".fifo", "target")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(t.Context(), f.writer(), poisonRecords(t), queue.Take); err != nil {
		t.Fatal(err)
	}
	if len(q.messages) != 1 || q.messages[0]["MessageGroupId"] != "reseal" || q.messages[0]["MessageDeduplicationId"] != "s11" {
		t.Errorf("messages: %v", q.messages)
	}
}

func TestQueueThatIsNone(t *testing.T) {
	newQueue(t)
	for _, arn := range []string{"", "queue", "arn:aws:sns:eu-west-1:111122223333:queue", "arn:aws:sqs::111122223333:queue", "arn:aws:sqs:eu-west-1:111122223333:other"} {
		if _, err := OpenQueue(t.Context(), table.Side{Name: "queue"}, arn, "target"); !refuse.Is(err) {
			t.Errorf("%q: %v", arn, err)
		}
	}
}

// The tailer stops at a poison item, and goes on with somebody to take it.
func TestRunWithPoison(t *testing.T) {
	t.Parallel()
	f := poisoned(t)
	testkit.Put(t, f.db, f.source, testkit.Item("id", "bad", "g", "no number", "v", "1"))
	testkit.Put(t, f.db, f.source, testkit.Item("id", "good", "g", 1, "v", "1"))
	o := f.withCheckpoint()
	if _, err := Run(limited(t), o); !errors.Is(err, ErrPoison) {
		t.Fatalf("error is %v", err)
	}
	var taken []Record
	o.Poison = func(_ context.Context, r Record, _ error) error { taken = append(taken, r); return nil }
	result := f.run(o)
	if result.DeadLettered != 1 || result.Records != 2 || len(taken) != 1 || taken[0].Stream != f.arn || taken[0].Made.IsZero() {
		t.Errorf("result %+v, taken %+v", result, taken)
	}
	f.wantTarget("good", "1")
	f.wantTarget("bad", "")
}

// A source that was put right unblocks, wherever in the stream that record is: on another page, or in a shard that came after.
func TestSourcePutRightLater(t *testing.T) {
	t.Parallel()
	for _, place := range []string{"page", "shard", "shard after that", "deleted"} {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			f := poisoned(t)
			s := newFake(f)
			s.limit = 5
			s.add("a", "")
			bad := func(shard, v string) {
				s.record(shard, streamtypes.OperationTypeModify, "bad", v)
				s.change(shard, func(shard *fakeShard) {
					shard.records[len(shard.records)-1].Dynamodb.NewImage["g"] = &streamtypes.AttributeValueMemberS{Value: "no number"}
				})
			}
			s.put("a", "before", "1")
			bad("a", "1")
			for i := range 12 {
				s.put("a", fmt.Sprint("x", i), "1")
			}
			bad("a", "2")
			o := s.withCheckpoint()
			if _, err := Run(limited(t), o); !errors.Is(err, ErrPoison) {
				t.Fatalf("error is %v", err)
			}
			f.wantTarget("before", "1")
			last := "a"
			if strings.HasPrefix(place, "shard") {
				s.close("a")
				s.add("other", "a")
				s.add("b", "a")
				last = "b"
			}
			if place == "shard after that" {
				s.put("b", "in b", "1")
				s.close("b")
				s.add("c", "b")
				last = "c"
			}
			s.put(last, "beside", "1")
			if place == "deleted" {
				s.del(last, "bad")
			} else {
				s.put(last, "bad", "right")
			}
			s.put(last, "after", "1")
			result := f.run(o)
			f.wantSame()
			if result.Records != result.Puts+result.Deletes+result.Coalesced {
				t.Errorf("result is %+v", result)
			}
		})
	}
}

// What was written ahead of its turn is left out only up to there: when the page that holds it fails behind it, what the item becomes
// after that is applied all the same.
func TestItemsPutRightOnePageAfterTheOther(t *testing.T) {
	t.Parallel()
	f := poisoned(t)
	s := newFake(f)
	s.limit = 3
	s.add("a", "")
	bad := func(id string) {
		s.record("a", streamtypes.OperationTypeModify, id, "bad")
		s.change("a", func(shard *fakeShard) {
			shard.records[len(shard.records)-1].Dynamodb.NewImage["g"] = &streamtypes.AttributeValueMemberS{Value: "no number"}
		})
	}
	bad("one")
	s.put("a", "x", "1")
	s.put("a", "y", "1")

	s.put("a", "one", "right") // the first item is right again, and then the next one is refused
	bad("two")
	s.put("a", "z", "1")

	s.put("a", "two", "right")
	s.put("a", "one", "newest")
	s.put("a", "two", "newest")
	f.run(s.options())
	f.wantSame()
}
