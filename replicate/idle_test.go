package replicate

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/call"

	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

func TestNotIdleWhileReadsFail(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"throttled": errLimit, "500": errServer} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := newFake(f)
			s.add("a", "")
			var mu sync.Mutex
			var failing time.Time // since when; after one read that found nothing
			reads := 0
			s.before = func(_ context.Context, op, _ string) error {
				mu.Lock()
				defer mu.Unlock()
				if op != "GetRecords" {
					return nil
				}
				reads++
				switch {
				case reads == 1:
					return nil
				case failing.IsZero():
					failing = time.Now()
					s.put("a", "k", "1")
					return fault
				case time.Since(failing) < 3*testIdle:
					return fault
				}
				return nil
			}
			f.run(s.options())
			f.wantSame()
		})
	}
}

// A read that hangs is no sign of an empty shard, nor is the time that it takes.
func TestNotIdleWhileAReadHangs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	reads := 0
	s.before = func(ctx context.Context, op, _ string) error {
		if op != "GetRecords" {
			return nil
		}
		if reads++; reads == 2 {
			// The shards are listed four times in UntilIdle, and each time it may be found to be over.
			listings := s.listings()
			if !until(ctx, func() bool { return s.listings() > listings+10 }) {
				t.Error("the run has ended while a read was under way")
			}
			s.put("a", "k", "1")
		}
		return nil
	}
	f.run(s.options())
	f.wantSame()
}

func TestNotIdleWhileAChildIsUnread(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.close("a")
	s.add("b", "a")
	s.put("b", "k", "1")
	var failing atomic.Pointer[time.Time]
	s.before = func(_ context.Context, op, shard string) error {
		if op != "GetShardIterator" || shard != "b" {
			return nil
		}
		now := time.Now()
		failing.CompareAndSwap(nil, &now)
		if time.Since(*failing.Load()) < 3*testIdle {
			return errLimit
		}
		return nil
	}
	f.run(s.options())
	f.wantSame()
}

// Idle means that nothing has come for the whole of the time, not that nothing comes now and then.
func TestNotIdleWhileRecordsTrickle(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	last, made := time.Now(), 0
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetRecords" && made < 5 && time.Since(last) > testIdle/2 {
			made++
			s.put("a", fmt.Sprint(made), "1")
			last = time.Now()
		}
		return nil
	}
	if result := f.run(s.options()); result.Records != 5 {
		t.Errorf("result is %+v, want all 5 records", result)
	}
}

// A child that must wait is unread, however long nothing comes from its parent.
func TestNotIdleWhileAChildWaits(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.add("b", "a")
	s.put("b", "k", "1")
	s.before = func(_ context.Context, op, _ string) error {
		if op == "DescribeStream" && s.listings() == 12 { // four are made in UntilIdle
			s.close("a")
		}
		return nil
	}
	f.run(s.options())
	f.wantSame()
}

// A child may be listed only some time after its parent has ended.
func TestNotIdleBeforeAChildMayBeListed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.close("a")
	s.add("b", "a")
	s.put("b", "k", "1")
	s.change("b", func(shard *fakeShard) { shard.hidden = true })
	s.before = func(_ context.Context, op, _ string) error {
		if op == "DescribeStream" && s.listings() == 4 {
			s.change("b", func(shard *fakeShard) { shard.hidden = false })
		}
		return nil
	}
	o := s.options()
	o.UntilIdle = longIdle
	f.run(o)
	f.wantSame()
}

// A shard that ends after the shards were listed has a child that the listing can't show.
func TestNotIdleByAListingFromBefore(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	o := s.withCheckpoint()
	var started atomic.Pointer[time.Time] // when a was read first
	var ended atomic.Bool
	s.before = func(_ context.Context, op, shard string) error {
		if op == "GetRecords" && shard == "a" && !ended.Load() {
			now := time.Now()
			started.CompareAndSwap(nil, &now)
			return errLimit
		}
		return nil
	}
	s.after = func(ctx context.Context, op, _ string) {
		start := started.Load()
		if op != "DescribeStream" || start == nil || time.Since(*start) < 2*o.UntilIdle || ended.Load() {
			return
		}
		// The answer is made and shows an open shard. Now let it be read to its end, and a child begin.
		s.close("a")
		ended.Store(true)
		if !until(ctx, func() bool { return strings.Contains(string(mustRead(t, o.Checkpoint)), `"drained":true`) }) {
			t.Error("the shard was not drained")
		}
		s.add("b", "a")
		if _, err := f.db.PutItem(ctx, putInput(f.source, "k")); err != nil {
			t.Error(err)
		}
		s.record("b", streamtypes.OperationTypeInsert, "k", "1")
	}
	f.run(o)
	f.wantSame()
}

// A run that was killed may have had a write under way, of which its checkpoint tells nothing: the next one isn't done before that one
// can't be carried out any more. After a run that ended there is nothing to wait for.
func TestNotIdleSoonAfterAKill(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		m, s := newMemory(), newFake(nil)
		s.add("a", "")
		s.modified("a", "k", "1")
		o := m.options(s)
		o.UntilIdle, o.Checkpoint = time.Second, filepath.Join(t.TempDir(), "c")
		run := func(restart bool) time.Duration {
			t.Helper()
			start := time.Now()
			o.Restart = restart
			if _, err := Run(t.Context(), o); err != nil {
				t.Fatal(err)
			}
			return time.Since(start)
		}
		lifetime := (call.Policy{}).Lifetime()
		if spent := run(false) + run(false) + run(true); spent >= lifetime {
			t.Errorf("three runs that ended took %s", spent)
		}
		for _, restart := range []bool{false, true} {
			changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) { c.Quiet = false }) // as it is while a run goes on
			if spent := run(restart); spent < lifetime {
				t.Errorf("after a kill (restart %v) it was done in %s", restart, spent)
			}
		}
	})
}
