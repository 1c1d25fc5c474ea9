package converge_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/converge"
	"reseal/internal/item"
	"reseal/internal/test/testkit"
)

const (
	readOp  = "BatchGetItem"
	writeOp = "BatchWriteItem"
)

// kit is a source and a target on a real engine, each behind a proxy of its own, and an application and a replicator that do
// what a test tells them.
type kit struct {
	*testing.T
	*converge.Converger
	db             *dynamodb.Client // past the proxies
	source, target string
	sourceProxy    *testkit.Proxy
	targetProxy    *testkit.Proxy
	stream         []func() // changes that the replicator has not applied yet
}

func newKit(t *testing.T) *kit {
	t.Helper()
	url := testkit.Engine(t)
	k := &kit{T: t, db: testkit.Client(url), sourceProxy: testkit.NewProxy(t, url), targetProxy: testkit.NewProxy(t, url)}
	k.source = testkit.CreateTable(t, k.db, testkit.TableSpec{Hash: "id:S"})
	k.target = testkit.CreateTable(t, k.db, testkit.TableSpec{Hash: "id:S"})
	source, target := testkit.Client(k.sourceProxy.URL), testkit.Client(k.targetProxy.URL)
	policy, limiter := call.Policy{Timeout: 30 * time.Second}, capacity.NewLimiter(0)
	k.Converger = &converge.Converger{
		Source:  &batch.Reader{API: source, Table: k.source, Schema: schema, Limiter: limiter, Policy: policy},
		Target:  &batch.Reader{API: target, Table: k.target, Schema: schema, Limiter: limiter, Policy: policy},
		Writer:  &batch.Writer{API: target, Table: k.target, Schema: schema, Limiter: limiter, Policy: policy},
		Recheck: true,
	}
	return k
}

// put has the application write an item to the source; replicate has the replicator catch up.
func (k *kit) put(id string, value any) {
	attrs := testkit.Item("id", id, "value", value)
	testkit.Put(k.T, k.db, k.source, attrs)
	k.stream = append(k.stream, func() { testkit.Put(k.T, k.db, k.target, attrs) })
}

func (k *kit) delete(id string) {
	key := testkit.Item("id", id)
	testkit.Delete(k.T, k.db, k.source, key)
	k.stream = append(k.stream, func() { testkit.Delete(k.T, k.db, k.target, key) })
}

func (k *kit) replicate() {
	for _, apply := range k.stream {
		apply()
	}
	k.stream = nil
}

// old fills the source with n items from before the stream was enabled and returns the writes that copy them.
func (k *kit) old(n int) []batch.Op {
	k.Helper()
	var ops []batch.Op
	for i := range n {
		ops = append(ops, k.op(fmt.Sprintf("id-%03d", i), "v1"))
		testkit.Put(k.T, k.db, k.source, ops[i].Item.Attributes())
	}
	return ops
}

func (k *kit) op(id string, value any) batch.Op {
	k.Helper()
	it := item.Of(testkit.Item("id", id, "value", value))
	key, err := schema.KeyOf(it)
	if err != nil {
		k.Fatal(err)
	}
	return batch.Op{Key: key, Item: it}
}

func keysOf(ops []batch.Op) (keys []item.Key) {
	for _, op := range ops {
		keys = append(keys, op.Key)
	}
	return keys
}

// at runs do within the n-th request for op that comes through the proxy (from 1), before it is passed on. The test waits in
// the converger meanwhile, so do may use its helpers.
func at(p *testkit.Proxy, op string, do map[int]testkit.Hook) {
	var n atomic.Int64
	p.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != op {
			return nil
		}
		if hook := do[int(n.Add(1))]; hook != nil {
			return hook(x)
		}
		return nil
	})
}

// event is a hook that passes the request on.
func event(do func()) testkit.Hook {
	return func(*testkit.Exchange) *testkit.Response {
		do()
		return nil
	}
}

// cut loses a request, or, with forward, only its answer.
func cut(forward bool) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		if forward {
			if _, _, err := x.Forward(); err != nil {
				panic(err)
			}
		}
		return &testkit.Response{Cut: true}
	}
}

// wantEqual has the replicator catch up and compares the tables.
func (k *kit) wantEqual() {
	k.Helper()
	k.replicate()
	for _, line := range testkit.Diff(k.T, k.db, k.source, k.db, k.target) {
		k.Error(line)
	}
}

func (k *kit) wantRequests(writes, reads int) {
	k.Helper()
	if w, r := k.targetProxy.Count(writeOp), k.sourceProxy.Count(readOp); w != writes || r != reads {
		k.Errorf("%d writes and %d reads, want %d and %d", w, r, writes, reads)
	}
}

// write calls Write, which must succeed, and compares the uncertain keys, in any order.
func (k *kit) write(ops []batch.Op, uncertain ...item.Key) {
	k.Helper()
	got, err := k.Write(k.Context(), ops)
	if err != nil {
		k.Fatal(err)
	}
	k.wantKeys(got, uncertain)
}

func (k *kit) wantKeys(got, want []item.Key) {
	k.Helper()
	for _, key := range got {
		if !slices.Contains(want, key) {
			k.Errorf("uncertain: %q", key.ID())
		}
	}
	for _, key := range want {
		if !slices.Contains(got, key) {
			k.Errorf("not uncertain: %q", key.ID())
		}
	}
}

func TestWriteQuietSource(t *testing.T) {
	k := newKit(t)
	k.write(k.old(25))
	k.wantEqual()
	k.wantRequests(1, 1)
	if k.Rechecked() != 25 || k.Rewritten() != 0 {
		t.Errorf("%d re-checked, %d rewritten, want 25 and 0", k.Rechecked(), k.Rewritten())
	}
	k.write(nil)
	k.wantRequests(1, 1)
}

// The replicator applies the change, and then the seeder's older write lands.
func TestLostUpdate(t *testing.T) {
	k := newKit(t)
	ops := k.old(5)
	at(k.targetProxy, writeOp, map[int]testkit.Hook{1: event(func() { k.put("id-002", "v2"); k.replicate() })})
	k.write(ops)
	k.wantEqual()
	k.wantRequests(2, 2)
	if k.Rechecked() != 5 || k.Rewritten() != 1 {
		t.Errorf("%d re-checked, %d rewritten, want 5 and 1", k.Rechecked(), k.Rewritten())
	}
}

func TestResurrection(t *testing.T) {
	k := newKit(t)
	ops := k.old(5)
	at(k.targetProxy, writeOp, map[int]testkit.Hook{1: event(func() { k.delete("id-002"); k.delete("id-004"); k.replicate() })})
	k.write(ops)
	k.wantEqual()
	if k.Rewritten() != 2 {
		t.Errorf("%d rewritten, want 2", k.Rewritten())
	}
}

// An item is deleted, and made anew when the seeder is about to delete it.
func TestDeletedAndBack(t *testing.T) {
	k := newKit(t)
	ops := k.old(3)
	at(k.targetProxy, writeOp, map[int]testkit.Hook{
		1: event(func() { k.delete("id-001"); k.replicate() }),
		2: event(func() { k.put("id-001", "back"); k.replicate() }),
	})
	k.write(ops)
	k.wantEqual()
}

func TestChangedTwice(t *testing.T) {
	k := newKit(t)
	ops := k.old(3)
	at(k.targetProxy, writeOp, map[int]testkit.Hook{
		1: event(func() { k.put("id-001", "v2"); k.replicate() }),
		2: event(func() { k.put("id-001", "v3"); k.replicate() }),
	})
	k.write(ops)
	k.wantEqual()
	k.wantRequests(3, 4) // after the second write it is found changed and, read again, unmoved
}

// A key that changes and changes back is found as it was written, whatever was applied meanwhile.
func TestChangesBack(t *testing.T) {
	for name, replicated := range map[string]int{"nothing replicated": 0, "the change replicated": 1, "all replicated": 2} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			ops := k.old(3)
			at(k.targetProxy, writeOp, map[int]testkit.Hook{1: event(func() {
				k.put("id-001", "v2")
				k.put("id-001", "v1")
				for range replicated {
					k.stream[0]()
					k.stream = k.stream[1:]
				}
			})})
			k.write(ops)
			k.wantRequests(1, 1)
			k.wantEqual()
		})
	}
}

// The same between the two reads of a hot key: the second finds what the first did, so the key is written once more.
func TestHotKeyChangesBack(t *testing.T) {
	k := newKit(t)
	ops := k.old(1)
	at(k.sourceProxy, readOp, map[int]testkit.Hook{
		1: event(func() { k.put("id-000", "v2") }),
		2: event(func() { k.put("id-000", "v3") }),
		3: event(func() { k.put("id-000", "v4"); k.put("id-000", "v3"); k.replicate() }),
	})
	k.write(ops)
	k.wantEqual()
	k.wantRequests(3, 4)
}

// A key that is never found as it was written is left to the replicator as soon as that is known to be right.
func TestHotKey(t *testing.T) {
	for name, prompt := range map[string]bool{"replication lags": false, "replication is prompt": true} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			ops := k.old(25)
			n := 0
			hot := event(func() {
				n++
				k.put("id-007", n)
				if prompt {
					k.replicate()
				}
			})
			k.sourceProxy.Use(hot)
			k.targetProxy.Use(hot)
			k.write(ops)
			k.wantEqual()
			k.wantRequests(2, 3)
			if k.Rewritten() != 1 {
				t.Errorf("%d rewritten, want 1", k.Rewritten())
			}
		})
	}
}

func TestUncertain(t *testing.T) {
	for name, forward := range map[string]bool{"before it is applied": false, "after it is applied": true} {
		t.Run("cut "+name, func(t *testing.T) {
			k := newKit(t)
			ops := k.old(3)
			at(k.targetProxy, writeOp, map[int]testkit.Hook{1: cut(forward)})
			k.write(ops, keysOf(ops)...)
			k.wantEqual()
			k.wantRequests(2, 1)
		})
	}
}

// A write whose sender has given up lands when a newer one has been re-checked. Settle puts that right.
func TestSettleLateWrite(t *testing.T) {
	for name, change := range map[string]func(*kit){
		"after an update": func(k *kit) { k.put("id-001", "v2") },
		"after a delete":  func(k *kit) { k.delete("id-001") },
		"of the same":     func(*kit) {},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			ops := k.old(3)
			var held *testkit.Exchange
			at(k.targetProxy, writeOp, map[int]testkit.Hook{1: func(x *testkit.Exchange) *testkit.Response {
				held = x
				return &testkit.Response{Cut: true}
			}})
			k.write(ops, keysOf(ops)...)
			change(k)
			k.wantEqual()
			if _, _, err := held.Forward(); err != nil {
				t.Fatal(err)
			}
			late := len(testkit.Diff(t, k.db, k.source, k.db, k.target))
			if (late > 0) != (name != "of the same") {
				t.Fatalf("%d differences after the late write", late)
			}
			again, err := k.Settle(t.Context(), keysOf(ops))
			if err != nil || len(again) != 0 {
				t.Errorf("error %v, uncertain again: %v", err, again)
			}
			k.wantEqual()
			if got := k.Rewritten(); got != int64(late) {
				t.Errorf("%d rewritten, want %d", got, late)
			}
		})
	}
}

// A write of Settle's own may be lost, too.
func TestSettleUncertainAgain(t *testing.T) {
	k := newKit(t)
	ops := k.old(250) // none of which is on the target
	at(k.targetProxy, writeOp, map[int]testkit.Hook{2: cut(false), 5: cut(true)})
	again, err := k.Settle(t.Context(), keysOf(ops))
	if err != nil || len(again) != 50 {
		t.Errorf("error %v, %d uncertain again, want the 50 of two batches", err, len(again))
	}
	k.wantEqual()
	again, err = k.Settle(t.Context(), again)
	if err != nil || len(again) != 0 {
		t.Errorf("error %v, %d uncertain again", err, len(again))
	}
	k.wantEqual()
}

func TestWriteErrors(t *testing.T) {
	refused := func(x *testkit.Exchange) *testkit.Response { return testkit.Fail(400, "ValidationException", x.Op) }
	ops := 60 // three batches
	for name, test := range map[string]struct {
		source, target map[int]testkit.Hook
		uncertain      int
	}{
		"write refused":         {nil, map[int]testkit.Hook{1: refused}, ops},
		"later batch refused":   {nil, map[int]testkit.Hook{3: refused}, ops},
		"re-check refused":      {map[int]testkit.Hook{1: refused}, nil, ops},
		"second write refused":  {nil, map[int]testkit.Hook{4: refused}, 2},
		"second re-check":       {map[int]testkit.Hook{2: refused}, nil, 2},
		"lost, and then second": {nil, map[int]testkit.Hook{2: cut(true), 5: refused}, 27},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			list := k.old(ops)
			k.put("id-000", "v2") // two that are found changed
			k.put("id-001", "v2")
			at(k.sourceProxy, readOp, test.source)
			at(k.targetProxy, writeOp, test.target)
			uncertain, err := k.Write(t.Context(), list)
			if err == nil {
				t.Fatal("no error")
			}
			if len(uncertain) != test.uncertain {
				t.Errorf("%d uncertain keys, want %d", len(uncertain), test.uncertain)
			}
			k.sourceProxy.Use(nil)
			k.targetProxy.Use(nil)
			if _, err := k.Settle(t.Context(), uncertain); err != nil {
				t.Error(err)
			}
			k.wantEqual()
		})
	}
}

func TestSettleErrors(t *testing.T) {
	refused := func(x *testkit.Exchange) *testkit.Response { return testkit.Fail(400, "ValidationException", x.Op) }
	for name, test := range map[string]struct {
		proxy func(*kit) *testkit.Proxy
		op    string
		n     int
	}{
		"read of source": {func(k *kit) *testkit.Proxy { return k.sourceProxy }, readOp, 3}, // the first chunk is re-checked
		"read of target": {func(k *kit) *testkit.Proxy { return k.targetProxy }, readOp, 2},
		"write":          {func(k *kit) *testkit.Proxy { return k.targetProxy }, writeOp, 5},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			ops := k.old(150)
			at(test.proxy(k), test.op, map[int]testkit.Hook{test.n: refused})
			left, err := k.Settle(t.Context(), keysOf(ops))
			if err == nil {
				t.Error("no error")
			}
			k.wantKeys(left, keysOf(ops[100:]))
		})
	}
}

func TestWithoutRecheck(t *testing.T) {
	k := newKit(t)
	k.Recheck = false
	ops := k.old(30)
	at(k.targetProxy, writeOp, map[int]testkit.Hook{2: cut(false)})
	k.write(ops, keysOf(ops[25:])...)
	k.wantEqual()
	k.wantRequests(3, 0)
	if k.Rechecked() != 0 || k.Rewritten() != 0 {
		t.Errorf("%d re-checked, %d rewritten", k.Rechecked(), k.Rewritten())
	}
	if again, err := k.Settle(t.Context(), keysOf(ops)); err != nil || len(again) != 0 {
		t.Errorf("settle: error %v, uncertain %v", err, again)
	}
}

func TestCompare(t *testing.T) {
	k := newKit(t)
	ops := k.old(4)
	testkit.Put(t, k.db, k.target, ops[1].Item.Attributes())
	testkit.Put(t, k.db, k.target, testkit.Item("id", "id-002", "value", "other"))
	testkit.Delete(t, k.db, k.source, ops[3].Key.Attributes())
	testkit.Put(t, k.db, k.target, ops[3].Item.Attributes())
	got, err := k.Compare(t.Context(), append(keysOf(ops), k.op("neither", 0).Key))
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, op := range got {
		list = append(list, fmt.Sprint(op.Key.ID()[2:], " absent ", op.Item.Absent()))
	}
	want := []string{"id-000 absent false", "id-002 absent false", "id-003 absent true"}
	if !slices.Equal(list, want) {
		t.Errorf("got %q, want %q", list, want)
	}
}

func TestWriteContextEnds(t *testing.T) {
	k := newKit(t)
	ops := k.old(5)
	ctx, cancel := context.WithCancel(t.Context())
	at(k.sourceProxy, readOp, map[int]testkit.Hook{1: event(cancel)})
	uncertain, err := k.Write(ctx, ops)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	k.wantKeys(uncertain, keysOf(ops))
	if n := len(testkit.ScanAll(t, k.db, k.target)); n != 5 {
		t.Errorf("%d items on the target, want 5: they were written", n)
	}
}
