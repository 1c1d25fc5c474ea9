package testkit

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// watched is a test whose failures are kept.
type watched struct {
	testing.TB
	mu     sync.Mutex
	failed []string
}

func watch(t *testing.T) *watched {
	t.Helper()
	if serviceModels(t) == nil {
		t.Skip("there are no service models")
	}
	return &watched{TB: t}
}

func (w *watched) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, fmt.Sprintf(format, args...))
}

// want compares the failures with texts that they hold, and forgets them.
func (w *watched) want(texts ...string) {
	w.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.failed) != len(texts) {
		w.TB.Errorf("failed with %q, want %q", w.failed, texts)
	}
	for i := range min(len(texts), len(w.failed)) {
		if !strings.Contains(w.failed[i], texts[i]) {
			w.TB.Errorf("failed with %q, want %q", w.failed[i], texts[i])
		}
	}
	w.failed = nil
}

// badScan is a request that the service's model doesn't allow.
func badScan(t *testing.T, url string) {
	t.Helper()
	_, err := Client(url).Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("a-table"), Limit: aws.Int32(0)})
	if err == nil {
		t.Error("the engine takes a bad request")
	}
}

// Whatever stands between a client and the engine, a bad request and a bad answer fail the test once.
func TestContractIsInFrontOfTheEngine(t *testing.T) {
	w := watch(t)
	engine := Engine(w)
	if again := Engine(w); again != engine {
		t.Errorf("a test has two addresses of one engine, %s and %s", engine, again)
	}
	const limit = `Scan, request, Limit: breaks the rule "range"`
	badScan(t, engine)
	w.want(limit)
	proxy := NewProxy(w, engine)
	badScan(t, proxy.URL)
	w.want(limit)
	proxy.Use(func(*Exchange) *Response { return &Response{Cut: true} })
	badScan(t, proxy.URL)
	w.want(limit)

	proxy.Use(func(*Exchange) *Response { return &Response{Body: []byte(`{"Items":[],"Count":true}`)} })
	_, _ = Client(proxy.URL).Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("a-table")}) // the SDK doesn't take it either
	w.want(`Scan, answer, Count: breaks the rule "type"`)
	proxy.Use(func(*Exchange) *Response { return &Response{Body: []byte(`{"Items":`)} })
	_, _ = Client(proxy.URL).Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("a-table")})
	w.want()
	proxy.Use(func(x *Exchange) *Response { return Throttle(x.Op) })
	_, _ = Client(proxy.URL).Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("a-table")})
	w.want()
}

// What a test says is bad on purpose is let through in it, in tests below it, and by the proxies of those above; and nowhere else.
func TestContractExemptions(t *testing.T) {
	w := watch(t)
	url := NewProxy(w, Engine(w)).URL
	t.Run("said", func(t *testing.T) {
		BadRequests(t, "this test's", "range")
		badScan(t, url)
		w.want()
		t.Run("below", func(t *testing.T) {
			badScan(t, NewProxy(t, Engine(t)).URL)
		})
		_, err := Client(url).Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("a-table"), Segment: aws.Int32(1)})
		if err == nil {
			t.Error("the engine takes a bad request")
		}
		w.want(`breaks the rule "segment"`)
	})
	badScan(t, url)
	w.want("range")
	t.Run("answers", func(t *testing.T) {
		BadAnswers(t, "this test's", "range")
		badScan(t, url)
		w.want("range")
	})
}

// What package canned answers keeps to the contract, too. Programs whose memory is measured talk to it without a proxy.
func TestCannedKeepsTheContract(t *testing.T) {
	url := NewProxy(t, NewCanned(t, 30_000).URL).URL
	client := Client(url)
	for _, table := range []string{"source", "target"} {
		if _, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &table}); err != nil {
			t.Error(err)
		}
		items := ScanAll(t, client, table)
		if len(items) != 30_000 {
			t.Errorf("%d items", len(items))
		}
		Fill(t, client, table, items[:50])
		key := map[string]types.AttributeValue{"k": items[7]["k"]}
		got, err := client.BatchGetItem(t.Context(), &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{
			table: {Keys: []map[string]types.AttributeValue{key}},
		}})
		if err != nil || len(got.Responses[table]) != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	}
	stream := Streams(url)
	described, err := stream.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{
		StreamArn: aws.String("arn:aws:dynamodb:us-east-1:000000000000:table/source/stream/1"),
	})
	if err != nil {
		t.Fatal(err)
	}
	iterator, err := stream.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
		StreamArn: described.StreamDescription.StreamArn, ShardId: described.StreamDescription.Shards[0].ShardId,
		ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
	})
	if err != nil {
		t.Fatal(err)
	}
	records, err := stream.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: iterator.ShardIterator})
	if err != nil || len(records.Records) != 1000 {
		t.Errorf("got %d records, %v", len(records.Records), err)
	}
}
