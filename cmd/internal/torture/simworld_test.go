package torture

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/replicate"
	"reseal/seed"
)

// The roles of the processes.
const (
	seeder     = "seed"
	replicator = "replicate"
	verifier   = "verify"
	live       = "verify beside"
)

// plan is what the seed of a simulated run decides beforehand.
type plan struct {
	seed    uint64
	spec    testkit.TableSpec
	keys    []attrs
	before  []attrs  // what the source holds when its stream is enabled, by number of the key
	changes []change // of the application, in their order

	asLambda     bool // the replicator is the Lambda's handler behind an event source mapping
	shards       int  // at the start
	splits       []time.Duration
	segments     int           // of seed and verify
	page         int           // items that a page has at the most
	pace         time.Duration // that a request takes on each way, at the most
	lag          time.Duration // how old what a read sees may be, where it isn't consistent
	visible      time.Duration // how long a record may take to appear in the stream
	faults       float64       // part of the requests
	writePace    time.Duration // that a write of the seeder's takes to get there
	lossy        bool          // many answers to the seeder's writes are lost
	throttling   bool          // many of the seeder's writes are throttled
	denying      bool          // some of the replicator's writes are denied
	mostTroubles int           // processes of a role that are killed, stopped, or find the disk full
	hole         bool          // a write of the replicator's may land late, which the README has as a limit
	starts       map[string]time.Duration
	twist        twist
	expiry       expiry
	deadLetters  bool          // the replicator hands on what the target refuses
	accepts      time.Duration // from then on the target refuses nothing; 0: never
	seedWaits    bool          // a seed that was ended goes on after the replicator's downtimes only
	following    *following    // of runs of that kind; nil: it is another one
}

// newPlan draws a plan: 10 to 130 keys, up to a minute of writes, and a twist.
func newPlan(number uint64) *plan {
	pl := drawPlan(number)
	pl.drawTwist()
	return pl
}

func drawPlan(number uint64) *plan {
	random := dice(number, "plan", 0)
	pl := &plan{
		seed: number, spec: drawSpec(random), asLambda: chance(random, 0.4), shards: 1 + random.IntN(4), segments: 1 + random.IntN(6),
		page: oneOf(random, 3, 15, 100), pace: oneOf[time.Duration](random, 20, 200, 800) * time.Millisecond, lag: oneOf[time.Duration](random, 0, 2, 6) * time.Second,
		visible: oneOf[time.Duration](random, 1, 500, 3000) * time.Millisecond, faults: oneOf(random, 0, 0.03, 0.12), mostTroubles: oneOf(random, 0, 3, 6, 6),
		hole: chance(random, 0.04), writePace: oneOf[time.Duration](random, 20, 500, 2000, 6000) * time.Millisecond,
		lossy: chance(random, 0.3), throttling: chance(random, 0.3), denying: chance(random, 0.3),
		starts: map[string]time.Duration{
			replicator: between(random, 0, 6*time.Second), seeder: between(random, 0, 6*time.Second), live: between(random, 0, 30*time.Second),
		},
	}
	for i := range 10 + random.IntN(120) {
		pl.keys = append(pl.keys, drawKey(random, pl.spec, i))
	}
	app := &application{random: random, keys: pl.keys, bodies: drawBodies(random, 6), table: make([]attrs, len(pl.keys)), hot: 1 + random.IntN(5)}
	for i := range pl.keys {
		if chance(random, 0.75) {
			app.table[i] = app.fresh(i)
		}
	}
	pl.before = append(pl.before, app.table...)
	end, pause := pl.writing(random), oneOf[time.Duration](random, 20, 60, 200)*time.Millisecond
	for at := time.Duration(0); at < end; at += between(random, 0, 2*pause) {
		if c, changed := app.next(); changed {
			c.at = at
			pl.changes = append(pl.changes, c)
		}
	}
	for range random.IntN(8) {
		pl.splits = append(pl.splits, between(random, 0, end))
	}
	return pl
}

// writing draws for how long the application writes. A write that lands late is of consequence after the last change of its item.
func (pl *plan) writing(random *rand.Rand) time.Duration {
	if pl.lossy || chance(random, 0.5) {
		return between(random, 5*time.Second, 15*time.Second)
	}
	return between(random, 15*time.Second, time.Minute)
}

// simWorld is one simulated run: tables, stream and network in memory, a clock of its own (testing/synctest), and reseal's real code.
type simWorld struct {
	t              *testing.T
	plan           *plan
	ctx            context.Context // ends if the run takes too long
	start          time.Time
	source, target *simTable
	folder         string
	tally          *tally
	operator       *operator
	holes          holes

	applying sync.Mutex // held while the source is changed
	mu       sync.Mutex // of what follows
	ordinals map[string]int
	made     int          // records
	streams  []*simStream // of the source; the newest is last
	drained  bool         // replication has been told to come to its end
	notes    []string
	working  []*process // that have a checkpoint, and have begun
	followed followed
}

func newSimWorld(t *testing.T, pl *plan, folder string, all *tally) *simWorld {
	now := time.Now()
	w := &simWorld{t: t, plan: pl, start: now, folder: folder, tally: all, ordinals: map[string]int{}}
	w.operator = newOperator(w)
	w.enableStream()
	made := now.Add(-24 * time.Hour)
	w.source = newSimTable("source", pl.spec, pl.seed, made)
	w.target = newSimTable("target", pl.spec, pl.seed+dice(pl.seed, "other order", 0).Uint64N(2), made)
	for i, item := range pl.before {
		if item != nil {
			w.source.set(pl.keys[i], item, pl.madeAt(i, made, now), "before")
		}
	}
	return w
}

// madeAt is when an item was written that was there before the stream. Some were right before it: a read that is behind doesn't see them,
// and no record tells of them.
func (pl *plan) madeAt(i int, early, enabled time.Time) time.Time {
	if random := dice(pl.seed, "written last", i); chance(random, 0.3) {
		return enabled.Add(-between(random, 0, 4*time.Second))
	}
	return early
}

// count counts something that happened.
func (w *simWorld) count(what string) { w.tally.add(what, 1) }

// ordinal tells for the how-manieth time something is decided.
func (w *simWorld) ordinal(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ordinals[what]++
	return w.ordinals[what] - 1
}

func (w *simWorld) apply(c change) { w.applyIf(c, func(attrs) bool { return true }) }

// applyIf changes the source if it holds what the condition says, and puts a record into the stream, if there is one.
func (w *simWorld) applyIf(c change, condition func(was attrs) bool) {
	w.applying.Lock()
	defer w.applying.Unlock()
	if !condition(w.source.get(c.key, time.Now())) {
		return
	}
	w.source.set(c.key, c.item, time.Now(), "application")
	w.mu.Lock()
	defer w.mu.Unlock()
	random := dice(w.plan.seed, "record", w.made)
	w.made++
	if w.plan.following != nil {
		c.made = w.serviceTime()
	}
	now := w.streams[len(w.streams)-1]
	if now.disabled.Load() {
		return
	}
	now.append(placeOf(0, text(c.key)), entry[change]{
		sequence: sequenceNumber(w.made), visible: time.Now().Add(between(random, 0, w.plan.visible)), record: c,
	})
}

// write is the application.
func (w *simWorld) write(start time.Time) {
	for _, c := range w.plan.changes {
		time.Sleep(time.Until(start.Add(c.at)))
		w.apply(c)
	}
}

func (w *simWorld) splitShards(start time.Time) {
	for i, at := range w.plan.splits {
		random := dice(w.plan.seed, "split", i)
		time.Sleep(time.Until(start.Add(at)))
		w.splitShard(random)
	}
}

func (w *simWorld) splitShard(random *rand.Rand) {
	if now := w.stream(); !now.disabled.Load() {
		now.split(random, time.Now().Add(between(random, 0, 10*time.Second)))
		w.count("shard split")
	}
}

// jumpClock moves the times in a replication's checkpoint, once, as if the clock had been wrong when they were written.
func (w *simWorld) jumpClock(random *rand.Rand, role, checkpoint string) {
	if role != replicator || w.plan.asLambda || !chance(random, 0.3) || w.plan.twist == trims || w.ordinal("clock jump") > 0 {
		return
	}
	data, err := os.ReadFile(checkpoint)
	if err != nil {
		return // it was killed before it had one
	}
	by := between(random, -20*time.Hour, 20*time.Hour)
	var file map[string]any
	if err := json.Unmarshal(data, &file); err != nil {
		w.t.Errorf("checkpoint: %v", err)
		return
	}
	moveTimes(file, by)
	if data, err = json.Marshal(file); err == nil {
		err = os.WriteFile(checkpoint, data, 0o600)
	}
	if err != nil {
		w.t.Error(err)
	}
	w.count("clock jump")
}

// moveTimes moves every time in a JSON object.
func moveTimes(object map[string]any, by time.Duration) {
	for name, value := range object {
		switch v := value.(type) {
		case string:
			if at, err := time.Parse(time.RFC3339Nano, v); err == nil && (name == "started" || name == "read_at" || name == "as_of") {
				object[name] = at.Add(by).Format(time.RFC3339Nano)
			}
		case map[string]any:
			moveTimes(v, by)
		}
	}
}

// run plays the run to its end:
//
//  1. The application writes, shards split, a replicator and a seeder start at about the same time, and often a verifier beside
//     them; all of them are disturbed. What a twist adds happens, too.
//  2. When the application has stopped and the seed is done, replication drains. Whatever said meanwhile what the operator is to do,
//     is done.
//  3. The tables must be equal, and verify must say so.
//  4. Losses are planted in the target. verify must find each, and nothing else.
func (w *simWorld) run() {
	start := w.start
	var all, replicating sync.WaitGroup
	all.Go(func() { w.write(start) })
	all.Go(func() { w.splitShards(start) })
	all.Go(func() { time.Sleep(w.plan.starts[seeder]); w.seedAtFirst() })
	if chance(dice(w.plan.seed, "verify beside", 0), 0.5) {
		all.Go(func() { time.Sleep(w.plan.starts[live]); w.verifyBeside() })
	}
	stopTwist := w.twisted(&all)
	replication := w.startReplication(&replicating)
	all.Wait()
	w.setDrained()
	replication.drain()
	replicating.Wait()
	w.operator.finish()
	stopTwist()
	if w.ctx.Err() != nil {
		w.t.Errorf("the run did not end in %s", time.Since(start))
		return
	}
	w.tally.add("virtual seconds", int(time.Since(start).Seconds()))
	time.Sleep(lifetime + w.plan.lag) // so that nothing is under way, and nothing stale is read
	w.check()
}

// check compares the tables, has verify do the same, and does both again with planted losses.
func (w *simWorld) check() {
	found := w.differences()
	for key, kind := range found {
		if w.plan.hole || w.mayDiffer(key, kind) {
			continue
		}
		w.t.Errorf("the tables differ in %s", someOf(found))
		w.tally.add("losses", len(found))
		w.t.Log(w.history(key))
		break
	}
	w.tally.add("not equal, for a reason, found by verify", len(found))
	if w.plan.twist == oldCheckpoint {
		w.resumeOldVerify()
	} else {
		w.mustFind("", found)
		for range w.plant() {
			w.count("planted loss")
		}
	}
	time.Sleep(w.plan.lag + time.Second)
	found = w.differences()
	w.mustFind(" with planted losses", found)
	w.tally.add("planted losses found", len(found))
	if chance(dice(w.plan.seed, "repair", 0), 0.3) && w.plan.twist != blockedItems {
		w.repair()
	}
}

// differences is what the tables differ in by now: see simttl_test.go for what doesn't count.
func (w *simWorld) differences() map[string]string {
	return differences(w.contents(w.source), w.contents(w.target))
}

// history tells what became of a key, for the log of a failure.
func (w *simWorld) history(key string) string {
	var lines strings.Builder
	for _, tb := range []*simTable{w.source, w.target} {
		r := tb.rows[key]
		if r == nil {
			continue
		}
		versions := r.versions
		for _, v := range versions[max(0, len(versions)-8):] {
			fmt.Fprintf(&lines, "\n%s %s %s %.60s", v.from.Format("04:05.000"), tb.name, v.by, text(v.item))
		}
	}
	for _, one := range w.allStreams() {
		for _, shard := range one.shards {
			fmt.Fprintf(&lines, "\n%s, parent %q, listed %s, %d records", shard.id, shard.parent, shard.listed.Format("04:05.000"), len(shard.records))
			for _, r := range shard.records {
				if text(r.record.key) == key {
					fmt.Fprintf(&lines, " %s", strings.TrimLeft(r.sequence, "0"))
				}
			}
		}
	}
	for _, line := range w.notes {
		lines.WriteString("\n" + line)
	}
	return lines.String()
}

// plant changes the target behind everyone's back.
func (w *simWorld) plant() []loss {
	var items, absent []attrs
	for _, key := range w.plan.keys {
		if item := w.target.get(key, time.Now()); item != nil {
			items = append(items, item)
		} else {
			absent = append(absent, key)
		}
	}
	losses := drawLosses(dice(w.plan.seed, "losses", 0), w.plan.spec, items, absent)
	for _, l := range losses {
		w.target.set(l.key, l.item, time.Now(), "loss")
	}
	return losses
}

func (w *simWorld) checkpoint(role string) string {
	folder := filepath.Join(w.folder, role)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		w.t.Fatal(err)
	}
	return filepath.Join(folder, "checkpoint")
}

func (w *simWorld) seed() { w.keep(seeder, w.checkpoint(seeder), true, w.copyAll) }

// copyAll is one run of the seed.
func (w *simWorld) copyAll(ctx context.Context, p *process) error {
	options := seed.Options{
		Source: p.open(w.source), SourceTable: "source", Target: p.open(w.target), TargetTable: "target",
		Segments: w.plan.segments, Checkpoint: p.checkpoint, Restart: p.restart,
	}
	if w.plan.twist == blockedItems {
		options.Reject = w.rejected
	}
	result, err := seed.Run(ctx, options)
	w.tally.add("items rewritten by seeds", int(result.ItemsRewritten))
	return err
}

// replication is what applies the stream.
type replication struct{ drain func() }

func (w *simWorld) startReplication(running *sync.WaitGroup) replication {
	ctx, cancel := context.WithCancel(w.ctx)
	running.Go(func() {
		time.Sleep(w.plan.starts[replicator])
		if w.plan.asLambda {
			w.deliver(ctx)
		} else {
			w.replicate(ctx)
		}
	})
	return replication{drain: cancel}
}

// replicate runs the tailer until ctx ends, and then until the stream is idle.
func (w *simWorld) replicate(follow context.Context) {
	w.keep(replicator, w.checkpoint(replicator), true, w.tail(0, follow))
	w.downtimes()
	var late sync.WaitGroup
	late.Go(w.seedAtLast)
	w.drain()
	late.Wait()
}

// drain runs the tailer until the stream is idle.
func (w *simWorld) drain() {
	w.keep(replicator, w.checkpoint(replicator), true, w.tail(10*time.Second, w.ctx))
}

// tail returns one run of the tailer, until it is idle for so long, or, if that is 0, until follow ends.
func (w *simWorld) tail(idle time.Duration, follow context.Context) func(ctx context.Context, p *process) error {
	return func(ctx context.Context, p *process) error {
		if idle == 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithCancel(ctx)
			defer cancel()
			defer context.AfterFunc(follow, cancel)()
		}
		options := replicate.Options{
			Source: p.open(w.source), SourceTable: "source", Streams: p.openStreams(), Target: p.open(w.target), TargetTable: "target",
			UntilIdle: idle, Checkpoint: p.checkpoint, Restart: p.restart,
		}
		if w.plan.deadLetters {
			options.Poison = w.deadLetter
		}
		_, err := replicate.Run(ctx, options)
		if idle == 0 && follow.Err() != nil && errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
}
