package verify_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"
	"reseal/verify"
)

// fails runs a verification that must fail, and on the way, not be refused. It returns the error.
func (ts *tables) fails(ctx context.Context, change ...option) error {
	ts.t.Helper()
	result, err := verify.Run(ctx, ts.options(change...))
	if err == nil || refuse.Is(err) {
		ts.t.Errorf("want a failure, got %+v, error %v", verdictOf(result), err)
		return errors.New("none")
	}
	if result.Match || result.SourceItems != 0 || result.SourceFingerprint != "" {
		ts.t.Errorf("a failed run has a result: %+v", result)
	}
	return err
}

// sides calls f for each of the two proxies.
func (ts *tables) sides(f func(side string, p *testkit.Proxy)) {
	for _, side := range []string{"source", "target"} {
		ts.freshProxies()
		f(side, ts.proxy(side))
	}
}

func (ts *tables) proxy(side string) *testkit.Proxy {
	if side == "source" {
		return ts.sourceProxy
	}
	return ts.targetProxy
}

func TestThrottlingIsRetriedAndCounted(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 10)
	ts.damage()
	ts.sides(func(side string, p *testkit.Proxy) {
		// Two throttled scans and reads, then keys that stay unprocessed once.
		scans := on("Scan", func(n int, x *testkit.Exchange) *testkit.Response {
			if n <= 2 {
				return testkit.Throttle(x.Op)
			}
			return nil
		})
		reads := on("BatchGetItem", func(n int, x *testkit.Exchange) *testkit.Response {
			switch {
			case n <= 2:
				return testkit.Throttle(x.Op)
			case n == 3:
				unprocessed := change(x.Body, func(o object) {
					o["Responses"], o["UnprocessedKeys"] = object{}, o["RequestItems"]
					delete(o, "RequestItems")
					delete(o, "ReturnConsumedCapacity")
				})
				return &testkit.Response{Body: unprocessed}
			}
			return nil
		})
		p.Use(func(x *testkit.Exchange) *testkit.Response {
			if response := scans(x); response != nil {
				return response
			}
			return reads(x)
		})
		result, _ := ts.verify()
		ts.expect(result, verdict{sourceItems: 10, targetItems: 10, missing: 1, extra: 1, different: 1})
		if result.Throttled != 5 {
			t.Errorf("%s: throttled %d times, want 5", side, result.Throttled)
		}
	})
}

// TestAnswersThatAreNotWhole must not pass for "the table has no such items".
func TestAnswersThatAreNotWhole(t *testing.T) {
	t.Parallel()
	testkit.BadAnswers(t, "they are what is tested", "number", "key", "key only")
	for name, one := range map[string]struct {
		op   string
		body func([]byte) []byte
	}{
		"scan, nothing at all":    {"Scan", func([]byte) []byte { return []byte(`{}`) }},
		"scan, no items":          {"Scan", func(b []byte) []byte { return change(b, func(o object) { delete(o, "Items") }) }},
		"scan, fewer items":       {"Scan", func(b []byte) []byte { return change(b, func(o object) { o["Items"] = o["Items"].([]any)[1:] }) }},
		"scan, item without key":  {"Scan", func(b []byte) []byte { return []byte(`{"Items":[{"v":{"S":"x"}}],"Count":1}`) }},
		"scan, key of other type": {"Scan", func(b []byte) []byte { return []byte(`{"Items":[{"id":{"N":"1"}}],"Count":1}`) }},
		"scan, bad number":        {"Scan", func(b []byte) []byte { return []byte(`{"Items":[{"id":{"S":"1"},"v":{"N":"one"}}],"Count":1}`) }},
		"scan, bad position": {"Scan", func(b []byte) []byte {
			return change(b, func(o object) { o["LastEvaluatedKey"] = object{"other": object{"S": "x"}} })
		}},
		"scan, same position again": {"Scan", func(b []byte) []byte {
			return change(b, func(o object) { o["LastEvaluatedKey"] = object{"id": object{"S": "k1"}} })
		}},
		"read, nothing at all": {"BatchGetItem", func([]byte) []byte { return []byte(`{}`) }},
		"read, no responses":   {"BatchGetItem", func([]byte) []byte { return []byte(`{"Responses":{},"UnprocessedKeys":{}}`) }},
		"read, other item": {"BatchGetItem", func(b []byte) []byte {
			return []byte(strings.ReplaceAll(string(b), `"k1"`, `"k2"`))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := numbered(t, 3)
			ts.putTarget("id", "k1", "v", "damaged")
			ts.sides(func(_ string, p *testkit.Proxy) {
				p.Use(on(one.op, func(_ int, x *testkit.Exchange) *testkit.Response { return answer(x, one.body) }))
				_ = ts.fails(t.Context(), segments(1), withRepair)
				if ts.writes() > 0 {
					t.Errorf("%d writes", ts.writes())
				}
			})
		})
	}
}

// strike applies the fault to the n-th request for op on one side, and tells whether there was one. Pages are short on both.
func (ts *tables) strike(side, op string, n int, fault *testkit.Response) *atomic.Bool {
	ts.freshProxies()
	ts.sourceProxy.Use(paged(3, nil))
	ts.targetProxy.Use(paged(3, nil))
	struck := new(atomic.Bool)
	ts.proxy(side).Use(paged(3, on(op, func(i int, _ *testkit.Exchange) *testkit.Response {
		if i != n {
			return nil
		}
		struck.Store(true)
		return fault
	})))
	return struck
}

// TestEveryRequestMatters lets each request of a small run with repair fail in turn: for good, which must be an error, or once,
// which must not change the verdict.
func TestEveryRequestMatters(t *testing.T) {
	t.Parallel()
	for op, least := range map[string]int{"Scan": 4, "BatchGetItem": 3, "BatchWriteItem": 1} {
		for _, side := range []string{"source", "target"} {
			if op == "BatchWriteItem" && side == "source" {
				continue
			}
			t.Run(op+" "+side, func(t *testing.T) {
				t.Parallel()
				ts := numbered(t, 8)
				n := 1
				for ; ; n++ {
					struck := ts.strike(side, op, n, denied())
					ts.damage()
					result, err := verify.Run(t.Context(), ts.options(segments(2), withRepair))
					if !struck.Load() {
						if err != nil || !result.Match {
							t.Errorf("without a fault: %+v, %v", result, err)
						}
						break
					}
					if err == nil || refuse.Is(err) || result.Match {
						t.Errorf("request %d denied: %+v, %v", n, result, err)
					}
				}
				if n <= least {
					t.Errorf("only %d requests", n-1)
				}
				if op != "BatchWriteItem" { // a lost write takes long; TestRepairOfALostWrite has it
					ts.expectWithCuts(side, op, n)
				}
			})
		}
	}
}

// TestEveryCallMatters fails every single request of a small run with repair in turn, whichever it is: denied, answered by half, and
// given up since the run is cancelled. None of it may end as another verdict than the true one, which an answer by half may, since
// the request is repeated. Only what describes the tables beside their items may be missing, and is then named as not checked.
func TestEveryCallMatters(t *testing.T) {
	t.Parallel()
	faults := map[string]func(x *testkit.Exchange, cancel func()) *testkit.Response{
		"denied": func(*testkit.Exchange, func()) *testkit.Response { return denied() },
		"half": func(x *testkit.Exchange, _ func()) *testkit.Response {
			return answer(x, func(body []byte) []byte { return body[:len(body)/2] })
		},
		"cancelled": func(x *testkit.Exchange, cancel func()) *testkit.Response {
			cancel()
			<-x.Ctx.Done()
			return nil
		},
	}
	whole := verdict{match: true, sourceItems: 8, targetItems: 8, missing: 1, extra: 1, different: 1, repaired: 3}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := numbered(t, 8)
			for n := 1; ; n++ {
				ts.damage()
				op, result, err := ts.failNth(n, fault)
				switch {
				case op == "":
					if err != nil || !result.Match || n < 20 {
						t.Errorf("without a fault, after %d: %+v, %v", n-1, verdictOf(result), err)
					}
					return
				case strings.HasPrefix(op, "Describe") && op != "DescribeTable" || op == "ListTagsOfResource":
					if name != "cancelled" {
						// The first asks which items have expired; without an answer none is left out, and there are none here.
						asksExpiry := op == "DescribeTimeToLive" && n == 3
						if err != nil || !result.Match || !notChecked(result) && !asksExpiry {
							t.Errorf("request %d, %s: %+v, %v", n, op, result, err)
						}
						continue
					}
				}
				again := name == "half" || op == "DescribeTable" && n > 2 && name == "denied" // at the end it is asked again for a while
				repeated := err == nil && again && verdictOf(result) == whole
				if !repeated && (err == nil || result.Match) {
					t.Errorf("request %d, %s: %+v, no error", n, op, verdictOf(result))
				}
			}
		})
	}
}

func notChecked(result verify.Result) bool {
	for _, setting := range result.Configuration {
		if setting.Source == "not checked" || setting.Target == "not checked" {
			return true
		}
	}
	return false
}

// failNth runs a verification whose nth request, of both sides together, meets the fault. It returns its operation; "" if there was
// no such request.
func (ts *tables) failNth(n int, fault func(*testkit.Exchange, func()) *testkit.Response) (string, verify.Result, error) {
	ctx, cancel := context.WithCancel(ts.t.Context())
	defer cancel()
	var count atomic.Int64
	var struck atomic.Value
	hook := func(x *testkit.Exchange) *testkit.Response {
		if count.Add(1) != int64(n) {
			return nil
		}
		struck.Store(x.Op)
		return fault(x, cancel)
	}
	ts.freshProxies()
	ts.sourceProxy.Use(paged(3, hook))
	ts.targetProxy.Use(paged(3, hook))
	soon := func(o *verify.Options) { o.RequestTimeout = 2 * time.Second } // a lost write is waited for that long
	result, err := verify.Run(ctx, ts.options(segments(2), withRepair, soon))
	op, _ := struck.Load().(string)
	return op, result, err
}

// expectWithCuts cuts the connection of each of the first n-1 requests in turn.
func (ts *tables) expectWithCuts(side, op string, n int) {
	for i := 1; i < n; i++ {
		struck := ts.strike(side, op, i, &testkit.Response{Cut: true})
		ts.damage()
		result, _ := ts.verify(segments(2), withRepair)
		ts.expect(result, verdict{match: true, sourceItems: 8, targetItems: 8, missing: 1, extra: 1, different: 1, repaired: 3})
		if !struck.Load() {
			ts.t.Errorf("there was no request %d", i)
		}
	}
}

// TestServerErrorsThatPersist end with the context here; else with the policy's patience of a minute.
func TestServerErrorsThatPersist(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"Scan", "BatchGetItem"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			ts := numbered(t, 3)
			ts.damage()
			ts.sides(func(side string, p *testkit.Proxy) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p.Use(on(op, func(n int, _ *testkit.Exchange) *testkit.Response {
					if n == 4 {
						cancel()
					}
					return testkit.Fail(500, "InternalServerError", "try again")
				}))
				if err := ts.fails(ctx, segments(1)); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", side, err)
				}
			})
		})
	}
}

func TestInterruption(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		op     string
		n      int
		settle time.Duration
	}{
		"first scan":            {"Scan", 1, longTime},
		"later scan":            {"Scan", 4, longTime},
		"first look":            {"BatchGetItem", 1, longTime},
		"later look":            {"BatchGetItem", 2, longTime},
		"preflight":             {"DescribeTable", 1, longTime},
		"once more at the end":  {"DescribeTable", 2, 0},
		"configuration":         {"DescribeTimeToLive", 1, 0},
		"last of configuration": {"ListTagsOfResource", 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := numbered(t, 12)
			ts.damage()
			ts.sides(func(side string, p *testkit.Proxy) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				p.Use(paged(2, on(one.op, func(n int, x *testkit.Exchange) *testkit.Response {
					if n == one.n {
						cancel()
						<-x.Ctx.Done() // the request isn't answered: the client gives up
					}
					return nil
				})))
				if err := ts.fails(ctx, settling(one.settle)); !errors.Is(err, context.Canceled) {
					t.Errorf("%s: %v", side, err)
				}
			})
		})
	}
}

// TestInterruptionBetweenLooks cancels while no request is under way: the pause must end at once.
func TestInterruptionBetweenLooks(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 3)
	ts.damage()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// After the third look the pause is 400 ms long. The look has been answered by the time that the timer cancels.
	ts.targetProxy.Use(on("BatchGetItem", func(n int, _ *testkit.Exchange) *testkit.Response {
		if n == 3 {
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		return nil
	}))
	if err := ts.fails(ctx, settling(longTime)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestErrorOfTheReportEndsTheRun(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	full := errors.New("disk full")
	for n := range 3 {
		calls := 0
		err := ts.fails(t.Context(), withRepair, func(o *verify.Options) {
			o.Difference = func(difference) error {
				if calls++; calls == n+1 {
					return full
				}
				return nil
			}
		})
		if !errors.Is(err, full) || calls != n+1 {
			t.Errorf("report %d: %v after %d reports", n+1, err, calls)
		}
	}
	if ts.writes() > 0 {
		t.Errorf("%d writes, though the report failed", ts.writes())
	}
}

// TestNowhereToSpill: what could be compared in memory is not a verdict on the tables.
func TestNowhereToSpill(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var items []attrs
	for i := range 100 {
		items = append(items, with(fmt.Sprint(i), nil))
	}
	testkit.Fill(t, ts.engine, ts.target, items)
	small := func(o *verify.Options) { o.MaxMemory = 10_000 }
	nowhere := func(o *verify.Options) { o.Folder = filepath.Join(t.TempDir(), "not there") }
	err := ts.fails(t.Context(), withRepair, small, nowhere)
	if !strings.Contains(err.Error(), "spill to disk") {
		t.Error(err)
	}
	if ts.writes() > 0 {
		t.Errorf("%d writes", ts.writes())
	}
	result, _ := ts.verify(small)
	ts.expect(result, verdict{targetItems: 100, extra: 100})
	result, _ = ts.verify(small, withRepair)
	ts.expect(result, verdict{match: true, extra: 100, repaired: 100})
}

// TestNothingRunsOn is not parallel: it looks at all goroutines of the process.
func TestNothingRunsOn(t *testing.T) {
	ts := numbered(t, 40)
	for name, hook := range map[string]testkit.Hook{
		"scan":   paged(1, on("Scan", func(n int, _ *testkit.Exchange) *testkit.Response { return failFrom(n, 9) })),
		"look":   on("BatchGetItem", func(n int, _ *testkit.Exchange) *testkit.Response { return failFrom(n, 1) }),
		"repair": on("BatchWriteItem", func(n int, _ *testkit.Exchange) *testkit.Response { return failFrom(n, 1) }),
		"none":   nil,
	} {
		ts.damage()
		ts.freshProxies()
		ts.targetProxy.Use(hook)
		var after atomic.Bool
		_, err := verify.Run(t.Context(), ts.options(segments(16), withRepair, func(o *verify.Options) {
			o.Progress = func(verify.Progress) {
				if after.Load() {
					t.Errorf("%s: progress after the run", name)
				}
			}
		}))
		after.Store(true)
		if (err == nil) != (hook == nil) {
			t.Errorf("%s: %v", name, err)
		}
		// A goroutine that has returned may take a moment until it is gone.
		for deadline := time.Now().Add(10 * time.Second); strings.Contains(stacks(), "reseal/verify."); runtime.Gosched() {
			if time.Now().After(deadline) {
				t.Fatalf("%s: still running:\n%s", name, stacks())
			}
		}
	}
}

// failFrom lets the n-th request and all later ones fail.
func failFrom(n, first int) *testkit.Response {
	if n < first {
		return nil
	}
	return denied()
}

func stacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}
