package batch_test

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/test/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

var schema = item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}}

// kit is a table behind a proxy, and what works on it through the proxy.
type kit struct {
	*testing.T
	proxy  *testkit.Proxy
	past   *dynamodb.Client // not through the proxy
	table  string
	writer *batch.Writer
	reader *batch.Reader
}

// impatient gives up at the second failure in a row, throttled or not.
var impatient = call.Policy{Timeout: 30 * time.Second, GiveUp: 1, GiveUpSlowed: 1}

func newKit(t *testing.T) *kit {
	t.Helper()
	url := testkit.Engine(t)
	k := &kit{T: t, proxy: testkit.NewProxy(t, url), past: testkit.Client(url)}
	k.table = testkit.CreateTable(t, k.past, testkit.TableSpec{Hash: "id:S"})
	policy := call.Policy{Timeout: 30 * time.Second}
	through := testkit.Client(k.proxy.URL)
	k.writer = &batch.Writer{API: through, Table: k.table, Schema: schema, Limiter: capacity.NewLimiter(0), Policy: policy}
	k.reader = &batch.Reader{API: through, Table: k.table, Schema: schema, Limiter: capacity.NewLimiter(0), Policy: policy}
	return k
}

// script answers the requests for op, the first by the first hook and so on; a nil hook, and the end of the list, passes on.
func (k *kit) script(op string, hooks ...testkit.Hook) {
	var n atomic.Int64
	k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != op {
			return nil
		}
		i := int(n.Add(1)) - 1
		if i >= len(hooks) || hooks[i] == nil {
			return nil
		}
		return hooks[i](x)
	})
}

// answer is a hook that answers without the engine.
func answer(r *testkit.Response) testkit.Hook {
	return func(*testkit.Exchange) *testkit.Response { return r }
}

func body(s string) *testkit.Response { return &testkit.Response{Body: []byte(s)} }

var cut = &testkit.Response{Cut: true}

// forward has the engine carry out the request as it is now, and returns the answer's fields.
func (k *kit) forward(x *testkit.Exchange) map[string]json.RawMessage {
	status, answer, err := x.Forward()
	fields := map[string]json.RawMessage{}
	if err != nil || status != 200 || json.Unmarshal(answer, &fields) != nil {
		k.Errorf("forward %s: status %d, error %v: %s", x.Op, status, err, answer)
	}
	return fields
}

// marshal is json.Marshal of what can be marshalled.
func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// id is the key with the given number, as n items have it.
func id(n int) string { return fmt.Sprintf("id-%04d", n) }

func put(k *testing.T, kv ...any) batch.Op {
	k.Helper()
	it := item.Of(testkit.Item(kv...))
	key, err := schema.KeyOf(it)
	if err != nil {
		k.Fatal(err)
	}
	return batch.Op{Key: key, Item: it}
}

func del(k *testing.T, id string) batch.Op {
	k.Helper()
	return batch.Op{Key: put(k, "id", id).Key}
}

// puts returns n puts with the given value.
func puts(k *testing.T, n int, value string) []batch.Op {
	k.Helper()
	ops := make([]batch.Op, n)
	for i := range ops {
		ops[i] = put(k, "id", id(i), "value", value)
	}
	return ops
}

func keysOf(ops []batch.Op) []item.Key {
	keys := make([]item.Key, len(ops))
	for i, op := range ops {
		keys[i] = op.Key
	}
	return keys
}

// wantTable compares the table with what the ops make of an empty one.
func (k *kit) wantTable(ops []batch.Op) {
	k.Helper()
	want := testkit.CreateTable(k.T, k.past, testkit.TableSpec{Hash: "id:S"})
	var items []map[string]types.AttributeValue
	for _, op := range ops {
		if !op.Item.Absent() {
			items = append(items, op.Item.Attributes())
		}
	}
	for chunk := range slices.Chunk(items, 10) { // large items would make too large a request
		testkit.Fill(k.T, k.past, want, chunk)
	}
	for _, line := range testkit.Diff(k.T, k.past, want, k.past, k.table) {
		k.Error(line)
	}
}

// wantKeys compares two lists of keys, in order.
func (k *kit) wantKeys(what string, got, want []item.Key) {
	k.Helper()
	if len(got) != len(want) {
		k.Errorf("%d %s keys, want %d", len(got), what, len(want))
		return
	}
	for i := range got {
		if got[i] != want[i] {
			k.Errorf("%s key %d is %q, want %q", what, i, got[i].ID(), want[i].ID())
		}
	}
}

func (k *kit) wantRequests(op string, want int) {
	k.Helper()
	if got := k.proxy.Count(op); got != want {
		k.Errorf("%d requests for %s, want %d", got, op, want)
	}
}
