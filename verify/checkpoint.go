package verify

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/item"
	"reseal/internal/openkeys"
	"reseal/internal/refuse"
	"reseal/internal/scan"
	"reseal/internal/table"
)

// checkpointFormat is the first field of the file; another version of reseal that changes the format changes it too.
const checkpointFormat = "reseal verify checkpoint 2"

// checkpointHead is the first line of the file. The items that wait in the join follow, as spilled ones are written, then
// endOfItems and the CRC-32 (IEEE, big-endian) of all that is before it. There are keys and digests in it, no other part of an item.
type checkpointHead struct {
	Format        string              `json:"format"`
	Source        table.Identity      `json:"source"`
	Target        table.Identity      `json:"target"`
	Stream        string              `json:"stream"`   // ARN of the source's; "": none
	Began         string              `json:"began"`    // when the scans did, by the service's clock: RFC 3339, UTC
	Segments      int                 `json:"segments"` // of the Scan
	Sample        *Sample             `json:"sample,omitempty"`
	ExpiredBy     string              `json:"expired_by"` // attributes of the time to live
	Done          []scan.Range        `json:"done"`       // segments that are read whole
	Open          map[int]openSegment `json:"open"`
	Matched       int64               `json:"matched"` // pairs
	Sum           string              `json:"sum"`     // of their digests
	SourceRead    int64               `json:"source_read"`
	TargetRead    int64               `json:"target_read"`
	SourceExpired int64               `json:"source_expired"`
	TargetExpired int64               `json:"target_expired"`
	SourceCells   []int64             `json:"source_cells"` // items by cell of the map
	TargetCells   []int64             `json:"target_cells"`
	Consistent    bool                `json:"consistent,omitempty"` // the scans are
	Follow        *followState        `json:"follow,omitempty"`     // nil: of a verification that doesn't follow
}

// openSegment is how far a segment is read in each table.
type openSegment struct {
	Source openCursor `json:"source"`
	Target openCursor `json:"target"`
}

type openCursor struct {
	After []byte `json:"after"` // Key.ID of the last item read; empty: none
	Done  bool   `json:"done"`
}

// What comes after the items that wait. An open key, of a verification that follows, has the time of its last change (varint, Unix
// milliseconds; 0: not known) and its Key.ID after its length (uvarint).
const (
	openKey    = 0x40
	endOfItems = 0xFF
)

// checkpoint keeps the state of the scans in a file: which pages are read, what matched, and what waits. It is safe for concurrent
// use.
type checkpoint struct {
	run     *run
	path    string           // "": nowhere
	lock    *atomicfile.Lock // nil without a path
	resumed bool

	// pages is held for reading while a page goes into the join and the position past it, and for writing while both are saved.
	pages sync.RWMutex

	mu     sync.Mutex // of what follows
	done   []bool
	open   map[int]openSegment // as it was loaded
	active map[int][2]*cursor
	final  bool // what is in the file is the end of the scans, or nothing more can be saved
}

// openCheckpoint loads the file that the options name, if it is there, into the join and the sides.
func openCheckpoint(r *run) (*checkpoint, error) {
	c := &checkpoint{run: r, path: r.options.Checkpoint, done: make([]bool, r.total), active: map[int][2]*cursor{}}
	if c.path == "" {
		return c, nil
	}
	if err := c.acquire(); err != nil {
		return nil, err
	}
	var err error
	if !r.options.Restart {
		err = c.load()
	}
	if err == nil {
		if err = c.save(false); err != nil { // now, while a path that can't be written costs nothing
			err = c.unwritable(err)
		}
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// acquire keeps the file from others: two runs would each save what the other has not seen.
func (c *checkpoint) acquire() (err error) {
	c.lock, err = atomicfile.Acquire(c.path)
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		return refuse.Because(err, "wait until it has ended, or give another --checkpoint", "another verification is using the checkpoint %q", c.path)
	case err != nil:
		return c.unwritable(err)
	}
	return nil
}

func (c *checkpoint) unwritable(err error) error {
	return refuse.Because(err, "give another --checkpoint", "the checkpoint %q can't be written (%s)", c.path, err)
}

// close leaves the file to others.
func (c *checkpoint) close() {
	if c.lock != nil {
		c.lock.Release()
	}
}

func (c *checkpoint) load() error {
	const restart = "use --restart to start over, or give another --checkpoint"
	file, err := os.Open(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return refuse.Because(err, restart, "the checkpoint %q can't be read (%s)", c.path, err)
	}
	defer func() { _ = file.Close() }() // it was only read
	in := &summed{from: bufio.NewReaderSize(file, 1<<20), sum: crc32.NewIEEE()}
	var head checkpointHead
	began := time.Time{}
	if err = c.decode(in, &head); err == nil {
		began, err = head.began()
	}
	if err == nil {
		if why := c.foreign(head); why != "" {
			return refuse.New(restart, "the checkpoint %q belongs to another job: %s", c.path, why)
		}
		if why := c.outdated(began); why != "" && !head.hasNothing() {
			return refuse.New(restart, "the checkpoint %q is of no use any more: %s", c.path, why)
		}
		if why := c.unfollowed(head); why != "" && !head.hasNothing() {
			return refuse.New(restart, "the checkpoint %q can't be gone on from: %s", c.path, why)
		}
		err = c.adopt(in, head)
	}
	if errors.Is(err, errSpill) {
		return err
	}
	if err != nil {
		return refuse.Because(err, restart, "the checkpoint %q is damaged or not one of a verification (%s)", c.path, err)
	}
	if head.hasNothing() && c.run.join.waiting() == 0 { // all that this run is to rest on is still to be read
		return nil
	}
	c.resumed, c.run.began = true, began
	if c.run.follower != nil {
		c.run.follower.resume = head.Follow
	}
	return nil
}

// mostHead bounds the first line: a file of another kind may have a very long one.
const mostHead = 64 << 20

func (c *checkpoint) decode(in *summed, head *checkpointHead) error {
	var line []byte
	for {
		b, err := in.ReadByte()
		if err != nil || len(line) > mostHead {
			return errors.New("it has no first line")
		}
		if b == '\n' {
			break
		}
		line = append(line, b)
	}
	if err := json.Unmarshal(line, head); err != nil {
		return err
	}
	if head.Format != checkpointFormat {
		return fmt.Errorf("its format is not %q", checkpointFormat)
	}
	return nil
}

// foreign says in what the file's job differs from this one; "" if in nothing.
func (c *checkpoint) foreign(head checkpointHead) string {
	mine := c.head()
	switch {
	case head.Source != mine.Source:
		return "its source is " + head.Source.String() + ", this one's is " + mine.Source.String()
	case head.Target != mine.Target:
		return "its target is " + head.Target.String() + ", this one's is " + mine.Target.String()
	case head.Stream != mine.Stream && head.Began != "":
		return fmt.Sprintf("its source had the stream %q, this one's has %q, so that changes made meanwhile may not be replicated", head.Stream, mine.Stream)
	case (head.Sample == nil) != (mine.Sample == nil) || head.Sample != nil && *head.Sample != *mine.Sample:
		return "it is of " + head.Sample.String() + ", this one of " + mine.Sample.String()
	case head.Segments != mine.Segments:
		return fmt.Sprintf("it has %d segments, this one has %d", head.Segments, mine.Segments)
	case head.ExpiredBy != mine.ExpiredBy:
		return fmt.Sprintf("it leaves out items that expired by %q, this one by %q", head.ExpiredBy, mine.ExpiredBy)
	case head.Consistent != mine.Consistent && !head.hasNothing():
		return fmt.Sprintf("its scans are with --consistent: %t, this one's: %t", head.Consistent, mine.Consistent)
	}
	return ""
}

// unfollowed says why what the file has of the stream is not what this run needs; "" if it is.
func (c *checkpoint) unfollowed(head checkpointHead) string {
	follows := c.run.follower != nil
	switch {
	case follows && head.Follow == nil:
		return "it is one without --follow, so nothing is known of what has changed since"
	case !follows && head.Follow != nil:
		return "it is one with --follow, and this one is without"
	case !follows:
		return ""
	}
	return head.Follow.useless(c.run.clock.Now())
}

// adopt takes over the position, the counts and the items that wait.
func (c *checkpoint) adopt(in *summed, head checkpointHead) error {
	r := c.run
	if err := scan.EachOf(head.Done, len(c.done), func(segment int) { c.done[segment] = true }); err != nil {
		return err
	}
	for segment, open := range head.Open {
		if segment < 0 || segment >= len(c.done) || c.done[segment] {
			return errors.New("an open segment is out of range or done")
		}
		for _, one := range []openCursor{open.Source, open.Target} {
			if _, err := one.key(r.source.schema); err != nil {
				return err
			}
		}
	}
	c.open = head.Open
	sum, err := hex.DecodeString(head.Sum)
	if err != nil || len(sum) != len(item.Sum{}) {
		return errors.New("the sum of the digests is not one")
	}
	if min(head.Matched, head.SourceRead, head.TargetRead, head.SourceExpired, head.TargetExpired) < 0 {
		return errors.New("a count is negative")
	}
	r.join.late.matched, r.join.late.sum = head.Matched, item.Sum(sum)
	r.source.read.Store(head.SourceRead)
	r.target.read.Store(head.TargetRead)
	r.source.expired.Store(head.SourceExpired)
	r.target.expired.Store(head.TargetExpired)
	if !r.places.restore(fromSource, head.SourceCells) || !r.places.restore(fromTarget, head.TargetCells) {
		return errors.New("the counts of the segments' items are not as many as there should be")
	}
	return c.adoptItems(in)
}

func (c *checkpoint) adoptItems(in *summed) error {
	for {
		flags, err := in.ReadByte()
		if err != nil {
			return errors.New("it is cut short")
		}
		if flags == endOfItems {
			return in.verify()
		}
		if flags == openKey {
			if err := c.adoptOpen(in); err != nil {
				return err
			}
			continue
		}
		id, p, err := readPending(in, flags)
		if err != nil {
			return err
		}
		if _, err := c.run.source.schema.ParseKey(id); err != nil {
			return err
		}
		if int(max(p.at[fromSource], p.at[fromTarget])) > len(c.done) {
			return errors.New("an item is of a segment that is out of range")
		}
		if err := c.run.join.put(id, p); err != nil {
			return err
		}
	}
}

// adoptOpen opens a key that was open, as if its change was only seen now.
func (c *checkpoint) adoptOpen(in *summed) error {
	made, err := binary.ReadVarint(in)
	if err != nil {
		return err
	}
	length, err := binary.ReadUvarint(in)
	if err != nil {
		return err
	}
	if length > maxKeyBytes || c.run.follower == nil {
		return errDamaged
	}
	id := make([]byte, length)
	if _, err := io.ReadFull(in, id); err != nil {
		return err
	}
	if _, err := c.run.source.schema.ParseKey(string(id)); err != nil {
		return err
	}
	changed := time.Time{}
	if made != 0 {
		changed = time.UnixMilli(made).UTC()
	}
	return c.run.follower.set.Reopen(string(id), changed)
}

func writeOpen(w io.Writer, key openkeys.Saved) error {
	made := int64(0)
	if !key.Changed.IsZero() {
		made = key.Changed.UnixMilli()
	}
	head := binary.AppendUvarint(binary.AppendVarint([]byte{openKey}, made), uint64(len(key.ID)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := io.WriteString(w, key.ID)
	return err
}

// summed reads and keeps the CRC-32 of what it has read.
type summed struct {
	from *bufio.Reader
	sum  hash.Hash32
}

func (s *summed) Read(p []byte) (int, error) {
	n, err := s.from.Read(p)
	_, _ = s.sum.Write(p[:n]) // never fails (hash.Hash)
	return n, err
}

func (s *summed) ReadByte() (byte, error) {
	b, err := s.from.ReadByte()
	if err == nil {
		_, _ = s.sum.Write([]byte{b})
	}
	return b, err
}

// verify reads the sum at the end.
func (s *summed) verify() error {
	var sum [4]byte
	if _, err := io.ReadFull(s.from, sum[:]); err != nil || binary.BigEndian.Uint32(sum[:]) != s.sum.Sum32() {
		return errors.New("it is not what was written")
	}
	if _, err := s.from.ReadByte(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}

func (o openCursor) key(schema item.Schema) (*item.Key, error) {
	if len(o.After) == 0 {
		return nil, nil
	}
	key, err := schema.ParseKey(string(o.After))
	if err != nil {
		return nil, fmt.Errorf("read position: %w", err)
	}
	return &key, nil
}

func cursorOf(c *cursor) openCursor {
	o := openCursor{Done: c.done}
	if c.after != nil {
		o.After = []byte(c.after.ID())
	}
	return o
}

// begin puts the cursors of a segment where the checkpoint says, and watches them from now on.
func (c *checkpoint) begin(source, target *cursor) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if open, is := c.open[source.segment]; is {
		var err, targetErr error
		source.after, err = open.Source.key(source.side.schema)
		target.after, targetErr = open.Target.key(source.side.schema)
		if err := errors.Join(err, targetErr); err != nil {
			return fmt.Errorf("resume segment %d: %w", source.segment, err)
		}
		source.done, target.done = open.Source.Done, open.Target.Done
		delete(c.open, source.segment)
	}
	c.active[source.segment] = [2]*cursor{source, target}
	return nil
}

// whole has a page go into the join and the position past it, or neither, as far as the file is concerned.
func (c *checkpoint) whole(page func() error) error {
	if c.path == "" {
		return page()
	}
	c.pages.RLock()
	defer c.pages.RUnlock()
	err := page()
	if err != nil {
		c.stop()
	}
	return err
}

// handOver has the items that wait in the join be given to the open keys, as far as the file is concerned at once.
func (c *checkpoint) handOver(all func() error) error {
	c.pages.Lock()
	defer c.pages.Unlock()
	err := all()
	if err != nil {
		c.stop()
	}
	return err
}

// stop says that nothing more can be saved.
func (c *checkpoint) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.final = true
}

func (c *checkpoint) finish(segment int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done[segment] = true
	delete(c.active, segment)
}

func (c *checkpoint) isDone(segment int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.done[segment]
}
