package replicate

import (
	"context"
	"slices"
	"testing"
	"time"

	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// An answer of DescribeStream may lack a shard that the next one has.
func TestParentThatIsNotListedForAMoment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("p", "")
	s.add("c", "p")
	s.put("p", "only in the parent", "1")
	s.put("p", "k", "1")
	s.put("c", "k", "2")
	s.close("p")
	s.change("p", func(shard *fakeShard) { shard.hidden = true })
	s.after = func(_ context.Context, op, _ string) {
		if op == "DescribeStream" && s.listings() == 2 {
			s.change("p", func(shard *fakeShard) { shard.hidden = false })
		}
	}
	if result := f.run(s.options()); result.Records != 3 {
		t.Errorf("result is %+v, want each record once", result)
	}
	f.wantSame()
	if begun := s.begun(); !slices.Equal(begun, []string{"p", "c"}) {
		t.Errorf("shards read: %v", begun)
	}
}

// A parent that is listed only after its child was begun is read first all the same, and the child again after it.
func TestParentListedAfterItsChildWasBegun(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		closed bool // the child, which has a child of its own then
	}{{"child is being read", false}, {"child is drained", true}} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := newFake(f)
			s.add("grandparent", "trimmed")
			s.add("parent", "grandparent")
			s.add("child", "parent")
			s.put("grandparent", "only there", "1")
			s.put("grandparent", "k", "oldest")
			s.put("parent", "k", "old")
			s.put("child", "k", "new")
			s.put("child", "gone", "1")
			s.del("child", "gone")
			last := "child"
			if test.closed {
				last = "grandchild"
				s.close("child")
				s.add("grandchild", "child")
				s.put("grandchild", "j", "1")
			}
			s.close("grandparent", "parent")
			hide := func(hidden bool) {
				for _, id := range []string{"grandparent", "parent"} {
					s.change(id, func(shard *fakeShard) { shard.hidden = hidden })
				}
			}
			hide(true)
			shown := false
			s.before = func(_ context.Context, op, _ string) error {
				if op == "DescribeStream" && !shown && len(s.made("GetRecords "+last)) > 2 { // it is applied
					shown = true
					hide(false)
				}
				return nil
			}
			o := s.withCheckpoint()
			f.run(o)
			f.wantSame()
			f.wantTarget("k", "new")
			if !shown {
				t.Error("this test tests nothing")
			}
			s.before = nil
			if result := f.run(o); result.Records != 0 {
				t.Errorf("a later run applied %d records again", result.Records)
			}
		})
	}
}

// Killed between the discovery of a late parent and its first record, the next run goes on with that: the child waits, and is read
// again.
func TestLateParentAfterAKill(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("p", "")
	s.add("c", "p")
	s.put("p", "k", "old")
	s.put("p", "only in the parent", "1")
	s.put("c", "k", "new")
	s.close("p")
	s.change("p", func(shard *fakeShard) { shard.hidden = true })
	o := s.withCheckpoint()
	f.run(o)
	s.change("p", func(shard *fakeShard) { shard.hidden = false })
	ctx, cancel := context.WithCancel(limited(t))
	s.before = func(_ context.Context, op, shard string) error {
		if op == "GetRecords" && shard == "p" {
			cancel()
		}
		return nil
	}
	_, err := Run(ctx, o)
	wantIs(t, err, context.Canceled)
	if at := readCheckpoint(t, o.Checkpoint).Shards; !at["p"].Late || at["p"].Drained || at["c"].Sequence == "" {
		t.Fatalf("the checkpoint is at %+v", at)
	}
	s.before = nil
	f.run(o)
	f.wantSame()
	f.wantTarget("k", "new")
}

// A late parent of which nothing is left takes nobody back.
func TestLateParentThatIsTrimmed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("p", "")
	s.add("c", "p")
	s.record("p", streamtypes.OperationTypeModify, "k", "old")
	s.put("c", "k", "new")
	s.close("p")
	s.change("p", func(shard *fakeShard) { shard.hidden, shard.gone = true, true })
	o := s.withCheckpoint()
	f.run(o)
	s.change("p", func(shard *fakeShard) { shard.hidden = false })
	if result := f.run(o); result.Records != 0 {
		t.Errorf("result is %+v", result)
	}
	f.wantSame()
}

// A shard whose parent was never listed and is gone, after a day of replication: the parent held changes that are needed.
func TestUnknownParentThatIsGoneLater(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	o := s.withCheckpoint()
	f.run(o)
	changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) { c.Started = time.Now().Add(-25 * time.Hour) })
	s.close("a")
	s.add("c", "b") // and b came after a
	s.put("c", "k", "2")
	_, err := Run(limited(t), o)
	wantIs(t, err, ErrTrimmed)
}

// A parent that is listed a little later than its child is waited for, where its loss would end the replication.
func TestUnknownParentThatIsListedLaterOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	o := s.withCheckpoint()
	f.run(o)
	changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) { c.Started = time.Now().Add(-25 * time.Hour) })
	s.close("a")
	s.add("b", "a")
	s.put("b", "k", "2")
	s.close("b")
	s.add("c", "b")
	s.put("c", "k", "3")
	s.change("b", func(shard *fakeShard) { shard.hidden = true })
	before := s.listings()
	s.before = func(_ context.Context, op, _ string) error {
		if op == "DescribeStream" && s.listings() > before+15 {
			s.change("b", func(shard *fakeShard) { shard.hidden = false })
		}
		return nil
	}
	if result := f.run(o); result.Records != 2 {
		t.Errorf("result is %+v", result)
	}
	f.wantSame()
}

// A shard that an earlier run has begun is read on though no listing has it any more: what is gone, its reader learns from the service.
func TestBegunShardThatIsNoLongerListed(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	o := s.withCheckpoint()
	f.run(o)
	s.put("a", "k", "2")
	s.change("a", func(shard *fakeShard) { shard.hidden = true })
	if result := f.run(o); result.Records != 1 {
		t.Errorf("result is %+v", result)
	}
	f.wantSame()
	s.change("a", func(shard *fakeShard) { shard.gone = true })
	_, err := Run(limited(t), o)
	wantIs(t, err, ErrTrimmed)
}

// A shard without a record, listed late, shows that another one comes before those that were begun: they are read again, too.
func TestLateEmptyShardBelowOneThatIsReadLater(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("grandparent", "")
	s.add("parent", "grandparent")
	s.add("child", "parent")
	s.put("grandparent", "k", "old")
	s.put("child", "k", "new")
	s.close("grandparent", "parent")
	s.change("parent", func(shard *fakeShard) { shard.hidden = true })
	shown := false
	s.before = func(_ context.Context, op, shard string) error {
		switch {
		case op == "GetRecords" && shard == "grandparent" && len(s.made("GetRecords child")) < 3: // it is not applied yet
			return errLimit
		case op == "DescribeStream" && !shown && len(s.made("GetRecords grandparent")) > 0 && len(s.made("GetRecords child")) > 3:
			shown = true
			s.change("parent", func(shard *fakeShard) { shard.hidden = false })
		}
		return nil
	}
	f.run(s.options())
	f.wantSame()
	f.wantTarget("k", "new")
	if !shown {
		t.Error("this test tests nothing")
	}
}
