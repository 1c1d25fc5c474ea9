package call_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/call"
	"reseal/internal/test/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// write sends one put, with the SDK's own retryer but for Once.
func write(ctx context.Context, c *dynamodb.Client, table string, id any) error {
	_, err := c.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
		RequestItems: map[string][]types.WriteRequest{
			table: {{PutRequest: &types.PutRequest{Item: testkit.Item("id", id)}}},
		},
	}, call.Once)
	return err
}

// client returns one as the SDK makes it: with its own HTTP client and its own retries.
func client(url string, change ...func(*dynamodb.Options)) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: &url,
		Region:       "us-east-1",
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "a", SecretAccessKey: "b"}, nil
		}),
	}, change...)
}

func TestClassifyAnswers(t *testing.T) {
	url := testkit.Engine(t)
	proxy := testkit.NewProxy(t, url)
	db := client(proxy.URL)
	table := testkit.CreateTable(t, testkit.Client(url), testkit.TableSpec{Hash: "id:S"})
	const prefix = "com.amazonaws.dynamodb.v20120810#"
	for _, test := range []struct {
		name   string
		answer *testkit.Response // nil: the engine's own
		table  string
		id     any
		want   call.Outcome
	}{
		{name: "done", want: call.OK},
		{name: "validation", id: 5, want: call.Refused},
		{name: "no such table", table: "no-such-table", want: call.Refused},
		{name: "cut", answer: &testkit.Response{Cut: true}, want: call.Unknown},
		{name: "throughput exceeded", answer: testkit.Throttle("x"), want: call.Throttled},
		{name: "request limit", answer: testkit.Fail(400, prefix+"RequestLimitExceeded", ""), want: call.Throttled},
		{name: "throttling", answer: testkit.Fail(400, prefix+"ThrottlingException", ""), want: call.Throttled},
		{name: "throttling with status 503", answer: testkit.Fail(503, prefix+"ThrottlingException", ""), want: call.Throttled},
		{name: "throttling of the front door", answer: testkit.Fail(400, "com.amazon.coral.availability#ThrottlingException", ""), want: call.Throttled},
		{name: "limit exceeded", answer: testkit.Fail(400, prefix+"LimitExceededException", ""), want: call.Throttled},
		{name: "429", answer: &testkit.Response{Status: 429, Body: []byte("slow down")}, want: call.Throttled},
		{name: "in a transaction", answer: testkit.Fail(400, prefix+"TransactionConflictException", ""), want: call.Throttled},
		{name: "in another Region", answer: testkit.Fail(400, prefix+"ReplicatedWriteConflictException", ""), want: call.Throttled},
		{name: "500", answer: testkit.Fail(500, prefix+"InternalServerError", ""), want: call.Unknown},
		{name: "500 without a body", answer: &testkit.Response{Status: 500}, want: call.Unknown},
		{name: "502 of a proxy", answer: &testkit.Response{Status: 502, Body: []byte("<html>")}, want: call.Unknown},
		{name: "503", answer: testkit.Fail(503, "ServiceUnavailable", ""), want: call.Unknown},
		{name: "408", answer: &testkit.Response{Status: 408}, want: call.Unknown},
		{name: "redirect", answer: &testkit.Response{Status: 302}, want: call.Unknown},
		{name: "too large", answer: &testkit.Response{Status: 413, Body: []byte("length limit exceeded")}, want: call.Refused},
		{name: "bad token", answer: testkit.Fail(400, "com.amazon.coral.service#UnrecognizedClientException", ""), want: call.Refused},
		{name: "expired token", answer: testkit.Fail(400, "com.amazon.coral.service#ExpiredTokenException", ""), want: call.Refused},
		{name: "access denied", answer: testkit.Fail(400, "com.amazon.coral.service#AccessDeniedException", ""), want: call.Refused},
		{name: "serialization", answer: testkit.Fail(400, "com.amazon.coral.service#SerializationException", ""), want: call.Refused},
		{name: "index too large", answer: testkit.Fail(400, prefix+"ItemCollectionSizeLimitExceededException", ""), want: call.Refused},
		{name: "broken JSON", answer: &testkit.Response{Body: []byte(`{"UnprocessedItems":{`)}, want: call.Unknown},
		{name: "HTML", answer: &testkit.Response{Body: []byte(`<html>`)}, want: call.Unknown},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy.Use(func(*testkit.Exchange) *testkit.Response { return test.answer })
			if test.table == "" {
				test.table = table
			}
			if test.id == nil {
				test.id = "a"
			}
			before := proxy.Count("BatchWriteItem")
			err := write(t.Context(), db, test.table, test.id)
			if got := call.Classify(err); got != test.want {
				t.Errorf("outcome %d, want %d, of %v", got, test.want, err)
			}
			if n := proxy.Count("BatchWriteItem") - before; n != 1 {
				t.Errorf("%d requests: the SDK repeats in spite of Once", n)
			}
		})
	}
}

func TestClassifyBodyCutShort(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte(`{"UnprocessedItems":{}}`))
	}))
	defer server.Close()
	if err := write(t.Context(), client(server.URL), "some-table", "a"); call.Classify(err) != call.Unknown {
		t.Errorf("outcome %d, want Unknown, of %v", call.Classify(err), err)
	}
}

func TestClassifyContext(t *testing.T) {
	proxy := testkit.NewProxy(t, "http://127.0.0.1:1")
	ctx, cancel := context.WithCancel(t.Context())
	proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		cancel() // while the request is under way
		<-x.Ctx.Done()
		return &testkit.Response{Cut: true}
	})
	if err := write(ctx, client(proxy.URL), "some-table", "a"); call.Classify(err) != call.Unknown {
		t.Errorf("cancelled: outcome %d, want Unknown, of %v", call.Classify(err), err)
	}
	proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		<-x.Ctx.Done()
		return &testkit.Response{Cut: true}
	})
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := write(ctx, client(proxy.URL), "some-table", "a"); call.Classify(err) != call.Unknown {
		t.Errorf("timed out: outcome %d, want Unknown, of %v", call.Classify(err), err)
	}
}

func TestClassifyNoConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := "http://" + listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	impatient := &http.Client{Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: time.Nanosecond}).DialContext}}
	for name, db := range map[string]*dynamodb.Client{
		"refused":      client(dead),
		"no such host": client("http://no-such-host.invalid:8000"),
		"dial timeout": client(dead, func(o *dynamodb.Options) { o.HTTPClient = impatient }),
	} {
		err := write(t.Context(), db, "some-table", "a")
		if call.Classify(err) != call.NotSent {
			t.Errorf("%s: outcome %d, want NotSent, of %v", name, call.Classify(err), err)
		}
	}
}

// A failure after the connection is made is not known to be before the request was sent.
func TestClassifyBrokenConnection(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.(*net.TCPConn).SetLinger(0) // a reset
			_ = conn.Close()
		}
	}()
	for _, scheme := range []string{"http://", "https://"} {
		err := write(t.Context(), client(scheme+listener.Addr().String()), "some-table", "a")
		if call.Classify(err) != call.Unknown {
			t.Errorf("%s: outcome %d, want Unknown, of %v", scheme, call.Classify(err), err)
		}
	}
}

func TestClassifyClientSide(t *testing.T) {
	_, err := client("http://127.0.0.1:1").BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{}, call.Once)
	if call.Classify(err) != call.Refused {
		t.Errorf("missing parameter: outcome %d, want Refused, of %v", call.Classify(err), err)
	}
	planted := errors.New("planted")
	err = write(t.Context(), client("http://127.0.0.1:1", func(o *dynamodb.Options) {
		o.Credentials = aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return aws.Credentials{}, planted })
	}), "some-table", "a")
	if !errors.Is(err, planted) || call.Classify(err) != call.Unknown {
		t.Errorf("no credentials: outcome %d, want Unknown, of %v", call.Classify(err), err)
	}
}

func TestItemRefusedAndMessage(t *testing.T) {
	proxy := testkit.NewProxy(t, "http://127.0.0.1:1")
	for answer, want := range map[*testkit.Response]struct {
		validation bool
		message    string
	}{
		testkit.Fail(400, "com.amazon.coral.validate#ValidationException", "one\n  two"): {true, "ValidationException: one two"},
		testkit.Fail(400, "com.amazon.coral.service#AccessDeniedException", "no"):        {false, "AccessDeniedException: no"},
		{Cut: true}: {false, "EOF"},
	} {
		proxy.Use(func(*testkit.Exchange) *testkit.Response { return answer })
		err := write(t.Context(), client(proxy.URL), "some-table", "a")
		if call.ItemRefused(err) != want.validation || call.Message(err) != want.message {
			t.Errorf("%v: validation %t, message %q", err, call.ItemRefused(err), call.Message(err))
		}
	}
	if call.ItemRefused(nil) || call.ItemRefused(errors.New("ValidationException")) {
		t.Error("validation")
	}
}
