package openkeys

import "time"

// Saved is a key as it is kept for a later run.
type Saved struct {
	ID        string    // item.Key.ID
	Changed   time.Time // when its last record's change was made; zero: not known
	Different bool      // it was told as a difference
}

// Each calls visit for each open key and each difference, some of them perhaps twice. Nothing changes meanwhile. A key whose record came
// before the call is among them, unless it was closed since.
func (s *Set) Each(visit func(Saved) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.entries {
		if err := visit(e.saved()); err != nil {
			return err
		}
	}
	for _, f := range s.files {
		if err := f.each(visit); err != nil {
			return err
		}
	}
	return nil
}

func (e *entry) saved() Saved {
	saved := Saved{ID: e.id, Different: e.is(declared)}
	if e.made != 0 {
		saved.Changed = time.UnixMilli(e.made).UTC()
	}
	return saved
}

// each goes through what is left of the file from its beginning, beside the reader that is under way.
func (f *file) each(visit func(Saved) error) error {
	reader, err := f.disk.Read()
	if err != nil {
		return err
	}
	for i := range f.read + f.left {
		e, err := decode(reader)
		if err != nil {
			return err
		}
		if i < f.read {
			continue
		}
		if err := visit(e.saved()); err != nil {
			return err
		}
	}
	return reader.End()
}
