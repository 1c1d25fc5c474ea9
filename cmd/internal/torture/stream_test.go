package torture

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stream is a table's stream, of shards that split. A record stays in the shard that its key belonged to when it was made, so
// that the records of a key move from a parent to its child. R is what a record is to the API that serves it.
type stream[R any] struct {
	prefix    string        // of the names of its shards
	retention time.Duration // for how long a record can be read; 0: for ever
	strict    bool          // a sequence number that is older than that is refused, also where nothing after it was trimmed

	mu     sync.Mutex
	shards []*shard[R]
	last   string // sequence number of the newest record
}

// shard holds the records of a part of the hash space, places from (inclusive) to to (exclusive).
type shard[R any] struct {
	id, parent string
	from, to   uint64
	records    []entry[R]
	closed     bool
	listed     time.Time // since when it is listed
	start, end string    // its StartingSequenceNumber and EndingSequenceNumber, between which its records are; no record need have them
	ended      time.Time // when it was closed
}

// entry is a record, with its sequence number and the time from which on it can be read.
type entry[R any] struct {
	sequence string
	visible  time.Time
	record   R
}

// errNoShard stands for ResourceNotFoundException, errTrimmed for TrimmedDataAccessException.
var (
	errNoShard = errors.New("there is no such shard")
	errTrimmed = errors.New("the record was trimmed")
)

// newStream makes a stream of n open shards.
func newStream[R any](n int, now time.Time) *stream[R] {
	s := &stream[R]{last: sequenceNumber(0)}
	s.open(n, now)
	return s
}

func (s *stream[R]) open(n int, now time.Time) {
	for i := range uint64(n) {
		s.add("", i<<32/uint64(n), (i+1)<<32/uint64(n), now)
	}
}

func (s *stream[R]) add(parent string, from, to uint64, listed time.Time) {
	s.shards = append(s.shards, &shard[R]{
		id: fmt.Sprintf("%sshard-%03d", s.prefix, len(s.shards)), parent: parent, from: from, to: to, listed: listed, start: after(s.last),
	})
}

// shut closes a shard. The caller holds mu, or is alone.
func (s *stream[R]) shut(one *shard[R], now time.Time) {
	one.closed, one.ended, one.end = true, now, max(one.start, s.last)
}

// close closes all shards: the stream is disabled.
func (s *stream[R]) close(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.shards {
		if !one.closed {
			s.shut(one, now)
		}
	}
}

// trimmed is how many of a shard's records are gone.
func (s *stream[R]) trimmed(one *shard[R], now time.Time) int {
	n := 0
	for s.retention > 0 && n < len(one.records) && now.Sub(one.records[n].visible) > s.retention {
		n++
	}
	return n
}

// gone tells whether a shard is.
func (s *stream[R]) gone(one *shard[R], now time.Time) bool {
	return s.retention > 0 && one.closed && now.Sub(one.ended) > s.retention && s.trimmed(one, now) == len(one.records)
}

// append puts a record into the open shard of the place. Records become visible in their order.
func (s *stream[R]) append(place uint32, e entry[R]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.shards {
		if one.closed || uint64(place) < one.from || uint64(place) >= one.to {
			continue
		}
		if n := len(one.records); n > 0 && e.visible.Before(one.records[n-1].visible) {
			e.visible = one.records[n-1].visible
		}
		one.records = append(one.records, e)
		s.last = e.sequence
		return
	}
	panic("no shard is open for the place")
}

// split closes an open shard, which gets a child for each half, or one for the whole, as DynamoDB does every few hours. The
// children are listed from the given time on, but not before an older shard: reseal takes a shard whose child is listed and which is
// not for one that was trimmed.
func (s *stream[R]) split(random *rand.Rand, listed time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var open []*shard[R]
	for _, one := range s.shards {
		if !one.closed {
			open = append(open, one)
		}
	}
	one := open[random.IntN(len(open))]
	s.shut(one, listed)
	if newest := s.shards[len(s.shards)-1].listed; listed.Before(newest) {
		listed = newest
	}
	middle := (one.from + one.to) / 2
	if chance(random, 0.3) {
		s.add(one.id, one.from, one.to, listed)
		return
	}
	s.add(one.id, one.from, middle, listed)
	s.add(one.id, middle, one.to, listed)
}

// shardView is a shard as DescribeStream shows it.
type shardView struct {
	id, parent, start, end string
	closed                 bool
}

// list returns the shards that are listed now, after the one with the given id ("": from the first on), most of them at a time,
// and whether there are more.
func (s *stream[R]) list(now time.Time, after string, most int) (views []shardView, more bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.shards {
		if one.id <= after || one.listed.After(now) || s.gone(one, now) {
			continue
		}
		if len(views) == most {
			return views, true
		}
		views = append(views, shardView{one.id, one.parent, one.start, one.end, one.closed})
	}
	return views, false
}

func (s *stream[R]) find(id string, now time.Time) (*shard[R], error) {
	for _, one := range s.shards {
		if one.id == id && !s.gone(one, now) {
			return one, nil
		}
	}
	return nil, errNoShard
}

// position is the index in a shard at which an iterator of the type starts.
func (s *stream[R]) position(id, iteratorType, sequence string, now time.Time) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, err := s.find(id, now)
	if err != nil {
		return 0, err
	}
	trimmed := s.trimmed(one, now)
	switch iteratorType {
	case "TRIM_HORIZON":
		return trimmed, nil
	case "LATEST":
		return one.seen(now), nil
	case "AT_SEQUENCE_NUMBER": // or with the next one: a shard may start at a number that no record has
		at, _ := one.search(sequence)
		if at < trimmed {
			return 0, errTrimmed
		}
		return at, nil
	case "AFTER_SEQUENCE_NUMBER":
		at, found := one.search(sequence)
		switch {
		case !found:
			return 0, fmt.Errorf("shard %s has no record %s", id, sequence)
		case at+1 < trimmed || (s.strict && at < trimmed):
			return 0, errTrimmed
		}
		return at + 1, nil
	}
	return 0, fmt.Errorf("iterator type %q is not known", iteratorType)
}

func (s *shard[R]) search(sequence string) (at int, found bool) {
	return slices.BinarySearchFunc(s.records, sequence, func(e entry[R], sequence string) int { return cmp.Compare(e.sequence, sequence) })
}

// seen is how many records can be read.
func (s *shard[R]) seen(now time.Time) int {
	n := len(s.records)
	for n > 0 && s.records[n-1].visible.After(now) {
		n--
	}
	return n
}

// read returns up to most records from the index on that can be read by now, and whether the shard is at its end thereafter.
func (s *stream[R]) read(id string, index, most int, now time.Time) (records []entry[R], ended bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, err := s.find(id, now)
	if err != nil {
		return nil, false, err
	}
	if index < s.trimmed(one, now) {
		return nil, false, errTrimmed
	}
	end := max(index, min(one.seen(now), index+most))
	return slices.Clone(one.records[index:end]), one.closed && end == len(one.records), nil
}

// counts is how many shards and records there are.
func (s *stream[R]) counts() (shards, records int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.shards {
		records += len(one.records)
	}
	return len(s.shards), records
}

// iterator and parseIterator are the text of a position. full says that the next answer from there must not be empty if there are
// records: GetRecords may find none though there are some, but not for ever, and reseal can't tell that from the end of the stream.
func iterator(shard string, index int, full bool) string {
	return fmt.Sprintf("%s %d %t", shard, index, full)
}

func parseIterator(iterator string) (shard string, index int, full bool, err error) {
	_, err = fmt.Sscan(iterator, &shard, &index, &full)
	return shard, index, full, err
}

// sequenceNumber is the text of the n-th record's, in the order of numbers.
func sequenceNumber(n int) string { return fmt.Sprintf("%021d", n) }

// after is the next sequence number.
func after(sequence string) string {
	n, err := strconv.Atoi(strings.TrimLeft(sequence, "0"))
	if err != nil {
		n = 0 // there was none yet
	}
	return sequenceNumber(n + 1)
}
