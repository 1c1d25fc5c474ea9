package openkeys

import (
	"container/heap"
	"strings"
	"sync"
	"time"
)

// Options are the times and bounds of a set.
type Options struct {
	// Lifetime is how long a request of the replicator may still be carried out after it had no answer.
	Lifetime time.Duration
	// Settle is how long a key must differ, its source unchanged, to be a difference. Where it is shorter than Lifetime, each key is looked
	// at twice.
	Settle    time.Duration
	MaxMemory int64  // bytes for open keys; more of them go to files
	Folder    string // for those files; "": where the system has temporary files
	// Keep is for how long Recent knows of a key that was closed. A tenth of MaxMemory, beside it, bounds their memory.
	Keep time.Duration
}

// Set is a set of open keys. It is safe for concurrent use.
type Set struct {
	options Options
	base    time.Time
	wake    chan struct{} // of Run: something is due earlier

	mu      sync.Mutex // guards what follows
	entries map[string]*entry
	queue   queue
	memory  int64
	files   []*file
	lanes   []*lane
	byName  map[string]int32
	closed  recent
	through instant // the stream is known to have been read past what was made by then
	count   counts
}

// counts are what a set did.
type counts struct {
	records, looked, looks                      int64
	found, mended, repaired, settled, differing int64
	lastRecord                                  instant
}

// New returns an empty set.
func New(options Options) *Set {
	return &Set{
		options: options, base: time.Now(), wake: make(chan struct{}, 1), entries: map[string]*entry{}, byName: map[string]int32{},
		through: -1 << 62, closed: recent{from: -1 << 62},
	}
}

// now is never 0, which stands for no time.
func (s *Set) now() instant { return s.instant(time.Now()) }

func (s *Set) instant(t time.Time) instant { return instant(t.Sub(s.base)) + 1 }

func (s *Set) time(i instant) time.Time { return s.base.Add(time.Duration(i - 1)) }

// Record opens a key, by item.Key.ID, of which a record was just read from a lane (a shard); made is when the change was made, by the
// service's clock. It fails only if it had to use the disk.
func (s *Set) Record(lane, id string, made time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := max(s.now(), s.count.lastRecord+1) // later than that of the record before, whatever the clock says
	s.count.records++
	s.count.lastRecord = now
	number := s.laneOf(lane)
	few := s.isFew()
	isNew := s.entries[id] == nil && !s.isInFile(id)
	e := s.entry(id)
	was := e.memory()
	e.lane, e.seen, e.agreed, e.differs, e.made = number, now, 0, nil, made.UnixMilli()
	e.records++
	e.flags &^= behind | single
	if isNew {
		e.flags |= single
	}
	if e.is(declared) {
		e.flags |= again
	}
	s.memory += e.memory() - was
	l := s.lanes[number]
	if e.is(probe) && e.place != taken {
		return s.makeRoom() // it stays one, however often it changes
	}
	if few || e.is(single) && l.wantsProbe(now) {
		e.flags |= probe
	}
	if e.place != taken || e.due == 0 {
		s.schedule(e, s.first(e))
	}
	return s.makeRoom()
}

// Candidate opens a key that the scans found to differ.
func (s *Set) Candidate(id string) error {
	return s.open(id, candidate, 0)
}

// Differs opens a key that an earlier run had told as a difference; changed is when it was, if that is known.
func (s *Set) Differs(id string, changed time.Time) error {
	return s.open(id, declared, milli(changed))
}

// Reopen opens a key of an earlier run, as if its record came only now: nothing is taken over of what was seen then.
func (s *Set) Reopen(id string, changed time.Time) error {
	return s.open(id, 0, milli(changed))
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func (s *Set) open(id string, f flags, made int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entry(id)
	if f == declared && !e.is(declared) {
		s.count.differing++
	}
	e.flags = e.flags&^single | f
	if e.due > 0 { // it is open already, and what is known of it is newer
		return nil
	}
	now := s.now()
	e.lane, e.seen, e.made = noLane, now, made
	s.schedule(e, now)
	return s.makeRoom()
}

// entry returns the key's entry, which may be a new one with nothing in it.
func (s *Set) entry(id string) *entry {
	e := s.entries[id]
	if e == nil {
		e = &entry{id: strings.Clone(id), lane: noLane, place: taken}
		s.entries[e.id] = e
		s.memory += e.memory()
	}
	return e
}

func (s *Set) laneOf(name string) int32 {
	number, is := s.byName[name]
	if !is {
		number = int32(len(s.lanes)) //nolint:gosec // shards are some thousands
		s.lanes = append(s.lanes, &lane{})
		s.byName[strings.Clone(name)] = number
	}
	return number
}

// fewOpen is up to how many open keys each is looked at early, for whoever watches.
const fewOpen = 100

func (s *Set) isFew() bool { return len(s.entries) <= fewOpen && len(s.files) == 0 }

const (
	// lateMargin is how long after the settling time a key may be looked at first, if one look then closes it.
	lateMargin = 2500 * time.Millisecond
	// beforeSettled is how long before it a key is looked at first otherwise: a difference is told with the second look, and soon after the
	// settling time only if the stream is read past the first one by then.
	beforeSettled = 6 * time.Second
)

// first is when to look at a key whose last record has not been followed by a look.
func (s *Set) first(e *entry) instant {
	if e.lane == noLane {
		return e.seen.plus(earliest)
	}
	l := s.lanes[e.lane]
	late := min(s.options.Lifetime+max(l.lag, earliest)+3*probeInterval, s.options.Settle+lateMargin)
	if s.options.Lifetime+l.lag > s.options.Settle+lateMargin {
		late = max(s.options.Settle-beforeSettled, earliest)
	}
	if e.is(probe) {
		return e.seen.plus(min(l.early(), late))
	}
	return e.seen.plus(late)
}

func (s *Set) schedule(e *entry, due instant) {
	s.queue.schedule(e, due)
	if s.queue[0] == e {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

// ReadThrough says that each record of a change made by then, by this machine's clock, was given to Record, if there is one.
func (s *Set) ReadThrough(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.through = max(s.through, s.instant(t))
}

// Status is what a set is like at a moment.
type Status struct {
	Open       int64         // keys of which it isn't known whether they agree for good; one whose older entry is in a file counts twice
	OldestOpen time.Duration // how long ago the last record of one of them was seen, the longest; 0: none is open
	Records    int64         // that were followed
	LookedAt   int64         // keys that were looked at, each time that they were
	Looks      int64         // requests of Look
	// Suspect are those of the open keys that may be differences: the scans found them to differ, and no look has seen them agree, or looks
	// have seen them differ for SuspectAfter. One that changes all the time is none: no look may ever see it agree, and each of its records
	// has the whole item written. What is in files counts as suspect.
	Suspect    int64
	Differing  int64 // differences that were told and are not mended
	Found      int64 // differences, in all
	Mended     int64 // of them, those that agreed later; Repaired are among them
	Repaired   int64
	Settled    int64     // candidates of the scans that agreed
	LastRecord time.Time // when the last one was seen; zero: none was
	// Overdue tells that an open key's last record was seen longer ago than the lifetime and ten seconds.
	Overdue bool
	// Unsettled are keys that differed when they were last looked at, and were not told as a difference: not for long enough.
	Unsettled int64
}

// SuspectAfter is how long a replication that is up to date may take at the most, so to say: a key that differs for longer is a suspect.
const SuspectAfter = 10 * time.Second

// isSuspect tells whether an open key may be a difference.
func (e *entry) isSuspect(now instant) bool {
	changes := e.records > 0 && now.since(e.seen) <= SuspectAfter
	return e.is(candidate) && !changes || e.differs != nil && now.since(e.differs.first) > SuspectAfter
}

// OverdueAfter is how much longer than the lifetime a key may be open before the set is not caught up.
const OverdueAfter = 10 * time.Second

// Status returns it. It goes through all entries in memory.
func (s *Set) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.count
	st := Status{
		Records: c.records, LookedAt: c.looked, Looks: c.looks, Differing: c.differing,
		Found: c.found, Mended: c.mended, Repaired: c.repaired, Settled: c.settled,
	}
	if c.lastRecord > 0 {
		st.LastRecord = s.time(c.lastRecord)
	}
	now := s.now()
	note := func(seen instant) { st.OldestOpen = max(st.OldestOpen, now.since(seen), 1) }
	for _, e := range s.entries {
		if e.isOpen() {
			st.Open++
			note(e.seen)
			if e.isSuspect(now) {
				st.Suspect++
			}
		}
		if e.isUnsettled() {
			st.Unsettled++
		}
	}
	for _, f := range s.files {
		st.Unsettled += f.unsettled
		if open := f.open; open > 0 {
			st.Open, st.Suspect = st.Open+open, st.Suspect+open
			note(f.oldest())
		}
	}
	st.Overdue = st.OldestOpen > s.options.Lifetime+OverdueAfter
	return st
}

// Close removes the files.
func (s *Set) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.files {
		f.close()
	}
	s.files = nil
}

// remove takes an entry that is being looked at out of the set.
func (s *Set) remove(e *entry) {
	delete(s.entries, e.id)
	s.memory -= e.memory()
}

// pop takes the entry that is due first out of the queue.
func (s *Set) pop() *entry { return heap.Pop(&s.queue).(*entry) } //nolint:errcheck,forcetypeassert // the queue holds nothing else
