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

// scan reads both tables into the join. An error of any page is an error of the whole.
func (r *run) scan(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(min(r.options.Segments, maxActiveSegments))
	for segment := range scan.Spread(r.options.Segments) {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return r.scanSegment(groupCtx, segment) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err() // the loop may have ended early without an error of a segment
}

// scanSegment reads the segment of both tables page by page, in step: the same items are likely to come at about the same time
// (nothing of the result depends on it), so few wait in the join.
func (r *run) scanSegment(ctx context.Context, segment int) error {
	source := cursor{run: r, side: r.source, which: fromSource, segment: segment}
	target := cursor{run: r, side: r.target, which: fromTarget, segment: segment}
	for !source.done || !target.done {
		group, ctx := errgroup.WithContext(ctx)
		group.Go(func() error { return source.next(ctx) })
		group.Go(func() error { return target.next(ctx) })
		if err := group.Wait(); err != nil {
			return err
		}
	}
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

func (c *cursor) next(ctx context.Context) error {
	if c.done {
		return nil
	}
	place, err := c.run.room.Enter(ctx, false)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.which, err)
	}
	defer place.Leave()
	page, err := c.side.scanner.Page(ctx, c.segment, c.run.options.Segments, c.after)
	if err != nil {
		return fmt.Errorf("read %s: %w", c.which, err)
	}
	place.Holds(page.Items)
	for _, it := range page.Items {
		key, digest, err := c.digest(it)
		if err != nil {
			return fmt.Errorf("read %s: segment %d: %w", c.which, c.segment, err)
		}
		if err := c.run.join.add(c.which, key, digest); err != nil {
			return err
		}
	}
	c.side.read.Add(int64(len(page.Items)))
	c.after, c.done = page.Next, page.Next == nil
	return nil
}

func (c *cursor) digest(it item.Item) (item.Key, item.Digest, error) {
	key, err := c.side.schema.KeyOf(it)
	if err != nil {
		return item.Key{}, item.Digest{}, err
	}
	digest, err := it.Digest()
	return key, digest, err
}
