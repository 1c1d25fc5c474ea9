package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"reseal/internal/item"
	"reseal/internal/openkeys"

	"golang.org/x/sync/errgroup"
)

// Changed is a record of the source's stream.
type Changed struct {
	Key     item.Key
	Made    time.Time // by the service's clock, in whole seconds
	Expired bool      // the service's time to live deleted the item, nobody else
}

// Live is a verification with Follow while it runs. Its methods may be called at any time until Run returns.
type Live struct {
	follower *follower

	mu      sync.Mutex // guards what follows
	records int64
	newest  time.Time
}

// note counts records.
func (l *Live) note(records []change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, record := range records {
		if record.expired {
			continue
		}
		l.records++
		if record.made.After(l.newest) {
			l.newest = record.made
		}
	}
}

// Status is what the verification knows at present.
func (l *Live) Status() FollowProgress { return *l.follower.progress() }

// Records are those that were read, but for removals by time to live, and when the newest of them was made, by the service's clock.
func (l *Live) Records() (count int64, newest time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.records, l.newest
}

// ReadThrough is a time, by this machine's clock, up to which the stream is read in all shards; the zero time if none is known.
func (l *Live) ReadThrough() time.Time {
	l.follower.readThrough()
	return l.follower.readUpTo()
}

// Position is where another reader of the stream may go on without missing a record: JSON of since (from when on each change was followed,
// RFC 3339, by the service's clock) and position (stream.State).
func (l *Live) Position() (json.RawMessage, error) {
	state, err := l.follower.state()
	if err != nil {
		return nil, err
	}
	return json.Marshal(state)
}

// Hurry has the stream be read more often from now on, since somebody waits for its end. Other readers of a shard may be throttled by that.
func (l *Live) Hurry() { l.follower.tail.Hurry() }

// Looked is what a look at once has found.
type Looked struct {
	Keys      int          // that were looked at
	Differing int          // of them
	Some      []Difference // of those that differ, up to a thousand; nothing is certain of them yet
}

// mostLooked bounds Looked.Some.
const mostLooked = 1000

// LookNow looks at once, with ConsistentRead on both sides, at each key that is open or differs, and at each that was closed since a time by this machine's
// clock; so at each key of which a record was read since then. Nothing is closed by it, or told as a difference. It fails if FollowOptions.Keep,
// or the memory, was too small to know all of these keys.
func (l *Live) LookNow(ctx context.Context, since time.Time) (Looked, error) {
	ids, complete, err := l.follower.set.Recent(since)
	if err != nil {
		return Looked{}, err
	}
	if !complete {
		return Looked{}, fmt.Errorf("look at keys that changed since %s: some are forgotten by now, since they are older than %s or too many for a tenth of the memory",
			since.UTC().Format(time.RFC3339), l.follower.run.options.Follow.Keep)
	}
	looked := Looked{Keys: len(ids)}
	var mu sync.Mutex
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(looksInFlight)
	for some := range slices.Chunk(ids, openkeys.LookKeys) {
		group.Go(func() error {
			pairs, err := l.follower.look(groupCtx, some)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			return l.follower.compareNow(&looked, some, pairs)
		})
	}
	if err := group.Wait(); err != nil {
		return Looked{}, fmt.Errorf("look at keys that changed: %w", err)
	}
	return looked, nil
}

// compareNow adds what differs.
func (f *follower) compareNow(looked *Looked, ids []string, pairs []openkeys.Pair) error {
	now := time.Now()
	for i, pair := range pairs {
		c, err := f.candidate(openkeys.Event{ID: ids[i], Pair: pair, First: now, Last: now})
		if err != nil {
			return err
		}
		kind := c.kind()
		if kind == agrees {
			continue
		}
		if looked.Differing++; len(looked.Some) == mostLooked {
			continue
		}
		d, err := f.run.difference(c, kind, pair.Source, pair.Target)
		if err != nil {
			return err
		}
		looked.Some = append(looked.Some, d)
	}
	return nil
}
