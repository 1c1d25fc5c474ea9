package replicate

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"reseal/internal/batch"

	"golang.org/x/sync/errgroup"
)

// Counts says what was done with records.
type Counts struct {
	Records   int64 `json:"records"`   // records applied
	Puts      int64 `json:"puts"`      // items written
	Deletes   int64 `json:"deletes"`   // items deleted
	Coalesced int64 `json:"coalesced"` // records that needed no write since a later one of the same key was at hand

	DeadLettered int64 `json:"dead_lettered"` // records that Poison took: their items are not as the source has them
}

func (c *Counts) add(o Counts) {
	c.Records += o.Records
	c.Puts += o.Puts
	c.Deletes += o.Deletes
	c.Coalesced += o.Coalesced
	c.DeadLettered += o.DeadLettered
}

// Unapplied is the error for records that could not be applied.
type Unapplied struct {
	Index    int    // of the first of them in the slice given to Apply
	Sequence string // its sequence number; records before it are applied
	Err      error
}

func (e *Unapplied) Error() string {
	return fmt.Sprintf("apply record %s: %v", e.Sequence, e.Err)
}

func (e *Unapplied) Unwrap() error { return e.Err }

// writesInFlight is how many batches one Apply writes at a time.
const writesInFlight = 8

// Apply brings the target to the state after the records, which must be in stream order:
//
//  1. Of each key keep only the last record: a record holds the whole item, so earlier ones are superseded.
//  2. Write them in batches, in parallel. A key is in one batch only, so the order of the batches doesn't matter.
//  3. An item that the target refuses is given to poison; the rest of its batch is written.
//  4. If any write fails, go on with the others and return an *Unapplied with the first record whose key was not written.
//     Applying it and what follows again is harmless. Nothing is counted then but DeadLettered.
//
// Apply must not be called again for later records of the same keys before it has returned. Images are put whole, never
// attribute by attribute, so that an attribute which the application removed goes.
func Apply(ctx context.Context, w *batch.Writer, records []Record, poison Poison) (Counts, error) {
	a := application{records: records, poison: poison, failedAt: len(records)}
	ops := a.coalesce()
	var group errgroup.Group
	group.SetLimit(writesInFlight)
	writer := w.Rejecting(func(op batch.Op, reason error) error { a.reject(ctx, op, reason); return nil })
	for _, one := range writer.Split(ops) {
		group.Go(func() error {
			if _, err := writer.Write(ctx, one); err != nil {
				a.fail(one, err)
			}
			return nil
		})
	}
	_ = group.Wait() // what failed is in a
	if a.failure != nil {
		return Counts{DeadLettered: a.deadLettered}, &Unapplied{Index: a.failedAt, Sequence: records[a.failedAt].Sequence, Err: a.failure}
	}
	counts := Counts{Records: int64(len(records)), Coalesced: int64(len(records) - len(ops)), DeadLettered: a.deadLettered}
	for _, op := range ops {
		switch {
		case a.refused[op.Key.ID()]:
		case op.Item.Absent():
			counts.Deletes++
		default:
			counts.Puts++
		}
	}
	return counts, nil
}

// application is one Apply.
type application struct {
	records []Record
	poison  Poison
	spans   map[string]span // by Key.ID

	mu           sync.Mutex // of what follows
	failedAt     int        // index of the first record that isn't applied
	failure      error      // why
	refused      map[string]bool
	deadLettered int64
}

// span is the indexes of a key's first and last record.
type span struct{ first, last int }

// coalesce returns one write for each key, as its last record says, in the order of their first ones.
func (a *application) coalesce() []batch.Op {
	a.spans = make(map[string]span, len(a.records))
	place := make(map[string]int, len(a.records))
	var ops []batch.Op
	for i, record := range a.records {
		id := record.Key.ID()
		op := batch.Op{Key: record.Key, Item: record.Image}
		if at, seen := place[id]; seen {
			ops[at] = op
			a.spans[id] = span{a.spans[id].first, i}
			continue
		}
		place[id], a.spans[id] = len(ops), span{i, i}
		ops = append(ops, op)
	}
	return ops
}

// fail notes that the ops are not written. The first record of their keys is where to begin again.
func (a *application) fail(ops []batch.Op, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, op := range ops {
		if at := a.spans[op.Key.ID()].first; at < a.failedAt {
			a.failedAt, a.failure = at, err
		}
	}
}

// reject deals with an item that the target refuses.
func (a *application) reject(ctx context.Context, op batch.Op, reason error) {
	if a.poison == nil {
		a.fail([]batch.Op{op}, fmt.Errorf("%w: %w", ErrPoison, reason))
		return
	}
	if err := a.poison(ctx, a.records[a.spans[op.Key.ID()].last], reason); err != nil {
		a.fail([]batch.Op{op}, fmt.Errorf("%w: %w; hand it on: %w", ErrPoison, reason, err))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused == nil {
		a.refused = map[string]bool{}
	}
	a.refused[op.Key.ID()] = true
	a.deadLettered++
}

// failureIn returns the Unapplied in err, if there is one.
func failureIn(err error) (*Unapplied, bool) {
	var unapplied *Unapplied
	ok := errors.As(err, &unapplied)
	return unapplied, ok
}
