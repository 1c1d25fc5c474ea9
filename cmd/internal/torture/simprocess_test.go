package torture

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"reseal/internal/refuse"
)

// errPlanted is in every error that a run plants; those that come over the wire have its text.
var errPlanted = errors.New("planted")

// errKilled is what a killed process gets for an answer; nobody reads it.
var errKilled = fmt.Errorf("%w: killed", errPlanted)

// process is one run of one command. When it is killed, its requests go nowhere any more, and what it does to its checkpoint is
// undone: the file is as it was at that moment.
type process struct {
	w          *simWorld
	role       string
	checkpoint string
	lands      bool // a write whose sender gave up or died may still be carried out
	restart    bool // it is told --restart
	enough     chan struct{}

	mu         sync.Mutex // of what follows
	callsLeft  int        // until enough is closed; 0: it isn't
	faults     int        // that its requests have met
	carriedOut int        // writes of items
	writes     int        // until it is killed when one more was carried out; 0: it isn't
	dead       bool
	killed     chan struct{} // closed when it is dead
	file       []byte        // the checkpoint when it was killed
	isFile     bool
}

func (w *simWorld) newProcess(role, checkpoint string) *process {
	return &process{
		w: w, role: role, checkpoint: checkpoint, lands: role != replicator || w.plan.hole, killed: make(chan struct{}), enough: make(chan struct{}),
	}
}

// called is called for each request.
func (p *process) called() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.callsLeft--; p.callsLeft == 0 {
		close(p.enough)
	}
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// kill is kill -9.
func (p *process) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return
	}
	p.dead = true // nothing is carried out from now on, so the file is at least as new as what was carried out
	if p.checkpoint != "" {
		var err error
		p.file, err = os.ReadFile(p.checkpoint)
		p.isFile = err == nil
	}
	close(p.killed)
}

// killAfter has the process killed when so many of its writes have been carried out.
func (p *process) killAfter(writes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes = writes
}

// wrote is called when a write of so many items was carried out, of which the process doesn't know yet.
func (p *process) wrote(items int) {
	p.mu.Lock()
	p.carriedOut += items
	p.writes--
	last := p.writes == 0
	p.mu.Unlock()
	if last {
		p.w.count(p.role + " killed in a write")
		p.kill()
	}
}

// bury restores the checkpoint of a killed process that has come to its end.
func (p *process) bury() error {
	switch {
	case p.checkpoint == "":
		return nil
	case p.isFile:
		return os.WriteFile(p.checkpoint, p.file, 0o600)
	}
	return removed(os.Remove(p.checkpoint))
}

func removed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// end is how one run of a command is to be brought to its end.
type end int

const (
	byItself end = iota
	killed
	stopped  // SIGTERM
	diskFull // the checkpoint can't be written any more
)

// keep runs a command again and again, as a supervisor would, until it has ended by itself without an error. The first runs are
// killed, stopped, or find no room for their checkpoint, after a while that is drawn.
func (w *simWorld) keep(role, checkpoint string, disturb bool, run func(ctx context.Context, p *process) error) {
	troubles := dice(w.plan.seed, "troubles of "+role, 0).IntN(w.plan.mostTroubles + 1)
	const most = 60
	for n := range most {
		random := dice(w.plan.seed, "run of "+role, n)
		how := byItself
		if disturb && n < troubles {
			how = w.plan.trouble(random, role)
		}
		after := between(random, 0, oneOf(random, 500*time.Millisecond, 5*time.Second, 25*time.Second))
		if role == follower {
			after *= 5
		}
		p := w.newProcess(role, checkpoint)
		if how == killed && chance(random, 0.6) {
			p.killAfter(1 + random.IntN(25))
			after = 25 * time.Second
		}
		w.operator.starts(p, n)
		err := w.disturbed(p, how, after, run)
		if w.ctx.Err() != nil || w.operator.ended(p, err) {
			return
		}
		w.count(role + " " + w.causeOf(p, how, err))
		w.operator.reads(p, err)
		w.operator.finds(role)
		time.Sleep(between(random, 0, 4*time.Second))
		w.jumpClock(random, role, checkpoint)
		w.operator.prepares(role)
	}
	w.t.Errorf("%s did not end in %d runs", role, most)
}

// once runs a command once, until it has ended by itself, or something ends it.
func (w *simWorld) once(p *process, how end, after time.Duration, run func(ctx context.Context, p *process) error) {
	w.operator.starts(p, 0)
	err := w.disturbed(p, how, after, run)
	if w.ctx.Err() == nil && !w.operator.ended(p, err) {
		w.count(p.role + " " + w.causeOf(p, how, err))
		w.operator.reads(p, err)
	}
}

// trouble draws how a process is to end. One that is throttled has most of a page still to be written when it is stopped.
func (pl *plan) trouble(random *rand.Rand, role string) end {
	if role == seeder && pl.throttling {
		return oneOf(random, stopped, stopped, killed)
	}
	return oneOf(random, killed, killed, killed, stopped, diskFull)
}

// disturbed runs a command once.
func (w *simWorld) disturbed(p *process, how end, after time.Duration, run func(ctx context.Context, p *process) error) error {
	ctx, cancel := context.WithCancel(w.ctx)
	w.operator.watches(p, cancel)
	ended := make(chan struct{})
	var trouble sync.WaitGroup
	if w.plan.twist == twins && how == byItself {
		trouble.Go(func() { w.twin(p, run, ended) })
	}
	trouble.Go(func() {
		timer := time.NewTimer(after)
		defer timer.Stop()
		select {
		case <-ended:
			return
		case <-p.killed:
		case <-p.enough:
		case <-timer.C:
		}
		switch how {
		case killed:
			p.kill()
			cancel()
		case stopped:
			cancel()
		case diskFull:
			w.fillDisk(p.checkpoint, ended)
		}
	})
	err := run(ctx, p)
	w.leaves(p)
	close(ended)
	trouble.Wait()
	cancel()
	if how == diskFull && err == nil && p.checkpoint != "" && p.role != replicator { // it came to its end while the folder was away, and would have deleted it
		if removeErr := removed(os.Remove(p.checkpoint)); removeErr != nil {
			w.t.Error(removeErr)
		}
	}
	if p.isDead() {
		if buryErr := p.bury(); buryErr != nil {
			w.t.Error(buryErr)
		}
	}
	return err
}

// fillDisk keeps the checkpoint's folder away until the command has ended for it, or for a while: no file can be made in it.
func (w *simWorld) fillDisk(checkpoint string, ended <-chan struct{}) {
	if checkpoint == "" {
		return
	}
	folder := filepath.Dir(checkpoint)
	if err := os.Rename(folder, folder+".away"); err != nil {
		w.t.Error(err)
		return
	}
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	if err := os.Rename(folder+".away", folder); err != nil {
		w.t.Error(err)
	}
}

// causeOf tells why a run ended, and fails the test if it wasn't for anything that was planted.
func (w *simWorld) causeOf(p *process, how end, err error) string {
	switch {
	case p.isDead():
		return "killed"
	case how == stopped && errors.Is(err, context.Canceled):
		return "stopped"
	case w.operator.stoppedIt(p) && errors.Is(err, context.Canceled):
		return "stopped by the operator"
	case w.excused(p, err):
		return "ended for a reason of the twist's"
	case how == diskFull && errors.Is(err, fs.ErrNotExist):
		return "stopped by a full disk"
	case err != nil && (!refuse.Is(err) || p.role == replicator || p.role == follower) && wasPlanted(err): // who may not list the stream refuses
		return "failed"
	}
	w.t.Errorf("%s ended with %v", p.role, err)
	return "failed for another reason"
}

// wasPlanted tells whether an error comes of what a run plants: reseal doesn't tell the service's own words.
func wasPlanted(err error) bool {
	for _, words := range []string{errPlanted.Error(), "AccessDeniedException", "gave up after"} {
		if strings.Contains(err.Error(), words) {
			return true
		}
	}
	return errors.Is(err, errPlanted)
}
