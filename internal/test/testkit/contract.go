package testkit

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"reseal/internal/test/contract"
)

// Moto is the name that Cloud's server goes by in the list of what is known of engines.
const Moto = "moto"

// known is what an engine does otherwise than the service's model says, found by running all tests on it. The tests need none of it.
var known = map[string][]contract.Exemption{}

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
	s.name = name
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

// BadRequest says that the test sends requests that break a rule, and why. It holds for the test, its subtests, and the proxies that a
// test above it has made; without operations for all of them.
func BadRequest(t testing.TB, rule contract.Rule, why string, operations ...string) {
	t.Helper()
	exempt(t, contract.Exemption{Side: contract.Request, Rule: rule, Why: why, Operations: operations})
}

// BadAnswer is BadRequest for the answers of hooks.
func BadAnswer(t testing.TB, rule contract.Rule, why string, operations ...string) {
	t.Helper()
	exempt(t, contract.Exemption{Side: contract.Answer, Rule: rule, Why: why, Operations: operations})
}

func exempt(t testing.TB, e contract.Exemption) {
	t.Helper()
	if e.Why == "" || e.Rule == "" {
		t.Fatal("an exemption needs a rule and a reason")
	}
	exempted.mu.Lock()
	defer exempted.mu.Unlock()
	if exempted.by == nil {
		exempted.by = map[string][]contract.Exemption{}
	}
	name := t.Name()
	exempted.by[name] = append(exempted.by[name], e)
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

func (i *inspector) report(v contract.Violation) {
	if !isExempt(i.t.Name(), i.server.name, v) {
		i.t.Errorf("%s", v)
	}
}
