package stream

import (
	"time"

	"reseal/internal/call"

	"github.com/aws/smithy-go/middleware"
)

// What follows is the time by the service's clock, by which it trims records, and says when they were made. The machine's may be wrong,
// and its monotonic one stands still while the machine sleeps, so the clock is that of the last answer.

// observe takes the clock from an answer, if it shows one that is better than what is known.
func (c *Positions) observe(answer middleware.Metadata) {
	clock := call.ClockOf(answer)
	if known := c.clock.Load(); known != nil && clock != (call.Clock{}) {
		clock = known.Better(clock)
	}
	c.setClock(clock)
}

func (c *Positions) setClock(clock call.Clock) {
	if clock != (call.Clock{}) {
		c.clock.Store(&clock)
	}
}

// at is the service's time at a moment that this process took by time.Now. It can be saved.
func (c *Positions) at(moment time.Time) time.Time {
	if clock := c.clock.Load(); clock != nil {
		moment = clock.At(moment)
	}
	return moment.Round(0).UTC()
}

// Now is the service's time.
func (c *Positions) Now() time.Time { return c.at(time.Now()) }

// since is how long ago a time of the service's was.
func (c *Positions) since(then time.Time) time.Duration { return c.Now().Sub(then) }

// machine is a time of the service's by the machine's clock.
func (c *Positions) machine(then time.Time) time.Time {
	now := time.Now()
	return then.Add(now.Round(0).Sub(c.at(now)))
}
