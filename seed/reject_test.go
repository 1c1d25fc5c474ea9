package seed_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"reseal/internal/testkit"
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

// Without anyone to hand them to, refused items end the seed.
func TestRejectsAreAnErrorByDefault(t *testing.T) {
	b := newBench(t, []attrs{testkit.Item("k", "a", "g", "not a number")})
	b.withIndex()
	if _, err := seed.Run(t.Context(), b.options); err == nil || !strings.Contains(err.Error(), "ValidationException") {
		t.Errorf("error %v", err)
	}
}

// A run that is resumed ends with ErrRejected for the items that the run before met.
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
	b.options.Reject = func(seed.Reject) error { return nil }
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var pages atomic.Int64
	b.source.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" && pages.Add(1) == 5 { // the last, and most items are behind it
			stop()
		}
		return nil
	})
	before, err := seed.Run(ctx, b.options)
	if !errors.Is(err, context.Canceled) || before.Rejected == 0 {
		t.Fatalf("error %v, result %+v", err, before)
	}
	b.source.Use(nil)
	r, err := seed.Run(t.Context(), b.options)
	if !errors.Is(err, seed.ErrRejected) || r.Rejected < 51 || !r.Resumed {
		t.Errorf("error %v, result %+v", err, r)
	}
	if lines := b.diff(); len(lines) != 21 { // 20 and the line that counts all 51
		t.Errorf("differences: %q", lines)
	}
}
