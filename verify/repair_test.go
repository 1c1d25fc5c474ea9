package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"
	"reseal/internal/test/traffic"
	"reseal/verify"
)

func TestRepair(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var sources, targets []attrs
	for name, pair := range pairsThatDiffer {
		sources, targets = append(sources, with(name, pair[0])), append(targets, with(name, pair[1]))
	}
	for i := range 60 {
		sources = append(sources, with(fmt.Sprint("missing ", i), num(digits38)))
		targets = append(targets, with(fmt.Sprint("extra ", i), str("to be deleted")))
	}
	testkit.Fill(t, ts.engine, ts.source, sources)
	testkit.Fill(t, ts.engine, ts.target, targets)
	different := int64(len(pairsThatDiffer))
	result, found := ts.verify(withRepair)
	ts.expect(result, verdict{
		match: true, sourceItems: different + 60, targetItems: different + 60,
		missing: 60, extra: 60, different: different, repaired: different + 120,
	})
	ts.judge()
	kinds := map[verify.Kind]int64{}
	for _, d := range found {
		kinds[d.Kind]++
	}
	if kinds[verify.Missing] != 60 || kinds[verify.Extra] != 60 || kinds[verify.Different] != different {
		t.Errorf("reported %v", kinds)
	}
	want := fingerprint(t, ts, ts.source)
	if result.SourceFingerprint != want || result.TargetFingerprint != want || result.WriteUnits < 120 {
		t.Errorf("fingerprints %s, %s, want %s; write units %v", result.SourceFingerprint, result.TargetFingerprint, want, result.WriteUnits)
	}
	writes := ts.writes()
	result, _ = ts.verify(withRepair)
	ts.expect(result, verdict{match: true, sourceItems: different + 60, targetItems: different + 60})
	if ts.writes() != writes || result.WriteUnits != 0 {
		t.Errorf("%d writes and %v units for equal tables", ts.writes()-writes, result.WriteUnits)
	}
}

func TestWithoutRepairNothingIsWritten(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	result, _ := ts.verify()
	if result.Match || ts.writes() != 0 || result.WriteUnits != 0 {
		t.Errorf("match %v, %d writes, %v units", result.Match, ts.writes(), result.WriteUnits)
	}
}

// TestDryRun says what a repair then does.
func TestDryRun(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	ts.putTarget("id", "y", "v", 0)
	dry := func(o *verify.Options) { o.Repair, o.DryRun = true, true }
	result, found := ts.verify(dry)
	ts.expect(result, verdict{sourceItems: 5, targetItems: 6, missing: 1, extra: 2, different: 1})
	if result.WouldPut != 2 || result.WouldDelete != 2 || ts.writes() != 0 || result.WriteUnits != 0 || len(found) != 4 {
		t.Errorf("%+v, %d writes, %d reported", result, ts.writes(), len(found))
	}
	result, _ = ts.verify(withRepair)
	ts.expect(result, verdict{match: true, sourceItems: 5, targetItems: 5, missing: 1, extra: 2, different: 1, repaired: 4})
	if result.WouldPut != 0 || result.WouldDelete != 0 {
		t.Errorf("%+v", result)
	}
	_, err := verify.Run(t.Context(), ts.options(func(o *verify.Options) { o.DryRun = true }))
	if !refuse.Is(err) {
		t.Errorf("without repair: %v", err)
	}
}

// TestRepairUnderTraffic has no replicator: while the application writes, repair must do no harm, and put right what the
// application leaves alone; when it has stopped, all the rest.
func TestRepairUnderTraffic(t *testing.T) {
	t.Parallel()
	const still, busy = 60, 40
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var keys, items []attrs
	for i := range still + busy {
		id := fmt.Sprint("still", i)
		if i >= still {
			id = fmt.Sprint("busy", i)
			keys = append(keys, testkit.Item("id", id))
		}
		items = append(items, with(id, num(fmt.Sprint(i))))
	}
	ts.fill(items)
	for i := range 10 {
		testkit.Delete(t, ts.engine, ts.target, testkit.Item("id", fmt.Sprint("still", i)))
		ts.putTarget("id", fmt.Sprint("still", 10+i), "v", "damaged")
		ts.putTarget("id", fmt.Sprint("extra", i), "v", "damaged")
	}
	writer := traffic.Start(t.Context(), ts.engine, ts.source, traffic.Options{Keys: keys, Rate: 400, Seed: 1})
	result, found := ts.verify(withRepair, settling(50*time.Millisecond))
	if counts, err := writer.Stop(); err != nil || counts.Total() == 0 {
		t.Fatalf("writer: %+v, %v", counts, err)
	}
	if result.Repaired < 30 || len(found) < 30 {
		t.Errorf("under traffic: %+v, %d reported", result, len(found))
	}
	for i := range still {
		id := fmt.Sprint("still", i)
		if got := testkit.Get(t, ts.engine, ts.target, testkit.Item("id", id)); digest(t, got) != digest(t, with(id, num(fmt.Sprint(i)))) {
			t.Errorf("under traffic: %s is %v", id, got)
		}
	}
	for i := range 10 {
		if got := testkit.Get(t, ts.engine, ts.target, testkit.Item("id", fmt.Sprint("extra", i))); got != nil {
			t.Errorf("under traffic: there still is %v", got)
		}
	}
	result, _ = ts.verify(withRepair, settling(50*time.Millisecond))
	if !result.Match {
		t.Errorf("after the traffic: %+v", result)
	}
	ts.judge()
	result, _ = ts.verify()
	if got := verdictOf(result); !got.match || got.repaired != 0 || result.SourceFingerprint != fingerprint(t, ts, ts.target) {
		t.Errorf("at last: %+v", result)
	}
}

// TestItemThatComesBackIsNotDeleted puts an extra item into the source after it was found to be extra.
func TestItemThatComesBackIsNotDeleted(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		name    string
		comesAs any
		when    string // before which request the item comes back
		nth     int
		writes  int
	}{
		{"as it was, before the repair reads it", 0, "BatchGetItem", 2, 0},
		{"changed, before the repair reads it", "changed", "BatchGetItem", 2, 1},
		{"as it was, when the delete is on its way", 0, "BatchWriteItem", 1, 2},
		{"changed, when the delete is on its way", "changed", "BatchWriteItem", 1, 2},
		{"changed, when the delete has been carried out", "changed", "BatchGetItem", 3, 2},
	} {
		t.Run(one.name, func(t *testing.T) {
			t.Parallel()
			ts := numbered(t, 3)
			ts.putTarget("id", "x", "v", 0)
			comeBack := on(one.when, func(n int, _ *testkit.Exchange) *testkit.Response {
				if n == one.nth {
					ts.hookPut(ts.source, "id", "x", "v", one.comesAs)
				}
				return nil
			})
			var mu sync.Mutex
			var bodies []string
			record := on("BatchWriteItem", func(_ int, x *testkit.Exchange) *testkit.Response {
				mu.Lock()
				defer mu.Unlock()
				bodies = append(bodies, string(x.Body))
				return nil
			})
			if one.when == "BatchGetItem" {
				ts.sourceProxy.Use(comeBack)
				ts.targetProxy.Use(record)
			} else {
				ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response { record(x); return comeBack(x) })
			}
			result, _ := ts.verify(withRepair)
			ts.expect(result, verdict{match: true, sourceItems: 4, targetItems: 4, extra: 1, repaired: 1})
			ts.judge()
			if len(bodies) != one.writes {
				t.Errorf("%d writes, want %d: %v", len(bodies), one.writes, bodies)
			}
			if deletes := strings.Count(strings.Join(bodies, ""), "DeleteRequest"); deletes != max(0, one.writes-1) {
				t.Errorf("%d deletes: %v", deletes, bodies)
			}
		})
	}
}

// TestRepairThatDoesNotStick: the answers say that the writes were carried out, but they were not.
func TestRepairThatDoesNotStick(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	ts.targetProxy.Use(on("BatchWriteItem", func(int, *testkit.Exchange) *testkit.Response {
		return &testkit.Response{Body: []byte(`{"UnprocessedItems":{}}`)}
	}))
	result, found := ts.verify(withRepair)
	ts.expect(result, verdict{sourceItems: 5, targetItems: 5, missing: 1, extra: 1, different: 1})
	if len(found) != 3 {
		t.Errorf("reported %v", found)
	}

	// And one of them is carried out.
	ts.targetProxy.Use(on("BatchWriteItem", func(_ int, x *testkit.Exchange) *testkit.Response {
		x.Body = change(x.Body, func(o object) {
			var kept []any
			for _, request := range o["RequestItems"].(object)[ts.target].([]any) {
				if request.(object)["DeleteRequest"] != nil {
					kept = append(kept, request)
				}
			}
			o["RequestItems"] = object{ts.target: kept}
		})
		return nil
	}))
	result, _ = ts.verify(withRepair)
	ts.expect(result, verdict{sourceItems: 5, targetItems: 4, missing: 1, extra: 1, different: 1, repaired: 1})
}

// An item that the target refuses for what it is, such as one of a full item collection, stays a difference. The others are repaired.
func TestRepairOfARefusedItem(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"ValidationException", "ItemCollectionSizeLimitExceededException"} {
		ts := numbered(t, 60)
		for i := range 60 {
			ts.putTarget("id", fmt.Sprint("k", i), "v", "old")
		}
		ts.targetProxy.Use(on("BatchWriteItem", func(_ int, x *testkit.Exchange) *testkit.Response {
			if bytes.Contains(x.Body, []byte(`"k17"`)) {
				return testkit.Fail(400, "com.amazonaws.dynamodb.v20120810#"+code, "full")
			}
			return nil
		}))
		var told []difference
		result, _ := ts.verify(withRepair, reporting(func(d difference) {
			if d.AfterRepair {
				told = append(told, d)
			}
		}))
		ts.expect(result, verdict{sourceItems: 60, targetItems: 60, different: 60, repaired: 59})
		if len(told) != 1 || told[0].Refused != code+": full" {
			t.Errorf("%s: told %v", code, told)
		}
	}
}

func TestThrottledRepair(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	ts.targetProxy.Use(on("BatchWriteItem", func(n int, x *testkit.Exchange) *testkit.Response {
		if n == 1 {
			return testkit.Throttle(x.Op)
		}
		if n == 2 {
			var request struct{ RequestItems json.RawMessage }
			if err := json.Unmarshal(x.Body, &request); err != nil {
				t.Error(err)
			}
			return &testkit.Response{Body: fmt.Appendf(nil, `{"UnprocessedItems":%s}`, request.RequestItems)}
		}
		return nil
	}))
	result, _ := ts.verify(withRepair)
	ts.expect(result, verdict{match: true, sourceItems: 5, targetItems: 5, missing: 1, extra: 1, different: 1, repaired: 3})
	ts.judge()
	if result.Throttled != 2 {
		t.Errorf("throttled %d times", result.Throttled)
	}
}

// TestInterruptedRepair is cancelled while its write is under way, which is carried out.
func TestInterruptedRepair(t *testing.T) {
	t.Parallel()
	for op, nth := range map[string]int{"BatchWriteItem": 1, "BatchGetItem": 3} { // the third read is the look after the repair
		ts := numbered(t, 5)
		ts.damage()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		ts.targetProxy.Use(on(op, func(n int, _ *testkit.Exchange) *testkit.Response {
			if n == nth {
				cancel()
			}
			return nil
		}))
		if err := ts.fails(ctx, withRepair); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
		ts.judge()
	}
}

// TestRepairOfALostWrite: the first write (v = 1) has no answer. The source changes, which the third write brings to the target;
// only then the first one is carried out, and puts the old item back. Run must not call that a match.
func TestRepairOfALostWrite(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.putTarget("id", "k1", "v", "damaged")
	var lost *testkit.Exchange // the writes come one after another
	ts.targetProxy.Use(on("BatchWriteItem", func(n int, x *testkit.Exchange) *testkit.Response {
		switch n {
		case 1:
			lost = x
			ts.hookPut(ts.source, "id", "k1", "v", "changed")
			return &testkit.Response{Cut: true}
		case 3:
			return answer(x, func(body []byte) []byte {
				if status, _, err := lost.Forward(); status != 200 || err != nil {
					t.Errorf("late write: status %d, %v", status, err)
				}
				return body
			})
		}
		return nil
	}))
	var progress []verify.Progress
	result, _ := ts.verify(withRepair, func(o *verify.Options) {
		o.RequestTimeout = 2 * time.Second // so long, and a quarter more, repair waits for a lost write
		o.Progress = func(p verify.Progress) { progress = append(progress, p) }
	})
	ts.expect(result, verdict{match: true, sourceItems: 5, targetItems: 5, different: 1, repaired: 1})
	ts.judge()
	if n := ts.targetProxy.Count("BatchWriteItem"); n != 4 {
		t.Errorf("%d writes", n)
	}
	one := func(p verify.Progress) bool { return p.Settling && p.Waiting == 1 }
	if !slices.ContainsFunc(progress, one) || progress[len(progress)-1].Waiting != 0 {
		t.Errorf("progress %+v", progress)
	}
}

// TestInterruptedWaitForALostWrite would otherwise take 25 seconds.
func TestInterruptedWaitForALostWrite(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ts.targetProxy.Use(on("BatchWriteItem", func(n int, _ *testkit.Exchange) *testkit.Response {
		if n == 1 {
			return &testkit.Response{Cut: true}
		}
		return nil
	}))
	ts.sourceProxy.Use(on("BatchGetItem", func(n int, _ *testkit.Exchange) *testkit.Response {
		if n == 3 { // the re-check, the last request before the wait
			time.AfterFunc(100*time.Millisecond, cancel)
		}
		return nil
	}))
	start := time.Now()
	if err := ts.fails(ctx, withRepair); !errors.Is(err, context.Canceled) || time.Since(start) > 20*time.Second {
		t.Errorf("%v after %s", err, time.Since(start))
	}
}
