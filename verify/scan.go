package verify

import (
	"context"
	"fmt"
	"sync/atomic"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/scan"
	"reseal/internal/table"

	"golang.org/x/sync/errgroup"
)

// side is one of the two tables.
type side struct {
	limiter *capacity.Limiter
	scanner *scan.Scanner
	reader  *batch.Reader
	schema  item.Schema
	read    atomic.Int64 // items that the scan returned
	expired atomic.Int64 // of them, those that were left out

	items int64    // items that did not match in the join, as last read
	sum   item.Sum // of their digests
}

// account adds an item, as it was last read, to the side's count and sum.
func (s *side) account(now state) {
	if now.exists {
		s.items++
		s.sum.Add(now.digest)
	}
}

// forget takes an item out of them again, before it is looked at afresh.
func (s *side) forget(was state) {
	if was.exists {
		s.items--
		s.sum.Sub(was.digest)
	}
}

func newSide(api SourceAPI, name string, info table.Info, budget capacity.Budget, policy call.Policy) *side {
	limiter := budget.ReadLimiter(info.Raw)
	return &side{
		limiter: limiter,
		schema:  info.Schema,
		scanner: &scan.Scanner{API: api, Table: name, Schema: info.Schema, Limiter: limiter, Policy: policy},
		reader:  &batch.Reader{API: api, Table: name, Schema: info.Schema, Limiter: limiter, Policy: policy},
	}
}

// maxActiveSegments bounds the goroutines; the memory of their pages is bounded by the room.
const maxActiveSegments = 16

// pageMemory is what the pages of both tables take together, in bytes: those that are being read, from as many segments as have room,
// while others are hashed and joined. With 50 ms of latency, 14 MB made verify three times as slow as the processor is.
const pageMemory = 36 << 20

// scan reads both tables into the join. An error of any page is an error of the whole.
func (r *run) scan(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	saving, done := context.WithCancel(groupCtx)
	defer done()
	if r.follower == nil { // which saves until its own end
		group.Go(func() error { return r.position.saveRegularly(saving) })
	}
	segments, segmentsCtx := errgroup.WithContext(groupCtx)
	segments.SetLimit(min(len(r.segments), maxActiveSegments))
	for _, segment := range r.segments {
		if segmentsCtx.Err() != nil {
			break
		}
		if !r.position.isDone(segment) {
			segments.Go(func() error { return r.scanSegment(segmentsCtx, segment) })
		}
	}
	err := segments.Wait()
	done()
	if saveErr := group.Wait(); saveErr != nil {
		err = saveErr // the segments ended for it
	}
	if err == nil {
		err = ctx.Err() // the loop may have ended early without an error of a segment
	}
	if err != nil {
		return err
	}
	return r.position.save(r.follower == nil)
}

// scanSegment reads the segment of both tables page by page, in step: the same items are likely to come at about the same time
// (nothing of the result depends on it), so few wait in the join.
func (r *run) scanSegment(ctx context.Context, segment int) error {
	source := &cursor{run: r, side: r.source, which: fromSource, segment: segment}
	target := &cursor{run: r, side: r.target, which: fromTarget, segment: segment}
	if err := r.position.begin(source, target); err != nil {
		return err
	}
	for !source.done || !target.done {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return source.next(ctx) })
		group.Go(func() error { return target.next(ctx) })
		if err := group.Wait(); err != nil {
			return err
		}
	}
	r.position.finish(segment)
	return nil
}

// cursor is the position in one segment of one table.
type cursor struct {
	run     *run
	side    *side
	which   origin
	segment int
	after   *item.Key
	done    bool
}

// scanned is an item of a page, reduced to what the join takes.
type scanned struct {
	key    item.Key
	digest item.Digest
}

func (c *cursor) next(ctx context.Context) error {
	if c.done {
		return nil
	}
	place, err := c.run.room.Enter(ctx, false)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.which, err)
	}
	defer place.Leave()
	page, err := c.side.scanner.Page(ctx, c.segment, c.run.total, c.after)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.which, err)
	}
	defer page.Release()
	place.Holds(page.Items)
	now := c.run.clock.Now()
	list := make([]scanned, 0, len(page.Items))
	for i, it := range page.Items {
		if c.run.expiry.expired(it, now) {
			continue
		}
		digest, err := it.Digest()
		if err != nil {
			return fmt.Errorf("read %s: segment %d: %w", c.which, c.segment, err)
		}
		list = append(list, scanned{page.Keys[i], digest})
	}
	return c.run.position.whole(func() error {
		for _, s := range list {
			if err := c.run.join.add(c.which, c.segment, s.key, s.digest); err != nil {
				return err
			}
		}
		c.run.places.addItems(c.which, c.segment, len(list))
		c.side.read.Add(int64(len(page.Items)))
		c.side.expired.Add(int64(len(page.Items) - len(list)))
		c.after, c.done = page.Next, page.Next == nil
		return nil
	})
}
