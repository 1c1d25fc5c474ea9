package batch_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/test/testkit"
)

// refusing refuses a request that holds one of the words, as DynamoDB refuses a batch for one bad item, and loses the n-th of
// the others.
func refusing(n int, words ...string) testkit.Hook {
	passed := 0
	return func(x *testkit.Exchange) *testkit.Response {
		for _, word := range words {
			if bytes.Contains(x.Body, []byte(`"`+word+`"`)) {
				return testkit.Fail(400, "com.amazon.coral.validate#ValidationException", "Type mismatch for Index Key")
			}
		}
		if passed++; passed == n {
			return cut
		}
		return nil
	}
}

func TestWriteRejects(t *testing.T) {
	k := newKit(t)
	k.proxy.Use(refusing(0, id(3), id(4), id(19)))
	var rejected []item.Key
	k.writer.Reject = func(op batch.Op, reason error) error {
		if text := call.Message(reason); !strings.Contains(text, "Type mismatch") || strings.Contains(reason.Error(), "Type mismatch") {
			t.Errorf("reason %v, message %q", reason, text)
		}
		rejected = append(rejected, op.Key)
		return nil
	}
	ops := append(puts(t, 24, "v"), del(t, "x"))
	uncertain, err := k.writer.Write(t.Context(), ops)
	if err != nil || uncertain != nil {
		t.Fatalf("error %v, uncertain %v", err, uncertain)
	}
	slices.SortFunc(rejected, func(a, b item.Key) int { return strings.Compare(a.ID(), b.ID()) })
	k.wantKeys("rejected", rejected, keysOf([]batch.Op{ops[3], ops[4], ops[19]}))
	good := slices.DeleteFunc(slices.Clone(ops), func(op batch.Op) bool { return slices.Contains(rejected, op.Key) })
	k.wantTable(good)
	if n := k.proxy.Count(write); n > 3*10 {
		t.Errorf("%d requests to find 3 items of 25", n)
	}
}

// A full item collection (a target with a local index) is one item's matter, and so is nothing that the table or the caller is to
// blame for.
func TestWhatIsAnItemsFault(t *testing.T) {
	for code, items := range map[string]bool{
		"com.amazonaws.dynamodb.v20120810#ItemCollectionSizeLimitExceededException": true,
		"com.amazon.coral.validate#ValidationException":                             true,
		"com.amazon.coral.service#AccessDeniedException":                            false,
		"com.amazonaws.dynamodb.v20120810#ResourceNotFoundException":                false,
		"com.amazon.coral.service#SerializationException":                           false,
	} {
		t.Run(code, func(t *testing.T) {
			k := newKit(t)
			k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op == write && bytes.Contains(x.Body, []byte(`"`+id(3)+`"`)) {
					return testkit.Fail(400, code, "no")
				}
				return nil
			})
			var rejected []item.Key
			k.writer.Reject = func(op batch.Op, _ error) error {
				rejected = append(rejected, op.Key)
				return nil
			}
			ops := puts(t, 24, "v")
			if _, err := k.writer.Write(t.Context(), ops); (err == nil) != items {
				t.Fatalf("error %v", err)
			}
			if !items {
				k.wantKeys("rejected", rejected, nil)
				return
			}
			k.wantKeys("rejected", rejected, keysOf(ops[3:4]))
			k.wantTable(slices.Delete(slices.Clone(ops), 3, 4))
		})
	}
}

// An item at which the write is to end leaves those before it written, and those after it alone.
func TestWriteEndsAtARejectedItem(t *testing.T) {
	k := newKit(t)
	k.proxy.Use(refusing(0, id(13)))
	planted := errors.New("planted")
	k.writer.Reject = func(batch.Op, error) error { return planted }
	ops := puts(t, 25, "v")
	if _, err := k.writer.Write(t.Context(), ops); !errors.Is(err, planted) {
		t.Fatalf("error %v", err)
	}
	k.wantTable(ops[:13])
}

// The keys of a half whose write was lost are uncertain, with and without an error of the other.
func TestWriteRejectsAndLoses(t *testing.T) {
	planted := errors.New("planted")
	for name, failure := range map[string]error{"goes on": nil, "ends": planted} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			lost := make(map[string]bool)
			refuse := refusing(1, id(0))
			k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
				response := refuse(x)
				if response != nil && response.Cut {
					for i := range 8 {
						lost[id(i)] = bytes.Contains(x.Body, []byte(`"`+id(i)+`"`))
					}
				}
				return response
			})
			k.writer.Reject = func(batch.Op, error) error { return failure }
			ops := puts(t, 8, "v")
			uncertain, err := k.writer.Write(t.Context(), ops)
			if !errors.Is(err, failure) {
				t.Errorf("error %v, want %v", err, failure)
			}
			var want []item.Key
			for i, op := range ops {
				if lost[id(i)] {
					want = append(want, op.Key)
				}
			}
			if failure == nil && len(want) == 0 {
				t.Error("nothing was lost: this test tests nothing")
			}
			k.wantKeys("uncertain", uncertain, want)
		})
	}
}

// What isn't refused for an item's sake isn't looked for in the items.
func TestWriteRejectsOnlyItems(t *testing.T) {
	k := newKit(t)
	k.writer.Table = "no-such-table"
	k.writer.Reject = func(batch.Op, error) error {
		t.Error("an item is rejected")
		return nil
	}
	if _, err := k.writer.Write(t.Context(), puts(t, 4, "v")); err == nil || !strings.Contains(err.Error(), "ResourceNotFound") {
		t.Errorf("error %v", err)
	}
	k.wantRequests(write, 1)
}

// A batch takes no more than one request's part of the budget, but for an item that does so by itself.
func TestSplitByUnits(t *testing.T) {
	text := func(units int) string { return strings.Repeat("x", units*1024-100) }
	for rate, want := range map[float64][]int{0: {25, 2}, 10_000: {25, 2}, 1000: {6, 6, 6, 1, 6, 2}, 1: slices.Repeat([]int{1}, 27)} {
		w := batch.Writer{Limiter: capacity.NewLimiter(rate)}
		ops := puts(t, 27, text(3)) // at 1000 units a second, a request is to take 20
		ops[18] = put(t, "id", id(18), "value", text(21))
		var sizes []int
		var keys []item.Key
		for _, one := range w.Split(ops) {
			sizes = append(sizes, len(one))
			keys = append(keys, keysOf(one)...)
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("%g units a second: batches of %v, want %v", rate, sizes, want)
		}
		if !slices.Equal(keys, keysOf(ops)) {
			t.Errorf("%g units a second: the order has changed", rate)
		}
	}
}

// What a table's local indexes take of its units is reserved too, once it is known, and batches are cut by it.
func TestWriteReservesForIndexes(t *testing.T) {
	k := newKit(t)
	const rate, each = 1000, 20 // of units a second, and of units that a request is to take
	k.writer.Limiter = capacity.NewLimiter(rate)
	k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		fields := k.forward(x)
		var items struct{ RequestItems map[string][]json.RawMessage }
		if err := json.Unmarshal(x.Body, &items); err != nil {
			t.Error(err)
		}
		n := len(items.RequestItems[k.table])
		fields["ConsumedCapacity"] = marshal([]any{map[string]any{
			"TableName": k.table, "CapacityUnits": 4 * n, "Table": map[string]any{"CapacityUnits": n},
			"LocalSecondaryIndexes": map[string]any{"a": map[string]any{"CapacityUnits": n}, "b": map[string]any{"CapacityUnits": 2 * n}},
		}})
		return body(string(marshal(fields)))
	})
	ops := puts(t, each, "v")
	if n := len(k.writer.Split(ops)); n != 1 {
		t.Errorf("%d batches at first, want 1", n)
	}
	for range 20 {
		if _, err := k.writer.Write(t.Context(), ops); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(k.writer.Split(ops)); n != 4 && n != 5 {
		t.Errorf("%d batches of four units for each item, want 4 or 5", n)
	}
	if used := k.writer.Limiter.Used(); used != 20*each*4 {
		t.Errorf("%g units", used)
	}
}

// The table's key that can't be used is no item's fault: nothing is rejected for it.
func TestWriteRejectsNothingForTheTablesKey(t *testing.T) {
	k := newKit(t)
	k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != write {
			return nil
		}
		return testkit.Fail(400, "com.amazon.coral.validate#ValidationException", "KMS key disabled error: com.amazonaws.services.kms.model.DisabledException")
	})
	k.writer.Reject = func(op batch.Op, _ error) error {
		t.Errorf("%v is rejected", op.Key)
		return nil
	}
	if _, err := k.writer.Write(t.Context(), puts(t, 2, "v")); err == nil || k.proxy.Count(write) != 1 {
		t.Errorf("error %v, %d requests", err, k.proxy.Count(write))
	}
}
