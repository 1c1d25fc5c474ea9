package call_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"reseal/internal/call"
)

// Without WholeAnswers, which Once includes, some of these requests fail.
func TestWholeAnswers(t *testing.T) {
	answer := []byte(`{"UnprocessedItems":{},"Pad":"` + string(bytes.Repeat([]byte{'x'}, 100_000)) + `"}`)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(answer) }))
	defer server.Close()
	db := client(server.URL)
	for range 300 {
		if err := write(t.Context(), db, "some-table", "a"); err != nil {
			t.Fatal(err)
		}
	}
}

type counter int

func (c *counter) Do(r *http.Request) (*http.Response, error) {
	*c++
	if r.Body == nil {
		return &http.Response{StatusCode: http.StatusTeapot}, nil
	}
	return http.DefaultClient.Do(r)
}

func TestWholeAnswersSendsOnce(t *testing.T) {
	if got := call.WholeAnswers(nil); got != nil {
		t.Errorf("no client gives %v", got)
	}
	var c counter
	wrapped := call.WholeAnswers(call.WholeAnswers(&c))
	r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://127.0.0.1:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := wrapped.Do(r)
	if err != nil || resp.StatusCode != http.StatusTeapot || c != 1 {
		t.Errorf("answer %v, error %v, sent %d times", resp, err, c)
	}
	var o dynamodb.Options
	o.HTTPClient = wrapped
	call.Once(&o)
	if o.HTTPClient != wrapped {
		t.Error("it is wrapped twice")
	}
}
