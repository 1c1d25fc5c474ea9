package torture

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reseal/verify"
)

// onSteady plays a test on tables of 4,000 items that nobody writes to, but for the test.
func onSteady(t *testing.T, play func(w *simWorld, f *followCase)) {
	synctest.Test(t, func(t *testing.T) {
		s := newSteady(t, 0, false)
		play(s.w, &followCase{w: s.w, found: map[string]verify.Difference{}})
	})
}

// followCase is a verification that follows.
type followCase struct {
	w          *simWorld
	checkpoint string
	found      map[string]verify.Difference
	noShards   bool // that was told
}

// run runs it until all is quiet, and calls changes when the scans are over.
func (f *followCase) run(repair bool, changes func()) (verify.Result, error) {
	w := f.w
	p := w.newProcess(follower, f.checkpoint)
	defer w.leaves(p)
	clear(f.found)
	return verify.Run(w.ctx, verify.Options{
		Source: p.open(w.source), SourceTable: "source", Target: p.open(w.target), TargetTable: "target", Segments: 4, MaxMemory: 64 << 20, Folder: w.folder,
		Checkpoint: f.checkpoint, Settle: 30 * time.Second, Repair: repair,
		Difference: func(d verify.Difference) error { f.found[text(d.Key.Attributes())] = d; return nil },
		Progress:   func(now verify.Progress) { f.noShards = f.noShards || now.Following.NoShards },
		Follow: verify.FollowOptions{
			Streams: p.openStreams(), UntilQuiet: 10 * time.Second, Started: func(*verify.Live) error { go changes(); return nil },
		},
	})
}

func nothing() {}

// lose changes an item of the source that nobody replicates.
func (f *followCase) lose(i int) {
	key := f.w.plan.keys[i]
	f.w.apply(change{key: key, item: with(key, "n", number(1000+i))})
}

// A stream that lists no shard isn't waited for without an end, and nothing is scanned before it does.
func TestFollowingWithoutShards(t *testing.T) {
	onSteady(t, func(w *simWorld, f *followCase) {
		w.streams[0].shards = nil
		start := time.Now()
		_, err := f.run(false, nothing)
		if took := time.Since(start); err == nil || !strings.Contains(err.Error(), "no shard") || took < time.Minute || took > 10*time.Minute || !f.noShards {
			t.Errorf("after %s, told %t: %v", took, f.noShards, err)
		}
		if scanned := w.followed.scanned(start); !scanned.IsZero() {
			t.Errorf("it scanned at %s", scanned)
		}
	})
}

// What is lost after the scans is repaired, and the verification matches then.
func TestFollowingRepairs(t *testing.T) {
	onSteady(t, func(w *simWorld, f *followCase) {
		result, err := f.run(true, func() { f.lose(1); f.lose(2) })
		if err != nil || !result.Match || result.Repaired != 2 || result.Different != 2 || len(f.found) != 2 || len(w.differences()) != 0 {
			t.Errorf("%s (%v): %d repaired, told %v, differ %s", result.Verdict(), err, result.Repaired, f.found, someOf(w.differences()))
		}
	})
}

// Each look reads the source before the target.
func TestFollowingReadsTheSourceFirst(t *testing.T) {
	onSteady(t, func(w *simWorld, f *followCase) {
		if _, err := f.run(false, func() { f.lose(1) }); err != nil {
			t.Fatal(err)
		}
		looks := w.followed.looks
		for i, table := range looks {
			if want := []string{"source", "target"}[i%2]; table != want {
				t.Fatalf("read %q", looks)
			}
		}
		if len(looks) < 4 || len(looks)%2 != 0 {
			t.Errorf("read %q", looks)
		}
	})
}

// A verification goes on from its checkpoint without a scan, also when the shards have split meanwhile.
func TestFollowingGoesOnAfterASplit(t *testing.T) {
	onSteady(t, func(w *simWorld, f *followCase) {
		f.checkpoint = filepath.Join(w.folder, "verify.checkpoint")
		if result, err := f.run(false, nothing); err != nil || !result.Match {
			t.Fatalf("%s (%v)", result.Verdict(), err)
		}
		f.lose(1)
		for n := range 6 {
			w.splitShard(dice(1, "split", n))
		}
		f.lose(2)
		time.Sleep(time.Hour)
		f.lose(3)
		resumed := time.Now()
		result, err := f.run(false, nothing)
		if err != nil || result.Match || !result.Resumed || len(f.found) != 3 || result.Different != 3 {
			t.Errorf("%s (%v): told %v", result.Verdict(), err, f.found)
		}
		if scanned := w.followed.scanned(resumed); !scanned.IsZero() {
			t.Errorf("it scanned at %s", scanned)
		}
	})
}

// A stream that has too many readers is read less often, and that is told; what is lost is still found.
func TestFollowingACrowdedStream(t *testing.T) {
	onSteady(t, func(w *simWorld, f *followCase) {
		w.plan.following.crowded = time.Now().Add(20 * time.Minute)
		result, err := f.run(false, func() { f.lose(1) })
		if err != nil || result.Match || len(f.found) != 1 || !slices.Contains(result.Warnings, verify.ThrottledStream) {
			t.Errorf("%s (%v): told %v, warnings %q", result.Verdict(), err, f.found, result.Warnings)
		}
		took := time.Since(w.start)
		reads := w.ordinal(follower + " GetRecords")
		t.Logf("%d reads of 4 shards in %s", reads, took)
		if perShard := float64(reads) / 4 / took.Seconds(); perShard > 0.5 {
			t.Errorf("%.2f reads a second of each shard", perShard)
		}
	})
}
