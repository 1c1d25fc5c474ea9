package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/item"
)

var testSchema = item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}}

// keyState is what a follower knows of a key.
type keyState struct {
	seen    time.Time // its last record
	records int
	closed  time.Time // zero: it is open
	suspect bool      // the scans found it to differ, and no look has seen it agree
}

// follower does what verify --follow does, in a simple way: see internal/openkeys, which has tests of its own.
type follower struct {
	world *world
	dead  func() bool

	mu      sync.Mutex
	read    int
	through time.Time
	keys    map[int]*keyState
	differ  int64
	stop    chan struct{}
	done    sync.WaitGroup
	err     error
}

func newFollower(w *world, dead func() bool) *follower {
	f := &follower{world: w, dead: dead, keys: map[int]*keyState{}, stop: make(chan struct{})}
	w.mu.Lock()
	f.read = len(w.records)
	for _, table := range w.tables { // the scans' candidates
		for key := range table {
			f.keys[key] = &keyState{seen: time.Now(), suspect: w.tables[sourceTable][key] != w.tables[targetTable][key]}
		}
	}
	w.mu.Unlock()
	f.done.Go(f.run)
	return f
}

// run reads the stream once a second, and looks at open keys.
func (f *follower) run() {
	for {
		select {
		case <-f.stop:
			return
		case <-time.After(time.Second):
		}
		began := time.Now()
		f.world.mu.Lock()
		f.mu.Lock()
		for f.read < len(f.world.records) && !f.world.records[f.read].visible.After(began) {
			r := f.world.records[f.read]
			s := f.keys[r.key]
			if s == nil {
				s = &keyState{}
				f.keys[r.key] = s
			}
			s.seen, s.closed = began, time.Time{}
			s.records++
			f.read++
		}
		f.differ = 0
		for key, s := range f.keys {
			same := f.world.tables[sourceTable][key] == f.world.tables[targetTable][key]
			s.suspect = s.suspect && !same
			switch age := began.Sub(s.seen); {
			case !same && age > 31*time.Second:
				f.differ++
			case same && age > 30*time.Second && s.closed.IsZero():
				s.closed = began
			}
		}
		f.through = began
		f.mu.Unlock()
		f.world.mu.Unlock()
	}
}

func (f *follower) Followed() (Followed, error) {
	f.world.mu.Lock() // always before the other
	defer f.world.mu.Unlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return Followed{}, f.err
	}
	out := Followed{Scanned: true, CaughtUp: true, Differing: f.differ, ReadThrough: f.through}
	for _, s := range f.keys {
		if s.closed.IsZero() {
			out.Open++
			out.Oldest = max(out.Oldest, time.Since(s.seen))
		}
		if s.suspect {
			out.Suspect++
		}
		out.Records += int64(s.records)
	}
	out.CaughtUp = out.Oldest < 40*time.Second && !f.through.IsZero()
	if f.read > 0 {
		out.Newest = f.world.records[f.read-1].made.Truncate(time.Second)
	}
	return out, nil
}

func (f *follower) Look(ctx context.Context, since time.Time) (Looked, error) {
	if f.dead() {
		return Looked{}, errDead
	}
	f.mu.Lock()
	var keys []int
	for key, s := range f.keys {
		if s.closed.IsZero() || !s.closed.Before(since) {
			keys = append(keys, key)
		}
	}
	f.mu.Unlock()
	sources := map[int]int{}
	f.world.mu.Lock()
	for _, key := range keys {
		sources[key] = f.world.tables[sourceTable][key]
	}
	f.world.mu.Unlock()
	if !f.world.sleep(f.world.between(20*time.Millisecond, 300*time.Millisecond)) {
		return Looked{}, errors.New("the world has ended")
	}
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	out := Looked{Keys: int64(len(keys))}
	for _, key := range keys {
		if f.world.tables[targetTable][key] != sources[key] {
			out.Differing++
		}
	}
	return out, ctx.Err()
}

func (f *follower) Position() (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return json.Marshal(f.read)
}

func (f *follower) Hurry() {}

func (f *follower) End() error {
	close(f.stop)
	f.done.Wait()
	return f.err
}
