package openkeys

import (
	"fmt"
	"time"

	"reseal/internal/item"
)

// LookKeys is how many keys are looked at together at the most: a BatchGetItem of each table.
const LookKeys = 100

// Pair is what both tables have for a key. The source must have been read before the target, both with ConsistentRead.
type Pair struct{ Source, Target item.Item }

// look is some keys that are being looked at.
type look struct {
	entries []*entry
	records []uint32  // of each, when the look began
	seen    []instant // likewise
	began   instant
}

// batchWait is how long a key that is due waits for others, so that a request has many.
const batchWait = time.Second

// take begins a look at what is due; nil: nothing is, or too little to begin already.
func (s *Set) take() (*look, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	if err := s.fetch(now, LookKeys); err != nil {
		return nil, err
	}
	l := &look{began: now}
	for len(s.queue) > 0 && len(l.entries) < LookKeys && s.queue[0].due <= now {
		e := s.pop()
		l.entries, l.records, l.seen = append(l.entries, e), append(l.records, e.records), append(l.seen, e.seen)
	}
	switch n := len(l.entries); {
	case n == 0:
		return nil, nil
	case n < LookKeys && now.since(l.entries[0].due) < s.batchWait(l.entries[0]):
		for _, e := range l.entries {
			s.queue.schedule(e, e.due)
		}
		return nil, nil
	}
	s.count.looks++
	s.count.looked += int64(len(l.entries))
	return l, nil
}

// batchWait is how long the key that is due first waits for others: not long if it is a probe, nor if a look may make it a difference.
func (s *Set) batchWait(e *entry) time.Duration {
	switch {
	case e.differs != nil && !e.is(declared) && s.sourceIsKnown(e) && e.due.since(e.seen) >= s.options.Settle:
		return 0
	case e.is(probe):
		return batchWait / 4
	}
	return batchWait
}

// untilDue is how long there is nothing to be looked at.
func (s *Set) untilDue() (time.Duration, error) {
	const most = time.Minute
	s.mu.Lock()
	defer s.mu.Unlock()
	due, is, err := s.nextDue()
	if !is {
		return most, err
	}
	wait := batchWait / 4 // there may be enough of them by then
	if len(s.queue) > 0 {
		wait = min(wait, s.batchWait(s.queue[0]))
	}
	now := s.now()
	return max(10*time.Millisecond, min(most, max(due, now).plus(wait).since(now))), err
}

// putBack ends a look that failed: the keys are as open as they were.
func (s *Set) putBack(l *look) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range l.entries {
		s.schedule(e, max(e.due, s.now()))
	}
}

// Kind is what an event says of a key.
type Kind string

// The kinds of events.
const (
	Found   Kind = "found"   // it differs for good, or differs again, or still after a repair
	Mended  Kind = "mended"  // it was told to differ, and agrees now
	Settled Kind = "settled" // a candidate of the scans that agrees
)

// Event is told when something certain can be said of a key.
type Event struct {
	Kind Kind
	ID   string // item.Key.ID
	Pair        // as it was last read
	// Changed is when its last record's change was made, by the service's clock; zero if none is known.
	Changed     time.Time
	First, Last time.Time // Found: when looks saw it differ, first and last, since its last record
	Again       bool      // Found: it was told before, and has had a record or a repair since
	Repaired    bool      // Mended: by a repair of ours. Found: it still differs after one
}

// done takes in what a look saw, and returns what is certain by that. With repairs, wasRepaired is to be called for what toRepair picks of
// the events.
func (s *Set) done(l *look, pairs []Pair, repairs bool) ([]Event, error) {
	if len(pairs) != len(l.entries) {
		return nil, fmt.Errorf("look at open keys: %d answers for %d keys", len(pairs), len(l.entries))
	}
	states := make([][2]State, len(pairs))
	for i, p := range pairs {
		var err error
		if states[i][0], err = stateOf(p.Source); err != nil {
			return nil, fmt.Errorf("source item: %w", err)
		}
		if states[i][1], err = stateOf(p.Target); err != nil {
			return nil, fmt.Errorf("target item: %w", err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ended := s.now()
	s.learn(l, states, ended)
	var events []Event
	for i, e := range l.entries {
		if e.records != l.records[i] { // what was seen may be from before that record
			e.flags &^= probe
			s.schedule(e, s.first(e))
			continue
		}
		if states[i][0] == states[i][1] {
			events = s.agree(events, e, l.began, ended, pairs[i])
		} else {
			events = s.differ(events, e, l.began, ended, pairs[i], states[i])
		}
	}
	if repairs {
		for _, id := range toRepair(events) {
			s.entries[id].flags |= repairing
		}
	}
	return events, s.makeRoom()
}

// learn takes in what the probes tell of their lanes. One that agrees, and had a single record, shows that the records before its own are
// applied, unless one of those is seen not to be.
func (s *Set) learn(l *look, states [][2]State, ended instant) {
	missing := map[int32]instant{} // by lane: the first record that is seen not to be applied
	for i, e := range l.entries {
		if !e.is(probe) || e.lane == noLane || states[i][0] == states[i][1] || e.records != l.records[i] || e.is(declared) {
			continue
		}
		if _, known := s.lanes[e.lane].applied(l.seen[i]); known {
			continue // it is lost, not late
		}
		if before, is := missing[e.lane]; !is || l.seen[i] < before {
			missing[e.lane] = l.seen[i]
		}
		if age := l.began.since(l.seen[i]); age < s.options.Lifetime {
			s.lanes[e.lane].lag = max(s.lanes[e.lane].lag, age)
		}
	}
	for i, e := range l.entries {
		if !e.is(probe) || !e.is(single) || e.lane == noLane || states[i][0] != states[i][1] || e.records != l.records[i] {
			continue
		}
		if before, is := missing[e.lane]; is && before <= l.seen[i] {
			continue
		}
		s.lanes[e.lane].know(l.seen[i], ended)
		s.lanes[e.lane].lag = ended.since(l.seen[i])
	}
}

// agree books that both sides are the same. The key is closed if its last record was known to be applied one lifetime before the look.
func (s *Set) agree(events []Event, e *entry, began, ended instant, p Pair) []Event {
	switch {
	case e.is(declared):
		event := s.event(Mended, e, p)
		event.Repaired = e.is(repairing) || e.is(repaired)
		events = append(events, event)
		s.count.mended++
		s.count.differing--
		if event.Repaired {
			s.count.repaired++
		}
	case e.is(candidate):
		events = append(events, s.event(Settled, e, p))
		s.count.settled++
	}
	e.flags &^= probe | declared | again | repaired | candidate
	if e.agreed == 0 {
		e.agreed = ended
	}
	applied := s.appliedBy(e)
	if began.since(applied) >= s.options.Lifetime {
		s.remove(e)
		s.closed.add(e.id, ended, s.options.Keep, s.options.MaxMemory/10)
		return events
	}
	s.forgetContrast(e)
	s.schedule(e, applied.plus(s.options.Lifetime))
	return events
}

// appliedBy is when the last record of a key that agrees was applied, at the latest, as far as anything shows it.
func (s *Set) appliedBy(e *entry) instant {
	if e.lane == noLane {
		return e.agreed
	}
	l := s.lanes[e.lane]
	known, is := l.applied(e.seen)
	switch {
	case e.is(single) && is:
		return min(e.agreed, known)
	case e.is(single):
		return e.agreed
	case is:
		return known
	}
	return max(e.agreed, e.seen.plus(l.lag)) // it may have agreed before: what it has now may be what it had
}

func (s *Set) forgetContrast(e *entry) {
	s.memory -= e.memory()
	e.differs = nil
	s.memory += e.memory()
}

func (s *Set) event(kind Kind, e *entry, p Pair) Event {
	event := Event{Kind: kind, ID: e.id, Pair: p}
	if e.made != 0 {
		event.Changed = time.UnixMilli(e.made).UTC()
	}
	return event
}

// differ books that both sides are not the same.
func (s *Set) differ(events []Event, e *entry, began, ended instant, p Pair, now [2]State) []Event {
	s.memory -= e.memory()
	e.agreed = 0
	d := e.differs
	switch {
	case d == nil:
		e.differs = &contrast{source: now[0], target: now[1], first: ended, since: ended, still: ended}
	case d.source != now[0]:
		d.source, d.target, d.since, d.still = now[0], now[1], ended, ended
		e.flags |= behind
	case d.target != now[1]:
		d.target, d.still = now[1], ended
	}
	s.memory += e.memory()
	if began.since(e.seen) >= s.options.Lifetime {
		e.flags &^= probe
	}
	if !e.is(repairing) && (!e.is(declared) || e.is(again)) && s.isCertain(e, began) {
		event := s.event(Found, e, p)
		event.First, event.Last = s.time(e.differs.first), s.time(ended)
		event.Again, event.Repaired = e.is(declared), e.is(repaired)
		events = append(events, event)
		if !e.is(declared) {
			s.count.found++
			s.count.differing++
		}
		e.flags = e.flags&^(again|repaired|candidate) | declared
	}
	s.schedule(e, ended.plus(s.pause(e, ended)))
	return events
}

// isCertain tells whether a look that began then, and saw the key differ, makes it a difference.
func (s *Set) isCertain(e *entry, began instant) bool {
	d, settle := e.differs, s.options.Settle
	if d.still >= began { // a single look settles nothing
		return false
	}
	if began.since(d.since) >= settle {
		return true
	}
	return s.sourceIsKnown(e) && began.since(e.seen) >= settle && s.through >= d.still
}

// sourceIsKnown tells whether the source is as the key's last record has it, if the stream was read far enough.
func (s *Set) sourceIsKnown(e *entry) bool { return e.lane != noLane && !e.is(behind) }

const (
	confirmAfter = time.Second // before a second look at what may be certain then
	mostPause    = 30 * time.Second
)

// pause is how long not to look at a key that differs.
func (s *Set) pause(e *entry, now instant) time.Duration {
	age := now.since(e.seen)
	if e.is(declared) && !e.is(again) {
		return min(max(age/4, 5*time.Second), mostPause)
	}
	pause := min(max(age/4, earliest), mostPause)
	if s.sourceIsKnown(e) && age >= s.options.Settle-confirmAfter {
		pause = min(pause, confirmAfter)
		if age > s.options.Settle+20*time.Second { // the stream is not read so far
			pause = max(pause, age/8)
		}
	}
	if left := e.differs.since.plus(s.options.Settle).since(now); left > 0 {
		pause = min(pause, left)
	}
	return pause
}

// toRepair picks the keys that are to be repaired: those that were not since their last record.
func toRepair(events []Event) []string {
	var ids []string
	for _, event := range events {
		if event.Kind == Found && !event.Repaired {
			ids = append(ids, event.ID)
		}
	}
	return ids
}

// wasRepaired opens keys again, as a record does.
func (s *Set) wasRepaired(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	for _, id := range ids {
		e := s.entries[id]
		if e == nil {
			continue // it agreed meanwhile, for long enough to be closed
		}
		s.memory -= e.memory()
		e.flags &^= repairing
		if e.is(declared) {
			e.flags |= again | repaired
		}
		e.seen, e.agreed, e.differs, e.lane = now, 0, nil, noLane
		e.records++
		s.memory += e.memory()
		if e.place != taken {
			s.schedule(e, now)
		}
	}
}
