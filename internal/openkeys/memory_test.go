package openkeys

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A million changed keys stay within the memory that they may take, and all of them are looked at.
func TestMemory(t *testing.T) {
	const count, most = 1_000_000, 64 << 20
	s := New(Options{Lifetime: 20 * time.Millisecond, Settle: time.Hour, MaxMemory: most, Folder: t.TempDir()})
	defer s.Close()
	before := heapBytes()
	peak := int64(0)
	for i := range count {
		if err := s.Record("shard", wideID(i), time.Now()); err != nil {
			t.Fatal(err)
		}
		if i%50_000 == 0 {
			peak = max(peak, heapBytes()-before)
		}
	}
	if open := s.Status().Open; open != count || len(s.files) == 0 {
		t.Errorf("%d keys are open, there are %d files", open, len(s.files))
	}
	looked := map[string]bool{}
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	var watching sync.WaitGroup
	watching.Go(func() {
		defer cancel()
		for s.Status().Open > 0 {
			time.Sleep(100 * time.Millisecond)
		}
	})
	err := s.Run(ctx, Work{Tell: func(Event) error { return nil }, Look: func(_ context.Context, ids []string) ([]Pair, error) {
		mu.Lock()
		defer mu.Unlock()
		for _, id := range ids {
			looked[id] = true
		}
		return make([]Pair, len(ids)), nil
	}})
	cancel()
	watching.Wait()
	if err != nil || len(looked) != count {
		t.Fatalf("%d of %d keys were looked at (%v)", len(looked), count, err)
	}
	t.Logf("%d keys: %d MiB at the most", count, peak>>20)
	if peak > most {
		t.Errorf("%d MiB, may be %d", peak>>20, most>>20)
	}
}

func wideID(i int) string { return fmt.Sprintf("key-%020d", i) }

func heapBytes() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc) //nolint:gosec // it is no exabyte
}

// What is saved of a set opens the keys again in another one.
func TestSaved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Lifetime: 30 * time.Second, Settle: 30 * time.Second, MaxMemory: 300_000, Folder: t.TempDir()})
		defer s.Close()
		made := time.Now().UTC().Truncate(time.Millisecond)
		for i := range 5000 {
			if err := s.Record("shard", wideID(i), made); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Differs("old", made.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if len(s.files) == 0 {
			t.Fatal("nothing is in a file")
		}
		other, seen := newSet(t), map[string]bool{}
		err := s.Each(func(k Saved) error {
			if seen[k.ID] || !k.Changed.Equal(made) && k.ID != "old" {
				t.Errorf("%+v", k)
			}
			seen[k.ID] = true
			if k.Different {
				return other.Differs(k.ID, k.Changed)
			}
			return other.Reopen(k.ID, k.Changed)
		})
		st := other.Status()
		if err != nil || st.Open != 5000 || st.Differing != 1 || !seen["old"] {
			t.Errorf("%+v (%v)", st, err)
		}
		other.Close()
	})
}
