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
	"sync/atomic"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/call"
	"reseal/internal/refuse"
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
	Format  string                   `json:"format"`
	Source  table.Identity           `json:"source"`
	Target  table.Identity           `json:"target"`
	Stream  string                   `json:"stream"`          // ARN: a stream that was disabled and enabled again is another one
	Started time.Time                `json:"started"`         // of the first run: changes from then on are needed
	Shards  map[string]shardPosition `json:"shards"`          // those that were begun
	Quiet   bool                     `json:"quiet,omitempty"` // the run that wrote it ended, and no write of it may still be carried out
}

// shardPosition is how far a shard is applied.
type shardPosition struct {
	Sequence string    `json:"sequence,omitempty"` // of the last record applied; "": none yet
	Drained  bool      `json:"drained,omitempty"`  // the shard is closed and wholly applied
	ReadAt   time.Time `json:"read_at"`            // when it was begun, or last read and what was found was applied

	// What follows is not in files of the first format.

	Start  string    `json:"start,omitempty"`  // until a record is applied, begin at this sequence number; "": with the oldest that there is
	Latest bool      `json:"latest,omitempty"` // it was begun with LATEST: what its parents held is not wanted
	Late   bool      `json:"late,omitempty"`   // it was listed only after a child was begun: with its first record those begin again
	Parent string    `json:"parent,omitempty"` // as the shard was listed
	First  string    `json:"first,omitempty"`  // likewise its StartingSequenceNumber; "": it was not noted
	AsOf   time.Time `json:"as_of,omitzero"`   // what is needed of the shard and was made before is applied; zero: ReadAt
}

// asOf is AsOf, or for a file of the first format what it has instead, which may be too young by the lag of that time. What was
// trimmed within that is still found out: by the sequence number at which a shard, or its child, begins.
func (p shardPosition) asOf() time.Time {
	if p.AsOf.IsZero() {
		return p.ReadAt
	}
	return p.AsOf
}

const (
	// retention is how long a record can be read (API reference, GetRecords: "there is a 24 hour limit on data retention").
	retention = 24 * time.Hour
	// readAtStep is how old ReadAt may grow while nothing is found, so that an idle stream doesn't write a file every second.
	readAtStep = time.Minute
	// tipTime is for how long reads have to find nothing until that is taken for the shard's present end.
	tipTime = 10 * time.Second
)

// checkpoint keeps the position of a replication in a file. It is behind what was applied, never before it: applying records
// again is harmless. It is safe for concurrent use.
type checkpoint struct {
	path    string           // "": nowhere, only in memory
	lock    *atomicfile.Lock // nil without a path
	resumed bool
	unquiet bool // the run before was killed, perhaps with a write under way
	clock   atomic.Pointer[call.Clock]

	mu     sync.Mutex // guards what follows
	file   checkpointFile
	dirty  bool
	saving sync.Mutex
}

// saveInterval bounds what is applied again after a crash.
const saveInterval = time.Second

func openCheckpoint(o Options, pair table.Pair) (*checkpoint, error) {
	c := &checkpoint{path: o.Checkpoint, dirty: true, file: checkpointFile{
		Format: checkpointFormat, Source: pair.Source.Identity(), Target: pair.Target.Identity(),
		Stream: pair.Source.StreamARN(), Shards: map[string]shardPosition{},
	}}
	c.setClock(pair.Source.Clock)
	c.file.Started = c.now()
	if c.path == "" {
		return c, nil
	}
	var err error
	c.lock, err = atomicfile.Acquire(c.path)
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		return nil, refuse.Because(err, "wait until it has ended, or give another --checkpoint", "another replication is using the checkpoint %q", c.path)
	case err != nil:
		return nil, c.unwritable(err)
	}
	if o.Restart {
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
		return nil, err
	}
	return c, nil
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
	if shard, stale := file.stale(c.now()); stale {
		return refuse.Because(ErrTrimmed, table.StartOver,
			"the checkpoint %q reaches back too far: its position in %s is more than %s old, and changes may be gone from the stream", c.path, shard, retention)
	}
	if file.Shards != nil {
		c.file.Shards = file.Shards
	}
	c.file.Started = file.Started
	c.resumed, c.unquiet = true, !file.Quiet
	return nil
}

// quiet records that the run ends with no write under way.
func (c *checkpoint) quiet() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file.Quiet, c.dirty = true, true
}

// stale tells whether a shard, or the whole stream, is applied only up to a time of which records may have been trimmed unseen. For
// a shard with a sequence number the service would tell, but it says nothing of one that was found empty so far, nor of shards that
// came and went since.
func (f *checkpointFile) stale(now time.Time) (string, bool) {
	last := f.Started
	for shard, position := range f.Shards {
		if !position.Drained && now.Sub(position.asOf()) >= retention {
			return "shard " + shard, true
		}
		last = later(last, position.asOf())
	}
	return "the stream", now.Sub(last) >= retention
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
	c.mu.Lock()
	dirty := c.dirty
	data, err := json.Marshal(c.file)
	c.dirty = false
	c.mu.Unlock()
	if !dirty {
		return nil
	}
	if err == nil {
		err = atomicfile.Write(c.path, data)
	}
	if err != nil {
		c.mu.Lock()
		c.dirty = true
		c.mu.Unlock()
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}
