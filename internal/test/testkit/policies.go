package testkit

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"reseal/internal/test/policy"
)

const (
	// Never is a delay that doesn't end.
	Never = time.Duration(math.MaxInt64)
	// UpdateBlock is for how long a policy can't be changed again (Developer Guide, "DynamoDB resource-based policy considerations").
	UpdateBlock = 15 * time.Second
)

// PolicyTimes says how the service treats a policy that was changed. It may be set at any time, and is for changes that come afterwards.
type PolicyTimes struct {
	// Effect is how long the policy before is still enforced.
	Effect time.Duration
	// Flap is for how long after that a request may still be judged by the policy before, or by the new one, at random.
	Flap time.Duration
	// Read is for how long GetResourcePolicy still answers with the policy before.
	Read time.Duration
	// Block is for how long any other change is refused; with BlockError, since no page says how: LimitExceededException if it is empty,
	// or ResourceInUseException.
	Block      time.Duration
	BlockError string
}

// Policies plays resource-based policies in front of engines, which know none or don't enforce them. Proxy makes the proxies that share
// them. They answer PutResourcePolicy, GetResourcePolicy and DeleteResourcePolicy, and refuse what a policy denies. Who calls is known by
// the access key, and is taken to be allowed everything by policies of its own, so Allow statements count for nothing. They also answer who
// the caller is (STS, GetCallerIdentity).
//
// Times of delay are those of the clock that SetClock sets; conditions and the answers' Date have Skew's added.
// What is not played (streams' policies, unknown conditions, a CreateTable with a policy) fails the test.
type Policies struct {
	t       testing.TB
	callers map[string]policy.Principal

	mu       sync.Mutex
	clock    func() time.Time
	skew     time.Duration
	times    PolicyTimes
	late     map[string]time.Duration // more delay, by aws:PrincipalArn
	fronts   []*Proxy
	admitted func(caller string, x *Exchange)
	tables   map[tableKey]*tablePolicy
	denied   []Denial
	random   *rand.Rand
	count    int
}

// Denial is a request that was refused.
type Denial struct {
	Caller, Action, Resource string
	At                       time.Time // by the service's clock
}

// NewPolicies returns policies without a document. callers has the ARN of who each access key belongs to: a role, a user, a root, or a
// session of a role, whose aws:PrincipalArn is the role's. Another access key is that of a user of its name.
func NewPolicies(t testing.TB, callers map[string]string) *Policies {
	t.Helper()
	p := &Policies{
		t: t, callers: map[string]policy.Principal{}, clock: time.Now, late: map[string]time.Duration{},
		tables: map[tableKey]*tablePolicy{}, random: rand.New(rand.NewPCG(1, 2)),
	}
	for key, arn := range callers {
		principal, err := policy.NewPrincipal(arn)
		if err != nil {
			t.Fatal(err)
		}
		p.callers[key] = principal
	}
	return p
}

// Proxy starts a proxy in front of the engine at url that has these policies. A hook of the test's that is set by Proxy.Use sees a request
// before it is judged: what it holds up is judged when it passes it on. then, which may be nil, comes after the policies: what it holds
// back was let through.
func (p *Policies) Proxy(url string, then Hook) *Proxy {
	p.t.Helper()
	front := newProxy(p.t, url, func(front *Proxy) {
		front.now = p.Now
		front.behind = func(x *Exchange) *Response {
			response := p.pass(x)
			if response != nil || then == nil {
				return response
			}
			let := *x
			let.admitted = true
			response = then(&let)
			x.Body = let.Body
			return response
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fronts = append(p.fronts, front)
	return front
}

// InFront returns the address of a server that is what Proxy is, for what checks and passes on to an engine, as a Guard does: it must not
// check once more what only the engine behind is known to do.
func (p *Policies) InFront(url string) string {
	p.t.Helper()
	proxy := p.Proxy(url, nil)
	behind := serverAt(url)
	servers.mu.Lock()
	defer servers.mu.Unlock()
	servers.at[proxy.URL] = &server{url: proxy.URL, name: behind.name, tables: behind.tables}
	p.t.Cleanup(func() {
		servers.mu.Lock()
		defer servers.mu.Unlock()
		delete(servers.at, proxy.URL)
	})
	return proxy.URL
}

// Deny has a proxy of these policies refuse an operation, as IAM does where nothing allows it.
func (p *Policies) Deny(proxy *Proxy, op, message string) {
	proxy.Use(func(x *Exchange) *Response {
		if x.Op == op {
			return Fail(http.StatusBadRequest, "com.amazon.coral.service#AccessDeniedException", message)
		}
		return nil
	})
}

// Late has policies take effect some time after they are put, and for flap more meet only some of the requests.
func (p *Policies) Late(delay, flap time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times.Effect, p.times.Flap = delay, flap
}

// SetTimes sets how policies that are changed from now on take effect. The zero value of PolicyTimes, with which it begins, is at once.
func (p *Policies) SetTimes(times PolicyTimes) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.times = times
}

// SetClock sets the clock, which may not go back.
func (p *Policies) SetClock(now func() time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clock = now
}

// Skew has the service's clock be later than that clock.
func (p *Policies) Skew(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skew = d
}

// Now is the time by the service's clock.
func (p *Policies) Now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.clock().Add(p.skew)
}

// LateFor has policies take effect so much later for a caller, and all who are of its role.
func (p *Policies) LateFor(accessKey string, by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late[p.caller(accessKey).ARN] = by
}

// Outside has a caller be outside of all policies, as what writes to a table without IAM.
func (p *Policies) Outside(accessKey string) { p.LateFor(accessKey, Never) }

// Admitted sets a hook for each request that no policy has denied, before it goes to the engine: while the hook takes its time the
// request is on its way, and lands even if a policy now denies it and the client has given up. caller is the ARN as NewPolicies was given
// it. nil ends that for requests to come.
func (p *Policies) Admitted(hook func(caller string, x *Exchange)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.admitted = hook
}

// Denials returns what was refused so far.
func (p *Policies) Denials() []Denial {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.denied)
}

// Denied is how many requests of a caller were denied.
func (p *Policies) Denied(accessKey string) int {
	n := 0
	for _, one := range p.Denials() {
		if one.Caller == p.caller(accessKey).Session {
			n++
		}
	}
	return n
}

// caller is who an access key belongs to.
func (p *Policies) caller(accessKey string) policy.Principal {
	if known, is := p.callers[accessKey]; is {
		return known
	}
	arn := "arn:aws:iam::000000000000:user/" + accessKey
	return policy.Principal{Session: arn, ARN: arn, Account: "000000000000"}
}

// pass answers what the engine is not to answer.
func (p *Policies) pass(x *Exchange) *Response {
	key, region := x.signed()
	caller := p.caller(key)
	if x.Op == "" && strings.Contains(string(x.Body), "Action=GetCallerIdentity") {
		return identity(caller)
	}
	if !x.isDynamoDB() {
		return nil
	}
	uses, err := usesOf(x.Op, x.Body)
	if err != nil {
		return p.refuse(fmt.Errorf("%s: %w", x.Op, err))
	}
	for _, use := range uses {
		if refusal := p.judge(x.proxy.target, region, caller, use); refusal != nil {
			return refusal
		}
	}
	switch x.Op {
	case "PutResourcePolicy", "GetResourcePolicy", "DeleteResourcePolicy":
		return p.answer(x, caller)
	}
	p.mu.Lock()
	admitted := p.admitted
	p.mu.Unlock()
	if admitted != nil {
		admitted(caller.Session, x)
	}
	if x.Op == "DeleteTable" {
		return p.deleteTable(x, region)
	}
	return nil
}

// judge refuses one action if the table's policy denies it.
func (p *Policies) judge(engine, region string, caller policy.Principal, u use) *Response {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.tables[keyOf(engine, region, u.table)]
	if of == nil {
		return nil
	}
	r := &policy.Request{Principal: caller, Action: "dynamodb:" + u.action, Resource: of.arn + u.suffix(), Time: p.clock().Add(p.skew)}
	if !of.enforced(p.clock(), p.late[caller.ARN], p.random).Denies(r) {
		return nil
	}
	// The root can always take a policy away (API Reference, DeleteResourcePolicy).
	if u.action == "DeleteResourcePolicy" && caller.IsRoot() {
		return nil
	}
	p.denied = append(p.denied, Denial{caller.Session, r.Action, r.Resource, r.Time})
	return Fail(http.StatusBadRequest, "com.amazon.coral.service#AccessDeniedException", fmt.Sprintf(
		"User: %s is not authorized to perform: %s on resource: %s with an explicit deny in a resource-based policy", caller.Session, r.Action, r.Resource))
}

// identity is STS's answer.
func identity(who policy.Principal) *Response {
	return &Response{Body: []byte(`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>` + who.Session +
		`</Arn><UserId>ID</UserId><Account>` + who.Account + `</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)}
}

// refuse answers a request that is invalid, or that can't be played, which fails the test.
func (p *Policies) refuse(err error) *Response {
	if unsupported := (*policy.Unsupported)(nil); errors.As(err, &unsupported) {
		p.t.Errorf("%v", err)
	}
	return Fail(http.StatusBadRequest, "com.amazon.coral.validate#ValidationException", "One or more parameter values were invalid: "+err.Error())
}
