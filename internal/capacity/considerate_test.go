package capacity

import (
	"testing"
	"testing/synctest"
	"time"
)

// spendFor makes one request of a unit after the other and returns how many there were in each second.
func spendFor(t *testing.T, l *Limiter, total time.Duration) (mean float64) {
	t.Helper()
	before, end := l.Used(), time.Now().Add(total)
	for time.Now().Before(end) {
		reserve(t, l, 1)
		l.Settle(1, Of(1))
	}
	return (l.Used() - before) / total.Seconds()
}

// Whatever the limit is, a throttled request has all others wait for a second, then there is half of the rate, and it comes back
// slowly, to the limit.
func TestThrottlingSlowsDownAtOnce(t *testing.T) {
	given := provisioned(125, 125)
	for name, c := range map[string]struct {
		limiter *Limiter
		limit   float64
		back    time.Duration // from half of the limit
	}{
		"units":          {NewLimiter(100), 100, 200 * time.Second},
		"a share":        {Budget{Share: 0.8}.limiter(125, 0, true), 100, 200 * time.Second},
		"default, write": {Budget{}.limiter(125, 0, false), 100, 200 * time.Second},
		"default, read":  {Budget{}.limiter(float64(*given.ReadCapacityUnits), 0, true), 100, 400 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLimiter(c.limiter.by, c.limiter.adapt) // of this bubble
				spendFor(t, l, 2*time.Minute)
				if l.Rate() != c.limit {
					t.Fatalf("the rate is %g after two minutes, want %g", l.Rate(), c.limit)
				}
				reserve(t, l, 1)
				l.SettleThrottled(1, Consumed{})
				l.SettleThrottled(1, Consumed{}) // one that was under way
				if d := reserve(t, l, 1); d < leastPause || d > leastPause+100*time.Millisecond {
					t.Errorf("the next request waits for %s, want %s", d, leastPause)
				}
				l.Settle(1, Of(1))
				if mean := spendFor(t, l, 10*time.Second); mean < 0.5*c.limit || mean > 0.55*c.limit {
					t.Errorf("%.1f units a second after it, want half of %g", mean, c.limit)
				}
				spendFor(t, l, c.back-30*time.Second)
				if l.Rate() >= c.limit {
					t.Error("it is back too soon")
				}
				spendFor(t, l, 30*time.Second)
				if l.Rate() != c.limit {
					t.Errorf("the rate is %g, want %g again", l.Rate(), c.limit)
				}
				if got := l.Taken(); got.Slowed != 1 || got.Limit != c.limit || got.Lowest > c.limit/2 {
					t.Errorf("taken: %+v", got)
				}
			})
		})
	}
}

// One that is throttled again soon falls further and waits for longer, but never stops.
func TestThrottledAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(100)
		for i, want := range []time.Duration{1, 2, 4, 4, 4, 4, 4, 4} {
			l.SettleThrottled(0, Consumed{})
			if d := reserve(t, l, 1); d < want*time.Second || d > want*time.Second+1100*time.Millisecond {
				t.Errorf("pause %d is %s, want %d s", i, d, want)
			}
		}
		if got := l.Taken(); got.Lowest != 2 || got.Slowed != 8 {
			t.Errorf("taken: %+v", got)
		}
	})
}

// Where only a part of the table throttles, the others go on.
func TestPartlyThrottledGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(100)
		l.Partly(func() bool { return true })
		l.SettleThrottled(1, Consumed{})
		if d := reserve(t, l, 2); d > 20*time.Millisecond || l.Rate() != 100 || l.Taken().Slowed != 0 {
			t.Errorf("waits for %s, %+v", d, l.Taken())
		}
	})
}

// A table on demand that is read is the application's, too: the scan falls to half at the first throttling, and seeks its way up from
// there slowly.
func TestReadingOnDemandSlowsDownAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := Budget{}.limiter(0, 1000, true)
		spendFor(t, l, 5*time.Second)
		before := l.Rate()
		if before <= 1000 {
			t.Errorf("the rate is %g, and was never throttled", before)
		}
		l.SettleThrottled(1, Consumed{})
		if d := reserve(t, l, 1); d < leastPause || l.Rate() > before/2 {
			t.Errorf("waits for %s, at %g of %g", d, l.Rate(), before)
		}
		if spendFor(t, l, 20*time.Second); l.Rate() > 0.6*before {
			t.Errorf("after 20 s at %g of %g", l.Rate(), before)
		}
	})
}
