package seed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"
	"reseal/seed"
)

func readFile(path string) ([]byte, error) { return os.ReadFile(path) }

// large makes items of which a Scan page holds few, so that segments have several pages.
func large(n int) []attrs {
	items := numbered(n)
	for _, item := range items {
		for name, value := range testkit.Item("fill", strings.Repeat("x", 50_000)) {
			item[name] = value
		}
	}
	return items
}

// stopAt is a hook that calls stop when the n-th batch is about to be written, and lets it be written.
func stopAt(n int64) func(stop func()) testkit.Hook {
	return func(stop func()) testkit.Hook {
		var calls atomic.Int64
		return func(x *testkit.Exchange) *testkit.Response {
			if x.Op == "BatchWriteItem" && calls.Add(1) == n {
				stop()
			}
			return nil
		}
	}
}

func TestStopAndResume(t *testing.T) {
	b := newBench(t, large(200)) // 10 MB: ten pages
	b.options.Segments = 2
	before := b.interrupted(stopAt(60))
	info, err := os.Stat(b.options.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the checkpoint's mode is %o", info.Mode().Perm())
	}
	data, err := readFile(b.options.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("xxxx")) {
		t.Error("the checkpoint holds item contents")
	}
	if !bytes.Contains(data, []byte(`"uncertain":[]`)) || !bytes.Contains(data, []byte(`"writing":null`)) {
		t.Errorf("a clean stop leaves something uncertain: %s", data)
	}
	if before.ItemsWritten == 0 || before.ItemsWritten >= 200 {
		t.Fatalf("interrupted after %d items", before.ItemsWritten)
	}
	if before.ItemsDone >= before.ItemsRead || before.ItemsDone+before.ItemsUnfinished != before.ItemsRead {
		t.Errorf("stopped with %d of %d items done, %d not", before.ItemsDone, before.ItemsRead, before.ItemsUnfinished)
	}
	after := b.run()
	b.mustBeEqual()
	if !after.Resumed || after.ItemsRead >= 200 {
		t.Errorf("resumed: %+v", after)
	}
	// At most one page of each segment is read again.
	if again := before.ItemsRead + after.ItemsRead - 200; again > 2*21 {
		t.Errorf("%d items read twice", again)
	}
}

func TestRestart(t *testing.T) {
	b := newBench(t, large(100))
	b.interrupted(stopAt(2))
	b.options.Restart = true
	if r := b.run(); r.Resumed || r.ItemsRead != 100 {
		t.Errorf("restarted: %+v", r)
	}
	b.mustBeEqual()
}

// Killed between a write and its re-check: the application deletes the item and the replicator has already deleted it on the
// target when the seed's write brings it back. The resumed run's Scan doesn't see the item any more; its checkpoint knows.
func TestKilledAfterResurrection(t *testing.T) {
	b := newBench(t, numbered(10))
	b.options.Segments = 1
	b.options.RequestTimeout = 400 * time.Millisecond
	gone := testkit.Item("k", "key-00003")
	killed := filepath.Join(t.TempDir(), "as killed.json")
	b.interrupted(func(stop func()) testkit.Hook {
		return func(x *testkit.Exchange) *testkit.Response {
			if x.Op != "BatchWriteItem" {
				return nil
			}
			testkit.Delete(t, b.db, b.options.SourceTable, gone)
			testkit.Delete(t, b.db, b.options.TargetTable, gone)
			if _, _, err := x.Forward(); err != nil {
				t.Error(err)
			}
			data, err := readFile(b.options.Checkpoint) // what a process that dies here leaves behind
			if err == nil {
				err = os.WriteFile(killed, data, 0o600)
			}
			if err != nil {
				t.Error(err)
			}
			stop()
			<-x.Ctx.Done() // the answer never arrives
			return &testkit.Response{Cut: true}
		}
	})
	if testkit.Get(t, b.db, b.options.TargetTable, gone) == nil {
		t.Fatal("the item wasn't brought back: this test forces nothing")
	}
	b.options.Checkpoint = killed
	if r := b.run(); !r.Resumed || r.ItemsRewritten != 1 {
		t.Errorf("resumed: %+v", r)
	}
	b.mustBeEqual()
}

// A run that is resumed with a shorter time-out waits for the requests of the run before all the same.
func TestResumeWaitsForOldRequests(t *testing.T) {
	b := newBench(t, numbered(5))
	b.options.RequestTimeout = time.Second
	killed := filepath.Join(t.TempDir(), "as killed.json")
	b.interrupted(func(stop func()) testkit.Hook {
		return func(x *testkit.Exchange) *testkit.Response {
			if x.Op == "BatchWriteItem" {
				if data, err := readFile(b.options.Checkpoint); err != nil || os.WriteFile(killed, data, 0o600) != nil {
					t.Errorf("copy the checkpoint: %v", err)
				}
				stop()
			}
			return nil
		}
	})
	b.options.Checkpoint, b.options.RequestTimeout = killed, 200*time.Millisecond
	start := time.Now()
	b.run()
	b.mustBeEqual()
	if took := time.Since(start); took < 1250*time.Millisecond {
		t.Errorf("settled after %s, while a request may be alive for 1.25 s", took)
	}
}

// Two seeds can't share a checkpoint.
func TestCheckpointInUse(t *testing.T) {
	b := newBench(t, numbered(5))
	b.target.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			if _, err := seed.Run(x.Ctx, b.options); !refuse.Is(err) || !strings.Contains(err.Error(), "another seed is using the checkpoint") {
				t.Errorf("error %v", err)
			}
		}
		return nil
	})
	b.run()
	if b.target.Count("BatchWriteItem") == 0 {
		t.Error("nothing was written: this test forces nothing")
	}
	b.run()
	b.mustBeEqual()
}

// Killed before any of its writes is answered, a seed leaves a file from which a resumed run ends right.
func TestKilledAnywhere(t *testing.T) {
	for n := int64(1); ; n += 7 {
		b := newBench(t, large(44))
		b.options.Segments = 2
		b.options.RequestTimeout = 400 * time.Millisecond
		var calls atomic.Int64
		var killed []byte
		ctx, stop := context.WithCancel(t.Context())
		b.target.Use(func(x *testkit.Exchange) *testkit.Response {
			if x.Op != "BatchWriteItem" {
				return nil
			}
			switch call := calls.Add(1); {
			case call < n:
				return nil
			case call == n:
				var err error
				if killed, err = readFile(b.options.Checkpoint); err != nil {
					t.Error(err)
				}
				stop()
			}
			<-x.Ctx.Done() // nothing is written after the kill
			return &testkit.Response{Cut: true}
		})
		_, err := seed.Run(ctx, b.options)
		stop()
		if err == nil {
			if n < 22 {
				t.Fatalf("a seed of only %d batches", n-1)
			}
			return
		}
		b.target.Use(nil)
		if err := os.WriteFile(b.options.Checkpoint, killed, 0o600); err != nil {
			t.Fatal(err)
		}
		if r := b.run(); !r.Resumed {
			t.Errorf("killed at batch %d: not resumed", n)
		}
		b.mustBeEqual()
	}
}

func TestCheckpointIsRefused(t *testing.T) {
	b := newBench(t, large(60))
	b.interrupted(stopAt(2))
	good, err := readFile(b.options.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	edited := func(edit func(file map[string]any)) []byte { return editedCheckpoint(t, good, edit) }
	writes := b.target.Count("BatchWriteItem")
	const anew, other, elsewhere = "--restart and then verify --repair", "use --restart to start over", "give another --checkpoint"
	for name, c := range map[string]struct {
		data   []byte
		remedy string
	}{
		"torn":           {good[:len(good)/2], anew},
		"empty":          {nil, anew},
		"start lost":     {append(make([]byte, 100), good[100:]...), anew},
		"first bit":      {bytes.Replace(good, []byte("reseal"), []byte("seseal"), 1), anew},
		"one bit":        {bytes.Replace(good, []byte(`"segments":4`), []byte(`"segments":5`), 1), anew},
		"not JSON":       {[]byte("hello"), elsewhere},
		"other JSON":     {[]byte(`{"a":1}`), elsewhere},
		"of replicate":   {[]byte(`{"format":"reseal replicate checkpoint 1"}`), elsewhere},
		"null":           {[]byte("null"), elsewhere},
		"two":            {append(append([]byte{}, good...), good...), anew},
		"another format": {edited(func(f map[string]any) { f["format"] = "reseal seed checkpoint 1" }), anew},
		"another field":  {edited(func(f map[string]any) { f["more"] = 1 }), anew},
		"another source": {edited(func(f map[string]any) {
			f["source"].(map[string]any)["arn"] = "arn:aws:dynamodb:x:000000000000:table/y"
		}), elsewhere},
		"another target": {edited(func(f map[string]any) {
			f["target"].(map[string]any)["arn"] = "arn:aws:dynamodb:x:000000000000:table/y"
		}), elsewhere},
		"source re-made": {edited(func(f map[string]any) { f["source"].(map[string]any)["created"] = "2001-01-01T00:00:00Z" }), "seed again with --restart"},
		"target re-made": {edited(func(f map[string]any) { f["target"].(map[string]any)["id"] = "another" }), other},
		"another stream": {edited(func(f map[string]any) { f["stream"] = "arn:another" }), "seed again with --restart"},
		"no stream":      {edited(func(f map[string]any) { f["stream"] = "" }), "seed again with --restart"},
		"segments":       {edited(func(f map[string]any) { f["segments"] = 7 }), "give --segments 7, or " + other},
		"recheck":        {edited(func(f map[string]any) { f["recheck"] = "off" }), other},
		"done too far":   {edited(func(f map[string]any) { f["done"] = [][]int{{0, 4}} }), anew},
		"done backwards": {edited(func(f map[string]any) { f["done"] = [][]int{{2, 1}} }), anew},
		"negative items": {edited(func(f map[string]any) { f["items"] = -1 }), anew},
		"doubt":          {edited(func(f map[string]any) { f["doubts"] = []string{"more"} }), anew},
		"open too far":   {edited(func(f map[string]any) { f["open"] = map[string]any{"9": map[string]any{"after": "", "writing": nil}} }), anew},
		"open and done": {edited(func(f map[string]any) {
			f["done"], f["open"] = [][]int{{1, 1}}, map[string]any{"1": map[string]any{"after": "", "writing": nil}}
		}), anew},
		"position": {edited(func(f map[string]any) {
			f["done"], f["open"] = nil, map[string]any{"1": map[string]any{"after": "AAAA", "writing": nil}}
		}), anew},
		"uncertain": {edited(func(f map[string]any) { f["uncertain"] = []string{"AAAA"} }), anew},
		"rejected":  {edited(func(f map[string]any) { f["rejected"] = []string{"AAAA"} }), anew},
	} {
		if err := os.WriteFile(b.options.Checkpoint, c.data, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, restart := range []bool{false, true} {
			if restart && c.remedy != elsewhere {
				continue
			}
			o := b.options
			o.Restart = restart
			_, err := seed.Run(t.Context(), o)
			if !refuse.Is(err) || !strings.Contains(err.Error(), c.remedy) || c.remedy == elsewhere && strings.Contains(err.Error(), "--restart") {
				t.Errorf("%s: error %v, want one with %q", name, err, c.remedy)
			}
			if after, _ := readFile(b.options.Checkpoint); !bytes.Equal(after, c.data) {
				t.Errorf("%s: the file was touched", name)
			}
		}
	}
	if b.target.Count("BatchWriteItem") != writes {
		t.Error("something was written")
	}
}

// editedCheckpoint is a checkpoint with something else in it, and the right sum.
func editedCheckpoint(t *testing.T, good []byte, edit func(file map[string]any)) []byte {
	t.Helper()
	var file map[string]any
	if err := json.Unmarshal(good, &file); err != nil {
		t.Fatal(err)
	}
	delete(file, "sum")
	edit(file)
	format, err := json.Marshal(file["format"])
	if err != nil {
		t.Fatal(err)
	}
	delete(file, "format")
	rest, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return seed.Sealed(fmt.Appendf(nil, `{"format":%s,%s`, format, rest[1:])) // the format comes first
}

func TestCheckpointThatCannotBeWritten(t *testing.T) {
	b := newBench(t, numbered(10))
	b.options.Checkpoint = filepath.Join(t.TempDir(), "missing", "file.json")
	if _, err := seed.Run(t.Context(), b.options); !refuse.Is(err) {
		t.Errorf("error %v", err)
	}
	// It can at first, but not later.
	dir := filepath.Join(t.TempDir(), "folder")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.options.Checkpoint = filepath.Join(dir, "file.json")
	b.source.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" {
			_ = os.RemoveAll(dir)
		}
		return nil
	})
	if _, err := seed.Run(t.Context(), b.options); err == nil || refuse.Is(err) || !strings.Contains(err.Error(), "checkpoint") {
		t.Errorf("error %v", err)
	}
	if b.target.Count("BatchWriteItem") != 0 {
		t.Error("something was written without a checkpoint")
	}
}

func TestRefusals(t *testing.T) {
	b := newBench(t, numbered(3))
	db := b.db
	plain := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "k:S", Plain: true})
	otherKeys := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "k:S", Range: "r:S"})
	otherType := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "k:N"})
	noStream := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "k:S"})
	keysOnly := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "k:S", Stream: "KEYS_ONLY"})
	for name, change := range map[string]func(o *seed.Options){
		"no such source":      func(o *seed.Options) { o.SourceTable = "no-such-table" },
		"no such target":      func(o *seed.Options) { o.TargetTable = "no-such-table" },
		"same table":          func(o *seed.Options) { o.TargetTable = o.SourceTable; o.Encryption = "any" },
		"other keys":          func(o *seed.Options) { o.TargetTable = otherKeys },
		"other key type":      func(o *seed.Options) { o.TargetTable = otherType },
		"no stream":           func(o *seed.Options) { o.SourceTable = noStream },
		"keys only":           func(o *seed.Options) { o.SourceTable = keysOnly },
		"not encrypted":       func(o *seed.Options) { o.TargetTable = plain },
		"no segment":          func(o *seed.Options) { o.Segments = 0 },
		"negative segments":   func(o *seed.Options) { o.Segments = -2 },
		"too many segments":   func(o *seed.Options) { o.Segments = 1_000_001 },
		"negative read units": func(o *seed.Options) { o.ReadUnits = -1 },
		"negative write":      func(o *seed.Options) { o.WriteUnits = -0.5 },
		"recheck":             func(o *seed.Options) { o.Recheck = "some" },
		"encryption":          func(o *seed.Options) { o.Encryption = "aes" },
	} {
		o := b.options
		change(&o)
		_, err := seed.Run(t.Context(), o)
		if !refuse.Is(err) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", name, err)
		}
		if _, err := readFile(o.Checkpoint); err == nil {
			t.Errorf("%s: a checkpoint was written", name)
		}
	}
	if b.target.Count("BatchWriteItem") != 0 {
		t.Error("something was written")
	}
	o := b.options
	o.SourceTable, o.Recheck = noStream, seed.RecheckOff
	if _, err := seed.Run(t.Context(), o); err != nil {
		t.Errorf("without re-check no stream is needed: %v", err)
	}
	o = b.options
	o.TargetTable, o.Encryption = plain, "any"
	if _, err := seed.Run(t.Context(), o); err != nil {
		t.Errorf("encryption waived: %v", err)
	}
}

func TestCancelledBeforeStart(t *testing.T) {
	b := newBench(t, numbered(3))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := seed.Run(ctx, b.options); err == nil || refuse.Is(err) {
		t.Errorf("error %v", err)
	}
}
