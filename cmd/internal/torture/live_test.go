package torture

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"reseal/cmd/internal/torture/overlay"
	"reseal/internal/test/contract"
	"reseal/internal/test/testkit"
	"reseal/internal/test/traffic"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestMain(m *testing.M) {
	code := testkit.Main(m)
	if programs.folder != "" {
		_ = os.RemoveAll(programs.folder)
	}
	os.Exit(code)
}

// programs are reseal and its Lambda, built once: as they are, and with a time-out of requests that is short enough for runs of some
// seconds. A request that was lost may be carried out for 20 s and a quarter more, and a seed waits for that.
var programs struct {
	once   sync.Once
	folder string
	err    error
}

// The time-out of the quick programs, and how long their requests may be carried out (package call).
const (
	quickTimeout  = 3 * time.Second
	quickLifetime = quickTimeout + quickTimeout/4
)

func program(t *testing.T, name string) string {
	t.Helper()
	programs.once.Do(func() { programs.err = build() })
	if programs.err != nil {
		t.Fatal(programs.err)
	}
	return filepath.Join(programs.folder, name)
}

func build() error {
	var err error
	if programs.folder, err = os.MkdirTemp("", "reseal-torture-"); err != nil {
		return err
	}
	quick, err := overlay.Write(programs.folder, "../../..", overlay.Edit{
		File: "internal/call/call.go", From: "DefaultTimeout      = 20 * time.Second", To: "DefaultTimeout      = 3 * time.Second",
	})
	if err != nil {
		return err
	}
	for name, args := range map[string][]string{
		"reseal": {"../../../cmd/reseal"}, "quick-reseal": {"-overlay", quick, "../../../cmd/reseal"}, "replicator": {"../../../cmd/replicator"}, "quick-replicator": {"-overlay", quick, "../../../cmd/replicator"},
	} {
		args = append([]string{"build", "-o", filepath.Join(programs.folder, name)}, args...)
		if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", name, err, out)
		}
	}
	return nil
}

// livePlan is what the seed of a run with real processes decides beforehand.
type livePlan struct {
	seed         uint64
	spec         testkit.TableSpec
	items        []attrs
	absent       []attrs // keys that no item ever has
	asLambda     bool
	real         bool // the programs as they are, with their time-out of 20 s, and delays of 5 s
	writing      time.Duration
	rate         float64
	splits       []time.Duration
	segments     int
	faults       float64
	lossy        bool
	mostTroubles int
	starts       map[string]time.Duration
}

func newLivePlan(seed uint64) *livePlan {
	random := dice(seed, "live plan", 0)
	pl := &livePlan{
		seed: seed, spec: drawSpec(random), asLambda: chance(random, 0.4), real: chance(random, 0.05), segments: 1 + random.IntN(5),
		writing: between(random, time.Second, 3*time.Second), rate: float64(20 + random.IntN(60)),
		faults: oneOf(random, 0.02, 0.08, 0.2), lossy: chance(random, 0.3), mostTroubles: oneOf(random, 0, 2, 4),
		starts: map[string]time.Duration{replicator: between(random, 0, time.Second), seeder: between(random, 0, time.Second), live: between(random, 0, 2*time.Second)},
	}
	pl.writing *= time.Duration(1 + random.IntN(2))
	bodies := drawBodies(random, 8)
	for i := range 20 + random.IntN(150) {
		key := drawKey(random, pl.spec, i)
		if i%9 == 8 {
			pl.absent = append(pl.absent, key)
			continue
		}
		item := maps.Clone(bodies[i%len(bodies)])
		maps.Copy(item, key)
		item["w0"] = number(random.IntN(4))
		pl.items = append(pl.items, item)
	}
	for range random.IntN(5) {
		pl.splits = append(pl.splits, between(random, 0, pl.writing))
	}
	return pl
}

// liveRun is one run with a real engine, real processes and their network.
type liveRun struct {
	t              *testing.T
	plan           *livePlan
	db             *dynamodb.Client // to the engine itself
	source, target string
	streamARN      string
	stream         *stream[json.RawMessage]
	past           *past
	folder         string
	tally          *tally
	start          time.Time

	mu       sync.Mutex
	ordinals map[string]int
	pumped   int
	void     string // why the run proves nothing; "": it does
	failures []string
	requests sync.WaitGroup // that may still be carried out
}

func newLiveRun(t *testing.T, pl *livePlan, all *tally) *liveRun {
	r := &liveRun{
		t: t, plan: pl, db: testkit.Client(testkit.Engine(t)), tally: all, folder: fastFolder(t), ordinals: map[string]int{},
	}
	source, target := pl.spec, pl.spec
	r.source, r.target = testkit.CreateTable(t, r.db, source), testkit.CreateTable(t, r.db, target)
	testkit.Fill(t, r.db, r.source, pl.items)
	r.streamARN = testkit.EnableStream(t, r.db, r.source, types.StreamViewTypeNewAndOldImages)
	r.start = time.Now()
	r.stream = newStream[json.RawMessage](1+dice(pl.seed, "shards", 0).IntN(3), r.start)
	r.past = newPast(r.db, r.source, pl.spec)
	return r
}

func (r *liveRun) count(what string) { r.tally.add(what, 1) }

func (r *liveRun) ordinal(what string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ordinals[what]++
	return r.ordinals[what] - 1
}

// spoil says that the machine was too slow for what the run assumes: that a request which was given up is carried out in time.
func (r *liveRun) spoil(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.void = why
}

// fail notes that something is wrong, if the run proves anything.
func (r *liveRun) fail(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// conclude reports what is wrong.
func (r *liveRun) conclude() {
	r.requests.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.void != "" {
		r.count("runs void: " + r.void)
		r.t.Logf("the run proves nothing: %s; it found %q", r.void, r.failures)
		return
	}
	for _, failure := range r.failures {
		r.t.Error(failure)
	}
}

// run plays the run as simWorld.run does.
func (r *liveRun) run() {
	var all, background sync.WaitGroup
	stop := make(chan struct{})
	background.Go(func() { r.pump(stop) })
	background.Go(func() { r.past.follow(r.t.Context(), stop) })
	background.Go(func() { r.splitShards() })
	writer := r.write()
	replication := r.startReplication()
	all.Go(func() {
		r.pause(r.plan.starts[seeder])
		r.keep(seeder, "", nil, r.commandLine("seed", "--checkpoint", "seed.json", "--segments", fmt.Sprint(r.plan.segments))...)
	})
	if chance(dice(r.plan.seed, "verify beside", 0), 0.4) {
		all.Go(func() {
			r.pause(r.plan.starts[live])
			r.keep(live, "", nil, r.commandLine("verify", "--checkpoint", "beside.json", "--settle", "500ms", "--segments", fmt.Sprint(r.plan.segments))...)
		})
	}
	r.pause(time.Until(r.start.Add(r.plan.writing)))
	counts, err := writer.Stop()
	if err != nil {
		r.fail("the application failed: %v", err)
	}
	r.tally.add("writes by the application", counts.Total())
	close(stop) // the pump goes on until it has everything
	all.Wait()
	background.Wait()
	replication.drain()
	r.tally.add("seconds", int(time.Since(r.start).Seconds()))
	r.check()
	r.conclude()
}

func (r *liveRun) write() *traffic.Writer {
	var keys []attrs
	for _, item := range r.plan.items {
		keys = append(keys, keyOf(r.plan.spec, item))
	}
	return traffic.Start(r.t.Context(), r.db, r.source, traffic.Options{Keys: keys, Rate: r.plan.rate, Workers: 4, Seed: r.plan.seed})
}

func (r *liveRun) pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-r.t.Context().Done():
	}
}

func (r *liveRun) splitShards() {
	for i, at := range r.plan.splits {
		random := dice(r.plan.seed, "split", i)
		r.pause(time.Until(r.start.Add(at)))
		r.stream.split(random, time.Now().Add(between(random, 0, time.Second)))
		r.count("shard split")
	}
}

// check compares the tables, has verify do so, plants losses and has it find them.
func (r *liveRun) check() {
	r.requests.Wait()
	found := differences(testkit.Contents(r.t, r.db, r.source), testkit.Contents(r.t, r.db, r.target))
	if len(found) > 0 {
		r.fail("the tables differ in %s", someOf(found))
	}
	r.mustFind("", found)
	losses := drawLosses(dice(r.plan.seed, "losses", 0), r.plan.spec, testkit.ScanAll(r.t, r.db, r.target), r.plan.absent)
	for _, l := range losses {
		if l.item == nil {
			testkit.Delete(r.t, r.db, r.target, l.key)
		} else {
			testkit.Put(r.t, r.db, r.target, l.item)
		}
	}
	r.tally.add("planted losses", len(losses))
	found = differences(testkit.Contents(r.t, r.db, r.source), testkit.Contents(r.t, r.db, r.target))
	r.tally.add("planted losses found", len(found))
	r.mustFind(" with planted losses", found)
}

// TestLive plays runs with a real engine and the built programs.
func TestLive(t *testing.T) {
	if testkit.EngineName() != testkit.Dynoxide {
		t.Skip("the stream is dealt out from an engine whose streams have one shard")
	}
	testkit.BadRequests(t, "the shards that the stream is dealt out to have short names", contract.Length)
	testkit.BadAnswers(t, "so they are in answers, and a throttled read of them has the code of a table", contract.Length, contract.Exception)
	all := newTally()
	start := time.Now()
	eachRun(t, "live", 3, func(t *testing.T, seed uint64) {
		pl := newLivePlan(seed)
		newLiveRun(t, pl, all).run()
		all.add("runs", 1)
		if pl.asLambda {
			all.add("runs with the Lambda", 1)
		}
		if pl.real {
			all.add("runs with unscaled time-outs", 1)
		}
	})
	t.Logf("in %s: %s", time.Since(start).Round(time.Second), all)
}
