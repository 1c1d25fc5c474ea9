package call_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/smithy-go/middleware"
)

// The clock is the service's, however wrong the machine's is beside it; without a Date it is the machine's.
func TestClockOf(t *testing.T) {
	for name, test := range map[string]struct {
		date string // "": none
		want time.Duration
	}{
		"an hour ahead":   {time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), time.Hour},
		"a year behind":   {time.Now().Add(-365 * 24 * time.Hour).UTC().Format(http.TimeFormat), -365 * 24 * time.Hour},
		"none":            {"", 0},
		"one of no sense": {"yesterday", 0},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Date"] = []string{test.date}
				if test.date == "" {
					w.Header()["Date"] = nil
				}
				_, _ = w.Write([]byte(`{"TableNames":[]}`))
			}))
			defer server.Close()
			out, err := client(server.URL).ListTables(t.Context(), &dynamodb.ListTablesInput{})
			if err != nil {
				t.Fatal(err)
			}
			clock := call.ClockOf(out.ResultMetadata)
			now := time.Now()
			if off := clock.At(now).Sub(now) - test.want; off.Abs() > 5*time.Second {
				t.Errorf("%s off", off)
			}
			if before, after := clock.At(now), clock.At(now.Add(time.Minute)); after.Sub(before) != time.Minute {
				t.Errorf("a minute is %s", after.Sub(before))
			}
			if off := time.Until(clock.Now()) - test.want; off.Abs() > 5*time.Second {
				t.Errorf("now is %s off", off)
			}
		})
	}
	if got := call.ClockOf(middleware.Metadata{}); got != (call.Clock{}) {
		t.Errorf("an answer without metadata shows %+v", got)
	}
}
