package stream

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"reseal/internal/call"

	"golang.org/x/sync/errgroup"
)

// relistInterval is how often the shards are listed while none ends: a shard splits about every four hours, and its end is
// seen by its reader, so this only finds what nobody waits for.
const relistInterval = 15 * time.Second

// confirmations is how often in a row the service has to say that a shard is gone. What it says is eventually consistent.
const confirmations = 3

// lossConfirmations is likewise how often in a row listings have to lack a shard before that ends the replication, for which only another
// seed makes up: about half a minute.
const lossConfirmations = 30

// errIdle ends all goroutines of a replication that is done.
var errIdle = errors.New("the stream is idle")

// Run follows the stream until it is idle, for Options.UntilIdle, and returns nil then; or until ctx ends, whose error it returns; or
// until an error that no repetition makes up for.
//
//  1. List the shards.
//  2. Start a reader for each that is not drained and whose parents are all drained or no longer in the stream: a key's records move
//     from a parent to its child, so the parent's must be applied first.
//  3. A parent that is listed only after a child of it was begun is read before the child goes on; if it holds any record, the child
//     begins again (see halt).
//  4. With UntilIdle, end when every shard has been empty for the whole of that time (see idle), and both tables and the stream
//     are still those of the start.
//  5. When a reader has drained its shard, go to 2; after a while go to 1.
func (t *Follower) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.coordinate(ctx, group) })
	err := group.Wait()
	if errors.Is(err, errIdle) {
		return nil
	}
	return err
}

func (t *Follower) coordinate(ctx context.Context, group *errgroup.Group) error {
	readers := map[string]*reader{} // also in t.readers, for others
	ended := make(chan struct{}, 1)
	latest := t.options.Latest && !t.position.resumed
	shards := t.position.listing()
	var err error
	for relist := true; ; {
		if relist {
			if shards, err = t.survey(ctx, shards, readers); err != nil {
				return err
			}
			if err := t.options.Sink.Look(ctx); err != nil {
				return err
			}
			t.pass(shards, latest)
			t.position.forget(shards)
			if err := t.halt(ctx, shards, readers); err != nil {
				return err
			}
		}
		t.toOpen(shards)
		for _, shard := range t.ready(shards, readers) {
			t.begin(ctx, group, shards, readers, shard, latest, ended)
		}
		latest = false // a shard that comes later holds nothing from before the start, or the end of one that does
		t.show(shards, readers)
		if err := t.finished(ctx, shards, readers); err != nil {
			return err
		}
		if relist, err = t.waitForChange(ctx, ended, t.relistAt(shards, readers)); err != nil {
			return err
		}
	}
}

// begin starts the reader of a shard.
func (t *Follower) begin(ctx context.Context, group *errgroup.Group, shards listing, readers map[string]*reader, shard string, latest bool, ended chan<- struct{}) {
	after := shards.descendants(shard)
	late := false
	for one := range after {
		late = late || t.position.known(one)
	}
	parent := shards.parents[shard]
	t.position.begin(shard, parent, shards.starts[shard], latest, late)
	if late && t.position.known(parent) {
		// Its parent may have been applied after what follows it: while this one was not listed, nothing told that they belong together.
		t.position.replay(shard, after)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	r := &reader{
		tailer: t, shard: shard, latest: latest, closed: shards.closed[shard], after: after,
		cancel: cancel, stopped: make(chan struct{}),
	}
	readers[shard] = r
	group.Go(func() error {
		defer close(r.stopped)
		defer cancel(nil)
		err := r.run(ctx, ended)
		if err != nil && context.Cause(ctx) == errHalted {
			return nil
		}
		return err
	})
}

// survey lists the shards and makes sure that none is gone that the checkpoint still needs, and that a parent which isn't listed is
// really not there: what the service lists is eventually consistent, so it has to say so several times. Shards that were listed
// before, in this run or in one that it resumes, count as listed, until a day after they are drained: if they are gone, their readers learn it from the service. So does that
// of a shard which is being read.
func (t *Follower) survey(ctx context.Context, before listing, readers map[string]*reader) (listing, error) {
	for try := 1; ; try++ {
		shards := t.first
		if t.first.parents == nil {
			var err error
			if shards, err = t.listPatiently(ctx); err != nil {
				return shards, err
			}
		}
		t.first = listing{}
		shards.include(before, t.position.isRecent)
		missing, is := t.position.missing(shards, readers)
		orphan, isOrphan := t.orphan(shards)
		switch {
		case !is && !isOrphan:
			return shards, nil
		case try < confirmations:
		case (is || t.position.mayLack()) && try < lossConfirmations:
		case is:
			return shards, fmt.Errorf("shard %s is gone: %w", missing, ErrTrimmed)
		case t.position.mayLack():
			return shards, fmt.Errorf("shard %s, which precedes %s, is gone: %w", shards.parents[orphan], orphan, ErrTrimmed)
		default:
			return shards, nil
		}
		before = shards
		if err := call.Sleep(ctx, 4*t.poll()); err != nil {
			return shards, err
		}
	}
}

// listPatiently is list, repeated for as long as the replication goes on in spite of failures.
func (t *Follower) listPatiently(ctx context.Context) (listing, error) {
	p := t.patience("")
	for {
		shards, err := t.list(ctx)
		if err == nil {
			p.succeeded()
			return shards, nil
		}
		if err := p.again(ctx, err); err != nil {
			return shards, err
		}
	}
}

// orphan returns a shard that was not begun and has a parent of which nothing is known: trimmed, or not listed for a moment.
func (t *Follower) orphan(shards listing) (string, bool) {
	for shard, parent := range shards.parents {
		if _, listed := shards.parents[parent]; parent != "" && !listed && !t.position.known(shard) && !t.position.known(parent) {
			return shard, true
		}
	}
	return "", false
}

// pass marks shards as drained that must not be read: at the start with LATEST, all that have a child, which are closed and so get no
// new records; and later those that come before one that was begun with LATEST.
func (t *Follower) pass(shards listing, latest bool) {
	for shard := range shards.parents {
		if !latest && !t.position.of(shard).Latest {
			continue
		}
		for _, ancestor := range shards.ancestors(shard) {
			if _, listed := shards.parents[ancestor]; listed && !t.position.known(ancestor) {
				t.position.drained(ancestor)
			}
		}
	}
}

// errHalted ends a reader whose shard has to wait for one that comes before it.
var errHalted = errors.New("a shard that comes before was listed late")

// halt stops the readers of shards that were begun though a shard that comes before them isn't drained. It was not listed then. They
// start again, where they were, when it is: unless it holds a record, which takes their positions back (see Positions.replay). All
// their records are applied again then, in order, so the last one of each key wins in the end.
func (t *Follower) halt(ctx context.Context, shards listing, readers map[string]*reader) error {
	for shard, r := range readers {
		if !t.waits(shards, shard) {
			continue
		}
		r.cancel(errHalted)
		select {
		case <-r.stopped:
		case <-ctx.Done():
			return ctx.Err()
		}
		delete(readers, shard)
		t.caughtUp(shard)
	}
	return nil
}

// waits tells whether a shard that comes before this one is still to be applied.
func (t *Follower) waits(shards listing, shard string) bool {
	for _, ancestor := range shards.ancestors(shard) {
		_, listed := shards.parents[ancestor]
		if (listed || t.position.known(ancestor)) && !t.position.isDrained(ancestor) {
			return true
		}
	}
	return false
}

// ready returns the shards to start reading.
func (t *Follower) ready(shards listing, readers map[string]*reader) []string {
	var list []string
	for shard := range shards.parents {
		if readers[shard] == nil && !t.position.isDrained(shard) && !t.waits(shards, shard) {
			list = append(list, shard)
		}
	}
	return list
}

// finished tells, by an error, that the replication is at its end.
func (t *Follower) finished(ctx context.Context, shards listing, readers map[string]*reader) error {
	since, idle := t.idle(shards, readers)
	switch {
	case shards.disabled && (idle || t.allDrained(shards, readers)):
		return ErrDisabled
	case idle:
		if err := t.confirm(ctx); err != nil {
			return err
		}
		t.position.atTip(since)
		return errIdle
	}
	return nil
}

// idle tells whether there is a time as long as UntilIdle, and since when, from the start up to the listing, in which every shard was
// found empty, and none was missing. A shard that was drained and has no child has only just ended, perhaps: its child may not be
// listed yet. So it counts as empty from its end on, until a later listing shows the child. A stream that lists no shard is one
// whose first isn't listed yet. And a write of unknown outcome may still be carried out, for as long as a request can live.
func (t *Follower) idle(shards listing, readers map[string]*reader) (since time.Time, idle bool) {
	if t.options.UntilIdle <= 0 || len(shards.parents) == 0 || t.options.Sink.Busy() {
		return time.Time{}, false
	}
	since, until := t.start, shards.at
	for shard := range shards.parents {
		if readers[shard] == nil && !t.position.isDrained(shard) {
			return since, false
		}
	}
	for shard, r := range readers {
		if ended := r.endedAt(); !ended.IsZero() {
			if !shards.hasChild[shard] {
				since = later(since, ended)
			}
			continue
		}
		from, to, empty := r.emptyBetween()
		if !empty {
			return since, false
		}
		since = later(since, from)
		if to.Before(until) {
			until = to
		}
	}
	return since, until.Sub(since) >= t.options.UntilIdle
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (t *Follower) allDrained(shards listing, readers map[string]*reader) bool {
	for shard := range shards.parents {
		if !t.position.isDrained(shard) {
			return false
		}
	}
	for _, r := range readers {
		if r.endedAt().IsZero() {
			return false
		}
	}
	return true
}

// relistAt is when the shards are worth listing again: soon if a shard has just ended and its child is not known yet.
func (t *Follower) relistAt(shards listing, readers map[string]*reader) time.Time {
	wait := relistInterval
	if t.options.UntilIdle > 0 {
		wait = min(wait, max(t.options.UntilIdle/4, t.poll()))
	}
	for shard, r := range readers {
		ended := r.endedAt()
		if (!shards.hasChild[shard] || shards.at.Before(ended)) && !ended.IsZero() && time.Since(ended) < relistInterval {
			wait = min(wait, 4*t.poll())
		}
	}
	return shards.at.Add(wait)
}

// waitForChange waits until a reader has drained its shard or it is time to list the shards again.
func (t *Follower) waitForChange(ctx context.Context, ended <-chan struct{}, due time.Time) (relist bool, err error) {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-ended:
		return false, nil
	case <-timer.C:
		return true, nil
	}
}

// show tells others which shards and readers there are.
func (t *Follower) show(shards listing, readers map[string]*reader) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.listed, t.readers = shards, maps.Clone(readers)
}
