package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"reseal/internal/batch"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	denied  = "com.amazon.coral.service#AccessDeniedException"
	invalid = "com.amazon.coral.validate#ValidationException" // of an item
)

// refuseKey makes the engine refuse every batch that holds the key, in words that quote it.
func refuseKey(f *fixture, code, id string) {
	quoted, err := json.Marshal(id)
	if err != nil {
		f.t.Fatal(err)
	}
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" && strings.Contains(string(x.Body), `"id":{"S":`+string(quoted)+`}`) {
			return testkit.Fail(400, code, "The item with the key "+id+" is not valid")
		}
		return nil
	})
}

var idSchema = item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}}

func (f *fixture) writer() *batch.Writer {
	return &batch.Writer{API: testkit.Client(f.proxy.URL), Table: f.target, Schema: idSchema, Limiter: capacity.NewLimiter(0)}
}

// recordsOf makes records out of "id=v", a put, and "id", a delete. Their sequence numbers are "s0" and so on.
func recordsOf(t *testing.T, changes ...string) []Record {
	t.Helper()
	var records []Record
	for i, change := range changes {
		id, v, isPut := strings.Cut(change, "=")
		key, err := idSchema.KeyOf(item.Of(testkit.Item("id", id)))
		if err != nil {
			t.Fatal(err)
		}
		record := Record{Key: key, Sequence: fmt.Sprint("s", i)}
		if isPut {
			record.Image = item.Of(testkit.Item("id", id, "v", v))
		}
		records = append(records, record)
	}
	return records
}

func TestApplyCounts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	counts, err := Apply(t.Context(), f.writer(), recordsOf(t, "a=1", "b=1", "a", "a=2", "c=1", "b=2", "c"), nil)
	if want := (Counts{Records: 7, Puts: 2, Deletes: 1, Coalesced: 4}); err != nil || counts != want {
		t.Errorf("counts are %+v, %v, want %+v", counts, err, want)
	}
	f.wantTarget("a", "2")
	f.wantTarget("b", "2")
	f.wantTarget("c", "")
	if counts, err := Apply(t.Context(), f.writer(), nil, nil); err != nil || counts != (Counts{}) {
		t.Errorf("without records: %+v, %v", counts, err)
	}
}

// A failure is that of the first record whose key was not written, even if a later one of the same key was to be written.
func TestApplyTellsTheFirstRecordNotApplied(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	changes := []string{"x0=1", "bad=1"}
	for i := range 60 { // keys take their place in a batch when they are first seen
		changes = append(changes, fmt.Sprintf("k%d=1", i))
	}
	changes = append(changes, "bad=2", "x0=2", "k59=2")
	records := recordsOf(t, changes...)
	refuseKey(f, denied, "bad")
	_, err := Apply(t.Context(), f.writer(), records, nil)
	var unapplied *Unapplied
	if !errors.As(err, &unapplied) || unapplied.Index != 0 || unapplied.Sequence != "s0" || errorCode(err) != "AccessDeniedException" {
		t.Fatalf("error is %#v (%v), want one for record s0, which is in the batch of the bad key", unapplied, err)
	}
	f.wantTarget("x0", "")
	f.wantTarget("k22", "")

	// When they come again from there, nothing is written as long as the first one fails.
	before := f.proxy.Count("BatchWriteItem")
	if _, err := (applier{writer: f.writer(), again: true}).apply(t.Context(), records[1:]); !errors.As(err, &unapplied) || unapplied.Index != 0 {
		t.Fatalf("error is %v", err)
	}
	if n := f.proxy.Count("BatchWriteItem") - before; n != 1 {
		t.Errorf("%d requests", n)
	}

	f.proxy.Use(nil)
	if _, err := Apply(t.Context(), f.writer(), records, nil); err != nil { // all of it again
		t.Fatal(err)
	}
	f.wantTarget("bad", "2")
	f.wantTarget("x0", "2")
	f.wantTarget("k59", "2")
	if items := testkit.ScanAll(t, f.db, f.target); len(items) != 62 {
		t.Errorf("the target has %d items, want 62", len(items))
	}
}

func TestApplyTellsTheLowestOfSeveralFailures(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var changes []string
	for i := range 100 {
		changes = append(changes, fmt.Sprintf("k%d=1", i))
	}
	changes = append(changes, "k30=2")
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" && !strings.Contains(string(x.Body), `"k0"`) {
			return testkit.Fail(400, denied, "no")
		}
		return nil
	})
	_, err := Apply(t.Context(), f.writer(), recordsOf(t, changes...), nil)
	var unapplied *Unapplied
	if !errors.As(err, &unapplied) || unapplied.Index != 25 || unapplied.Sequence != "s25" {
		t.Errorf("error is %v, want record s25", err)
	}
}

func TestApplyWritesBatchesAtTheSameTime(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var changes []string
	for i := range 75 {
		changes = append(changes, fmt.Sprintf("k%d=1", i))
	}
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" && !until(x.Ctx, func() bool { return f.proxy.Count(x.Op) >= 3 }) {
			t.Error("the third batch waits for the second")
		}
		return nil
	})
	if _, err := Apply(t.Context(), f.writer(), recordsOf(t, changes...), nil); err != nil {
		t.Error(err)
	}
}

func TestApplyCancelled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Apply(ctx, f.writer(), recordsOf(t, "a=1"), nil)
	var unapplied *Unapplied
	if !errors.As(err, &unapplied) || unapplied.Index != 0 {
		t.Errorf("error is %v", err)
	}
	wantIs(t, err, context.Canceled)
	if n := f.proxy.Count("BatchWriteItem"); n != 0 {
		t.Errorf("%d batches were sent", n)
	}
}

func TestCoalesceKeepsTheOrderOfFirstSight(t *testing.T) {
	t.Parallel()
	a := application{records: recordsOf(t, "a=1", "b=1", "a=2", "c", "b")}
	ops := a.coalesce()
	var got []string
	for _, op := range ops {
		text := ""
		if v, is := op.Item.Attributes()["v"].(*types.AttributeValueMemberS); is {
			text = v.Value
		}
		got = append(got, fmt.Sprint(a.spans[op.Key.ID()].first, ":", text))
	}
	if want := []string{"0:2", "1:", "3:"}; !slices.Equal(got, want) {
		t.Errorf("first record and value of each key: %v, want %v", got, want)
	}
}

// What comes before an item that failed is written, even where it is begun after that: the failure is told of its own record, whose key a
// tailer then looks for in what follows. What comes after it is left.
func TestWhatComesBeforeAFailureIsWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	records := recordsOf(t, "before=1", "refused=1", "after=1")
	a := application{applier: applier{writer: f.writer(), refusals: &refusals{}}, records: records, failedAt: len(records)}
	ops := a.coalesce()
	a.fail(ops[1:2], ErrPoison) // a batch that was faster
	a.write(t.Context(), ops[:1])
	a.write(t.Context(), ops[2:])
	if a.failedAt != 1 || !errors.Is(a.failure, ErrPoison) {
		t.Errorf("record %d failed with %v", a.failedAt, a.failure)
	}
	f.wantTarget("before", "1")
	f.wantTarget("after", "")
}
