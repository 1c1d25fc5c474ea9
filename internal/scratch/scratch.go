// Package scratch holds files for what has no room in memory: written once, from front to back, then read in the same order. They have
// no name, where the system allows that: nothing is left of them, whatever happens to the process. Only their owner can read them.
package scratch

import (
	"bufio"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"math"
	"os"
)

// Err is what every error with a file wraps.
var Err = errors.New("spill to disk (free some space, or set TMPDIR to a folder with more)")

const (
	writeBuffer = 16 << 10 // bytes
	readBuffer  = 64 << 10
)

// BufferBytes is the memory that a file takes while it is read.
const BufferBytes = writeBuffer + readBuffer

// File is one file. It is not safe for concurrent use.
type File struct {
	file   *os.File // nil: it is closed
	named  bool     // it still has a name, to be removed
	buffer *bufio.Writer
	sum    hash.Hash32
}

// Create makes a file in the folder ("": where the system has temporary files), with the pattern of os.CreateTemp.
func Create(folder, pattern string) (*File, error) {
	file, err := os.CreateTemp(folder, pattern) // with mode 0600
	if err != nil {
		return nil, fmt.Errorf("%w: %w", Err, err)
	}
	f := &File{file: file, sum: crc32.NewIEEE()}
	f.named = os.Remove(file.Name()) != nil // where an open file can't be removed, Close does it
	f.buffer = bufio.NewWriterSize(io.MultiWriter(file, f.sum), writeBuffer)
	return f, nil
}

func (f *File) Write(p []byte) (int, error) {
	n, err := f.buffer.Write(p)
	if err != nil {
		return n, fmt.Errorf("%w: %w", Err, err)
	}
	return n, nil
}

// Read returns a reader of all that was written by now; nothing can be written after that. Readers don't disturb each other.
func (f *File) Read() (*Reader, error) {
	if f.file == nil { // which must not pass for an empty one
		return nil, fmt.Errorf("%w: the file is closed already", Err)
	}
	if err := f.buffer.Flush(); err != nil {
		return nil, fmt.Errorf("%w: %w", Err, err)
	}
	section := io.NewSectionReader(f.file, 0, math.MaxInt64)
	return &Reader{of: f, from: bufio.NewReaderSize(section, readBuffer), sum: crc32.NewIEEE()}, nil
}

// Close gives the file's space back.
func (f *File) Close() {
	if f.file == nil {
		return
	}
	_ = f.file.Close() // it is not needed any more
	if f.named {
		_ = os.Remove(f.file.Name())
	}
	f.file, f.buffer = nil, nil
}

// Reader reads a file from its beginning.
type Reader struct {
	of   *File
	from *bufio.Reader
	sum  hash.Hash32
}

// Read fills the whole of p, or fails.
func (r *Reader) Read(p []byte) (int, error) {
	n, err := io.ReadFull(r.from, p)
	_, _ = r.sum.Write(p[:n]) // never fails (hash.Hash)
	return n, readBack(err)
}

// ReadByte makes it an io.ByteReader, for varints.
func (r *Reader) ReadByte() (byte, error) {
	b, err := r.from.ReadByte()
	if err != nil {
		return 0, readBack(err)
	}
	_, _ = r.sum.Write([]byte{b})
	return b, nil
}

// End fails unless all was read, and was what had been written.
func (r *Reader) End() error {
	if _, err := r.from.ReadByte(); !errors.Is(err, io.EOF) || r.sum.Sum32() != r.of.sum.Sum32() {
		return fmt.Errorf("%w: read back: the file is not what was written", Err)
	}
	return nil
}

func readBack(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%w: read back: %w", Err, err)
}
