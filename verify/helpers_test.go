package verify_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type attrs = map[string]types.AttributeValue

// longTime is a settling time that no test waits for.
const longTime = time.Hour

// tables is a source and a target, each behind a proxy of its own.
type tables struct {
	t                        *testing.T
	engine                   *dynamodb.Client // past the proxies
	source, target           string
	sourceProxy, targetProxy *testkit.Proxy
}

// newTables makes two empty tables.
func newTables(t *testing.T, spec testkit.TableSpec) *tables {
	t.Helper()
	return tablesOf(t, spec, spec)
}

func tablesOf(t *testing.T, source, target testkit.TableSpec) *tables {
	t.Helper()
	engine := testkit.Client(testkit.Engine(t))
	ts := &tables{
		t: t, engine: engine,
		source: testkit.CreateTable(t, engine, source), target: testkit.CreateTable(t, engine, target),
	}
	ts.freshProxies()
	return ts
}

// freshProxies replaces the proxies. To be called after a run that failed: requests that it gave up may still be on their way to
// the old ones, and would be taken for the next run's.
func (ts *tables) freshProxies() {
	url := testkit.Engine(ts.t)
	ts.sourceProxy, ts.targetProxy = testkit.NewProxy(ts.t, url), testkit.NewProxy(ts.t, url)
}

// numbered makes two tables that hold the same items, k0 to k(count-1) with v = their number.
func numbered(t *testing.T, count int) *tables {
	t.Helper()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var items []attrs
	for i := range count {
		items = append(items, testkit.Item("id", fmt.Sprint("k", i), "v", i))
	}
	ts.fill(items)
	return ts
}

// fill writes the items to both tables, in another order to the target.
func (ts *tables) fill(items []attrs) {
	ts.t.Helper()
	testkit.Fill(ts.t, ts.engine, ts.source, items)
	items = slices.Clone(items)
	slices.Reverse(items)
	testkit.Fill(ts.t, ts.engine, ts.target, items)
}

func (ts *tables) putSource(kv ...any) { testkit.Put(ts.t, ts.engine, ts.source, testkit.Item(kv...)) }

func (ts *tables) putTarget(kv ...any) { testkit.Put(ts.t, ts.engine, ts.target, testkit.Item(kv...)) }

// hookPut and hookDelete write from a hook, whose goroutine must not end the test.
func (ts *tables) hookPut(table string, kv ...any) {
	in := &dynamodb.PutItemInput{TableName: &table, Item: testkit.Item(kv...)}
	if _, err := ts.engine.PutItem(ts.t.Context(), in); err != nil {
		ts.t.Error(err)
	}
}

func (ts *tables) hookDelete(table, id string) {
	in := &dynamodb.DeleteItemInput{TableName: &table, Key: testkit.Item("id", id)}
	if _, err := ts.engine.DeleteItem(ts.t.Context(), in); err != nil {
		ts.t.Error(err)
	}
}

// damage makes k0 missing, k1 different, and x an extra item.
func (ts *tables) damage() {
	testkit.Delete(ts.t, ts.engine, ts.target, testkit.Item("id", "k0"))
	ts.putTarget("id", "k1", "v", "damaged")
	ts.putTarget("id", "x", "v", 0)
}

// options are those of a small run that decides at once.
func (ts *tables) options(change ...func(*verify.Options)) verify.Options {
	o := verify.Options{
		Source: testkit.Client(ts.sourceProxy.URL), SourceTable: ts.source,
		Target: testkit.Client(ts.targetProxy.URL), TargetTable: ts.target,
		Segments: 3, MaxMemory: 64 << 20,
	}
	for _, f := range change {
		f(&o)
	}
	return o
}

func withRepair(o *verify.Options)    { o.Repair = true }
func settling(d time.Duration) option { return func(o *verify.Options) { o.Settle = d } }
func segments(n int) option           { return func(o *verify.Options) { o.Segments = n } }
func reporting(f func(difference)) option {
	return func(o *verify.Options) {
		o.Difference = func(d difference) error { f(d); return nil }
	}
}

type (
	option     = func(*verify.Options)
	difference = verify.Difference
)

// verify runs a verification that must not fail. Unless an option says otherwise, it returns the differences by their key's JSON.
func (ts *tables) verify(change ...option) (verify.Result, map[string]difference) {
	ts.t.Helper()
	found := map[string]difference{}
	collect := reporting(func(d difference) {
		if d.AfterRepair {
			return
		}
		key, err := d.Key.JSON()
		if _, twice := found[key]; twice || err != nil {
			ts.t.Errorf("key %s: reported twice, or %v", key, err)
		}
		found[key] = d
	})
	result, err := verify.Run(ts.t.Context(), ts.options(append([]option{collect}, change...)...))
	if err != nil {
		ts.t.Fatal(err)
	}
	return result, found
}

// writes is the number of requests for writes that the proxies have seen.
func (ts *tables) writes() int {
	sum := 0
	for _, op := range []string{"BatchWriteItem", "PutItem", "DeleteItem", "UpdateItem", "TransactWriteItems"} {
		sum += ts.sourceProxy.Count(op) + ts.targetProxy.Count(op)
	}
	return sum
}

// requests is the number of requests for data that the proxies have seen.
func (ts *tables) requests() int {
	sum := ts.writes()
	for _, op := range []string{"Scan", "BatchGetItem"} {
		sum += ts.sourceProxy.Count(op) + ts.targetProxy.Count(op)
	}
	return sum
}

// verdict is what must not depend on how the tables were read.
type verdict struct {
	match                                               bool
	sourceItems, targetItems, missing, extra, different int64
	stillChanging, settled, repaired                    int64
}

func verdictOf(r verify.Result) verdict {
	return verdict{
		match: r.Match, sourceItems: r.SourceItems, targetItems: r.TargetItems,
		missing: r.Missing, extra: r.Extra, different: r.Different,
		stillChanging: r.StillChanging, settled: r.Settled, repaired: r.Repaired,
	}
}

// expect compares the verdicts.
func (ts *tables) expect(r verify.Result, want verdict) {
	ts.t.Helper()
	if got := verdictOf(r); got != want {
		ts.t.Errorf("verdict %+v, want %+v", got, want)
	}
	if same := r.SourceFingerprint == r.TargetFingerprint; same != r.Match {
		ts.t.Errorf("match is %v, but the fingerprints are %s and %s", r.Match, r.SourceFingerprint, r.TargetFingerprint)
	}
}

// judge fails the test unless testkit's own comparison finds the tables equal.
func (ts *tables) judge() {
	ts.t.Helper()
	for _, line := range testkit.Diff(ts.t, ts.engine, ts.source, ts.engine, ts.target) {
		ts.t.Error(line)
	}
}

// object is JSON as a hook changes it.
type object = map[string]any

// change applies f to a JSON object.
func change(body []byte, f func(object)) []byte {
	var o object
	if err := json.Unmarshal(body, &o); err != nil {
		panic(fmt.Sprintf("%v in %s", err, body))
	}
	f(o)
	changed, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return changed
}

// answer forwards the request and changes what the engine answers.
func answer(x *testkit.Exchange, f func([]byte) []byte) *testkit.Response {
	status, body, err := x.Forward()
	if err != nil {
		return &testkit.Response{Cut: true}
	}
	if status == 200 {
		body = f(body)
	}
	return &testkit.Response{Status: status, Body: body}
}

// paged makes the pages of a Scan n items long, then goes on with the next hook.
func paged(n int, next testkit.Hook) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" {
			x.Body = change(x.Body, func(o object) { o["Limit"] = n })
		}
		if next == nil {
			return nil
		}
		return next(x)
	}
}

// on calls f for the requests for op, with their number, which starts at 1.
func on(op string, f func(n int, x *testkit.Exchange) *testkit.Response) testkit.Hook {
	var count atomic.Int64
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op != op {
			return nil
		}
		return f(int(count.Add(1)), x)
	}
}

// denied is a permanent failure.
func denied() *testkit.Response {
	return testkit.Fail(400, "com.amazon.coral.service#AccessDeniedException", "not for you")
}

// moments is a list of times that several goroutines add to.
type moments struct {
	mu   sync.Mutex
	list []time.Time
}

func (m *moments) add() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = append(m.list, time.Now())
}

func (m *moments) all() []time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}
