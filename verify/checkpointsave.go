package verify

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/call"
	"reseal/internal/openkeys"
	"reseal/internal/scan"
)

// saveInterval bounds what is read again after a kill.
const saveInterval = 15 * time.Second

// saveRegularly saves until ctx ends, and spends no more than a tenth of the time on it.
func (c *checkpoint) saveRegularly(ctx context.Context) error {
	if c.path == "" {
		return nil
	}
	pause := saveInterval
	for {
		if err := call.Sleep(ctx, pause); err != nil {
			return nil // whoever ended ctx has the reason
		}
		start := time.Now()
		if err := c.save(false); err != nil {
			return err
		}
		pause = max(saveInterval, 9*time.Since(start))
	}
}

// save writes the file. With last, the scans are at their end: what the file says from now on holds until the verdict.
func (c *checkpoint) save(last bool) error {
	if c.path == "" {
		return nil
	}
	c.pages.Lock()
	defer c.pages.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.final {
		return nil
	}
	c.final = last
	if err := atomicfile.WriteBy(c.path, c.write); err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	return nil
}

func (c *checkpoint) write(file io.Writer) error {
	sum := crc32.NewIEEE()
	w := bufio.NewWriterSize(io.MultiWriter(file, sum), 1<<20)
	state := c.head()
	if f := c.run.follower; f != nil {
		var err error
		if state.Follow, err = f.state(); err != nil {
			return err
		}
	}
	head, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if _, err := w.Write(append(head, '\n')); err != nil {
		return err
	}
	if err := c.run.join.each(func(id string, p pending) error { return writePending(w, id, p) }); err != nil {
		return err
	}
	if f := c.run.follower; f != nil {
		if err := f.set.Each(func(key openkeys.Saved) error { return writeOpen(w, key) }); err != nil {
			return err
		}
	}
	if err := w.WriteByte(endOfItems); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err = file.Write(binary.BigEndian.AppendUint32(nil, sum.Sum32()))
	return err
}

func (c *checkpoint) head() checkpointHead {
	r := c.run
	matched, sum := r.join.matched()
	head := checkpointHead{
		Format: checkpointFormat, Source: r.pair.Source.Identity(), Target: r.pair.Target.Identity(),
		Stream: r.pair.Source.StreamARN(), Began: instant(r.began),
		Segments: r.total, Sample: r.result.Sample, ExpiredBy: r.expiry.String(),
		Done: scan.Ranges(c.done), Open: map[int]openSegment{},
		Matched: matched, Sum: sum.String(),
		SourceRead: r.source.read.Load(), TargetRead: r.target.read.Load(),
		SourceExpired: r.source.expired.Load(), TargetExpired: r.target.expired.Load(),
		SourceCells: r.places.counts(fromSource), TargetCells: r.places.counts(fromTarget), Consistent: r.options.Consistent,
	}
	for segment, open := range c.open {
		head.Open[segment] = open
	}
	for segment, cursors := range c.active {
		head.Open[segment] = openSegment{Source: cursorOf(cursors[0]), Target: cursorOf(cursors[1])}
	}
	return head
}

// remove deletes the file of a verification that has its verdict: the next one is to rest on what it reads itself.
func (c *checkpoint) remove() error {
	if c.path == "" {
		return nil
	}
	if err := os.Remove(c.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove checkpoint: %w", err)
	}
	return nil
}
