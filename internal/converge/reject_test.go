package converge_test

import (
	"bytes"
	"errors"
	"testing"

	"reseal/internal/item"
	"reseal/internal/test/testkit"
)

// refuseBad has the target refuse whatever has the value "bad".
func (k *kit) refuseBad() {
	k.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == writeOp && bytes.Contains(x.Body, []byte(`"bad"`)) {
			return testkit.Fail(400, "com.amazon.coral.validate#ValidationException", "bad")
		}
		return nil
	})
}

// An item that the target refuses is reported and left; the others are copied and re-checked.
func TestReject(t *testing.T) {
	k := newKit(t)
	ops := append(k.old(9), k.op("x-bad", "bad"))
	testkit.Put(t, k.db, k.source, ops[9].Item.Attributes())
	k.refuseBad()
	var rejected []item.Key
	k.Reject = func(key item.Key, _ error) error {
		rejected = append(rejected, key)
		return nil
	}
	k.write(ops)
	if len(rejected) != 1 || rejected[0] != ops[9].Key || k.Rechecked() != 9 {
		t.Errorf("%d rejected; %d re-checked", len(rejected), k.Rechecked())
	}
	if lines := testkit.Diff(t, k.db, k.source, k.db, k.target); len(lines) != 1 {
		t.Errorf("want the rejected item missing only, got %q", lines)
	}
	if again, err := k.Settle(t.Context(), keysOf(ops)); err != nil || len(again) != 0 || len(rejected) != 2 {
		t.Errorf("settle: error %v, %d uncertain, %d rejected", err, len(again), len(rejected))
	}
}

// The same for an item that is refused only as the source has it at the re-check.
func TestRejectAtRecheck(t *testing.T) {
	k := newKit(t)
	ops := k.old(4)
	k.refuseBad()
	at(k.sourceProxy, readOp, map[int]testkit.Hook{1: event(func() {
		testkit.Put(t, k.db, k.source, testkit.Item("id", "id-001", "value", "bad"))
		k.put("id-002", "v2")
	})})
	var rejected []item.Key
	k.Reject = func(key item.Key, _ error) error {
		rejected = append(rejected, key)
		return nil
	}
	k.write(ops)
	if len(rejected) != 1 || rejected[0] != ops[1].Key {
		t.Errorf("rejected %v", rejected)
	}
	k.replicate()
	if lines := testkit.Diff(t, k.db, k.source, k.db, k.target); len(lines) != 1 {
		t.Errorf("want the rejected item different only, got %q", lines)
	}
}

func TestRejectFails(t *testing.T) {
	k := newKit(t)
	ops := append(k.old(3), k.op("x-bad", "bad"))
	k.refuseBad()
	planted := errors.New("planted")
	k.Reject = func(item.Key, error) error { return planted }
	uncertain, err := k.Write(t.Context(), ops)
	if !errors.Is(err, planted) {
		t.Errorf("error %v", err)
	}
	k.wantKeys(uncertain, keysOf(ops))
}
