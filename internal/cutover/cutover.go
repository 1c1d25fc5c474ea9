package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Gate refuses writes to a table, for a time or for good.
type Gate interface {
	// Close refuses writes for a term. It returns when the service has taken that, not when it has effect. Closing a closed gate only sets
	// another term.
	Close(ctx context.Context, term Term) error
	// Prove returns when writes have been refused for a time quiet, without a break. It tells when one was refused first; zero: not known.
	Prove(ctx context.Context, quiet time.Duration) (refused time.Time, err error)
	// ProveOpen returns when writes have been let through for a time quiet: nothing is left of an earlier Close that would be taken for the next.
	ProveOpen(ctx context.Context, quiet time.Duration) error
	// Open lets writes through, and returns when nothing of Close is left.
	Open(ctx context.Context) error
	// IsClosed tells whether it is, and until when: zero is for good.
	IsClosed(ctx context.Context) (until time.Time, closed bool, err error)
	// Expires tells whether it opens by itself at the time of Close, whatever becomes of this process.
	Expires() bool
}

// Term is for how long a gate is closed.
type Term struct {
	Until   time.Time // by the service's clock; zero: for good
	Verdict bool      // it is one of after the verdict: what was only for the proof is over
}

// Follower knows which keys of both tables agree while the source changes.
type Follower interface {
	// Followed is what is known at present. Its error says that the follower has ended, and why.
	Followed() (Followed, error)
	// Look looks at once, with ConsistentRead, at each key that is open or of which a record was read since a time by this machine's clock.
	Look(ctx context.Context, since time.Time) (Looked, error)
	// Position is where another reader of the stream may go on without missing a record.
	Position() (json.RawMessage, error)
	// Hurry tells that writers wait: the stream is to be read as often as it can be.
	Hurry()
	// End ends it. It makes sure once more that both tables are those of the beginning.
	End() error
}

// Followed is what a Follower knows at a moment.
type Followed struct {
	Scanned     bool // both tables
	CaughtUp    bool // each key that changed is known to agree, or its last record is young
	Open        int64
	Oldest      time.Duration // since the last record of the oldest open key was read
	Suspect     int64         // of the open keys, those that may be differences
	Differing   int64         // keys of which it is certain that they differ
	Records     int64         // of the stream, but for removals by time to live
	Newest      time.Time     // when the newest of them was made, by the service's clock
	ReadThrough time.Time     // up to when the stream was read, by this machine's clock; zero: not known
}

// Looked is what a look has found.
type Looked struct{ Keys, Differing int64 }

// Options is a cutover.
type Options struct {
	Store *Store
	State State // that of a run before, or a new one with Run, Source, Target and Stream

	Source Gate // the fence
	Target Gate // against the replicator
	// Follow starts to follow. It returns when both tables are scanned, or with an error.
	Follow func(context.Context) (Follower, error)
	// Preflight is all that can be checked before, with nothing written. nil: it was done.
	Preflight func(context.Context) error
	// OnReady has the writers go over to the target; nil: whoever reads the verdict does that.
	OnReady func(context.Context) error
	// Written tells what the target got, from others than the replicator, since the verdict; nil: that can't be known.
	Written func(context.Context, State) (int64, error)
	// Disable ends the replicator for good, when its writes are refused; nil: somebody else does.
	Disable func(context.Context) error
	// Watch reads the source's stream from a position for a time, and tells of each record but removals by time to live.
	Watch func(ctx context.Context, state State, length time.Duration, tell func(Straggler) error) error
	// StartBack begins to replicate the other way round, when the source's stream isn't watched any more; nil: nobody, or somebody else does.
	StartBack func(context.Context) error
	// MarkBack begins to count what Written tells, before anybody goes over; nil: there is no need.
	MarkBack func(context.Context) error
	// Tell is called when a step begins, and when there is something to say of it; it may be nil.
	Tell func(Step, string)

	MaxFence time.Duration // for how long writes to the source are refused at the most, without a verdict
	Hold     time.Duration // for how long after it, until all is done
	// Quiet is for how long nothing may come. It must be longer than it takes a record to be in the stream, a policy to be everywhere once a
	// probe has seen it, and a request that was let through to be carried out.
	Quiet   time.Duration
	Watched time.Duration // see Watch
	// Lifetime is how long a request of the replicator may be alive: keys that changed before the fence by so much are closed for good.
	Lifetime time.Duration
	MostOpen int64 // keys that may be open at the fence; 0: 50,000
	// OnlyFollow ends it, without an error or a verdict, when the source could be closed.
	OnlyFollow bool

	Postponed func() bool      // waits while it tells true; may be nil
	Now       func() time.Time // the service's; nil: this machine's
}

// Result is what became of a cutover.
type Result struct {
	Source         string      `json:"source"`
	Target         string      `json:"target"`
	Verdict        Verdict     `json:"verdict"`
	Ready          bool        `json:"ready"`
	Fence          FenceState  `json:"fence"`
	FenceBy        string      `json:"fence_by"`               // "policy", "command" or "none"
	FenceUntil     string      `json:"fence_until"`            // RFC 3339, UTC, by AWS's clock; "": for good, or there is none
	RefusedSeconds float64     `json:"writes_refused_seconds"` // from the first refusal that was seen, or putting the fence, until the writers were on the target, or it was lifted
	Relooked       int64       `json:"relooked"`               // keys that were looked at again when nothing could change them any more
	Stragglers     int64       `json:"stragglers"`
	StragglerList  []Straggler `json:"straggler_list"`
	WrittenSince   int64       `json:"written_since"` // keys of the target that changed since the verdict; -1: not known
	Why            string      `json:"why"`           // of a verdict that isn't "go"
	Steps          []StepTime  `json:"steps"`
	ElapsedSeconds float64     `json:"elapsed_seconds"`
}

// Errors of Run.
var (
	// ErrBack: it could not be proven, and the application goes on with the source.
	ErrBack = errors.New("the writers stay on the source")
	// ErrHeld: somebody has to decide.
	ErrHeld = errors.New("some writers may be on the target already")
	// ErrStragglers: there was a write to the source that the target may not have.
	ErrStragglers = errors.New("writes to the source came after the fence")
	// ErrLapsed: the gates had opened by themselves after the writers went over, before they were closed for good.
	ErrLapsed = errors.New("--hold was over before the source was closed for good")
	// ErrStuck: a gate could not be opened.
	ErrStuck = errors.New("writes may still be refused")
)

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o Options) mostOpen() int64 {
	if o.MostOpen > 0 {
		return o.MostOpen
	}
	return 50_000
}

// Run takes the writers over, or goes on with what a run before has left. Its result is complete also with an error, which is one of the
// above, the context's, or a *refuse.Error as long as nothing was done.
func Run(ctx context.Context, options Options) (Result, error) {
	r := &run{options: options, state: options.State, began: time.Now(), written: -1}
	err := r.goOn(ctx)
	return r.result(err), err
}

// goOn goes on from where the state is.
func (r *run) goOn(ctx context.Context) error {
	switch s := r.state; {
	case s.IsUnderWay() && s.Ready:
		return r.goOnReady(ctx)
	case s.IsUnderWay():
		r.tell(StepBack, "an earlier run has left the fence: it is taken away first")
		if err := r.open(ctx, "a run before was stopped"); err != nil {
			return err
		}
	}
	r.why = "" // of the run before
	r.state = State{
		Format: format, Run: r.state.Run, Source: r.state.Source, Target: r.state.Target, Stream: r.state.Stream, Fence: FenceNone,
		FenceBy: r.state.FenceBy, StopBy: r.state.StopBy, OpenedAt: r.state.OpenedAt, Replicators: r.state.Replicators, Mappings: r.state.Mappings,
		Earlier: r.state.Earlier, Back: r.state.Back,
	}
	return r.whole(ctx)
}

// goOnReady goes on when a run before has come to its verdict: some writers may be on the target.
func (r *run) goOnReady(ctx context.Context) error {
	if !r.state.Hooked {
		if err := r.stillHeld(ctx); err != nil {
			return err
		}
		if err := r.hook(ctx); err != nil {
			return err
		}
	}
	return r.finish(ctx)
}

// whole is a cutover from its beginning.
func (r *run) whole(ctx context.Context) error {
	if r.options.Preflight != nil {
		if err := r.step(StepPreflight, "checking"); err != nil {
			return err
		}
		if err := r.options.Preflight(ctx); err != nil {
			return err
		}
	}
	follower, err := r.follow(ctx)
	if err != nil {
		return err
	}
	if r.options.OnlyFollow {
		r.follower = nil
		r.ended()
		return errors.Join(follower.End(), r.save())
	}
	err = r.fenced(ctx, follower)
	if r.follower != nil { // it was not ended
		_ = r.follower.End() // what it says is no longer needed
	}
	if err != nil {
		return err
	}
	if err := r.hook(ctx); err != nil {
		return err
	}
	return r.finish(ctx)
}

// Finish goes on after a verdict as if the hook had succeeded: whoever calls it has seen to that.
func Finish(ctx context.Context, options Options) (Result, error) {
	r := &run{options: options, state: options.State, began: time.Now(), written: -1}
	r.state.Hooked = true
	err := r.finish(ctx)
	return r.result(err), err
}

// Abort opens both gates, whatever the state is, and tells what the target got since the verdict.
func Abort(ctx context.Context, options Options) (Result, error) {
	r := &run{options: options, state: options.State, began: time.Now(), written: -1}
	if r.state.Ready && options.Written != nil {
		var err error
		if r.written, err = options.Written(ctx, r.state); err != nil {
			r.tell(StepBack, "what the target got since the verdict can't be read: "+err.Error())
			r.written = -1
		}
	}
	err := r.open(ctx, "aborted")
	if err == nil {
		r.state.Verdict = VerdictAborted
		err = r.save()
	}
	return r.result(err), err
}
