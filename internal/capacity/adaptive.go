package capacity

import "time"

// adaptive finds the rate that a table on demand serves: additive increase while nothing is throttled and the rate is used,
// multiplicative decrease when something was. The step of the increase is a part of the most that the table has served lately:
// a fixed one would overrun a small table and take minutes to come back to a large one's rate.
//
// It judges once in a window. After throttling, the rate becomes a little less than what was consumed in the window: that much
// the table did serve, whatever was asked of it. If only one hot partition throttles, the others' part is in that figure too,
// so they aren't slowed down; and where it is known that only a part of the table throttles, the rate stays. But a table that serves nothing for a moment (a partition splits) tells nothing of what it will
// serve after it, so a window takes no more than half of the rate.
type adaptive struct {
	rate      float64 // units a second
	best      float64 // units a second served in the best window, forgotten slowly
	start     time.Time
	units     float64 // consumed in this window
	throttled bool    // something was, in this window
	partly    func() bool
}

const (
	adaptWindow   = time.Second
	adaptIncrease = 0.02 // of the best window, each window: from nothing to all of it in 50 s
	adaptForget   = 0.99 // of the best window is left after each window
	adaptDecrease = 0.97 // of what was consumed
	adaptDrop     = 0.5  // of the rate: the most that it falls at a time
	adaptUsed     = 0.8  // of the rate: less says that it isn't the rate that limits
	adaptLeast    = 5    // units a second
)

func newAdaptive(rate float64) *adaptive {
	return &adaptive{rate: rate, partly: func() bool { return false }}
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
	a.best = max(served, a.best*adaptForget)
	switch {
	case a.throttled && a.partly():
	case a.throttled:
		a.rate = max(adaptLeast, min(a.rate, served)*adaptDecrease, a.rate*adaptDrop)
	case served >= a.rate*adaptUsed:
		a.rate += a.best * adaptIncrease
	}
	a.start, a.units, a.throttled = now, 0, false
	return a.rate, a.rate != before
}
