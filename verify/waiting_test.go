package verify

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"reseal/internal/item"

	"pgregory.net/rapid"
)

// The set does what a map does, whatever the hashes.
func TestWaitingIsAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hashes := rapid.Uint64Range(1, 5).Draw(t, "hashes")
		var w waiting
		want := map[string]pending{}
		for range rapid.IntRange(0, 300).Draw(t, "steps") {
			n := rapid.IntRange(0, 40).Draw(t, "id")
			id := fmt.Sprintf("%0*d", 1+n%7*10, n)
			hash := uint64(n) % hashes
			found, place, before := w.find(hash, id)
			wanted, is := want[id]
			if (found != nil) != is || is && found.pending != wanted {
				t.Fatalf("find %s: %v, want %v, %t", id, found, wanted, is)
			}
			if is {
				w.remove(hash, found, place, before)
				delete(want, id)
				continue
			}
			want[id] = pending{digest: item.Digest{byte(rapid.IntRange(0, 255).Draw(t, "digest"))}, both: n%2 == 0}
			w.add(hash, id, want[id])
		}
		got := map[string]pending{}
		err := w.each(func(id string, p pending) error {
			got[id] = p
			return nil
		})
		if err != nil || !maps.Equal(got, want) || w.count != len(want) {
			t.Fatalf("%d items %v, %v; want %v", w.count, slices.Sorted(maps.Keys(got)), err, slices.Sorted(maps.Keys(want)))
		}
		if int(w.used) > 41 {
			t.Fatalf("%d places for 41 items at the most", w.used)
		}
	})
}

// A pair that comes and goes allocates nothing.
func TestMatchedPairsAllocateNothing(t *testing.T) {
	j := newJoin(1<<40, "")
	keys := make([]item.Key, 1000)
	for i := range keys {
		keys[i] = wideKey(t, i)
	}
	pass := func() {
		for _, from := range []origin{fromSource, fromTarget} {
			for _, key := range keys {
				if err := j.add(from, 0, key, item.Digest{}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	pass()
	if n := testing.AllocsPerRun(10, pass); n > 10 { // a shard's map may still grow, as its hashes fall
		t.Errorf("%.0f allocations for 1,000 pairs", n)
	}
}
