package cutover

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
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

// The other direction is started once, when the source's stream is no longer watched; and not after a straggler, whose write it would hide.
func TestStartsBack(t *testing.T) {
	t.Parallel()
	for name, straggles := range map[string]bool{"no straggler": false, "a straggler": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			store, err := OpenStore(filepath.Join(t.TempDir(), "state.json"))
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			failure, order := errors.New("denied"), []string{}
			o := Options{
				Store: store, State: State{Format: format, Run: "run", Ready: true, Fence: FenceHeld}, Source: &CommandGate{}, Target: &CommandGate{}, Watched: time.Second,
				Watch: func(_ context.Context, _ State, _ time.Duration, tell func(Straggler) error) error {
					order = append(order, "watched")
					if straggles {
						return tell(Straggler{})
					}
					return nil
				},
				StartBack: func(context.Context) error {
					order = append(order, "started")
					return failure
				},
			}
			_, err = Finish(t.Context(), o)
			if straggles {
				if !errors.Is(err, ErrStragglers) || !slices.Equal(order, []string{"watched"}) {
					t.Errorf("%v, %v", order, err)
				}
				return
			}
			if !errors.Is(err, failure) {
				t.Errorf("a failure to start it: %v", err)
			}
			for failure = nil; len(order) < 4; order = append(order, "run") { // the next run, and one more
				if o.State, _, err = store.Load(); err != nil {
					t.Fatal(err)
				}
				if _, err := Run(t.Context(), o); err != nil {
					t.Error(err)
				}
			}
			if want := []string{"watched", "started", "started", "run"}; !slices.Equal(order, want) {
				t.Errorf("%v, want %v", order, want)
			}
			if o.State, _, err = store.Load(); err != nil || !o.State.BackOn {
				t.Errorf("%+v (%v)", o.State, err)
			}
			if _, err := Run(t.Context(), o); err != nil || len(order) != 4 {
				t.Errorf("once more: %v, %v", order, err)
			}
		})
	}
}
