// Package call decides what the outcome of one DynamoDB request means and repeats it where that is right.
//
// reseal switches the SDK's own retries off for data requests (see Once). Two things would be hidden by them: a throttled
// request, which the capacity limiter has to know of, and a write whose first attempt was lost but may still land after the
// second one was answered, which the convergence protocol has to know of.
//
// So the work is shared like this. The SDK signs and sends one attempt. This package decides whether there is another one, and
// paces those of one request by exponential back-off with full jitter. The capacity limiter paces all requests together: it sees
// every attempt, and counts, and on demand slows down for, every throttled one. Requests for which nothing of this matters
// (DescribeTable, the token service's) have the SDK's own retries.
package call

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Outcome is what is known of a request after its answer, or the lack of one.
type Outcome int

const (
	// OK: the request was carried out.
	OK Outcome = iota
	// Throttled: turned away for now, for capacity or for another writer; it can't be carried out any more; worth another try
	// later.
	Throttled
	// NotSent: it never reached the service, there was no connection; worth another try.
	NotSent
	// Unknown: no answer, or one that doesn't tell. It may have been carried out, or may still be; worth another try.
	Unknown
	// Refused: the service understood it and won't do it; another try gives the same answer.
	Refused
)

// Once is an option for one SDK call: no retries inside the SDK, and WholeAnswers.
func Once(o *dynamodb.Options) {
	o.Retryer = aws.NopRetryer{}
	o.HTTPClient = WholeAnswers(o.HTTPClient)
}

// laterCodes are the error codes with which DynamoDB and DynamoDB Streams turn a request away for now
// (DynamoDB developer guide, "Error handling with DynamoDB"; Streams answers LimitExceededException to too many readers).
var laterCodes = map[string]bool{
	"ProvisionedThroughputExceededException": true,
	"RequestLimitExceeded":                   true,
	"ThrottlingException":                    true,
	"Throttling":                             true,
	"LimitExceededException":                 true,
	"TooManyRequestsException":               true,
	// Not for capacity: an item is being written by a transaction, or in another Region.
	"TransactionConflictException":     true,
	"TransactionInProgressException":   true,
	"ReplicatedWriteConflictException": true,
}

// Classify tells the outcome from the error that the SDK returned for one attempt.
func Classify(err error) Outcome {
	if err == nil {
		return OK
	}
	var invalid smithy.InvalidParamsError
	var serialization *smithy.SerializationError
	if errors.As(err, &invalid) || errors.As(err, &serialization) {
		return Refused
	}
	var api smithy.APIError
	if errors.As(err, &api) && laterCodes[api.ErrorCode()] {
		return Throttled
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return NotSent
	}
	var resp *smithyhttp.ResponseError
	if errors.As(err, &resp) {
		return classifyStatus(resp.HTTPStatusCode())
	}
	return Unknown
}

// itemCodes are those of a write that DynamoDB refuses for what an item of it is, and not for who asks or for how much it has to do (API
// reference, BatchWriteItem and PutItem, "Errors"). No repetition changes that.
var itemCodes = map[string]bool{
	// The wrong type for an index key, more than 400 KB, nested too deeply; but also what is wrong with the request as a whole.
	"ValidationException": true,
	// The table has a local secondary index, and all items with this partition key are 10 GB together.
	"ItemCollectionSizeLimitExceededException": true,
}

// ItemRefused tells whether the service refused a write for what an item of it is, so that the other items may pass. A key that can't be
// used has a code of these, too, and is no item's fault.
func ItemRefused(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && itemCodes[api.ErrorCode()] && keyTrouble(api) == KeyFine
}

// Message is the part of an SDK error that a person can use, on one line: the service's code and words, or the innermost cause.
func Message(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode() + ": " + strings.Join(strings.Fields(api.ErrorMessage()), " ")
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// classifyStatus takes the status of the answer; 0, which the SDK gives where there was none, tells nothing.
func classifyStatus(status int) Outcome {
	switch {
	case status == http.StatusTooManyRequests:
		return Throttled
	case status == http.StatusRequestTimeout:
		return Unknown // somebody between us and the service lost patience
	case status >= 400 && status < 500:
		return Refused
	default: // 5xx, and a 2xx whose body could not be read: it may have been carried out
		return Unknown
	}
}

// Policy says how long a request may take and how long it is repeated. The zero value holds the defaults.
type Policy struct {
	Timeout      time.Duration // of one attempt; 0: DefaultTimeout
	GiveUp       time.Duration // repeated failures without any success are an error after this; 0: DefaultGiveUp
	GiveUpSlowed time.Duration // likewise for throttling; 0: DefaultGiveUpSlowed
}

// The defaults of Policy. The time-out leaves room for a 16 MB batch on a 10 Mbit/s line.
const (
	DefaultTimeout      = 20 * time.Second
	DefaultGiveUp       = time.Minute
	DefaultGiveUpSlowed = 10 * time.Minute
)

// AttemptTimeout is the time that one attempt may take.
func (p Policy) AttemptTimeout() time.Duration { return orDefault(p.Timeout, DefaultTimeout) }

// Lifetime is the time after which a request that was sent and had no answer can't be carried out any more: the time-out, and
// a quarter of it for what is still on its way when the client gives up. A client of table.Side's sends nothing after that.
func (p Policy) Lifetime() time.Duration { return p.AttemptTimeout() + p.AttemptTimeout()/4 }

func orDefault(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Repeat counts the attempts of one request and paces them: exponential back-off with full jitter
// (AWS Architecture Blog, "Exponential Backoff And Jitter").
type Repeat struct {
	policy  Policy
	since   time.Time // of the first failure after the last success
	failing time.Time // of the first failure after the last success or throttling: a service that throttles answers
	tries   int
}

// Start begins a request's attempts.
func (p Policy) Start() *Repeat { return &Repeat{policy: p} }

const (
	backoffBase = 50 * time.Millisecond
	backoffMax  = 5 * time.Second
)

// Progress says that part of the request succeeded: the next back-off starts short again.
func (r *Repeat) Progress() { r.tries, r.since, r.failing = 0, time.Time{}, time.Time{} }

// Again waits before the next attempt. It returns an error when the context ends or when the policy's patience does; cause
// is then wrapped in it.
func (r *Repeat) Again(ctx context.Context, outcome Outcome, cause error) error {
	most, err := r.Failed(outcome, cause)
	if err != nil {
		return err
	}
	return Pause(ctx, most)
}

// Failed counts a failure and returns how long the pause before the next attempt may be at the most, for Pause. It returns an
// error that wraps cause when the policy's patience ends.
func (r *Repeat) Failed(outcome Outcome, cause error) (most time.Duration, err error) {
	if spent, patience := r.spent(outcome); spent > patience {
		return 0, fmt.Errorf("gave up after %s without success: %w", spent.Round(time.Second), cause)
	}
	most = min(backoffMax, backoffBase<<min(r.tries, 10))
	r.tries++
	return most, nil
}

// Pause waits for a random part of most, or until the context ends, whose error it returns then.
func Pause(ctx context.Context, most time.Duration) error {
	return Sleep(ctx, rand.N(most)+time.Millisecond)
}

// spent notes a failure and returns for how long it has been like this and how long it may be.
func (r *Repeat) spent(outcome Outcome) (spent, patience time.Duration) {
	now := time.Now()
	if r.since.IsZero() {
		r.since = now
	}
	if outcome == Throttled {
		r.failing = time.Time{}
		return now.Sub(r.since), orDefault(r.policy.GiveUpSlowed, DefaultGiveUpSlowed)
	}
	if r.failing.IsZero() {
		r.failing = now
	}
	return now.Sub(r.failing), orDefault(r.policy.GiveUp, DefaultGiveUp)
}

// Sleep waits for d or until the context ends, whose error it returns then.
func Sleep(ctx context.Context, d time.Duration) error {
	if err := ctx.Err(); err != nil || d <= 0 {
		return err
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
