package testkit

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and an engine, and lets a Hook answer for the engine. It also passes on what
// goes to the engine's streams. What the client sends and what it gets is checked against the service's model (package contract); a
// violation fails the test.
type Proxy struct {
	// URL is what the client takes as its base endpoint.
	URL string

	target string
	client *http.Client
	ctx    context.Context // ends with the test, and with it every request to the engine

	inspector *inspector

	// behind answers, or passes on, what the hook lets through; nil: the engine answers everything. now is for the Date of the answers; nil:
	// the engine's.
	behind Hook
	now    func() time.Time

	mu    sync.Mutex
	hook  Hook
	count map[string]int
}

// Exchange is one request, as a Hook sees it.
type Exchange struct {
	// Op is the operation, such as "BatchWriteItem".
	Op string
	// Body is the request's JSON. The hook may replace it before it calls Forward or passes the request on.
	Body []byte
	// Ctx ends when the client gives up, when the hook has answered, and when the test ends.
	Ctx context.Context

	proxy    *Proxy
	admitted bool // what is behind has let it through
	method   string
	path     string
	header   http.Header
}

// signed returns the access key ID of who signed the request, and region the Region that it is signed for (Signature Version 4).
func (x *Exchange) signed() (accessKey, region string) {
	_, scope, _ := strings.Cut(x.header.Get("Authorization"), "Credential=")
	scope, _, _ = strings.Cut(scope, ",")
	parts := strings.Split(scope, "/")
	if len(parts) < 5 {
		return "", ""
	}
	return parts[0], parts[2]
}

// jsonType is the Content-Type of the service's answers.
const jsonType = "application/x-amz-json-1.0"

// AccessKey is whom the request was signed by.
func (x *Exchange) AccessKey() string {
	key, _ := x.signed()
	return key
}

// Response is a Hook's answer to a request.
type Response struct {
	// Status is the HTTP status; zero means 200.
	Status int
	// Body is the answer's JSON.
	Body []byte
	// Cut closes the connection without an answer. Status and Body are then ignored.
	Cut bool
}

// Hook answers a request in place of the engine, or returns nil to have it passed on. Hooks run at the same time
// as requests come in, each in the goroutine of its request, and may take as long as they like.
type Hook func(x *Exchange) *Response

// NewProxy starts a proxy in front of the engine at target, a URL. It ends with the test, and cancels requests
// that are still under way then.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	return newProxy(t, target, func(*Proxy) {})
}

// newProxy is NewProxy of a proxy that is set up before the first request can come in.
func newProxy(t testing.TB, target string, setUp func(*Proxy)) *Proxy {
	t.Helper()
	behind := serverAt(target)
	inspector := newInspector(t, behind)
	ctx, cancel := context.WithCancel(context.Background())
	// Compressed answers would be of no use to hooks; http.Transport asks for none and the requests' own wish is
	// dropped.
	transport := &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}
	p := &Proxy{
		target:    behind.url, // without the proxy that is there for nothing but the check
		client:    &http.Client{Transport: transport},
		ctx:       ctx,
		inspector: inspector,
		count:     make(map[string]int),
	}
	setUp(p)
	server := httptest.NewServer(p)
	p.URL = server.URL
	t.Cleanup(func() {
		// In this order: a hook that waits for its context is let go before Close waits for it.
		cancel()
		server.CloseClientConnections()
		server.Close()
		transport.CloseIdleConnections()
	})
	return p
}

// Use replaces the hook; with nil everything is passed on. Requests under way keep the hook that they met.
func (p *Proxy) Use(h Hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = h
}

// Count returns how many requests for an operation have come in, answered or not.
func (p *Proxy) Count(op string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[op]
}

// Forward sends the request, with x.Body as it now is, to the engine and returns the answer. It may be called
// more than once, and also after the client has given up or the hook has answered, which is how a write lands
// late: it ends early with the test only. It fails if the engine can't be reached; an engine's own error is an
// answer with a status of 400 or more.
func (x *Exchange) Forward() (status int, body []byte, err error) {
	status, _, body, err = x.send()
	return status, body, err
}

// errCut is the answer of a layer that closes the connection.
var errCut = errors.New("the connection was closed")

// send is Forward with the answer's header.
func (x *Exchange) send() (int, http.Header, []byte, error) {
	if x.proxy.behind == nil || x.admitted {
		return x.deliver()
	}
	response := x.proxy.behind(x)
	switch {
	case response == nil:
		return x.deliver()
	case response.Cut:
		return 0, nil, nil, fmt.Errorf("forward %s: %w", x.Op, errCut)
	}
	return response.status(), http.Header{"Content-Type": {jsonType}}, response.Body, nil
}

// deliver sends the request to the engine.
func (x *Exchange) deliver() (int, http.Header, []byte, error) {
	req, err := http.NewRequestWithContext(x.proxy.ctx, x.method, x.proxy.target+x.path, bytes.NewReader(x.Body))
	if err != nil {
		return 0, nil, nil, fmt.Errorf("forward %s: %w", x.Op, err)
	}
	req.Header = x.header.Clone()
	resp, err := x.proxy.client.Do(req)
	if err != nil {
		return 0, nil, nil, fmt.Errorf("forward %s: %w", x.Op, err)
	}
	body, err := io.ReadAll(resp.Body)
	if closeErr := resp.Body.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return 0, nil, nil, fmt.Errorf("forward %s: read answer: %w", x.Op, err)
	}
	return resp.StatusCode, resp.Header, body, nil
}

// Throttle answers as DynamoDB does when a table's capacity is used up. The operation is named in the message
// only.
func Throttle(op string) *Response {
	return Fail(http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
		"The level of configured provisioned throughput for the table was exceeded. ("+op+")")
}

// Fail answers with an error. Its type is one of DynamoDB's, with or without the part up to the "#".
func Fail(status int, errType, message string) *Response {
	body, err := json.Marshal(map[string]string{"__type": errType, "message": message})
	if err != nil {
		panic(err) // Strings can always be marshalled.
	}
	return &Response{Status: status, Body: body}
}

// ServeHTTP handles one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler) // The client is gone.
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(p.ctx, cancel)()
	x := p.exchange(ctx, r, body)
	call := p.inspector.request(r, body)

	p.mu.Lock()
	hook := p.hook
	p.count[x.Op]++
	p.mu.Unlock()

	if hook != nil {
		if response := hook(x); response != nil {
			p.inspector.hooked(call, response)
			p.date(w)
			response.write(w)
			return
		}
	}
	status, header, answer, err := x.send()
	if err != nil {
		cut(w) // An engine that can't be reached is, to the client, a broken connection.
		return
	}
	p.inspector.answer(call, status, answer)
	for name, values := range header {
		w.Header()[name] = values
	}
	p.date(w)
	writeBody(w, status, answer)
}

// date gives the answer the time of the service that is played.
func (p *Proxy) date(w http.ResponseWriter) {
	if p.now != nil {
		w.Header().Set("Date", p.now().UTC().Format(http.TimeFormat))
	}
}

// exchange copies what is needed of a request, which is not to be used once it has been answered.
func (p *Proxy) exchange(ctx context.Context, r *http.Request, body []byte) *Exchange {
	header := r.Header.Clone()
	for _, name := range []string{"Accept-Encoding", "Connection", "Content-Length"} {
		header.Del(name)
	}
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	return &Exchange{
		Op: op, Body: body, Ctx: ctx, proxy: p, method: r.Method, path: r.URL.RequestURI(), header: header,
	}
}

// write sends a hook's answer. It has no checksum header, which the SDK checks only where there is one.
func (r *Response) write(w http.ResponseWriter) {
	if r.Cut {
		cut(w)
		return
	}
	w.Header().Set("Content-Type", jsonType)
	writeBody(w, r.status(), r.Body)
}

func (r *Response) status() int { return cmp.Or(r.Status, http.StatusOK) }

// writeBody ends an answer. A client that no longer reads it is no failure of the proxy's.
func writeBody(w http.ResponseWriter, status int, body []byte) {
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// cut closes the connection without an answer.
func cut(w http.ResponseWriter) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // This closes the connection, too.
	}
	_ = conn.Close()
}
