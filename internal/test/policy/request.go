package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Principal is who calls.
type Principal struct {
	// Session is the ARN as it was given: for a role that was assumed the session's.
	Session string
	// ARN is what aws:PrincipalArn is: "for IAM roles, the request context returns the ARN of the role".
	ARN string
	// Account is the number of the account.
	Account string
}

// Request is what is judged.
type Request struct {
	Principal Principal
	Action    string // such as "dynamodb:PutItem"
	Resource  string // the ARN of a table or an index
	Time      time.Time
}

// NewPrincipal reads the ARN of a role, a user, an account's root, or a session of a role. A session doesn't tell the path of its role, so
// for a role with a path give the role's own ARN.
func NewPrincipal(arn string) (Principal, error) {
	if !iamIdentity.MatchString(arn) {
		return Principal{}, fmt.Errorf("%q is no ARN of a role, a user, a root, or a session of a role", arn)
	}
	parts := strings.SplitN(arn, ":", 6)
	p := Principal{Session: arn, ARN: arn, Account: parts[4]}
	if session, is := strings.CutPrefix(parts[5], "assumed-role/"); is {
		role, _, _ := strings.Cut(session, "/")
		p.ARN = fmt.Sprintf("arn:%s:iam::%s:role/%s", parts[1], p.Account, role)
	}
	return p, nil
}

// IsRoot tells whether this is the root of its account.
func (p Principal) IsRoot() bool { return strings.HasSuffix(p.ARN, ":root") }

// is tells whether an element of Principal means this one.
func (p Principal) is(element string) bool {
	account := strings.HasSuffix(element, ":root") && strings.Contains(element, ":iam::"+p.Account+":")
	return element == "*" || element == p.Account || account || element == p.ARN || element == p.Session
}

// Denies tells whether a statement denies the request. No document denies nothing.
func (d *Document) Denies(r *Request) bool {
	return d != nil && slices.ContainsFunc(d.statements, func(s statement) bool { return s.deny && s.isFor(r) })
}

func (s *statement) isFor(r *Request) bool {
	action := strings.ToLower(r.Action)
	return slices.ContainsFunc(s.principals, r.Principal.is) &&
		slices.ContainsFunc(s.actions, func(a string) bool { return like(action, strings.ToLower(a)) }) &&
		slices.ContainsFunc(s.resources, func(pattern string) bool { return like(r.Resource, pattern) }) &&
		!slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(r) })
}
