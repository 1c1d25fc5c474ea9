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
}

func (c *Counts) add(o Counts) {
	c.Records += o.Records
	c.Puts += o.Puts
	c.Deletes += o.Deletes
	c.Coalesced += o.Coalesced
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
//  3. If any batch fails, go on with the others and return an *Unapplied with the first record whose key was not written.
//     Applying it and what follows again is harmless. Nothing is counted then.
//
// Apply must not be called again for later records of the same keys before it has returned. Images are put whole, never
// attribute by attribute, so that an attribute which the application removed goes.
func Apply(ctx context.Context, w *batch.Writer, records []Record) (Counts, error) {
	ops, first := coalesce(records)
	var mu sync.Mutex
	failedAt, failure := len(records), error(nil)
	var group errgroup.Group
	group.SetLimit(writesInFlight)
	for _, one := range w.Split(ops) {
		group.Go(func() error {
			_, err := w.Write(ctx, one)
			if err == nil {
				return nil
			}
			mu.Lock()
			defer mu.Unlock()
			for _, op := range one {
				if at := first[op.Key.ID()]; at < failedAt {
					failedAt, failure = at, err
				}
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Counts{}, &Unapplied{Index: failedAt, Sequence: records[failedAt].Sequence, Err: failure}
	}
	counts := Counts{Records: int64(len(records)), Coalesced: int64(len(records) - len(ops))}
	for _, op := range ops {
		if op.Item.Absent() {
			counts.Deletes++
		} else {
			counts.Puts++
		}
	}
	return counts, nil
}

// coalesce returns one write for each key, as its last record says, and the index of each key's first record by Key.ID.
func coalesce(records []Record) ([]batch.Op, map[string]int) {
	first := make(map[string]int, len(records))
	place := make(map[string]int, len(records))
	var ops []batch.Op
	for i, record := range records {
		id := record.Key.ID()
		op := batch.Op{Key: record.Key, Item: record.Image}
		if at, seen := place[id]; seen {
			ops[at] = op
			continue
		}
		first[id], place[id] = i, len(ops)
		ops = append(ops, op)
	}
	return ops, first
}

// failureIn returns the Unapplied in err, if there is one.
func failureIn(err error) (*Unapplied, bool) {
	var unapplied *Unapplied
	ok := errors.As(err, &unapplied)
	return unapplied, ok
}
