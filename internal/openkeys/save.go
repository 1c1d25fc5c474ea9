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
		if err := f.each(func(e *entry) error { return visit(e.saved()) }); err != nil {
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

// Differing is a key that differed when it was last looked at, and that was not told as a difference: not for long enough.
type Differing struct {
	ID             string // item.Key.ID
	Source, Target State
	Changed        time.Time // when its last record's change was made; zero: not known
	First, Last    time.Time // when a look first saw it differ since its last record, and when one first saw both sides as they are
}

// EachDiffering calls visit for each of them. Nothing changes meanwhile.
func (s *Set) EachDiffering(visit func(Differing) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	only := func(e *entry) error {
		if !e.isUnsettled() {
			return nil
		}
		d := e.differs
		return visit(Differing{
			ID: e.id, Source: d.source, Target: d.target, Changed: e.saved().Changed, First: s.time(d.first), Last: s.time(d.still),
		})
	}
	for _, e := range s.entries {
		if err := only(e); err != nil {
			return err
		}
	}
	for _, f := range s.files {
		if err := f.each(only); err != nil {
			return err
		}
	}
	return nil
}

// each goes through what is left of the file from its beginning, beside the reader that is under way.
func (f *file) each(visit func(*entry) error) error {
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
		if err := visit(e); err != nil {
			return err
		}
	}
	return reader.End()
}
