// Package checkpoint keeps the state of a run in a file, so that a run that was killed can go on. What the state is, its owner
// decides: the file holds named records. There is one lock, one check of the format and one kind of checksum for all of them.
//
// [Open] locks the file and reads it. [File.Append] adds records durably, in the time that these records take, not all of them:
// later ones replace earlier ones of the same name. [File.Replace] writes the whole state anew, which also drops what was replaced.
//
// # The file
//
// A head of 128 bytes, then frames. The head has the format's line and the kind of the state, with a checksum, and two marks. A mark says
// up to where the frames count. It has a number, the file's length and a checksum, and the valid one with the higher number holds. Append
// writes a frame, syncs the file, and then sets the older of both marks and syncs again. So whatever was under way when the process was
// killed or the machine lost power is behind the mark, and is ignored; everything before the mark was synced before the mark was
// set, and if its checksum is wrong, the file is damaged, which is never taken for a smaller state.
package checkpoint

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"reseal/internal/atomicfile"
)

// ErrLocked says that another process has the file open.
var ErrLocked = atomicfile.ErrLocked

// ErrDamaged says that the file is not as it was written, or was never written by this package.
var ErrDamaged = errors.New("it is damaged")

// ErrKind says that the file is whole, and has another kind of state. It is ErrDamaged as well.
var ErrKind = errors.New("it is of another kind")

// ErrGone says that the file was deleted or replaced by somebody else since it was opened: what is written to it is lost.
var ErrGone = errors.New("the file was deleted or replaced by somebody else")

// Record is a part of the state. Its owner gives the names their meaning.
type Record struct {
	Name  string
	Value []byte // nil: there is no such record any more
}

// File is an open checkpoint. It is safe for concurrent use, but Remove and Close come last.
type File struct {
	path string
	kind string
	lock *atomicfile.Lock

	mu         sync.Mutex // guards what follows
	waiting    []byte     // encoded records that are not in the file yet
	generation int64      // of the newest of them

	writing sync.Mutex // held by the one that writes; guards what follows
	file    *os.File   // nil before the first Replace of a new file
	mark    mark       // the newest
	written int64      // generation up to which records are durable
	base    int64      // length right after the last Replace
}

// Handlers are told what Open finds.
type Handlers struct {
	// Restore gets each record, in the order in which they were appended. The value is its own.
	Restore func(Record) error
	// Old gets the content of a file that has another format than this package's. Nil: such a file is ErrDamaged.
	Old func(*bufio.Reader) error
	// Damaged gets an error with ErrDamaged. If it returns nil, Open does: the state is then what the owner makes of it, who must
	// drop all that Restore got, and call Replace. Nil: such an error is Open's.
	Damaged func(error) error
}

// Open locks the file at path, which need not exist, and reads it. found tells whether there was one. The kind of the state, up to 38
// bytes, must be what the file has. It returns ErrLocked if another process has it, an error with ErrDamaged if it isn't whole, and
// the handlers' errors as they are.
func Open(path, kind string, h Handlers) (f *File, found bool, err error) {
	lock, err := atomicfile.Acquire(path)
	if err != nil {
		return nil, false, err
	}
	f = &File{path: path, kind: kind, lock: lock}
	if found, err = f.load(h); errors.Is(err, ErrDamaged) && h.Damaged != nil {
		err = h.Damaged(err)
	}
	if err != nil {
		return nil, found, errors.Join(err, f.Close())
	}
	return f, found, nil
}

func (f *File) load(h Handlers) (found bool, err error) {
	file, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return true, fmt.Errorf("open checkpoint: %w", err)
	}
	in := bufio.NewReaderSize(file, 1<<20)
	start, err := in.Peek(len(magic))
	if err != nil && !errors.Is(err, io.EOF) {
		return true, errors.Join(fmt.Errorf("read checkpoint: %w", err), file.Close())
	}
	if string(start) != magic {
		if h.Old == nil {
			return true, errors.Join(fmt.Errorf("%w: its format is not known", ErrDamaged), file.Close())
		}
		return true, errors.Join(h.Old(in), file.Close())
	}
	f.file = file // Close closes it
	head := make([]byte, headSize)
	if _, err := io.ReadFull(in, head); err != nil {
		return true, fmt.Errorf("%w: it is cut short", ErrDamaged)
	}
	if f.mark, err = decodeHead(head, f.kind); err != nil {
		return true, err
	}
	return true, readFrames(in, f.mark.length-headSize, h.Restore)
}

// Append adds the records, all of them or none, and returns when they are durable. Callers that come while another one writes share
// the next write. A file that is new needs a Replace before.
func (f *File) Append(records ...Record) error {
	mine := f.Queue(records...)

	f.writing.Lock()
	defer f.writing.Unlock()
	if f.written >= mine {
		return nil
	}
	if f.file == nil {
		return errors.New("append to checkpoint: it was not begun")
	}
	f.mu.Lock()
	payload, generation := f.waiting, f.generation
	f.mu.Unlock()
	if err := f.appendFrame(payload); err != nil {
		return fmt.Errorf("append to checkpoint: %w", err)
	}
	f.taken(len(payload), generation)
	return nil
}

// Queue adds records for the next Append to write, which may have none of its own. It waits for nothing: an owner calls it while it
// holds the lock of its state, so that the records of one name are in the order in which the state changed.
func (f *File) Queue(records ...Record) (generation int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, record := range records {
		f.waiting = appendRecord(f.waiting, record)
	}
	f.generation++
	return f.generation
}

// taken drops the first bytes of what waits: all up to the generation is durable.
func (f *File) taken(size int, generation int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.waiting = append([]byte(nil), f.waiting[size:]...)
	f.written = generation
}

func (f *File) appendFrame(payload []byte) error {
	frame := appendFrame(make([]byte, 0, len(payload)+frameHead), payload)
	if _, err := f.file.WriteAt(frame, f.mark.length); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	next := mark{number: f.mark.number + 1, length: f.mark.length + int64(len(frame))}
	if _, err := f.file.WriteAt(next.encode(), next.offset()); err != nil {
		return err
	}
	if err := f.file.Sync(); err != nil {
		return err
	}
	f.mark = next
	return f.present()
}

// present returns ErrGone if the open file is not the one at its path any more.
func (f *File) present() error {
	open, err := f.file.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(open, there) {
		return ErrGone
	}
	return err
}

// Replace writes the whole state anew: what each puts, in its order, and nothing else. It must put all that was given to Append or Queue
// before each was called: an owner changes its state first and appends then. If Replace fails, the file is as it was.
func (f *File) Replace(each func(put func(Record) error) error) error {
	f.writing.Lock()
	defer f.writing.Unlock()
	f.mu.Lock()
	among, generation := len(f.waiting), f.generation
	f.mu.Unlock()
	var last mark
	err := atomicfile.Replace(f.path, func(file *os.File) (err error) {
		last, err = writeWhole(file, f.kind, each)
		return err
	})
	if err != nil {
		return fmt.Errorf("write checkpoint: %w", err)
	}
	file, err := os.OpenFile(f.path, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("open checkpoint: %w", err)
	}
	if f.file != nil {
		_ = f.file.Close() // it was replaced: nobody reads it again
	}
	f.file, f.mark, f.base = file, last, last.length
	f.taken(among, generation)
	return nil
}

// Grown is how many bytes Append has added since the last Replace, or since the file was begun if it was only read.
func (f *File) Grown() int64 {
	f.writing.Lock()
	defer f.writing.Unlock()
	return f.mark.length - f.base
}

// Remove deletes the file: its run is done. Close it then.
func (f *File) Remove() error {
	if err := os.Remove(f.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove checkpoint: %w", err)
	}
	return nil
}

// Close leaves the file to others. It writes nothing.
func (f *File) Close() error {
	f.writing.Lock()
	defer f.writing.Unlock()
	var err error
	if f.file != nil {
		err = f.file.Close()
		f.file = nil
	}
	f.lock.Release()
	return err
}

// writeWhole writes the head and the frames of what each puts, and returns the mark.
func writeWhole(file *os.File, kind string, each func(put func(Record) error) error) (mark, error) {
	if _, err := file.Seek(headSize, io.SeekStart); err != nil {
		return mark{}, err
	}
	length := int64(headSize)
	var payload, frame []byte
	flush := func() error {
		if len(payload) == 0 {
			return nil
		}
		frame = appendFrame(frame[:0], payload)
		payload = payload[:0]
		length += int64(len(frame))
		_, err := file.Write(frame)
		return err
	}
	err := each(func(record Record) error {
		payload = appendRecord(payload, record)
		if len(payload) < wholeFrame {
			return nil
		}
		return flush()
	})
	if err = errors.Join(err, flush()); err != nil {
		return mark{}, err
	}
	last := mark{number: 1, length: length}
	_, err = file.WriteAt(encodeHead(kind, last), 0)
	return last, err
}

// wholeFrame is about the size of a frame of Replace, in bytes.
const wholeFrame = 256 << 10

var order = binary.BigEndian
