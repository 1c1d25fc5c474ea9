package openkeys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// tables are both sides of a test, and what it is told.
type tables struct {
	mu             sync.Mutex
	source, target map[string]int
	events         []Event
	looks, keys    int
	during         func() // called between the reads of both sides
	fail           error
}

func newTables() *tables { return &tables{source: map[string]int{}, target: map[string]int{}} }

func (b *tables) set(id string, source, target int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.source[id], b.target[id] = source, target
}

func (b *tables) look(_ context.Context, ids []string) ([]Pair, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.looks++
	b.keys += len(ids)
	pairs := make([]Pair, len(ids))
	for i, id := range ids {
		pairs[i].Source = versionItem(b.source[id])
	}
	if b.during != nil {
		b.during()
	}
	for i, id := range ids {
		pairs[i].Target = versionItem(b.target[id])
	}
	return pairs, b.fail
}

// told returns the events.
func (b *tables) told() []Event {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.events)
}

func (b *tables) tell(e Event) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	return nil
}

// start runs the set on the tables, with a stream that is read to its end, until the test's body returns.
func start(t *testing.T, s *Set, work Work) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, work) }()
	var reading sync.WaitGroup
	reading.Go(func() {
		for ctx.Err() == nil {
			s.ReadThrough(time.Now())
			time.Sleep(500 * time.Millisecond)
		}
	})
	return func() {
		cancel()
		reading.Wait()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
	}
}

func newSet(t *testing.T) *Set {
	return New(Options{Lifetime: 30 * time.Second, Settle: 30 * time.Second, MaxMemory: 1 << 20, Folder: t.TempDir()})
}

func record(t *testing.T, s *Set, id string) {
	t.Helper()
	if err := s.Record("shard", id, time.Now()); err != nil {
		t.Fatal(err)
	}
}

// An old write that lands late, when both sides had agreed already, is found: the key is not closed before the lifetime has passed since
// its last record was seen to be applied.
func TestALateWriteFindsTheKeyOpen(t *testing.T) {
	for _, lag := range []time.Duration{0, 10 * time.Second, 50 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, b := newSet(t), newTables()
			defer start(t, s, Work{Look: b.look, Tell: b.tell})()
			b.set("k", 2, 1)
			record(t, s, "k")
			time.Sleep(lag)
			b.set("k", 2, 2)                      // the record is applied
			time.Sleep(29 * time.Second)          // what was sent before may land until now
			b.set("k", 2, 1)                      // and does
			time.Sleep(2*modelSettle + time.Hour) // for as long as it takes
			found := 0
			for _, e := range b.told() {
				if e.Kind == Found {
					found++
				}
			}
			if s.Status().Differing != 1 || found == 0 {
				t.Errorf("lag %s: %d differences, told %v", lag, s.Status().Differing, b.told())
			}
		})
	}
}

// A key that went back to an earlier value agrees before its records are applied. So that says nothing of the records before them: an old
// write that lands late is found.
func TestAKeyThatGoesBackShowsNothing(t *testing.T) {
	for _, lag := range []time.Duration{2 * time.Second, 10 * time.Second, 29 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, b := newSet(t), newTables()
			defer start(t, s, Work{Look: b.look, Tell: b.tell})()
			b.set("k", 2, 1)
			record(t, s, "k")
			time.Sleep(600 * time.Millisecond) // so that one look doesn't see both
			b.set("back", 3, 3)
			record(t, s, "back")
			record(t, s, "back")
			time.Sleep(lag)
			b.set("k", 2, 2)                        // both are applied
			time.Sleep(25 * time.Second)            // what was sent before may land until now
			b.set("k", 2, 1)                        // and does,
			b.set("back", 3, 2)                     // for both
			time.Sleep(2*modelSettle + time.Minute) // for as long as it takes
			if n := s.Status().Differing; n != 2 {
				t.Errorf("lag %s: %d differences, told %v", lag, n, b.told())
			}
		})
	}
}

// A difference that was told, and has a new record, is open until it is known what becomes of it.
func TestADifferenceWithANewRecordIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newSet(t), newTables()
		defer start(t, s, Work{Look: b.look, Tell: b.tell})()
		b.set("k", 2, 1)
		record(t, s, "k")
		time.Sleep(time.Minute)
		if st := s.Status(); st.Open != 0 || st.Differing != 1 {
			t.Errorf("told: %+v", st)
		}
		record(t, s, "k")
		if st := s.Status(); st.Open != 1 || st.Differing != 1 {
			t.Errorf("a new record: %+v", st)
		}
		b.set("k", 3, 3)
		time.Sleep(time.Minute)
		if st := s.Status(); st.Open != 0 || st.Differing != 0 {
			t.Errorf("replicated: %+v", st)
		}
	})
}

// A look during which a record of its key comes closes nothing.
func TestALookThatARecordOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newSet(t), newTables()
		defer start(t, s, Work{Look: b.look, Tell: b.tell})()
		b.set("k", 1, 1)
		looked := 0
		b.during = func() {
			if looked++; looked <= 3 {
				record(t, s, "k")
			}
		}
		record(t, s, "k")
		time.Sleep(35 * time.Second)
		if open := s.Status().Open; open != 1 {
			t.Errorf("%d keys are open", open)
		}
		time.Sleep(2 * time.Minute)
		if open := s.Status().Open; open != 0 {
			t.Errorf("%d keys are open in the end", open)
		}
	})
}

// Nor does it show that the record is applied: an old write that lands late is found.
func TestALookThatARecordOvertakesShowsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newSet(t), newTables()
		defer start(t, s, Work{Look: b.look, Tell: b.tell})()
		b.set("k", 1, 1)
		overtaken := false
		b.during = func() {
			if !overtaken {
				overtaken = true
				b.source["k"] = 2
				record(t, s, "k")
			}
		}
		record(t, s, "k")
		time.Sleep(20 * time.Second)
		b.set("k", 2, 2)             // it is applied
		time.Sleep(25 * time.Second) // what was sent before may land until now
		b.set("k", 2, 1)             // and does
		time.Sleep(2*modelSettle + time.Minute)
		if st := s.Status(); st.Differing != 1 {
			t.Errorf("%+v, told %v", st, b.told())
		}
	})
}

// A lost update is told within the settling time and ten seconds of its record, once, with when it was made, and then as mended.
func TestALostUpdateIsToldInTime(t *testing.T) {
	for _, busy := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s, b := newSet(t), newTables()
			defer start(t, s, Work{Look: b.look, Tell: b.tell})()
			made := time.Now()
			b.set("k", 2, 1)
			if busy {
				for i := range 2000 {
					record(t, s, fmt.Sprint(i))
				}
			}
			if err := s.Record("shard", "k", made); err != nil {
				t.Fatal(err)
			}
			time.Sleep(modelSettle + 10*time.Second)
			if len(b.told()) != 1 || b.told()[0].Kind != Found || b.told()[0].ID != "k" || !b.told()[0].Changed.Equal(made.Truncate(time.Millisecond)) {
				t.Fatalf("busy %t: told %v", busy, b.told())
			}
			time.Sleep(5 * time.Minute)
			if st := s.Status(); len(b.told()) != 1 || st.Differing != 1 || st.Open != 0 || st.Overdue {
				t.Errorf("told %v, status %+v", b.told(), st)
			}
			b.set("k", 2, 2)
			time.Sleep(2 * time.Minute)
			if st := s.Status(); len(b.told()) != 2 || b.told()[1].Kind != Mended || st.Differing != 0 || st.Mended != 1 || st.Open != 0 {
				t.Errorf("told %v, status %+v", b.told(), st)
			}
		})
	}
}

// Where the stream is not read so far that it shows the source to be unchanged, looks have to: the settling time passes between them.
func TestTheStreamIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newSet(t), newTables()
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		for i := range 2000 {
			record(t, s, fmt.Sprint(i))
		}
		b.set("k", 2, 1)
		record(t, s, "k")
		go func() { ended <- s.Run(ctx, Work{Look: b.look, Tell: b.tell}) }()
		time.Sleep(modelSettle + 20*time.Second)
		if len(b.told()) != 0 {
			t.Errorf("told %v", b.told())
		}
		time.Sleep(30 * time.Second)
		if len(b.told()) != 1 {
			t.Errorf("told %v", b.told())
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// A candidate of the scans that agrees is settled, and stays open until nothing can land any more; one that doesn't is a difference.
func TestCandidates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newSet(t), newTables()
		defer start(t, s, Work{Look: b.look, Tell: b.tell})()
		b.set("late", 2, 1)
		b.set("lost", 2, 1)
		b.set("old", 3, 2)
		for _, id := range []string{"late", "lost"} {
			if err := s.Candidate(id); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Differs("old", time.Time{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		b.set("late", 2, 2)
		b.set("old", 3, 3)
		time.Sleep(20 * time.Second)
		if st := s.Status(); st.Open != 3 || st.Settled != 1 || st.Mended != 1 {
			t.Errorf("after 25 s: %+v", st)
		}
		time.Sleep(time.Minute)
		if st := s.Status(); st.Open != 0 || st.Differing != 1 || st.Found != 1 || st.Settled != 1 {
			t.Errorf("in the end: %+v", st)
		}
	})
}

// A difference is repaired once, and looked at afresh; what can't be repaired is told once more, and repaired again only after a record.
func TestRepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newSet(t), newTables()
		b.set("good", 2, 1)
		b.set("bad", 2, 1)
		repairs := map[string]int{}
		repair := func(_ context.Context, ids []string) error {
			b.mu.Lock()
			defer b.mu.Unlock()
			for _, id := range ids {
				repairs[id]++
				if id != "bad" {
					b.target[id] = b.source[id]
				}
			}
			return nil
		}
		defer start(t, s, Work{Look: b.look, Tell: b.tell, Repair: repair})()
		record(t, s, "good")
		record(t, s, "bad")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if st := s.Status(); st.Differing != 1 || st.Repaired != 1 || st.Open != 0 || repairs["good"] != 1 || repairs["bad"] != 1 {
			t.Errorf("status %+v, repairs %v", st, repairs)
		}
		told := map[string]int{}
		for _, e := range b.told() {
			told[fmt.Sprint(e.ID, " ", e.Kind, " ", e.Again, e.Repaired)]++
		}
		for _, want := range []string{"good found false false", "bad found false false", "good mended false true", "bad found true true"} {
			if told[want] != 1 || len(told) != 4 {
				t.Errorf("told %v", told)
			}
		}
		record(t, s, "bad")
		time.Sleep(5 * time.Minute)
		synctest.Wait()
		if repairs["bad"] != 2 {
			t.Errorf("after a record: repairs %v", repairs)
		}
	})
}

// A look that fails ends the run, and leaves its keys open.
func TestALookThatFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, b := newSet(t), newTables()
		b.fail = errors.New("no answer")
		record(t, s, "k")
		if err := s.Run(t.Context(), Work{Look: b.look, Tell: b.tell}); !errors.Is(err, b.fail) {
			t.Errorf("it ended with %v", err)
		}
		if open := s.Status().Open; open != 1 {
			t.Errorf("%d keys are open", open)
		}
	})
}

// At 1,000 records a second a record costs no more than two read units and 0.05 requests, with items of 4 KB and less: a unit for each side.
func TestBudget(t *testing.T) {
	for name, key := range map[string]func(i int) string{
		"each record another key": func(i int) string { return fmt.Sprint(i) },
		"3 of 10 to 20 hot keys": func(i int) string {
			if i%10 < 3 {
				return fmt.Sprint("hot", i/10%20)
			}
			return fmt.Sprint(i)
		},
		"20,000 keys in turn": func(i int) string { return fmt.Sprint(i * 7919 % 20000) },
		"60,000 keys in turn": func(i int) string { return fmt.Sprint(i * 7919 % 60000) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s, b := New(Options{Lifetime: 30 * time.Second, Settle: 30 * time.Second, MaxMemory: 64 << 20, Folder: t.TempDir()}), newTables()
			defer start(t, s, Work{Look: b.look, Tell: b.tell})()
			const count = 200_000
			for i := range count {
				if i%10 == 0 {
					time.Sleep(10 * time.Millisecond)
				}
				record(t, s, key(i))
			}
			time.Sleep(90 * time.Second)
			b.mu.Lock()
			defer b.mu.Unlock()
			units, requests := float64(2*b.keys)/count, float64(2*b.looks)/count
			t.Logf("%s: %.3f units and %.4f requests a record", name, units, requests)
			if st := s.Status(); st.Open > 0 {
				t.Errorf("%s: %d keys are open", name, st.Open)
			}
			if units > 2.02 || requests > 0.05 { // the probes, of each shard two a second, are the part above 2
				t.Errorf("%s: %.3f units and %.4f requests a record", name, units, requests)
			}
		})
	}
}
