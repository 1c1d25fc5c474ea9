package replicate

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"reseal/internal/item"
	"reseal/internal/item/itemtest"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// FuzzCheckpoint: a file is refused, or taken over with all positions that it has; what is saved then says the same.
func FuzzCheckpoint(f *testing.F) {
	path := filepath.Join(f.TempDir(), "checkpoint.json")
	const head = `{"format":"reseal replicate checkpoint 1","source":{"arn":"s","created":"1"},"target":{"arn":"t","created":"2"},"stream":"x",`
	// In a year that makes no position an old one.
	for _, s := range []string{
		``, `{}`, `null`, head + `"started":"2100-01-01T00:00:00Z","shards":{}}`, head + `"started":"2100-01-01T00:00:00Z","shards":null}`,
		head + `"started":"2100-01-01T00:00:00.5Z","shards":{"shard-1":{"sequence":"100","read_at":"2100-01-01T00:00:00Z"},"shard-2":{"drained":true,"read_at":"2100-01-01T00:00:00Z"}}}`,
		head + `"started":"2100-01-01T00:00:00+01:00","shards":{"":{"sequence":"","read_at":"2100-01-01T00:00:00Z"}}} {}`,
		head + `"started":"2001-01-01T00:00:00Z","shards":{"shard-1":{"sequence":"100","read_at":"2001-01-01T00:00:00Z"}}}`,
	} {
		f.Add([]byte(s))
	}
	fresh := func() *checkpoint {
		return &checkpoint{path: path, dirty: true, file: checkpointFile{
			Format: checkpointFormat, Source: table.Identity{ARN: "s", Made: "1"}, Target: table.Identity{ARN: "t", Made: "2"},
			Stream: "x", Started: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), Shards: map[string]shardPosition{},
		}}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c := fresh()
		if err := c.load(); err != nil {
			if !refuse.Is(err) || len(c.file.Shards) > 0 {
				t.Fatalf("error %v, shards %v", err, c.file.Shards)
			}
			return
		}
		if !c.resumed || c.file.Shards == nil {
			t.Fatalf("taken over: %+v", c)
		}
		for shard, position := range c.file.Shards {
			if !c.known(shard) || c.sequence(shard) != position.Sequence || c.isDrained(shard) != position.Drained {
				t.Fatalf("shard %q: %+v", shard, position)
			}
		}
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		again := fresh()
		if err := again.load(); err != nil {
			t.Fatalf("what was saved is refused: %v", err)
		}
		if !again.file.Started.Equal(c.file.Started) || len(again.file.Shards) != len(c.file.Shards) {
			t.Fatalf("saved %+v, then %+v", c.file, again.file)
		}
		for shard, position := range c.file.Shards {
			next := again.file.Shards[shard]
			if !next.ReadAt.Equal(position.ReadAt) {
				t.Fatalf("shard %q: %+v, then %+v", shard, position, next)
			}
			next.ReadAt = position.ReadAt
			if !reflect.DeepEqual(next, position) {
				t.Fatalf("shard %q: %+v, then %+v", shard, position, next)
			}
		}
	})
}

// recordNames are those that a record's reading goes by. The event's decoder takes them in any case.
var recordNames = []string{"Records", "dynamodb", "eventName", "eventSourceARN", "Keys", "NewImage", "OldImage", "SequenceNumber", "ApproximateCreationDateTime"}

// FuzzEvent holds the reading of records by the Lambda against that by the tailer: an event and an answer of GetRecords are the same
// JSON. Where a record's key and image are what DynamoDB sends, both must read the same.
func FuzzEvent(f *testing.F) {
	data, err := os.ReadFile("testdata/event.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	for _, s := range []string{
		`{}`, `{"Records":null}`, `{"Records":[{}]}`, `{"Records":[{"dynamodb":{"SequenceNumber":"1"}}]}`,
		`{"Records":[{"eventName":"INSERT","dynamodb":{"SequenceNumber":"1","Keys":{"id":{"S":"a"}},"NewImage":{"id":{"S":"a"},"n":{"N":"1.0"}}}}]}`,
		`{"Records":[{"eventName":"REMOVE","dynamodb":{"SequenceNumber":"2","Keys":{"id":{"S":""}}}}]}`,
		`{"Records":[{"eventName":"MODIFY","dynamodb":{"SequenceNumber":"3","Keys":{"id":{"S":"a"}}}}]}`,
		`{"Records":[{"eventName":"MODIFY","dynamodb":{"SequenceNumber":"4","Keys":{"id":{"N":"1"}},"NewImage":{}}}]}`,
		`{"Records":[{"eventName":"MODIFY","dynamodb":{"SequenceNumber":"","ApproximateCreationDateTime":1e300,"Keys":{"id":{"S":"a"}},"NewImage":{"x":{"L":[{"NULL":true}]}}}}]}`,
	} {
		f.Add([]byte(s))
	}
	schema := item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}}
	f.Fuzz(func(t *testing.T, data []byte) {
		var event events.DynamoDBEvent
		if json.Unmarshal(data, &event) != nil {
			return
		}
		asEvent, eventErrs := make([]Record, len(event.Records)), make([]error, len(event.Records))
		for i, raw := range event.Records {
			asEvent[i], eventErrs[i] = fromEvent(schema, raw) // must not panic
		}
		if itemtest.Plain(data, recordNames...) != nil || !plainRecords(data) {
			return
		}
		out, err := decodeRecords(t, data)
		if err != nil {
			return // something beside keys and images
		}
		if len(out) != len(asEvent) {
			t.Fatalf("%d records, of the event %d", len(out), len(asEvent))
		}
		for i, raw := range out {
			record, err := fromStream(schema, asEvent[i].Stream, raw)
			if (err == nil) != (eventErrs[i] == nil) {
				t.Fatalf("record %d: %v, of the event %v", i, err, eventErrs[i])
			}
			if err == nil && !sameRecord(t, record, asEvent[i]) {
				t.Fatalf("record %d: %+v, of the event %+v", i, record, asEvent[i])
			}
		}
	})
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
func decodeRecords(t *testing.T, data []byte) ([]streamtypes.Record, error) {
	client := dynamodbstreams.New(dynamodbstreams.Options{
		BaseEndpoint: aws.String("http://localhost"), Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{},
		HTTPClient: answering(data),
	})
	out, err := client.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String("i")})
	if err != nil {
		return nil, err
	}
	return out.Records, nil
}

func sameRecord(t *testing.T, a, b Record) bool {
	t.Helper()
	if a.Key != b.Key || a.Sequence != b.Sequence || a.Event != b.Event || a.Image.Absent() != b.Image.Absent() {
		return false
	}
	digest, err := a.Image.Digest()
	other, otherErr := b.Image.Digest()
	return digest == other && (err == nil) == (otherErr == nil)
}

// answering is an HTTP client that gets this answer to everything.
type answering []byte

func (a answering) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a))}, nil
}
