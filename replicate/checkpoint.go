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
	"reseal/internal/table"
)

// checkpointFormat is the first field of the file; another version of reseal that changes the format changes it too.
const checkpointFormat = "reseal replicate checkpoint 1"

// checkpointFile is the file's content.
type checkpointFile struct {
	Format  string                   `json:"format"`
	Source  table.Identity           `json:"source"`
	Target  table.Identity           `json:"target"`
	Stream  string                   `json:"stream"`  // ARN: a stream that was disabled and enabled again is another one
	Started time.Time                `json:"started"` // of the first run: changes from then on are needed
	Shards  map[string]shardPosition `json:"shards"`  // those that were begun
}

// shardPosition is how far a shard is applied.
type shardPosition struct {
	Sequence string    `json:"sequence,omitempty"` // of the last record applied; "": none yet
	Drained  bool      `json:"drained,omitempty"`  // the shard is closed and wholly applied
	ReadAt   time.Time `json:"read_at"`            // when it was begun, or last read and what was found was applied
}

const (
	// retention is how long a record can be read (API reference, GetRecords: "there is a 24 hour limit on data retention").
	retention = 24 * time.Hour
	// readAtStep is how old ReadAt may grow while nothing is found, so that an idle stream doesn't write a file every second.
	readAtStep = time.Minute
)

// checkpoint keeps the position of a replication in a file. It is behind what was applied, never before it: applying records
// again is harmless. It is safe for concurrent use.
type checkpoint struct {
	path    string // "": nowhere, only in memory
	resumed bool

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
		Stream: pair.Source.StreamARN(), Started: time.Now().UTC(), Shards: map[string]shardPosition{},
	}}
	if c.path == "" {
		return c, nil
	}
	if !o.Restart {
		if err := c.load(); err != nil {
			return nil, err
		}
	}
	if err := c.save(); err != nil {
		return nil, refuse.Because(err, "give another --checkpoint", "the checkpoint %q can't be written (%s)", c.path, err)
	}
	return c, nil
}

func (c *checkpoint) load() error {
	const restart = "use --restart to start over, or give another --checkpoint"
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
	if err == nil && file.Format != checkpointFormat {
		err = fmt.Errorf("its format is not %q", checkpointFormat)
	}
	if _, rest := decoder.Token(); err == nil && !errors.Is(rest, io.EOF) {
		err = errors.New("something follows its end")
	}
	switch {
	case err != nil:
		return refuse.Because(err, restart, "the checkpoint %q is damaged or not one of a replication (%s)", c.path, err)
	case file.Source != c.file.Source || file.Target != c.file.Target:
		return refuse.New(restart, "the checkpoint %q belongs to other tables: from %s to %s", c.path, file.Source, file.Target)
	case file.Stream != c.file.Stream:
		return refuse.New("changes may have been missed: replicate with --restart, and seed again",
			"the checkpoint %q belongs to a stream that was since disabled", c.path)
	}
	if shard, stale := file.stale(time.Now()); stale {
		return refuse.Because(ErrTrimmed, "replicate with --restart, and seed again",
			"the checkpoint %q reaches back too far: its position in %s is more than %s old, and changes may be gone from the stream", c.path, shard, retention)
	}
	if file.Shards != nil {
		c.file.Shards = file.Shards
	}
	c.file.Started = file.Started
	c.resumed = true
	return nil
}

// stale tells whether a shard, or the whole stream, was not read for so long that records may have been trimmed unseen. For a
// shard with a sequence number the service would tell, but it says nothing of one that was found empty so far, nor of shards
// that came and went since.
func (f *checkpointFile) stale(now time.Time) (string, bool) {
	last := f.Started
	for shard, position := range f.Shards {
		if !position.Drained && now.Sub(position.ReadAt) >= retention {
			return "shard " + shard, true
		}
		last = later(last, position.ReadAt)
	}
	return "the stream", now.Sub(last) >= retention
}

func (c *checkpoint) sequence(shard string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Shards[shard].Sequence
}

func (c *checkpoint) isDrained(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Shards[shard].Drained
}

// known tells whether the shard was begun, or passed.
func (c *checkpoint) known(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, is := c.file.Shards[shard]
	return is
}

// needs tells whether records of the shard that were trimmed would be missed. They would not if nothing of it was applied yet
// and they were made before the first run: then the replication starts with the oldest that there is.
func (c *checkpoint) needs(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Shards[shard].Sequence != "" || time.Since(c.file.Started) >= retention
}

// begin records that the shard is about to be read, so that a later run misses it if it is gone by then.
func (c *checkpoint) begin(shard string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, is := c.file.Shards[shard]; !is {
		c.set(shard, shardPosition{ReadAt: time.Now().UTC()})
	}
}

func (c *checkpoint) advance(shard, sequence string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(shard, shardPosition{Sequence: sequence, ReadAt: time.Now().UTC()})
}

// foundEmpty records that there is nothing after the shard's position.
func (c *checkpoint) foundEmpty(shard string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if position := c.file.Shards[shard]; time.Since(position.ReadAt) >= readAtStep {
		position.ReadAt = time.Now().UTC()
		c.set(shard, position)
	}
}

func (c *checkpoint) drained(shard string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.set(shard, shardPosition{Sequence: c.file.Shards[shard].Sequence, Drained: true, ReadAt: time.Now().UTC()})
}

func (c *checkpoint) set(shard string, position shardPosition) {
	c.file.Shards[shard] = position
	c.dirty = true
}

// missing returns a shard that is not drained, not listed and not being read: it had records that nobody will see again.
func (c *checkpoint) missing(shards listing, readers map[string]*reader) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, position := range c.file.Shards {
		if _, listed := shards.parents[shard]; !listed && !position.Drained && readers[shard] == nil {
			return shard, true
		}
	}
	return "", false
}

// forget drops the drained shards that are gone from the stream, but only long after: if one were listed once more, it would be
// read again from its start, and older items written over newer ones.
func (c *checkpoint) forget(shards listing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, position := range c.file.Shards {
		if _, listed := shards.parents[shard]; !listed && position.Drained && time.Since(position.ReadAt) > 2*retention {
			delete(c.file.Shards, shard)
			c.dirty = true
		}
	}
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
