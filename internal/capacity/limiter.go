// Package capacity meters DynamoDB capacity units and holds requests to a budget of them.
package capacity

import (
	"context"
	"fmt"
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
	bucket *rate.Limiter // nil: no limit, the units are only counted

	mu        sync.Mutex
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

// Reserve waits until the budget has room for the estimated units. It returns the context's error if that ends first.
func (l *Limiter) Reserve(ctx context.Context, units float64) error {
	if err := ctx.Err(); err != nil || l.bucket == nil {
		return err
	}
	for tokens := toTokens(units); tokens > 0; {
		n := min(tokens, l.bucket.Burst())
		if err := l.wait(ctx, n); err != nil {
			return err
		}
		tokens -= n
	}
	return nil
}

// wait is rate.Limiter.WaitN without its refusal to start a wait that is longer than the context's deadline.
func (l *Limiter) wait(ctx context.Context, tokens int) error {
	reservation := l.bucket.ReserveN(time.Now(), tokens)
	if !reservation.OK() {
		return fmt.Errorf("reserve capacity: %d tokens are more than the burst", tokens)
	}
	if err := call.Sleep(ctx, reservation.Delay()); err != nil {
		reservation.Cancel()
		return err
	}
	return nil
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
	l.used += consumed
	l.mu.Unlock()
	if l.bucket == nil {
		return
	}
	// A negative number gives tokens back: rate.Limiter subtracts it and caps at the burst when time advances.
	diff := toTokens(consumed) - toTokens(reserved)
	if diff < 0 {
		l.bucket.ReserveN(time.Now(), diff)
		return
	}
	for diff > 0 {
		n := min(diff, l.bucket.Burst())
		l.bucket.ReserveN(time.Now(), n)
		diff -= n
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
