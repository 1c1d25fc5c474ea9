package seed_test

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"reseal/internal/test/testkit"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestRunCopiesEverything(t *testing.T) {
	for _, segments := range []int{1, 3, 16, 100} {
		t.Run(fmt.Sprint(segments), func(t *testing.T) {
			b := newBench(t, append(numbered(500), allTypes()))
			b.options.Segments = segments
			var last seed.Progress
			b.options.Progress = func(p seed.Progress) { last = p }
			r := b.run()
			b.mustBeEqual()
			if r.ItemsRead != 501 || r.ItemsWritten != 501 || r.ItemsRechecked != 501 || r.ItemsRewritten != 0 || r.Resumed || r.Throttled != 0 {
				t.Errorf("result %+v", r)
			}
			if r.WriteUnits != 501 || last.ItemsWritten != 501 || last.SegmentsDone != segments {
				t.Errorf("%g write units; last progress %+v", r.WriteUnits, last)
			}
			if _, err := readFile(b.options.Checkpoint); err == nil {
				t.Error("the checkpoint of a seed that is done is still there")
			}
		})
	}
}

// allTypes is an item with every attribute type.
func allTypes() attrs {
	item := testkit.Item("k", "all types")
	item["s"] = &types.AttributeValueMemberS{Value: "\"\\\x01\u2028ü€𝄞<&>"}
	item["empty"] = &types.AttributeValueMemberS{}
	item["n"] = &types.AttributeValueMemberN{Value: "-12345678901234567890123456789012345678"}
	item["small"] = &types.AttributeValueMemberN{Value: "1E-130"}
	item["big"] = &types.AttributeValueMemberN{Value: "9.99E125"}
	item["b"] = &types.AttributeValueMemberB{Value: []byte{0, 255, 1}}
	item["no bytes"] = &types.AttributeValueMemberB{Value: []byte{}}
	item["t"] = &types.AttributeValueMemberBOOL{Value: true}
	item["f"] = &types.AttributeValueMemberBOOL{Value: false}
	item["null"] = &types.AttributeValueMemberNULL{Value: true}
	item["ss"] = &types.AttributeValueMemberSS{Value: []string{"b", "a", ""}}
	item["ns"] = &types.AttributeValueMemberNS{Value: []string{"3", "-1.50", "9007199254740993"}}
	item["bs"] = &types.AttributeValueMemberBS{Value: [][]byte{{1}, {}, {0, 2}}}
	item["l"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{
		item["b"], item["null"], &types.AttributeValueMemberM{Value: attrs{"x": item["bs"], "": item["ns"]}},
	}}
	item["empty list"] = &types.AttributeValueMemberL{Value: []types.AttributeValue{}}
	item["empty map"] = &types.AttributeValueMemberM{Value: attrs{}}
	return item
}

func TestRunCopiesEveryKeyType(t *testing.T) {
	var items []attrs
	for i := range 60 {
		n := &types.AttributeValueMemberN{Value: fmt.Sprintf("%d.5", i-30)}
		items = append(items, attrs{"k": &types.AttributeValueMemberS{Value: "same"}, "n": n})
	}
	b := newBench(t, items, "n:N")
	b.run()
	b.mustBeEqual()
	items = nil
	for i := range 60 {
		items = append(items, attrs{"k": &types.AttributeValueMemberS{Value: "same"}, "b": &types.AttributeValueMemberB{Value: []byte{byte(i), 255}}})
	}
	b = newBench(t, items, "b:B")
	b.run()
	b.mustBeEqual()
}

func TestRunOnEmptySource(t *testing.T) {
	b := newBench(t, nil)
	if r := b.run(); r.ItemsRead != 0 || r.ItemsWritten != 0 {
		t.Errorf("result %+v", r)
	}
}

func TestRunIntoTargetWithItems(t *testing.T) {
	b := newBench(t, numbered(300))
	testkit.Fill(t, b.db, b.options.TargetTable, numbered(100))
	testkit.Put(t, b.db, b.options.TargetTable, testkit.Item("k", "key-00007", "v", "stale", "gone", true))
	for range 2 {
		if r := b.run(); r.Resumed {
			t.Error("a seed that was done is resumed")
		}
		b.mustBeEqual()
	}
	other := testkit.Item("k", "only on the target")
	testkit.Put(t, b.db, b.options.TargetTable, other)
	b.run()
	if testkit.Get(t, b.db, b.options.TargetTable, other) == nil {
		t.Error("a seed deleted an item that the source never had")
	}
}

func TestResultFields(t *testing.T) {
	data, err := json.Marshal(seed.Result{})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"source", "target", "segments", "items_read", "items_written", "items_rechecked", "items_rewritten",
		"read_units", "write_units", "throttled", "resumed", "elapsed_seconds",
	} {
		if !strings.Contains(string(data), `"`+name+`":`) {
			t.Errorf("%s lacks %s", data, name)
		}
	}
}

// Each kind of request is throttled at first; nothing is lost and everything is counted.
func TestRunIsThrottled(t *testing.T) {
	b := newBench(t, numbered(200))
	var throttled atomic.Int64
	every := func(n int64) testkit.Hook {
		var calls atomic.Int64
		return func(x *testkit.Exchange) *testkit.Response {
			if slices.Contains([]string{"Scan", "BatchGetItem", "BatchWriteItem"}, x.Op) && calls.Add(1)%n != 0 {
				throttled.Add(1)
				return testkit.Throttle(x.Op)
			}
			return nil
		}
	}
	b.source.Use(every(2))
	b.target.Use(every(2))
	r := b.run()
	b.mustBeEqual()
	if r.Throttled != throttled.Load() || r.Throttled == 0 {
		t.Errorf("%d throttled requests reported, %d made", r.Throttled, throttled.Load())
	}
	if r.WriteUnits != 200 {
		t.Errorf("%g write units for 200 items", r.WriteUnits)
	}
}

// The target leaves items unprocessed: all of a batch, then half of it, and so on.
func TestRunWithUnprocessedItems(t *testing.T) {
	b := newBench(t, numbered(60))
	var calls atomic.Int64
	b.target.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchWriteItem" {
			return nil
		}
		var body struct{ RequestItems map[string][]json.RawMessage }
		if err := json.Unmarshal(x.Body, &body); err != nil {
			t.Error(err)
			return nil
		}
		requests := body.RequestItems[b.options.TargetTable]
		done := 0
		if calls.Add(1)%2 == 0 {
			done = (len(requests) + 1) / 2
			body.RequestItems[b.options.TargetTable] = requests[:done]
			x.Body, _ = json.Marshal(body)
			if status, answer, err := x.Forward(); err != nil || status != http.StatusOK {
				t.Errorf("forward: %d %s %v", status, answer, err)
			}
		}
		left := map[string][]json.RawMessage{b.options.TargetTable: requests[done:]}
		if len(requests) == done {
			left = map[string][]json.RawMessage{}
		}
		answer, _ := json.Marshal(map[string]any{"UnprocessedItems": left})
		return &testkit.Response{Status: http.StatusOK, Body: answer}
	})
	r := b.run()
	b.mustBeEqual()
	if r.Throttled == 0 || r.ItemsWritten != 60 {
		t.Errorf("result %+v", r)
	}
}

// Whatever request is refused for good, the seed fails. None is skipped, none is taken for success.
func TestRunFailsWithAnyRequest(t *testing.T) {
	b := newBench(t, numbered(120))
	b.options.Segments = 2
	b.options.Checkpoint = ""
	count := func(p *testkit.Proxy) int {
		return p.Count("Scan") + p.Count("BatchGetItem") + p.Count("BatchWriteItem")
	}
	b.run()
	totals := map[string]int{"source": count(b.source), "target": count(b.target)}
	for name, p := range map[string]*testkit.Proxy{"source": b.source, "target": b.target} {
		total := totals[name]
		if total < 4 {
			t.Fatalf("only %d requests to the %s", total, name)
		}
		for n := range total {
			var calls atomic.Int64
			p.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op != "DescribeTable" && calls.Add(1) == int64(n+1) {
					return testkit.Fail(http.StatusBadRequest, "AccessDeniedException", "no more")
				}
				return nil
			})
			if _, err := seed.Run(t.Context(), b.options); err == nil || !strings.Contains(err.Error(), "AccessDenied") {
				t.Errorf("request %d to the %s refused: error %v", n+1, name, err)
			}
		}
		p.Use(nil)
	}
}

func TestPlanWritesNothing(t *testing.T) {
	b := newBench(t, numbered(100))
	plan, err := seed.Plan(t.Context(), b.options, seed.Prices{})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Items != 100 || plan.WriteUnits != 100 || !plan.DryRun || math.Abs(plan.ReadUnits-100) > 5 {
		t.Errorf("plan %+v", plan)
	}
	if b.target.Count("BatchWriteItem") != 0 || b.source.Count("Scan") != b.options.Segments {
		t.Errorf("a dry run writes, or reads more than a page of each segment")
	}
	if _, err := readFile(b.options.Checkpoint); err == nil {
		t.Error("a dry run writes a checkpoint")
	}
}
