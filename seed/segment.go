package seed

import (
	"context"
	"sync"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/item"
	"reseal/internal/scan"
)

// batchesInFlight is how many batches of one page are under way at the most. The limiter, for which most of them wait, decides
// how many really are; this only bounds the goroutines.
const batchesInFlight = 16

// segment is one segment of the Scan on its way.
type segment struct {
	number int
	window int  // batches of a page that may be under way: fewer where the target throttles
	slow   bool // the target throttled the last page
	hot    bool // it once throttled one: the segment is one of activeSegments.hot
}

// segment copies one segment, which was let in by run.active, from where the checkpoint says.
func (r *run) segment(ctx context.Context, number int) error {
	s := &segment{number: number, window: batchesInFlight}
	r.active.running.Add(1)
	defer r.active.leave(s)
	after, err := r.position.start(number)
	if err != nil {
		return wrapSegment(number, err)
	}
	for {
		next, err := r.step(ctx, s, after)
		if err != nil {
			return err
		}
		if next == nil {
			return nil
		}
		after = next
		if err := r.settling.Relieve(ctx); err != nil {
			return wrapSegment(number, err)
		}
	}
}

// step copies the page after the given key and returns where the next one starts; nil: the segment was at its end, and is done.
func (r *run) step(ctx context.Context, s *segment, after *item.Key) (*item.Key, error) {
	place, err := r.memory.Enter(ctx, s.slow)
	if err != nil {
		return nil, err
	}
	defer place.Leave()
	page, err := r.scanner.Page(ctx, s.number, r.options.Segments, after)
	if err != nil {
		return nil, err
	}
	defer page.Release() // nobody has its items any more when page below returns
	place.Holds(page.Items)
	ops := r.ops(page)
	if len(ops) > 0 {
		if err := r.page(ctx, s, after, ops); err != nil {
			return nil, wrapSegment(s.number, err)
		}
	}
	if page.Next == nil {
		return nil, r.position.finish(s.number, len(ops))
	}
	r.position.advance(s.number, *page.Next, len(ops))
	return page.Next, nil
}

func (r *run) ops(page scan.Page) []batch.Op {
	ops := make([]batch.Op, len(page.Items))
	for i, it := range page.Items {
		ops[i] = batch.Op{Key: page.Keys[i], Item: it}
		r.counts.addRead(it)
	}
	return ops
}

// page writes and re-checks one page.
//
// Its keys are in the checkpoint before the first is written. If the process is killed here, the resumed run reads the page
// again, but an item that the application deleted meanwhile isn't in it any more, though we may have brought it back on the
// target just before; only the noted keys tell.
func (r *run) page(ctx context.Context, s *segment, after *item.Key, ops []batch.Op) error {
	if err := r.position.begin(s.number, after, ops); err != nil {
		return err
	}
	working, release := linger(ctx, stopGrace)
	defer release()
	r.active.setSlow(s, false)
	repeat := r.converge.Writer.Policy.Start()
	for len(ops) > 0 {
		left, err := r.round(ctx, working, s, ops)
		if err == nil && left.Cause != nil {
			r.active.setSlow(s, true)
			r.active.makeWay(s)
			err = s.throttled(ctx, repeat, left, len(ops))
		}
		if err != nil {
			// What was begun and not finished is on the list of uncertain ones now; the rest of the page was not touched.
			r.position.abandon(s.number)
			return err
		}
		ops = left.Ops
	}
	return nil
}

// throttled adapts the window and waits, after a round that the target throttled.
//
// A segment is a contiguous part of the source's hash space, and so mostly of one partition of the target: what is throttled is
// slowed down by itself, and neither the other segments' requests nor their part of the budget are spent on it. The window
// opens by one when more went through than it holds, and is halved otherwise.
func (s *segment) throttled(ctx context.Context, repeat *call.Repeat, left batch.Left, sent int) error {
	written := sent - len(left.Ops)
	if written > s.window*batch.MaxWrites {
		s.window = min(batchesInFlight, s.window+1)
	} else {
		s.window = max(1, s.window/2)
	}
	if written > 0 {
		repeat.Progress()
	}
	most, err := repeat.Failed(call.Throttled, left.Cause)
	if err != nil {
		return err
	}
	return call.Pause(ctx, most)
}

// round writes and re-checks ops part by part, until the target throttles one of them, and returns what was not written. It
// will be cut into batches anew, so that the few items that each batch was left with share requests.
func (r *run) round(ctx, working context.Context, s *segment, ops []batch.Op) (batch.Left, error) {
	working, cancel := context.WithCancel(working)
	defer cancel()
	parts := r.converge.Split(ops)
	places := make(chan struct{}, s.window)
	var group sync.WaitGroup
	var mu sync.Mutex // of what follows
	var left batch.Left
	var failure error
	goesOn := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return ctx.Err() == nil && failure == nil && left.Cause == nil
	}
	sent := 0
	for ; sent < len(parts); sent++ {
		places <- struct{}{} // each of those under way ends, if only because its context does
		if !goesOn() {
			break
		}
		part := parts[sent]
		group.Add(1)
		r.workers.run(func() {
			defer group.Done()
			defer func() { <-places }()
			one, refused, lost, err := r.converge.Try(working, part)
			r.settling.Uncertain.Add(lost)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				if failure == nil {
					failure = err
				}
				cancel()
				return
			}
			r.counts.written.Add(int64(len(part) - len(one.Ops) - refused))
			if one.Cause != nil {
				left.Ops, left.Cause = append(left.Ops, one.Ops...), one.Cause
			}
		})
	}
	group.Wait()
	if failure == nil {
		failure = ctx.Err()
	}
	if failure != nil {
		return batch.Left{}, failure
	}
	for _, rest := range parts[sent:] {
		left.Ops = append(left.Ops, rest...)
	}
	return left, nil
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
