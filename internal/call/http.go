package call

import (
	"io"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
)

// WholeAnswers returns an HTTP client that sends by the given one and works around a fault of smithy-go (1.28.9,
// safeWriteToReadCloser): when the header of an answer is there before net/http has looked whether the request's body goes on,
// the SDK has closed that body, WriteTo of it fails for that, and net/http closes the connection on which the rest of the answer
// comes. A large answer of a near or fast engine is lost by it, as are answers to a busy process. So WriteTo is hidden here;
// Read has no such fault.
func WholeAnswers(client aws.HTTPClient) aws.HTTPClient {
	if _, done := client.(sender); done || client == nil {
		return client
	}
	return sender{client}
}

// Direct returns a client that sends as the given one does, without what WholeAnswers adds, for requests whose bodies aren't the SDK's.
// If it is one of net/http's, it follows no redirection: DynamoDB has none, and what is signed for one place has no business in another.
func Direct(client aws.HTTPClient) aws.HTTPClient {
	if s, is := client.(sender); is {
		client = s.client
	}
	web, is := client.(*http.Client)
	switch {
	case !is:
		return client
	case web.Transport != nil && web.Timeout == 0 && web.Jar == nil:
		return roundTripper{web.Transport}
	}
	still := *web
	still.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &still
}

// roundTripper sends without what net/http adds for the web: redirections, cookies.
type roundTripper struct{ transport http.RoundTripper }

func (t roundTripper) Do(r *http.Request) (*http.Response, error) {
	response, err := t.transport.RoundTrip(r)
	if response != nil && response.Body == nil {
		response.Body = http.NoBody // which a transport of net/http's never leaves out
	}
	return response, err
}

type sender struct{ client aws.HTTPClient }

func (s sender) Do(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		r.Body = struct{ io.ReadCloser }{r.Body}
	}
	return s.client.Do(r)
}
