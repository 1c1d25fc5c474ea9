package openkeys

import (
	"testing"
	"testing/synctest"
	"time"
)

// What the scans found to differ is a suspect, but for as long as it changes: it may never be seen to agree then.
func TestSuspects(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, b := newSet(t), newTables()
		defer start(t, s, Work{Look: b.look, Tell: b.tell})()
		for _, id := range []string{"hot", "lost"} {
			b.set(id, 2, 1)
			if err := s.Candidate(id); err != nil {
				t.Fatal(err)
			}
		}
		if st := s.Status(); st.Suspect != 2 {
			t.Errorf("at first: %+v", st)
		}
		for i := range 100 {
			b.set("hot", i+3, i+2) // the replication is always one change behind
			if err := s.Record("lane", "hot", time.Now()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(200 * time.Millisecond)
		}
		if st := s.Status(); st.Suspect != 1 || st.Open != 2 {
			t.Errorf("while it changes: %+v", st)
		}
		time.Sleep(SuspectAfter + time.Second)
		if st := s.Status(); st.Suspect != 2 {
			t.Errorf("when it changes no more, and differs: %+v", st)
		}
	})
}
