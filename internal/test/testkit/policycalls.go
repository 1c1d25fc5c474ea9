package testkit

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"reseal/internal/test/policy"
)

// tableKey is a table, wherever its policy is asked for.
type tableKey struct{ engine, region, name string }

// keyOf is the key of a table that a request names, or has the ARN of. The Region is the one that the request is signed for, in which the
// table must be; an engine may have something else in its ARNs.
func keyOf(engine, region, table string) tableKey {
	if parts := strings.SplitN(table, ":", 6); len(parts) == 6 {
		table, _, _ = strings.Cut(strings.TrimPrefix(parts[5], "table/"), "/")
	}
	return tableKey{engine, region, table}
}

// tablePolicy is the policy of a table, with those that it had before.
type tablePolicy struct {
	arn, id string // of the table
	all     []*revision
}

// revision is a change of a policy.
type revision struct {
	id, text string // "": the policy was deleted
	document *policy.Document
	at       time.Time
	times    PolicyTimes
	met      bool // a request was judged by it
}

// current is the last change; of a table that never had a policy that of none.
func (o *tablePolicy) current() *revision {
	if len(o.all) == 0 {
		return &revision{}
	}
	return o.all[len(o.all)-1]
}

// enforced is the document that a request is judged by.
func (o *tablePolicy) enforced(now time.Time, late time.Duration, random *rand.Rand) *policy.Document {
	for i := len(o.all) - 1; i >= 0; i-- {
		one := o.all[i]
		since := now.Sub(one.at) - late
		if one.times.Effect == Never || since < one.times.Effect {
			continue
		}
		// The first request that could meet it does, so that whoever believes the first refusal is wrong.
		if since >= one.times.Effect+one.times.Flap || !one.met || random.IntN(2) == 0 {
			one.met = true
			return one.document
		}
	}
	return nil
}

// read is what GetResourcePolicy answers with.
func (o *tablePolicy) read(now time.Time) *revision {
	for i := len(o.all) - 1; i >= 0; i-- {
		if now.Sub(o.all[i].at) >= o.all[i].times.Read {
			return o.all[i]
		}
	}
	return &revision{}
}

// policyCall is a request of the three operations.
type policyCall struct {
	ResourceArn, Policy             string
	ExpectedRevisionId              *string
	ConfirmRemoveSelfResourceAccess bool
}

// answer answers the operations on policies.
func (p *Policies) answer(x *Exchange, caller policy.Principal) *Response {
	var in policyCall
	if err := json.Unmarshal(x.Body, &in); err != nil {
		return p.refuse(err)
	}
	switch {
	case strings.Contains(in.ResourceArn, "/stream/"):
		return p.refuse(&policy.Unsupported{What: "the policy of a stream"})
	case !strings.HasPrefix(in.ResourceArn, "arn:") || !strings.Contains(in.ResourceArn, ":table/"):
		return p.refuse(fmt.Errorf("%q is no ARN of a table", in.ResourceArn))
	}
	of, failed := p.find(x, in.ResourceArn)
	if failed != nil {
		return failed
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch x.Op {
	case "GetResourcePolicy":
		if is := of.read(p.clock()); is.id != "" {
			return reply(map[string]string{"Policy": is.text, "RevisionId": is.id})
		}
		return noPolicy("Resource-based policy not found for the provided ResourceArn: " + in.ResourceArn)
	case "PutResourcePolicy":
		return p.put(of, &in, caller)
	}
	return p.remove(of, &in)
}

// find returns the policy of a table by its ARN.
func (p *Policies) find(x *Exchange, arn string) (*tablePolicy, *Response) {
	of, failed := p.described(x, arn)
	if failed == nil && of.arn != arn {
		failed = Fail(http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "Requested resource not found: "+arn)
	}
	return of, failed
}

// described returns the policy of a table, of which the engine knows whether it is there, and whether it is still the same.
func (p *Policies) described(x *Exchange, table string) (*tablePolicy, *Response) {
	_, region := x.signed()
	key := keyOf(x.proxy.target, region, table)
	ask := *x
	ask.Op, ask.Body, ask.header = "DescribeTable", []byte(`{"TableName":`+strconv.Quote(key.name)+`}`), x.header.Clone()
	ask.header.Set("X-Amz-Target", "DynamoDB_20120810.DescribeTable")
	status, _, body, err := ask.deliver()
	if err != nil {
		return nil, &Response{Cut: true}
	}
	if status != http.StatusOK {
		return nil, &Response{Status: status, Body: body}
	}
	var out struct {
		Table struct {
			TableArn, TableId string
			CreationDateTime  json.Number
		}
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return nil, p.refuse(fmt.Errorf("read the table's description: %w", err))
	}
	id := out.Table.TableId + " " + out.Table.CreationDateTime.String()
	p.mu.Lock()
	defer p.mu.Unlock()
	of := p.tables[key]
	if of == nil || of.id != id { // a table that was made anew has no policy
		of = &tablePolicy{arn: out.Table.TableArn, id: id}
		p.tables[key] = of
	}
	return of, nil
}

// Text is a table's policy as it was put last; "" if it has none.
func (p *Policies) Text(table string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, of := range p.tables {
		if key.name == table {
			return of.current().text
		}
	}
	return ""
}

// Put is PutResourcePolicy by somebody else, which takes effect at once; "" is DeleteResourcePolicy. It goes by no clock, and keeps nobody
// from changing the policy again.
func (p *Policies) Put(table, text string) {
	p.t.Helper()
	document, err := policy.Parse(text)
	if text == "" {
		document, err = nil, nil
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.mu.Lock()
	fronts := p.fronts
	p.mu.Unlock()
	for _, front := range fronts {
		x := &Exchange{proxy: front, method: http.MethodPost, path: "/", header: http.Header{
			"Content-Type": {jsonType}, "Authorization": {"AWS4-HMAC-SHA256 Credential=test/20260101/" + Region + "/dynamodb/aws4_request, SignedHeaders=host, Signature=0"},
			"X-Amz-Date": {"20260101T000000Z"},
		}}
		of, failed := p.described(x, table)
		if failed != nil {
			continue
		}
		p.mu.Lock()
		defer p.mu.Unlock()
		next := &revision{text: text, document: document, at: p.clock()}
		if text != "" {
			next.id = p.revisionID()
		}
		of.all = append(of.all, next)
		return
	}
	p.t.Fatalf("put the policy of %s: no proxy of these policies has the table", table)
}

// revisionID makes one up.
func (p *Policies) revisionID() string {
	p.count++
	return strconv.FormatInt(1_700_000_000_000+int64(p.count)*1_000_003, 10)
}

// put attaches a policy.
func (p *Policies) put(of *tablePolicy, in *policyCall, caller policy.Principal) *Response {
	current := of.current()
	if in.ExpectedRevisionId != nil {
		expected := *in.ExpectedRevisionId
		if expected == "NO_POLICY" {
			expected = ""
		}
		if expected != current.id {
			return noPolicy("The provided ExpectedRevisionId is not that of the policy: " + of.arn)
		}
	}
	document, err := policy.Parse(in.Policy)
	if err != nil {
		return p.refuse(err)
	}
	itself := &policy.Request{Principal: caller, Action: "dynamodb:PutResourcePolicy", Resource: of.arn, Time: p.clock().Add(p.skew)}
	if document.Denies(itself) && !in.ConfirmRemoveSelfResourceAccess {
		return p.refuse(fmt.Errorf("the policy would not let you change it again: confirm with ConfirmRemoveSelfResourceAccess"))
	}
	if current.id != "" && current.text == in.Policy { // "will return the same revision ID"
		return reply(map[string]string{"RevisionId": current.id})
	}
	if blocked := p.blocked(of); blocked != nil {
		return blocked
	}
	next := &revision{id: p.revisionID(), text: in.Policy, document: document, at: p.clock(), times: p.times}
	of.all = append(of.all, next)
	return reply(map[string]string{"RevisionId": next.id})
}

// remove takes a policy away.
func (p *Policies) remove(of *tablePolicy, in *policyCall) *Response {
	current := of.current()
	if in.ExpectedRevisionId != nil && (current.id == "" || *in.ExpectedRevisionId != current.id) {
		return noPolicy("The provided ExpectedRevisionId is not that of the policy: " + of.arn)
	}
	if current.id == "" {
		return reply(map[string]string{})
	}
	if blocked := p.blocked(of); blocked != nil {
		return blocked
	}
	of.all = append(of.all, &revision{at: p.clock(), times: p.times})
	return reply(map[string]string{"RevisionId": current.id})
}

// blocked refuses a change that comes too soon after another one.
func (p *Policies) blocked(of *tablePolicy) *Response {
	if len(of.all) == 0 || p.clock().Sub(of.current().at) >= of.current().times.Block {
		return nil
	}
	code := of.current().times.BlockError
	if code == "" {
		code = "LimitExceededException"
	}
	return Fail(http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#"+code, "The policy was updated less than 15 seconds ago: "+of.arn)
}

// deleteTable passes a deletion on; with the table goes its policy.
func (p *Policies) deleteTable(x *Exchange, region string) *Response {
	status, _, body, err := x.deliver()
	if err != nil {
		return &Response{Cut: true}
	}
	var in struct{ TableName string }
	if json.Unmarshal(x.Body, &in) == nil && status == http.StatusOK {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.tables, keyOf(x.proxy.target, region, in.TableName))
	}
	return &Response{Status: status, Body: body}
}

func noPolicy(message string) *Response {
	return Fail(http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#PolicyNotFoundException", message)
}

func reply(members map[string]string) *Response {
	body, err := json.Marshal(members)
	if err != nil {
		panic(err) // Strings can always be marshalled.
	}
	return &Response{Body: body}
}
