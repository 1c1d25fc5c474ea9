package openkeys

import (
	"container/heap"
	"encoding/hex"
	"time"

	"reseal/internal/item"
)

// instant is a time as nanoseconds since the set was made, by the monotonic clock: a clock that is put right makes nothing late or early.
type instant int64

func (i instant) plus(d time.Duration) instant { return i + instant(d) }

func (i instant) since(o instant) time.Duration { return time.Duration(i - o) }

// State is what one table has for a key.
type State struct {
	Digest item.Digest // zero if the table has no such item
	Exists bool
}

func (s State) String() string {
	if !s.Exists {
		return ""
	}
	return hex.EncodeToString(s.Digest[:])
}

func stateOf(it item.Item) (State, error) {
	if it.Absent() {
		return State{}, nil
	}
	digest, err := it.Digest()
	return State{Digest: digest, Exists: true}, err
}

// entry is an open key, or one that differs.
type entry struct {
	id      string
	lane    int32   // where its last record came from; noLane: from none
	place   int32   // in the queue; taken: it is being looked at
	records uint32  // that came, so that a look can tell whether one did meanwhile
	flags   flags   //
	seen    instant // when its last record was
	due     instant // when it is to be looked at
	agreed  instant // the end of the first look since its last record that saw it agree, with none after it that saw it differ; 0: none
	made    int64   // when its last record was, Unix milliseconds by the service's clock; 0: not known
	differs *contrast
}

const (
	noLane = -1
	taken  = -1
)

type flags uint8

const (
	probe     flags = 1 << iota // its next look is an early one
	candidate                   // the scans found that it differs; not told as settled yet
	declared                    // it was told as a difference, and not yet as mended
	again                       // likewise, and it is to be told again if that lasts: it has had a record, or a repair, since
	repairing                   // it is being repaired
	repaired                    // it was repaired since it was told last
	behind                      // records of it may have come that are not in this entry
	single                      // its last record is the only one since the key was opened: both sides had been the same before
)

func (e *entry) is(f flags) bool { return e.flags&f != 0 }

// isOpen tells whether it isn't known what becomes of the key. It is of a difference that was told, until it has a record or a repair.
func (e *entry) isOpen() bool { return !e.is(declared) || e.is(again|repairing) }

// isUnsettled tells of a key that differed when it was last looked at, and was not told as a difference.
func (e *entry) isUnsettled() bool { return e.differs != nil && !e.is(declared) }

// contrast is what looks at a differing key saw.
type contrast struct {
	source, target State
	first          instant // the end of the first look that saw it differ since its last record
	since          instant // the end of the first look that saw what the source has now
	still          instant // the end of the first look that saw what both have now
}

// entryBytes is the memory of an entry beside the bytes of its key: the most that was measured (TestMemory), rounded up.
const entryBytes = 240

// contrastBytes is what it takes more while it differs.
const contrastBytes = 112

func (e *entry) memory() int64 {
	if e.differs == nil {
		return int64(len(e.id)) + entryBytes
	}
	return int64(len(e.id)) + entryBytes + contrastBytes
}

// queue is the entries in the order in which they are due (container/heap).
type queue []*entry

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = int32(i), int32(j) //nolint:gosec // there is no memory for so many entries
}

// Push is for container/heap.
func (q *queue) Push(x any) {
	e := x.(*entry)          //nolint:errcheck,forcetypeassert // the queue holds nothing else
	e.place = int32(len(*q)) //nolint:gosec // as in Swap
	*q = append(*q, e)
}

// Pop is for container/heap.
func (q *queue) Pop() any {
	last := len(*q) - 1
	e := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	e.place = taken
	return e
}

// schedule says when an entry that is not being looked at is due.
func (q *queue) schedule(e *entry, due instant) {
	e.due = due
	if e.place == taken {
		heap.Push(q, e)
	} else {
		heap.Fix(q, int(e.place))
	}
}
