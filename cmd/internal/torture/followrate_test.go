package torture

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/test/testkit"
	"reseal/verify"
)

// steady is a run without faults: an application that writes at a rate, replication that is late by always the same, and a verification that
// follows.
type steady struct {
	w      *simWorld
	late   time.Duration // replication
	rate   int           // writes a second
	length time.Duration // of the application
	lose   bool          // a write a minute

	mu   sync.Mutex
	lost map[string]time.Time // by key: when the write was made that replication lost, and that nothing has mended
	told map[string]time.Duration
}

// While an application makes 200 writes a second to 4,000 items, and replication is 10 s late, nothing is told but what is lost: one write a
// minute, of a key that is left alone for a minute then. That is told within the settling time and ten seconds. When the application has
// stopped, the verification has caught up a minute after replication has. With RESEAL_LONG=1 it takes ten minutes, otherwise two.
func TestFollowingAtRate(t *testing.T) {
	for _, late := range []time.Duration{300 * time.Millisecond, 10 * time.Second} {
		for _, lose := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s late, lost %t", late, lose), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) { newSteady(t, late, lose).play() })
			})
		}
	}
}

func newSteady(t *testing.T, late time.Duration, lose bool) *steady {
	pl := &plan{
		seed: 1, spec: testkit.TableSpec{Hash: "pk:S"}, shards: 4, segments: 8, page: 100, pace: 20 * time.Millisecond, visible: 500 * time.Millisecond,
		following: &following{settle: 30 * time.Second, wholePages: true},
	}
	for i := range 4000 {
		key := drawKey(dice(1, "key", i), pl.spec, i)
		pl.keys, pl.before = append(pl.keys, key), append(pl.before, with(key, "n", number(-1)))
	}
	s := &steady{w: newSimWorld(t, pl, t.TempDir(), newTally()), late: late, rate: 200, length: 2 * time.Minute, lose: lose}
	s.w.ctx, s.lost, s.told = t.Context(), map[string]time.Time{}, map[string]time.Duration{}
	if os.Getenv("RESEAL_LONG") != "" {
		s.length = 10 * time.Minute
	}
	for i, key := range pl.keys {
		s.w.target.set(key, pl.before[i], time.Now(), "seed")
	}
	return s
}

func (s *steady) play() {
	w := s.w
	stop := make(chan struct{})
	var live *verify.Live
	scanned := make(chan struct{})
	p := w.newProcess(follower, "")
	var result verify.Result
	var all sync.WaitGroup
	all.Go(func() {
		var err error
		result, err = verify.Run(w.ctx, verify.Options{
			Source: p.open(w.source), SourceTable: "source", Target: p.open(w.target), TargetTable: "target", Segments: w.plan.segments,
			MaxMemory: 64 << 20, Folder: w.folder, Settle: w.plan.following.settle, Difference: s.tell,
			Follow: verify.FollowOptions{Streams: p.openStreams(), Stop: stop, Started: func(l *verify.Live) error { live = l; close(scanned); return nil }},
		})
		if err != nil {
			w.t.Error(err)
		}
	})
	s.write()
	time.Sleep(s.late) // replication has caught up
	<-scanned
	caughtUp := time.Duration(0)
	for start := time.Now(); ; time.Sleep(time.Second) {
		status := live.Status()
		if status.CaughtUp && caughtUp == 0 {
			caughtUp = time.Since(start)
		}
		if status.Open == 0 {
			break
		}
		if time.Since(start) > 5*time.Minute {
			w.t.Errorf("%d keys are open", status.Open)
			break
		}
	}
	close(stop)
	all.Wait()
	w.t.Logf("%s late: caught up %s after replication had; %d records, looked at %d, %.2f units a record; told %v", s.late, caughtUp, result.FollowedRecords, result.LookedAt,
		result.ReadUnits/float64(max(1, result.FollowedRecords)), s.told)
	if caughtUp > time.Minute || !result.CaughtUp || !result.Match || result.Mended != int64(len(s.told)) {
		w.t.Errorf("caught up after %s, %s, %+v", caughtUp, result.Verdict(), result.Following)
	}
	if want := int(s.length / time.Minute); s.lose && len(s.told) != want {
		w.t.Errorf("%d of %d lost updates were told", len(s.told), want)
	}
}

// write is the application, and replication.
func (s *steady) write() {
	random := dice(1, "steady", 0)
	count := int(s.length.Seconds()) * s.rate
	var alone []string
	for n := range count {
		key := s.w.plan.keys[random.IntN(len(s.w.plan.keys))]
		for slices.Contains(alone, text(key)) {
			key = s.w.plan.keys[random.IntN(len(s.w.plan.keys))]
		}
		c := change{key: key, item: with(key, "n", number(n))}
		isLost := s.lose && n%(60*s.rate) == 10*s.rate
		if isLost {
			alone = append(alone, text(key))
			s.isLost(key)
		} else if random.IntN(5) == 0 {
			c.item = nil
		}
		s.w.apply(c)
		if !isLost {
			time.AfterFunc(s.late, func() { s.w.target.set(c.key, c.item, time.Now(), replicator) })
		}
		time.Sleep(time.Second / time.Duration(s.rate))
	}
	for _, key := range s.w.plan.keys { // what is lost at last is written again, too
		if s.isStillLost(key) {
			time.Sleep(time.Minute)
			s.mend(key)
		}
	}
}

// isLost notes that a write of the key is about to be lost, which is made again after a minute.
func (s *steady) isLost(key attrs) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost[text(key)] = time.Now()
	time.AfterFunc(time.Minute, func() { s.mend(key) })
}

func (s *steady) isStillLost(key attrs) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, is := s.lost[text(key)]
	return is
}

func (s *steady) mend(key attrs) {
	if !s.isStillLost(key) {
		return
	}
	item := with(key, "n", number(-2))
	s.w.apply(change{key: key, item: item})
	time.AfterFunc(s.late, func() {
		s.w.target.set(key, item, time.Now(), replicator)
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.lost, text(key))
	})
}

// tell is told of differences.
func (s *steady) tell(d verify.Difference) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := text(d.Key.Attributes())
	at, is := s.lost[key]
	switch {
	case d.Kind == verify.Mended || d.Kind == verify.Unsettled:
	case !is:
		s.w.t.Errorf("%s is told as %s", key, d.Kind)
	case s.told[key] > 0: // again: it has been written
	default:
		if s.told[key] = time.Since(at); s.told[key] > s.w.plan.following.settle+10*time.Second {
			s.w.t.Errorf("%s is told %s after it was lost", key, s.told[key])
		}
	}
	return nil
}
