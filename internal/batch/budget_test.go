package batch_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"reseal/internal/batch"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// fillSized writes items of so many KB each and returns their keys.
func (k *kit) fillSized(kilobytes ...int) (keys []item.Key) {
	k.Helper()
	for i, size := range kilobytes {
		op := put(k.T, "id", id(i), "value", strings.Repeat("x", size<<10))
		testkit.Fill(k.T, k.past, k.table, []map[string]types.AttributeValue{op.Item.Attributes()})
		keys = append(keys, op.Key)
	}
	return keys
}

// An answer that is cut for its size, which is 1 MB of a partition or 16 MB, says nothing of the table's capacity: what it leaves is
// read at once, and nothing slows down. One that leaves keys though there was room is throttled.
func TestReadCutForItsSize(t *testing.T) {
	k := newKit(t)
	keys := k.fillSized(slices.Repeat([]int{300}, 6)...)
	for first, throttled := range map[int]int64{3: 0, 2: 1} { // 900 KB, after which another item may not fit, and 600 KB
		k.reader.Limiter = capacity.NewAdaptiveLimiter(100_000)
		k.script(read, k.partlyRead(first))
		found, err := k.reader.Read(t.Context(), keys, 450)
		if err != nil || slices.ContainsFunc(found, item.Item.Absent) {
			t.Fatalf("error %v", err)
		}
		if n := k.reader.Limiter.Throttled(); n != throttled {
			t.Errorf("%d throttled where %d of 6 items were returned, want %d", n, first, throttled)
		}
	}
}

// What reads of unknown items reserve is what they take, and a request takes no more of the budget than one should, or one item.
func TestReadOfUnknownItemsFitsTheBudget(t *testing.T) {
	testkit.SkipIf(t, testkit.ReadUnitsBySize)
	k := newKit(t)
	sizes := append(slices.Repeat([]int{1}, 60), slices.Repeat([]int{390}, 6)...)
	keys := k.fillSized(sizes...)
	const rate, largest = 5000.0, 98.0
	for name, seen := range map[string]float64{"a scan has seen the largest": largest, "nothing is known": 0} {
		k.reader = &batch.Reader{API: k.reader.API, Table: k.table, Schema: schema, Limiter: capacity.NewLimiter(rate), Policy: k.reader.Policy}
		if seen > 0 {
			k.reader.Limiter.Saw(seen)
		}
		var mu sync.Mutex
		var took []float64
		k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
			fields := k.forward(x)
			var consumed []struct{ CapacityUnits float64 }
			if err := json.Unmarshal(fields["ConsumedCapacity"], &consumed); err != nil || len(consumed) != 1 {
				t.Errorf("answer %v", err)
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, consumed[0].CapacityUnits)
			return body(string(marshal(fields)))
		})
		if _, err := k.reader.Read(t.Context(), keys, batch.Unknown); err != nil {
			t.Fatal(err)
		}
		t.Log(name, fmt.Sprint(took))
		if took[0] > largest || seen > 0 && slices.Max(took) > largest+1 {
			t.Errorf("%s: requests took %v", name, took)
		}
	}
}
