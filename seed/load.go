package seed

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/call"
	"reseal/internal/converge"
	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/scan"
	"reseal/internal/table"
)

// newCheckpoint is the checkpoint of a run that resumes none. The lifetime is that of its requests.
func newCheckpoint(o Options, pair table.Pair, lost *converge.Uncertain, lifetime time.Duration) *checkpoint {
	recheck := RecheckAll
	if o.Recheck == RecheckOff {
		recheck = RecheckOff
	}
	return &checkpoint{
		path:   o.Checkpoint,
		schema: pair.Source.Schema,
		lost:   lost,
		head: checkpointFile{
			Format: checkpointFormat, Source: pair.Source.Identity(), Target: pair.Target.Identity(), Stream: pair.Source.StreamARN(),
			Begun: time.Now().UTC(), Segments: o.Segments, Recheck: recheck, Lifetime: lifetime,
		},
		done:     make([]bool, o.Segments),
		open:     map[int]json.RawMessage{},
		rejected: map[string]bool{},
	}
}

// openCheckpoint loads the checkpoint that the options name, or begins a new one, and keeps it to this run until it is closed.
// What it finds in flight goes to the ledger.
func openCheckpoint(o Options, pair table.Pair, lost *converge.Uncertain, lifetime time.Duration) (*checkpoint, error) {
	c := newCheckpoint(o, pair, lost, lifetime)
	if c.path == "" {
		return c, nil
	}
	var err error
	c.lock, err = atomicfile.Acquire(c.path)
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		return nil, refuse.Because(err, "wait until it has ended, or, for other tables, "+elsewhere, "another seed is using the checkpoint %q", c.path)
	case err != nil:
		return nil, c.unwritable(err)
	}
	if err = c.load(o.Restart, olderStream(pair)); err == nil {
		if err = c.save(); err != nil { // now, while a path that can't be written costs nothing
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
	remedy := elsewhere
	if _, statErr := os.Stat(c.path); !errors.Is(statErr, fs.ErrNotExist) {
		remedy = "make it and its folder writable: it tells which writes are under way"
	}
	return refuse.Because(err, remedy, "the checkpoint %q can't be written (%s)", c.path, err)
}

// close leaves the file to others.
func (c *checkpoint) close() {
	if c.lock != nil {
		c.lock.Release()
	}
}

// checkpointSegments is the number of segments in the checkpoint that the options name; 0 if there is none to go on from, or
// none that can be read, which openCheckpoint will tell.
func checkpointSegments(o Options) int {
	if o.Checkpoint == "" || o.Restart {
		return 0
	}
	data, err := os.ReadFile(o.Checkpoint)
	var file checkpointFile
	if err != nil || json.Unmarshal(data, &file) != nil || file.Segments > scan.MaxSegments {
		return 0
	}
	return max(0, file.Segments)
}

// olderStream tells whether the source's stream is shown to be the one that any seed of these tables began with: it was enabled before
// the target was made. The label is that time (API reference, TableDescription, LatestStreamLabel), and a stream that is enabled once
// more has another one.
func olderStream(pair table.Pair) bool {
	enabled, is := streamEnabled(pair.Source)
	return is && enabled.Before(pair.Target.Made)
}

// streamEnabled is when the table's stream was enabled; false: it has none, or an engine's label says nothing.
func streamEnabled(source table.Info) (time.Time, bool) {
	if source.StreamARN() == "" || source.Raw.LatestStreamLabel == nil {
		return time.Time{}, false
	}
	enabled, err := time.Parse("2006-01-02T15:04:05", *source.Raw.LatestStreamLabel) // takes fractions of a second, too
	return enabled, err == nil
}

// defaultStreamAge is far more than an eventually consistent read is behind, usually.
const defaultStreamAge = 10 * time.Second

// awaitStream waits until the source's stream has been on for so long that no page can be from before it: a page may be behind, and
// what it lacks of the time without a stream, no record tells of.
func (o Options) awaitStream(ctx context.Context, source table.Info) error {
	least := cmp.Or(o.StreamAge, defaultStreamAge)
	enabled, is := streamEnabled(source)
	if o.Recheck == RecheckOff || !is {
		return nil
	}
	wait := min(least, least-source.Clock.Now().Sub(enabled)) // the label may be of another clock
	if wait <= 0 {
		return nil
	}
	table.TellWaiting(ctx, table.Waiting{Table: source, Patience: wait, Reason: "has had a stream for a moment only: waiting until no read is from before it"})
	return call.Sleep(ctx, wait)
}

// What is to be done about a file, in the words of a refusal.
const (
	startOver = "use --restart to start over"
	elsewhere = "give another --checkpoint"
)

// load reads the file, if there is one, and takes over what it says: all of it, or, to start over, what may still happen to the target.
// olderStream: see there.
func (c *checkpoint) load(restart, olderStream bool) error {
	data, err := os.ReadFile(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return refuse.Because(err, "make it readable: it tells which writes are under way", "the checkpoint %q can't be read (%s)", c.path, err)
	}
	if len(data) > 0 && !ofSeed(data) {
		return refuse.New(elsewhere, "%q is not the checkpoint of a seed", c.path)
	}
	var file checkpointFile
	if err = decode(data, &file); err == nil {
		if why := c.otherTables(file); why != "" {
			return refuse.New(elsewhere, "the checkpoint %q belongs to another job: %s", c.path, why)
		}
		if restart {
			err = c.startOver(file, olderStream)
		} else {
			err = c.goOn(file, olderStream)
		}
	}
	if err == nil || refuse.Is(err) {
		return err
	}
	if restart {
		c.doubt(doubtUnknown)
		c.head.Hold = true
		return nil
	}
	return refuse.Because(err, "restore it, or use --restart and then verify --repair, since nothing tells any more which writes were under way",
		"the checkpoint %q is damaged (%s)", c.path, err)
}

// ofSeed tells whether the content is that of a seed's checkpoint, perhaps of a damaged one: its start may be what is damaged. A file that
// is taken for somebody else's is left, and with it the keys that it names, so what only a seed's has is enough.
func ofSeed(data []byte) bool {
	if bytes.Contains(data[:min(len(data), 100)], []byte(formatPrefix)) {
		return true
	}
	for _, field := range []string{`"segments":`, `"uncertain":`, `"request_lifetime_ns":`} {
		if !bytes.Contains(data, []byte(field)) {
			return false
		}
	}
	return true
}

func decode(data []byte, file *checkpointFile) error {
	if err := strictly(data, file); err != nil {
		return err
	}
	switch file.Format {
	case checkpointFormat:
		return checkSum(data)
	case olderFormat:
		return nil
	default:
		return fmt.Errorf("its format is not %q", checkpointFormat)
	}
}

// strictly decodes JSON that has no fields but those of v, and nothing after it.
func strictly(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows its end")
	}
	return nil
}

// otherTables says in which table the file's job differs from this one, by name, account or Region; "" if in none. Such a file is left
// alone, for the job that it belongs to.
func (c *checkpoint) otherTables(file checkpointFile) string {
	switch {
	case file.Source.ARN != c.head.Source.ARN:
		return "its source is " + file.Source.String() + ", this one's is " + c.head.Source.String()
	case file.Target.ARN != c.head.Target.ARN:
		return "its target is " + file.Target.String() + ", this one's is " + c.head.Target.String()
	}
	return ""
}

// sameStream tells whether every change of the source since the file's first run is in the stream that the source has now.
func (c *checkpoint) sameStream(file checkpointFile, olderStream bool) bool {
	if file.Format == olderFormat {
		return olderStream && c.head.Stream != ""
	}
	return file.Stream == c.head.Stream && file.Stream != ""
}

// goOn takes over all that the file says, if its positions are still good.
func (c *checkpoint) goOn(file checkpointFile, olderStream bool) error {
	const anew = table.StartOver
	switch {
	case file.Source != c.head.Source:
		return refuse.New(anew, "the checkpoint %q belongs to another table: its source is %s, this one's is %s", c.path, file.Source, c.head.Source)
	case file.Target != c.head.Target:
		return refuse.New(startOver, "the checkpoint %q belongs to another table: its target is %s, this one's is %s", c.path, file.Target, c.head.Target)
	case file.Recheck != c.head.Recheck:
		return refuse.New(startOver, "the checkpoint %q belongs to another job: its recheck is %s, this one's is %s", c.path, file.Recheck, c.head.Recheck)
	case c.head.Recheck == RecheckOff || c.sameStream(file, olderStream):
	case file.Format == olderFormat:
		return refuse.New(anew, "the checkpoint %q is of an older reseal, which did not note the source's stream, and that was enabled after the target was made", c.path)
	default:
		return refuse.New(anew, "the checkpoint %q belongs to the stream %s, which was disabled since", c.path, file.Stream)
	}
	if file.Segments != c.head.Segments {
		return refuse.New(fmt.Sprintf("give --segments %d, or %s", file.Segments, startOver),
			"the checkpoint %q belongs to another job: it has %d segments, this one has %d", c.path, file.Segments, c.head.Segments)
	}
	if err := c.adopt(file); err != nil {
		return err
	}
	c.resumed = true
	return nil
}

// adopt takes over the file's position, and what was in flight when it was written.
func (c *checkpoint) adopt(file checkpointFile) error {
	err := scan.EachOf(file.Done, len(c.done), func(segment int) { c.markDone(segment) })
	if err != nil {
		return err
	}
	for segment, raw := range file.Open {
		if segment < 0 || segment >= len(c.done) || c.done[segment] {
			return errors.New("an open segment is out of range or done")
		}
		var open openSegment
		if err := strictly(raw, &open); err != nil {
			return fmt.Errorf("read open segment: %w", err)
		}
		if _, err := c.parseAfter(open); err != nil {
			return err
		}
		c.open[segment] = raw
		c.reread += int64(max(0, open.Items, len(open.Writing)))
	}
	for _, id := range file.Rejected {
		if _, err := c.schema.ParseKey(string(id)); err != nil {
			return fmt.Errorf("read key: %w", err)
		}
		c.rejected[string(id)] = true
	}
	if file.Items < 0 {
		return errors.New("fewer items than none are done")
	}
	c.items, c.before = file.Items, file.Items
	c.head.Begun = file.Begun
	return c.inherit(file)
}

// inherit takes over what was in flight when the file was written: what became of those writes isn't known. That holds whatever becomes
// of the positions.
func (c *checkpoint) inherit(file checkpointFile) error {
	ids := slices.Clone(file.Uncertain)
	for _, raw := range file.Open {
		var open openSegment
		if err := strictly(raw, &open); err != nil {
			return fmt.Errorf("read open segment: %w", err)
		}
		ids = append(ids, open.Writing...)
	}
	keys := make([]item.Key, len(ids))
	for i, id := range ids {
		var err error
		if keys[i], err = c.schema.ParseKey(string(id)); err != nil {
			return fmt.Errorf("read key: %w", err)
		}
	}
	c.lost.Add(keys)
	// The requests of the run before may be alive for longer than this one's.
	c.head.Lifetime = max(c.head.Lifetime, file.Lifetime)
	c.head.Hold = file.Hold
	for _, one := range file.Doubts {
		if !slices.Contains(allDoubts, one) {
			return fmt.Errorf("the doubt %q is not known", one)
		}
		c.doubt(one)
	}
	return nil
}

// startOver drops the file's positions. Its keys in flight are kept. Items that it names as refused are not: they are met again by the
// Scan, or are gone.
//
// Where a table was made anew under its name, the keys are kept as well, since a request goes by the name: settling a key is never wrong.
// Only where they are no keys of the new table, there is nothing to settle.
func (c *checkpoint) startOver(file checkpointFile, olderStream bool) error {
	remade := file.Target != c.head.Target
	if err := c.inherit(file); err != nil {
		if !remade && file.Source == c.head.Source {
			return err
		}
		c.head.Hold = true
	}
	copied := len(file.Done) > 0 || len(file.Open) > 0
	wasOff := file.Recheck == RecheckOff
	if remade {
		c.head.Doubts = nil // it has nothing of what the old one had
		return nil
	}
	switch {
	case !copied:
	case file.Source != c.head.Source, !wasOff && !c.sameStream(file, olderStream), wasOff && c.head.Recheck != RecheckOff:
		c.doubt(doubtDeletes)
	}
	// Without a re-check the keys under way are not noted.
	c.head.Hold = c.head.Hold || wasOff && copied
	return nil
}
