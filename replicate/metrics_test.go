package replicate

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"testing"
	"time"

	"reseal/internal/test/testkit"
)

// emf is a line of the Embedded Metric Format, as far as its specification has required members.
type emf struct {
	AWS struct {
		Timestamp         int64
		CloudWatchMetrics []struct {
			Namespace  string
			Dimensions [][]string
			Metrics    []struct{ Name, Unit string }
		}
	} `json:"_aws"`
}

// metricsOf checks the one line against the specification and returns the metrics' values: each metric and dimension that is declared
// must be a member of the root, a metric a number, a dimension a string; the unit one of CloudWatch's.
func metricsOf(t *testing.T, line []byte) map[string]float64 {
	t.Helper()
	var declared emf
	var root map[string]any
	if err := errors.Join(json.Unmarshal(line, &declared), json.Unmarshal(line, &root)); err != nil || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("%v: %s", err, line)
	}
	if age := time.Since(time.UnixMilli(declared.AWS.Timestamp)); age < 0 || age > time.Minute || len(declared.AWS.CloudWatchMetrics) != 1 {
		t.Fatalf("%s", line)
	}
	directive := declared.AWS.CloudWatchMetrics[0]
	if directive.Namespace != "reseal" || len(directive.Dimensions) != 1 || !slices.Equal(directive.Dimensions[0], []string{"TargetTable"}) {
		t.Errorf("%+v", directive)
	}
	if _, is := root["TargetTable"].(string); !is {
		t.Errorf("the dimension has no value: %s", line)
	}
	values := map[string]float64{}
	for _, metric := range directive.Metrics {
		value, is := root[metric.Name].(float64)
		if !is || value < 0 || !slices.Contains([]string{"Count", "Milliseconds"}, metric.Unit) {
			t.Errorf("%s: %v %s", metric.Name, root[metric.Name], metric.Unit)
		}
		values[metric.Name] = value
	}
	return values
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var out bytes.Buffer
	handler, err := NewHandler(t.Context(), testkit.Client(f.proxy.URL), f.target, slog.New(slog.DiscardHandler), HandlerOptions{Metrics: &out})
	if err != nil {
		t.Fatal(err)
	}
	handle := func(records ...record) map[string]float64 {
		t.Helper()
		out.Reset()
		_, _ = handler.Handle(t.Context(), eventOf(t, records...)) // the metrics are wanted with an error, too
		return metricsOf(t, out.Bytes())
	}
	age := float64(time.Since(time.Unix(1700000000, 0)).Milliseconds()) // the records were made then
	check := func(got, want map[string]float64) {
		t.Helper()
		if lag := got["LagMilliseconds"]; lag < age || lag > age+60_000 {
			t.Errorf("lag %v, want about %v", lag, age)
		}
		delete(got, "LagMilliseconds")
		if !maps.Equal(got, want) {
			t.Errorf("metrics %v, want %v", got, want)
		}
	}
	check(
		handle(modify("1", "a", "1"), modify("2", "a", "2"), modify("3", "b", "1"), change("REMOVE", "4", "c", nil)),
		map[string]float64{"Records": 4, "Puts": 2, "Deletes": 1, "Coalesced": 1, "DeadLettered": 0, "Failures": 0, "UncertainWrites": 0},
	)
	refuseKey(f, invalid, "bad")
	check(
		handle(modify("1", "a", "3"), modify("2", "bad", "1"), modify("3", "b", "1")),
		map[string]float64{"Records": 1, "Puts": 0, "Deletes": 0, "Coalesced": 0, "DeadLettered": 0, "Failures": 2, "UncertainWrites": 0},
	)
	check(
		handle(modify("1", "a", "3"), modify("", "b", "1")),
		map[string]float64{"Records": 0, "Puts": 0, "Deletes": 0, "Coalesced": 0, "DeadLettered": 0, "Failures": 2, "UncertainWrites": 0},
	)
	if got := handle(); len(got) != 7 {
		t.Errorf("an event without records: %v", got)
	}
}
