package cutover

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/refuse"
	"reseal/internal/table"
)

// Step is a part of a cutover.
type Step string

// The steps, in their order.
const (
	StepPreflight Step = "preflight"
	StepFollow    Step = "follow"
	StepPostpone  Step = "postpone"
	StepFence     Step = "fence"
	StepProve     Step = "prove"
	StepDrain     Step = "drain"
	StepStop      Step = "stop"
	StepReady     Step = "ready"
	StepHook      Step = "hook"
	StepPermanent Step = "permanent"
	StepWatch     Step = "watch"
	StepKeepBack  Step = "keep back"
	StepBack      Step = "back"
)

// FenceState is what is known of the source's gate.
type FenceState string

// The states of the fence.
const (
	FenceNone      FenceState = "none"
	FenceTemporary FenceState = "temporary" // until MaxFence has passed
	FenceHeld      FenceState = "held"      // until Hold has passed
	FencePermanent FenceState = "permanent"
	FenceLifted    FenceState = "lifted"
)

// Verdict is a cutover's outcome in a word.
type Verdict string

// The verdicts.
const (
	VerdictNone    Verdict = ""        // not known yet
	VerdictPlan    Verdict = "plan"    // nothing was done but to look
	VerdictGo      Verdict = "go"      // the writers are on the target
	VerdictBack    Verdict = "back"    // the writers go on with the source: nothing is lost
	VerdictHeld    Verdict = "held"    // some writers may be on the target: the fence stays for a while, and somebody has to decide
	VerdictAborted Verdict = "aborted" // put back by whoever decided
)

// StepTime is when a step began and ended, by this machine's clock, RFC 3339, UTC.
type StepTime struct {
	Step  Step   `json:"step"`
	Began string `json:"began"`
	Ended string `json:"ended"` // "": it has not
}

// format is that of the state file.
const format = 1

// State is what a cutover leaves for the next run: each step is in it before it is taken.
type State struct {
	Format int            `json:"format"`
	Run    string         `json:"run"` // the end of the Sids of its statements
	Source table.Identity `json:"source"`
	Target table.Identity `json:"target"`
	Stream string         `json:"stream"`
	// How writes are refused, and how the replicator is stopped: for the run that goes on.
	FenceBy     string    `json:"fence_by"`
	StopBy      string    `json:"stop_by"`
	Replicators []string  `json:"replicators,omitempty"` // ARNs of those who write to the target
	Mappings    []Mapping `json:"mappings,omitempty"`

	// Earlier is the statement by which a cutover the other way round has closed the target for good; null: there is none.
	Earlier json.RawMessage `json:"earlier,omitempty"`
	// Back are the mappings from the target's stream to functions that replicate to the source, with --keep-back; on when the cutover is over.
	Back []Mapping `json:"back,omitempty"`

	Step    Step       `json:"step"`    // the last that was begun
	Fence   FenceState `json:"fence"`   // before it is done: what may be
	Until   time.Time  `json:"until"`   // of the source's gate, by the service's clock; zero: for good, or there is none
	Hold    time.Time  `json:"hold"`    // of the target's, and of the source's from the verdict on
	Stopped bool       `json:"stopped"` // the target's gate may be closed
	Ready   bool       `json:"ready"`   // the verdict: the hook may have run, and must
	Hooked  bool       `json:"hooked"`  // it has succeeded
	Lapsed  bool       `json:"lapsed"`  // the gates had opened by themselves before that
	Closed  bool       `json:"closed"`  // both gates are closed for good
	Watched bool       `json:"watched"`
	BackOn  bool       `json:"back_on"` // the replication the other way round was started
	Verdict Verdict    `json:"verdict"`

	OpenedAt    time.Time     `json:"opened_at"`   // when a gate was opened last, by this machine's clock
	RefusedAt   time.Time     `json:"refused_at"`  // when a write was seen to be refused, or before that when the fence was put, by this machine's clock
	ReadyAt     time.Time     `json:"ready_at"`    // likewise
	Refused     float64       `json:"refused"`     // seconds in which writes were refused
	Relooked    int64         `json:"relooked"`    // keys
	Propagation time.Duration `json:"propagation"` // from putting the fence until it was proven
	// Position is where the source's stream was read to when it was drained: each record after it is a straggler's.
	Position json.RawMessage `json:"position,omitempty"`

	Straggled  int64       `json:"straggled"`            // stragglers
	Stragglers []Straggler `json:"stragglers,omitempty"` // of them, the first thousand
	Steps      []StepTime  `json:"steps"`
}

// Straggler is a write to the source that the target may not have.
type Straggler struct {
	Key    json.RawMessage `json:"key"`  // as DynamoDB has it in JSON
	Made   string          `json:"made"` // RFC 3339, UTC
	Target string          `json:"target"`
}

// IsUnderWay tells whether something of a run before may be in effect: a gate that is closed, or writers that have gone over.
func (s State) IsUnderWay() bool {
	return s.mayBeFenced() || s.Ready && s.Verdict != VerdictBack && s.Verdict != VerdictAborted
}

// mayBeFenced tells whether a gate may be closed though nobody has gone over: what an earlier run left has to be opened.
func (s State) mayBeFenced() bool {
	return !s.Ready && (s.Fence == FenceTemporary || s.Fence == FenceHeld || s.Stopped)
}

// Store is the file of the state. It is one process's.
type Store struct {
	path string
	lock *atomicfile.Lock
}

// OpenStore locks the file at path, which need not exist. Its errors are *refuse.Error.
func OpenStore(path string) (*Store, error) {
	lock, err := atomicfile.Acquire(path)
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		return nil, refuse.Because(err, "wait for it, or stop it", "another cutover uses the state file %s", path)
	case err != nil:
		return nil, refuse.Because(err, "check its folder", "the state file %s can't be locked (%s)", path, plain(err))
	}
	return &Store{path: path, lock: lock}, nil
}

// plain is the innermost cause.
func plain(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err.Error()
	}
	return err.Error()
}

// Path is where it is.
func (s *Store) Path() string { return s.path }

// Close ends the lock.
func (s *Store) Close() { s.lock.Release() }

// Load reads the state; found is false if there is none. Its errors are *refuse.Error.
func (s *Store) Load() (state State, found bool, err error) {
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	switch {
	case err != nil:
		return State{}, false, refuse.Because(err, "look what it is; the statements in both tables' resource policies tell of a cutover, too",
			"the state file %s can't be read (%s)", filepath.Base(s.path), plain(err))
	case state.Format != format || state.Run == "":
		return State{}, false, refuse.New("use the release that wrote it, or another --state", "the state file %s is not one of this release's cutovers", filepath.Base(s.path))
	}
	return state, true, nil
}

// Save replaces the file.
func (s *Store) Save(state State) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	if err := atomicfile.Write(s.path, append(text, '\n')); err != nil {
		return fmt.Errorf("save state: %w", err)
	}
	return nil
}
