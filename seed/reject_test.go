package seed_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/seed"
)

// withIndex replaces the bench's target by one with a global secondary index on the number g.
func (b *bench) withIndex() {
	b.t.Helper()
	b.options.TargetTable = testkit.CreateTable(b.t, b.db, testkit.TableSpec{Hash: "k:S", Index: "g:N"})
}

// Items whose index key is of the wrong type are found among the others, named, and counted; the others are copied.
func TestRejects(t *testing.T) {
	items := numbered(100)
	bad := map[string]bool{}
	for i, item := range items {
		g := testkit.Item("g", i)["g"]
		if i%33 == 5 {
			g = testkit.Item("g", "not a number")["g"]
			bad[fmt.Sprintf(`{"k":{"S":"key-%05d"}}`, i)] = true
		}
		item["g"] = g
	}
	b := newBench(t, items)
	b.withIndex()
	b.options.Reject = func(r seed.Reject) error {
		if !bad[string(r.Key)] {
			t.Errorf("%s is refused, or twice", r.Key)
		}
		delete(bad, string(r.Key))
		if !strings.HasPrefix(r.Reason, "ValidationException: ") {
			t.Errorf("reason %q", r.Reason)
		}
		return nil
	}
	r, err := seed.Run(t.Context(), b.options)
	if !errors.Is(err, seed.ErrRejected) {
		t.Errorf("error %v, want ErrRejected", err)
	}
	if len(bad) != 0 || r.Rejected != 3 || r.ItemsWritten != 97 || r.ItemsRead != 100 {
		t.Errorf("not refused: %v; result %+v", bad, r)
	}
	if lines := b.diff(); len(lines) != 3 {
		t.Errorf("differences: %q", lines)
	}
	if len(r.IndexWriteUnits) != 1 || r.IndexWriteUnits["by-g"] != 97 || r.WriteUnits != 2*97 {
		t.Errorf("units: %+v", r)
	}
}

// An index key that is empty is refused, as one of the wrong type is.
func TestRejectsEmptyIndexKey(t *testing.T) {
	items := numbered(60)
	for i, item := range items {
		item["g"] = testkit.Item("g", fmt.Sprint(i))["g"]
	}
	items[7]["g"] = testkit.Item("g", "")["g"]
	b := newBench(t, items)
	b.options.TargetTable = testkit.CreateTable(t, b.db, testkit.TableSpec{Hash: "k:S", Index: "g:S"})
	b.rejectsOnly(`{"k":{"S":"key-00007"}}`, "ValidationException: ", 59)
}

// An item of less than 400 KB may have more in the target's terms, by its part in a local secondary index. The engine doesn't
// reckon so, and the service refuses the whole batch.
func TestRejectsItemTooLargeForTarget(t *testing.T) {
	b := newBench(t, numbered(60))
	const words = "Item size has exceeded the maximum allowed size"
	b.target.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" && bytes.Contains(x.Body, []byte("key-00031")) {
			return testkit.Fail(http.StatusBadRequest, "com.amazon.coral.validate#ValidationException", words)
		}
		return nil
	})
	b.rejectsOnly(`{"k":{"S":"key-00031"}}`, "ValidationException: "+words, 59)
}

// rejectsOnly seeds and expects that one item is refused and the others are copied.
func (b *bench) rejectsOnly(key, reason string, written int64) {
	b.t.Helper()
	var refused []seed.Reject
	b.options.Reject = func(r seed.Reject) error {
		refused = append(refused, r)
		return nil
	}
	r, err := seed.Run(b.t.Context(), b.options)
	if !errors.Is(err, seed.ErrRejected) || r.Rejected != 1 || r.ItemsWritten != written {
		b.t.Errorf("error %v, result %+v", err, r)
	}
	if len(refused) != 1 || string(refused[0].Key) != key || !strings.HasPrefix(refused[0].Reason, reason) {
		b.t.Errorf("refused: %s", refused)
	}
	if lines := b.diff(); len(lines) != 1 {
		b.t.Errorf("differences: %q", lines)
	}
}

// Without anyone to hand them to, refused items end the seed.
func TestRejectsAreAnErrorByDefault(t *testing.T) {
	b := newBench(t, []attrs{testkit.Item("k", "a", "g", "not a number")})
	b.withIndex()
	if _, err := seed.Run(t.Context(), b.options); err == nil || !strings.Contains(err.Error(), "ValidationException") {
		t.Errorf("error %v", err)
	}
}

// A run that is resumed ends with ErrRejected for the items that the run before met, each of which is told and counted once.
func TestRejectsSurviveResume(t *testing.T) {
	items := large(100)
	for i := range items {
		items[i]["g"] = testkit.Item("g", "not a number")["g"]
		if i > 50 {
			delete(items[i], "g")
		}
	}
	b := newBench(t, items)
	b.withIndex()
	b.options.Segments = 1
	b.options.RequestTimeout = time.Second // the keys of the page that is left wait for longer than that
	told := map[string]int{}
	b.options.Reject = func(r seed.Reject) error {
		told[string(r.Key)]++
		return nil
	}
	var writes atomic.Int64
	b.target.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" && writes.Add(1) > 30 { // in the middle of the second page
			return testkit.Fail(http.StatusBadRequest, "AccessDeniedException", "no more")
		}
		return nil
	})
	before, err := seed.Run(t.Context(), b.options)
	if err == nil || errors.Is(err, seed.ErrRejected) || before.Rejected == 0 {
		t.Fatalf("error %v, result %+v", err, before)
	}
	b.target.Use(nil)
	r, err := seed.Run(t.Context(), b.options)
	if !errors.Is(err, seed.ErrRejected) || r.Rejected != 51 || !r.Resumed {
		t.Errorf("error %v, result %+v", err, r)
	}
	if again := before.ItemsRead + r.ItemsRead - 100; again == 0 || len(told) != 51 {
		t.Errorf("%d items refused, %d items read twice: this test forces nothing", len(told), again)
	}
	for key, n := range told {
		if n != 1 {
			t.Errorf("%s was told %d times", key, n)
		}
	}
	if lines := b.diff(); len(lines) != 21 { // 20 and the line that counts all 51
		t.Errorf("differences: %q", lines)
	}
}
