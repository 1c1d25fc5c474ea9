// Package capacity meters DynamoDB capacity units and holds requests to a budget of them.
package capacity

import (
	"context"
	"math"
	"sync"
	"time"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/time/rate"
)

// tokensPerUnit: an eventually consistent read costs half a unit, the smallest cost there is.
const tokensPerUnit = 2

// Limiter holds the requests of one table and one direction (reads or writes) to a number of units a second and counts what
// they consumed. It is safe for concurrent use.
//
// A request reserves an estimate before it is sent and settles it with the ConsumedCapacity of its answer, so an estimate
// that was wrong is paid for, or given back, by the requests after it.
type Limiter struct {
	mu        sync.Mutex
	bucket    *rate.Limiter // nil: no limit, the units are only counted
	credit    int           // tokens that were waited for and given back; at most what requests in flight had reserved
	used      float64
	throttled int64
}

// NewLimiter returns a limiter of unitsPerSecond; 0 or less means no limit. The burst is one tenth of a second's units, and at
// least one unit.
func NewLimiter(unitsPerSecond float64) *Limiter {
	if unitsPerSecond <= 0 {
		return &Limiter{}
	}
	tokens := unitsPerSecond * tokensPerUnit
	burst := max(tokensPerUnit, int(math.Ceil(tokens/10)))
	return &Limiter{bucket: rate.NewLimiter(rate.Limit(tokens), burst)}
}

// Reserve waits until the budget has room for the estimated units. It returns the context's error, and takes nothing of the
// budget, if the context ends first.
func (l *Limiter) Reserve(ctx context.Context, units float64) error {
	if err := ctx.Err(); err != nil || l.bucket == nil {
		return err
	}
	tokens := toTokens(units)
	l.mu.Lock()
	credit := min(tokens, l.credit)
	l.credit -= credit
	delay := l.take(tokens - credit)
	l.mu.Unlock()
	err := call.Sleep(ctx, delay)
	if err != nil {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.credit += credit
		// What has not been waited for goes back to the bucket, not to the credit. ReserveN takes a negative number for that;
		// Reservation.Cancel would keep the tokens if others have reserved since.
		l.bucket.ReserveN(time.Now(), credit-tokens)
	}
	return err
}

// take takes tokens out of the bucket and returns how long it takes until they are in it.
func (l *Limiter) take(tokens int) time.Duration {
	now := time.Now()
	var delay time.Duration
	for tokens > 0 {
		n := min(tokens, l.bucket.Burst())
		delay = l.bucket.ReserveN(now, n).DelayFrom(now)
		tokens -= n
	}
	return delay
}

// Read carries out a request that changes nothing: it waits for the budget, tries, settles with the units that try returns,
// and repeats until the request succeeds, is refused, or the policy gives up.
func (l *Limiter) Read(ctx context.Context, p call.Policy, estimate float64, try func(context.Context) (units float64, err error)) error {
	repeat := p.Start()
	for {
		if err := l.Reserve(ctx, estimate); err != nil {
			return err
		}
		attempt, cancel := context.WithTimeout(ctx, p.AttemptTimeout())
		units, err := try(attempt)
		cancel()
		l.Settle(estimate, units)
		outcome := call.Classify(err)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case outcome == call.Refused:
			return err
		case outcome == call.Throttled:
			l.Throttle()
		}
		if err := repeat.Again(ctx, outcome, err); err != nil {
			return err
		}
	}
}

// Settle counts the units that a request consumed and corrects the reservation made for it.
func (l *Limiter) Settle(reserved, consumed float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used += consumed
	if l.bucket == nil {
		return
	}
	// What is given back isn't put into the bucket, which would drop all that is above the burst.
	l.credit += toTokens(reserved) - toTokens(consumed)
	if l.credit < 0 {
		l.take(-l.credit)
		l.credit = 0
	}
}

func toTokens(units float64) int { return int(math.Ceil(units * tokensPerUnit)) }

// Throttle counts one throttled request.
func (l *Limiter) Throttle() {
	l.mu.Lock()
	l.throttled++
	l.mu.Unlock()
}

// Used is the sum of the units settled so far.
func (l *Limiter) Used() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

// Throttled is the number of throttled requests so far.
func (l *Limiter) Throttled() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.throttled
}

// Units is the number of units in the ConsumedCapacity entries of an answer, indexes included.
func Units(consumed ...*types.ConsumedCapacity) float64 {
	sum := 0.0
	for _, c := range consumed {
		if c != nil {
			sum += aws.ToFloat64(c.CapacityUnits)
		}
	}
	return sum
}

// UnitsOf is Units for the answers of batch requests.
func UnitsOf(consumed []types.ConsumedCapacity) float64 {
	sum := 0.0
	for i := range consumed {
		sum += Units(&consumed[i])
	}
	return sum
}
