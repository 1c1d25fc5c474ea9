package testkit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Policies are the resource-based policies of tables, which engines don't know, or don't enforce. A Proxy of theirs answers the calls that
// put, get and delete them, and refuses what they deny to its caller. It also answers who the caller is (STS, GetCallerIdentity).
type Policies struct {
	t       testing.TB
	callers map[string]string // the ARN that STS tells, by access key

	mu      sync.Mutex
	tables  map[string]*tablePolicy
	delay   time.Duration
	flap    time.Duration
	skew    time.Duration
	outside map[string]bool
	denied  map[string]int // by the caller's ARN
}

// tablePolicy is a policy, and what was put before.
type tablePolicy struct {
	text     string
	revision int
	editions []edition
}

// edition is a policy that takes effect at a time.
type edition struct {
	from time.Time
	text string
}

// NewPolicies returns policies without any statement. callers has the ARN that STS tells of each access key.
func NewPolicies(t testing.TB, callers map[string]string) *Policies {
	return &Policies{t: t, callers: callers, tables: map[string]*tablePolicy{}, outside: map[string]bool{}, denied: map[string]int{}}
}

// Late has policies take effect some time after they are put, and for flap more meet only some of the requests.
func (p *Policies) Late(delay, flap time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay, p.flap = delay, flap
}

// Outside has a caller be outside of all policies, as what writes to a table without IAM.
func (p *Policies) Outside(accessKey string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.outside[accessKey] = true
}

// Skew has the clock by which conditions are judged be later than this machine's.
func (p *Policies) Skew(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.skew = d
}

// Text is a table's policy as it was put last; "" if it has none.
func (p *Policies) Text(table string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.of(table).text
}

// Put is PutResourcePolicy by somebody else, which takes effect at once.
func (p *Policies) Put(table, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.of(table)
	of.text, of.revision = text, of.revision+1
	of.editions = append(of.editions, edition{time.Now(), text})
}

// Denied is how many requests of a caller were denied.
func (p *Policies) Denied(accessKey string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.denied[accessKey]
}

func (p *Policies) of(table string) *tablePolicy {
	of := p.tables[table]
	if of == nil {
		of = &tablePolicy{}
		p.tables[table] = of
	}
	return of
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
		return p.answer(x)
	})
}

// Proxy starts a proxy in front of the engine at url. A hook of the test's, which may be nil, comes after the policies: what it holds back
// was let through.
func (p *Policies) Proxy(url string, then Hook) *Proxy {
	p.t.Helper()
	proxy := NewProxy(p.t, url)
	proxy.Use(func(x *Exchange) *Response {
		if response := p.answer(x); response != nil {
			return response
		}
		if then != nil {
			return then(x)
		}
		return nil
	})
	return proxy
}

func (p *Policies) answer(x *Exchange) *Response {
	switch x.Op {
	case "PutResourcePolicy", "DeleteResourcePolicy", "GetResourcePolicy":
		return p.policyCall(x)
	case "":
		if strings.Contains(string(x.Body), "Action=GetCallerIdentity") {
			return p.identity(x)
		}
		return nil
	}
	caller := accessKey(x)
	for _, asked := range p.asked(x) {
		if p.denies(asked, caller) {
			return Fail(http.StatusBadRequest, "com.amazon.coral.service#AccessDeniedException",
				fmt.Sprintf("User: %s is not authorized to perform: %s on resource: arn:aws:dynamodb:us-east-1:123456789012:table/%s with an explicit deny in a resource-based policy",
					p.callers[caller], asked.action, asked.table))
		}
	}
	return nil
}

// accessKey is whom a request was signed by.
func accessKey(x *Exchange) string {
	_, after, _ := strings.Cut(x.header.Get("Authorization"), "Credential=")
	key, _, _ := strings.Cut(after, "/")
	return key
}

func (p *Policies) identity(x *Exchange) *Response {
	arn := p.callers[accessKey(x)]
	return &Response{Body: []byte(`<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Arn>` + arn +
		`</Arn><UserId>ID</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`)}
}

// notFound is also the answer to another revision (API reference, PutResourcePolicy).
func notFound() *Response {
	return Fail(http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#PolicyNotFoundException", "Resource-based policy not found for the provided ResourceArn")
}

func (p *Policies) policyCall(x *Exchange) *Response {
	var in struct{ ResourceArn, Policy, ExpectedRevisionId string } //nolint:revive // as the API spells it
	if err := json.Unmarshal(x.Body, &in); err != nil {
		return Fail(http.StatusBadRequest, "SerializationException", err.Error())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.of(named(in.ResourceArn))
	revision := strconv.Itoa(of.revision)
	if x.Op == "GetResourcePolicy" {
		if of.text == "" {
			return notFound()
		}
		return jsonAnswer(map[string]string{"Policy": of.text, "RevisionId": revision})
	}
	current := revision
	if of.text == "" {
		current = "NO_POLICY"
	}
	switch {
	case in.ExpectedRevisionId != "" && in.ExpectedRevisionId != current:
		return notFound()
	case len(in.Policy) > 20<<10:
		return Fail(http.StatusBadRequest, "ValidationException", "policy too long")
	case in.Policy != "" && !json.Valid([]byte(in.Policy)):
		return Fail(http.StatusBadRequest, "ValidationException", "malformed policy")
	}
	of.text, of.revision = in.Policy, of.revision+1
	of.editions = append(of.editions, edition{time.Now().Add(p.delay), in.Policy})
	return jsonAnswer(map[string]string{"RevisionId": strconv.Itoa(of.revision)})
}

func jsonAnswer(value any) *Response {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // it is of the test kit's own
	}
	return &Response{Body: body}
}

// ask is what a request needs: an action on a table.
type ask struct{ action, table string }

var partiQL = regexp.MustCompile(`(?i)^\s*(insert\s+into|update|delete\s+from|select\b.*?\bfrom)\s+"?([a-zA-Z0-9_.-]+)"?`)

// asked is what IAM asks of a request: of transactions, what their operations are; of statements, actions of PartiQL's own.
func (p *Policies) asked(x *Exchange) []ask {
	var in struct {
		TableName, Statement string
		RequestItems         map[string]json.RawMessage
		TransactItems        []map[string]struct{ TableName, Statement string }
		Statements           []struct{ Statement string }
		TransactStatements   []struct{ Statement string }
	}
	if json.Unmarshal(x.Body, &in) != nil {
		return nil
	}
	var list []ask
	statement := func(text string) {
		found := partiQL.FindStringSubmatch(text)
		if found == nil {
			return
		}
		verb := strings.ToLower(strings.Fields(found[1])[0])
		list = append(list, ask{"dynamodb:PartiQL" + strings.ToUpper(verb[:1]) + verb[1:], found[2]})
	}
	switch x.Op {
	case "TransactWriteItems", "TransactGetItems":
		for _, member := range in.TransactItems {
			for kind, of := range member {
				action := map[string]string{"Put": "PutItem", "Update": "UpdateItem", "Delete": "DeleteItem", "ConditionCheck": "ConditionCheckItem", "Get": "GetItem"}[kind]
				list = append(list, ask{"dynamodb:" + action, named(of.TableName)})
			}
		}
	case "ExecuteStatement":
		statement(in.Statement)
	case "BatchExecuteStatement":
		for _, one := range in.Statements {
			statement(one.Statement)
		}
	case "ExecuteTransaction":
		for _, one := range in.TransactStatements {
			statement(one.Statement)
		}
	default:
		for table := range in.RequestItems {
			list = append(list, ask{"dynamodb:" + x.Op, named(table)})
		}
		if in.TableName != "" {
			list = append(list, ask{"dynamodb:" + x.Op, named(in.TableName)})
		}
	}
	return list
}

// denies tells whether a table's policy has a statement that denies what is asked.
func (p *Policies) denies(asked ask, caller string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	text, now := "", time.Now()
	for _, e := range p.of(asked.table).editions {
		if now.Before(e.from) || now.Before(e.from.Add(p.flap)) && rand.IntN(2) == 0 {
			continue
		}
		text = e.text
	}
	if text == "" || p.outside[caller] {
		return false
	}
	var policy struct{ Statement oneOrMore[statement] }
	if err := json.Unmarshal([]byte(text), &policy); err != nil {
		p.t.Errorf("policy of %s: %v", asked.table, err)
		return false
	}
	for _, s := range policy.Statement {
		if s.Effect == "Deny" && p.matches(s, asked, caller, now.Add(p.skew)) {
			p.denied[caller]++
			return true
		}
	}
	return false
}

// statement is one of a policy.
type statement struct {
	Effect    string
	Principal json.RawMessage
	Action    oneOrMore[string]
	Resource  oneOrMore[string]
	Condition map[string]map[string]oneOrMore[string]
}

// oneOrMore is a value or a list, as policies have them.
type oneOrMore[T any] []T

func (o *oneOrMore[T]) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '[' {
		return json.Unmarshal(text, (*[]T)(o))
	}
	var one T
	err := json.Unmarshal(text, &one)
	*o = []T{one}
	return err
}

// like is the comparison of actions, resources and ARNs, with * and ?.
func like(pattern, value string) bool {
	is, err := path.Match(strings.ReplaceAll(pattern, "/", "\x00"), strings.ReplaceAll(value, "/", "\x00"))
	return err == nil && is
}

func (p *Policies) matches(s statement, asked ask, caller string, now time.Time) bool {
	principal := principalARN(p.callers[caller])
	resource := "arn:aws:dynamodb:us-east-1:123456789012:table/" + asked.table
	switch {
	case !slices.ContainsFunc(s.Action, func(one string) bool { return like(one, asked.action) }):
		return false
	case !slices.ContainsFunc(s.Resource, func(one string) bool { return like(one, resource) || named(one) == asked.table }):
		return false
	case !p.isOf(s.Principal, principal):
		return false
	}
	for operator, keys := range s.Condition {
		for key, values := range keys {
			if !p.holds(operator, key, values, principal, now) {
				return false
			}
		}
	}
	return true
}

// principalARN is aws:PrincipalArn of a caller: of a role's session, the role's (IAM user guide, "Global condition keys").
func principalARN(caller string) string {
	if account, session, is := strings.Cut(caller, ":assumed-role/"); is {
		role, _, _ := strings.Cut(session, "/")
		return strings.Replace(account, ":sts:", ":iam:", 1) + ":role/" + role
	}
	return caller
}

func (p *Policies) isOf(principals json.RawMessage, caller string) bool {
	var all string
	if json.Unmarshal(principals, &all) == nil {
		return all == "*"
	}
	var some struct{ AWS oneOrMore[string] }
	if err := json.Unmarshal(principals, &some); err != nil {
		p.t.Errorf("principal %s: %v", principals, err)
		return false
	}
	return slices.Contains(some.AWS, caller) || slices.Contains(some.AWS, "*")
}

// holds tells of a condition. A negated one holds only if no value matches.
func (p *Policies) holds(operator, key string, values []string, principal string, now time.Time) bool {
	any := func(matches func(value string) bool) bool { return slices.ContainsFunc(values, matches) }
	switch operator + " " + key {
	case "DateLessThan aws:CurrentTime", "DateGreaterThan aws:CurrentTime":
		return any(func(value string) bool {
			at, err := time.Parse(time.RFC3339, value)
			if err != nil {
				p.t.Errorf("condition %s: %v", operator, err)
			}
			if operator == "DateLessThan" {
				return now.Before(at)
			}
			return now.After(at)
		})
	case "ArnLike aws:PrincipalArn", "ArnEquals aws:PrincipalArn":
		return any(func(value string) bool { return like(value, principal) })
	case "ArnNotLike aws:PrincipalArn", "ArnNotEquals aws:PrincipalArn":
		return !any(func(value string) bool { return like(value, principal) })
	case "StringEquals aws:PrincipalArn":
		return any(func(value string) bool { return value == principal })
	case "StringNotEquals aws:PrincipalArn":
		return !any(func(value string) bool { return value == principal })
	}
	p.t.Errorf("condition %s of %s is not known here", operator, key)
	return false
}
