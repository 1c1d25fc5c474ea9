package stream

import "time"

// madeMargin is how far a time that is told by records may be off: the service's clock is known up to a second and an answer's way, of the
// best of many answers (see call.Clock). That records have whole seconds ("rounded down to the closest second": API reference,
// StreamRecord) makes it no later.
const madeMargin = 2 * time.Second

// AppearsWithin is how long after a change its record may be in the stream. Where a record tells the time it doesn't matter: those before it
// are there.
const AppearsWithin = time.Second

// ReadThrough is a time, by this machine's clock, up to which all changes that the stream had were done by the sink; the zero time if
// none is known. It is not while a shard is not read to its end and has no reader (it waits for its parent, was halted, or was listed
// just now), nor while a shard has ended and no listing made since then has a child of it: its next records are in none that is read.
//
// A reader knows by records, of which the last was made at a time, and by two reads in a row that find nothing: a second before the first. Until
// it is at the shard's end for the first time, those must go on for ten seconds (see tipTime).
func (t *Follower) ReadThrough() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.listed.parents) == 0 {
		return time.Time{}
	}
	for shard := range t.listed.parents {
		if t.readers[shard] == nil && !t.position.isDrained(shard) {
			return time.Time{}
		}
	}
	through := time.Now()
	for shard, r := range t.readers {
		if ended := r.endedAt(); !ended.IsZero() {
			if !t.listed.hasChild[shard] || t.listed.at.Before(ended) {
				return time.Time{}
			}
			continue
		}
		one := r.doneThrough()
		if one.IsZero() {
			return one
		}
		if one.Before(through) {
			through = one
		}
	}
	return through
}

func (r *reader) doneThrough() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.through
}

// begunAtTip notes that the reader began with what is made from now on.
func (r *reader) begunAtTip() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.atTip = true
}

// readThrough notes that all was done up to a record, which a read that began at the given time found. Records of a shard are in order.
func (r *reader) readThrough(begun, made time.Time) {
	if made.IsZero() {
		return
	}
	at := r.tailer.position.machine(made).Add(-madeMargin)
	if begun.Before(at) {
		at = begun
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.through = later(r.through, at)
}
