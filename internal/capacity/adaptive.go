package capacity

import (
	"math"
	"time"
)

// adaptive moves a limiter's rate. It judges once in a window: while nothing is throttled and the rate is used, the rate grows, up to
// the most.
//
// A considerate one makes room for others who use the same table, and come first: the source's application, and the replicator that
// writes to the target. They are throttled when we are. So at the first throttled request nothing is sent for a pause, in which the
// table catches up; then the rate is half of what was taken, and comes back slowly. Each time that it is throttled again costs the
// others some requests, so those times must be rare. How much the others take can't be seen in any other way: a table serves
// everybody, also beyond its capacity, until what it has saved up is spent (up to 300 s of it; DynamoDB developer guide, "Burst
// capacity"), and then turns away whoever comes next.
//
// The other kind finds the rate that a table on demand serves, for nobody else: multiplicative decrease when something was throttled.
// The step of its increase is a part of the most that the table has served lately: a fixed one would overrun a small table and take
// minutes to come back to a large one's rate. After throttling, the rate becomes a little less than what was consumed in the window:
// that much the table did serve, whatever was asked of it. If only one hot partition throttles, the others' part is in that figure
// too, so they aren't slowed down. But a table that serves nothing for a moment (a partition splits) tells nothing of what it will
// serve after it, so a window takes no more than half of the rate.
//
// Where it is known that only a part of the table throttles, neither kind slows down.
type adaptive struct {
	rate        float64 // units a second
	most        float64 // that it grows to; +Inf: no end is known
	increase    float64 // each window, until something throttles: a part of the most, or if that has no end, of the best window
	back        float64 // likewise once something did
	considerate bool
	steady      bool // it doesn't move at all
	partly      func() bool

	best      float64 // units a second served in the best window, forgotten slowly
	last      float64 // units a second served in the last window; 0: not known
	start     time.Time
	units     float64   // consumed in this window
	throttled bool      // something was, in this window
	resume    time.Time // nothing is sent before
	pause     time.Duration

	slowed          int64 // how often it fell
	lowest, highest float64
}

const (
	adaptWindow   = time.Second
	adaptIncrease = 0.02 // of the best window, each window: from nothing to all of it in 50 s
	adaptForget   = 0.99 // of the best window is left after each window
	adaptDecrease = 0.97 // of what was consumed
	adaptDrop     = 0.5  // of the rate: the most that it falls at a time
	adaptUsed     = 0.8  // of the rate: less says that it isn't the rate that limits
	adaptLeast    = 5    // units a second

	// comeBack is the increase of a considerate one after it was throttled: from half of the limit to all of it in 200 s. Where it was
	// left to us how much we take, it is half of that: the more seldom we are in the others' way, the better.
	comeBack        = 0.0025
	comeBackDefault = comeBack / 2

	// For leastPause nothing is sent after a throttled request; for longer if the one before was only just before it.
	leastPause = time.Second
	mostPause  = 4 * time.Second
	justBefore = 10 * time.Second
)

func newAdaptive(rate, most, increase float64, considerate bool) *adaptive {
	return &adaptive{
		rate: rate, most: most, increase: increase, back: comeBack, considerate: considerate,
		partly: func() bool { return false }, lowest: rate, highest: rate,
	}
}

// consumed counts units and returns the rate that holds from now on, and whether it is another than before.
func (a *adaptive) consumed(now time.Time, units float64) (float64, bool) {
	if a.start.IsZero() {
		a.start = now
	}
	a.units += units
	elapsed := now.Sub(a.start)
	if elapsed < adaptWindow {
		return a.rate, false
	}
	before, served := a.rate, a.units/elapsed.Seconds()
	a.best, a.last = max(served, a.best*adaptForget), served
	switch {
	case a.throttled && (a.considerate || a.partly()):
	case a.throttled:
		a.fall(max(adaptLeast, min(a.rate, served)*adaptDecrease, a.rate*adaptDrop))
	case served >= a.rate*adaptUsed:
		a.rate = min(a.most, a.rate+a.step())
		a.highest = max(a.highest, a.rate)
	}
	a.start, a.units, a.throttled = now, 0, false
	return a.rate, a.rate != before
}

// step is what the rate grows by.
func (a *adaptive) step() float64 {
	base, part := a.most, a.increase
	if math.IsInf(base, 1) {
		base = a.best
	}
	if a.considerate && a.slowed > 0 {
		part = a.back
	}
	return part * base
}

// throttle notes a throttled request, and returns what consumed does. Those that were under way when the rate fell don't count again.
func (a *adaptive) throttle(now time.Time) (float64, bool) {
	a.throttled = true
	if a.steady || !a.considerate || now.Before(a.resume) || a.partly() {
		return a.rate, false
	}
	before, taken := a.rate, a.rate
	if a.last > 0 {
		taken = min(a.rate, max(a.last, a.rate/4)) // half of a rate that isn't used up would be no less than before
	}
	a.fall(max(a.least(), taken*adaptDrop))
	if now.Sub(a.resume) < justBefore {
		a.pause = min(2*a.pause, mostPause)
	} else {
		a.pause = leastPause
	}
	a.resume = now.Add(a.pause)
	a.start, a.units, a.throttled, a.last = a.resume, 0, false, 0
	return a.rate, a.rate != before
}

func (a *adaptive) fall(rate float64) {
	a.rate = min(rate, a.rate)
	a.slowed++
	a.lowest = min(a.lowest, a.rate)
}

// least is the rate below which a considerate one doesn't fall: somebody has to get on.
func (a *adaptive) least() float64 {
	if math.IsInf(a.most, 1) {
		return adaptLeast
	}
	return min(a.most, max(0.5, a.most/50))
}
