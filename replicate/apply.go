package replicate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"reseal/internal/batch"
	"reseal/internal/item"

	"golang.org/x/sync/errgroup"
)

// Counts says what was done with records.
type Counts struct {
	Records   int64 `json:"records"`   // records applied
	Puts      int64 `json:"puts"`      // items written
	Deletes   int64 `json:"deletes"`   // items deleted
	Coalesced int64 `json:"coalesced"` // records that needed no write since a later one of the same key was at hand

	DeadLettered int64 `json:"dead_lettered"` // records that Poison took: their items are not as the source has them

	// Uncertain counts the items of which a write had no answer, or none that tells. It was repeated, or its record comes again. But
	// the lost one may still be carried out, until a request's lifetime has passed, over something newer.
	Uncertain int64 `json:"uncertain_writes"`
}

func (c *Counts) add(o Counts) {
	c.Records += o.Records
	c.Puts += o.Puts
	c.Deletes += o.Deletes
	c.Coalesced += o.Coalesced
	c.DeadLettered += o.DeadLettered
	c.Uncertain += o.Uncertain
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
//  2. Write them in batches. A key is in one batch only, so the order of the batches doesn't matter: they are written in parallel.
//     Where records may come again after a failure, the first item is written before the others: it is the one that failed before,
//     and as long as it fails nothing after it is written, over and over, or back to an older value.
//  3. An item that the target refuses is given to poison; the rest of its batch is written.
//  4. If any write fails, begin no batch that comes after it, and return an *Unapplied with the first record whose key was not written. Applying
//     it and what follows again is harmless. Records are counted up to it, and what else is counted is DeadLettered and Uncertain.
//
// Apply must not be called again for later records of the same keys before it has returned. Images are put whole, never
// attribute by attribute, so that an attribute which the application removed goes.
func Apply(ctx context.Context, w *batch.Writer, records []Record, poison Poison) (Counts, error) {
	a := applier{writer: w, poison: poison, refusals: &refusals{}}
	return a.apply(ctx, records)
}

// applier applies records to one table. It is safe for concurrent use.
type applier struct {
	writer   *batch.Writer
	poison   Poison
	refusals *refusals
	again    bool // the records may be some that failed before
}

// apply is Apply.
func (p applier) apply(ctx context.Context, records []Record) (Counts, error) {
	a := application{applier: p, records: records, failedAt: len(records)}
	ops := a.coalesce()
	a.write(ctx, ops)
	counts := Counts{DeadLettered: a.deadLettered, Uncertain: int64(len(a.uncertain))}
	if a.failure != nil {
		counts.Records = int64(a.failedAt)
		return counts, &Unapplied{Index: a.failedAt, Sequence: records[a.failedAt].Sequence, Err: a.failure}
	}
	counts.Records, counts.Coalesced = int64(len(records)), int64(len(records)-len(ops))
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
	applier
	records []Record
	spans   map[string]span // by Key.ID

	mu           sync.Mutex // of what follows
	failedAt     int        // index of the first record that isn't applied
	failure      error      // why
	refused      map[string]bool
	uncertain    map[string]bool
	deadLettered int64
}

// write writes the ops, in batches, until one fails.
func (a *application) write(ctx context.Context, ops []batch.Op) {
	batches := a.writer.Split(ops)
	if a.again && len(ops) > 1 {
		a.writeBatch(ctx, ops[:1])
		batches = a.writer.Split(ops[1:])
	}
	var group errgroup.Group
	group.SetLimit(writesInFlight)
	for _, one := range batches {
		group.Go(func() error {
			if a.failedBefore(one[0]) {
				a.fail(one, nil)
			} else {
				a.writeBatch(ctx, one)
			}
			return nil
		})
	}
	_ = group.Wait() // what failed is in a
}

// writeBatch writes one batch, up to the first item at which it is to end.
func (a *application) writeBatch(ctx context.Context, ops []batch.Op) {
	refused := 0
	left := ops
	writer := a.writer.Rejecting(func(op batch.Op, reason error) error {
		refused++
		err := a.reject(ctx, op, reason)
		if err != nil { // what comes before it in the batch is written
			at := slices.IndexFunc(ops, func(other batch.Op) bool { return other.Key == op.Key })
			left = ops[at:]
		}
		return err
	})
	lost, err := writer.Write(ctx, ops)
	if written := len(ops) - refused; err == nil && written > 0 {
		a.refusals.passed()
	}
	if len(lost) > 0 {
		a.note(lost)
	}
	if err != nil {
		a.fail(left, err)
	}
}

func (a *application) note(lost []item.Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.uncertain == nil {
		a.uncertain = map[string]bool{}
	}
	for _, key := range lost {
		a.uncertain[key.ID()] = true
	}
}

// failedBefore tells whether what failed begins before an op. What comes before a failure is written still: the failure is told of its
// own record then, and not of one that was only left.
func (a *application) failedBefore(op batch.Op) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failure != nil && a.failedAt < a.spans[op.Key.ID()].first
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

// fail notes that the ops are not written. The first record of their keys is where to begin again. Without an error they come after
// others that failed, or would have.
func (a *application) fail(ops []batch.Op, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.failure == nil {
		a.failure = err
	}
	for _, op := range ops {
		if at := a.spans[op.Key.ID()].first; at < a.failedAt {
			a.failedAt = at
			if err != nil {
				a.failure = err
			}
		}
	}
}

// reject deals with an item that the target refuses.
func (a *application) reject(ctx context.Context, op batch.Op, reason error) error {
	if a.poison == nil {
		return fmt.Errorf("%w: %w", ErrPoison, reason)
	}
	if err := a.refusals.count(reason); err != nil {
		return err
	}
	if err := a.poison(ctx, a.records[a.spans[op.Key.ID()].last], reason); err != nil {
		return fmt.Errorf("hand on an item that the target refuses (%s): %w", codeOf(reason), err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refused == nil {
		a.refused = map[string]bool{}
	}
	a.refused[op.Key.ID()] = true
	a.deadLettered++
	return nil
}

// failureIn returns the Unapplied in err, if there is one.
func failureIn(err error) (*Unapplied, bool) {
	var unapplied *Unapplied
	ok := errors.As(err, &unapplied)
	return unapplied, ok
}
