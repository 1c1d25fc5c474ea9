package cutover

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reseal/internal/call"
	"reseal/internal/fence"
	"reseal/internal/refuse"
)

// run is a cutover under way.
type run struct {
	options  Options
	state    State
	follower Follower // nil: it has ended
	began    time.Time
	written  int64
	why      string

	closing time.Time // when the source's gate was about to be closed, by the monotonic clock
	proven  time.Time // when it was known to be
	records int64     // that had been read when the stream was drained

	straggling sync.Mutex // guards the state while the source is watched
}

// pollInterval is the time between two looks at what is waited for.
const pollInterval = 100 * time.Millisecond

func (r *run) tell(step Step, what string) {
	if r.options.Tell != nil {
		r.options.Tell(step, what)
	}
}

// step writes down that a step is about to be taken, and says so.
func (r *run) step(step Step, what string) error {
	r.ended()
	r.state.Step = step
	r.state.Steps = append(r.state.Steps, StepTime{Step: step, Began: instant(time.Now())})
	if step == StepPreflight {
		return nil // what is refused leaves nothing behind, and is one line
	}
	err := r.save()
	r.tell(step, what)
	return err
}

// ended notes the end of the step before.
func (r *run) ended() {
	if n := len(r.state.Steps); n > 0 && r.state.Steps[n-1].Ended == "" {
		r.state.Steps[n-1].Ended = instant(time.Now())
	}
}

func (r *run) save() error { return r.options.Store.Save(r.state) }

func instant(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// follow scans both tables, and waits until there is nothing but a few young keys to be looked at, and for what was asked to be waited for.
func (r *run) follow(ctx context.Context) (Follower, error) {
	if err := r.step(StepFollow, "comparing both tables, and following the source's stream"); err != nil {
		return nil, err
	}
	follower, err := r.options.Follow(ctx)
	if err != nil {
		return nil, err
	}
	r.follower = follower
	if err := r.proveOpen(ctx); err != nil {
		return nil, r.endFollowing(err)
	}
	postponed, began, told := false, time.Now(), time.Now()
	for {
		f, err := follower.Followed()
		switch {
		case err != nil:
			return nil, r.endFollowing(fmt.Errorf("follow: %w", err))
		case f.Differing > 0:
			return nil, r.endFollowing(fmt.Errorf("%w: %d keys differ, which nothing has repaired; nothing was fenced", ErrBack, f.Differing))
		case r.options.Postponed != nil && r.options.Postponed():
			if !postponed {
				if err := r.step(StepPostpone, "waiting, as asked for"); err != nil {
					return nil, r.endFollowing(err)
				}
			}
			postponed, began = true, time.Now()
		case time.Since(r.state.OpenedAt) < fence.BlockedFor: // a policy can't be changed yet, and MaxFence would be used up by waiting for it
		case f.Scanned && f.CaughtUp && f.Suspect == 0 && f.Open <= r.options.mostOpen():
			return follower, nil
		case time.Since(began) > followPatience:
			return nil, r.endFollowing(fmt.Errorf("%w: for %s the replication has not kept up (%s); nothing was fenced", ErrBack, followPatience, f.behind()))
		}
		if time.Since(told) > tellInterval {
			told = time.Now()
			r.tell(StepFollow, "waiting for the replication: "+f.behind())
		}
		if err := call.Sleep(ctx, pollInterval); err != nil {
			return nil, r.endFollowing(err)
		}
	}
}

// proveOpen makes sure that what will be refused is refused by the statements of this run: those of a run before may have been taken out
// just now, and still deny. Taken for the new ones, they would prove a fence that opens again for a moment.
func (r *run) proveOpen(ctx context.Context) error {
	limited, cancel := context.WithTimeoutCause(ctx, 2*r.options.MaxFence, fmt.Errorf("%w: writes are refused already, by something else; nothing was fenced", ErrBack))
	defer cancel()
	for _, gate := range []Gate{r.options.Source, r.options.Target} {
		if err := gate.ProveOpen(limited, r.options.Quiet); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return cmp.Or(context.Cause(limited), err)
		}
	}
	return nil
}

const (
	// followPatience is how long the replication may take to catch up once the tables are scanned. The scans' candidates take a minute.
	followPatience = 10 * time.Minute
	tellInterval   = 30 * time.Second
)

// behind says what keeps a cutover from being begun.
func (f Followed) behind() string {
	return fmt.Sprintf("%d keys open, of which %d may differ, the oldest for %s", f.Open, f.Suspect, f.Oldest.Round(time.Second))
}

// endFollowing ends the follower for a reason, which it returns.
func (r *run) endFollowing(err error) error {
	follower := r.follower
	r.follower = nil
	if follower != nil {
		_ = follower.End() // the reason is what counts
	}
	r.why = err.Error()
	if errors.Is(err, ErrBack) {
		r.state.Verdict = VerdictBack
		r.ended()
		return errors.Join(err, r.save())
	}
	return err
}

// clockMargin is how much earlier than this machine reckons the service may take a gate's time for passed: its clock is known to a second,
// and conditions have whole seconds.
const clockMargin = 2 * time.Second

// left is how long the source's gate stays closed for sure.
func (r *run) left() time.Duration {
	return r.options.MaxFence - clockMargin - time.Since(r.closing)
}

// reserve is how much of that has to be left for a verdict: for the gates to be held before they open, and for opening them.
func (r *run) reserve() time.Duration {
	return max(3*r.state.Propagation, r.options.MaxFence/3)
}

// fenced is what is done while writers wait: steps 4 to 8, to the verdict. Whatever fails in it opens both gates.
func (r *run) fenced(ctx context.Context, follower Follower) error {
	limited, cancel := context.WithTimeoutCause(ctx, r.options.MaxFence-clockMargin-r.options.MaxFence/3, errTooLong)
	defer cancel()
	err := r.prove(limited, follower)
	if err == nil {
		return nil
	}
	if cause := context.Cause(limited); ctx.Err() == nil && cause != nil {
		err = fmt.Errorf("%w, at step %q (%w)", errTooLong, r.state.Step, err)
	}
	if r.state.Ready { // it is in memory only: the file has no verdict, or may have none
		r.state.Ready = false
	}
	why := err.Error()
	if err := r.open(ctx, why); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return fmt.Errorf("the fence is lifted, the writers stay on the source: %w", ctx.Err())
	}
	return fmt.Errorf("%w: %s", ErrBack, why)
}

// errTooLong: no verdict within MaxFence.
var errTooLong = errors.New("the time for which writers may be refused is used up")

// prove is fenced without its end.
func (r *run) prove(ctx context.Context, follower Follower) error {
	for _, step := range []func(context.Context, Follower) error{r.close, r.proveClosed, r.drain, r.stop, r.ready} {
		if err := step(ctx, follower); err != nil {
			return err
		}
	}
	return nil
}

// close puts the fence.
func (r *run) close(ctx context.Context, follower Follower) error {
	follower.Hurry()
	r.closing = time.Now()
	r.state.Until = r.options.now().Add(r.options.MaxFence).Truncate(time.Second)
	r.state.Fence, r.state.RefusedAt = FenceTemporary, r.closing.UTC()
	what := "refusing writes to the source until it is undone: this fence doesn't end by itself"
	if r.options.Source.Expires() {
		what = "refusing writes to the source until " + r.state.Until.UTC().Format(time.RFC3339) + " at the latest" + r.skew()
	}
	if err := r.step(StepFence, what); err != nil {
		return err
	}
	if err := r.options.Source.Close(ctx, Term{Until: r.state.Until}); err != nil {
		return fmt.Errorf("fence the source: %w", err)
	}
	return nil
}

// skew says by how much the service's clock, which ends the fence, differs from this machine's.
func (r *run) skew() string {
	skew := time.Until(r.options.now()).Round(time.Second)
	if skew.Abs() <= clockMargin {
		return ""
	}
	return fmt.Sprintf(" by AWS's clock, which is %s ahead of this machine's", skew)
}

func (r *run) proveClosed(ctx context.Context, _ Follower) error {
	if err := r.step(StepProve, "making sure that writes are refused"); err != nil {
		return err
	}
	refused, err := r.options.Source.Prove(ctx, r.options.Quiet)
	if err != nil {
		return fmt.Errorf("prove the fence: %w", err)
	}
	if !refused.IsZero() {
		r.state.RefusedAt = refused.UTC()
	}
	r.proven = time.Now()
	r.state.Propagation = r.proven.Sub(r.closing)
	return nil
}

// drain waits until the stream has been empty for Quiet since the fence was proven, and every open key agrees.
func (r *run) drain(ctx context.Context, follower Follower) error {
	if err := r.step(StepDrain, "reading the stream to its end, and looking at the open keys"); err != nil {
		return err
	}
	provenAt := r.options.now()
	quietFrom, records := r.proven, int64(-1)
	for {
		f, err := r.followed(follower)
		if err != nil {
			return err
		}
		if f.Records != records {
			records, quietFrom = f.Records, later(r.proven, time.Now())
			if records > 0 && f.Newest.Sub(provenAt) > madeMargin {
				return fmt.Errorf("a writer goes on: a record was made at %s, after writes were proven to be refused", f.Newest.UTC().Format(time.RFC3339))
			}
		}
		if !f.ReadThrough.IsZero() && f.ReadThrough.Sub(quietFrom) >= r.options.Quiet {
			looked, err := follower.Look(ctx, r.lookSince())
			if err != nil {
				return fmt.Errorf("look at the open keys: %w", err)
			}
			if looked.Differing == 0 {
				r.records = records
				return nil
			}
		}
		if err := call.Sleep(ctx, pollInterval); err != nil {
			return err
		}
	}
}

// madeMargin is how much later than it was a record may seem to be made: its time has whole seconds, and the service's clock is known to
// a second and an answer's way.
const madeMargin = 3 * time.Second

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// lookSince is from when on keys are looked at that were closed since: those with an earlier record are closed for good.
func (r *run) lookSince() time.Time { return r.closing.Add(-r.options.Lifetime) }

// followed is what the follower knows. That it has ended, or that a key differs for good, is an error.
func (r *run) followed(follower Follower) (Followed, error) {
	f, err := follower.Followed()
	switch {
	case err != nil:
		return f, fmt.Errorf("follow: %w", err)
	case f.Differing > 0:
		return f, fmt.Errorf("%d keys differ, which nothing has repaired", f.Differing)
	}
	return f, nil
}

// stop refuses the replicator's writes, and looks again at what they may have changed.
func (r *run) stop(ctx context.Context, follower Follower) error {
	// For as long as it may be needed, at once: a policy can't be changed twice within 15 seconds, in which writers would wait.
	r.state.Stopped, r.state.Hold = true, r.options.now().Add(r.options.Hold).Truncate(time.Second)
	if err := r.step(StepStop, "refusing the replicator's writes to the target"); err != nil {
		return err
	}
	if err := r.options.Target.Close(ctx, Term{Until: r.state.Hold}); err != nil {
		return fmt.Errorf("stop the replicator: %w", err)
	}
	if _, err := r.options.Target.Prove(ctx, r.options.Quiet); err != nil {
		return fmt.Errorf("prove that the replicator is stopped: %w", err)
	}
	looked, err := follower.Look(ctx, r.lookSince())
	if err != nil {
		return fmt.Errorf("look at what changed since shortly before the fence: %w", err)
	}
	r.state.Relooked = looked.Keys
	if looked.Differing > 0 {
		return fmt.Errorf("%d keys differ with the replicator stopped", looked.Differing)
	}
	f, err := r.followed(follower)
	if err != nil {
		return err
	}
	if f.Records != r.records {
		return fmt.Errorf("a record came after the stream was taken for drained")
	}
	if r.state.Position, err = follower.Position(); err != nil {
		return fmt.Errorf("note the position in the stream: %w", err)
	}
	r.follower = nil
	if err := follower.End(); err != nil {
		return fmt.Errorf("end following: %w", err)
	}
	return nil
}

// ready holds both gates, and writes the verdict down, if there is time enough for both.
func (r *run) ready(ctx context.Context, _ Follower) error {
	if left := r.left(); left <= r.reserve() {
		return fmt.Errorf("only %s are left of --max-fence, and a verdict needs %s", left.Round(time.Second), r.reserve().Round(time.Second))
	}
	if r.options.MarkBack != nil {
		if err := r.options.MarkBack(ctx); err != nil {
			return fmt.Errorf("open the target's stream: %w", err)
		}
	}
	until := r.state.Hold
	r.state.Fence, r.state.Until = FenceHeld, until
	if err := r.step(StepReady, "everything agrees: holding the fence, until "+until.UTC().Format(time.RFC3339)+" if it ends by itself"); err != nil {
		return err
	}
	if err := r.options.Source.Close(ctx, Term{Until: until, Verdict: true}); err != nil {
		return fmt.Errorf("hold the fence: %w", err)
	}
	// What holds it for longer takes effect some time from now. Until then it has to be closed by what was put before.
	if left := r.left(); left <= 2*r.state.Propagation {
		return fmt.Errorf("holding the fence took too long: only %s are left", left.Round(time.Second))
	}
	r.state.Ready, r.state.ReadyAt = true, time.Now().UTC()
	return r.save()
}

// result is what is known at the end.
func (r *run) result(err error) Result {
	s := r.state
	out := Result{
		Verdict: s.Verdict, Ready: s.Ready, Fence: s.Fence, FenceBy: s.FenceBy, RefusedSeconds: s.Refused, Relooked: s.Relooked,
		Stragglers: s.Straggled, StragglerList: append([]Straggler{}, s.Stragglers...), WrittenSince: r.written, Why: r.why,
		Steps: append([]StepTime{}, s.Steps...), ElapsedSeconds: time.Since(r.began).Seconds(),
	}
	if !s.Until.IsZero() && s.Fence != FenceLifted && r.options.Source.Expires() {
		out.FenceUntil = s.Until.UTC().Format(time.RFC3339)
	}
	if err != nil && out.Why == "" && !refuse.Is(err) {
		out.Why = err.Error()
	}
	return out
}
