package replicate

import (
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// metricNamespace is that of all metrics in CloudWatch.
const metricNamespace = "reseal"

// metrics writes lines of CloudWatch's Embedded Metric Format, which CloudWatch Logs makes metrics of (CloudWatch user guide,
// "Specification: Embedded metric format").
type metrics struct {
	out   io.Writer
	table string // the target's name, the only dimension
}

type metricDefinition struct {
	Name string
	Unit string
}

// metricDefinitions are the metrics of one event, in the order of the README.
var metricDefinitions = []metricDefinition{
	{"Records", "Count"},
	{"Puts", "Count"},
	{"Deletes", "Count"},
	{"Coalesced", "Count"},
	{"DeadLettered", "Count"},
	{"Failures", "Count"},
	{"UncertainWrites", "Count"},
}

var lagDefinition = metricDefinition{"LagMilliseconds", "Milliseconds"}

// write tells of one event: what was applied, how many of its records were not (Failures), and the age of its oldest record, where
// that is known.
func (m metrics) write(counts Counts, failures int, lag time.Duration, lagIsKnown bool) error {
	if m.out == nil {
		return nil
	}
	definitions := metricDefinitions
	line := map[string]any{
		"TargetTable": m.table, "Records": counts.Records, "Puts": counts.Puts, "Deletes": counts.Deletes,
		"Coalesced": counts.Coalesced, "DeadLettered": counts.DeadLettered, "Failures": failures,
		"UncertainWrites": counts.Uncertain,
	}
	if lagIsKnown {
		definitions = append(definitions[:len(definitions):len(definitions)], lagDefinition)
		line[lagDefinition.Name] = max(0, lag.Milliseconds())
	}
	line["_aws"] = map[string]any{
		"Timestamp": time.Now().UnixMilli(),
		"CloudWatchMetrics": []any{map[string]any{
			"Namespace": metricNamespace, "Dimensions": [][]string{{"TargetTable"}}, "Metrics": definitions,
		}},
	}
	data, err := json.Marshal(line)
	if err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	if _, err := m.out.Write(append(data, '\n')); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}
