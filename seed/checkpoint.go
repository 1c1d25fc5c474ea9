package seed

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/batch"
	"reseal/internal/converge"
	"reseal/internal/item"
	"reseal/internal/scan"
	"reseal/internal/table"
)

// The first field of the file; another version of reseal that changes the format changes it too. A file of the older format has no
// stream, no begun, no item counts, no doubts and no sum.
const (
	formatPrefix     = "reseal seed checkpoint "
	checkpointFormat = formatPrefix + "3"
	olderFormat      = formatPrefix + "2"
)

// checkpointFile is the file's content. Keys are Key.ID in base64. Item contents are never in it.
type checkpointFile struct {
	Format    string                  `json:"format"`
	Source    table.Identity          `json:"source"`
	Target    table.Identity          `json:"target"`
	Stream    string                  `json:"stream"` // ARN of the source's: one that was disabled and enabled again is another one; "": none
	Begun     time.Time               `json:"begun"`  // when the first run started whose positions are in the file
	Segments  int                     `json:"segments"`
	Recheck   string                  `json:"recheck"`
	Items     int64                   `json:"items"`    // in the pages that are done
	Done      []scan.Range            `json:"done"`     // segments that are copied whole
	Rejected  [][]byte                `json:"rejected"` // items that the target refused
	Uncertain [][]byte                `json:"uncertain"`
	Doubts    []doubt                 `json:"doubts,omitempty"`
	Hold      bool                    `json:"hold,omitempty"`      // writes of which nothing is known may be under way: nothing is to be copied meanwhile
	Lifetime  time.Duration           `json:"request_lifetime_ns"` // of the requests of the run that wrote the file
	Open      map[int]json.RawMessage `json:"open,omitempty"`      // openSegment of each segment that is begun; see appendOpen
	Sum       string                  `json:"sum,omitempty"`       // see appendSum
}

type openSegment struct {
	After   []byte   `json:"after"`   // the page being copied starts after this key; empty: at the segment's start
	Items   int      `json:"items"`   // of that page
	Writing [][]byte `json:"writing"` // keys of that page: begun, perhaps written, not all re-checked
}

// checkpoint keeps the position of a seed in a file. All pages before an open segment's position, and all done segments, are
// durably and wholly done. It is safe for concurrent use.
type checkpoint struct {
	path    string           // "": nowhere, only in memory
	lock    *atomicfile.Lock // nil without a path
	schema  item.Schema
	lost    *converge.Uncertain
	resumed bool
	before  int64 // items that the runs before this one had done
	reread  int64 // items of the pages that the run before this one had begun

	mu         sync.Mutex // guards what follows
	head       checkpointFile
	done       []bool
	doneTotal  int
	open       map[int]json.RawMessage
	rejected   map[string]bool // by Key.ID
	items      int64           // of the pages that are done
	generation int64

	saving  sync.Mutex // held by the one that writes the file; guards what follows
	saved   int64      // the generation that the file holds
	savedAt time.Time
	encoded []byte // memory for it
}

// lifetime is the time after which no request can be alive any more, of this run or of those that it resumes.
func (c *checkpoint) lifetime() time.Duration { return c.head.Lifetime }

func (c *checkpoint) parseAfter(open openSegment) (*item.Key, error) {
	if len(open.After) == 0 {
		return nil, nil
	}
	key, err := c.schema.ParseKey(string(open.After))
	if err != nil {
		return nil, fmt.Errorf("read position: %w", err)
	}
	return &key, nil
}

// reject notes an item that the target refused. It is saved with the page's end at the latest: a resumed run that starts before that
// meets the item again.
func (c *checkpoint) reject(key item.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rejected[strings.Clone(key.ID())] = true // the key of a page shares memory with all the others
}

// isRejected tells whether the item was refused in this run or in one that it resumes.
func (c *checkpoint) isRejected(key item.Key) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rejected[key.ID()]
}

func (c *checkpoint) rejections() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(len(c.rejected))
}

// start returns the key after which the segment's next page starts; nil: at the segment's start.
func (c *checkpoint) start(segment int) (*item.Key, error) {
	c.mu.Lock()
	raw, is := c.open[segment]
	c.mu.Unlock()
	if !is {
		return nil, nil
	}
	var open openSegment
	if err := json.Unmarshal(raw, &open); err != nil {
		return nil, fmt.Errorf("read open segment: %w", err)
	}
	return c.parseAfter(open)
}

// begin records durably that all pages before the given one are done, and which keys are about to be written. Without a re-check it
// may leave that to a later one: see saveInterval.
func (c *checkpoint) begin(segment int, after *item.Key, ops []batch.Op) error {
	if c.path == "" {
		return nil
	}
	var writing []batch.Op // none without a re-check: nobody deletes anything from the source, and reading the page again finds every key
	if c.head.Recheck != RecheckOff {
		writing = ops
	}
	raw := encodeOpen(after, len(ops), writing)
	c.mu.Lock()
	c.open[segment] = raw
	c.mu.Unlock()
	if writing == nil && !c.due() {
		return nil
	}
	return c.save()
}

// saveInterval is how often the file is written where nothing depends on its being up to date: without a re-check, a resumed run only
// copies again what was copied since.
const saveInterval = 250 * time.Millisecond

// due tells whether the file was last written a saveInterval ago.
func (c *checkpoint) due() bool {
	c.saving.Lock()
	defer c.saving.Unlock()
	return time.Since(c.savedAt) >= saveInterval
}

// held says that the wait for writes of which nothing is known is over. The file isn't written: that the next page does.
func (c *checkpoint) held() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.head.Hold = false
}

// abandon says that the segment's page was left in the middle, with all uncertain keys on the list of uncertain ones. The file isn't written.
func (c *checkpoint) abandon(segment int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	raw, is := c.open[segment]
	if !is {
		return
	}
	var open openSegment
	if json.Unmarshal(raw, &open) != nil {
		return // begin wrote it; what it says is safe too
	}
	open.Writing = nil
	if raw, err := json.Marshal(open); err == nil {
		c.open[segment] = raw
	}
}

// advance says that the segment's pages before the given key are done, the last of which has so many items. The file isn't written: the
// next page will do that, or a later one.
func (c *checkpoint) advance(segment int, after item.Key, items int) {
	raw, err := json.Marshal(openSegment{After: []byte(after.ID())})
	if err != nil {
		return // what begin wrote is safe too
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items += int64(items)
	if _, is := c.open[segment]; is {
		c.open[segment] = raw
	}
}

// finish records durably that the segment is done, the last page of which has so many items.
func (c *checkpoint) finish(segment, items int) error {
	c.mu.Lock()
	c.items += int64(items)
	delete(c.open, segment)
	c.markDone(segment)
	c.mu.Unlock()
	return c.save()
}

func (c *checkpoint) markDone(segment int) {
	if !c.done[segment] {
		c.done[segment] = true
		c.doneTotal++
	}
}

func (c *checkpoint) isDone(segment int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done[segment]
}

// itemsDone is the number of items in the pages that are done.
func (c *checkpoint) itemsDone() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.items
}

func (c *checkpoint) doneCount() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.doneTotal
}

// save writes the file with at least what was recorded before the call. Callers that come while another one writes share the
// next write: one sync for many segments.
func (c *checkpoint) save() error {
	if c.path == "" {
		return nil
	}
	c.mu.Lock()
	c.generation++
	mine := c.generation
	c.mu.Unlock()

	c.saving.Lock()
	defer c.saving.Unlock()
	if c.saved >= mine {
		return nil
	}
	data, generation, err := c.encode()
	if err == nil {
		err = atomicfile.Write(c.path, data)
	}
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	c.saved, c.savedAt = generation, time.Now()
	return nil
}

// remove deletes the file of a seed that is done: it would only keep a later seed from copying.
func (c *checkpoint) remove() error {
	if c.path == "" {
		return nil
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove checkpoint: %w", err)
	}
	return nil
}

// DefaultCheckpoint is the checkpoint's path, in the working folder, for a job whose user names none.
func DefaultCheckpoint(source, target string) string {
	return "reseal-seed-" + table.FileName(source) + "-to-" + table.FileName(target) + ".json"
}

// DefaultRejects is the path, in the working folder, of the file for items that the target refuses.
func DefaultRejects(source, target string) string {
	return "reseal-rejects-" + table.FileName(source) + "-to-" + table.FileName(target) + ".jsonl"
}
