package stream

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"reseal/internal/call"
	"reseal/internal/capacity"
)

func TestLagIsTheAgeOfWhatWasAppliedLast(t *testing.T) {
	t.Parallel()
	f := &Follower{position: NewPositions(call.Clock{}), lags: map[string]time.Duration{}, throttled: capacity.NewLimiter(0)}
	f.readTo("a", time.Now().Add(-time.Hour))
	f.readTo("b", time.Now().Add(-time.Minute))
	f.readTo("c", time.Time{})
	if lag := f.Status().Lag.Round(time.Second); lag != time.Hour {
		t.Errorf("lag is %s, want that of shard a", lag)
	}
	f.caughtUp("a")
	if lag := f.Status().Lag.Round(time.Second); lag != time.Minute {
		t.Errorf("lag is %s, want that of shard b", lag)
	}
}

func TestMarkedAsFinal(t *testing.T) {
	t.Parallel()
	lost := errors.New("lost")
	never := func(error) bool { return false }
	if IsFinal(lost, never) || !IsFinal(fmt.Errorf("wrapped: %w", final(lost)), never) {
		t.Error("the mark tells nothing")
	}
}

// Opened is called once, when the last of the shards that were listed at the start has an iterator.
func TestOpened(t *testing.T) {
	t.Parallel()
	calls := 0
	f := &Follower{options: Options{Opened: func() { calls++ }}, position: NewPositions(call.Clock{})}
	f.toOpen(newListing()) // of a stream that lists no shard yet
	shards := newListing()
	shards.put("parent", "", "1", true)
	shards.put("child", "parent", "2", false)
	shards.put("other", "", "3", false)
	f.position.drained("parent")
	f.toOpen(shards)
	f.opened("child")
	f.opened("child")
	f.toOpen(shards)
	if calls > 0 {
		t.Fatal("one shard isn't open")
	}
	f.opened("other")
	f.opened("other")
	if calls != 1 {
		t.Errorf("it was called %d times", calls)
	}
}

// A reader may be the last to open its shard while the listing fails: the race detector sees if both use what isn't guarded.
func TestOpenedWhileTheListingFails(t *testing.T) {
	t.Parallel()
	f := &Follower{options: Options{Opened: func() {}, GiveUp: time.Hour}, opening: map[string]bool{"last": true}}
	var reader sync.WaitGroup
	reader.Go(func() { f.opened("last") })
	start := time.Now()
	p := &patience{tailer: f, since: start}
	if end := p.end(errors.New("no answer")); !end.Equal(start.Add(time.Hour)) {
		t.Errorf("it gives up at %s", end)
	}
	reader.Wait()
}
