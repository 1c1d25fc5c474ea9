package ticker_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/ticker"
)

func TestEvery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		stop := ticker.Every(time.Second, func() { calls.Add(1) })
		for want := range int64(4) {
			synctest.Wait()
			if got := calls.Load(); got != want {
				t.Errorf("%d calls after %d s", got, want)
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		stop()
		if got := calls.Load(); got != 5 {
			t.Errorf("%d calls, want 4 and the last one", got)
		}
		time.Sleep(time.Hour)
		if got := calls.Load(); got != 5 {
			t.Errorf("%d calls after stop", got-5)
		}
	})
}

func TestStopCallsOnceMoreBeforeTheFirstTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		ticker.Every(time.Hour, func() { calls++ })()
		if calls != 1 {
			t.Errorf("%d calls, want 1", calls)
		}
	})
}

func TestStopWaitsForCallInProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		running, calls := 0, 0 // without a lock: the race detector tells if two calls overlap
		stop := ticker.Every(time.Second, func() {
			running++
			time.Sleep(700 * time.Millisecond)
			calls++
			running--
		})
		time.Sleep(1100 * time.Millisecond) // 100 ms into the first call
		start := time.Now()
		stop()
		if running != 0 || calls != 2 || time.Since(start) != 1300*time.Millisecond {
			t.Errorf("stop returned after %s, %d calls running, %d done; want 1.3s (the rest of one, and another), 0, 2",
				time.Since(start), running, calls)
		}
	})
}

func TestEveryNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := ticker.Every(time.Second, nil)
		time.Sleep(time.Minute)
		stop()
	})
}
