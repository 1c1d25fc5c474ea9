package testkit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"reseal/internal/test/contract"
)

// Moto is the name that Cloud's server goes by in the list of what is known of engines.
const Moto = "moto"

// known is what each engine does otherwise than the service's model says, found by running all tests on it.
var known = map[string][]contract.Exemption{
	Dynoxide: {
		{
			Side: contract.Answer, Operations: []string{"DescribeTable"}, Path: "Table.TableThroughputModeSummary", Rule: contract.Member,
			Why: "it describes a table with a member of its own",
		},
		{
			Side: contract.Answer, Operations: []string{"CreateTable", "UpdateTable", "DeleteTable"}, Path: "TableDescription.TableThroughputModeSummary",
			Rule: contract.Member, Why: "as above",
		},
		{
			Side: contract.Request, Operations: []string{"GetShardIterator", "DescribeStream"}, Path: "ShardId", Rule: contract.Length,
			Why: "it has the table's name in the names of shards, which are too long then",
		},
		{
			Side: contract.Request, Operations: []string{"GetShardIterator"}, Path: "SequenceNumber", Rule: contract.Length,
			Why: "its sequence numbers have a digit or more, the service's 21",
		},
	},
	Moto: {
		{
			Side: contract.Answer, Operations: []string{"GetEventSourceMapping"}, Path: "Tags", Rule: contract.Member,
			Why: "it answers with tags, for which the service has ListTags",
		},
		{
			Side: contract.Answer, Operations: []string{"DescribeScalableTargets"}, Path: "ScalableTargets[].RoleARN", Rule: contract.Required,
			Why: "it knows only a role that was given, the service has one of its own",
		},
	},
}

// models are the service models of this test process.
var models struct {
	once   sync.Once
	models *contract.Models
	err    error
}

// serviceModels returns the models; nil where they can't be had, which is told once, and with CI=true ends the test.
func serviceModels(t testing.TB) *contract.Models {
	t.Helper()
	models.once.Do(func() {
		models.models, models.err = contract.Install(context.Background(), os.Stderr) // for the tests after this one, too
		if models.err != nil {
			fmt.Fprintln(os.Stderr, "NOT CHECKED against the service models:", models.err)
		}
	})
	if models.err != nil && os.Getenv("CI") == "true" {
		t.Fatal(models.err)
	}
	return models.models
}

// server is what stands behind an address.
type server struct {
	url    string
	name   string // an engine's; "" if it is none
	tables *contract.Tables
}

// servers are those of this test process, by their own addresses and by those of the proxies in front of them.
var servers struct {
	mu    sync.Mutex
	at    map[string]*server
	front map[testing.TB]map[string]string // the address of the proxy that a test has in front of a server
}

// serverAt returns the server behind an address.
func serverAt(url string) *server {
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if s := servers.at[url]; s != nil {
		return s
	}
	if servers.at == nil {
		servers.at, servers.front = map[string]*server{}, map[testing.TB]map[string]string{}
	}
	servers.at[url] = &server{url: url, tables: &contract.Tables{}}
	return servers.at[url]
}

// checked returns the address of a proxy in front of an engine that does nothing but check; always the same one for a test.
func checked(t testing.TB, url, name string) string {
	t.Helper()
	s := serverAt(url)
	servers.mu.Lock()
	if s.name == "" { // it is always the same one, and others read it
		s.name = name
	}
	front, is := servers.front[t][url]
	servers.mu.Unlock()
	if is {
		return front
	}
	front = NewProxy(t, url).URL
	servers.mu.Lock()
	defer servers.mu.Unlock()
	if servers.front[t] == nil {
		servers.front[t] = map[string]string{}
	}
	servers.at[front], servers.front[t][url] = s, front
	t.Cleanup(func() {
		servers.mu.Lock()
		defer servers.mu.Unlock()
		delete(servers.at, front)
		delete(servers.front, t)
	})
	return front
}

// exempted are the exemptions of tests, by name.
var exempted struct {
	mu sync.Mutex
	by map[string][]contract.Exemption
}

// BadRequests says that the test sends requests that break rules, and why. It holds for the test, its subtests, and the proxies that a
// test above it has made.
func BadRequests(t testing.TB, why string, rules ...contract.Rule) {
	t.Helper()
	exempt(t, contract.Request, why, rules)
}

// BadAnswers is BadRequests for the answers of hooks.
func BadAnswers(t testing.TB, why string, rules ...contract.Rule) {
	t.Helper()
	exempt(t, contract.Answer, why, rules)
}

func exempt(t testing.TB, side contract.Side, why string, rules []contract.Rule) {
	t.Helper()
	if why == "" || len(rules) == 0 {
		t.Fatal("an exemption needs a reason and rules")
	}
	exempted.mu.Lock()
	defer exempted.mu.Unlock()
	if exempted.by == nil {
		exempted.by = map[string][]contract.Exemption{}
	}
	name := t.Name()
	for _, rule := range rules {
		if !slices.Contains(contract.Rules, rule) {
			t.Fatalf("there is no rule %q", rule)
		}
		exempted.by[name] = append(exempted.by[name], contract.Exemption{Side: side, Rule: rule, Why: why})
	}
	t.Cleanup(func() {
		exempted.mu.Lock()
		defer exempted.mu.Unlock()
		delete(exempted.by, name)
	})
}

// isExempt tells whether a violation that a test's proxy has seen is known of the engine or said by the test.
func isExempt(test, engine string, v contract.Violation) bool {
	for _, e := range known[engine] {
		if e.Covers(v) {
			return true
		}
	}
	exempted.mu.Lock()
	defer exempted.mu.Unlock()
	for by, list := range exempted.by {
		if by != test && !strings.HasPrefix(test, by+"/") && !strings.HasPrefix(by, test+"/") {
			continue
		}
		for _, e := range list {
			if e.Covers(v) {
				return true
			}
		}
	}
	return false
}

// inspector checks what goes through one proxy.
type inspector struct {
	t        testing.TB
	server   *server
	contract *contract.Contract // nil: nothing is checked
}

func newInspector(t testing.TB, s *server) *inspector {
	t.Helper()
	i := &inspector{t: t, server: s}
	if m := serviceModels(t); m != nil {
		i.contract = contract.New(m, s.tables)
	}
	return i
}

// request checks a request; the result checks its answers.
func (i *inspector) request(r *http.Request, body []byte) *contract.Call {
	if i.contract == nil {
		return nil
	}
	return i.contract.Request(r.Method, r.URL, r.Header, body, i.report)
}

func (i *inspector) answer(call *contract.Call, status int, body []byte) {
	if call != nil {
		call.Answer(status, body)
	}
}

// hooked checks a hook's answer. One that is cut short or no JSON can be on purpose only.
func (i *inspector) hooked(call *contract.Call, r *Response) {
	if !r.Cut && json.Valid(r.Body) {
		i.answer(call, r.status(), r.Body)
	}
}

func (i *inspector) report(v contract.Violation) {
	servers.mu.Lock()
	engine := i.server.name
	servers.mu.Unlock()
	if !isExempt(i.t.Name(), engine, v) {
		i.t.Errorf("%s", v)
	}
}
