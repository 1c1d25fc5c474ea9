package wire

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/metrics"
	"github.com/aws/smithy-go/middleware"
	"github.com/aws/smithy-go/tracing"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// Operation makes requests of one operation of one client of the SDK's. The SDK puts its middleware for an operation together anew for
// each request, which takes longer than to sign it; an Operation keeps what the SDK has made for one request and sends another through
// it, if only one at a time. So validation, endpoint, credentials, clock skew, signature and errors are the SDK's, for each request. The
// zero value is ready, and safe for concurrent use.
//
// A client that is traced or measured makes its requests by its own method, since a span or a metric is of one call. Middleware that a
// program has added to its client by APIOptions is kept as the SDK's is.
type Operation struct {
	idle sync.Pool // of *made
}

// made is what the SDK has made for a request of a client.
type made struct {
	client  *dynamodb.Client
	handler middleware.Handler // nil: by the client's method
	values  context.Context    // what the SDK gives its middleware in the context of a call
}

// Method is the client's method of the operation, with an input.
type Method func(context.Context, ...func(*dynamodb.Options)) error

// errNoMiddleware is what a change in the SDK would lead to.
var errNoMiddleware = errors.New("the AWS SDK did not show the middleware of a request: this version of reseal does not know this version of the SDK")

// Do makes a request with the exchange, once: see call.Once. input is what method has, too. The input
// is not read after Do has returned.
func (o *Operation) Do(ctx context.Context, client *dynamodb.Client, x *Exchange, input any, method Method) error {
	m, is := o.idle.Get().(*made)
	if !is || m.client != client {
		var err error
		if m, err = open(client, method); err != nil {
			return err
		}
	}
	defer o.idle.Put(m)
	if m.handler == nil {
		return method(ctx, call.Once, x.Use)
	}
	if _, _, err := m.handler.Handle(request{Context: ctx, values: m.values, x: x}, input); err != nil {
		return &smithy.OperationError{ServiceID: dynamodb.ServiceID, OperationName: middleware.GetOperationName(m.values), Err: err}
	}
	return nil
}

// errShown ends the request that shows the middleware before it does anything.
var errShown = errors.New("shown")

// shows is the name of the middleware that ends it.
const shows = "ResealShows"

// open has the client put its middleware together, and keeps it.
func open(client *dynamodb.Client, method Method) (*made, error) {
	m := &made{client: client}
	options := client.Options()
	_, traced := options.TracerProvider.(*tracing.NopTracerProvider)
	_, measured := options.MeterProvider.(metrics.NopMeterProvider)
	if !traced || !measured {
		return m, nil
	}
	var stack *middleware.Stack
	show := middleware.InitializeMiddlewareFunc(shows, func(ctx context.Context, _ middleware.InitializeInput, _ middleware.InitializeHandler) (out middleware.InitializeOutput, data middleware.Metadata, err error) {
		m.values = ctx
		return out, data, errShown
	})
	var sender aws.HTTPClient
	// Not with the caller's context, of which nothing is to stay.
	err := method(context.Background(), call.Once, new(Exchange).Use, func(o *dynamodb.Options) {
		sender = o.HTTPClient
		o.APIOptions = append(o.APIOptions[:len(o.APIOptions):len(o.APIOptions)], func(s *middleware.Stack) error {
			stack = s
			return s.Initialize.Add(show, middleware.Before)
		})
	})
	if !errors.Is(err, errShown) {
		return nil, errors.Join(errNoMiddleware, err)
	}
	if _, err := stack.Initialize.Remove(shows); err != nil {
		return nil, errors.Join(errNoMiddleware, err)
	}
	m.handler = middleware.DecorateHandler(smithyhttp.NewClientHandlerWithOptions(sending{whole: sender, direct: call.Direct(sender)}), stack)
	return m, nil
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

// sending gives net/http the body of the exchange rather than the SDK's wrapping of it. net/http knows then that the body is in memory,
// and sends it in one piece with the header.
type sending struct{ whole, direct aws.HTTPClient }

func (s sending) Do(r *http.Request) (*http.Response, error) {
	x, is := r.Context().Value(exchangeKey{}).(*Exchange)
	if !is || x.Body == nil {
		return s.whole.Do(r)
	}
	r.Body = io.NopCloser(bytes.NewReader(x.Body))
	traced := httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{WroteRequest: x.wrote})
	return s.direct.Do(r.WithContext(traced))
}
