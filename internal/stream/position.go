package stream

import (
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"reseal/internal/call"
)

// Position is how far a shard is done.
type Position struct {
	Sequence string    `json:"sequence,omitempty"` // of the last record done; "": none yet
	Drained  bool      `json:"drained,omitempty"`  // the shard is closed and wholly done
	ReadAt   time.Time `json:"read_at"`            // when it was begun, or last read and what was found was done

	// What follows is not in replicate's files of the first format.

	Start  string    `json:"start,omitempty"`  // until a record is done, begin at this sequence number; "": with the oldest that there is
	Latest bool      `json:"latest,omitempty"` // it was begun with LATEST: what its parents held is not wanted
	Late   bool      `json:"late,omitempty"`   // it was listed only after a child was begun: with its first record those begin again
	Parent string    `json:"parent,omitempty"` // as the shard was listed
	First  string    `json:"first,omitempty"`  // likewise its StartingSequenceNumber; "": it was not noted
	AsOf   time.Time `json:"as_of,omitzero"`   // what is needed of the shard and was made before is done; zero: ReadAt
}

// asOf is AsOf, or for a file of the first format what it has instead, which may be too young by the lag of that time. What was
// trimmed within that is still found out: by the sequence number at which a shard, or its child, begins.
func (p Position) asOf() time.Time {
	if p.AsOf.IsZero() {
		return p.ReadAt
	}
	return p.AsOf
}

const (
	// Retention is how long a record can be read (API reference, GetRecords: "there is a 24 hour limit on data Retention").
	Retention = 24 * time.Hour
	// readAtStep is how old ReadAt may grow while nothing is found, so that an idle stream doesn't write a file every second.
	readAtStep = time.Minute
	// tipTime is for how long reads have to find nothing until that is taken for the shard's present end.
	tipTime = 10 * time.Second
)

// State is the positions in a form to be kept as JSON.
type State struct {
	Started time.Time           `json:"started"` // of the first run: changes from then on are needed
	Shards  map[string]Position `json:"shards"`  // those that were begun
}

// Stale tells whether a shard, or the whole stream, is done only up to a time of which records may have been trimmed unseen. For
// a shard with a sequence number the service would tell, but it says nothing of one that was found empty so far, nor of shards that
// came and went since. now is the service's time.
func (s State) Stale(now time.Time) (what string, stale bool) {
	last := s.Started
	for shard, position := range s.Shards {
		if !position.Drained && now.Sub(position.asOf()) >= Retention {
			return "shard " + shard, true
		}
		last = later(last, position.asOf())
	}
	return "the stream", now.Sub(last) >= Retention
}

// Positions are how far the shards of a stream are done: never further than that. They are safe for concurrent use.
type Positions struct {
	clock   atomic.Pointer[call.Clock]
	resumed bool

	mu      sync.Mutex // guards what follows
	state   State
	changed bool
}

// NewPositions returns positions of which none is known, by the service's clock; the zero one is the machine's.
func NewPositions(clock call.Clock) *Positions {
	c := &Positions{changed: true, state: State{Shards: map[string]Position{}}}
	c.setClock(clock)
	c.state.Started = c.Now()
	return c
}

// Resume takes over the positions of an earlier run.
func (c *Positions) Resume(state State) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state = (State{Started: state.Started, Shards: maps.Clone(state.Shards)}); c.state.Shards == nil {
		c.state.Shards = map[string]Position{}
	}
	c.resumed, c.changed = true, true
}

// Take returns the positions, and whether they have changed since they were last taken.
func (c *Positions) Take() (state State, changed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed, c.changed = c.changed, false
	return State{Started: c.state.Started, Shards: maps.Clone(c.state.Shards)}, changed
}

// Changed has the next Take tell of a change: what was taken could not be kept.
func (c *Positions) Changed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed = true
}

func (c *Positions) of(shard string) Position {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Shards[shard]
}

func (c *Positions) isDrained(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state.Shards[shard].Drained
}

// known tells whether the shard was begun, or passed.
func (c *Positions) known(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, is := c.state.Shards[shard]
	return is
}

// needs tells whether records of the shard that were trimmed would be missed. They would not if nothing of it, nor of its parents,
// was applied yet and they were made before the first run: then the replication starts with the oldest that there is.
func (c *Positions) needs(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.continues(c.state.Shards[shard])
}

// continues tells whether what follows in a position's shard, or in its children, must follow without a gap.
func (c *Positions) continues(position Position) bool {
	return position.Sequence != "" || position.Start != "" || c.isOld()
}

// isOld tells whether a record that is trimmed by now may have been made since the first run.
func (c *Positions) isOld() bool { return c.since(c.state.Started) >= Retention }

// begin records that the shard is about to be read, so that a later run misses it if it is gone by then. Where it goes on where its
// parent ended, it is to begin exactly at its start, a sequence number: what was trimmed of it is an error then, while the
// oldest that there is may lie behind a gap.
func (c *Positions) begin(shard, parent, start string, latest, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position, begun := c.state.Shards[shard]
	before := c.state.Shards[parent]
	if begun && position.First == "" {
		position.Parent, position.First = parent, start
		c.set(shard, position)
	}
	exact := (before.Drained && c.continues(before)) || (late && c.isOld())
	switch {
	case begun && (position.Sequence != "" || position.Start != "" || position.Latest || !exact):
		return
	case begun: // in a run of the first format
	case before.Drained:
		position = Position{ReadAt: c.Now(), AsOf: before.asOf(), Late: late}
	default:
		position = Position{ReadAt: c.Now(), AsOf: c.state.Started, Latest: latest, Late: late}
	}
	if exact {
		position.Start = start
	}
	position.Parent, position.First = parent, start
	c.set(shard, position)
}

// advance records that the shard is applied up to a record, which was made at that time, if it tells.
func (c *Positions) advance(shard, sequence string, made time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.state.Shards[shard]
	position.Sequence, position.ReadAt = sequence, c.Now()
	position.AsOf = made.UTC()
	if made.IsZero() || made.After(position.ReadAt) { // what is not made yet would make the position look younger than it is
		position.AsOf = position.ReadAt
	}
	c.set(shard, position)
}

// foundEmpty records that all reads from the one time to the other found nothing after the shard's position. A few such reads tell
// nothing of what there is: "it might take multiple calls to get to a portion of the shard that contains stream records" (API
// reference, GetRecords).
func (c *Positions) foundEmpty(shard string, from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.state.Shards[shard]
	if c.since(position.ReadAt) < readAtStep {
		return
	}
	if to.Sub(from) >= tipTime {
		position.AsOf = later(position.asOf(), c.at(from))
	}
	position.ReadAt = c.Now()
	c.set(shard, position)
}

// atTip records that there was nothing after the positions of all shards from that time on.
func (c *Positions) atTip(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, position := range c.state.Shards {
		if !position.Drained {
			position.AsOf, position.ReadAt = later(position.asOf(), c.at(since)), c.Now()
			c.set(shard, position)
		}
	}
}

// isRecent tells whether a shard is not drained, or only since a day.
func (c *Positions) isRecent(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.state.Shards[shard]
	return !position.Drained || c.since(position.ReadAt) < Retention
}

// mayLack tells whether a shard of which nothing is known, and that is gone, may have held records that are needed.
func (c *Positions) mayLack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isOld()
}

func (c *Positions) drained(shard string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.state.Shards[shard]
	position.AsOf = position.asOf()
	position.Drained, position.ReadAt = true, c.Now()
	if position.AsOf.IsZero() { // it is passed, not read
		position.AsOf = c.state.Started
	}
	c.set(shard, position)
}

func (c *Positions) set(shard string, position Position) {
	c.state.Shards[shard] = position
	c.changed = true
}

// replay prepares for the first record of a shard that was listed only after shards that follow it were begun: those begin again,
// each with its first record (starts has their sequence numbers). It tells whether there was anything to prepare, which must be
// saved before the record is applied.
func (c *Positions) replay(shard string, starts map[string]string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.state.Shards[shard]
	if !position.Late {
		return false
	}
	position.Late = false
	c.set(shard, position)
	for child, start := range starts {
		if was, begun := c.state.Shards[child]; begun {
			c.set(child, Position{Parent: was.Parent, First: was.First, Start: start, ReadAt: c.Now(), AsOf: position.AsOf})
		}
	}
	return true
}

// oldest is the time up to which all is applied: in the shard, or where that isn't known, in all that are not drained.
func (c *Positions) oldest(shard string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if position, is := c.state.Shards[shard]; is {
		return position.asOf()
	}
	var oldest, last time.Time
	for _, position := range c.state.Shards {
		last = later(last, position.asOf())
		if at := position.asOf(); !position.Drained && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	switch {
	case !oldest.IsZero():
		return oldest
	case !last.IsZero():
		return last
	}
	return c.state.Started
}

// listing is the shards that an earlier run has begun, as it found them listed. They count as listed, as those of an earlier listing do: an
// answer may have holes, and one that is really gone is found out when it is read.
func (c *Positions) listing() listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	shards := newListing()
	for shard, position := range c.state.Shards {
		if position.First != "" {
			shards.put(shard, position.Parent, position.First, position.Drained)
		}
	}
	return shards
}

// missing returns a shard that is not drained, not listed and not being read: it had records that nobody will see again.
func (c *Positions) missing(shards listing, readers map[string]*reader) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, position := range c.state.Shards {
		if _, listed := shards.parents[shard]; !listed && !position.Drained && readers[shard] == nil {
			return shard, true
		}
	}
	return "", false
}

// forget drops the drained shards that are gone from the stream, but only long after: if one were listed once more, it would be
// read again from its start, and older items written over newer ones.
func (c *Positions) forget(shards listing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, position := range c.state.Shards {
		if _, listed := shards.parents[shard]; !listed && position.Drained && c.since(position.ReadAt) > 2*Retention {
			delete(c.state.Shards, shard)
			c.changed = true
		}
	}
}
