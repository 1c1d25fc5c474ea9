package seed

import (
	"context"
	"math"
	"time"

	"reseal/internal/call"
)

// settle puts right all keys with a lost write. No segment is under way any more.
func (r *run) settle(ctx context.Context) error {
	for r.lost.len() > 0 {
		if err := r.settleSome(ctx); err != nil {
			return err
		}
	}
	return nil
}

// relieve settles in the middle of the run, if too many keys have gathered. Only one segment at a time does: if two settled the
// same key, the first to end would take it off the list while the second may be about to write it, and a process that is killed
// then would leave nothing that tells of it.
func (r *run) relieve(ctx context.Context) error {
	if r.lost.len() <= maxLost {
		return nil
	}
	select {
	case r.relieving <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.relieving }()
	if r.lost.len() <= maxLost { // another segment has done it meanwhile
		return nil
	}
	return r.settleSome(ctx)
}

// settleSome puts right the keys that are on the list now, when none of their requests can be alive any more.
func (r *run) settleSome(ctx context.Context) error {
	keys, last := r.lost.snapshot()
	if err := r.wait(ctx, last.Add(r.lifetime)); err != nil {
		return err
	}
	defer r.meter()()
	again, err := r.converge.Settle(ctx, keys)
	r.lost.add(again)
	if err == nil {
		r.settled.Add(int64(len(keys)))
		r.lost.settled(keys, last)
	}
	return err
}

// wait waits until then. Progress tells, if nothing else is under way.
func (r *run) wait(ctx context.Context, then time.Time) error {
	if r.running.Load() == 0 {
		r.waiting.Store(then.UnixNano())
		defer r.waiting.Store(0)
	}
	return call.Sleep(ctx, time.Until(then))
}

// meter has progress tell of the settling, and counts for Result.SettleReadUnits, until the function that it returns is called. The
// units of the target's reads are settled ones all. Those of the source's are, if no segment is under way; otherwise they are taken to
// be the target's: both are asked for the same keys.
func (r *run) meter() func() {
	alone, reads := r.running.Load() == 0, r.settling
	if alone {
		r.inSettle.Store(true)
		reads = r.reads
	}
	before := reads.Used()
	return func() {
		r.inSettle.Store(false)
		r.settleReads.Add(halves(reads.Used() - before))
	}
}

// halves is the units in halves, the smallest part that DynamoDB counts.
func halves(units float64) int64 { return int64(math.Round(2 * units)) }
