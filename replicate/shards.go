package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/call"

	"golang.org/x/sync/errgroup"
)

// relistInterval is how often the shards are listed while none ends: a shard splits about every four hours, and its end is
// seen by its reader, so this only finds what nobody waits for.
const relistInterval = 15 * time.Second

// confirmations is how often in a row the service has to say that a shard is gone. What it says is eventually consistent.
const confirmations = 3

// errIdle ends all goroutines of a replication that is done.
var errIdle = errors.New("the stream is idle")

// follow owns the readers of all shards.
//
//  1. List the shards.
//  2. Start a reader for each that is not drained and whose parent is drained or no longer in the stream: a key's records move
//     from a parent to its child, so the parent's must be applied first.
//  3. With UntilIdle, end when every shard has been empty for the whole of that time (see idle).
//  4. When a reader has drained its shard, go to 2; after a while go to 1.
func (t *tailer) follow(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return t.position.saveRegularly(ctx) })
	group.Go(func() error { return t.coordinate(ctx, group) })
	err := group.Wait()
	if errors.Is(err, errIdle) {
		return nil
	}
	return err
}

func (t *tailer) coordinate(ctx context.Context, group *errgroup.Group) error {
	readers := map[string]*reader{}
	ended := make(chan struct{}, 1)
	latest := t.options.From == FromLatest && !t.position.resumed
	var shards listing
	var err error
	for relist := true; ; {
		if relist {
			if shards, err = t.survey(ctx, readers); err != nil {
				return err
			}
			t.pass(shards, latest)
			t.position.forget(shards)
		}
		for _, shard := range t.ready(shards, readers) {
			r := &reader{tailer: t, shard: shard, latest: latest, closed: shards.closed[shard]}
			readers[shard] = r
			t.position.begin(shard)
			group.Go(func() error { return r.run(ctx, ended) })
		}
		latest = false // a shard that comes later holds nothing from before the start, or the end of one that does
		t.setActive(readers)
		if err := t.finished(shards, readers); err != nil {
			return err
		}
		if relist, err = t.waitForChange(ctx, ended, t.relistAt(shards, readers)); err != nil {
			return err
		}
	}
}

// survey lists the shards and makes sure that none is gone that the checkpoint still needs. A shard that is being read need not
// be listed: its reader learns from the service when it is gone.
func (t *tailer) survey(ctx context.Context, readers map[string]*reader) (listing, error) {
	for try := 1; ; try++ {
		shards, err := t.list(ctx)
		if err != nil {
			return shards, err
		}
		missing, is := t.position.missing(shards, readers)
		if !is {
			return shards, nil
		}
		if try == confirmations {
			return shards, fmt.Errorf("shard %s is gone: %w", missing, ErrTrimmed)
		}
		if err := call.Sleep(ctx, 4*t.poll()); err != nil {
			return shards, err
		}
	}
}

// pass marks shards as drained that must not be read. With latest, those are all that have a child: they are closed, so they get
// no new records. Otherwise those whose child has been begun: they were not listed then, that is, trimmed, and what they may
// hold now is older than what is already applied.
func (t *tailer) pass(shards listing, latest bool) {
	for shard, parent := range shards.parents {
		if !latest && !t.position.known(shard) {
			continue
		}
		for _, listed := shards.parents[parent]; listed; _, listed = shards.parents[parent] {
			if !t.position.known(parent) {
				t.position.drained(parent)
			}
			parent = shards.parents[parent]
		}
	}
}

// ready returns the shards to start reading.
func (t *tailer) ready(shards listing, readers map[string]*reader) []string {
	var list []string
	for shard, parent := range shards.parents {
		if readers[shard] != nil || t.position.isDrained(shard) {
			continue
		}
		_, parentListed := shards.parents[parent]
		if t.position.isDrained(parent) || (!parentListed && !t.position.known(parent)) {
			list = append(list, shard)
		}
	}
	return list
}

// finished tells, by an error, that the replication is at its end.
func (t *tailer) finished(shards listing, readers map[string]*reader) error {
	idle := t.idle(shards, readers)
	switch {
	case shards.disabled && (idle || t.allDrained(shards, readers)):
		return ErrDisabled
	case idle:
		return errIdle
	}
	return nil
}

// idle tells whether there is a time as long as UntilIdle, since the start and up to the listing, in which every shard was found
// empty, and none was missing. A shard that was drained and has no child has only just ended, perhaps: its child may not be
// listed yet. So it counts as empty from its end on, until a later listing shows the child.
func (t *tailer) idle(shards listing, readers map[string]*reader) bool {
	if t.options.UntilIdle <= 0 {
		return false
	}
	since, until := t.start, shards.at
	for shard := range shards.parents {
		if readers[shard] == nil && !t.position.isDrained(shard) {
			return false
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
			return false
		}
		since = later(since, from)
		if to.Before(until) {
			until = to
		}
	}
	return until.Sub(since) >= t.options.UntilIdle
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func (t *tailer) allDrained(shards listing, readers map[string]*reader) bool {
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
func (t *tailer) relistAt(shards listing, readers map[string]*reader) time.Time {
	wait := relistInterval
	if t.options.UntilIdle > 0 {
		wait = min(wait, max(t.options.UntilIdle/4, t.poll()))
	}
	for shard, r := range readers {
		if ended := r.endedAt(); !shards.hasChild[shard] && !ended.IsZero() && time.Since(ended) < relistInterval {
			wait = min(wait, 4*t.poll())
		}
	}
	return shards.at.Add(wait)
}

// waitForChange waits until a reader has drained its shard or it is time to list the shards again.
func (t *tailer) waitForChange(ctx context.Context, ended <-chan struct{}, due time.Time) (relist bool, err error) {
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

func (t *tailer) setActive(readers map[string]*reader) {
	active := 0
	for _, r := range readers {
		if r.endedAt().IsZero() {
			active++
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.active = active
}
