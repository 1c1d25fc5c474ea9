package seed

import "sync"

// crew is goroutines that go on from one piece of work to the next. The stack that a request needs is grown once for each of them,
// and not once for each request, which is a twentieth of what a copy costs.
type crew struct {
	work   chan func()
	places chan struct{} // of its members
	done   sync.WaitGroup
}

// mostMembers bounds the requests in flight, each of which takes a connection, its buffers and stacks: about 100 KB. So many are 64,000
// items a second with a latency of 50 ms.
const mostMembers = 128

func newCrew() *crew {
	return &crew{work: make(chan func()), places: make(chan struct{}, mostMembers)}
}

// run has one of the crew, or a new member if all are busy, call f. It waits for one if there are mostMembers. f must not call run.
func (c *crew) run(f func()) {
	select {
	case c.work <- f:
		return
	default:
	}
	select {
	case c.work <- f:
	case c.places <- struct{}{}:
		c.done.Go(func() {
			f()
			for f := range c.work {
				f()
			}
		})
	}
}

// dismiss waits until all work is done, and ends the crew. There must be no run after it.
func (c *crew) dismiss() {
	close(c.work)
	c.done.Wait()
}
