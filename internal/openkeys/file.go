package openkeys

import (
	"cmp"
	"container/heap"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"reseal/internal/item"
	"reseal/internal/scratch"
)

// file holds entries in the order in which they are due. Each is its flags, its numbers as varints, its key after its length and, if
// it differed, what both sides had.
type file struct {
	disk      *scratch.File
	reader    *scratch.Reader // nil: nothing was read back yet
	left      int64           // entries that were not read back
	read      int64           // and those that were
	open      int64           // of those that are left: see entry.isOpen
	unsettled int64           // likewise
	keys      filter          // of all that were in it
	oldestOf  []instant       // of each block of entries: no record of them, and of those that follow, is older
	next      *entry          // the first of them; nil: it was not read yet
}

// makeRoom moves entries to a file if they need more than their memory: all but those that are due first. Differences that were told
// stay, unless they are too many: a new record of one that is in a file could have it told twice.
func (s *Set) makeRoom() error {
	if s.memory <= s.options.MaxMemory {
		return nil
	}
	if err := s.spill(declared | repairing); err != nil {
		return err
	}
	if s.memory > s.options.MaxMemory/2 {
		return s.spill(repairing)
	}
	return nil
}

// fewToSpill is how many entries are not worth a file.
const fewToSpill = 256

// spill moves what is due last, but for entries with one of the flags, until the others take a quarter of the memory.
func (s *Set) spill(but flags) error {
	var moved, kept []*entry
	for _, e := range s.queue {
		if e.flags&but == 0 {
			moved = append(moved, e)
		} else {
			kept = append(kept, e)
		}
	}
	slices.SortFunc(moved, func(a, b *entry) int { return cmp.Compare(a.due, b.due) })
	first := 0
	for room := s.options.MaxMemory / 4; first < len(moved) && room > 0; first++ {
		room -= moved[first].memory()
	}
	kept, moved = append(kept, moved[:first]...), moved[first:]
	if len(moved) < fewToSpill {
		return nil
	}
	f, err := s.write(moved)
	if err != nil {
		return err
	}
	s.files = append(s.files, f)
	s.queue = kept
	for i, e := range s.queue {
		e.place = int32(i) //nolint:gosec // as in queue.Swap
	}
	heap.Init(&s.queue)
	for _, e := range moved {
		s.remove(e)
	}
	smaller := make(map[string]*entry, len(s.entries)) // a map doesn't shrink by itself
	maps.Copy(smaller, s.entries)
	s.entries = smaller
	return nil
}

func (s *Set) write(list []*entry) (*file, error) {
	disk, err := scratch.Create(s.options.Folder, "reseal-open-keys-*")
	if err != nil {
		return nil, err
	}
	f := &file{disk: disk, keys: newFilter(list), oldestOf: oldestOf(list)}
	for _, e := range list {
		if err := encode(disk, e); err != nil {
			disk.Close()
			return nil, err
		}
		f.left++
		if e.isOpen() {
			f.open++
		}
		if e.isUnsettled() {
			f.unsettled++
		}
	}
	return f, nil
}

// block is how many entries of a file share the note of the oldest.
const block = 1024

func oldestOf(list []*entry) []instant {
	oldest := make([]instant, (len(list)+block-1)/block)
	least := list[len(list)-1].seen
	for i := len(list) - 1; i >= 0; i-- {
		least = min(least, list[i].seen)
		oldest[i/block] = least
	}
	return oldest
}

// oldest is a time before which no record of an entry that is left was seen. There must be one.
func (f *file) oldest() instant { return f.oldestOf[f.read/block] }

func encode(w io.Writer, e *entry) error {
	head := make([]byte, 0, 1+9*binary.MaxVarintLen64+2*(1+len(item.Digest{})))
	head = append(head, byte(e.flags))
	has := int64(0)
	if e.differs != nil {
		has = 1
	}
	for _, n := range []int64{int64(e.lane), int64(e.seen), int64(e.due), int64(e.agreed), e.made, has} {
		head = binary.AppendVarint(head, n)
	}
	if d := e.differs; d != nil {
		for _, n := range []instant{d.first, d.since, d.still} {
			head = binary.AppendVarint(head, int64(n))
		}
		for _, st := range []State{d.source, d.target} {
			exists := byte(0)
			if st.Exists {
				exists = 1
			}
			head = append(append(head, exists), st.Digest[:]...)
		}
	}
	head = binary.AppendUvarint(head, uint64(len(e.id)))
	if _, err := w.Write(head); err != nil {
		return err
	}
	_, err := io.WriteString(w, e.id)
	return err
}

// maxKeyBytes is more than any Key.ID takes: DynamoDB's keys have 2,048 and 1,024 bytes at the most.
const maxKeyBytes = 4096

type byteReader interface {
	io.Reader
	io.ByteReader
}

var errDamaged = fmt.Errorf("%w: read back: a record is damaged", scratch.Err)

func decode(r byteReader) (*entry, error) {
	first, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	e := &entry{flags: flags(first) | behind, place: taken}
	var n [6]int64
	for i := range n {
		if n[i], err = binary.ReadVarint(r); err != nil {
			return nil, err
		}
	}
	e.lane, e.seen, e.due, e.agreed, e.made = int32(n[0]), instant(n[1]), instant(n[2]), instant(n[3]), n[4] //nolint:gosec // it was one
	if n[5] != 0 {
		if e.differs, err = decodeContrast(r); err != nil {
			return nil, err
		}
	}
	length, err := binary.ReadUvarint(r)
	if err != nil {
		return nil, err
	}
	if length > maxKeyBytes {
		return nil, errDamaged
	}
	id := make([]byte, length)
	if _, err := r.Read(id); err != nil {
		return nil, err
	}
	e.id = string(id)
	return e, nil
}

func decodeContrast(r byteReader) (*contrast, error) {
	d := &contrast{}
	for _, n := range []*instant{&d.first, &d.since, &d.still} {
		one, err := binary.ReadVarint(r)
		if err != nil {
			return nil, err
		}
		*n = instant(one)
	}
	for _, st := range []*State{&d.source, &d.target} {
		exists, err := r.ReadByte()
		if err != nil {
			return nil, err
		}
		st.Exists = exists == 1
		if _, err := r.Read(st.Digest[:]); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// peek returns the entry that is due first; nil at the end, when the file has been found whole.
func (f *file) peek() (*entry, error) {
	if f.next != nil {
		return f.next, nil
	}
	var err error
	if f.reader == nil {
		if f.reader, err = f.disk.Read(); err != nil {
			return nil, err
		}
	}
	if f.left == 0 {
		return nil, f.reader.End()
	}
	f.next, err = decode(f.reader)
	return f.next, err
}

// pop takes the entry that peek returned.
func (f *file) pop() *entry {
	e := f.next
	f.next = nil
	f.left--
	f.read++
	if e.isOpen() {
		f.open--
	}
	if e.isUnsettled() {
		f.unsettled--
	}
	return e
}

func (f *file) close() { f.disk.Close() }

// isInFile tells whether an entry of the key may be in a file.
func (s *Set) isInFile(id string) bool {
	return slices.ContainsFunc(s.files, func(f *file) bool { return f.keys.mayHave(id) })
}

// fetch reads back what is due, up to so many entries of each file.
func (s *Set) fetch(now instant, most int) error {
	var errs error
	s.files = slices.DeleteFunc(s.files, func(f *file) bool {
		for range most {
			e, err := f.peek()
			if err != nil {
				errs = errors.Join(errs, err)
				return false
			}
			if e == nil {
				f.close()
				return true
			}
			if e.due > now {
				return false
			}
			s.unite(f.pop())
		}
		return false
	})
	return errs
}

// unite puts back an entry that was in a file. If there is a newer one of its key, it goes on with what that one knows.
func (s *Set) unite(old *entry) {
	e := s.entries[old.id]
	if e == nil {
		s.entries[old.id] = old
		s.memory += old.memory()
		s.schedule(old, old.due)
		return
	}
	if old.is(declared) && e.is(declared) {
		s.count.differing-- // it was told twice
	}
	e.flags = e.flags&^single | old.flags&(declared|repaired|candidate)
	if e.is(declared) {
		e.flags |= again
	}
}

// nextDue is when something is due; false: nothing is open. A file that was not read yet has nothing due before it was written to be.
func (s *Set) nextDue() (due instant, is bool, err error) {
	if len(s.queue) > 0 {
		due, is = s.queue[0].due, true
	}
	for _, f := range s.files {
		e, err := f.peek()
		if err != nil {
			return 0, false, err
		}
		if e != nil && (!is || e.due < due) {
			due, is = e.due, true
		}
	}
	return due, is, nil
}
