package wire_test

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"reseal/internal/call"
	"reseal/internal/test/testkit"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go"
)

// server answers every request in the same way and keeps the last one.
type server struct {
	status int
	header map[string]string
	answer string

	request *http.Request
	body    string
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.request, s.body = r, string(body)
	for name, value := range s.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(s.status)
	_, _ = io.WriteString(w, s.answer)
}

// scan makes a Scan with the exchange.
func (s *server) scan(t *testing.T, x *wire.Exchange) error {
	t.Helper()
	web := httptest.NewServer(s)
	defer web.Close()
	_, err := testkit.Client(web.URL).Scan(t.Context(), &dynamodb.ScanInput{TableName: aws.String("table")}, call.Once, x.Use)
	return err
}

func crcOf(text string) string {
	return strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(text))), 10)
}

// The request is the SDK's but for its body, which is signed, and the answer comes as it was sent.
func TestExchange(t *testing.T) {
	for _, length := range []int{10, 100_000} {
		answer := `{"Items":[]` + strings.Repeat(" ", length) + `}`
		for name, buffer := range map[string][]byte{"none": nil, "small": make([]byte, 5), "large": make([]byte, 200_000)} {
			s := &server{status: http.StatusOK, answer: answer, header: map[string]string{"X-Amz-Crc32": crcOf(answer)}}
			x := wire.Exchange{Body: []byte(`{"of":"ours"}`), Buffer: buffer}
			if err := s.scan(t, &x); err != nil {
				t.Fatal(err)
			}
			if string(x.Answer) != answer {
				t.Errorf("buffer %s: answer of %d bytes, want %d", name, len(x.Answer), len(answer))
			}
			if s.body != `{"of":"ours"}` || s.request.ContentLength != int64(len(s.body)) {
				t.Errorf("body %q, length %d", s.body, s.request.ContentLength)
			}
			if target := s.request.Header.Get("X-Amz-Target"); target != "DynamoDB_20120810.Scan" {
				t.Errorf("target %q", target)
			}
			if auth := s.request.Header.Get("Authorization"); !strings.HasPrefix(auth, "AWS4-HMAC-SHA256 ") || !strings.Contains(auth, "content-length") {
				t.Errorf("authorization %q", auth)
			}
		}
	}
}

// Without a body of ours the SDK's goes.
func TestExchangeOfAnswerOnly(t *testing.T) {
	s := &server{status: http.StatusOK, answer: `{}`}
	var x wire.Exchange
	if err := s.scan(t, &x); err != nil || s.body != `{"TableName":"table"}` || string(x.Answer) != `{}` {
		t.Errorf("body %q, answer %q, %v", s.body, x.Answer, err)
	}
}

// An answer that was damaged or cut, which the SDK lets pass or notices only in its JSON, tells nothing of the request.
func TestBrokenAnswers(t *testing.T) {
	for name, s := range map[string]*server{
		"other checksum":    {status: http.StatusOK, answer: `{"Count":1}`, header: map[string]string{"X-Amz-Crc32": crcOf(`{"Count":2}`)}},
		"no number":         {status: http.StatusOK, answer: `{}`, header: map[string]string{"X-Amz-Crc32": "x"}},
		"cut":               {status: http.StatusOK, answer: `{"Count"`, header: map[string]string{"Content-Length": "100"}},
		"cut, without size": {status: http.StatusOK, answer: `{"Count"`, header: map[string]string{"Transfer-Encoding": "chunked", "X-Amz-Crc32": crcOf(`{"Count":2}`)}},
	} {
		var x wire.Exchange
		err := s.scan(t, &x)
		if err == nil || call.Classify(err) != call.Unknown || x.Answer != nil {
			t.Errorf("%s: answer %q, error %v, outcome %v", name, x.Answer, err, call.Classify(err))
		}
	}
}

// Errors of the service are the SDK's to decode.
func TestErrorsStayTheSDKs(t *testing.T) {
	s := &server{status: http.StatusBadRequest, answer: `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"slow down"}`}
	x := wire.Exchange{Body: []byte(`{}`)}
	err := s.scan(t, &x)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "ProvisionedThroughputExceededException" || call.Classify(err) != call.Throttled || x.Answer != nil {
		t.Errorf("%v", err)
	}
}

// other is a client that isn't the SDK's.
type other struct{ *dynamodb.Client }

func TestClient(t *testing.T) {
	db := testkit.Client("http://127.0.0.1:1")
	if got, is := wire.Client(db); got != db || !is {
		t.Error("the SDK's client is none")
	}
	for _, api := range []any{other{db}, nil} {
		if _, is := wire.Client(api); is {
			t.Errorf("%T is taken for the SDK's client", api)
		}
	}
}

// A context that ends ends the request.
func TestExchangeIsCancelled(t *testing.T) {
	arrived := make(chan struct{})
	web := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(arrived)
		<-r.Context().Done()
	}))
	defer web.Close()
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	x := wire.Exchange{Body: fmt.Append(nil, `{}`)}
	_, err := testkit.Client(web.URL).Scan(ctx, &dynamodb.ScanInput{TableName: aws.String("table")}, call.Once, x.Use)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}
