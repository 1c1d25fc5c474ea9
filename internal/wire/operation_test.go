package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/call"
	"reseal/internal/test/testkit"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// write makes a BatchWriteItem through the operation.
func write(ctx context.Context, o *wire.Operation, client *dynamodb.Client, x *wire.Exchange) error {
	in := &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"table": {}}}
	return o.Do(ctx, client, x, in, func(ctx context.Context, options ...func(*dynamodb.Options)) error {
		_, err := client.BatchWriteItem(ctx, in, options...)
		return err
	})
}

// sender is an HTTP client that answers by itself and keeps what it was given.
type sender struct {
	mu       sync.Mutex
	requests []*http.Request
	bodies   []string
	answer   func(*http.Request) (*http.Response, error) // nil: {}
}

func (s *sender) Do(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.requests, s.bodies = append(s.requests, r), append(s.bodies, string(body))
	s.mu.Unlock()
	if s.answer != nil {
		return s.answer(r)
	}
	return respond(http.StatusOK, `{}`), nil
}

func respond(status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body))}
}

// clientOf is the SDK's client with that HTTP client and what change changes.
func clientOf(s *sender, change ...func(*dynamodb.Options)) *dynamodb.Client {
	options := testkit.Client("http://127.0.0.1:1").Options()
	options.HTTPClient = s
	for _, one := range change {
		one(&options)
	}
	return dynamodb.New(options)
}

// steady is the header without what is of one request only.
func steady(t *testing.T, r *http.Request) http.Header {
	t.Helper()
	header := maps.Clone(r.Header)
	for _, name := range []string{"Amz-Sdk-Invocation-Id", "X-Amz-Date"} {
		if len(header.Get(name)) < 8 {
			t.Errorf("%s is %q", name, header.Get(name))
		}
		header.Del(name)
	}
	credential, signature, is := strings.Cut(header.Get("Authorization"), ", Signature=")
	if !is || len(signature) != 64 {
		t.Errorf("authorization %q", header.Get("Authorization"))
	}
	header.Set("Authorization", credential)
	return header
}

// Each request is what the client's own method would have sent, and is signed for its own body.
func TestOperationSendsWhatTheMethodDoes(t *testing.T) {
	for _, base := range []string{"http://127.0.0.1:1", "https://host:8000/a/path"} {
		sendsWhatTheMethodDoes(t, base)
	}
}

func sendsWhatTheMethodDoes(t *testing.T, base string) {
	t.Helper()
	var s sender
	client := clientOf(&s, func(o *dynamodb.Options) { o.BaseEndpoint = &base })
	x := wire.Exchange{Body: []byte(`{"the":"method's"}`)}
	in := &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"table": {}}}
	if _, err := client.BatchWriteItem(t.Context(), in, call.Once, x.Use); err != nil {
		t.Fatal(err)
	}
	var o wire.Operation
	signatures := map[string]bool{}
	for i := range 5 {
		body := fmt.Sprintf(`{"the":"operation's %d"}`, i*100)
		x := wire.Exchange{Body: []byte(body)}
		if err := write(t.Context(), &o, client, &x); err != nil || string(x.Answer) != `{}` {
			t.Fatalf("answer %q, %v", x.Answer, err)
		}
		want, got := s.requests[0], s.requests[i+1]
		if s.bodies[i+1] != body || got.ContentLength != int64(len(body)) {
			t.Errorf("body %q of %d bytes, want %q", s.bodies[i+1], got.ContentLength, body)
		}
		if got.Method != want.Method || got.URL.String() != want.URL.String() || got.Host != want.Host {
			t.Errorf("%s %s %s, want %s %s %s", got.Method, got.URL, got.Host, want.Method, want.URL, want.Host)
		}
		header, wanted := steady(t, got), steady(t, want)
		if fmt.Sprint(header) != fmt.Sprint(wanted) {
			t.Errorf("header %v, want %v", header, wanted)
		}
		signatures[got.Header.Get("Authorization")+got.Header.Get("X-Amz-Date")] = true
	}
	if len(signatures) != 5 {
		t.Errorf("%d signatures of 5 bodies", len(signatures))
	}
}

// Without a body of ours each request has that of its own input.
func TestOperationWithInputs(t *testing.T) {
	var s sender
	client := clientOf(&s)
	var o wire.Operation
	for _, name := range []string{"one", "another"} {
		in := &dynamodb.ScanInput{TableName: &name}
		var x wire.Exchange
		err := o.Do(t.Context(), client, &x, in, func(ctx context.Context, options ...func(*dynamodb.Options)) error {
			_, err := client.Scan(ctx, in, options...)
			return err
		})
		if last := s.bodies[len(s.bodies)-1]; err != nil || last != `{"TableName":"`+name+`"}` {
			t.Errorf("sent %q, %v", last, err)
		}
	}
}

// Many requests at a time don't get into each other's way, whatever becomes of them.
func TestOperationAtOnce(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || bytes.HasPrefix(body, []byte("x")) {
			w.WriteHeader(http.StatusInternalServerError)
			return
		}
		_, _ = w.Write(body)
	}))
	defer web.Close()
	client := testkit.Client(web.URL)
	var o wire.Operation
	var group sync.WaitGroup
	for i := range 16 {
		group.Go(func() {
			for n := range 50 {
				body := fmt.Appendf(nil, `{"%d":%d}`, i, n)
				if fails := n%7 == 0; fails {
					body[0] = 'x'
				}
				x := wire.Exchange{Body: body}
				err := write(t.Context(), &o, client, &x)
				if (err != nil) != (n%7 == 0) || err == nil && (string(x.Answer) != string(body) || !x.Sent()) {
					t.Errorf("%s: answer %q, sent %t, %v", body, x.Answer, x.Sent(), err)
				}
			}
		})
	}
	group.Wait()
}

// What goes wrong is the same error as of the client's method.
func TestOperationErrors(t *testing.T) {
	refused := func(code string) func(*http.Request) (*http.Response, error) {
		return func(*http.Request) (*http.Response, error) {
			return respond(http.StatusBadRequest, `{"__type":"com.amazonaws.dynamodb.v20120810#`+code+`","message":"m"}`), nil
		}
	}
	for name, answer := range map[string]func(*http.Request) (*http.Response, error){
		"throttled":   refused("ProvisionedThroughputExceededException"),
		"validation":  refused("ValidationException"),
		"no table":    refused("ResourceNotFoundException"),
		"unknown":     refused("NewException"),
		"server":      func(*http.Request) (*http.Response, error) { return respond(http.StatusInternalServerError, ``), nil },
		"redirection": func(*http.Request) (*http.Response, error) { return respond(http.StatusFound, ``), nil },
		"no answer":   func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"cut": func(*http.Request) (*http.Response, error) {
			r := respond(http.StatusOK, `{`)
			r.ContentLength = 2
			return r, nil
		},
	} {
		client := clientOf(&sender{answer: answer})
		in := &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{"table": {}}}
		x := wire.Exchange{Body: []byte(`{}`)}
		_, want := client.BatchWriteItem(t.Context(), in, call.Once, x.Use)
		var o wire.Operation
		for range 2 {
			x := wire.Exchange{Body: []byte(`{}`)}
			err := write(t.Context(), &o, client, &x)
			var operation *smithy.OperationError
			if !errors.As(err, &operation) || operation.OperationName != "BatchWriteItem" || operation.ServiceID != "DynamoDB" {
				t.Errorf("%s: %v is of no operation", name, err)
			}
			if want == nil || err == nil || err.Error() != want.Error() || call.Classify(err) != call.Classify(want) || x.Answer != nil {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
	}
}

func TestOperationIsCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := clientOf(&sender{answer: func(r *http.Request) (*http.Response, error) {
		cancel()
		<-r.Context().Done()
		return nil, r.Context().Err()
	}})
	var o wire.Operation
	if err := write(ctx, &o, client, &wire.Exchange{Body: []byte(`{}`)}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := write(ctx, &o, client, &wire.Exchange{Body: []byte(`{}`)}); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// rotating are credentials that are others each time.
type rotating struct{ calls atomic.Int64 }

func (r *rotating) Retrieve(context.Context) (aws.Credentials, error) {
	n := r.calls.Add(1)
	return aws.Credentials{AccessKeyID: fmt.Sprintf("AK%d", n), SecretAccessKey: "secret", AccountID: fmt.Sprintf("%012d", n)}, nil
}

// Credentials are asked for at each request, and the endpoint goes by their account.
func TestOperationFollowsCredentials(t *testing.T) {
	var s sender
	client := clientOf(&s, func(o *dynamodb.Options) {
		o.BaseEndpoint, o.Region, o.Credentials = nil, "us-east-1", &rotating{}
	})
	var o wire.Operation
	for i := range 3 {
		if err := write(t.Context(), &o, client, &wire.Exchange{Body: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
		key, host := fmt.Sprintf("Credential=AK%d/", i+1), fmt.Sprintf("%012d.ddb.us-east-1.amazonaws.com", i+1)
		if r := s.requests[i]; !strings.Contains(r.Header.Get("Authorization"), key) || r.URL.Host != host {
			t.Errorf("request %d goes to %s with %s, want %s and %s", i, r.URL.Host, r.Header.Get("Authorization"), host, key)
		}
	}
}

// A clock that is wrong is corrected from the service's answers, as the SDK does.
func TestOperationCorrectsClock(t *testing.T) {
	const wrong = time.Hour
	s := &sender{answer: func(r *http.Request) (*http.Response, error) {
		answer := respond(http.StatusOK, `{}`)
		answer.Header.Set("Date", time.Now().Add(wrong).UTC().Format(http.TimeFormat))
		signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil || time.Until(signed) < wrong-time.Minute {
			refusal := respond(http.StatusBadRequest, `{"__type":"com.amazon.coral.service#InvalidSignatureException","message":"Signature expired"}`)
			refusal.Header = answer.Header
			return refusal, nil
		}
		return answer, nil
	}}
	client := clientOf(s)
	var o wire.Operation
	if err := write(t.Context(), &o, client, &wire.Exchange{Body: []byte(`{}`)}); err == nil {
		t.Fatal("the first request was signed for the right time")
	}
	for range 2 {
		if err := write(t.Context(), &o, client, &wire.Exchange{Body: []byte(`{}`)}); err != nil {
			t.Errorf("after an answer with the time: %v", err)
		}
	}
}

// An operation that is given another client makes its requests by that.
func TestOperationOfAnotherClient(t *testing.T) {
	var one, other sender
	var o wire.Operation
	for _, s := range []*sender{&one, &other} {
		client := clientOf(s)
		for range 2 {
			if err := write(t.Context(), &o, client, &wire.Exchange{Body: []byte(`{}`)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(one.requests) != 2 || len(other.requests) != 2 {
		t.Errorf("%d and %d requests, want 2 each", len(one.requests), len(other.requests))
	}
}

// With net/http's own client, errors are of the same kind as those of the client's method.
func TestOperationErrorsOfTheNetwork(t *testing.T) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // net/http notices that the client has gone only then
		switch r.URL.Path {
		case "/moved":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "/elsewhere":
			_, _ = io.WriteString(w, `{"UnprocessedItems":{}}`) // which would be taken for "written"
		case "/late":
			<-r.Context().Done()
		default:
			panic(http.ErrAbortHandler)
		}
	}))
	defer web.Close()
	for name, base := range map[string]string{
		"nobody there": "http://127.0.0.1:1", "no such host": "http://reseal.invalid", "not TLS": strings.Replace(web.URL, "http", "https", 1),
		"cut": web.URL + "/cut", "redirection": web.URL + "/moved", "late": web.URL + "/late",
	} {
		for kind, sends := range map[string]*http.Client{"plain": {Transport: http.DefaultTransport}, "with time-out": {Timeout: time.Minute}} {
			client := clientOf(nil, func(o *dynamodb.Options) { o.BaseEndpoint, o.HTTPClient = &base, sends })
			var o wire.Operation
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			x := wire.Exchange{Body: []byte(`{}`)}
			err := write(ctx, &o, client, &x)
			cancel()
			want := call.Unknown
			if name == "nobody there" || name == "no such host" {
				want = call.NotSent
			}
			if got := call.Classify(err); err == nil || x.Answer != nil || got != want {
				t.Errorf("%s, %s: outcome %v, want %v: %v", name, kind, got, want, err)
			}
		}
	}
}

// net/http tells when it is done with a body; another HTTP client doesn't, and then its memory stays as it is.
func TestSent(t *testing.T) {
	x := wire.Exchange{Body: []byte(`{}`)}
	var o wire.Operation
	if err := write(t.Context(), &o, clientOf(&sender{}), &x); err != nil || x.Sent() {
		t.Errorf("sent %t, %v", x.Sent(), err)
	}
}

// An answer that comes before the request was read whole doesn't make its body free.
func TestSentNotBeforeTheEnd(t *testing.T) {
	answered := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		_, _ = io.WriteString(w, `{}`)
		_ = http.NewResponseController(w).Flush()
		<-answered
	}))
	defer web.Close()
	defer close(answered)
	x := wire.Exchange{Body: make([]byte, 64<<20)} // more than the kernel takes in
	var o wire.Operation
	if err := write(t.Context(), &o, testkit.Client(web.URL), &x); err == nil && x.Sent() {
		t.Error("a body that is not read is free")
	}
}
