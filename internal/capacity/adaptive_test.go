package capacity

import (
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/call"
)

// server admits so many units a second, with a second's worth in reserve, and throttles what is beyond.
type server struct {
	rate, tokens float64
	at           time.Time
}

func (s *server) admits(units float64) bool {
	now := time.Now()
	s.tokens = min(s.rate, s.tokens+s.rate*now.Sub(s.at).Seconds())
	s.at = now
	if s.tokens <= 0 {
		return false
	}
	s.tokens -= units
	return true
}

// drive makes one request of 10 units after the other for a time, and returns the mean of its last ten seconds, in units a
// second, and the part of the requests that were throttled.
func drive(t *testing.T, l *Limiter, s *server, total time.Duration) (mean, throttled float64) {
	end := time.Now().Add(total)
	var requests, refused, late float64
	for time.Now().Before(end) {
		if l.Reserve(t.Context(), 10) != nil {
			return 0, 0
		}
		requests++
		if call.Sleep(t.Context(), time.Millisecond) != nil { // the round trip
			return 0, 0
		}
		if !s.admits(10) {
			refused++
			l.SettleThrottled(10, Consumed{})
			continue
		}
		l.Settle(10, Of(10))
		if time.Until(end) < 10*time.Second {
			late += 10
		}
	}
	return late / 10, refused / requests
}

func TestAdaptiveFindsTheRate(t *testing.T) {
	for _, rate := range []float64{100, 2000, 4000, 6000} {
		synctest.Test(t, func(t *testing.T) {
			l, s := NewAdaptiveLimiter(NewTableWrites), &server{rate: rate, tokens: rate, at: time.Now()}
			mean, throttled := drive(t, l, s, 60*time.Second)
			if mean < 0.95*rate || mean > 1.01*rate {
				t.Errorf("of %g units a second, %.0f are used after a minute", rate, mean)
			}
			t.Logf("%g: %.0f units a second, %.2f%% throttled", rate, mean, 100*throttled)
		})
	}
}

// A rate that nobody uses up must not grow: it would be an arbitrary one when it is needed.
func TestAdaptiveHoldsUnusedRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewAdaptiveLimiter(1000)
		for range 600 {
			if err := l.Reserve(t.Context(), 10); err != nil {
				t.Fatal(err)
			}
			l.Settle(10, Of(10))
			if err := call.Sleep(t.Context(), 100*time.Millisecond); err != nil {
				t.Fatal(err)
			}
		}
		if l.Rate() != 1000 {
			t.Errorf("the rate is %g after a minute of 100 units a second", l.Rate())
		}
	})
}

// A hot partition throttles a request in ten, minute after minute: that is no reason for the others to slow down.
func TestAdaptiveWithHotPartition(t *testing.T) {
	for partly, least := range map[bool]float64{true: 0.99, false: 0} {
		synctest.Test(t, func(t *testing.T) {
			const rate = 1000
			l := NewAdaptiveLimiter(rate)
			l.Partly(func() bool { return partly })
			start := time.Now()
			for i := 0; time.Since(start) < time.Minute; i++ {
				if err := l.Reserve(t.Context(), 10); err != nil {
					t.Fatal(err)
				}
				if i%10 == 0 {
					l.SettleThrottled(10, Consumed{})
				} else {
					l.Settle(10, Of(10))
				}
			}
			mean := l.Used() / time.Minute.Seconds() / rate
			if mean < least || mean > 1.01 || !partly && mean > 0.5 {
				t.Errorf("only a part throttles: %t; %.2f of the rate is used", partly, mean)
			}
		})
	}
}

// A table that serves nothing for a few seconds is not one that serves nothing.
func TestAdaptiveRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const rate = NewTableWrites
		l, s := NewAdaptiveLimiter(rate), &server{rate: rate, tokens: rate, at: time.Now()}
		drive(t, l, s, 20*time.Second)
		s.rate, s.tokens = 0, 0
		drive(t, l, s, 4*time.Second)
		s.rate, s.at = rate, time.Now()
		mean, _ := drive(t, l, s, time.Minute)
		if mean < 0.95*rate {
			t.Errorf("a minute after four seconds without any, %.0f units a second are used of %d", mean, rate)
		}
	})
}
