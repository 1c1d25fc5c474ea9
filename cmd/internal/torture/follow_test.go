package torture

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reseal/verify"
)

// TestFollowing plays simulated runs in which "verify --follow" reads the stream beside replication, and the target loses items.
func TestFollowing(t *testing.T) {
	all := newTally()
	start := time.Now()
	eachRun(t, "following", 30, func(t *testing.T, seed uint64) {
		folder := fastFolder(t)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
			defer cancel()
			pl := newFollowingPlan(seed)
			w := newSimWorld(t, pl, folder, all)
			w.ctx = ctx
			w.runFollowing()
			all.add("changes by the application", len(pl.changes))
			all.add("runs", 1)
		})
	})
	t.Logf("in %s: %s", time.Since(start).Round(time.Second), all)
}

// followed is what is seen of the verification that follows. It is safe for concurrent use.
type followed struct {
	mu     sync.Mutex
	scans  map[*process]time.Time // when each run of it began to scan
	looks  []string               // tables that were read by key, one after the other
	broken map[string]bool        // late writes that were made
	seeded time.Time              // when the seed was done
	pages  map[string]time.Time   // when the replicator began to read, or to be given, the page of a shard that it is at
}

// begins is told of each request.
func (f *followed) begins(p *process, op string) {
	kind, table, _ := strings.Cut(op, " ")
	if p.role != follower || kind != "Scan" && kind != "BatchGetItem" {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if kind == "BatchGetItem" {
		f.looks = append(f.looks, table)
		return
	}
	if f.scans == nil {
		f.scans = map[*process]time.Time{}
	}
	if f.scans[p].IsZero() {
		f.scans[p] = time.Now()
	}
}

// scanned is when the first scan began, of those that the verdict rests on: each change from a time on, of the service's, was followed.
func (f *followed) scanned(since time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	var first time.Time
	for _, at := range f.scans {
		if !at.Before(since) && (first.IsZero() || at.Before(first)) {
			first = at
		}
	}
	return first
}

func (f *followed) isSeeded() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seeded = time.Now()
}

func (f *followed) seededAt() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seeded
}

// isDropped tells whether a broken replicator loses a write.
func (w *simWorld) isDropped(p *process, key, item attrs) bool {
	if w.plan.following == nil || p.role != replicator || !w.plan.following.dropped[id(key, item)] {
		return false
	}
	w.count("write dropped")
	return true
}

// takesPage is told that the replicator is about to get records of a shard.
func (w *simWorld) takesPage(p *process, shard string) {
	if w.plan.following == nil || p.role != replicator {
		return
	}
	w.followed.mu.Lock()
	defer w.followed.mu.Unlock()
	if w.followed.pages == nil {
		w.followed.pages, w.followed.broken = map[string]time.Time{}, map[string]bool{}
	}
	w.followed.pages[shard] = time.Now()
}

// wasApplied has an older value come to the target some time after a write of the replicator's: that of a request which was sent for an
// earlier page, and is carried out as late as a request can be. Not while a seed runs: that an item agrees which the seed has written
// says nothing of the replicator, so only later changes are taken. Nor
// when replication is later than any look counts with.
func (w *simWorld) wasApplied(p *process, key, item attrs) {
	if w.plan.following == nil || p.role != replicator {
		return
	}
	late, is := w.plan.following.late[id(key, item)]
	if !is {
		return
	}
	shard, made := w.recordOf(key, item)
	w.followed.mu.Lock()
	defer w.followed.mu.Unlock()
	at := w.followed.pages[shard].Add(late.after)
	if w.followed.broken[id(key, item)] || w.followed.seeded.IsZero() || made.Before(w.followed.seeded) || time.Since(made) > verify.DefaultLifetime || !at.After(time.Now()) {
		return
	}
	w.followed.broken[id(key, item)] = true
	w.count("older value written late")
	time.AfterFunc(time.Until(at), func() { w.target.set(key, late.item, time.Now(), "late write") })
}

// recordOf is the shard that tells of a change, and when that was made.
func (w *simWorld) recordOf(key, item attrs) (shard string, made time.Time) {
	s := w.stream()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, one := range s.shards {
		for _, e := range one.records {
			if id(e.record.key, e.record.item) == id(key, item) {
				shard, made = one.id, e.record.made.Add(-w.plan.expiry.ahead)
			}
		}
	}
	return shard, made
}

// runFollowing plays the run to its end:
//
//  1. The application writes, shards split, replication and a seed go on, and a verification follows, from some time on; all of them
//     are disturbed, and the target loses items.
//  2. When the application has stopped and replication has drained, the verification is told to end as soon as no key is open. It must
//     have named each item that differs, and nothing that didn't.
//  3. Another one goes on from its checkpoint, until all is quiet. Perhaps something is changed meanwhile that nobody replicates.
func (w *simWorld) runFollowing() {
	var all, replicating, verifying sync.WaitGroup
	quiet := make(chan struct{})
	all.Go(func() { w.write(w.start) })
	all.Go(func() { w.splitShards(w.start) })
	all.Go(func() { time.Sleep(w.plan.starts[seeder]); w.seed(); w.followed.isSeeded() })
	verifying.Go(func() { time.Sleep(w.plan.following.start); w.spoilBefore(); w.follow("", quiet) })
	replication := w.startReplication(&replicating)
	all.Wait()
	w.setDrained()
	replication.drain()
	replicating.Wait()
	time.Sleep(lifetime)
	close(quiet)
	verifying.Wait()
	if w.plan.following.coda {
		verifying.Go(w.changeUnseen)
	}
	w.follow(", going on,", nil)
	verifying.Wait()
	w.tally.add("virtual seconds", int(time.Since(w.start).Seconds()))
	if w.ctx.Err() != nil {
		w.t.Errorf("the run did not end in %s", time.Since(w.start))
	}
}

// spoilBefore changes items of the target that the application leaves alone, before the scans, which don't see an older state.
func (w *simWorld) spoilBefore() {
	random := dice(w.plan.seed, "spoilt before", 0)
	now := time.Since(w.start)
	for i, key := range w.plan.keys {
		touched := slices.ContainsFunc(w.plan.changes, func(c change) bool { return c.at > now-30*time.Second && text(c.key) == text(key) })
		if touched || !chance(random, 0.1) {
			continue
		}
		item := attrs(nil)
		if chance(random, 0.6) {
			item = with(key, "lost", number(i))
		}
		w.target.set(key, item, time.Now(), "loss")
		w.count("item spoilt before the scans")
	}
	time.Sleep(w.plan.lag + time.Second)
}

// changeUnseen splits shards, of which the new ones are listed late, and changes items there that nobody replicates.
func (w *simWorld) changeUnseen() {
	random := dice(w.plan.seed, "coda", 0)
	time.Sleep(between(random, codaQuiet/3, codaQuiet))
	for range 1 + random.IntN(3) {
		w.stream().split(random, time.Now().Add(between(random, 3*time.Second, 20*time.Second)))
		w.count("shard split at the end")
	}
	for n := range 1 + random.IntN(4) {
		time.Sleep(between(random, 0, 200*time.Millisecond))
		c := w.change(random, 1000+n)
		for tries := 0; tries < 100 && w.isListed(c.key); tries++ {
			c = w.change(random, 1000+n)
		}
		w.apply(c)
		w.count("change that is not replicated")
	}
}

// isListed tells whether the shard is listed that a change of a key goes to.
func (w *simWorld) isListed(key attrs) bool {
	s, place := w.stream(), uint64(placeOf(0, text(key)))
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.shards, func(one *shard[change]) bool {
		return !one.closed && one.from <= place && place < one.to && !one.listed.After(time.Now())
	})
}

// codaQuiet is for how long all has to be quiet for a verification to end that goes on.
const codaQuiet = 15 * time.Second

// follow runs the verification to its end, again and again if it is ended before: until all keys are closed after quiet, or, if that is
// nil, until nothing happens for a while. Then it judges what it says.
func (w *simWorld) follow(when string, quiet <-chan struct{}) {
	w.t.Helper()
	f := w.plan.following
	var result verify.Result
	var found map[string]string
	w.keep(follower, w.checkpoint(follower), quiet != nil, func(ctx context.Context, p *process) (err error) {
		options := verify.Options{
			Source: p.open(w.source), SourceTable: "source", Target: p.open(w.target), TargetTable: "target",
			Segments: w.plan.segments, MaxMemory: f.maxMemory, Folder: w.folder, Settle: f.settle, Checkpoint: p.checkpoint,
			Consistent: f.consistent, Repair: f.repairs, Follow: verify.FollowOptions{Streams: p.openStreams()},
		}
		found = map[string]string{}
		options.Difference = func(d verify.Difference) error { return w.told(found, d) }
		if quiet == nil {
			options.Follow.UntilQuiet = codaQuiet
		} else {
			stop := make(chan struct{})
			options.Follow.Stop = stop
			options.Follow.Started = func(l *verify.Live) error {
				go w.endWhenClosed(ctx, l, quiet, stop)
				return nil
			}
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		result, err = verify.Run(ctx, options)
		return err
	})
	if w.ctx.Err() == nil && result.Following != nil { // else it never ended by itself, which is told
		w.judgeFollowing(when, result, found)
	}
}

// mostOpen is how long keys may be open after the last change was replicated, and nothing can land any more. The verification may have been
// ended until then, and reads old records again, a few at a time, and some of them several times.
const mostOpen = time.Hour

// endWhenClosed ends a verification when nothing happens any more and no key is open.
func (w *simWorld) endWhenClosed(ctx context.Context, l *verify.Live, quiet <-chan struct{}, stop chan<- struct{}) {
	select {
	case <-ctx.Done():
		return
	case <-quiet:
	}
	time.Sleep(time.Minute) // what was told and agrees now is seen to
	for start := time.Now(); ctx.Err() == nil; time.Sleep(time.Second) {
		status := l.Status()
		if status.Open == 0 && status.CaughtUp && status.Lag < 8*time.Second {
			close(stop)
			return
		}
		if time.Since(start) > mostOpen {
			w.t.Errorf("after %s without a change %+v", mostOpen, status)
			close(stop)
			return
		}
	}
}

// told is what the verification is told by: what differs now. It must be true: within the last minutes there was a time at which the item
// had differed, and the source's had not changed, for the settling time.
func (w *simWorld) told(found map[string]string, d verify.Difference) error {
	key := text(d.Key.Attributes())
	switch {
	case d.Kind == verify.Mended:
		w.count("difference mended")
		delete(found, key)
		return nil
	case d.Kind == verify.Unsettled:
		return nil
	}
	w.count("difference told")
	found[key] = string(d.Kind)
	if !w.haveDiffered(key, d.LastSeen) && w.ordinal("false difference") < 2 {
		w.t.Errorf("%s is told as %s, which it was not: last changed %s, first seen %s, last %s%s", key, d.Kind,
			d.LastChanged.Format("04:05"), d.FirstSeen.Format("04:05.000"), d.LastSeen.Format("04:05.000"), w.history(key))
	}
	return nil
}
