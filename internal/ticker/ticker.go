// Package ticker calls a function at intervals while something else runs.
package ticker

import (
	"sync"
	"time"
)

// Every calls fn every interval, from one goroutine, until the returned stop is called. stop waits for a call in progress, then
// calls fn once more, so that the last state is seen. A nil fn is never called.
func Every(interval time.Duration, fn func()) (stop func()) {
	if fn == nil {
		return func() {}
	}
	quit := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		t := time.NewTicker(interval)
		defer t.Stop()
		for {
			select {
			case <-quit:
				return
			case <-t.C:
				fn()
			}
		}
	})
	return func() {
		close(quit)
		done.Wait()
		fn()
	}
}

// Report gives a value to a function at intervals, and its last one when stop is called, as Every does. A nil function gets none.
func Report[T any](interval time.Duration, to func(T), value func() T) (stop func()) {
	if to == nil {
		return func() {}
	}
	return Every(interval, func() { to(value()) })
}
