package verify_test

import (
	"bytes"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/verify"
)

// stale makes the target's answers show "old" for "new": all of its scans, and its first reads by key.
func stale(reads int) testkit.Hook {
	var count atomic.Int64
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "Scan" && (x.Op != "BatchGetItem" || count.Add(1) > int64(reads)) {
			return nil
		}
		return answer(x, func(body []byte) []byte { return bytes.ReplaceAll(body, []byte(`"new"`), []byte(`"old"`)) })
	}
}

func TestLaggingTargetSettles(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.putSource("id", "k1", "v", "new")
	ts.putTarget("id", "k1", "v", "new")
	const reads = 2
	ts.targetProxy.Use(stale(reads))
	result, found := ts.verify(settling(longTime))
	ts.expect(result, verdict{match: true, sourceItems: 5, targetItems: 5, settled: 1})
	if n := ts.targetProxy.Count("BatchGetItem"); n != reads+1 || len(found) != 0 {
		t.Errorf("%d looks, reported %v", n, found)
	}
	if want := fingerprint(t, ts, ts.source); result.TargetFingerprint != want {
		t.Errorf("fingerprint %s, want %s", result.TargetFingerprint, want)
	}
}

// TestItemsSettleAsTheyCome has items that appear in the target, or go from it, between the looks.
func TestItemsSettleAsTheyCome(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 6)
	ts.damage()
	testkit.Delete(t, ts.engine, ts.target, testkit.Item("id", "k5")) // and soon from the source
	ts.sourceProxy.Use(on("BatchGetItem", func(n int, _ *testkit.Exchange) *testkit.Response {
		if n == 1 {
			ts.hookDelete(ts.source, "k5")
		}
		return nil
	}))
	ts.targetProxy.Use(on("BatchGetItem", func(n int, _ *testkit.Exchange) *testkit.Response {
		switch n {
		case 2:
			ts.hookPut(ts.target, "id", "k0", "v", 0)
		case 3:
			ts.hookDelete(ts.target, "x")
			ts.hookPut(ts.target, "id", "k1", "v", 1)
		}
		return nil
	}))
	result, found := ts.verify(settling(longTime))
	ts.expect(result, verdict{match: true, sourceItems: 5, targetItems: 5, settled: 4})
	if n := ts.targetProxy.Count("BatchGetItem"); n != 3 || len(found) != 0 {
		t.Errorf("%d looks, reported %v", n, found)
	}
}

// TestLastingDifferenceIsReportedAfterSettle, and not before: a target that still lags then isn't called lost too early.
func TestLastingDifferenceIsReportedAfterSettle(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	var looks, reports moments
	look := on("BatchGetItem", func(int, *testkit.Exchange) *testkit.Response { looks.add(); return nil })
	ts.sourceProxy.Use(look)
	const settle = 250 * time.Millisecond
	result, _ := ts.verify(settling(settle), reporting(func(difference) { reports.add() }))
	ts.expect(result, verdict{sourceItems: 5, targetItems: 5, missing: 1, extra: 1, different: 1})
	if n := len(looks.all()); n < 2 { // more of them where one takes no time
		t.Errorf("%d looks", n)
	}
	if len(reports.all()) != 3 {
		t.Fatalf("%d reports", len(reports.all()))
	}
	if waited := reports.all()[0].Sub(looks.all()[0]); waited < settle {
		t.Errorf("reported after %s", waited)
	}
}

// TestChangeOfTheSourceStartsSettlingAgain changes the source once, at the second look.
func TestChangeOfTheSourceStartsSettlingAgain(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.putTarget("id", "k1", "v", "damaged")
	const settle = 250 * time.Millisecond
	var changes, reports moments
	ts.sourceProxy.Use(on("BatchGetItem", func(n int, _ *testkit.Exchange) *testkit.Response {
		if n == 2 {
			changes.add()
			ts.hookPut(ts.source, "id", "k1", "v", "changed")
		}
		return nil
	}))
	var kind verify.Kind
	result, _ := ts.verify(settling(settle), reporting(func(d difference) { reports.add(); kind = d.Kind }))
	ts.expect(result, verdict{sourceItems: 5, targetItems: 5, different: 1})
	if kind != verify.Different || len(changes.all()) != 1 {
		t.Fatalf("kind %q, changes %v", kind, changes.all())
	}
	if waited := reports.all()[0].Sub(changes.all()[0]); waited < settle {
		t.Errorf("reported %s after the change", waited)
	}
}

// TestSlowLookSettlesNothing: one look, however long it takes, is no proof that a difference lasts.
func TestSlowLookSettlesNothing(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.putSource("id", "k1", "v", "new")
	ts.putTarget("id", "k1", "v", "new")
	const settle = 50 * time.Millisecond
	first := stale(1)
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		response := first(x)
		if x.Op == "BatchGetItem" && response != nil {
			<-time.After(4 * settle) // the answer is this late
		}
		return response
	})
	result, found := ts.verify(settling(settle))
	ts.expect(result, verdict{match: true, sourceItems: 5, targetItems: 5, settled: 1})
	if len(found) != 0 {
		t.Errorf("reported %v", found)
	}
}

func TestItemThatChangesAtEveryLook(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	ts.sourceProxy.Use(on("BatchGetItem", func(n int, _ *testkit.Exchange) *testkit.Response {
		ts.hookPut(ts.source, "id", "k1", "v", fmt.Sprint("change ", n))
		return nil
	}))
	result, found := ts.verify(settling(50 * time.Millisecond))
	ts.expect(result, verdict{sourceItems: 5, targetItems: 5, missing: 1, extra: 1, stillChanging: 1})
	// It is looked at every 50 ms at the most, for four times that.
	if looks := ts.sourceProxy.Count("BatchGetItem"); looks > 8 {
		t.Errorf("%d looks", looks)
	}
	d := found[`{"id":{"S":"k1"}}`]
	if d.Kind != verify.StillChanging || !slices.Equal(d.Attributes, []string{"v"}) || d.SourceDigest == d.TargetDigest {
		t.Errorf("reported %+v", d)
	}

	// It alone keeps the tables from matching.
	ts.putTarget("id", "k0", "v", 0)
	testkit.Delete(t, ts.engine, ts.target, testkit.Item("id", "x"))
	result, _ = ts.verify(settling(50 * time.Millisecond))
	ts.expect(result, verdict{sourceItems: 5, targetItems: 5, stillChanging: 1})
}

func TestWithoutSettleOneLookDecides(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	result, found := ts.verify(settling(0))
	ts.expect(result, verdict{sourceItems: 5, targetItems: 5, missing: 1, extra: 1, different: 1})
	if looks := [2]int{ts.sourceProxy.Count("BatchGetItem"), ts.targetProxy.Count("BatchGetItem")}; looks != [2]int{1, 1} || len(found) != 3 {
		t.Errorf("%v looks, reported %v", looks, found)
	}
}

// TestScanThatShowsItemsTwice: whatever it says, the look at the item decides.
func TestScanThatShowsItemsTwice(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 3)
	twice := on("Scan", func(_ int, x *testkit.Exchange) *testkit.Response {
		return answer(x, func(body []byte) []byte {
			return change(body, func(o object) {
				items := o["Items"].([]any)
				o["Items"], o["Count"] = append(slices.Clone(items), items...), 2*len(items)
			})
		})
	})
	ts.targetProxy.Use(twice)
	result, _ := ts.verify()
	if !result.Match || result.Settled != 3 {
		t.Errorf("equal tables: %+v", result)
	}
	ts.sourceProxy.Use(twice)
	ts.putTarget("id", "k2", "v", "damaged")
	result, found := ts.verify()
	if result.Match || result.Different != 1 || len(found) != 1 {
		t.Errorf("a different item: %+v, reported %v", result, found)
	}
}
