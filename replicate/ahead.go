package replicate

import (
	"context"
	"errors"
	"sync"

	"reseal/internal/item"
)

// ahead is the keys that were written ahead of their turn, since the target refuses what an earlier record of theirs holds. It is
// only in memory: a run that resumes finds out again. It is safe for concurrent use.
type ahead struct {
	mu       sync.Mutex
	sequence map[string]string // of the record that was written, by Key.ID
}

func (a *ahead) add(record Record) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sequence == nil {
		a.sequence = map[string]string{}
	}
	a.sequence[record.Key.ID()] = record.Sequence
}

// leaveOut returns the records but for those that come before one of the same key that is written already, with their places among
// all, and the places of those written ones that are among them, by Key.ID.
func (a *ahead) leaveOut(records []Record) (kept []Record, places []int, reached map[string]int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	places = make([]int, 0, len(records))
	if len(a.sequence) == 0 {
		for i := range records {
			places = append(places, i)
		}
		return records, places, nil
	}
	reached = map[string]int{}
	for i, record := range records {
		id := record.Key.ID()
		until, is := a.sequence[id]
		_, passed := reached[id]
		if is && !passed && record.Sequence != until {
			continue
		}
		if is && !passed {
			reached[id] = i
		}
		kept, places = append(kept, record), append(places, i)
	}
	return kept, places, reached
}

// forget forgets the keys that were reached among the first records, so many of which are applied: nothing reads those again, so what
// follows of their keys must not wait for them.
func (a *ahead) forget(reached map[string]int, applied int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, place := range reached {
		if place < applied {
			delete(a.sequence, id)
		}
	}
}

// supersede looks in the shard, after a record, and then in the shards that come after it, for records of a key, up to what there is at
// present, and writes the first one that the target takes. It tells whether there is one: the application has put the item right.
// Nothing else of the key can be written meanwhile: all its records are in these shards, which wait for this one.
func (t *tailer) supersede(ctx context.Context, shard string, key item.Key, after string) (bool, error) {
	return t.follower.Search(ctx, shard, after, func(records []Record) (bool, error) { return t.tryRecord(ctx, records, key) })
}

// tryRecord writes the last of the records that is of the key, if there is one and the target takes it.
func (t *tailer) tryRecord(ctx context.Context, records []Record, key item.Key) (bool, error) {
	for i := len(records) - 1; i >= 0; i-- {
		if records[i].Key != key {
			continue
		}
		counts, err := t.sink.apply(ctx, records[i:i+1])
		if counts.Uncertain > 0 {
			t.wroteUncertain()
		}
		switch {
		case errors.Is(err, ErrPoison):
			return false, nil
		case err != nil:
			return false, err
		}
		t.ahead.add(records[i])
		return true, nil
	}
	return false, nil
}
