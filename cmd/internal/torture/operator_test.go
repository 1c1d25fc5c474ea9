package torture

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"time"

	"reseal/internal/table"
	"reseal/replicate"
	"reseal/seed"
)

// operator is who runs the commands: what a message says is to be done, is done, and nothing else.
type operator struct {
	w *simWorld

	mu          sync.Mutex // of what follows
	restart     map[string]bool
	running     map[string]context.CancelFunc
	stopped     map[*process]bool
	unmap       context.CancelFunc // deletes the Lambda's event source mapping
	replicating string             // ARN of the stream from whose beginning on is replicated
	since       time.Time          // since when
	seedStream  string             // ARN of the stream of the seed's first run, of those that it resumes
	seedBegan   time.Time          // when that was
	reseed      bool
	repair      bool
	troubles    map[string]bool // roles of which a run has ended otherwise than by itself
}

func newOperator(w *simWorld) *operator {
	return &operator{w: w, restart: map[string]bool{}, running: map[string]context.CancelFunc{}, stopped: map[*process]bool{}, troubles: map[string]bool{}}
}

// starts is called before each run of a command, the n-th of its role.
func (o *operator) starts(p *process, n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p.restart = o.restart[p.role]
	delete(o.restart, p.role)
	if o.w.plan.twist == restarts && n > 0 && chance(dice(o.w.plan.seed, "restart of "+p.role, n), 0.5) {
		p.restart = true
	}
	if p.restart {
		o.w.count(p.role + " with --restart")
	}
	if _, err := os.Stat(p.checkpoint); err == nil && !p.restart {
		return
	}
	now := o.w.stream()
	switch {
	case now.disabled.Load():
	case p.role == replicator && (o.replicating != now.arn || p.restart): // from the oldest record on, so what was trimmed is not in it
		o.replicating, o.since = now.arn, time.Now()
	case p.role == seeder:
		o.seedStream, o.seedBegan = now.arn, time.Now()
	}
}

// watches is told how to stop a process.
func (o *operator) watches(p *process, stop context.CancelFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.running[p.role] = func() {
		o.stopped[p] = true
		stop()
	}
}

func (o *operator) stoppedIt(p *process) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.stopped[p]
}

// ended tells whether a command needn't be run again: its work is done, if not all of it went as it should.
func (o *operator) ended(p *process, err error) bool {
	leftovers := err != nil && strings.Contains(err.Error(), "everything is copied") && (o.w.plan.twist == streamAnew || o.w.plan.twist == trims)
	refused := errors.Is(err, seed.ErrRejected) && o.w.plan.twist == blockedItems
	if p.isDead() || (err != nil && !leftovers && !refused) {
		return false
	}
	o.reads(p, err)
	if p.role == seeder {
		o.mu.Lock()
		defer o.mu.Unlock()
		if now := o.w.stream(); now.disabled.Load() || now.arn != o.seedStream {
			o.w.t.Errorf("the seed says that it is done, though its stream was disabled since it began (now %s, enabled %t)", now.arn, !now.disabled.Load())
		}
	}
	return true
}

// reads does what a message says, as far as that is done at once.
func (o *operator) reads(p *process, err error) {
	if err == nil || p.isDead() {
		return
	}
	says := func(words ...string) bool {
		for _, one := range words {
			if strings.Contains(err.Error(), one) {
				return true
			}
		}
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if says("replicate with --restart") {
		switch stop := o.running[replicator]; {
		case p.role == replicator:
			o.restart[replicator] = true
		case o.w.plan.asLambda || o.replicating == o.w.stream().arn:
		case stop != nil:
			o.restart[replicator] = true
			stop()
		}
	}
	if says("seed with --restart", "seed again with --restart") {
		if o.reseed = true; p.role == seeder {
			o.restart[seeder], o.reseed = true, false
		}
	}
	if says("verify --repair") {
		o.repair = true
	}
	if says("use --restart") {
		o.restart[p.role] = true
	}
}

// hasEnded tells whether a run of the role was ended.
func (o *operator) hasEnded(role string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.troubles[role]
}

func (o *operator) finds(role string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.troubles[role] = true
}

// prepares waits until the next run of the role has what the last one lacked.
func (o *operator) prepares(role string) {
	switch o.w.plan.twist {
	case streamAnew:
		o.awaitStream()
		for n := 0; role == seeder && n < 300 && o.w.ctx.Err() == nil && !o.isReplicating(); n++ {
			time.Sleep(time.Second)
		}
	case blockedItems:
		for n := 0; role == replicator && n < 20 && o.w.wasRefused(time.Now()); n++ {
			time.Sleep(time.Second)
		}
	default:
	}
}

func (o *operator) isReplicating() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.restart[seeder] || o.replicating == o.w.stream().arn
}

// awaitStream waits until the source has a stream.
func (o *operator) awaitStream() {
	for o.w.stream().disabled.Load() && o.w.ctx.Err() == nil {
		time.Sleep(time.Second)
	}
}

// maps is told that a mapping is made for a stream.
func (o *operator) maps(stream *simStream, unmap context.CancelFunc) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.unmap = unmap
	if o.replicating != stream.arn {
		o.replicating, o.since = stream.arn, time.Now()
	}
}

// mapAnew deletes the mapping, for one of the stream that there is now.
func (o *operator) mapAnew() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.unmap != nil {
		o.unmap()
	}
}

// finish does what is left to do of what messages have said. A replication that starts over where records are just being dropped, and has to
// wait for an answer meanwhile, can do nothing but say so once more, until what the application wrote within a minute is gone.
func (o *operator) finish() {
	rounds := 5
	if o.w.plan.twist == trims {
		rounds = 25
	}
	for range rounds {
		o.mu.Lock()
		again := o.reseed && o.seedBegan.Before(o.since)
		if o.reseed = false; again {
			o.restart[seeder] = true
		}
		repair := o.repair && !again
		o.repair = o.repair && !repair
		o.mu.Unlock()
		switch {
		case again:
			o.w.count("seed once more")
			o.w.seed()
			if !o.w.plan.asLambda {
				o.w.drain()
			}
		case repair:
			time.Sleep(lifetime + o.w.plan.lag)
			o.w.repair()
		default:
			return
		}
	}
	o.w.t.Error("what messages say to do leads to nothing but more of them")
}

// isUntold tells whether nobody could tell the operator of a difference, since the Lambda learns nothing of a stream that is disabled:
// the seed was done before, or the items were deleted while there was no stream.
func (o *operator) isUntold(kind string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.plan.asLambda && len(o.w.allStreams()) > 1 && (kind == "extra" || o.seedBegan.Before(o.since))
}

// excused tells whether a command may end with an error for what the twist does.
func (w *simWorld) excused(p *process, err error) bool {
	if err == nil {
		return false
	}
	says := func(words string) bool { return strings.Contains(err.Error(), words) }
	switch w.plan.twist {
	case streamAnew:
		isOff := len(w.allStreams()) > 1 || w.stream().disabled.Load()
		return isOff && (errors.Is(err, table.ErrChanged) || errors.Is(err, replicate.ErrDisabled) || says("stream"))
	case oldCheckpoint:
		return p.role == verifier && says("use --restart")
	case trims:
		return p.role == replicator && time.Since(w.start) >= 22*time.Hour && says("replicate with --restart")
	case blockedItems:
		return p.role == replicator && !w.plan.deadLetters && errors.Is(err, replicate.ErrPoison) && w.wasRefused(time.Now().Add(-20*time.Second))
	case twins:
		return says("is using the checkpoint")
	default:
		return false
	}
}
