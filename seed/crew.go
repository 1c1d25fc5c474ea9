package seed

import "sync"

// crew is goroutines that go on from one piece of work to the next. The stack that a request needs is grown once for each of them,
// and not once for each request, which is a twentieth of what a copy costs.
type crew struct {
	work chan func()
	done sync.WaitGroup
}

func newCrew() *crew { return &crew{work: make(chan func())} }

// run has one of the crew, or a new one if all are busy, call f.
func (c *crew) run(f func()) {
	select {
	case c.work <- f:
		return
	default:
	}
	c.done.Go(func() {
		f()
		for f := range c.work {
			f()
		}
	})
}

// dismiss waits until all work is done, and ends the crew. There must be no run after it.
func (c *crew) dismiss() {
	close(c.work)
	c.done.Wait()
}
