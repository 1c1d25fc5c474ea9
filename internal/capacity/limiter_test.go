package capacity

import (
	"context"
	"errors"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// spend has workers make requests of the given cost, each reserved as the estimate and answered after latency, for the given
// time, and returns the units used in it.
func spend(t *testing.T, l *Limiter, workers int, estimate, cost float64, latency, total time.Duration) float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), total)
	defer cancel()
	done := make(chan struct{})
	for range workers {
		go func() {
			defer func() { done <- struct{}{} }()
			for {
				if l.Reserve(ctx, estimate) != nil {
					return
				}
				if call.Sleep(ctx, latency) != nil {
					l.Settle(estimate, Consumed{})
					return
				}
				l.Settle(estimate, Of(cost))
			}
		}()
	}
	for range workers {
		<-done
	}
	return l.Used()
}

func TestLimiterHoldsRate(t *testing.T) {
	const total = time.Minute
	for _, test := range []struct {
		name           string
		rate           float64
		workers        int
		estimate, cost float64
	}{
		{"right", 100, 8, 1, 1},
		{"right, half units", 50, 8, 0.5, 0.5},
		{"right, one worker", 100, 1, 1, 1},
		{"right, larger than the burst", 100, 8, 25, 25},
		{"4 times too low", 100, 8, 1, 4},
		{"4 times too low, one worker", 100, 1, 1, 4},
		{"4 times too low, larger than the burst", 1000, 4, 32, 128},
		{"4 times too high", 100, 8, 4, 1},
		{"4 times too high, one worker", 100, 1, 4, 1},
		{"4 times too high, larger than the burst", 1000, 4, 256, 64},
		{"4 times too high, larger than the burst, one worker", 1000, 1, 512, 128},
		{"fast", 40_000, 64, 25, 25},
		{"slow", 1, 4, 1, 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// With 10 ms, one worker could make 100 requests a second.
				got := spend(t, NewLimiter(test.rate), test.workers, test.estimate, test.cost, time.Millisecond, total)
				want := test.rate * total.Seconds()
				if off := math.Abs(got-want) / want; off > 0.02 {
					t.Errorf("spent %.1f units in %s, want %.1f: %.1f %% off", got, total, want, 100*off)
				}
			})
		})
	}
}

// Estimates that come out too low and too high by turns must not add up to anything.
func TestLimiterHoldsRateWithChangingCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(500)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		last := 0.5
		for i := 0; l.Reserve(ctx, last) == nil; i++ {
			cost := []float64{128, 128, 0.5, 32, 0.5}[i%5]
			l.Settle(last, Of(cost))
			last = cost
		}
		if got := l.Used(); got < 0.98*30_000 || got > 1.02*30_000 {
			t.Errorf("spent %.1f units in a minute, want 30,000", got)
		}
	})
}

func TestLimiterBurst(t *testing.T) {
	for rate, want := range map[float64]float64{0.1: 1, 1: 1, 5: 1, 50: 1, 100: 2, 1000: 20} {
		synctest.Test(t, func(t *testing.T) {
			l := NewLimiter(rate)
			time.Sleep(time.Hour) // however long nothing was used
			start := time.Now()
			reserve(t, l, want)
			if time.Since(start) != 0 {
				t.Errorf("rate %g: a burst of %g units took %s", rate, want, time.Since(start))
			}
			reserve(t, l, 0.5)
			if time.Since(start) == 0 {
				t.Errorf("rate %g: the burst is more than %g units", rate, want)
			}
		})
	}
}

func reserve(t *testing.T, l *Limiter, units float64) (waited time.Duration) {
	t.Helper()
	start := time.Now()
	if err := l.Reserve(t.Context(), units); err != nil {
		t.Fatal(err)
	}
	return time.Since(start)
}

// near allows for the rounding of the bucket's floating-point arithmetic.
func near(got, want time.Duration) bool { return (got - want).Abs() < time.Microsecond }

func TestReserveLargerThanBurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(10) // a burst of 1 unit, for which it waits too
		if d := reserve(t, l, 51); !near(d, 5100*time.Millisecond) {
			t.Errorf("51 units at 10 a second took %s, want 5.1 s", d)
		}
	})
}

func TestSettleGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(10)
		reserve(t, l, 51)
		l.Settle(51, Of(1))
		// 50 units were waited for and not used; the bucket is empty.
		if d := reserve(t, l, 50); d != 0 {
			t.Errorf("what was given back took %s", d)
		}
		if d := reserve(t, l, 1); !near(d, 100*time.Millisecond) {
			t.Errorf("the unit after it took %s, want 100ms", d)
		}
	})
}

func TestSettleTakesMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(10)
		reserve(t, l, 1)
		l.Settle(1, Of(31))
		if d := reserve(t, l, 1); !near(d, 3100*time.Millisecond) {
			t.Errorf("after a debt of 30 units, 1 unit took %s, want 3.1s", d)
		}
		// What is given back pays a debt first.
		l.Settle(1, Consumed{})
		l.Settle(0, Of(1))
		if d := reserve(t, l, 1); !near(d, 100*time.Millisecond) {
			t.Errorf("after one unit given back and one owed, 1 unit took %s, want 100ms", d)
		}
	})
}

func TestCancelledReserveGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(10)
		reserve(t, l, 3)        // the burst, and 2 units waited for
		l.Settle(2, Consumed{}) // which are in credit now
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		cancelled, behind := make(chan error, 1), make(chan error, 1)
		start := time.Now()
		go func() { cancelled <- l.Reserve(ctx, 102) }()
		synctest.Wait()
		go func() { behind <- l.Reserve(t.Context(), 1) }()
		synctest.Wait()
		if err := <-cancelled; !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
			t.Fatalf("error %v after %s, want the deadline's after 1 s", err, time.Since(start))
		}
		// In the second that has passed 10 units came in, and there was the credit of 2. The one behind took 1.
		if err := <-behind; err != nil || !near(time.Since(start), time.Second) {
			t.Errorf("the one behind: error %v after %s, want none after 1 s", err, time.Since(start))
		}
		if d := reserve(t, l, 11); d > 100*time.Millisecond+time.Microsecond {
			t.Errorf("11 units took %s, want at most what the last of them takes", d)
		}
		if d := reserve(t, l, 2); d < 100*time.Millisecond-time.Microsecond {
			t.Errorf("2 units after them took %s, want at least 100ms", d)
		}
		if used := l.Used(); used != 0 {
			t.Errorf("used %g", used)
		}
	})
}

func TestReserveEndedContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, l := range []*Limiter{NewLimiter(0), NewLimiter(1e9)} {
		if err := l.Reserve(ctx, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	}
}

func TestNoLimitNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, rate := range []float64{0, -1} {
			l := NewLimiter(rate)
			for range 100 {
				if d := reserve(t, l, 1e12); d != 0 {
					t.Fatalf("waited %s", d)
				}
				l.Settle(1, Of(1e12))
			}
			if l.Used() != 1e14 {
				t.Errorf("used %g", l.Used())
			}
		}
	})
}

func TestUsedAndThrottled(t *testing.T) {
	l := NewLimiter(1000)
	l.Settle(4, Of(1.5))
	l.Settle(0, Of(2))
	l.Throttle()
	l.Throttle()
	if l.Used() != 3.5 || l.Throttled() != 2 {
		t.Errorf("used %g, throttled %d, want 3.5 and 2", l.Used(), l.Throttled())
	}
}

func TestUnits(t *testing.T) {
	if got := Units(); got.Units != 0 || got.Limiting != 0 || got.Indexes != nil {
		t.Errorf("no answer consumed %+v", got)
	}
	if got := Units(types.ConsumedCapacity{CapacityUnits: aws.Float64(2.5)}, types.ConsumedCapacity{}, types.ConsumedCapacity{CapacityUnits: aws.Float64(4)}); got.Units != 6.5 || got.Limiting != 6.5 {
		t.Errorf("consumed %+v, want 6.5", got)
	}
	capacity := func(units float64) types.Capacity { return types.Capacity{CapacityUnits: &units} }
	table := capacity(3)
	got := Units(types.ConsumedCapacity{
		CapacityUnits: aws.Float64(14), Table: &table,
		GlobalSecondaryIndexes: map[string]types.Capacity{"a": capacity(5), "b": capacity(2)},
		LocalSecondaryIndexes:  map[string]types.Capacity{"c": capacity(4)},
	}, types.ConsumedCapacity{CapacityUnits: aws.Float64(1), Table: &types.Capacity{CapacityUnits: aws.Float64(1)}})
	// The local index takes units of the table: 3 and 4 and the other entry's 1 are more than any global index's.
	if got.Units != 15 || got.Limiting != 8 || len(got.Indexes) != 3 || got.Indexes["a"] != 5 || got.Indexes["c"] != 4 {
		t.Errorf("consumed %+v, want 15 in all, 8 of them limiting", got)
	}
	if global := Units(types.ConsumedCapacity{
		CapacityUnits: aws.Float64(9), Table: &table,
		GlobalSecondaryIndexes: map[string]types.Capacity{"a": capacity(4), "b": capacity(2)},
	}); global.Units != 9 || global.Limiting != 4 {
		t.Errorf("consumed %+v, want 4 limiting", global)
	}
	l := NewLimiter(0)
	l.Settle(0, got)
	l.Settle(0, got)
	if by := l.UsedByIndex(); l.Used() != 30 || by["b"] != 4 {
		t.Errorf("used %g, by index %v", l.Used(), by)
	}
}

// What items cost beyond their own units is found out, and forgotten again.
func TestOverhead(t *testing.T) {
	l := NewLimiter(1000)
	for _, step := range []struct{ units, limiting, least, most float64 }{
		{10, 5, 1, 1}, {10, 0, 1, 1}, {0, 5, 1, 1}, {10, 30, 2.9, 3}, {10, 10, 1, 1.1}, {10, 2, 1, 1},
	} {
		for range 20 {
			l.Learn(step.units, Of(step.limiting))
		}
		if got := l.Overhead(); got < step.least || got > step.most {
			t.Errorf("after %g units for %g: %g, want %g to %g", step.limiting, step.units, got, step.least, step.most)
		}
	}
}

// answered is the error of an answer as the SDK makes it.
func answered(status int, code string) error {
	return &smithy.OperationError{Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
		Err:      &smithy.GenericAPIError{Code: code},
	}}
}

// script is a try that fails with each of the errors in turn and then succeeds with 3 units.
func script(attempts *int, failures ...error) func(context.Context) (Consumed, error) {
	return func(context.Context) (Consumed, error) {
		*attempts++
		if *attempts <= len(failures) {
			return Consumed{}, failures[*attempts-1]
		}
		return Of(3), nil
	}
}

func TestReadRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewLimiter(1)
		reserve(t, l, 1) // the burst
		start, attempts := time.Now(), 0
		throttled := answered(http.StatusBadRequest, "ThrottlingException")
		err := l.Read(t.Context(), call.Policy{}, 10, script(&attempts, throttled, answered(http.StatusInternalServerError, ""), throttled))
		if err != nil || attempts != 4 {
			t.Fatalf("error %v after %d attempts, want none after 4", err, attempts)
		}
		if l.Throttled() != 2 || l.Used() != 13 {
			t.Errorf("throttled %d, used %g, want 2 and 13: the other failure may have cost what was reserved", l.Throttled(), l.Used())
		}
		// 10 s for the first reservation, and, at half of the rate, 20 s for each of the others, since those of all failures are
		// spent; after each throttling a second in which nothing is sent, while the bucket fills; and short back-offs.
		if d := time.Since(start); d < 69*time.Second || d > 72*time.Second+353*time.Millisecond {
			t.Errorf("it took %s", d)
		}
		if d := reserve(t, l, 7); d != 0 {
			t.Errorf("what the estimate was too high is given back after %s", d)
		}
	})
}

func TestReadRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		refused := answered(http.StatusBadRequest, "ValidationException")
		l := NewLimiter(0)
		if err := l.Read(t.Context(), call.Policy{}, 1, script(&attempts, refused)); !errors.Is(err, refused) || attempts != 1 {
			t.Errorf("error %v after %d attempts, want the refusal after 1", err, attempts)
		}
		if l.Throttled() != 0 || l.Used() != 0 {
			t.Errorf("throttled %d, used %g", l.Throttled(), l.Used())
		}
	})
}

func TestReadGivesUp(t *testing.T) {
	for want, failure := range map[time.Duration]error{
		call.DefaultGiveUp:       answered(http.StatusServiceUnavailable, ""),
		call.DefaultGiveUpSlowed: answered(http.StatusBadRequest, "ProvisionedThroughputExceededException"),
	} {
		synctest.Test(t, func(t *testing.T) {
			start, l := time.Now(), NewLimiter(0)
			err := l.Read(t.Context(), call.Policy{}, 1, func(context.Context) (Consumed, error) { return Consumed{}, failure })
			if !errors.Is(err, failure) {
				t.Errorf("error %v, want the cause in it", err)
			}
			if d := time.Since(start); d <= want || d > want+6*time.Second {
				t.Errorf("gave up after %s, want %s", d, want)
			}
		})
	}
}

func TestReadTimesOutEachAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, attempts := time.Now(), 0
		err := NewLimiter(0).Read(t.Context(), call.Policy{Timeout: 4 * time.Second}, 1, func(ctx context.Context) (Consumed, error) {
			if attempts++; attempts == 3 {
				return Of(1), nil
			}
			<-ctx.Done()
			return Consumed{}, ctx.Err()
		})
		if d := time.Since(start); err != nil || d < 8*time.Second || d > 9*time.Second {
			t.Errorf("error %v after %s, want none after 8 s and two short pauses", err, d)
		}
	})
}

func TestReadEndsWithContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := NewLimiter(0).Read(ctx, call.Policy{}, 1, func(ctx context.Context) (Consumed, error) {
			<-ctx.Done()
			return Consumed{}, errors.New("canceled, as the SDK says it")
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("in a request: error %v", err)
		}
		err = NewLimiter(0).Read(ctx, call.Policy{}, 1, func(context.Context) (Consumed, error) {
			t.Error("a request was made after the context's end")
			return Consumed{}, nil
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("before a request: error %v", err)
		}
	})
}
