package testkit

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// Cloud is moto's server, which plays many services of AWS at one address. It knows no permissions and runs no function.
type Cloud struct {
	// URL is what a client takes as its base endpoint.
	URL string

	t testing.TB
}

// NewCloud starts a server. It ends with the test.
func NewCloud(t testing.TB) *Cloud {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, Python(t), "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0")
	cmd.WaitDelay = 2 * time.Second
	said := newAwaited("Running on ", "\n")
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatalf("start moto: %v", err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // killed, mostly; else it has said why
		close(ended)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	const patience = 3 * time.Minute
	select {
	case address := <-said.found:
		return &Cloud{URL: checked(t, address, Moto), t: t}
	case <-ended:
		t.Fatalf("start moto: it has ended: %s", said)
	case <-time.After(patience):
		t.Fatalf("start moto: it didn't listen within %s: %s", patience, said)
	}
	return nil
}

// Query calls an action of a service with a Query API, such as CloudFormation, and returns the answer's status and XML. The
// parameters are names and values in turn.
func (c *Cloud) Query(service, action, version string, parameters ...string) (status int, answer string) {
	c.t.Helper()
	form := url.Values{"Action": {action}, "Version": {version}}
	for i := 0; i+1 < len(parameters); i += 2 {
		form.Set(parameters[i], parameters[i+1])
	}
	return c.Send(service, http.MethodPost, "/", "application/x-www-form-urlencoded", form.Encode())
}

// Send sends a request of a service with a REST API. The server goes by the service that a signature is for, and checks no signature.
func (c *Cloud) Send(service, method, path, contentType, body string) (status int, answer string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.URL+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", fmt.Sprintf("AWS4-HMAC-SHA256 Credential=test/20260101/%s/%s/aws4_request, SignedHeaders=host, Signature=none", Region, service))
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// awaited is a process's output, in which something is waited for.
type awaited struct {
	after, before string
	found         chan string // gets what is between the two, once

	mu     sync.Mutex
	output bytes.Buffer
	isDone bool
}

func newAwaited(after, before string) *awaited {
	return &awaited{after: after, before: before, found: make(chan string, 1)}
}

func (a *awaited) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.output.Write(p)
	if _, rest, ok := strings.Cut(a.output.String(), a.after); ok && !a.isDone {
		if between, _, ok := strings.Cut(rest, a.before); ok {
			a.isDone = true
			a.found <- strings.TrimSpace(between)
		}
	}
	return len(p), nil
}

func (a *awaited) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.output.String()
}
