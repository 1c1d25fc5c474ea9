// Package capacity meters DynamoDB capacity units and holds requests to a budget of them.
package capacity

import (
	"context"
	"math"
	"sync"
	"time"

	"reseal/internal/call"

	"golang.org/x/time/rate"
)

// tokensPerUnit: an eventually consistent read costs half a unit, the smallest cost there is.
const tokensPerUnit = 2

// burstTime is for how long unused budget is kept. It is longer than what a busy machine oversleeps, and so short that no
// second gets noticeably more than its share.
const burstTime = 20 * time.Millisecond

// Limiter holds the requests of one table and one direction (reads or writes) to a number of units a second and counts what
// they consumed. It is safe for concurrent use.
//
// A request reserves an estimate before it is sent and settles it with the ConsumedCapacity of its answer, so an estimate
// that was wrong is paid for, or given back, by the requests after it. Requests wait in a queue, one at a time for the bucket:
// a new rate holds from the next one on. So the number of requests in flight follows from the budget and the latency by itself.
type Limiter struct {
	bucket *rate.Limiter // nil: no limit, the units are only counted
	turn   chan struct{} // held by the one that waits for the bucket
	adapt  *adaptive     // moves the rate; nil if there is no limit
	partly func() bool   // see Partly; may be nil
	by     string        // who chose the limit
	shares bool          // see RequestUnits

	mu        sync.Mutex
	credit    int // tokens that were waited for and given back; at most what requests in flight had reserved
	overhead  float64
	largest   float64 // see Largest
	used      Consumed
	throttled int64
}

// NewLimiter returns a limiter of unitsPerSecond; 0 or less means no limit. While requests are throttled it takes less, for it isn't
// alone with the table: see Taken.
func NewLimiter(unitsPerSecond float64) *Limiter {
	if unitsPerSecond <= 0 {
		return &Limiter{by: ByNobody}
	}
	return newLimiter(ByUser, newAdaptive(unitsPerSecond, unitsPerSecond, 0, true))
}

// NewAdaptiveLimiter returns a limiter that finds out by itself what a table on demand serves, starting from unitsPerSecond.
func NewAdaptiveLimiter(unitsPerSecond float64) *Limiter {
	return newLimiter(ByTable, newAdaptive(unitsPerSecond, math.Inf(1), adaptIncrease, false))
}

func newLimiter(by string, adapt *adaptive) *Limiter {
	l := &Limiter{turn: make(chan struct{}, 1), bucket: rate.NewLimiter(0, 0), adapt: adapt, by: by}
	l.setRate(adapt.rate)
	return l
}

// Partly has the limiter ask whether it is only a part of the table that throttles at present, a hot partition. The rate doesn't
// fall for that, and a throttled request's reservation is given back, for the others: whoever sends requests to that part must
// slow them down by itself. It is to be called before the first request; f must not call the limiter.
func (l *Limiter) Partly(f func() bool) {
	l.partly = f
	if l.adapt != nil {
		l.adapt.partly = f
	}
}

func (l *Limiter) setRate(unitsPerSecond float64) {
	tokens := unitsPerSecond * tokensPerUnit
	l.bucket.SetLimit(rate.Limit(tokens))
	l.bucket.SetBurst(max(tokensPerUnit, int(math.Ceil(tokens*burstTime.Seconds()))))
}

// Rate is how many units a second there may be at present; 0 if there is no limit.
func (l *Limiter) Rate() float64 {
	if l.bucket == nil {
		return 0
	}
	return float64(l.bucket.Limit()) / tokensPerUnit
}

// Limit is how many units a second there may be at the most; 0 if there is no limit. That of a limiter which finds out by itself
// what the table serves is its present rate.
func (l *Limiter) Limit() float64 {
	if l.bucket == nil || math.IsInf(l.adapt.most, 1) {
		return l.Rate()
	}
	return l.adapt.most
}

const (
	// requestShare is the part of a second's budget that one request should take at the most, so that every second gets its share
	// evenly.
	requestShare = 0.02
	// pageUnits is what a page of a Scan may take of the budget even if that is more than one request should, but no more than a
	// quarter of a second's: a page is charged in half units, of which a half is wasted on average.
	pageUnits = 16

	// A table that others use is closed to them for as long as it takes to make up for a request of ours that overdrew it.
	sharedRequestShare = 0.005
	sharedPageShare    = 0.01
	sharedPageUnits    = 4 // at the most, or what one request may take
)

// RequestUnits is how many units one request should take at the most; one item may need more. It is +Inf without a limit.
func (l *Limiter) RequestUnits() float64 {
	switch {
	case l.bucket == nil:
		return math.Inf(1)
	case l.shares:
		return max(1, l.Rate()*sharedRequestShare)
	}
	return max(1, l.Rate()*requestShare)
}

// PageUnits is RequestUnits for a page of a Scan, which is charged for the sum of its items in half units.
func (l *Limiter) PageUnits() float64 {
	if l.shares {
		return max(l.RequestUnits(), min(sharedPageUnits, l.Rate()*sharedPageShare))
	}
	return max(l.RequestUnits(), min(pageUnits, l.Rate()/4))
}

// Saw tells how many units a consistent read of an item takes that was found in the table.
func (l *Limiter) Saw(units float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.largest = max(l.largest, units)
}

// Largest is the most units that a consistent read of one item takes, of those that were found in the table; 0: none was yet.
func (l *Limiter) Largest() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.largest
}

// Overhead is what a unit of an item's own has cost lately, at least 1: its entries in local secondary indexes, the larger item
// or the other index key that it replaced, all cost units that the item doesn't tell. Estimates are to be multiplied by it.
func (l *Limiter) Overhead() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(1, l.overhead)
}

// Learn tells what a request whose items have so many units of their own has consumed.
func (l *Limiter) Learn(units float64, consumed Consumed) {
	const weight = 0.2 // of the newest
	if units <= 0 || consumed.Limiting <= 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.overhead = (1-weight)*max(1, l.overhead) + weight*consumed.Limiting/units
}

// Reserve waits until the budget has room for the estimated units. It returns the context's error, and takes nothing of the
// budget, if the context ends first.
func (l *Limiter) Reserve(ctx context.Context, units float64) error {
	if err := ctx.Err(); err != nil || l.bucket == nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case l.turn <- struct{}{}:
	}
	defer func() { <-l.turn }()
	waited := 0 // tokens that are ours
	for tokens := toTokens(units); waited < tokens; {
		if err := l.rest(ctx); err != nil {
			l.give(waited)
			return err
		}
		n := l.fromCredit(tokens - waited)
		if n == 0 {
			n = min(tokens-waited, l.bucket.Burst())
			now := time.Now()
			reservation := l.bucket.ReserveN(now, n)
			if !reservation.OK() {
				continue // the burst has just become smaller than n
			}
			if err := call.Sleep(ctx, reservation.DelayFrom(now)); err != nil {
				// What has not been waited for goes back to the bucket. ReserveN takes a negative number for that;
				// Reservation.Cancel would keep the tokens if others have reserved since.
				l.bucket.ReserveN(time.Now(), -n)
				l.give(waited)
				return err
			}
		}
		waited += n
	}
	if err := l.rest(ctx); err != nil { // something was throttled while this one waited
		l.give(waited)
		return err
	}
	return nil
}

// rest waits while nothing is to be sent.
func (l *Limiter) rest(ctx context.Context) error {
	for {
		l.mu.Lock()
		resume := l.adapt.resume
		l.mu.Unlock()
		wait := time.Until(resume)
		if resume.IsZero() || wait <= 0 {
			return nil
		}
		if err := call.Sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// fromCredit takes up to n tokens from those given back.
func (l *Limiter) fromCredit(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n = min(n, max(0, l.credit))
	l.credit -= n
	return n
}

func (l *Limiter) give(tokens int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.credit += tokens
}

// Read carries out a request that changes nothing: it waits for the budget, tries, settles with the units that try returns,
// and repeats until the request succeeds, is refused, or the policy gives up.
func (l *Limiter) Read(ctx context.Context, p call.Policy, estimate float64, try func(context.Context) (Consumed, error)) error {
	repeat := p.Start()
	for {
		if err := l.Reserve(ctx, estimate); err != nil {
			return err
		}
		attempt, cancel := context.WithTimeout(ctx, p.AttemptTimeout())
		consumed, err := try(attempt)
		cancel()
		outcome := call.Classify(err)
		switch outcome {
		case call.Throttled:
			l.SettleThrottled(estimate, consumed)
		case call.Unknown: // it may have been carried out, and then it was charged
			l.Settle(estimate, Of(estimate))
		default:
			l.Settle(estimate, consumed)
		}
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case outcome == call.Refused:
			return err
		}
		if err := repeat.Again(ctx, outcome, err); err != nil {
			return err
		}
	}
}

// Settle counts the units that a request consumed and corrects the reservation made for it.
func (l *Limiter) Settle(reserved float64, consumed Consumed) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(consumed)
	l.correct(reserved, consumed.Limiting)
}

// correct pays what a reservation was too small, or gives back what it was too large.
func (l *Limiter) correct(reserved, spent float64) {
	if l.bucket == nil {
		return
	}
	// What is given back isn't put into the bucket, which would drop all that is above the burst.
	l.credit += toTokens(reserved) - toTokens(spent)
	for l.credit < 0 {
		n := min(-l.credit, l.bucket.Burst())
		if l.bucket.ReserveN(time.Now(), n).OK() {
			l.credit += n
		}
	}
}

// SettleThrottled is Settle for a request that was throttled, in whole or in part. Nothing of its reservation is given back: it
// would let another request go at once, to be throttled as well, unless only a part of the table throttles.
func (l *Limiter) SettleThrottled(reserved float64, consumed Consumed) {
	l.Throttle()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.count(consumed)
	spent := consumed.Limiting
	if l.partly == nil || !l.partly() {
		spent = max(reserved, spent)
	}
	l.correct(reserved, spent)
}

// count adds what was consumed to the sum, and to what the rate goes by.
func (l *Limiter) count(consumed Consumed) {
	l.used.add(consumed)
	if l.adapt == nil {
		return
	}
	if rate, changed := l.adapt.consumed(time.Now(), consumed.Limiting); changed {
		l.setRate(rate)
	}
}

func toTokens(units float64) int { return int(math.Ceil(units * tokensPerUnit)) }

// Throttle counts one throttled request.
func (l *Limiter) Throttle() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.throttled++
	if l.adapt == nil {
		return
	}
	if rate, changed := l.adapt.throttle(time.Now()); changed {
		l.setRate(rate)
	}
}

// Used is the sum of the units settled so far, of the table and of its indexes.
func (l *Limiter) Used() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used.Units
}

// Limited is the part of Used that counts against the limit: where indexes have units of their own, what the table or one of them took,
// whichever took most.
func (l *Limiter) Limited() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used.Limiting
}

// UsedByIndex is the part of Used that each index took, by the index's name; nil if none did.
func (l *Limiter) UsedByIndex() map[string]float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used.copyIndexes()
}

// Throttled is the number of throttled requests so far.
func (l *Limiter) Throttled() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.throttled
}
