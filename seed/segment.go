package seed

import (
	"context"
	"time"

	"reseal/internal/batch"
	"reseal/internal/item"

	"golang.org/x/sync/errgroup"
)

// batchesInFlight is how many batches of one page are under way at the most. The limiter, for which most of them wait, decides
// how many really are; this only bounds the goroutines.
const batchesInFlight = 16

// segment copies one segment, from where the checkpoint says.
func (r *run) segment(ctx context.Context, segment int) error {
	after, err := r.position.start(segment)
	if err != nil {
		return wrapSegment(segment, err)
	}
	for {
		next, err := r.step(ctx, segment, after)
		if err != nil {
			return err
		}
		if next == nil {
			return r.position.finish(segment)
		}
		after = next
		if r.lost.len() > maxLost {
			if err := r.settle(ctx); err != nil {
				return wrapSegment(segment, err)
			}
		}
	}
}

// maxPages is how many pages are in memory at a time, whatever the number of segments: a page of 1 MB takes ten times as much
// when it is decoded. Their batches in flight (batchesInFlight of each) serve any budget of a table.
const maxPages = 6

// step copies the page after the given key and returns where the next one starts; nil: the segment is at its end.
func (r *run) step(ctx context.Context, segment int, after *item.Key) (*item.Key, error) {
	select {
	case r.pages <- struct{}{}:
		defer func() { <-r.pages }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	page, err := r.scanner.Page(ctx, segment, r.options.Segments, after)
	if err != nil {
		return nil, err
	}
	ops, err := r.ops(page.Items)
	if err != nil {
		return nil, wrapSegment(segment, err)
	}
	r.read.Add(int64(len(ops)))
	if len(ops) > 0 {
		if err := r.page(ctx, segment, after, ops); err != nil {
			return nil, wrapSegment(segment, err)
		}
	}
	return page.Next, nil
}

func (r *run) ops(items []item.Item) ([]batch.Op, error) {
	ops := make([]batch.Op, len(items))
	for i, it := range items {
		key, err := r.pair.Source.Schema.KeyOf(it)
		if err != nil {
			return nil, err
		}
		ops[i] = batch.Op{Key: key, Item: it}
		r.bytes.Add(int64(it.Size()))
		r.leastChecks.Add(int64(it.ReadUnits()))
		r.leastWrites.Add(int64(it.WriteUnits()))
	}
	return ops, nil
}

// page writes and re-checks one page.
//
// Its keys are in the checkpoint before the first is written. If the process is killed here, the resumed run reads the page
// again, but an item that the application deleted meanwhile isn't in it any more, though we may have brought it back on the
// target just before; only the noted keys tell.
func (r *run) page(ctx context.Context, segment int, after *item.Key, ops []batch.Op) error {
	if err := r.position.begin(segment, after, ops); err != nil {
		return err
	}
	working, release := linger(ctx, stopGrace)
	defer release()
	group, groupCtx := errgroup.WithContext(working)
	group.SetLimit(batchesInFlight)
	for _, ops := range r.converge.Writer.Split(ops) {
		if ctx.Err() != nil || groupCtx.Err() != nil {
			break
		}
		group.Go(func() error {
			lost, err := r.converge.Write(groupCtx, ops)
			r.lost.add(lost)
			if err == nil {
				r.written.Add(int64(len(ops)))
			}
			return err
		})
	}
	err := group.Wait()
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		// What was begun and not finished is in the ledger now; the rest of the page was not touched.
		r.position.abandon(segment)
	}
	return err
}

// stopGrace is how long batches that are under way may go on after a stop was asked for, so that they end re-checked and the
// resumed run needn't look at them again.
const stopGrace = 3 * time.Second

// linger returns a context that ends a grace time after ctx does.
func linger(ctx context.Context, grace time.Duration) (context.Context, context.CancelFunc) {
	lingering, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-lingering.Done():
		}
		cancel()
	})
	return lingering, func() {
		unhook()
		cancel()
	}
}
