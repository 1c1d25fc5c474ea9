package replicate

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/test/testkit"

	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// begun returns the shards of which an iterator was asked for, in that order, each once.
func (s *fakeStream) begun() []string {
	var list []string
	for _, call := range s.made("GetShardIterator ") {
		var shard, kind string
		if _, err := fmt.Sscanf(call, "GetShardIterator %s %s", &shard, &kind); err != nil {
			s.f.t.Fatal(err)
		}
		if !slices.Contains(list, shard) {
			list = append(list, shard)
		}
	}
	return list
}

func TestChildWaitsUntilParentIsApplied(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.add("b", "a")
	s.add("c", "b")
	s.put("a", "k", "1")
	s.put("b", "k", "2")
	s.del("b", "j")
	s.put("c", "k", "3")
	s.close("a", "b")

	// The first write is held back until the shards were listed three times more: time enough to start the child too early.
	o := s.options()
	held := atomic.Bool{}
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" && !held.Swap(true) {
			if !until(x.Ctx, func() bool { return s.listings() > 4 }) {
				t.Error("the shards are not listed while a write is under way")
			}
			if begun := s.begun(); !slices.Equal(begun, []string{"a"}) {
				t.Errorf("while shard a is being applied, these are read: %v", begun)
			}
		}
		return nil
	})
	var mu sync.Mutex
	seen := map[string]string{} // what the target held when a shard was asked for first
	s.before = func(_ context.Context, op, shard string) error {
		mu.Lock()
		defer mu.Unlock()
		if _, is := seen[shard]; !is && op == "GetShardIterator" {
			seen[shard] = f.valueInTarget("k")
		}
		return nil
	}
	result := f.run(o)
	f.wantSame()
	if want := map[string]string{"a": "", "b": "1", "c": "2"}; fmt.Sprint(seen) != fmt.Sprint(want) {
		t.Errorf("when a shard was begun, the target held %v, want %v", seen, want)
	}
	if result.Records != 4 || result.Puts != 3 || result.Deletes != 1 || result.Coalesced != 0 {
		t.Errorf("result is %+v", result)
	}
}

// A parent that is being read is waited for even when it is no longer listed.
func TestChildWaitsForAnUnlistedParent(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	s.close("a")
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchWriteItem" || f.proxy.Count(x.Op) > 1 {
			return nil
		}
		s.add("b", "a")
		s.change("a", func(shard *fakeShard) { shard.hidden = true })
		s.record("b", streamtypes.OperationTypeModify, "k", "2")
		listings := s.listings()
		if !until(x.Ctx, func() bool { return s.listings() > listings+3 }) {
			t.Error("the shards are not listed while a write is under way")
		}
		if begun := s.begun(); !slices.Equal(begun, []string{"a"}) {
			t.Errorf("while shard a is being applied, these are read: %v", begun)
		}
		return nil
	})
	f.run(s.options())
	f.wantTarget("k", "2")
}

func TestChildOfUnlistedParentStarts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("child", "trimmed-long-ago")
	s.put("child", "k", "1")
	f.run(s.options())
	f.wantTarget("k", "1")
}

func TestShardThatSplitsWhileRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.fill("a", 30)
	s.put("a", "k", "1")
	reads := 0
	s.before = func(_ context.Context, op, shard string) error {
		if op != "GetRecords" || shard != "a" {
			return nil
		}
		if reads++; reads == 3 { // it has been read to its end by now
			s.put("a", "k", "2")
			s.close("a")
			s.add("b", "a")
			s.add("c", "a")
			s.put("b", "k", "3")
			s.put("c", "j", "1")
		}
		return nil
	}
	f.run(s.options())
	f.wantSame()
	f.wantTarget("k", "3")
}

func TestManyShardsOnSeveralPages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	const roots = 125
	for i := range roots {
		s.add(fmt.Sprintf("root-%03d", i), "")
	}
	for i := range roots {
		s.add(fmt.Sprintf("child-%03d", i), fmt.Sprintf("root-%03d", i))
	}
	for i := range roots {
		root, child := fmt.Sprintf("root-%03d", i), fmt.Sprintf("child-%03d", i)
		s.put(root, fmt.Sprint(i), "old")
		s.put(child, fmt.Sprint(i), "new")
		s.close(root)
	}
	o := s.options()
	o.UntilIdle = longIdle / 2
	var most atomic.Int64
	o.Progress = func(p Progress) { most.Store(max(most.Load(), int64(p.ActiveShards))) }
	result := f.run(o)
	f.wantSame()
	if result.Records != 2*roots || result.Puts != 2*roots {
		t.Errorf("result is %+v", result)
	}
	if pages, listings := len(s.made("Page")), s.listings(); pages != 2*listings {
		t.Errorf("%d listings of 250 shards took %d further pages, want 2 each", listings, pages)
	}
	if most.Load() != roots {
		t.Errorf("progress told of up to %d active shards, want %d", most.Load(), roots)
	}
}

func TestEmptyPageIsNotTheLast(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.page = 1
	for _, id := range []string{"a", "b", "c"} {
		s.add(id, "")
		s.put(id, id, "1")
	}
	s.change("b", func(shard *fakeShard) { shard.hidden = true; shard.records = nil })
	f.run(s.options())
	f.wantTarget("a", "1")
	f.wantTarget("c", "1")
}

func TestEmptyClosedShard(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.close("a")
	s.add("b", "a")
	s.put("b", "k", "1")
	f.run(s.options())
	f.wantSame()
}

// An answer without records is no end: "it might take multiple calls to get to a portion of the shard that contains records".
func TestEmptyAnswersBeforeRecords(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	reads := 0
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetRecords" {
			if reads++; reads == 4 {
				s.put("a", "k", "1")
				s.close("a")
			}
		}
		return nil
	}
	o := s.options()
	o.UntilIdle = longIdle
	f.run(o)
	f.wantSame()
}

func TestDrainedShardThatFlickersIsNotReadAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.add("b", "a")
	s.put("a", "k", "old")
	s.close("a")
	s.put("b", "k", "new")
	o := s.withCheckpoint()
	f.run(o)
	s.change("a", func(shard *fakeShard) { shard.hidden = true })
	f.run(o)
	s.change("a", func(shard *fakeShard) { shard.hidden = false })
	before := len(s.made("GetRecords a"))
	f.run(o)
	f.wantTarget("k", "new")
	if again := len(s.made("GetRecords a")) - before; again != 0 {
		t.Errorf("the drained shard was read %d times again", again)
	}
}

func TestFromLatest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	// Only what is put into the source by put is expected in the target; the old records are in the stream alone.
	s.add("a", "")
	s.add("b", "a")
	s.add("c", "b")
	for _, shard := range []string{"a", "b", "c"} {
		s.record(shard, streamtypes.OperationTypeModify, "old-"+shard, "x")
	}
	s.close("a", "b")
	reads := 0
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetRecords" {
			if reads++; reads == 2 {
				s.put("c", "k", "1")
				s.close("c")
				s.add("d", "c")
				s.put("d", "k", "2")
			}
		}
		return nil
	}
	o := s.options()
	o.From = FromLatest
	f.run(o)
	f.wantSame()
	if got, want := s.made("GetShardIterator"), []string{"GetShardIterator c LATEST", "GetShardIterator d AT_SEQUENCE_NUMBER"}; !slices.Equal(got, want) {
		t.Errorf("iterators: %v, want %v", got, want)
	}
}

func TestLatestIteratorThatExpires(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	first := true
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetRecords" && first {
			first = false
			s.put("a", "k", "made while nobody could read")
			return errExpired
		}
		return nil
	}
	o := s.options()
	o.From = FromLatest
	f.run(o)
	f.wantSame()
}

func TestErrorOfOneShardEndsAll(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.add("b", "")
	s.put("a", "k", "1")
	s.before = func(_ context.Context, op, shard string) error {
		if op == "GetRecords" && shard == "b" {
			return errDenied
		}
		return nil
	}
	o := s.options()
	o.UntilIdle = 0
	if _, err := Run(limited(t), o); err == nil || errorCode(err) != "AccessDeniedException" {
		t.Errorf("error is %v, want that of shard b", err)
	}
}

func TestDisabledStream(t *testing.T) {
	t.Parallel()
	for _, idle := range []time.Duration{0, testIdle} {
		t.Run(idle.String(), func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s := newFake(f)
			s.add("a", "")
			s.put("a", "k", "1")
			s.close("a")
			s.disable()
			o := s.options()
			o.UntilIdle = idle
			_, err := Run(limited(t), o)
			wantIs(t, err, ErrDisabled)
			f.wantSame()
		})
	}
}

func TestStreamThatIsGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.before = func(_ context.Context, op, _ string) error {
		if op == "DescribeStream" && s.listings() > 1 {
			return errGone
		}
		return nil
	}
	o := s.options()
	o.UntilIdle = longIdle
	_, err := Run(limited(t), o)
	wantIs(t, err, ErrDisabled)
}

// One answer that there is no such stream ends nothing: the service has to say so several times, at the start and later.
func TestStreamThatSeemsGone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	s.before = func(_ context.Context, op, _ string) error {
		if n := s.listings(); op == "DescribeStream" && (n == 1 || n == 3 || n == 4) {
			return errGone
		}
		return nil
	}
	if _, err := Run(limited(t), s.options()); err != nil {
		t.Fatal(err)
	}
	if n := s.listings(); n < 5 {
		t.Errorf("listed %d times: this test tests nothing", n)
	}
	f.wantSame()
}
