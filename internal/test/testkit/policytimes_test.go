package testkit

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

func TestPolicyTakesEffectLate(t *testing.T) {
	p := play(t)
	p.SetTimes(PolicyTimes{Effect: 2 * time.Second, Read: time.Second})
	p.Outside("outside")
	p.mustPut(`"dynamodb:PutItem"`)
	_, err := ClientAs(p.front.URL, "operator").GetResourcePolicy(t.Context(), &dynamodb.GetResourcePolicyInput{ResourceArn: &p.arn})
	wantCode(t, "read at once", err, "PolicyNotFoundException")
	p.pass(time.Second)
	_, err = ClientAs(p.front.URL, "operator").GetResourcePolicy(t.Context(), &dynamodb.GetResourcePolicyInput{ResourceArn: &p.arn})
	wantCode(t, "read later", err, "")
	if p.denied("app") {
		t.Error("denied before the policy takes effect")
	}
	p.pass(time.Second)
	if !p.denied("app") {
		t.Error("not denied when the policy has taken effect")
	}

	// What takes it back is as late.
	p.mustPut(`"dynamodb:DeleteItem"`)
	p.pass(2*time.Second - 1)
	if !p.denied("app") {
		t.Error("no more denied before the next policy takes effect")
	}
	p.pass(1)
	if p.denied("app") {
		t.Error("denied though the next policy has taken effect")
	}

	p.mustPut(`"dynamodb:PutItem"`)
	p.LateFor("app2", time.Minute) // of one role with app
	p.pass(time.Minute)
	if p.denied("app") || p.denied("outside") {
		t.Error("denied before the policy takes effect for this role")
	}
	p.pass(time.Hour)
	if !p.denied("app") || p.denied("outside") {
		t.Error("a role that is late isn't denied, or one outside IAM is")
	}
}

func TestPolicyFlaps(t *testing.T) {
	p := play(t)
	p.SetTimes(PolicyTimes{Effect: time.Second, Flap: 2 * time.Second})
	for range 8 {
		p.mustPut(`"dynamodb:DeleteItem"`)
		p.pass(time.Hour)
		p.mustPut(`"dynamodb:PutItem"`)
		p.pass(time.Second)
		if !p.denied("app") {
			t.Error("the first probe isn't denied")
		}
	}
	var denied int
	for range 100 {
		if p.denied("app") {
			denied++
		}
	}
	if denied < 20 || denied > 80 {
		t.Errorf("%d of 100 are denied while the policy flaps", denied)
	}
	p.pass(2 * time.Second)
	for range 20 {
		if !p.denied("app") {
			t.Fatal("not denied when the policy is stable")
		}
	}
}

func TestPolicyTime(t *testing.T) {
	p := play(t)
	p.Skew(time.Hour)
	date := func() string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.front.URL, strings.NewReader(`{}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "DynamoDB_20120810.ListTables")
		req.Header.Set("Content-Type", jsonType)
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=operator/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		return resp.Header.Get("Date")
	}
	if got := date(); got != "Thu, 01 Jan 2026 13:00:00 GMT" {
		t.Errorf("date of the engine's answer: %q", got)
	}
	p.front.Use(func(x *Exchange) *Response { return Throttle(x.Op) })
	if got := date(); got != "Thu, 01 Jan 2026 13:00:00 GMT" {
		t.Errorf("date of a hook's answer: %q", got)
	}
	p.front.Use(nil)
	_, err := p.put(fmt.Sprintf(`{"Statement":{"Effect":"Deny","Principal":{"AWS":"%srole/app"},"Action":"dynamodb:PutItem","Resource":"%s",
		"Condition":{"DateLessThan":{"aws:CurrentTime":"2026-01-01T13:00:10Z"}}}}`, account, p.arn), "")
	wantCode(t, "put", err, "")
	p.pass(9 * time.Second)
	if !p.denied("app") || p.denied("outside") {
		t.Error("not denied before the time, or another role is")
	}
	p.pass(time.Second)
	if p.denied("app") {
		t.Error("denied when the time is over")
	}
}

// A request that was admitted before the policy lands after it; one that a hook in front holds is judged when it arrives.
func TestPolicyAdmittedRequestLandsLater(t *testing.T) {
	p := play(t)
	then := func(*Exchange) {}
	p.front = p.Proxy(Engine(t), func(x *Exchange) *Response {
		then(x)
		status, body, err := x.Forward() // it was judged before
		if err != nil {
			return &Response{Cut: true}
		}
		return &Response{Status: status, Body: body}
	})
	for _, where := range []string{"admitted", "after the policies", "in front"} {
		held, let := make(chan string), make(chan struct{})
		hold := func(caller string, x *Exchange) {
			if x.Op == "PutItem" {
				held <- caller
				<-let
			}
		}
		switch where {
		case "admitted":
			p.Admitted(hold)
		case "after the policies":
			then = func(x *Exchange) { hold(playedCallers["app"], x) }
		default:
			p.front.Use(func(x *Exchange) *Response { hold("in front", x); return nil })
		}
		result := make(chan error, 1)
		go func() {
			_, err := ClientAs(p.front.URL, "app").PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &p.table, Item: Item("id", where)})
			result <- err
		}()
		caller := <-held
		p.mustPut(`"dynamodb:PutItem"`)
		close(let)
		err := <-result
		there := Get(t, Client(Engine(t)), p.table, Item("id", where)) != nil
		if where != "in front" && (err != nil || caller != playedCallers["app"] || !there) {
			t.Errorf("%s: %v, held for %s, landed: %t", where, err, caller, there)
		}
		if where == "in front" && code(err) != "AccessDeniedException" {
			t.Errorf("%s: %v", where, err)
		}
		p.Admitted(nil)
		then = func(*Exchange) {}
		p.front.Use(nil)
		p.mustPut(`"dynamodb:DeleteItem"`)
	}
}

func TestPolicyGoesWithItsTable(t *testing.T) {
	p := play(t)
	second := p.Proxy(Engine(t), nil) // proxies share the policies
	p.mustPut(`"dynamodb:PutItem"`)
	p.front = second
	if !p.denied("app") {
		t.Error("not denied behind another proxy")
	}
	db := Client(Engine(t))
	_, err := db.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &p.table}) // around the proxies
	wantCode(t, "delete", err, "")
	_, err = p.put(fence(p.arn, `"dynamodb:PutItem"`), "")
	wantCode(t, "put to a deleted table", err, "ResourceNotFoundException")
	CreateTable(t, db, TableSpec{Name: p.table, Hash: "id:S"})
	_, err = p.put(fence(p.arn, `"dynamodb:PutItem"`), "NO_POLICY")
	wantCode(t, "put to the table that was made anew", err, "")
	_, err = ClientAs(p.front.URL, "operator").DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &p.table})
	wantCode(t, "delete", err, "")
	CreateTable(t, db, TableSpec{Name: p.table, Hash: "id:S"})
	if p.denied("app") {
		t.Error("denied by the policy of the table before")
	}
}

// failures counts what a kit reports to a test that has to fail.
type failures struct {
	testing.TB
	n int
}

func (f *failures) Errorf(string, ...any) { f.n++ }

func TestPolicyFailsLoudly(t *testing.T) {
	p := play(t)
	loud := &failures{TB: t}
	p.Policies.t = loud
	for i, bad := range []string{
		`{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}}`,
		`{"Statement":{"Effect":"Deny","Principal":"*","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:SourceVpc":"v"}}}}`,
	} {
		_, err := p.put(bad, "")
		wantCode(t, "unknown condition", err, "ValidationException")
		if loud.n != i+1 {
			t.Errorf("an unknown condition doesn't fail the test: %s", bad)
		}
	}
	_, err := p.put(`{"Statement":{"Effect":"deny","Principal":"*","Action":"*","Resource":"*"}}`, "")
	wantCode(t, "invalid", err, "ValidationException")
	if loud.n != 2 {
		t.Error("what the service refuses fails the test")
	}
}

// What others put is there at once, and Text tells it.
func TestPolicyOfOthers(t *testing.T) {
	p := play(t)
	p.SetTimes(PolicyTimes{Effect: time.Hour, Block: UpdateBlock})
	text := fence(p.arn, `"dynamodb:PutItem"`)
	p.Put(p.table, text)
	if !p.denied("app") || p.Denied("app") != 1 || p.Denied("app2") != 0 || p.Text(p.table) != text {
		t.Errorf("denied %v, policy %s", p.Denials(), p.Text(p.table))
	}
	_, err := p.put(fence(p.arn, `"dynamodb:DeleteItem"`), "NO_POLICY")
	wantCode(t, "put as the first", err, "PolicyNotFoundException")
	_, err = p.put(fence(p.arn, `"dynamodb:DeleteItem"`), "")
	wantCode(t, "put after it", err, "")
	p.Put(p.table, "")
	if p.denied("app") || p.Text(p.table) != "" {
		t.Errorf("policy %s after its removal", p.Text(p.table))
	}
	p.Deny(p.front, "PutItem", "no")
	if !p.denied("operator") {
		t.Error("not denied by Deny")
	}
}
