package verify

import (
	"encoding/json"
	"fmt"
	"io"
)

// reportLine is one difference in a report file. Attribute values are not in it, but keys are: that is what it is for.
type reportLine struct {
	Key          json.RawMessage `json:"key"` // DynamoDB JSON
	Kind         Kind            `json:"kind"`
	Attributes   []string        `json:"attributes,omitempty"`
	SourceDigest string          `json:"source_digest,omitempty"`
	TargetDigest string          `json:"target_digest,omitempty"`
}

// WriteDifference writes the difference as one line of JSON.
func WriteDifference(w io.Writer, d Difference) error {
	key, err := d.Key.JSON()
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	encoder := json.NewEncoder(w) // it makes one call of Write, and ends the line
	encoder.SetEscapeHTML(false)
	err = encoder.Encode(reportLine{
		Key: json.RawMessage(key), Kind: d.Kind, Attributes: d.Attributes,
		SourceDigest: d.SourceDigest, TargetDigest: d.TargetDigest,
	})
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}
