package call_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/call"
)

var errPlanted = errors.New("planted")

// pause is how long one Again takes, in virtual time.
func pause(t *testing.T, r *call.Repeat, outcome call.Outcome) time.Duration {
	t.Helper()
	start := time.Now()
	if err := r.Again(t.Context(), outcome, errPlanted); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// forever is a policy that never gives up.
var forever = call.Policy{GiveUp: 1e6 * time.Hour, GiveUpSlowed: 1e6 * time.Hour}

func TestBackoffGrowsAndIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const runs, tries = 400, 14
		var longest, sum [tries]time.Duration
		for range runs {
			repeat := forever.Start()
			for i := range tries {
				d := pause(t, repeat, call.Unknown)
				longest[i], sum[i] = max(longest[i], d), sum[i]+d
			}
		}
		for i := range tries {
			limit := min(5*time.Second, 50*time.Millisecond<<i)
			if longest[i] > limit+time.Millisecond {
				t.Errorf("pause %d: up to %s, want at most %s", i, longest[i], limit)
			}
			// The mean of 400 draws is half of the limit, give or take 3 % (one standard deviation).
			if mean := sum[i] / runs; mean < limit*4/10 || mean > limit*6/10 {
				t.Errorf("pause %d: %s on average, want about %s", i, mean, limit/2)
			}
		}
	})
}

func TestProgressResetsBackoffAndPatience(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		repeat := call.Policy{GiveUp: time.Minute}.Start()
		for range 50 { // 50 times 40 s of failures, more than the patience in all
			for start := time.Now(); time.Since(start) < 40*time.Second; {
				pause(t, repeat, call.Unknown)
			}
			repeat.Progress()
			if d := pause(t, repeat, call.Unknown); d > 51*time.Millisecond {
				t.Fatalf("the first pause after progress is %s", d)
			}
			repeat.Progress()
		}
	})
}

// until repeats until Again gives up and returns how long that took, and the error.
func until(t *testing.T, r *call.Repeat, outcome func(spent time.Duration) call.Outcome) (time.Duration, error) {
	t.Helper()
	start := time.Now()
	for {
		if err := r.Again(t.Context(), outcome(time.Since(start)), errPlanted); err != nil {
			return time.Since(start), err
		}
		if time.Since(start) > 24*time.Hour {
			t.Fatal("it never gives up")
		}
	}
}

func TestGivesUp(t *testing.T) {
	always := func(o call.Outcome) func(time.Duration) call.Outcome {
		return func(time.Duration) call.Outcome { return o }
	}
	tries := 0
	alternating := func(time.Duration) call.Outcome {
		tries++
		return []call.Outcome{call.Throttled, call.Unknown}[tries%2]
	}
	for _, test := range []struct {
		name    string
		policy  call.Policy
		outcome func(time.Duration) call.Outcome
		after   time.Duration
	}{
		{"unknown", call.Policy{}, always(call.Unknown), call.DefaultGiveUp},
		{"not sent", call.Policy{}, always(call.NotSent), call.DefaultGiveUp},
		{"throttled", call.Policy{}, always(call.Throttled), call.DefaultGiveUpSlowed},
		{"own patience", call.Policy{GiveUp: 7 * time.Second}, always(call.Unknown), 7 * time.Second},
		{"own patience when throttled", call.Policy{GiveUpSlowed: 33 * time.Second}, always(call.Throttled), 33 * time.Second},
		// A service that throttles answers, so a failure in between is the first one; but it doesn't go on for ever.
		{"failures among throttling", call.Policy{GiveUp: 30 * time.Second}, alternating, call.DefaultGiveUpSlowed},
		{"failures after throttling", call.Policy{}, func(s time.Duration) call.Outcome {
			if s < 5*time.Minute {
				return call.Throttled
			}
			return call.Unknown
		}, 5*time.Minute + call.DefaultGiveUp},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				after, err := until(t, test.policy.Start(), test.outcome)
				if !errors.Is(err, errPlanted) || !strings.Contains(err.Error(), "gave up after") {
					t.Errorf("error %v", err)
				}
				// The last pauses are up to 5 s each, and two of them may lie around the change of outcome.
				if after <= test.after || after > test.after+12*time.Second {
					t.Errorf("gave up after %s, want %s", after, test.after)
				}
			})
		})
	}
}

func TestAgainEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		repeat := forever.Start()
		for range 20 { // so that the next pause is likely to be long
			if err := repeat.Again(ctx, call.Throttled, errPlanted); err != nil {
				t.Fatal(err)
			}
		}
		time.AfterFunc(time.Microsecond, cancel)
		start := time.Now()
		if err := repeat.Again(ctx, call.Throttled, errPlanted); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v, want context.Canceled", err)
		}
		if spent := time.Since(start); spent != time.Microsecond {
			t.Errorf("it ended %s after the call, want 1µs", spent)
		}
	})
}

func TestSleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := call.Sleep(t.Context(), time.Hour); err != nil || time.Since(start) != time.Hour {
			t.Errorf("slept %s, error %v", time.Since(start), err)
		}
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 100 { // either of two ready channels would be taken at random
			for _, d := range []time.Duration{-1, 0, time.Nanosecond} {
				if err := call.Sleep(ended, d); !errors.Is(err, context.Canceled) {
					t.Fatalf("sleep %d with an ended context: error %v", d, err)
				}
			}
		}
		if err := call.Sleep(t.Context(), -1); err != nil {
			t.Error(err)
		}
	})
}

func TestPolicy(t *testing.T) {
	if got := (call.Policy{}).AttemptTimeout(); got != call.DefaultTimeout {
		t.Errorf("time-out %s", got)
	}
	p := call.Policy{Timeout: 8 * time.Second}
	if p.AttemptTimeout() != 8*time.Second || p.Lifetime() != 10*time.Second {
		t.Errorf("time-out %s, lifetime %s", p.AttemptTimeout(), p.Lifetime())
	}
}
