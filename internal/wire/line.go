package wire

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"reflect"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
	smithyendpoints "github.com/aws/smithy-go/endpoints"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// What follows is for one request at a time: see line.

// remembering is a protocol that has the SDK serialize only the first of the inputs that are sent with bodies of ours. They are all the
// same to it, and so is what it adds to a request: method, path and header.
type remembering struct {
	smithyhttp.ClientProtocol
	added *smithyhttp.Request // to one that was empty; nil: not known yet
}

func (p *remembering) SerializeRequest(ctx context.Context, schema *smithy.OperationSchema, in smithy.Serializable, request *smithyhttp.Request) error {
	x, is := ctx.Value(exchangeKey{}).(*Exchange)
	if !is || x.Body == nil {
		return p.ClientProtocol.SerializeRequest(ctx, schema, in, request)
	}
	if p.added == nil {
		empty, is := smithyhttp.NewStackRequest().(*smithyhttp.Request)
		if !is {
			return errNoMiddleware
		}
		if err := p.ClientProtocol.SerializeRequest(context.Background(), schema, in, empty); err != nil {
			return err
		}
		p.added = empty
	}
	if err := x.setBody(request); err != nil {
		return err
	}
	request.Method = p.added.Method
	if request.URL.Path == "" {
		request.URL.Path = p.added.URL.Path
	}
	for name, values := range p.added.Header {
		request.Header[name] = values[:len(values):len(values)]
	}
	return nil
}

// endpoint is the SDK's resolver that keeps the last endpoint: the rules take longer than a signature, and always come to the same, until
// the credentials are of another account.
type endpoint struct {
	dynamodb.EndpointResolverV2
	of   dynamodb.EndpointParameters
	last *smithyendpoints.Endpoint // nil: none yet
}

// keeping returns the resolver as one that keeps the last endpoint, if it is the SDK's own. A program's own may have its reasons to
// come to something else.
func keeping(resolver dynamodb.EndpointResolverV2) dynamodb.EndpointResolverV2 {
	if reflect.TypeOf(resolver) != reflect.TypeOf(dynamodb.NewDefaultEndpointResolverV2()) {
		return resolver
	}
	return &endpoint{EndpointResolverV2: resolver}
}

func (e *endpoint) ResolveEndpoint(ctx context.Context, of dynamodb.EndpointParameters) (smithyendpoints.Endpoint, error) {
	if e.last != nil && reflect.DeepEqual(of, e.of) {
		return *e.last, nil
	}
	found, err := e.EndpointResolverV2.ResolveEndpoint(ctx, of)
	if err == nil {
		e.of, e.last = of, &found
	}
	return found, err
}

// sending is the end of the middleware: it sends the requests. Those with a body of ours go to net/http as they are, where the SDK's own
// would copy header and URL once more, and hide from net/http that the body is in memory, and can be sent in one piece with the header.
type sending struct {
	sdk    middleware.Handler
	direct aws.HTTPClient
}

func newSending(client aws.HTTPClient) sending {
	return sending{sdk: smithyhttp.NewClientHandlerWithOptions(client), direct: call.Direct(client)}
}

// Handle returns errors as smithyhttp.ClientHandler does.
func (s sending) Handle(ctx context.Context, input any) (any, middleware.Metadata, error) {
	var data middleware.Metadata
	x, is := ctx.Value(exchangeKey{}).(*Exchange)
	if !is || x.Body == nil {
		return s.sdk.Handle(ctx, input)
	}
	made, is := input.(*smithyhttp.Request)
	if !is || made.GetStream() != io.Reader(x.stream) { // a program's middleware has put in another body
		return s.sdk.Handle(ctx, input)
	}
	if err := smithyhttp.ValidateEndpointHost(made.Host); err != nil {
		return nil, data, err
	}
	r := made.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: x.wrote}))
	r.Body = io.NopCloser(bytes.NewReader(x.Body))
	response, err := s.direct.Do(r)
	if response == nil {
		response = &http.Response{Header: http.Header{}, Body: http.NoBody} // the middleware looks at it after an error, too
	}
	if err != nil {
		err = &smithyhttp.RequestSendError{Err: err}
		if ctx.Err() != nil {
			err = &smithy.CanceledError{Err: ctx.Err()}
		}
	}
	return &smithyhttp.Response{Response: response}, data, err
}
