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
		_, last := r.lost.snapshot()
		if err := r.wait(ctx, last.Add(r.lifetime)); err != nil {
			return err
		}
		if err := r.settleAlone(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settleAlone is settleSome, for progress and figures.
func (r *run) settleAlone(ctx context.Context) error {
	r.inSettle.Store(true)
	defer r.inSettle.Store(false)
	before := r.reads.Used()
	defer func() { r.settleReads.Add(halves(r.reads.Used() - before)) }()
	return r.settleSome(ctx)
}

// wait waits until then, and lets progress tell.
func (r *run) wait(ctx context.Context, then time.Time) error {
	r.waiting.Store(then.UnixNano())
	defer r.waiting.Store(0)
	return call.Sleep(ctx, time.Until(then))
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
	// The source's reads are mixed with those of other segments. They are of the same keys as the target's.
	before := r.settling.Used()
	defer func() { r.settleReads.Add(halves(r.settling.Used() - before)) }()
	return r.settleSome(ctx)
}

// settleSome puts right the keys that are on the list now, when none of their requests can be alive any more. SettleReadUnits are the
// units that it takes: of the target all, of the source those of settleAlone; of relieve they are taken to be the target's.
func (r *run) settleSome(ctx context.Context) error {
	keys, last := r.lost.snapshot()
	if err := call.Sleep(ctx, time.Until(last.Add(r.lifetime))); err != nil {
		return err
	}
	again, err := r.converge.Settle(ctx, keys)
	r.lost.add(again)
	if err == nil {
		r.settled.Add(int64(len(keys)))
		r.lost.settled(keys, last)
	}
	return err
}

// halves is the units in halves, the smallest part that DynamoDB counts.
func halves(units float64) int64 { return int64(math.Round(2 * units)) }
