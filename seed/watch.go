package seed

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reseal/internal/call"
	"reseal/internal/table"
)

const (
	// watchInterval is how often both tables are described in the middle of the run, so that a long one ends early when it has become
	// worthless.
	watchInterval = 30 * time.Second
	// watchAgain is how long after a look that found a change the second one is made: DescribeTable is eventually consistent (API
	// reference, DescribeTable), and for what is left of an older state nobody should start over.
	watchAgain = time.Second
)

// watched calls work while both tables are watched, and ends it when one of them, or the source's stream, was replaced.
//
// The positions that are saved then are worthless, and stay in the checkpoint with the stream that they belong to: it is refused until it
// is started over, which keeps the uncertain keys.
func (r *run) watched(ctx context.Context, work func(context.Context) error) error {
	working, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() { cancel(r.watch(working)) })
	err := work(working)
	changed := context.Cause(working)
	cancel(nil)
	watch.Wait()
	switch {
	case !errors.Is(changed, table.ErrChanged):
		return err
	case errors.Is(err, context.Canceled):
		return changed
	default:
		return errors.Join(changed, err)
	}
}

// watch describes both tables at intervals, until ctx ends or it finds a change. A look that fails tells nothing: confirm makes the last
// one.
func (r *run) watch(ctx context.Context) error {
	for {
		if err := call.Sleep(ctx, watchInterval); err != nil {
			return err
		}
		if err := r.look(ctx); errors.Is(err, table.ErrChanged) {
			return err
		}
	}
}

// confirm finds both tables, and the source's stream, to be what they were at the start. Without it a seed isn't done: what it read and
// wrote may have been of other tables, and changes meanwhile may be in no stream.
func (r *run) confirm(ctx context.Context) error {
	repeat := r.converge.Writer.Policy.Start()
	for {
		err := r.look(ctx)
		if err == nil || errors.Is(err, table.ErrChanged) || ctx.Err() != nil {
			return err
		}
		if err := repeat.Again(ctx, call.Unknown, err); err != nil {
			return fmt.Errorf("look whether the tables are the same: %w", err)
		}
	}
}

// look describes both tables again; twice, before it says that one has changed.
func (r *run) look(ctx context.Context) error {
	recheck := func() error {
		return r.pair.Recheck(ctx, r.options.Source, r.options.Target, r.converge.Recheck)
	}
	err := recheck()
	if !errors.Is(err, table.ErrChanged) {
		return err
	}
	if err := call.Sleep(ctx, watchAgain); err != nil {
		return err
	}
	return recheck()
}
