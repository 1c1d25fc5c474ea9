package converge

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/item"
)

// Converger writes items to the target and re-checks them against the source. It is safe for concurrent use.
type Converger struct {
	Source  *batch.Reader
	Target  *batch.Reader // for Settle only
	Writer  *batch.Writer
	Recheck bool // false: write and trust, for a source that nobody writes to

	// Reject is called for an item that the target refuses; it is left as it is on the target. An error ends the write. If
	// Reject is nil, such an item fails its whole batch.
	Reject func(key item.Key, reason error) error

	rechecked, rewritten atomic.Int64
}

// Rechecked is the number of items whose source was read again after they were written.
func (c *Converger) Rechecked() int64 { return c.rechecked.Load() }

// Rewritten is the number of writes (puts and deletes) made because the source had changed.
func (c *Converger) Rewritten() int64 { return c.rewritten.Load() }

// Write carries out ops, a batch of distinct keys, and makes sure that each of them ends as the source has it:
//
//  1. Write the batch. (What was one batch may be two when it is written again, if its items have grown meanwhile.)
//  2. Read its keys from the source with ConsistentRead. A key whose source equals what was written is done: a later change
//     is applied by the replicator after our write.
//  3. Write the others again, as the source has them now, and go to 2.
//  4. A key that has changed a second time is a hot one. It is read once more after a pause. If it has changed since the
//     last read, it is done as well: both reads were made after our write was answered, so a change lies after our write,
//     its stream record will be applied after our write, and the last record of a key wins. Otherwise it goes on with 3.
//
// The keys returned are uncertain: a write of theirs was lost on the way and may still land (see Settle). They are also
// returned with an error, together with those that were not written or not re-checked when it struck.
func (c *Converger) Write(ctx context.Context, ops []batch.Op) ([]item.Key, error) {
	uncertain := keySet{}
	rejected, err := c.write(ctx, ops, uncertain)
	if err != nil {
		return uncertain.with(keys(ops)), err
	}
	return c.recheck(ctx, without(ops, rejected), uncertain)
}

// Split cuts ops into parts for Try: each is one batch, or, where there is a re-check, as many as are re-checked by one request.
func (c *Converger) Split(ops []batch.Op) [][]batch.Op {
	batches := c.Writer.Split(ops)
	if !c.Recheck {
		return batches
	}
	var parts [][]batch.Op
	start, end, units, size := 0, 0, 0.0, 0
	for _, one := range batches {
		moreUnits, moreSize := readUnits(one), sizeOf(one)
		if end > start && (end-start+len(one) > batch.MaxReads || units+moreUnits > c.Source.Limiter.RequestUnits() || size+moreSize > maxRecheckBytes) {
			parts = append(parts, ops[start:end])
			start, units, size = end, 0, 0
		}
		end += len(one)
		units += moreUnits
		size += moreSize
	}
	if end > start {
		parts = append(parts, ops[start:end])
	}
	return parts
}

// maxRecheckBytes of items are what one BatchGetItem returns of a partition (API reference: 1 MB), in which neighbours of a Scan mostly
// are.
const maxRecheckBytes = 1 << 20

func sizeOf(ops []batch.Op) (size int) {
	for _, op := range ops {
		size += op.Item.Size()
	}
	return size
}

// Try is Write that doesn't wait for a target that throttles: what the target leaves of ops, which must be a part (see Split), is
// returned, and everything else is carried out to its end. refused is how many of ops the target refused, and so were not written.
func (c *Converger) Try(ctx context.Context, ops []batch.Op) (left batch.Left, refused int, _ []item.Key, err error) {
	uncertain, rejected := keySet{}, keySet{}
	writer := c.writer(rejected)
	batches := writer.Split(ops)
	for i := 0; i < len(batches) && left.Cause == nil; i++ {
		var lost []item.Key
		left, lost, err = writer.Try(ctx, batches[i])
		uncertain.add(lost)
		if err != nil {
			return batch.Left{}, 0, uncertain.with(keys(ops)), err
		}
		if left.Cause != nil {
			for _, rest := range batches[i+1:] {
				left.Ops = append(slices.Clip(left.Ops), rest...)
			}
		}
	}
	refused = len(rejected)
	rejected.add(keys(left.Ops))
	list, err := c.recheck(ctx, without(ops, rejected), uncertain)
	return left, refused, list, err
}

// recheck carries out the steps of Write after the first, for ops that are written.
func (c *Converger) recheck(ctx context.Context, ops []batch.Op, uncertain keySet) ([]item.Key, error) {
	for round := 0; c.Recheck && len(ops) > 0; round++ {
		changed, err := c.changed(ctx, ops)
		if err == nil && round > 0 && len(changed) > 0 {
			changed, err = c.unmoved(ctx, changed, round)
		}
		if err != nil {
			return uncertain.with(keys(ops)), fmt.Errorf("re-check: %w", err)
		}
		if round == 0 {
			c.rechecked.Add(int64(len(ops)))
		}
		c.rewritten.Add(int64(len(changed)))
		rejected, err := c.write(ctx, changed, uncertain)
		if err != nil {
			return uncertain.with(keys(changed)), err
		}
		ops = without(changed, rejected)
	}
	return uncertain.keys(), nil
}

// writer returns the writer that adds what the target refuses to rejected.
func (c *Converger) writer(rejected keySet) *batch.Writer {
	if c.Reject == nil {
		return c.Writer
	}
	return c.Writer.Rejecting(func(op batch.Op, reason error) error {
		rejected.add([]item.Key{op.Key})
		return c.Reject(op.Key, reason)
	})
}

// write writes the ops, adds the keys with a lost write to uncertain and returns those that the target refused.
func (c *Converger) write(ctx context.Context, ops []batch.Op, uncertain keySet) (rejected keySet, err error) {
	rejected = keySet{}
	writer := c.writer(rejected)
	for _, one := range writer.Split(ops) {
		lost, err := writer.Write(ctx, one)
		uncertain.add(lost)
		if err != nil {
			return rejected, err
		}
	}
	return rejected, nil
}

func without(ops []batch.Op, rejected keySet) []batch.Op {
	if len(rejected) == 0 {
		return ops
	}
	return slices.DeleteFunc(slices.Clone(ops), func(op batch.Op) bool { _, is := rejected[op.Key.ID()]; return is })
}

// changed returns the writes that bring the keys in line whose source no longer is what ops wrote.
func (c *Converger) changed(ctx context.Context, ops []batch.Op) ([]batch.Op, error) {
	var changed []batch.Op
	err := c.Source.Inspect(ctx, keys(ops), readUnits(ops), func(now []item.Item) (err error) {
		changed, err = differing(ops, now)
		for i := range changed {
			changed[i].Item = changed[i].Item.Clone()
		}
		return err
	})
	return changed, err
}

// unmoved pauses, reads the keys again and returns the ops whose source is still what they hold.
func (c *Converger) unmoved(ctx context.Context, ops []batch.Op, round int) ([]batch.Op, error) {
	const base, most = 20 * time.Millisecond, time.Second
	if err := call.Sleep(ctx, rand.N(min(most, base<<min(round, 8)))); err != nil {
		return nil, err
	}
	var still []batch.Op
	err := c.Source.Inspect(ctx, keys(ops), readUnits(ops), func(now []item.Item) error {
		for i, op := range ops {
			same, err := item.Equal(op.Item, now[i])
			if err != nil {
				return err
			}
			if same {
				still = append(still, op)
			}
		}
		return nil
	})
	return still, err
}

// differing returns, for each op whose item is not the one that now has in its place, the op that would make it so.
func differing(ops []batch.Op, now []item.Item) ([]batch.Op, error) {
	var changed []batch.Op
	for i, op := range ops {
		current := now[i]
		same, err := item.Equal(op.Item, current)
		if err != nil {
			return nil, err
		}
		if !same {
			changed = append(changed, batch.Op{Key: op.Key, Item: current})
		}
	}
	return changed, nil
}

// Compare reads the keys from both tables, the source first, and returns the writes that would make the target's items the
// source's.
func (c *Converger) Compare(ctx context.Context, wanted []item.Key) ([]batch.Op, error) {
	source, err := c.Source.Read(ctx, wanted, batch.Unknown)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	target, err := c.Target.Read(ctx, wanted, batch.Unknown)
	if err != nil {
		return nil, fmt.Errorf("read target: %w", err)
	}
	ops := make([]batch.Op, len(wanted))
	for i, key := range wanted {
		ops[i] = batch.Op{Key: key, Item: target[i]}
	}
	return differing(ops, source)
}

// chunk is how many keys are compared at a time, to keep their items in memory bounded (400 KB each at the most).
const chunk = 100

// Settle puts right the keys whose earlier write had an unknown outcome. It must be called only when none of those requests
// can be alive any more. It returns the keys that are uncertain again because a write of its own was lost.
func (c *Converger) Settle(ctx context.Context, uncertain []item.Key) ([]item.Key, error) {
	again := keySet{}
	for start := 0; start < len(uncertain); start += chunk {
		part := uncertain[start:min(start+chunk, len(uncertain))]
		ops, err := c.Compare(ctx, part)
		if err != nil {
			return again.with(uncertain[start:]), fmt.Errorf("settle uncertain writes: %w", err)
		}
		c.rewritten.Add(int64(len(ops)))
		lost, err := c.Write(ctx, ops)
		again.add(lost)
		if err != nil {
			return again.with(uncertain[start:]), fmt.Errorf("settle uncertain writes: %w", err)
		}
	}
	return again.keys(), nil
}

func keys(ops []batch.Op) []item.Key {
	list := make([]item.Key, len(ops))
	for i, op := range ops {
		list[i] = op.Key
	}
	return list
}

// readUnits is what reading the ops' keys costs if their items have the size that the ops have.
func readUnits(ops []batch.Op) float64 {
	units := 0.0
	for _, op := range ops {
		units++
		if !op.Item.Absent() {
			units += op.Item.ReadUnits() - 1
		}
	}
	return units
}

type keySet map[string]item.Key

func (s keySet) add(list []item.Key) {
	for _, key := range list {
		s[key.ID()] = key
	}
}

func (s keySet) with(list []item.Key) []item.Key {
	s.add(list)
	return s.keys()
}

func (s keySet) keys() []item.Key {
	list := make([]item.Key, 0, len(s))
	for _, key := range s {
		list = append(list, key)
	}
	return list
}
