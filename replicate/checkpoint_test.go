package replicate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/stream"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func readCheckpoint(t *testing.T, path string) checkpointFile {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var file checkpointFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatalf("checkpoint %s: %v", data, err)
	}
	return file
}

// changeCheckpoint rewrites the file.
func changeCheckpoint(t *testing.T, path string, with func(*checkpointFile)) {
	t.Helper()
	file := readCheckpoint(t, path)
	with(&file)
	data, err := json.Marshal(file)
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestResumeGoesOnAfterTheLastRecordApplied(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.withCheckpoint()
	f.put("id", "a", "v", "1")
	f.put("id", "b", "v", "1")
	if result := f.run(o); result.Resumed {
		t.Error("the first run says that it resumed")
	}
	info, err := os.Stat(o.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the checkpoint's mode is %v", info.Mode())
	}
	f.put("id", "b", "v", "2")
	f.del("a")
	result := f.run(o)
	f.wantSame()
	if want := (Counts{Records: 2, Puts: 1, Deletes: 1}); result.Counts != want || !result.Resumed {
		t.Errorf("result of the second run is %+v", result)
	}
	if names, err := os.ReadDir(filepath.Dir(o.Checkpoint)); err != nil || len(names) != 1 {
		t.Errorf("the folder holds %v (%v), want the checkpoint alone", names, err)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.withCheckpoint()
	f.put("id", "a", "v", "1")
	f.run(o)
	testkit.Delete(t, f.db, f.target, testkit.Item("id", "a"))
	o.Restart = true
	if result := f.run(o); result.Records != 1 || result.Resumed {
		t.Errorf("result is %+v, want one that starts over", result)
	}
	f.wantSame()
	if err := os.WriteFile(o.Checkpoint, []byte("something else"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.policy.Timeout = 5 * time.Second
	f.run(o)
	if file := readCheckpoint(t, o.Checkpoint); file.Format != checkpointFormat || len(file.Shards) != 1 {
		t.Errorf("checkpoint is %+v", file)
	}
}

// Starting over writes over no file of another job: nothing else knows how far that is, or which writes it had under way.
func TestRestartOverAnotherJob(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.withCheckpoint()
	f.run(o)
	good, err := os.ReadFile(o.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	o.Restart = true
	for name, data := range map[string]string{
		"a seed": `{"format":"reseal seed checkpoint 3","source":{}}`,
		"a log":  "reseal checkpoint log 1\n",
		"target": strings.Replace(string(good), f.target, "other", 1),
		"source": strings.Replace(string(good), f.source, "other", 1),
	} {
		if err := os.WriteFile(o.Checkpoint, []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.refusal(o, "give another --checkpoint"); strings.Contains(err.Error(), "--restart") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func (f *fixture) wantRefused(o Options, words string) {
	f.t.Helper()
	_ = f.refusal(o, words) // all that is wanted of it is checked there
}

// refusal runs and checks that it refuses, with these words, and that neither the file nor the target is touched.
func (f *fixture) refusal(o Options, words string) error {
	f.t.Helper()
	before, _ := os.ReadFile(o.Checkpoint)              // or there is none, before and after
	proxy := testkit.NewProxy(f.t, testkit.Engine(f.t)) // one that no late request of an earlier run comes through
	through := testkit.Client(proxy.URL)
	o.Source, o.Streams, o.Target = through, testkit.Streams(proxy.URL), through
	result, err := Run(limited(f.t), o)
	if !refuse.Is(err) || !strings.Contains(err.Error(), words) {
		f.t.Errorf("error is %v, want a refusal with %q", err, words)
	}
	if result != (Result{}) {
		f.t.Errorf("result is %+v", result)
	}
	if after, _ := os.ReadFile(o.Checkpoint); !bytes.Equal(before, after) {
		f.t.Errorf("the checkpoint was %s, is %s", before, after)
	}
	if proxy.Count("GetRecords") != 0 || proxy.Count("BatchWriteItem") != 0 {
		f.t.Error("something was read or written")
	}
	return err
}

func TestCheckpointThatDoesNotFit(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.withCheckpoint()
	f.put("id", "a", "v", "1")
	f.run(o)
	good, err := os.ReadFile(o.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	changed := func(with func(*checkpointFile)) []byte {
		changeCheckpoint(t, o.Checkpoint, with)
		data, err := os.ReadFile(o.Checkpoint)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	long := time.Now().Add(-25 * time.Hour)
	for _, test := range []struct {
		name  string
		data  []byte
		words string
		is    error
	}{
		{name: "torn", data: good[:len(good)/2], words: "damaged"},
		{name: "empty", data: nil, words: "damaged"},
		{name: "followed", data: append(slices.Clone(good), '}'), words: "damaged"},
		{name: "two", data: append(slices.Clone(good), good...), words: "damaged"},
		{name: "unknown field", data: bytes.Replace(good, []byte(`{"format"`), []byte(`{"more":1,"format"`), 1), words: "damaged"},
		{name: "format", data: changed(func(c *checkpointFile) { c.Format = "reseal seed checkpoint 1" }), words: "damaged"},
		{name: "source", data: changed(func(c *checkpointFile) { c.Format = checkpointFormat; c.Source.ID += "x" }), words: "other tables"},
		{name: "target", data: bytes.Replace(good, []byte(f.target), []byte("other"), 1), words: "other tables"},
		{name: "stream", data: bytes.Replace(good, []byte(`"stream":"`), []byte(`"stream":"x`), 1), words: "stream that was since disabled"},
	} {
		if bytes.Equal(test.data, good) {
			t.Fatalf("%s: the checkpoint was not changed", test.name)
		}
		if err := os.WriteFile(o.Checkpoint, test.data, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := f.refusal(o, test.words); !strings.Contains(err.Error(), "--restart") && !strings.Contains(err.Error(), "give another --checkpoint") {
			t.Errorf("%s: %v says no remedy", test.name, err)
		}
	}
	// Not read for longer than the stream keeps its records: the only shard, or a drained one whose children are not known.
	for _, shard := range []stream.Position{{Sequence: "1", ReadAt: long}, {ReadAt: long}, {Drained: true, ReadAt: long}} {
		if err := os.WriteFile(o.Checkpoint, good, 0o600); err != nil {
			t.Fatal(err)
		}
		changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) {
			c.Started = long
			for id := range c.Shards {
				c.Shards[id] = shard
			}
		})
		wantIs(t, f.refusal(o, "reaches back too far"), ErrTrimmed)
	}
	// One shard of several.
	changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) {
		c.Shards["read lately"], c.Shards["not read"] = stream.Position{ReadAt: time.Now()}, stream.Position{ReadAt: long}
	})
	wantIs(t, f.refusal(o, "position in shard not read is"), ErrTrimmed)
	// Not all that long ago.
	changeCheckpoint(t, o.Checkpoint, func(c *checkpointFile) {
		delete(c.Shards, "read lately")
		delete(c.Shards, "not read")
		for id := range c.Shards {
			c.Shards[id] = stream.Position{ReadAt: time.Now().Add(-23 * time.Hour)}
		}
		c.Shards["drained and trimmed long ago"] = stream.Position{Drained: true, ReadAt: time.Now().Add(-49 * time.Hour)}
	})
	f.run(o)
	f.wantSame()
	if file := readCheckpoint(t, o.Checkpoint); len(file.Shards) != 1 {
		t.Errorf("the checkpoint still has %v", file.Shards)
	}
}

// Two replications must not share a file: each would save its own position over the other's.
func TestCheckpointIsKeptToOneRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	o := s.withCheckpoint()
	o.UntilIdle = 0
	ctx, cancel := context.WithCancel(limited(t))
	wait := f.background(ctx, o)
	eventually(ctx, t, "reading", func() bool { return len(s.made("GetRecords a")) > 1 })
	for _, restart := range []bool{false, true} {
		second := f.options()
		second.Checkpoint, second.Restart = o.Checkpoint, restart
		if _, err := Run(limited(t), second); !refuse.Is(err) || !strings.Contains(err.Error(), "another replication is using") {
			t.Errorf("restart %t: error is %v", restart, err)
		}
	}
	cancel()
	if _, err := wait(); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	o.UntilIdle = testIdle
	f.run(o)
}

func TestCheckpointThatCanNotBeRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.options()
	o.Checkpoint = t.TempDir() // a folder
	f.wantRefused(o, "can't be read")
	o.Checkpoint = filepath.Join(o.Checkpoint, "no such folder", "checkpoint")
	f.wantRefused(o, "can't be written")
}

func TestCheckpointOfAnEarlierStream(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.withCheckpoint()
	f.run(o)
	_, err := f.db.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{
		TableName: &f.source, StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(false)},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.put("id", "a", "v", "in neither stream")
	testkit.EnableStream(t, f.db, f.source, types.StreamViewTypeNewImage)
	f.wantRefused(o, "seed again")
}

// What can't be saved in the end is no success.
func TestSaveThatFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.withCheckpoint()
	f.put("id", "a", "v", "1")
	var removed atomic.Bool
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "GetRecords" && !removed.Swap(true) {
			if err := os.RemoveAll(filepath.Dir(o.Checkpoint)); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	if _, err := Run(limited(t), o); err == nil || !strings.Contains(err.Error(), "write checkpoint") {
		t.Errorf("error is %v", err)
	}
}

// The checkpoint is never ahead of what was applied: neither the file as a killed process leaves it, nor the one that is saved
// when Run is cancelled, skips a write that was still under way.
func TestKilledDuringAWrite(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.limit = 2
	s.add("a", "")
	s.put("a", "k", "1")
	s.put("a", "j", "1")
	s.put("a", "k", "2")
	s.put("a", "j", "2")
	o := s.withCheckpoint()
	o.UntilIdle = 0
	ctx, cancel := context.WithCancel(limited(t))
	killed := filepath.Join(t.TempDir(), "copy")
	var writes atomic.Int64
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchWriteItem" || writes.Add(1) != 2 {
			return nil
		}
		// The first batch gets into the file by itself, while the second is held back.
		if !until(x.Ctx, func() bool { return bytes.Contains(mustRead(t, o.Checkpoint), []byte(`"sequence"`)) }) {
			t.Error("the checkpoint isn't saved while a write is under way")
		}
		if err := os.WriteFile(killed, mustRead(t, o.Checkpoint), 0o600); err != nil {
			t.Error(err)
		}
		cancel()
		return testkit.Throttle(x.Op)
	})
	result, err := f.background(ctx, o)()
	wantIs(t, err, context.Canceled)
	if result.Records != 2 {
		t.Errorf("result is %+v", result)
	}
	for _, path := range []string{killed, o.Checkpoint} {
		if got, want := readCheckpoint(t, path).Shards["a"].Sequence, *s.shards[0].records[1].Dynamodb.SequenceNumber; got != want {
			t.Errorf("%s is at %s, want %s", path, got, want)
		}
	}
	f.wantTarget("k", "1")
	resumed := s.options()
	resumed.Checkpoint, resumed.policy.Timeout = killed, 5*time.Second // it waits for writes of the first one
	if result := f.run(resumed); result.Records != 2 || !result.Resumed {
		t.Errorf("result of the second run is %+v", result)
	}
	f.wantSame()
}

// mustRead may be called from any goroutine.
func mustRead(t *testing.T, path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	return data
}

// A part of an answer that was applied counts, up to the first record that was not.
func TestCheckpointAfterAPartialFailure(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.fill("a", 30)
	refuseKey(f, denied, "a-27")
	o := s.withCheckpoint()
	_, err := Run(limited(t), o)
	var unapplied *Unapplied
	if !errors.As(err, &unapplied) {
		t.Fatalf("error is %v", err)
	}
	records := s.shards[0].records
	if want := *records[24].Dynamodb.SequenceNumber; readCheckpoint(t, o.Checkpoint).Shards["a"].Sequence != want {
		t.Errorf("checkpoint is %+v, want sequence %s", readCheckpoint(t, o.Checkpoint), want)
	}
	f.proxy.Use(nil)
	if result := f.run(o); result.Records != 5 {
		t.Errorf("result of the second run is %+v", result)
	}
	f.wantSame()
}

func TestResumeWithoutASequenceStartsWithTheOldest(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	o := s.withCheckpoint()
	o.From = FromLatest
	f.run(o)
	s.put("a", "k", "made between the runs")
	f.run(o)
	f.wantSame()
	if got, want := s.made("GetShardIterator"), []string{"GetShardIterator a LATEST", "GetShardIterator a TRIM_HORIZON"}; !slices.Equal(got, want) {
		t.Errorf("iterators: %v, want %v", got, want)
	}
}

func TestShardThatIsGoneOnResume(t *testing.T) {
	t.Parallel()
	for _, records := range []int{0, 1} {
		f := newFixture(t)
		s := newFake(f)
		s.add("a", "")
		s.fill("a", records)
		o := s.withCheckpoint()
		f.run(o)
		// While nobody looked, a was split and trimmed; nothing may be read as if it followed on what was applied.
		s.fill("a", records+1)
		s.close("a")
		s.change("a", func(shard *fakeShard) { shard.hidden, shard.gone = true, true })
		s.add("b", "a")
		s.put("b", "k", "1")
		_, err := Run(limited(t), o)
		wantIs(t, err, ErrTrimmed)
		f.wantTarget("k", "")
	}
}

// A shard is in the checkpoint from when it is begun, so that it is missed even if no read of it has succeeded.
func TestShardThatWasNeverRead(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	o := s.withCheckpoint()
	ctx, cancel := context.WithCancel(limited(t))
	s.before = func(_ context.Context, op, _ string) error {
		if op == "GetShardIterator" {
			cancel()
		}
		return nil
	}
	_, err := Run(ctx, o)
	wantIs(t, err, context.Canceled)
	s.before = nil
	s.change("a", func(shard *fakeShard) { shard.hidden, shard.gone = true, true })
	_, err = Run(limited(t), o)
	wantIs(t, err, ErrTrimmed)
}

// DescribeStream is eventually consistent.
func TestShardThatIsNotListedForAMoment(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.put("a", "k", "1")
	o := s.withCheckpoint()
	f.run(o)
	s.put("a", "k", "2")
	s.change("a", func(shard *fakeShard) { shard.hidden = true })
	listed := s.listings()
	s.before = func(_ context.Context, op, _ string) error {
		if op == "DescribeStream" && s.listings() == listed+3 {
			s.change("a", func(shard *fakeShard) { shard.hidden = false })
		}
		return nil
	}
	f.run(o)
	f.wantSame()
}
