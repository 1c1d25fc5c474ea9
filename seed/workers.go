package seed

import "sync"

// workers is goroutines that go on from one piece of work to the next. The stack that a request needs is grown once for each of them,
// and not once for each request, which is a twentieth of what a copy costs.
type workers struct {
	work   chan func()
	places chan struct{} // of the workers
	done   sync.WaitGroup
}

// mostWorkers bounds the requests in flight, each of which takes a connection, its buffers and stacks: about 100 KB. So many are 64,000
// items a second with a latency of 50 ms.
const mostWorkers = 128

func newWorkers() *workers {
	return &workers{work: make(chan func()), places: make(chan struct{}, mostWorkers)}
}

// run has a worker, or a new one if all are busy, call f. It waits for one if there are mostWorkers. f must not call run.
func (w *workers) run(f func()) {
	select {
	case w.work <- f:
		return
	default:
	}
	select {
	case w.work <- f:
	case w.places <- struct{}{}:
		w.done.Go(func() {
			f()
			for f := range w.work {
				f()
			}
		})
	}
}

// dismiss waits until all work is done, and ends the workers. There must be no run after it.
func (w *workers) dismiss() {
	close(w.work)
	w.done.Wait()
}
