package verify

import (
	"fmt"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

var idSchema = item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}}

// wideKey is a key of 16 bytes.
func wideKey(tb testing.TB, i int) item.Key {
	tb.Helper()
	id := &types.AttributeValueMemberS{Value: fmt.Sprintf("%016d", i)}
	key, err := idSchema.KeyOf(item.Of(map[string]types.AttributeValue{"id": id}))
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// heap is the memory that is still in use after a collection.
func heap() float64 {
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return float64(stats.HeapAlloc)
}

// waitingBytes measures what an item takes, beside the bytes of its key: while it waits in the join, and while it is a
// candidate, of which the settlement holds the key and what both tables have.
func waitingBytes(tb testing.TB, count int) (joined, settling float64) {
	tb.Helper()
	each := func(before float64) float64 {
		return (heap()-before)/float64(count) - float64(len(wideKey(tb, 0).ID()))
	}
	before := heap()
	j := newJoin(1<<40, "")
	for i := range count {
		if err := j.add(fromSource, i, wideKey(tb, i), item.Digest{}); err != nil {
			tb.Fatal(err)
		}
	}
	joined = each(before)
	s := settlement{run: &run{source: &side{}, target: &side{}, join: j}, report: func(Difference) error { return nil }}
	var keys []unmatched
	for portion, err := range j.left(idSchema) {
		if err != nil || keys != nil {
			tb.Fatalf("error %v, or a second portion", err)
		}
		keys = portion
	}
	open := candidatesOf(keys)
	for _, c := range open {
		source := item.Of(map[string]types.AttributeValue{})
		if err := c.observe(source, item.Item{}, time.Now()); err != nil {
			tb.Fatal(err)
		}
		if err := s.decide(c, source, item.Item{}); err != nil {
			tb.Fatal(err)
		}
	}
	settling = each(before)
	runtime.KeepAlive(open)
	runtime.KeepAlive(&s)
	return joined, settling
}

// BenchmarkWaitingMemory is where pendingBytes comes from. How full the join's maps are depends on the count, so it tries several.
func BenchmarkWaitingMemory(b *testing.B) {
	for _, count := range []int{25_000, 30_000, 40_000, 50_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			var joined, settling float64
			for b.Loop() {
				joined, settling = waitingBytes(b, count)
			}
			b.ReportMetric(joined, "joined-B/item")
			b.ReportMetric(settling, "settling-B/item")
		})
	}
}

// TestPendingBytes keeps the constant honest where the maps are the emptiest. While the join is drained, the keys are in memory
// twice.
func TestPendingBytes(t *testing.T) {
	joined, settling := waitingBytes(t, 30_000)
	drained := joined + float64(unsafe.Sizeof(unmatched{}))
	if most := max(drained, settling); most > pendingBytes || most < pendingBytes*3/4 {
		t.Errorf("an item takes %.0f bytes in the join, %.0f while that is drained, %.0f later; pendingBytes is %d", joined, drained, settling, pendingBytes)
	}
}
