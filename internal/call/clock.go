package call

import (
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/smithy-go/middleware"
)

// Clock is the clock of a service, as the Date of one of its answers showed it. From then on it goes by the monotonic clock of this
// machine, so what sets the machine's clock doesn't set this one. The Date has whole seconds, and comes some time after it was written, so
// the clock is up to a second and an answer's way late, never early. The zero value is the machine's clock.
type Clock struct {
	date time.Time // of the answer; zero: none was seen
	seen time.Time // when the answer came, by the machine's clock
}

// ClockOf returns the clock that the answer with this ResultMetadata shows. It is the machine's if there was no Date that can be read, as
// in the answer of a client that isn't the SDK's.
func ClockOf(answer middleware.Metadata) Clock {
	date, is := awsmiddleware.GetServerTime(answer)
	seen, came := awsmiddleware.GetResponseAt(answer)
	if !is || !came || date.IsZero() {
		return Clock{}
	}
	return Clock{date: date.UTC(), seen: seen}
}

// Now is the service's time.
func (c Clock) Now() time.Time { return c.At(time.Now()) }

// At is the service's time at a moment that this process took by time.Now.
func (c Clock) At(moment time.Time) time.Time {
	if c.date.IsZero() {
		return moment
	}
	return c.date.Add(moment.Sub(c.seen)) // monotonic: both were taken by time.Now
}

// keepsClock is for how long a clock that is further on is taken for the better one.
const keepsClock = 10 * time.Minute

// Better is the one of two clocks, the older first, that is less late: none is early.
func (c Clock) Better(newer Clock) Clock {
	now := time.Now()
	if c.date.IsZero() || newer.date.IsZero() || now.Sub(c.seen) > keepsClock || newer.At(now).After(c.At(now)) {
		return newer
	}
	return c
}
