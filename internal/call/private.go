package call

import (
	"errors"
	"fmt"
	"strings"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
)

// Private returns the error of a request that had keys or items in it, or in its answer, in words that hold none of them, nor a
// credential: of the service's own error they have the code and the request's ID, but not its message, which may quote the item or, if
// the signature is wrong, what was signed. Of a denial they have the action, the resource and a remedy: see Denial. The message is still
// found with errors.As: see Message.
//
// Every such error goes through here where the SDK returns it, so that nothing after it has to take care of what is printed or logged.
func Private(err error) error {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	return &private{err: err, api: api}
}

// private is an error whose words hold no data.
type private struct {
	err error
	api smithy.APIError
}

func (p *private) Error() string {
	var words strings.Builder
	var operation *smithy.OperationError
	if errors.As(p.err, &operation) {
		fmt.Fprintf(&words, "%s: ", operation.OperationName)
	}
	words.WriteString(p.api.ErrorCode())
	words.WriteString(" (")
	if denial, is := DeniedBy(p.err); is {
		words.WriteString(denial.words())
	} else {
		words.WriteString("the service's message is not shown: it may quote an item")
	}
	var response *awshttp.ResponseError
	if errors.As(p.err, &response) && response.ServiceRequestID() != "" {
		fmt.Fprintf(&words, "; request ID %s", response.ServiceRequestID())
	}
	words.WriteByte(')')
	return words.String()
}

func (p *private) Unwrap() error { return p.err }
