package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"reseal/verify"
)

// reportLine is one difference in a report file. Attribute values are in it with ShowValues only, but keys are: that is what it is for.
type reportLine struct {
	Key          json.RawMessage `json:"key"` // DynamoDB JSON
	Kind         verify.Kind     `json:"kind"`
	Attributes   []string        `json:"attributes,omitempty"`
	SourceDigest string          `json:"source_digest,omitempty"`
	TargetDigest string          `json:"target_digest,omitempty"`
	FirstSeen    string          `json:"first_seen"` // RFC 3339, UTC
	LastSeen     string          `json:"last_seen"`
	LastChanged  string          `json:"last_changed,omitempty"`  // where a stream record told it
	SourceValues json.RawMessage `json:"source_values,omitempty"` // DynamoDB JSON
	TargetValues json.RawMessage `json:"target_values,omitempty"`
	Repair       verify.Action   `json:"repair,omitempty"`
	WouldRepair  verify.Action   `json:"would_repair,omitempty"`
	AfterRepair  bool            `json:"after_repair,omitempty"`
	Refused      string          `json:"refused,omitempty"` // by the target, in the service's words
}

// WriteDifference writes the difference as one line of JSON.
func WriteDifference(w io.Writer, d verify.Difference) error {
	key, err := d.Key.JSON()
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	encoder := json.NewEncoder(w) // it makes one call of Write, and ends the line
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(reportLine{
		Key: json.RawMessage(key), Kind: d.Kind, Attributes: d.Attributes,
		SourceDigest: d.SourceDigest, TargetDigest: d.TargetDigest,
		FirstSeen: moment(d.FirstSeen), LastSeen: moment(d.LastSeen), LastChanged: momentIfKnown(d.LastChanged),
		SourceValues: d.SourceValues, TargetValues: d.TargetValues,
		Repair: d.Repair, WouldRepair: d.WouldRepair, AfterRepair: d.AfterRepair, Refused: d.Refused,
	})
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

// moment is a time in a report, to the millisecond.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

func momentIfKnown(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return moment(t)
}
