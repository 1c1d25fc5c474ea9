package openkeys

import (
	"cmp"
	"slices"
	"time"
)

// lane is a shard of the stream. Its records are applied in their order, so what is known of one tells of those before it.
type lane struct {
	lag       time.Duration // how long after its record the last probe was seen to agree, or still to differ
	lastProbe instant
	marks     []mark // both times rise
}

// mark says that at a time it was known that all records seen by another time were applied.
type mark struct{ records, known instant }

const (
	// probeInterval is how often a lane has a new probe, if it has records.
	probeInterval = 500 * time.Millisecond
	// mostMarks bounds the memory of a lane: they are for the time that keys wait for their late look.
	mostMarks = 512
	// earliest is when a probe is looked at first, after its record.
	earliest = time.Second
)

// wantsProbe tells whether the lane's next record is to be a probe.
func (l *lane) wantsProbe(now instant) bool {
	if l.lastProbe > 0 && now.since(l.lastProbe) < probeInterval {
		return false
	}
	l.lastProbe = now
	return true
}

// early is when to look at a probe, after its record.
func (l *lane) early() time.Duration { return max(earliest, l.lag*3/4) }

// applied returns when it was known that a record seen at a time was applied.
func (l *lane) applied(seen instant) (known instant, is bool) {
	i, _ := slices.BinarySearchFunc(l.marks, seen, func(m mark, t instant) int { return cmp.Compare(m.records, t) })
	if i == len(l.marks) {
		return 0, false
	}
	return l.marks[i].known, true
}

// know takes in that by the time known all records seen by another time were applied.
func (l *lane) know(records, known instant) {
	if n := len(l.marks); n > 0 && l.marks[n-1].records >= records {
		return
	}
	if len(l.marks) == mostMarks {
		l.marks = slices.Delete(l.marks, 0, mostMarks/4)
	}
	l.marks = append(l.marks, mark{records, known})
}
