package replicate

import (
	"time"

	"reseal/internal/call"

	"github.com/aws/smithy-go/middleware"
)

// What follows is the time by the service's clock, by which it trims records, and says when they were made. The machine's may be wrong,
// and its monotonic one stands still while the machine sleeps, so the clock is that of the last answer.

// observe takes the clock from an answer, if it shows one.
func (c *checkpoint) observe(answer middleware.Metadata) { c.setClock(call.ClockOf(answer)) }

func (c *checkpoint) setClock(clock call.Clock) {
	if clock != (call.Clock{}) {
		c.clock.Store(&clock)
	}
}

// at is the service's time at a moment that this process took by time.Now. It can be saved.
func (c *checkpoint) at(moment time.Time) time.Time {
	if clock := c.clock.Load(); clock != nil {
		moment = clock.At(moment)
	}
	return moment.Round(0).UTC()
}

func (c *checkpoint) now() time.Time { return c.at(time.Now()) }

// since is how long ago a time of the service's was.
func (c *checkpoint) since(then time.Time) time.Duration { return c.now().Sub(then) }

// machine is a time of the service's by the machine's clock.
func (c *checkpoint) machine(then time.Time) time.Time {
	now := time.Now()
	return then.Add(now.Round(0).Sub(c.at(now)))
}
