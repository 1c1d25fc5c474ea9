package stream

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"reseal/internal/item"
	"reseal/internal/item/itemtest"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
)

var idSchema = item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}}

// recordNames are those that a record's reading goes by. The event's decoder takes them in any case.
var recordNames = []string{
	"Records", "NextShardIterator", "dynamodb", "eventName", "eventSourceARN", "Keys", "NewImage", "OldImage", "SequenceNumber", "ApproximateCreationDateTime",
	"userIdentity",
}

// FuzzPage holds the reading of records from their bytes against that by aws-lambda-go, of an event, and by the SDK, of an answer of
// GetRecords: both are the same JSON. Where a record's key and image are what DynamoDB sends, all must read the same.
func FuzzPage(f *testing.F) {
	data, err := os.ReadFile("../../replicate/testdata/event.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, s := range []string{
		`{}`, `{"Records":null}`, `{"Records":[]}`, `{"Records":[{}]}`, `{"Records":[null]}`, `{"Records":[{"dynamodb":{"SequenceNumber":"1"}}]}`,
		`{"Records":[{"eventName":"INSERT","dynamodb":{"SequenceNumber":"1","Keys":{"id":{"S":"a"}},"NewImage":{"id":{"S":"a"},"n":{"N":"1.0"}}}}]}`,
		`{"Records":[{"eventName":"REMOVE","dynamodb":{"SequenceNumber":"2","Keys":{"id":{"S":""}}}}],"NextShardIterator":"a\/b"}`,
		`{"NextShardIterator":null,"Records":[{"eventName":"MODIFY","dynamodb":{"SequenceNumber":"3","Keys":{"id":{"S":"a"}}}}]}`,
		`{"Records":[{"eventName":"MODIFY","dynamodb":{"SequenceNumber":"4","Keys":{"id":{"N":"1"}},"NewImage":{}}}]}`,
		`{"Records":[{"eventName":"MODIFY","dynamodb":{"SequenceNumber":"","ApproximateCreationDateTime":1e300,"Keys":{"id":{"S":"a"}},"NewImage":{"x":{"L":[{"NULL":true}]}}}}]}`,
		`{"Records":[{"eventName":"MODIFY","eventSourceARN":"arn","dynamodb":{"NewImage":{"x":{"X":[1,"]"]}},"OldImage":{"x":[]},"ApproximateCreationDateTime":1.7e9,"SequenceNumber":"5","Keys":{"id":{"S":"a"}}}},
		 {"eventName":"MOVE","dynamodb":{"Keys":{"id":{"S":"\u0061"}},"ApproximateCreationDateTime":9700000000.123,"SequenceNumber":"6"}}]}`,
		`{"Records":[{"eventName":"REMOVE","userIdentity":{"PrincipalId":"dynamodb.amazonaws.com","Type":"Service"},"dynamodb":{"SequenceNumber":"7","Keys":{"id":{"S":"a"}}}}]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := ReadPage(idSchema, "", data) // must not panic
		if itemtest.Plain(data, recordNames...) != nil {
			return
		}
		var body struct{ Records []json.RawMessage }
		if jsonErr := json.Unmarshal(data, &body); err == nil && (jsonErr != nil || len(found.Records) != len(body.Records)) {
			t.Fatalf("%d records, want %d (%v)", len(found.Records), len(body.Records), jsonErr)
		}
		if !plainRecords(data) {
			return
		}
		ofEvent, eventErr := pageOfEvent(data)
		answer, answerErr := decodeRecords(t, data)
		if err != nil {
			if eventErr == nil && answerErr == nil && body.Records != nil {
				t.Fatalf("it can't be read: %v", err)
			}
			return
		}
		if eventErr == nil {
			samePage(t, found, ofEvent)
		}
		if answerErr == nil {
			samePage(t, found, ConvertPage(idSchema, "", answer))
			if next, want := found.Next, answer.NextShardIterator; (next == nil) != (want == nil) || aws.ToString(next) != aws.ToString(want) {
				t.Fatalf("the next iterator is %q, of the SDK %q", aws.ToString(next), aws.ToString(want))
			}
		}
	})
}

// samePage checks that the pages hold the same records, up to the first one that can't be read.
func samePage(t *testing.T, found, want Page) {
	t.Helper()
	if len(found.Records) != len(want.Records) {
		t.Fatalf("%d records, want %d", len(found.Records), len(want.Records))
	}
	for i, record := range found.Records {
		reference := want.Records[i]
		unread, wantUnread := found.Unread != nil && found.Unread.Index == i, want.Unread != nil && want.Unread.Index == i
		if unread && !wantUnread {
			if _, err := reference.Image.Digest(); err == nil || reference.Image.Absent() {
				t.Fatalf("record %d can't be read: %v", i, found.Unread.Err)
			}
			return // it is read, but is no item: one that is nested too deeply
		}
		if unread != wantUnread {
			t.Fatalf("record %d is read, but should not be: %v", i, want.Unread.Err)
		}
		if unread {
			if found.Unread.Sequence != want.Unread.Sequence {
				t.Fatalf("record %q can't be read, want %q", found.Unread.Sequence, want.Unread.Sequence)
			}
			return
		}
		sameRecord(t, record, reference)
	}
}

func sameRecord(t *testing.T, record, want Record) {
	t.Helper()
	if record.Key != want.Key || record.Sequence != want.Sequence || record.Event != want.Event || record.Image.Absent() != want.Image.Absent() {
		t.Fatalf("%+v, want %+v", record, want)
	}
	if want.Stream != "" && record.Stream != want.Stream {
		t.Fatalf("of stream %q, want %q", record.Stream, want.Stream)
	}
	if want.Expired && !record.Expired {
		t.Fatal("it should be by time to live")
	}
	const most = 9e9 // s, the year 2255: the SDK has times that are only a little later wrong
	known := !record.Made.IsZero() && record.Made.Unix() < most && record.Made.Unix() > -most
	if apart := record.Made.Sub(want.Made); known && (apart < -time.Millisecond || apart > time.Millisecond) {
		t.Fatalf("made at %s, want %s", record.Made, want.Made)
	}
	digest, err := record.Image.Digest()
	if other, otherErr := want.Image.Digest(); digest != other || (err == nil) != (otherErr == nil) {
		t.Fatalf("%s, want %s", record.Image.JSON(), want.Image.JSON())
	}
}

// pageOfEvent has aws-lambda-go read an event.
func pageOfEvent(data []byte) (Page, error) {
	var event events.DynamoDBEvent
	if err := json.Unmarshal(data, &event); err != nil {
		return Page{}, err
	}
	var found Page
	for _, raw := range event.Records {
		found.add(fromEvent(raw))
	}
	return found, nil
}

func fromEvent(r events.DynamoDBEventRecord) (Record, error) {
	record := Record{Sequence: r.Change.SequenceNumber, Event: r.EventName, Made: r.Change.ApproximateCreationDateTime.Time, Stream: r.EventSourceArn}
	if by := r.UserIdentity; by != nil {
		record.Expired = isExpiry(r.EventName, by.Type, by.PrincipalID)
	}
	if record.Sequence == "" {
		return record, errNoSequence
	}
	keys, keysErr := itemtest.FromEvent(r.Change.Keys)
	image, imageErr := itemtest.FromEvent(r.Change.NewImage)
	if err := errors.Join(keysErr, imageErr); err != nil {
		return record, err
	}
	return record, record.fill(idSchema, item.Of(keys), item.Of(image))
}

// plainRecords tells whether the keys and images of all records are what DynamoDB sends.
func plainRecords(data []byte) bool {
	var body struct {
		Records []struct {
			Dynamodb struct{ Keys, NewImage, OldImage json.RawMessage }
		}
	}
	if json.Unmarshal(data, &body) != nil {
		return false
	}
	for _, record := range body.Records {
		for _, image := range []json.RawMessage{record.Dynamodb.Keys, record.Dynamodb.NewImage, record.Dynamodb.OldImage} {
			if _, err := itemtest.Decode(image); image != nil && string(image) != "null" && err != nil {
				return false
			}
		}
	}
	return true
}

// decodeRecords has the SDK's client read an answer.
func decodeRecords(t *testing.T, data []byte) (*dynamodbstreams.GetRecordsOutput, error) {
	return streamsAnswering(data).GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String("i")})
}

// streamsAnswering returns the SDK's client, which gets this answer to everything.
func streamsAnswering(data []byte) *dynamodbstreams.Client {
	return dynamodbstreams.New(dynamodbstreams.Options{
		BaseEndpoint: aws.String("http://localhost"), Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{},
		HTTPClient: answering(data),
	})
}

// answering is an HTTP client that gets this answer to everything.
type answering []byte

func (a answering) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a))}, nil
}
