package cutover

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/call"
)

// stillHeld makes sure that both gates have been closed since the verdict, and will be for a while.
func (r *run) stillHeld(ctx context.Context) error {
	for _, gate := range []struct {
		what string
		gate Gate
	}{{"the fence of the source", r.options.Source}, {"the replicator's stop", r.options.Target}} {
		until, closed, err := isClosed(ctx, gate.gate)
		switch {
		case err != nil:
			return fmt.Errorf("look at %s: %w", gate.what, err)
		case !closed:
			return r.held(fmt.Errorf("%s is gone", gate.what))
		case !until.IsZero() && until.Sub(r.options.now()) <= max(clockMargin, 2*r.state.Propagation):
			return r.held(fmt.Errorf("%s ended, or ends, at %s, so writers may have written to the source since", gate.what, until.UTC().Format(time.RFC3339)))
		}
	}
	return nil
}

// held is a cutover in which some writers may be on the target.
func (r *run) held(why error) error {
	r.state.Verdict, r.why = VerdictHeld, why.Error()
	r.ended()
	return errors.Join(fmt.Errorf("%w: %w", ErrHeld, why), r.save())
}

// hook has the writers go over. From the verdict on it runs until it has succeeded once.
func (r *run) hook(ctx context.Context) error {
	if r.options.OnReady != nil {
		if err := r.step(StepHook, "having the writers go over to the target"); err != nil {
			return r.held(err)
		}
		limit := r.state.Until.Sub(r.options.now()) - clockMargin - 2*r.state.Propagation
		if r.state.Until.IsZero() {
			limit = r.options.Hold
		}
		limited, cancel := context.WithTimeout(ctx, limit)
		err := r.options.OnReady(limited)
		cancel()
		if err != nil {
			return r.hookFailed(ctx, err)
		}
	}
	r.state.Hooked = true
	if r.state.Refused == 0 {
		r.state.Refused = time.Since(r.state.RefusedAt).Seconds()
	}
	return r.save()
}

// hookFailed goes back if it is known that nobody has gone over.
func (r *run) hookFailed(ctx context.Context, failure error) error {
	failure = fmt.Errorf("--on-ready failed: %w", failure)
	if r.options.Written == nil {
		return r.held(failure)
	}
	reading, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second+2*r.options.Quiet)
	defer cancel()
	written, err := r.options.Written(reading, r.state)
	switch {
	case err != nil:
		return r.held(fmt.Errorf("%w (and what the target got since can't be read: %w)", failure, err))
	case written > 0:
		r.written = written
		return r.held(fmt.Errorf("%w (the target got %d writes since)", failure, written))
	}
	r.written = 0
	if err := r.open(ctx, failure.Error()); err != nil {
		return err
	}
	return fmt.Errorf("%w: %w, and the target got no write since", ErrBack, failure)
}

// finish is what follows when the writers are on the target: both gates are closed for good, the replicator is ended, and the source's
// stream is watched.
func (r *run) finish(ctx context.Context) error {
	if r.state.Watched {
		return r.back(ctx)
	}
	if !r.state.Closed {
		expires := r.options.Source.Expires() || r.options.Target.Expires()
		r.state.Lapsed = r.state.Lapsed || expires && !r.options.now().Before(r.state.Hold.Add(-clockMargin))
		if err := r.closeForGood(ctx); err != nil {
			return r.held(err)
		}
	}
	r.state.Verdict = VerdictGo
	if err := r.step(StepWatch, "watching the source's stream for "+r.options.Watched.String()); err != nil {
		return err
	}
	if r.options.Watch != nil && r.options.Watched > 0 {
		if err := r.options.Watch(ctx, r.state, r.options.Watched, r.straggler); err != nil {
			return errors.Join(fmt.Errorf("the writers are on the target, but the source's stream could not be watched: %w", err), r.straggled())
		}
	}
	r.state.Watched = true
	r.ended()
	if err := r.save(); err != nil {
		return errors.Join(err, r.straggled())
	}
	return r.back(ctx)
}

// back starts the replication the other way round, which writes to the source: what is watched there would be its records. After a straggler
// it is somebody's decision: playing back what the target got would hide that write.
func (r *run) back(ctx context.Context) error {
	if err := r.straggled(); err != nil || r.state.BackOn || r.options.StartBack == nil {
		return err
	}
	if err := r.step(StepKeepBack, "replicating from the target to the source, for a way back"); err != nil {
		return err
	}
	if err := r.options.StartBack(ctx); err != nil {
		return fmt.Errorf("the writers are on the target, but nothing keeps the source for a way back: %w", err)
	}
	r.state.BackOn = true
	r.ended()
	return r.save()
}

func (r *run) closeForGood(ctx context.Context) error {
	if err := r.step(StepPermanent, "closing the source for good, and ending the replicator"); err != nil {
		return err
	}
	if err := r.options.Source.Close(ctx, Term{Verdict: true}); err != nil {
		return fmt.Errorf("close the source for good: %w", err)
	}
	if err := r.options.Target.Close(ctx, Term{Verdict: true}); err != nil {
		return fmt.Errorf("stop the replicator for good: %w", err)
	}
	r.state.Fence, r.state.Until = FencePermanent, time.Time{}
	if r.options.Disable != nil {
		if err := r.options.Disable(ctx); err != nil {
			return fmt.Errorf("end the replicator: %w", err)
		}
	}
	r.state.Closed = true
	return r.save()
}

// straggler is called by a goroutine for each shard.
func (r *run) straggler(s Straggler) error {
	r.straggling.Lock()
	defer r.straggling.Unlock()
	if r.state.Straggled++; len(r.state.Stragglers) >= mostListed {
		return nil
	}
	r.state.Stragglers = append(r.state.Stragglers, s)
	r.tell(StepWatch, fmt.Sprintf("STRAGGLER: a write of %s, made at %s; the target has %s", s.Key, s.Made, s.Target))
	return r.save()
}

// mostListed bounds the list of stragglers, not their number.
const mostListed = 1000

func (r *run) straggled() error {
	var lapsed, straggled error
	if r.state.Lapsed {
		lapsed = fmt.Errorf("%w: since %s the replicator may have written older items over newer ones on the target, and others to the source",
			ErrLapsed, r.state.Hold.UTC().Format(time.RFC3339))
	}
	if n := r.state.Straggled; n > 0 {
		straggled = fmt.Errorf("%w: %d, see the list", ErrStragglers, n)
	}
	return errors.Join(lapsed, straggled)
}

// isClosed asks a gate until it answers, for a while.
func isClosed(ctx context.Context, gate Gate) (until time.Time, closed bool, err error) {
	limited, cancel := context.WithTimeout(ctx, openHeldFor)
	defer cancel()
	for {
		until, closed, err = gate.IsClosed(limited)
		if err == nil || call.Sleep(limited, time.Second) != nil {
			return until, closed, err
		}
	}
}
