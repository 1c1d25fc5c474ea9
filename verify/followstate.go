package verify

import (
	"encoding/json"
	"time"

	"reseal/internal/stream"
)

// state is what the checkpoint is to hold. It is taken before the open keys are: what is read meanwhile is read again, not missed.
func (f *follower) state() (*followState, error) {
	since := f.since.Load()
	if f.tail == nil || since == nil {
		return f.resume, nil // it has not begun: there is nothing yet that a later run could rest on
	}
	position, err := f.tail.Position()
	if err != nil {
		return nil, err
	}
	return &followState{Since: instant(*since), Position: position}, nil
}

// followState is what a checkpoint holds of a verification that follows.
type followState struct {
	Since    string          `json:"since"`    // from when on each change is followed: RFC 3339, UTC
	Position json.RawMessage `json:"position"` // in the stream: stream.State
}

// readAhead is how much longer the stream must hold what comes next, to be gone on from: for reading it.
const readAhead = time.Hour

// useless says why nobody can go on from the state; "" if one can. now is the service's time.
func (s *followState) useless(now time.Time) string {
	var position stream.State
	if err := json.Unmarshal(s.Position, &position); err != nil || position.Started.IsZero() {
		return "it has no position in the stream"
	}
	if what, stale := position.Stale(now.Add(readAhead)); stale {
		return "the stream keeps 24 hours, and " + what + " was last read about as long ago, so changes may be missed"
	}
	return ""
}
