package torture

import (
	"context"
	"slices"
	"time"
)

// twin starts a second process with the same checkpoint while the first one runs. One of them must be refused.
func (w *simWorld) twin(first *process, run func(ctx context.Context, p *process) error, ended <-chan struct{}) {
	random := dice(w.plan.seed, "twin of "+first.role, w.ordinal("twin of "+first.role))
	timer := time.NewTimer(between(random, time.Millisecond, 15*time.Second))
	defer timer.Stop()
	select {
	case <-ended:
		return
	case <-timer.C:
	}
	ctx, cancel := context.WithCancel(w.ctx)
	defer cancel()
	second := w.newProcess(first.role, first.checkpoint)
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	err := run(ctx, second)
	cancel()
	<-gone
	w.leaves(second)
	w.count("second " + first.role)
	if !w.excused(second, err) && ctx.Err() == nil {
		w.t.Logf("a second %s ended with %v", first.role, err)
	}
}

// begun is told of each request. Two processes must not work with one checkpoint.
func (w *simWorld) begun(p *process, op string) {
	if p.checkpoint == "" || op == "DescribeStream" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if slices.Contains(w.working, p) {
		return
	}
	for _, one := range w.working {
		if one.checkpoint == p.checkpoint && w.ordinals["two processes"] == 0 {
			w.ordinals["two processes"]++
			w.t.Errorf("two processes of %s work with one checkpoint", p.role)
		}
	}
	w.working = append(w.working, p)
}

// leaves is told that a process has ended.
func (w *simWorld) leaves(p *process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.working = slices.DeleteFunc(w.working, func(one *process) bool { return one == p })
}
