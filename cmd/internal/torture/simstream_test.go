package torture

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// simStream is a stream of the source table, which may have had others before.
type simStream struct {
	*stream[change]
	arn, label string
	disabled   atomic.Bool
}

// enableStream gives the source a stream.
func (w *simWorld) enableStream() {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	label := w.serviceTime().UTC().Format("2006-01-02T15:04:05.000")
	one := &simStream{stream: &stream[change]{last: sequenceNumber(w.made)}, arn: "arn:aws:dynamodb:us-east-1:000000000000:table/source/stream/" + label, label: label}
	if n := len(w.streams); n > 0 {
		one.prefix = fmt.Sprintf("anew-%d-", n)
	}
	if w.plan.twist == trims {
		one.retention, one.strict = 24*time.Hour, chance(dice(w.plan.seed, "strict", 0), 0.5)
	}
	one.open(w.plan.shards, now)
	w.streams = append(w.streams, one)
}

// disableStream takes the source's stream. What it holds can still be read.
func (w *simWorld) disableStream() {
	now := w.stream()
	w.mu.Lock()
	defer w.mu.Unlock()
	now.disabled.Store(true)
	now.close(time.Now())
}

func (w *simWorld) allStreams() []*simStream {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.streams)
}

// stream is the newest.
func (w *simWorld) stream() *simStream {
	all := w.allStreams()
	return all[len(all)-1]
}

// streamWith is the one with the shard.
func (w *simWorld) streamWith(shard string) *simStream {
	prefix, _, _ := strings.Cut(shard, "shard-")
	for _, one := range w.allStreams() {
		if one.prefix == prefix {
			return one
		}
	}
	panic("there is no stream with the shard " + shard)
}

// streamOf is the stream of a table; nil: it has none.
func (w *simWorld) streamOf(tb *simTable) *simStream {
	if tb == w.source {
		return w.stream()
	}
	return nil
}

// makeStreamAnew disables the stream, at a time that is drawn or when a process has been ended, and enables it again after a while in
// which the application writes on. Then the operator makes a mapping of the new stream for the Lambda. A tailer, and a seed, have to
// find out themselves.
func (w *simWorld) makeStreamAnew() {
	random := dice(w.plan.seed, "stream anew", 0)
	at, role := between(random, 0, w.plan.end()), oneOf(random, "", seeder, replicator)
	for role == "" && time.Since(w.start) < at || role != "" && time.Since(w.start) < w.plan.end() && !w.operator.hasEnded(role) {
		time.Sleep(50 * time.Millisecond)
	}
	w.disableStream()
	w.count("stream disabled")
	n := 1 + random.IntN(10)
	for i := range n {
		time.Sleep(between(random, 0, oneOf(random, 100*time.Millisecond, time.Second, 6*time.Second)))
		w.apply(w.change(random, i))
	}
	w.enableStream()
	w.operator.mapAnew()
}

// holes is what listings leave out. It is safe for concurrent use.
type holes struct {
	mu    sync.Mutex
	left  map[string]int  // listings from which a shard is still to be missing
	known map[string]bool // shards that somebody has begun to read
}

// knows is told that somebody begins to read a shard.
func (w *simWorld) knows(shard string) {
	w.holes.mu.Lock()
	defer w.holes.mu.Unlock()
	if w.holes.known == nil {
		w.holes.known = map[string]bool{}
	}
	w.holes.known[shard] = true
}

// hidden tells which shards are missing from a page of a listing; begins: its first one. A shard is missing from up to two listings in a
// row, or, if nobody has begun to read it, from up to six. After the application has stopped, two are the most: a tailer that is to end when
// the stream is idle can't know of a shard that nobody tells it of.
func (w *simWorld) hidden(s *simStream, begins bool) map[string]bool {
	if w.plan.twist != listingHoles {
		return nil
	}
	w.mu.Lock()
	drained := w.drained
	w.mu.Unlock()
	n := w.ordinal("listing of shards")
	w.holes.mu.Lock()
	defer w.holes.mu.Unlock()
	h := &w.holes
	if h.left == nil {
		h.left = map[string]int{}
	}
	missing := map[string]bool{}
	views, _ := s.list(time.Now(), "", 1000)
	for _, view := range views {
		random := dice(w.plan.seed, "hole "+view.id, n)
		most := 2
		if !h.known[view.id] && !drained {
			most = 6
		}
		switch {
		case !begins:
		case h.left[view.id] > 0:
			h.left[view.id] = min(h.left[view.id], most) - 1 // 0: it is in this listing
		case chance(random, 0.2):
			h.left[view.id] = 1 + random.IntN(most)
			w.count("shard missing from listings")
			w.note("%s is missing from %d listings", view.id, h.left[view.id])
		}
		missing[view.id] = h.left[view.id] > 0
	}
	return missing
}

// note keeps what happens to the stream, for the log of a failure.
func (w *simWorld) note(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, time.Now().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}
