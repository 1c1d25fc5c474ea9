package wire

import (
	"context"
	"errors"
	"sync"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/tracing"
)

// Operation makes requests of one operation of one client of the SDK's. The SDK puts its middleware for an operation together anew for
// each request, which takes longer than to sign it; an Operation keeps what the SDK has made for one request and sends another through
// it, if only one at a time. So validation, endpoint, credentials, clock skew, signature and errors are the SDK's, for each request. The
// zero value is ready, and safe for concurrent use.
//
// A client that is traced or measured makes its requests by its own method, since a span or a metric is of one call. Middleware that a
// program has added to its client by APIOptions is kept as the SDK's is.
type Operation struct {
	mu   sync.Mutex
	idle []*line // no more of them than requests were ever under way; a sync.Pool would lose them at each garbage collection
}

// line returns one that no other request is going through.
func (o *Operation) line(client *dynamodb.Client, method Method) (*line, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for len(o.idle) > 0 {
		last := o.idle[len(o.idle)-1]
		o.idle = o.idle[:len(o.idle)-1]
		if last.client == client {
			return last, nil
		}
	}
	return open(client, method)
}

func (o *Operation) free(l *line) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.idle = append(o.idle, l)
}

// Method is the client's method of the operation, with an input.
type Method func(context.Context, ...func(*dynamodb.Options)) error

// Do makes a request with the exchange, once: see call.Once. The input is what method has, too. Where the exchange has a body, all
// inputs of an operation must be the same but for what only the body shows.
func (o *Operation) Do(ctx context.Context, client *dynamodb.Client, x *Exchange, input any, method Method) error {
	l, err := o.line(client, method)
	if err != nil {
		return err
	}
	defer o.free(l)
	if l.handler == nil {
		return method(ctx, call.Once, x.Use)
	}
	if _, _, err := l.handler.Handle(request{Context: ctx, values: l.values, x: x}, input); err != nil {
		return &smithy.OperationError{ServiceID: dynamodb.ServiceID, OperationName: middleware.GetOperationName(l.values), Err: err}
	}
	return nil
}

// line is what the SDK has made for the requests of a client, for one at a time.
type line struct {
	client  *dynamodb.Client
	handler middleware.Handler // nil: by the client's method
	values  context.Context    // what the SDK gives its middleware in the context of a call
}

// request is the context of a request through an Operation.
type request struct {
	context.Context
	values context.Context
	x      *Exchange
}

type exchangeKey struct{}

func (r request) Value(key any) any {
	if key == (exchangeKey{}) {
		return r.x
	}
	if value := r.values.Value(key); value != nil {
		return value
	}
	return r.Context.Value(key)
}

var (
	// errNoMiddleware is what a change in the SDK would lead to.
	errNoMiddleware = errors.New("the AWS SDK did not show the middleware of a request: this version of reseal does not know this version of the SDK")
	// errShown ends the request that shows the middleware before it does anything.
	errShown = errors.New("shown")
)

// shows is the name of the middleware that ends it.
const shows = "ResealShows"

// open has the client put its middleware together, and keeps it.
func open(client *dynamodb.Client, method Method) (*line, error) {
	l := &line{client: client}
	options := client.Options()
	_, untraced := options.TracerProvider.(*tracing.NopTracerProvider)
	_, unmeasured := options.MeterProvider.(metrics.NopMeterProvider)
	if !untraced || !unmeasured {
		return l, nil
	}
	var stack *middleware.Stack
	show := middleware.InitializeMiddlewareFunc(shows, func(ctx context.Context, _ middleware.InitializeInput, _ middleware.InitializeHandler) (out middleware.InitializeOutput, data middleware.Metadata, err error) {
		l.values = ctx
		return out, data, errShown
	})
	var sender aws.HTTPClient
	// Not with the caller's context, of which nothing is to stay.
	err := method(context.Background(), call.Once, new(Exchange).Use, func(o *dynamodb.Options) {
		sender = o.HTTPClient
		o.Protocol = &remembering{ClientProtocol: o.Protocol}
		o.EndpointResolverV2 = keeping(o.EndpointResolverV2)
		o.APIOptions = append(o.APIOptions[:len(o.APIOptions):len(o.APIOptions)], func(s *middleware.Stack) error {
			stack = s
			return s.Initialize.Add(show, middleware.Before)
		})
	})
	switch {
	case err == nil:
		return nil, errNoMiddleware
	case !errors.Is(err, errShown):
		return nil, err // the client can't make its middleware: the method says so, too
	}
	if _, err := stack.Initialize.Remove(shows); err != nil {
		return nil, errors.Join(errNoMiddleware, err)
	}
	l.handler = middleware.DecorateHandler(newSending(sender), stack)
	return l, nil
}
