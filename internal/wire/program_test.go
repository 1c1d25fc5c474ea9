package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/tracing"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// What a program adds to its client stays in force.

// spans counts the spans that are begun.
type spans struct {
	tracing.NopTracerProvider
	begun atomic.Int64
}

func (s *spans) Tracer(scope string, options ...tracing.TracerOption) tracing.Tracer {
	return tracer{s.NopTracerProvider.Tracer(scope, options...), s}
}

type tracer struct {
	tracing.Tracer
	spans *spans
}

func (t tracer) StartSpan(ctx context.Context, name string, options ...tracing.SpanOption) (context.Context, tracing.Span) {
	if name == "DynamoDB.BatchWriteItem" {
		t.spans.begun.Add(1)
	}
	return t.Tracer.StartSpan(ctx, name, options...)
}

// A client that is traced has a span of each request, and middleware of the program's own meets each of them.
func TestOperationOfTheProgramsClient(t *testing.T) {
	var s sender
	var traced spans
	var met int
	own := func(stack *middleware.Stack) error {
		return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("own", func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			met++
			return next.HandleFinalize(ctx, in)
		}), middleware.After)
	}
	for _, client := range []*dynamodb.Client{
		clientOf(&s, func(o *dynamodb.Options) { o.TracerProvider = &traced }),
		clientOf(&s, func(o *dynamodb.Options) { o.APIOptions = append(o.APIOptions, own) }),
	} {
		var o wire.Operation
		for range 3 {
			x := wire.Exchange{Body: []byte(`{"of":"ours"}`)}
			if err := write(t.Context(), &o, client, &x); err != nil || string(x.Answer) != `{}` {
				t.Fatalf("answer %q, %v", x.Answer, err)
			}
		}
	}
	if n := traced.begun.Load(); n != 3 {
		t.Errorf("%d spans of 3 requests", n)
	}
	if met != 3 {
		t.Errorf("the program's middleware met %d of 3 requests", met)
	}
	for _, body := range s.bodies {
		if body != `{"of":"ours"}` {
			t.Errorf("sent %q", body)
		}
	}
}

// add is an APIOption with one middleware.
func add(f func(*middleware.Stack) error) func(*dynamodb.Options) {
	return func(o *dynamodb.Options) { o.APIOptions = append(o.APIOptions, f) }
}

// change is middleware that changes the request as the n-th of its kind, before the SDK has serialized it or after.
type change struct {
	n atomic.Int64
	f func(r *smithyhttp.Request, n int64)
}

func (*change) ID() string { return "change" }

func (c *change) HandleSerialize(ctx context.Context, in middleware.SerializeInput, next middleware.SerializeHandler) (middleware.SerializeOutput, middleware.Metadata, error) {
	c.f(in.Request.(*smithyhttp.Request), c.n.Add(1))
	return next.HandleSerialize(ctx, in)
}

func (c *change) HandleBuild(ctx context.Context, in middleware.BuildInput, next middleware.BuildHandler) (middleware.BuildOutput, middleware.Metadata, error) {
	c.f(in.Request.(*smithyhttp.Request), c.n.Add(1))
	return next.HandleBuild(ctx, in)
}

// What a program's middleware does to each request, it does to each request.
func TestOperationWithMiddleware(t *testing.T) {
	var s sender
	numbered := &change{f: func(r *smithyhttp.Request, n int64) { r.Header.Set("X-Number", fmt.Sprint(n)) }}
	client := clientOf(&s, add(func(stack *middleware.Stack) error { return stack.Serialize.Add(numbered, middleware.Before) }))
	var o wire.Operation
	for i := range 3 {
		if err := write(t.Context(), &o, client, &wire.Exchange{Body: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
		if got := s.requests[i].Header.Get("X-Number"); got != fmt.Sprint(i+1) {
			t.Errorf("request %d has number %s", i+1, got)
		}
	}
	other := &change{f: func(r *smithyhttp.Request, _ int64) {
		changed, err := r.SetStream(strings.NewReader(`{"the":"program's"}`))
		if err != nil {
			t.Error(err)
		}
		*r = *changed
	}}
	client = clientOf(&s, add(func(stack *middleware.Stack) error { return stack.Build.Add(other, middleware.After) }))
	if err := write(t.Context(), &o, client, &wire.Exchange{Body: []byte(`{}`)}); err != nil || s.bodies[3] != `{"the":"program's"}` {
		t.Errorf("sent %q, %v", s.bodies[3], err)
	}
	fails := errors.New("the program's")
	client = clientOf(&s, add(func(*middleware.Stack) error { return fails }))
	if err := write(t.Context(), &o, client, &wire.Exchange{Body: []byte(`{}`)}); !errors.Is(err, fails) || strings.Contains(err.Error(), "reseal") {
		t.Error(err)
	}
}

// wandering is a resolver that comes to something else each time.
type wandering struct{ n int }

func (w *wandering) ResolveEndpoint(context.Context, dynamodb.EndpointParameters) (smithyendpoints.Endpoint, error) {
	w.n++
	return smithyendpoints.Endpoint{URI: url.URL{Scheme: "https", Host: fmt.Sprintf("host%d", w.n)}}, nil
}

// A resolver of the program's own is asked each time.
func TestOperationWithResolver(t *testing.T) {
	var s sender
	client := clientOf(&s, func(o *dynamodb.Options) { o.BaseEndpoint, o.EndpointResolverV2 = nil, &wandering{} })
	var o wire.Operation
	for i := range 3 {
		if err := write(t.Context(), &o, client, &wire.Exchange{Body: []byte(`{}`)}); err != nil {
			t.Fatal(err)
		}
		if got := s.requests[i].URL.Host; got != fmt.Sprintf("host%d", i+1) {
			t.Errorf("request %d goes to %s", i+1, got)
		}
	}
}
