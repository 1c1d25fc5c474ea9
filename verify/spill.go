package verify

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/maphash"
	"io"
	"os"

	"reseal/internal/scan"
)

// spill keeps items that wait for their counterpart in files, in parts by a hash of their key: both sides of a key are in the
// same part, and one part after the other fits into memory. (A hash join with partitions on disk, as databases do it. An embedded
// store would sort or index what is only ever written once and read once.)
//
// The files have no name, where the system allows that: nothing is left of them, whatever happens to the process. They hold keys
// and digests, no other part of an item, and only their owner can read them. It isn't safe for concurrent use.
type spill struct {
	folder string
	seed   maphash.Seed
	parts  [spillParts]spillPart
}

const (
	spillParts  = 64
	spillBuffer = 16 << 10 // bytes, for each part
)

// spillPart is one file: records of an item's flags, its digest, where it was seen (two uvarints), and its Key.ID after its
// length (uvarint).
type spillPart struct {
	file   *os.File // nil: nothing was written, or it is closed
	named  bool     // it still has a name, to be removed
	buffer *bufio.Writer
	sum    hash.Hash32
	count  int64
	memory int64 // bytes that its items take in memory
}

// flags of a record.
const (
	flagTarget = 1 << iota // the item came from the target
	flagBoth
)

func newSpill(folder string) *spill {
	return &spill{folder: folder, seed: maphash.MakeSeed()}
}

// errSpill is what every error with a file wraps.
var errSpill = errors.New("spill to disk (free some space, or set TMPDIR to a folder with more)")

func (s *spill) write(id string, p pending) error {
	part := &s.parts[maphash.String(s.seed, id)%spillParts]
	if part.file == nil {
		if err := part.open(s.folder); err != nil {
			return fmt.Errorf("%w: %w", errSpill, err)
		}
	}
	if err := writePending(part.buffer, id, p); err != nil {
		return fmt.Errorf("%w: %w", errSpill, err)
	}
	part.count++
	part.memory += memoryOf(id)
	return nil
}

func writePending(w io.Writer, id string, p pending) error {
	var head [1 + len(p.digest) + 3*binary.MaxVarintLen64]byte
	if p.from == fromTarget {
		head[0] |= flagTarget
	}
	if p.both {
		head[0] |= flagBoth
	}
	n := 1 + copy(head[1:], p.digest[:])
	for _, one := range p.at {
		n += binary.PutUvarint(head[n:], uint64(one))
	}
	n += binary.PutUvarint(head[n:], uint64(len(id)))
	if _, err := w.Write(head[:n]); err != nil {
		return err
	}
	_, err := io.WriteString(w, id)
	return err
}

// maxKeyBytes is more than any Key.ID takes: DynamoDB's keys have 2,048 and 1,024 bytes at the most.
const maxKeyBytes = 4096

var errDamaged = errors.New("a record is damaged")

// readPending reads the rest of a record whose flags have been read.
func readPending(r interface {
	io.Reader
	io.ByteReader
}, flags byte,
) (string, pending, error) {
	p := pending{both: flags&flagBoth != 0}
	if flags&flagTarget != 0 {
		p.from = fromTarget
	}
	if _, err := io.ReadFull(r, p.digest[:]); err != nil {
		return "", pending{}, err
	}
	for side := range p.at {
		one, err := binary.ReadUvarint(r)
		if err != nil {
			return "", pending{}, err
		}
		if one > scan.MaxSegments {
			return "", pending{}, errDamaged
		}
		p.at[side] = uint32(one)
	}
	length, err := binary.ReadUvarint(r)
	if err != nil {
		return "", pending{}, err
	}
	if length > maxKeyBytes || flags&^(flagTarget|flagBoth) != 0 {
		return "", pending{}, errDamaged
	}
	id := make([]byte, length)
	if _, err := io.ReadFull(r, id); err != nil {
		return "", pending{}, err
	}
	return string(id), p, nil
}

func (p *spillPart) open(folder string) error {
	file, err := os.CreateTemp(folder, "reseal-verify-*") // with mode 0600
	if err != nil {
		return err
	}
	p.named = os.Remove(file.Name()) != nil // where an open file can't be removed, close does it
	p.file, p.sum = file, crc32.NewIEEE()
	p.buffer = bufio.NewWriterSize(io.MultiWriter(file, p.sum), spillBuffer)
	return nil
}

// read calls visit for each item written, in that order. It fails if the file doesn't hold exactly what was written.
func (p *spillPart) read(visit func(id string, p pending) error) error {
	if p.count == 0 {
		return nil
	}
	if p.file == nil {
		return fmt.Errorf("%w: the file is closed already", errSpill) // and must not pass for an empty one
	}
	if err := p.rewind(); err != nil {
		return fmt.Errorf("%w: %w", errSpill, err)
	}
	reader := &summed{from: bufio.NewReaderSize(p.file, 1<<20), sum: crc32.NewIEEE()}
	for range p.count {
		flags, err := reader.ReadByte()
		if err != nil {
			return fmt.Errorf("%w: read back: %w", errSpill, err)
		}
		id, one, err := readPending(reader, flags)
		if err != nil {
			return fmt.Errorf("%w: read back: %w", errSpill, err)
		}
		if err := visit(id, one); err != nil {
			return err
		}
	}
	if _, err := reader.from.ReadByte(); !errors.Is(err, io.EOF) || reader.sum.Sum32() != p.sum.Sum32() {
		return fmt.Errorf("%w: read back: the file is not what was written", errSpill)
	}
	return nil
}

func (p *spillPart) rewind() error {
	if err := p.buffer.Flush(); err != nil {
		return err
	}
	_, err := p.file.Seek(0, io.SeekStart)
	return err
}

// close gives the file's space back.
func (p *spillPart) close() {
	if p.file == nil {
		return
	}
	_ = p.file.Close() // it is not needed any more
	if p.named {
		_ = os.Remove(p.file.Name())
	}
	p.file, p.buffer = nil, nil
}

func (s *spill) close() {
	for i := range s.parts {
		s.parts[i].close()
	}
}
