package wire_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"reseal/internal/call"
	"reseal/internal/test/testkit"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// getRecords makes a GetRecords with the exchange.
func (s *server) getRecords(ctx context.Context, t *testing.T, x *wire.Exchange) (*dynamodbstreams.GetRecordsOutput, error) {
	t.Helper()
	web := httptest.NewServer(s)
	defer web.Close()
	return testkit.Streams(web.URL).GetRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String("i")}, x.UseStreams)
}

// The request is the SDK's, signed, and for an answer that isn't compressed, which comes as it was sent.
func TestUseStreams(t *testing.T) {
	answer := `{"Records":[{"eventName":"INSERT"}],"NextShardIterator":"j"}`
	s := &server{status: http.StatusOK, answer: answer, header: map[string]string{"X-Amz-Crc32": crcOf(answer)}}
	var x wire.Exchange
	out, err := s.getRecords(t.Context(), t, &x)
	if err != nil || string(x.Answer) != answer {
		t.Fatalf("answer %q, %v", x.Answer, err)
	}
	if len(out.Records) != 0 || out.NextShardIterator != nil {
		t.Error("the SDK has read the answer, too")
	}
	if s.body != `{"ShardIterator":"i"}` || s.request.Header.Get("X-Amz-Target") != "DynamoDBStreams_20120810.GetRecords" {
		t.Errorf("body %q, target %q", s.body, s.request.Header.Get("X-Amz-Target"))
	}
	if auth := s.request.Header.Get("Authorization"); !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 ") || !strings.Contains(auth, "accept-encoding") {
		t.Errorf("authorization %q", auth)
	}
	if encoding := s.request.Header.Values("Accept-Encoding"); len(encoding) != 1 || encoding[0] != "identity" {
		t.Errorf("it accepts %q", encoding)
	}
}

// A damaged answer is no answer, and an error of the service is the SDK's to decode.
func TestUseStreamsFails(t *testing.T) {
	var x wire.Exchange
	damaged := &server{status: http.StatusOK, answer: `{"Records":[]}`, header: map[string]string{"X-Amz-Crc32": crcOf(`{"Records":[ ]}`)}}
	if _, err := damaged.getRecords(t.Context(), t, &x); call.Classify(err) != call.Unknown || x.Answer != nil {
		t.Errorf("answer %q, %v", x.Answer, err)
	}
	expired := &server{status: http.StatusBadRequest, answer: `{"__type":"com.amazonaws.dynamodb.v20120810#ExpiredIteratorException","message":"old"}`}
	var want *streamtypes.ExpiredIteratorException
	if _, err := expired.getRecords(t.Context(), t, &x); !errors.As(err, &want) || x.Answer != nil {
		t.Errorf("answer %q, %v", x.Answer, err)
	}
}

// otherStreams is a client that isn't the SDK's.
type otherStreams struct{ *dynamodbstreams.Client }

func TestStreamsClient(t *testing.T) {
	streams, db := testkit.Streams("http://127.0.0.1:1"), testkit.Client("http://127.0.0.1:1")
	if found, is := wire.StreamsClient(streams); !is || found != streams {
		t.Error("the SDK's client is one")
	}
	for _, client := range []any{otherStreams{streams}, db, nil} {
		if _, is := wire.StreamsClient(client); is {
			t.Errorf("%T is one", client)
		}
	}
	if _, is := wire.Client(streams); is {
		t.Error("it is taken for DynamoDB's client")
	}
}
