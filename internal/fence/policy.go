package fence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
)

// API is what a Policy asks of DynamoDB; *dynamodb.Client has it.
type API interface {
	GetResourcePolicy(context.Context, *dynamodb.GetResourcePolicyInput, ...func(*dynamodb.Options)) (*dynamodb.GetResourcePolicyOutput, error)
	PutResourcePolicy(context.Context, *dynamodb.PutResourcePolicyInput, ...func(*dynamodb.Options)) (*dynamodb.PutResourcePolicyOutput, error)
	DeleteResourcePolicy(context.Context, *dynamodb.DeleteResourcePolicyInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteResourcePolicyOutput, error)
}

// Errors of a Policy.
var (
	// ErrTooLong: the policy would be longer than MostBytes with the statement.
	ErrTooLong = errors.New("the resource policy would be over 20 KB with reseal's statement")
	// ErrOtherRun: the policy has a statement of another run of reseal's.
	ErrOtherRun = errors.New("the resource policy has a statement of another cutover")
	// ErrUnknown: the endpoint doesn't know resource policies, as a local engine.
	ErrUnknown = errors.New("the endpoint knows no resource policies")
)

// Policy is a table's resource-based policy, as one run of reseal's changes it. It is safe for concurrent use.
type Policy struct {
	api    API
	table  string   // its ARN
	runs   []string // the ends of the Sids of this run, and of others that may be there
	policy call.Policy

	mu        sync.Mutex // guards what follows
	changed   time.Time  // when this run changed it last; zero: it has not
	clock     call.Clock
	uncertain time.Time // a change that had no answer may land until then
}

// NewPolicy returns the policy of a table, by its ARN. run is what the Sids of this run's statements end with; earlier are those of runs that
// are over, whose statements may be there.
func NewPolicy(api API, table, run string, earlier ...string) *Policy {
	return &Policy{api: api, table: table, runs: append([]string{run}, earlier...), policy: call.Policy{Timeout: requestTimeout}}
}

const (
	requestTimeout = 5 * time.Second // of one request: writers may be waiting
	againAfter     = 200 * time.Millisecond
	againMost      = 2 * time.Second
)

// BlockedFor is how long a policy can't be changed again: "Subsequent updates to a policy for a given resource are blocked for 15 seconds after
// a successful update" (DynamoDB developer guide, "Resource-based policy considerations").
const BlockedFor = 15 * time.Second

// awaitChange waits until the policy may be changed, as far as this run knows, and tells whether it had to.
func (p *Policy) awaitChange(ctx context.Context) (waited bool, err error) {
	p.mu.Lock()
	wait := time.Until(p.changed.Add(BlockedFor))
	p.mu.Unlock()
	if wait <= 0 {
		return false, nil
	}
	return true, call.Sleep(ctx, wait)
}

// Now is the time by the service's clock, as its last answer showed it.
func (p *Policy) Now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock.Now()
}

func (p *Policy) observe(answer middleware.Metadata) {
	if clock := call.ClockOf(answer); clock != (call.Clock{}) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.clock = clock
	}
}

// noPolicy is the revision of a table that has none (API reference, PutResourcePolicy, ExpectedRevisionId).
const noPolicy = "NO_POLICY"

// get reads the policy and its revision. What was put a moment ago may not be in it yet.
func (p *Policy) get(ctx context.Context) (document, string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := p.api.GetResourcePolicy(ctx, &dynamodb.GetResourcePolicyInput{ResourceArn: &p.table}, call.Once)
	var none *types.PolicyNotFoundException
	switch {
	case errors.As(err, &none):
		d, err := parse("")
		return d, noPolicy, err
	case err != nil:
		return document{}, "", fmt.Errorf("get resource policy: %w", known(call.Private(err)))
	}
	p.observe(out.ResultMetadata)
	d, err := parse(aws.ToString(out.Policy))
	return d, aws.ToString(out.RevisionId), err
}

// known tells an endpoint that doesn't know the call.
func known(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "UnknownOperationException", "InvalidAction", "UnknownOperation", "NotImplemented":
			return fmt.Errorf("%w (%s)", ErrUnknown, api.ErrorCode())
		}
	}
	return err
}

// Found returns the statements of reseal's that the policy has, of whatever run. It fails with ErrUnknown where there are no policies.
func (p *Policy) Found(ctx context.Context) ([]Found, error) {
	d, _, err := p.get(ctx)
	if err != nil {
		return nil, err
	}
	return d.found()
}

// Fits tells whether the policy, as it is now, has room for a statement: ErrTooLong. It also fails as Found does, and with ErrOtherRun.
func (p *Policy) Fits(ctx context.Context, s Statement) error {
	d, _, err := p.get(ctx)
	if err != nil {
		return err
	}
	text, err := s.JSON()
	if err == nil {
		_, err = p.merged(d, text, s.Sid)
	}
	return err
}

// merged is a policy with a statement instead of those with some Sids.
func (p *Policy) merged(d document, statement json.RawMessage, sids ...string) (string, error) {
	found, err := d.found()
	if err != nil {
		return "", err
	}
	for _, f := range found {
		if !p.isMine(f.Sid) && !f.isOver(p.Now()) {
			return "", fmt.Errorf("%w (%s%s)", ErrOtherRun, f.Sid, f.until())
		}
	}
	if d, err = d.with(statement, sids...); err != nil {
		return "", err
	}
	text := d.String()
	if len(text) > MostBytes {
		return "", fmt.Errorf("%w: %d bytes", ErrTooLong, len(text))
	}
	return text, nil
}

func (p *Policy) isMine(sid string) bool {
	return slices.ContainsFunc(p.runs, func(run string) bool { return sid == SidFence+run || sid == SidStop+run })
}

// isOver tells whether AWS doesn't apply the statement any more, with room for a clock that is not quite right.
func (f Found) isOver(now time.Time) bool { return !f.Until.IsZero() && now.Sub(f.Until) > time.Minute }

func (f Found) until() string {
	if f.Until.IsZero() {
		return ", for good"
	}
	return ", until " + f.Until.UTC().Format(time.RFC3339)
}

// Put puts a statement into the policy, in the place of the one with the same Sid, and of those with other Sids that are given. It returns
// when the service has taken it, and goes on until then, or until ctx ends. What others change in the policy meanwhile stays.
func (p *Policy) Put(ctx context.Context, s Statement, instead ...string) error {
	wanted, err := s.JSON()
	if err != nil {
		return err
	}
	return p.replace(ctx, lasts, wanted, s.Sid, instead)
}

// Replace is Put, for a statement as it was found, or nearly so.
func (p *Policy) Replace(ctx context.Context, f Found) error {
	return p.replace(ctx, lasts, f.Text, f.Sid, nil)
}

// Restore is Put, for a statement as it was found, that goes on as Remove does, whatever fails.
func (p *Policy) Restore(ctx context.Context, f Found, instead ...string) error {
	return p.settled(ctx, func() error { return p.replace(ctx, isUnknown, f.Text, f.Sid, instead) })
}

func (p *Policy) replace(ctx context.Context, ends func(error, time.Duration) bool, wanted json.RawMessage, sid string, instead []string) error {
	return p.change(ctx, "put resource policy", ends, func(d document, revision string) (bool, error) {
		found, err := d.found()
		if err != nil {
			return false, err
		}
		is, others := false, false
		for _, f := range found {
			is = is || f.Sid == sid && same(f.Text, wanted)
			others = others || slices.Contains(instead, f.Sid)
		}
		if is && !others {
			return true, nil // an attempt that had no answer
		}
		text, err := p.merged(d, wanted, append([]string{sid}, instead...)...)
		if err != nil {
			return false, err
		}
		return p.put(ctx, text, revision)
	})
}

// Remove takes the statement with a Sid out of the policy as it is now, and returns when it is out for good: an earlier change that had no
// answer can't land any more. It goes on until then, or until ctx ends, whatever fails: writers are waiting, and credentials that have
// expired, or a permission, may be renewed. A table that is gone has no policy.
func (p *Policy) Remove(ctx context.Context, sid string) error {
	return p.settled(ctx, func() error {
		return p.change(ctx, "take statement out of resource policy", isUnknown, func(d document, revision string) (bool, error) {
			kept, err := d.without(sid)
			if err != nil || len(kept.statements) == len(d.statements) {
				return err == nil, err
			}
			if text := kept.String(); text != "" {
				return p.put(ctx, text, revision)
			}
			return p.remove(ctx, revision)
		})
	})
}

// settled repeats a change until no earlier one that had no answer can land any more.
func (p *Policy) settled(ctx context.Context, change func() error) error {
	for {
		if err := change(); err != nil && !isGone(err) {
			return err
		}
		p.mu.Lock()
		wait := time.Until(p.uncertain)
		p.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if err := call.Sleep(ctx, wait); err != nil {
			return fmt.Errorf("change resource policy: %w", err)
		}
	}
}

// change reads the policy and changes it, until that has succeeded on the policy that was read, or an error lasts.
func (p *Policy) change(ctx context.Context, what string, lasts func(error, time.Duration) bool, attempt func(document, string) (done bool, err error)) error {
	began := time.Now()
	for pause := againAfter; ; pause = min(2*pause, againMost) {
		d, revision, err := p.get(ctx)
		done := false
		if err == nil {
			done, err = attempt(d, revision)
		}
		switch {
		case err == nil && done:
			return nil
		case err != nil && lasts(err, time.Since(began)):
			return fmt.Errorf("%s: %w", what, err)
		}
		if slept := call.Sleep(ctx, pause); slept != nil {
			return fmt.Errorf("%s: %w", what, errors.Join(slept, err))
		}
	}
}

// lasts tells whether no other attempt succeeds. After a denial one may, while credentials are renewed or policies settle; but who is about to
// have writers wait wants to know at once. Nothing says how a change is refused that comes too soon after somebody else's: so other
// refusals count only when that can't be the reason any more.
func lasts(err error, trying time.Duration) bool {
	var denied smithy.APIError
	switch {
	case errors.Is(err, ErrTooLong), errors.Is(err, ErrOtherRun), isUnknown(err, trying):
		return true
	case errors.Is(err, context.DeadlineExceeded):
		return false
	case errors.As(err, &denied) && (denied.ErrorCode() == "AccessDeniedException" || denied.ErrorCode() == "ExpiredTokenException"):
		return true
	}
	return call.Classify(err) == call.Refused && !isBusy(err) && trying > BlockedFor
}

// isUnknown is lasts for what has to be done.
func isUnknown(err error, _ time.Duration) bool {
	return errors.Is(err, ErrUnknown) || isGone(err)
}

// isBusy tells of a table or policy that is being changed by somebody else.
func isBusy(err error) bool {
	var inUse *types.ResourceInUseException
	return errors.As(err, &inUse)
}

func (p *Policy) put(ctx context.Context, text, revision string) (done bool, err error) {
	if waited, err := p.awaitChange(ctx); waited || err != nil {
		return false, err // it is another one by now, perhaps
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := p.api.PutResourcePolicy(ctx, &dynamodb.PutResourcePolicyInput{ResourceArn: &p.table, Policy: &text, ExpectedRevisionId: &revision}, call.Once)
	if err == nil {
		p.observe(out.ResultMetadata)
	}
	return p.judge(err)
}

func (p *Policy) remove(ctx context.Context, revision string) (done bool, err error) {
	if waited, err := p.awaitChange(ctx); waited || err != nil {
		return false, err // it is another one by now, perhaps
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	out, err := p.api.DeleteResourcePolicy(ctx, &dynamodb.DeleteResourcePolicyInput{ResourceArn: &p.table, ExpectedRevisionId: &revision}, call.Once)
	if err == nil {
		p.observe(out.ResultMetadata)
	}
	return p.judge(err)
}

// judge tells whether a change was made. That the policy is another one by now is no error: it is read again.
func (p *Policy) judge(err error) (done bool, _ error) {
	var other *types.PolicyNotFoundException
	switch {
	case err == nil:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed = time.Now()
		return true, nil
	case errors.As(err, &other):
		return false, nil
	case call.Classify(err) == call.Unknown:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.uncertain = time.Now().Add(p.policy.Lifetime())
	}
	return false, call.Private(err)
}
