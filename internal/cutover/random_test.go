package cutover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/fence"
)

// process is a run of the command, which may be killed.
type process struct {
	world *world
	path  string
	dead  atomic.Bool
	hook  func(context.Context) error
	back  bool // Written is known
	tell  func(Step, string)
}

func policyGate(p *policies, sid string, only, also []string) *PolicyGate {
	lasting := fence.Statement{Sid: sid + "1", Table: "arn:aws:dynamodb:us-east-1:123456789012:table/t", Only: only}
	temporary := lasting
	temporary.Only = append(append([]string{}, only...), also...)
	return &PolicyGate{Policy: fence.NewPolicy(p, lasting.Table, "1"), Probe: fence.Probe{API: p, Table: "t", Schema: testSchema}, Temporary: temporary, Lasting: lasting}
}

const (
	testMaxFence = time.Minute
	testHold     = 10 * time.Minute
)

func (p *process) options(state State, store *Store) Options {
	w := p.world
	for i := range w.policies {
		w.policies[i].dead = p.dead.Load
	}
	o := Options{
		Store: store, State: state, MaxFence: testMaxFence, Hold: testHold, Quiet: w.quiet, Watched: time.Minute, Lifetime: 30 * time.Second,
		Source: policyGate(w.policies[sourceTable], fence.SidFence, nil, nil),
		Target: policyGate(w.policies[targetTable], fence.SidStop, []string{lambdaARN}, []string{ownARN}),
		Follow: func(context.Context) (Follower, error) { return newFollower(w, p.dead.Load), nil },
		OnReady: func(ctx context.Context) error {
			if p.dead.Load() {
				return errDead
			}
			return p.hook(ctx)
		},
		Watch: p.watchRecords,
		Tell:  p.tell,
	}
	if p.back {
		o.Written = func(context.Context, State) (int64, error) {
			w.mu.Lock()
			defer w.mu.Unlock()
			return int64(w.written), nil
		}
	}
	return o
}

// watchRecords tells of each record after the position.
func (p *process) watchRecords(ctx context.Context, state State, length time.Duration, tell func(Straggler) error) error {
	var read int
	if err := json.Unmarshal(state.Position, &read); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
	}
	w := p.world
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range w.records[read:] {
		if !r.expired {
			if err := tell(Straggler{Key: json.RawMessage(fmt.Sprint(r.key)), Made: instant(r.made)}); err != nil {
				return err
			}
		}
	}
	return nil
}

// run runs the command on the state file. With a kill, it is dead after a while: nothing that it does then has an effect.
func (p *process) run(ctx context.Context, t *testing.T, kill time.Duration, command func(context.Context, Options) (Result, error)) (Result, error) {
	t.Helper()
	store, err := OpenStore(p.path)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	state, found, err := store.Load()
	if err != nil {
		t.Fatal(err)
	}
	if !found {
		state = State{Run: "1"}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var saved []byte
	var killing sync.WaitGroup
	if kill > 0 {
		killing.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(kill):
				saved, _ = os.ReadFile(p.path)
				p.dead.Store(true)
				cancel()
			}
		})
	}
	result, err := command(ctx, p.options(state, store))
	cancel()
	killing.Wait()
	if p.dead.Load() {
		p.dead.Store(false)
		if saved != nil {
			err = os.WriteFile(p.path, saved, 0o600)
		} else if err = os.Remove(p.path); errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err != nil {
			t.Fatal(err)
		}
		return result, errKilled
	}
	return result, err
}

var errKilled = errors.New("killed")

// game is a world with a cutover at some moment.
type game struct {
	*world
	process *process
	writers int
	slow    time.Duration // how much longer the hook may take for a writer
}

// play has writers write, a replicator replicate, and the given be done meanwhile; and ends all of that.
func play(t *testing.T, seed int64, do func(t *testing.T, g *game)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(seed, 3*time.Second)
		g := &game{world: w, writers: 1 + w.random.Intn(6), process: &process{world: w, path: filepath.Join(t.TempDir(), "state.json")}}
		w.pace = []time.Duration{300 * time.Millisecond, 2 * time.Second, 8 * time.Second}[w.random.Intn(3)]
		if w.random.Intn(4) == 0 {
			g.slow = 20 * time.Second
		}
		g.process.hook = g.goOver
		g.process.tell = func(step Step, what string) { t.Logf("%s %s: %s", instant(time.Now()), step, what) }
		for i := range w.policies {
			w.policies[i].delay, w.policies[i].flap = w.draw(0, 2*time.Second), w.draw(0, w.quiet/3)
			if w.random.Intn(4) == 0 {
				w.policies[i].delay, w.policies[i].varies = w.draw(6*time.Second, 9*time.Second), true
			}
			w.policies[i].dead = func() bool { return false }
		}
		w.verdict = func() bool {
			text, err := os.ReadFile(g.process.path)
			var s State
			return err == nil && json.Unmarshal(text, &s) == nil && (s.Ready || s.Fence == FenceHeld)
		}
		for number := range g.writers {
			w.flights.Go(func() { w.writer(number) })
		}
		w.flights.Go(w.replicator)
		w.flights.Go(func() { w.expire(g.writers) })
		time.Sleep(w.between(0, 50*time.Second))
		do(t, g)
		close(w.ended)
		w.flights.Wait()
	})
}

// goOver has the writers go over, one after the other.
func (g *game) goOver(ctx context.Context) error {
	for number := range g.writers {
		if !g.sleep(g.between(0, 2*time.Second+g.slow)) {
			return errors.New("the world has ended")
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		g.mu.Lock()
		g.world.goOver(number)
		g.mu.Unlock()
	}
	return nil
}

// settle has everything come to rest: nobody writes any more, and what is on its way lands.
func (g *game) settle() {
	time.Sleep(40 * time.Second)
}

// lost returns the keys whose acknowledged write the table in use doesn't have.
func (g *game) lost() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	list := g.losses
	for key, version := range g.acked {
		table := sourceTable
		if g.over[key/keysOfWriter] {
			table = targetTable
		}
		if has := g.tables[table][key]; has != version {
			list = append(list, fmt.Sprintf("key %d of table %d has version %d, acknowledged was %d", key, table, has, version))
		}
	}
	return list
}

// check judges by what the writers were told.
func (g *game) check(t *testing.T, seed int64, result Result, err error) {
	t.Helper()
	for _, one := range g.lost() {
		t.Errorf("seed %d: verdict %q (%v): %s", seed, result.Verdict, err, one)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if most := testMaxFence + 2*time.Second + g.quiet; g.longest > most {
		t.Errorf("seed %d: a writer was denied for %s without a verdict", seed, g.longest)
	}
}

// Random cutovers, with faults, lag, late writes and kills: no acknowledged write is lost, and nobody is fenced for longer than said.
func TestRandomCutovers(t *testing.T) {
	t.Parallel()
	runs, verdicts := 200, map[Verdict]int{}
	if testing.Short() {
		runs = 50
	}
	var mu sync.Mutex
	t.Run("seeds", func(t *testing.T) {
		for seed := range int64(runs) {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				verdict := cutRandomly(t, seed)
				mu.Lock()
				defer mu.Unlock()
				verdicts[verdict]++
			})
		}
	})
	t.Log(verdicts)
	if t.Failed() {
		return
	}
	if verdicts[VerdictGo] < runs/2 || verdicts[VerdictBack] < runs/30 {
		t.Errorf("verdicts %v: the simulation plays too few of each", verdicts)
	}
}

func cutRandomly(t *testing.T, seed int64) (verdict Verdict) {
	play(t, seed, func(t *testing.T, g *game) {
		g.mu.Lock()
		for i := range g.policies {
			g.policies[i].faults = g.random.Intn(3) * 8
		}
		g.lateMost = time.Duration(g.random.Intn(2)) * 24 * time.Second
		g.broken = g.random.Intn(8) == 0
		g.process.back = g.random.Intn(2) == 0
		hookFails := g.random.Intn(6) == 0
		kills := g.random.Intn(4)
		g.mu.Unlock()
		if hookFails {
			g.process.hook = func(ctx context.Context) error {
				if g.chance(50) {
					_ = g.goOver(ctx) // it fails half-way, or at the end
					g.useTarget()
				}
				if g.chance(50) {
					<-ctx.Done()
				}
				g.process.hook = g.goOver
				return errors.New("hook")
			}
		}
		var result Result
		var err error
		for range 30 {
			kill := time.Duration(0)
			if kills > 0 {
				kills--
				kill = g.between(time.Second, 80*time.Second)
			}
			result, err = g.process.run(t.Context(), t, kill, Run)
			if errors.Is(err, errKilled) || errors.Is(err, ErrHeld) {
				time.Sleep(g.between(0, 20*time.Second))
				if g.chance(10) {
					time.Sleep(testHold + time.Minute)
				}
				if errors.Is(err, ErrHeld) && g.isHoldOver() && g.anyOver() {
					return // what has been written to both since, nobody can put right; it is told
				}
				if errors.Is(err, ErrHeld) && g.chance(30) && !g.anyOver() {
					result, err = g.process.run(t.Context(), t, 0, Abort)
					break
				}
				if errors.Is(err, ErrHeld) && !g.isHoldOver() && g.chance(30) {
					_ = g.goOver(t.Context())
					result, err = g.process.run(t.Context(), t, 0, Finish)
					break
				}
				continue
			}
			if err == nil || errors.Is(err, ErrBack) || errors.Is(err, ErrStragglers) || errors.Is(err, ErrLapsed) {
				break
			}
		}
		g.settle()
		verdict = result.Verdict
		if errors.Is(err, ErrLapsed) {
			if g.isHeld() {
				t.Errorf("seed %d: %v", seed, err)
			}
			return // nobody came for longer than the gates are held: it is told
		}
		if errors.Is(err, ErrStragglers) {
			t.Errorf("seed %d: a straggler, though each assumption holds: %v", seed, err)
		}
		if verdict == VerdictGo && !g.allOver() {
			t.Errorf("seed %d: go, but a writer has not gone over", seed)
		}
		g.check(t, seed, result, err)
		if verdict == VerdictBack || verdict == VerdictAborted {
			for i, p := range g.policies {
				if p.faults == 0 && p.text != "" {
					t.Errorf("seed %d: verdict %s, and the policy of table %d is %s", seed, verdict, i, p.text)
				}
			}
		}
	})
	return verdict
}

// useTarget waits until each writer that has gone over has written to the target: what a hook that fails has not undone.
func (g *game) useTarget() {
	for {
		g.mu.Lock()
		enough := g.written >= 20*len(g.over)
		g.mu.Unlock()
		if enough || !g.sleep(time.Second) {
			return
		}
	}
}

// isHeld tells whether the gates are, or could be, held at present by what a verdict put.
func (g *game) isHeld() bool {
	text, err := os.ReadFile(g.process.path)
	var s State
	return err == nil && json.Unmarshal(text, &s) == nil && time.Now().Before(s.Hold)
}

// isHoldOver tells whether the fence ends by itself, or has.
func (g *game) isHoldOver() bool {
	text, err := os.ReadFile(g.process.path)
	var s State
	return err == nil && json.Unmarshal(text, &s) == nil && s.Ready && !s.Until.IsZero() && time.Until(s.Until) < time.Minute
}

func (g *game) anyOver() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.over) > 0
}

func (g *game) allOver() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.over) == g.writers
}
