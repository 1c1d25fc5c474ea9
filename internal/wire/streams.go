package wire

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// StreamsClient is Client for UseStreams.
func StreamsClient(client any) (streams *dynamodbstreams.Client, is bool) {
	streams, is = client.(*dynamodbstreams.Client)
	return streams, is
}

// UseStreams is Use for one call of the SDK's client of DynamoDB Streams.
func (x *Exchange) UseStreams(o *dynamodbstreams.Options) {
	o.Protocol = uncompressed{protocol{o.Protocol, x}}
}

// uncompressed asks for an answer as it is, for the reason that Use gives. DynamoDB's client does so by itself; this one leaves it to
// the HTTP client, and Go's asks for gzip unless it is told what to ask for.
type uncompressed struct{ protocol }

func (u uncompressed) SerializeRequest(ctx context.Context, schema *smithy.OperationSchema, in smithy.Serializable, request *smithyhttp.Request) error {
	if err := u.protocol.SerializeRequest(ctx, schema, in, request); err != nil {
		return err
	}
	request.Header.Set("Accept-Encoding", "identity")
	return nil
}
