package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/call"
	"reseal/internal/refuse"
	"reseal/internal/stream"
	"reseal/internal/table"
)

// checkpointFormat is the first field of the file; another version of reseal that changes the format changes it too. Files of the
// first format lack what is marked so below.
const (
	checkpointFormat  = "reseal replicate checkpoint 2"
	checkpointFormat1 = "reseal replicate checkpoint 1"
)

// checkpointFile is the file's content.
type checkpointFile struct {
	Format string         `json:"format"`
	Source table.Identity `json:"source"`
	Target table.Identity `json:"target"`
	Stream string         `json:"stream"` // ARN: a stream that was disabled and enabled again is another one
	stream.State
	Quiet bool `json:"quiet,omitempty"` // the run that wrote it ended, and no write of it may still be carried out
}

// checkpoint keeps the position of a replication in a file. It is behind what was applied, never before it: applying records
// again is harmless. It is safe for concurrent use.
type checkpoint struct {
	path    string           // "": nowhere, only in memory
	lock    *atomicfile.Lock // nil without a path
	resumed bool
	unquiet bool // the run before was killed, perhaps with a write under way

	positions *stream.Positions

	saving sync.Mutex // guards what follows
	file   checkpointFile
	dirty  bool // beside the positions
}

// saveInterval bounds what is applied again after a crash.
const saveInterval = time.Second

// newCheckpoint is that of a run in its file, which open opens.
func newCheckpoint(o Options, pair table.Pair) *checkpoint {
	return &checkpoint{path: o.Checkpoint, dirty: true, file: checkpointFile{
		Format: checkpointFormat, Source: pair.Source.Identity(), Target: pair.Target.Identity(),
		Stream: pair.Source.StreamARN(),
	}, positions: stream.NewPositions(pair.Source.Clock)}
}

// open locks the file, and takes over what it says, or starts over.
func (c *checkpoint) open(restart bool) error {
	if c.path == "" {
		return nil
	}
	var err error
	c.lock, err = atomicfile.Acquire(c.path)
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		return refuse.Because(err, "wait until it has ended, or give another --checkpoint", "another replication is using the checkpoint %q", c.path)
	case err != nil:
		return c.unwritable(err)
	}
	if restart {
		err = c.startOver()
	} else {
		err = c.load()
	}
	if err == nil {
		if err = c.save(); err != nil {
			err = c.unwritable(err)
		}
	}
	if err != nil {
		c.close()
		return err
	}
	return nil
}

func (c *checkpoint) unwritable(err error) error {
	return refuse.Because(err, elsewhere, "the checkpoint %q can't be written (%s)", c.path, err)
}

// close leaves the file to others.
func (c *checkpoint) close() {
	if c.lock != nil {
		c.lock.Release()
	}
}

// What is to be done about a file, in the words of a refusal.
const (
	elsewhere = "give another --checkpoint"
	restart   = "use --restart to start over, or " + elsewhere
)

// startOver looks at the file that is to be written over. What is of another job is left alone: without its position that one can't
// tell what it has missed.
func (c *checkpoint) startOver() error {
	data, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	c.unquiet = true
	if err != nil {
		return nil //nolint:nilerr // save tells if it can't be replaced either
	}
	const ours, replicates = "reseal ", "reseal replicate checkpoint "
	head := data[:min(len(data), 100)]
	if bytes.Contains(head, []byte(ours)) && !bytes.Contains(head, []byte(replicates)) {
		return refuse.New(elsewhere, "%q is the checkpoint of another command", c.path)
	}
	var file checkpointFile
	if json.Unmarshal(data, &file) != nil {
		return nil // it is damaged
	}
	if file.Source.ARN != "" && (file.Source.ARN != c.file.Source.ARN || file.Target.ARN != c.file.Target.ARN) {
		return refuse.New(elsewhere, "the checkpoint %q belongs to another job: from %s to %s", c.path, file.Source, file.Target)
	}
	c.unquiet = !file.Quiet
	return nil
}

func (c *checkpoint) load() error {
	data, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return refuse.Because(err, restart, "the checkpoint %q can't be read (%s)", c.path, err)
	}
	var file checkpointFile
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&file)
	if err == nil && file.Format != checkpointFormat && file.Format != checkpointFormat1 {
		err = fmt.Errorf("its format is not %q", checkpointFormat)
	}
	if _, rest := decoder.Token(); err == nil && !errors.Is(rest, io.EOF) {
		err = errors.New("something follows its end")
	}
	switch {
	case err != nil:
		return refuse.Because(err, restart+"; if what it had not applied may be more than 24 hours old, seed again with --restart, and then run verify --repair",
			"the checkpoint %q is damaged or not one of a replication (%s)", c.path, err)
	case file.Source.ARN != c.file.Source.ARN || file.Target.ARN != c.file.Target.ARN:
		return refuse.New(elsewhere, "the checkpoint %q belongs to other tables: from %s to %s", c.path, file.Source, file.Target)
	case file.Source != c.file.Source || file.Target != c.file.Target:
		return refuse.New(table.StartOver, "the checkpoint %q belongs to other tables: from %s to %s", c.path, file.Source, file.Target)
	case file.Stream != c.file.Stream:
		return refuse.New("changes may have been missed: "+table.StartOver,
			"the checkpoint %q belongs to a stream that was since disabled", c.path)
	}
	if shard, stale := file.Stale(c.positions.Now()); stale {
		return refuse.Because(ErrTrimmed, table.StartOver,
			"the checkpoint %q reaches back too far: its position in %s is more than %s old, and changes may be gone from the stream", c.path, shard, stream.Retention)
	}
	c.positions.Resume(file.State)
	c.resumed, c.unquiet = true, !file.Quiet
	return nil
}

// quiet records that the run ends with no write under way.
func (c *checkpoint) quiet() {
	c.saving.Lock()
	defer c.saving.Unlock()
	c.file.Quiet, c.dirty = true, true
}

// saveRegularly saves the checkpoint every saveInterval until ctx ends.
func (c *checkpoint) saveRegularly(ctx context.Context) error {
	if c.path == "" {
		return nil
	}
	for {
		if err := call.Sleep(ctx, saveInterval); err != nil {
			return nil // whoever ended ctx has the reason
		}
		if err := c.save(); err != nil {
			return err
		}
	}
}

// save writes the file if anything has changed since it was last written.
func (c *checkpoint) save() error {
	if c.path == "" {
		return nil
	}
	c.saving.Lock()
	defer c.saving.Unlock()
	state, moved := c.positions.Take()
	if !moved && !c.dirty {
		return nil
	}
	c.file.State = state
	data, err := json.Marshal(c.file)
	if err == nil {
		err = atomicfile.Write(c.path, data)
	}
	if err != nil {
		c.positions.Changed()
		return fmt.Errorf("write checkpoint: %w", err)
	}
	c.dirty = false
	return nil
}
