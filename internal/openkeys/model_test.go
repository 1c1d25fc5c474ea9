package openkeys

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/item"
)

// world is two tables, a stream of some shards and a replicator, with all that may go wrong, in virtual time.
type world struct {
	t      *testing.T
	random *rand.Rand
	set    *Set

	mu      sync.Mutex
	source  map[string]int // version by key; 0: none
	target  map[string]int
	version int
	lost    map[string]bool // a loss of the key was made, and no record of it was applied since
	told    map[string]bool
	lag     time.Duration
	writers sync.WaitGroup
	files   int // that were there at a time, at the most
}

const (
	modelLifetime = 30 * time.Second
	modelSettle   = 30 * time.Second
)

func newWorld(t *testing.T, seed uint64, memory int64) *world {
	return &world{
		t: t, random: rand.New(rand.NewPCG(seed, 7)), source: map[string]int{}, target: map[string]int{},
		lost: map[string]bool{}, told: map[string]bool{},
		set: New(Options{Lifetime: modelLifetime, Settle: modelSettle, MaxMemory: memory, Folder: t.TempDir()}),
	}
}

func shardOf(id string) string { return "shard-" + id[len(id)-1:] }

// write changes the key, hands its record to the follower and to the replicator, each after some time, and may lose it.
func (w *world) write(id string, lose, late bool) {
	w.mu.Lock()
	w.version++
	version := w.version
	if w.random.IntN(5) == 0 {
		version = -version // a delete
	}
	w.source[id] = version
	made := time.Now()
	follow := 200*time.Millisecond + time.Duration(w.random.IntN(800))*time.Millisecond
	apply := w.lag
	landing := time.Duration(w.random.Int64N(int64(25 * time.Second)))
	w.mu.Unlock()
	w.later(follow, func() {
		if err := w.set.Record(shardOf(id), id, made); err != nil {
			w.t.Error(err)
		}
	})
	w.later(apply, func() {
		if lose {
			w.lost[id] = true
			return
		}
		w.target[id] = version
		delete(w.lost, id)
		if late { // its first attempt had no answer, and is carried out once more after the record of a newer one
			w.later(landing, func() {
				if w.target[id] != version {
					w.lost[id] = true
				}
				w.target[id] = version
			})
		}
	})
}

// later does something with the lock held. What is given the same time is done in order.
func (w *world) later(after time.Duration, do func()) {
	w.writers.Add(1)
	time.AfterFunc(after, func() {
		defer w.writers.Done()
		w.mu.Lock()
		defer w.mu.Unlock()
		do()
	})
}

func versionItem(version int) item.Item {
	if version <= 0 {
		return item.Item{}
	}
	it, err := item.Parse(fmt.Appendf(nil, `{"v":{"N":"%d"}}`, version))
	if err != nil {
		panic(err)
	}
	return it
}

func (w *world) look(ctx context.Context, ids []string) ([]Pair, error) {
	pairs := make([]Pair, len(ids))
	w.mu.Lock()
	for i, id := range ids {
		pairs[i].Source = versionItem(w.source[id])
	}
	pause := time.Duration(w.random.IntN(200)) * time.Millisecond
	w.mu.Unlock()
	time.Sleep(pause)
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, id := range ids {
		pairs[i].Target = versionItem(w.target[id])
	}
	return pairs, ctx.Err()
}

func (w *world) tell(event Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch event.Kind {
	case Found:
		if !w.lost[event.ID] {
			w.t.Errorf("%q was told as a difference, and is none: source %d, target %d", event.ID, w.source[event.ID], w.target[event.ID])
		}
		if w.told[event.ID] != event.Again {
			w.t.Errorf("%q was told before: %t, the event says %t", event.ID, w.told[event.ID], event.Again)
		}
		w.told[event.ID] = true
	case Mended:
		if !w.told[event.ID] {
			w.t.Errorf("%q is mended, and was not told", event.ID)
		}
		delete(w.told, event.ID)
	}
	return nil
}

func equal(source, target int) bool { return max(source, 0) == max(target, 0) }

// check finds what was closed and is not the same.
func (w *world) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	open := map[string]bool{}
	if err := w.set.Each(func(s Saved) error { open[s.ID] = true; return nil }); err != nil {
		w.t.Fatal(err)
	}
	for _, id := range slices.Sorted(maps.Keys(w.source)) {
		if !equal(w.source[id], w.target[id]) && !w.told[id] {
			w.t.Errorf("%q differs at the end (source %d, target %d) and was not told; it is still open: %t", id, w.source[id], w.target[id], open[id])
		}
	}
}

// play writes for some minutes of virtual time, and waits until nothing is open.
func (w *world) play(keys, writes int, pause time.Duration) {
	writer := rand.New(rand.NewPCG(w.random.Uint64(), 1)) // w.random is used with the lock held
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.set.Run(ctx, Work{Look: w.look, Tell: w.tell}) }()
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			w.set.ReadThrough(time.Now().Add(-time.Second)) // a record is there within a second
			w.set.mu.Lock()
			w.files = max(w.files, len(w.set.files))
			w.set.mu.Unlock()
			time.Sleep(500 * time.Millisecond)
		}
	})
	for i := range writes {
		if i%400 == 0 {
			w.mu.Lock()
			w.lag = time.Duration(writer.IntN(20)) * time.Second / 2
			w.mu.Unlock()
			time.Sleep(10*time.Second + time.Duration(writer.IntN(80))*time.Second) // what is under way with another lag must not be overtaken
		}
		id := fmt.Sprintf("k%d", writer.IntN(keys))
		w.write(id, writer.IntN(50) == 0, writer.IntN(20) == 0)
		time.Sleep(time.Duration(writer.Int64N(int64(2 * pause))))
	}
	w.writers.Wait()
	time.Sleep(3 * time.Minute)
	status := w.set.Status()
	if status.Open != 0 || status.Overdue {
		w.t.Errorf("%d keys are open in the end, the oldest for %s", status.Open, status.OldestOpen)
	}
	cancel()
	reading.Wait()
	if err := <-ended; err != nil {
		w.t.Error(err)
	}
	if int(status.Differing) != len(w.told) {
		w.t.Errorf("%d differ, %d were told", status.Differing, len(w.told))
	}
	w.check()
	w.set.Close()
	w.t.Logf("%d records, %d looks at %d keys, %d found, %d mended", status.Records, status.Looks, status.LookedAt, status.Found, status.Mended)
	if w.set.options.MaxMemory < 1<<20 && w.files == 0 {
		w.t.Error("no file was used")
	}
	if status.Found == 0 || status.Mended == 0 {
		w.t.Error("the history has no loss, or none is mended: it says little")
	}
}

// Random histories, with few keys and many, in memory and in files: no key that differs is closed, and none is told that doesn't.
func TestModel(t *testing.T) {
	for seed := range uint64(12) {
		for _, how := range []struct {
			keys   int
			memory int64
		}{{15, 1 << 20}, {400, 1 << 20}, {3000, 1 << 20}, {3000, 60_000}} {
			t.Run(fmt.Sprintf("seed %d, %d keys, %d bytes", seed, how.keys, how.memory), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					newWorld(t, seed, how.memory).play(how.keys, 3000, 60*time.Millisecond)
				})
			})
		}
	}
}
