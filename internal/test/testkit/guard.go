package testkit

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Guard is a proxy that lets through only what a policy allows, as IAM does. Put it between a program and an engine, and the program
// has the permissions of the policy.
type Guard struct {
	*Proxy

	allowed   map[string][]string
	mu        sync.Mutex
	iterators map[string]string // the stream of each iterator
	denied    []string
}

// NewGuard starts a guard in front of the engine at url. allowed has the resources of each action, such as "dynamodb:Scan": ARNs of
// tables and streams, or "*" for an action that is for no resource.
func NewGuard(t testing.TB, url string, allowed map[string][]string) *Guard {
	t.Helper()
	g := &Guard{Proxy: NewProxy(t, url), allowed: allowed, iterators: map[string]string{}}
	g.Use(g.pass)
	return g
}

// Denied returns what was refused so far, an action and a resource each.
func (g *Guard) Denied() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.denied)
}

func (g *Guard) pass(x *Exchange) *Response {
	action := "dynamodb:" + x.Op
	if strings.HasPrefix(x.header.Get("X-Amz-Target"), "AnyScaleFrontendService.") {
		action = "application-autoscaling:" + x.Op
	}
	resources, err := g.resources(x)
	if err != nil {
		return Fail(http.StatusBadRequest, "SerializationException", err.Error())
	}
	for _, resource := range resources {
		if !slices.ContainsFunc(g.allowed[action], func(allowed string) bool { return allowed == "*" || named(allowed) == named(resource) }) {
			g.mu.Lock()
			g.denied = append(g.denied, action+" on "+resource)
			g.mu.Unlock()
			return Fail(http.StatusBadRequest, "AccessDeniedException", fmt.Sprintf("not authorized to perform: %s on resource: %s", action, resource))
		}
	}
	if x.Op != "GetShardIterator" && x.Op != "GetRecords" {
		return nil
	}
	return g.noteIterator(x, resources[0])
}

// named is a table's name, which it goes by as well as by its ARN, or a stream's ARN.
func named(resource string) string {
	if strings.Contains(resource, "/stream/") {
		return resource
	}
	_, name, _ := strings.Cut(resource, ":table/")
	if name == "" {
		return resource
	}
	return name
}

// resources are what a request is for.
func (g *Guard) resources(x *Exchange) ([]string, error) {
	var in struct {
		TableName, StreamArn, ResourceArn, ShardIterator string
		RequestItems                                     map[string]json.RawMessage
	}
	if err := json.Unmarshal(x.Body, &in); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	var list []string
	for _, one := range []string{in.TableName, in.StreamArn, in.ResourceArn} {
		if one != "" {
			list = append(list, one)
		}
	}
	for table := range in.RequestItems {
		list = append(list, table)
	}
	if in.ShardIterator != "" {
		g.mu.Lock()
		list = append(list, g.iterators[in.ShardIterator])
		g.mu.Unlock()
	}
	if len(list) == 0 {
		list = []string{"nothing that can be named"}
	}
	return list, nil
}

// noteIterator passes the request on and notes which stream the iterators in the answer are of.
func (g *Guard) noteIterator(x *Exchange, stream string) *Response {
	status, body, err := x.Forward()
	if err != nil {
		return &Response{Cut: true}
	}
	var out struct{ ShardIterator, NextShardIterator string }
	if json.Unmarshal(body, &out) == nil {
		g.mu.Lock()
		for _, iterator := range []string{out.ShardIterator, out.NextShardIterator} {
			if iterator != "" {
				g.iterators[iterator] = stream
			}
		}
		g.mu.Unlock()
	}
	return &Response{Status: status, Body: body}
}
