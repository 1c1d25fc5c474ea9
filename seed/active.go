package seed

import (
	"context"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// maxActiveSegments bounds the goroutines and the segments that the checkpoint has open, however many segments there are: so
// many that go on, and as many that the target has throttled, so that these don't keep others from being begun.
const maxActiveSegments = 32

// activeSegments bounds and counts the segments under way. It is safe for concurrent use.
type activeSegments struct {
	normal, hot   *semaphore.Weighted // each segment has one of the first kind, or, if the target has throttled it, of the second
	running, slow *atomic.Int64       // segments under way, and those of them that the target throttles
}

func newActiveSegments() activeSegments {
	return activeSegments{
		normal: semaphore.NewWeighted(maxActiveSegments), hot: semaphore.NewWeighted(maxActiveSegments),
		running: new(atomic.Int64), slow: new(atomic.Int64),
	}
}

// begin waits until one more segment may be begun.
func (a activeSegments) begin(ctx context.Context) error { return a.normal.Acquire(ctx, 1) }

// partlySlow tells whether the target throttles no more than half of the segments. Each of them is a contiguous part of the
// source's hash space, and so mostly in one partition of the target: if all of it has too much to do, most of them are throttled.
func (a activeSegments) partlySlow() bool { return 2*a.slow.Load() <= a.running.Load() }

// setSlow notes whether the target throttles the segment's page.
func (a activeSegments) setSlow(s *segment, slow bool) {
	if s.slow == slow {
		return
	}
	s.slow = slow
	if slow {
		a.slow.Add(1)
	} else {
		a.slow.Add(-1)
	}
}

// makeWay has another segment begun in place of one that the target throttles, if there aren't too many of those.
func (a activeSegments) makeWay(s *segment) {
	if !s.hot && a.hot.TryAcquire(1) {
		s.hot = true
		a.normal.Release(1)
	}
}

// leave ends a segment.
func (a activeSegments) leave(s *segment) {
	a.setSlow(s, false)
	a.running.Add(-1)
	if s.hot {
		a.hot.Release(1)
	} else {
		a.normal.Release(1)
	}
}
