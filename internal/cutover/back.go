package cutover

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// openHeldFor is for how long it is tried to open gates that are held.
const openHeldFor = 2 * time.Minute

// open opens both gates: a temporary one that can't be reached until it opens by itself. A context that has ended is no reason not to.
func (r *run) open(ctx context.Context, why string) error {
	r.why = why
	saving := r.step(StepBack, "letting writes to the source through again: "+why) // an error of the disk is no reason not to, either
	limit := openHeldFor
	if r.state.Fence == FenceTemporary {
		limit = max(r.state.Until.Sub(r.options.now())+clockMargin, 10*time.Second)
	}
	opening, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	starting, stop := context.WithTimeout(context.WithoutCancel(ctx), max(limit, openHeldFor)) // nobody waits for the replicator
	defer stop()
	var lifted, stopped error
	var both sync.WaitGroup // both are tried, whatever becomes of the other
	both.Go(func() {
		if err := r.options.Source.Open(opening); err != nil {
			lifted = fmt.Errorf("lift the fence: %w", err)
		}
	})
	if r.state.Stopped {
		both.Go(func() {
			if err := r.options.Target.Open(starting); err != nil {
				stopped = fmt.Errorf("let the replicator go on: %w", err)
			}
		})
	}
	both.Wait()
	err := errors.Join(lifted, stopped)
	if r.state.Refused == 0 && !r.state.RefusedAt.IsZero() {
		r.state.Refused = time.Since(r.state.RefusedAt).Seconds()
	}
	switch {
	case err == nil:
		r.state.OpenedAt = time.Now().UTC()
		r.state.Fence, r.state.Stopped, r.state.Until = FenceLifted, false, time.Time{}
		r.state.Hold = time.Time{}
	case r.state.Fence == FenceTemporary && r.byItself(lifted, stopped) && r.options.now().After(r.state.Until):
		text := "the fence has ended by itself, and its statement is still in the policy"
		if stopped != nil {
			text += "; the replicator's writes are refused until " + r.state.Hold.UTC().Format(time.RFC3339)
		}
		r.tell(StepBack, text+" ("+err.Error()+"); --abort takes it out")
		err = nil
	default:
		r.ended()
		return errors.Join(fmt.Errorf("%w (%s): %w", ErrStuck, why, err), saving, r.save())
	}
	r.state.Verdict = VerdictBack
	r.ended()
	return errors.Join(saving, r.save())
}

// byItself tells whether each gate that could not be opened opens by itself: the source's, for which writers wait, has to have done so.
func (r *run) byItself(lifted, stopped error) bool {
	return (lifted == nil || r.options.Source.Expires()) && (stopped == nil || r.options.Target.Expires())
}
