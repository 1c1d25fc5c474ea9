package cutover

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Where policies take so long that holding the fence might come too late, there is no verdict.
func TestTooLittleTime(t *testing.T) {
	t.Parallel()
	for seed := range int64(5) {
		play(t, seed, func(t *testing.T, g *game) {
			g.mu.Lock()
			for _, p := range g.policies {
				p.delay, p.flap, p.varies = 8*time.Second, 0, false
			}
			g.mu.Unlock()
			result, err := g.process.run(t.Context(), t, 0, Run)
			if !errors.Is(err, ErrBack) || result.Ready || result.Fence != FenceLifted {
				t.Errorf("seed %d: %v, %+v", seed, err, result)
			}
			g.settle()
			g.check(t, seed, result, err)
		})
	}
}

// quick has policies take effect at once.
func (g *game) quick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.policies {
		p.delay, p.flap, p.varies = 0, 0, false
	}
}

// A statement that a run before has left, and that still denies when it is taken out, is not taken for the next fence.
func TestFenceAfterAFence(t *testing.T) {
	t.Parallel()
	for seed := range int64(5) {
		play(t, seed, func(t *testing.T, g *game) {
			g.quick()
			p := g.policies[sourceTable]
			_, err := g.process.run(t.Context(), t, 16*time.Second, Run) // by then it can be taken out at once
			if !errors.Is(err, errKilled) {
				return // it was faster
			}
			g.mu.Lock()
			p.delay = 5 * time.Second // from now on
			g.mu.Unlock()
			result, err := g.process.run(t.Context(), t, 0, Run)
			if err != nil || result.Verdict != VerdictGo {
				t.Errorf("seed %d: %v, %+v", seed, err, result)
			}
			g.settle()
			g.check(t, seed, result, err)
		})
	}
}

// A replication that never catches up is told, and nothing is fenced.
func TestReplicationThatStandsStill(t *testing.T) {
	t.Parallel()
	play(t, 1, func(t *testing.T, g *game) {
		g.mu.Lock()
		g.halted, g.pace = true, 300*time.Millisecond
		g.mu.Unlock()
		time.Sleep(time.Minute)
		result, err := g.process.run(t.Context(), t, 0, Run)
		if !errors.Is(err, ErrBack) || result.Fence != FenceNone || result.RefusedSeconds != 0 {
			t.Errorf("%v, %+v", err, result)
		}
		g.check(t, 1, result, err)
	})
}

// An interruption while writers are refused puts everything back, and is one; after the verdict somebody has to decide.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	play(t, 3, func(t *testing.T, g *game) {
		g.quick()
		ctx, cancel := context.WithCancel(t.Context())
		g.process.tell = func(step Step, _ string) {
			if step == StepDrain {
				cancel()
			}
		}
		result, err := g.process.run(ctx, t, 0, Run)
		if !errors.Is(err, context.Canceled) || result.Fence != FenceLifted || result.Verdict != VerdictBack {
			t.Errorf("%v, %+v", err, result)
		}
		ctx, cancel = context.WithCancel(t.Context())
		g.process.tell = func(step Step, _ string) {
			if step == StepHook {
				cancel()
			}
		}
		result, err = g.process.run(ctx, t, 0, Run)
		if !errors.Is(err, ErrHeld) || result.Fence != FenceHeld {
			t.Errorf("%v, %+v", err, result)
		}
	})
}
