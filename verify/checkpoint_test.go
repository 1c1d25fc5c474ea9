package verify_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"
	"reseal/verify"
)

// resuming are options with a checkpoint, that make small pages.
func resuming(path string) option {
	return func(o *verify.Options) { o.Checkpoint, o.Segments = path, 2 }
}

// scansOf counts the Scans of both tables.
func (ts *tables) scansOf() int { return ts.sourceProxy.Count("Scan") + ts.targetProxy.Count("Scan") }

// stopAt runs a verification that is cancelled when the nth Scan of the target comes. It returns false if there is no such Scan.
func (ts *tables) stopAt(n int, hook testkit.Hook, change ...option) bool {
	ts.t.Helper()
	ctx, stop := context.WithCancel(ts.t.Context())
	defer stop()
	ts.freshProxies()
	ts.sourceProxy.Use(paged(5, nil))
	ts.targetProxy.Use(paged(5, on("Scan", func(i int, x *testkit.Exchange) *testkit.Response {
		if i == n {
			stop()
		}
		if hook != nil {
			return hook(x)
		}
		return nil
	})))
	_, err := verify.Run(ctx, ts.options(change...))
	if err != nil && !errors.Is(err, context.Canceled) {
		ts.t.Fatalf("stopped at Scan %d: %v", n, err)
	}
	return err != nil
}

// Wherever a verification is stopped, and however often, the verdict in the end is that of one that never was, with every
// difference, and little is read twice.
func TestResume(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		memory int64
		hook   testkit.Hook
	}{{"in memory", 64 << 20, nil}, {"in files", 3000, reversed5}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ts := numbered(t, 60)
			ts.damage()
			want := verdict{sourceItems: 60, targetItems: 60, missing: 1, extra: 1, different: 1}
			memory := func(o *verify.Options) { o.MaxMemory = c.memory }
			for n := 1; ; n++ {
				path := filepath.Join(t.TempDir(), "checkpoint")
				if !ts.stopAt(n, c.hook, resuming(path), memory) {
					if n < 8 {
						t.Errorf("only %d Scans", n)
					}
					break
				}
				first := ts.scansOf()
				if !ts.stopAt(2, c.hook, resuming(path), memory) { // and once more, soon
					continue // it got to its end
				}
				second := ts.scansOf()
				ts.freshProxies()
				ts.sourceProxy.Use(paged(5, nil))
				ts.targetProxy.Use(paged(5, c.hook))
				result, found := ts.verify(resuming(path), memory)
				ts.expect(result, want)
				if !result.Resumed && n > 2 || len(found) != 3 { // before the third Scan, no page may have been read
					t.Errorf("stopped at %d: resumed %t, %d differences", n, result.Resumed, len(found))
				}
				// 60 items in pages of 5 are about 14 Scans of each table, and each stop breaks off four at the most.
				if all := first + second + ts.scansOf(); all > 40 {
					t.Errorf("stopped at %d: %d Scans", n, all)
				}
				if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
					t.Errorf("the checkpoint is still there: %v", err)
				}
			}
		})
	}
}

// reversed5 gives the items of each page in reverse order.
func reversed5(x *testkit.Exchange) *testkit.Response {
	if x.Op != "Scan" {
		return nil
	}
	return reversed(0, x)
}

// A checkpoint that is older than what was read since, as after a kill, is as good.
func TestResumeFromAnOlderCheckpoint(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 60)
	ts.damage()
	path := filepath.Join(t.TempDir(), "checkpoint")
	ts.stopAt(3, nil, resuming(path))
	older, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ts.stopAt(4, nil, resuming(path))
	if newer, err := os.ReadFile(path); err != nil || bytes.Equal(newer, older) {
		t.Fatalf("nothing new was saved, or %v", err)
	}
	if err := os.WriteFile(path, older, 0o600); err != nil {
		t.Fatal(err)
	}
	ts.freshProxies()
	result, _ := ts.verify(resuming(path))
	ts.expect(result, verdict{sourceItems: 60, targetItems: 60, missing: 1, extra: 1, different: 1})
}

// Stopped when the scans are done, only the differences are looked at again.
func TestResumeInTheSettlement(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 20)
	ts.damage()
	path := filepath.Join(t.TempDir(), "checkpoint")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ts.targetProxy.Use(on("BatchGetItem", func(int, *testkit.Exchange) *testkit.Response { stop(); return nil }))
	if _, err := verify.Run(ctx, ts.options(resuming(path))); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	ts.freshProxies()
	result, _ := ts.verify(resuming(path))
	ts.expect(result, verdict{sourceItems: 20, targetItems: 20, missing: 1, extra: 1, different: 1})
	if n := ts.scansOf(); n > 0 || !result.Resumed {
		t.Errorf("%d Scans, resumed %t", n, result.Resumed)
	}
}

// A checkpoint of another job, or a damaged one, is refused in one line, and stays as it is.
func TestCheckpointThatDoesNotFit(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 60)
	ts.damage()
	path := filepath.Join(t.TempDir(), "checkpoint")
	ts.stopAt(4, nil, resuming(path))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, items, _ := bytes.Cut(whole, []byte("\n"))
	edited := func(old, new string) []byte {
		if !bytes.Contains(head, []byte(old)) {
			t.Fatalf("%q is not in %s", old, head)
		}
		return append(bytes.Replace(bytes.Clone(head), []byte(old), []byte(new), 1), append([]byte("\n"), items...)...)
	}
	flipped := func(at int) []byte {
		data := bytes.Clone(whole)
		data[at] ^= 0x10
		return data
	}
	for name, data := range map[string][]byte{
		"empty":           {},
		"no JSON":         []byte("hello\n"),
		"no line":         head,
		"no items":        append(bytes.Clone(head), '\n'),
		"cut":             whole[:len(whole)-1],
		"cut in an item":  whole[:len(whole)-20],
		"longer":          append(bytes.Clone(whole), 'x'),
		"another item":    flipped(len(whole) - 10),
		"another sum":     flipped(len(whole) - 1),
		"another format":  edited("verify checkpoint 2", "verify checkpoint 9"),
		"another count":   edited(`"matched":`, `"matched":1`),
		"another source":  edited(`"source":{"arn":"`, `"source":{"arn":"x`),
		"another target":  edited(`"target":{"arn":"`, `"target":{"arn":"x`),
		"out of range":    edited(`"done":[`, `"done":[[7,9]`),
		"other cells":     edited(`"source_cells":[`, `"source_cells":[0,`),
		"expired by":      edited(`"expired_by":"`, `"expired_by":"x`),
		"other segments":  edited(`"segments":2`, `"segments":3`),
		"another segment": edited(`"open":{"`, `"open":{"9`),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		ts.freshProxies()
		_, err := verify.Run(t.Context(), ts.options(resuming(path)))
		if !refuse.Is(err) || !strings.Contains(fmt.Sprint(err), "checkpoint") {
			t.Errorf("%s: %v", name, err)
		}
		if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, data) || ts.requests() > 0 {
			t.Errorf("%s: the file is changed, or %v, or %d requests", name, err, ts.requests())
		}
	}
	result, _ := ts.verify(resuming(path), func(o *verify.Options) { o.Restart = true })
	ts.expect(result, verdict{sourceItems: 60, targetItems: 60, missing: 1, extra: 1, different: 1})
	if result.Resumed {
		t.Error("resumed, in spite of restart")
	}
}

// A checkpoint that can't be written is refused before anything is read, and an error later on.
func TestCheckpointThatCanNotBeWritten(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 60)
	folder := filepath.Join(t.TempDir(), "folder")
	path := filepath.Join(folder, "checkpoint")
	if _, err := verify.Run(t.Context(), ts.options(resuming(path))); !refuse.Is(err) || ts.requests() > 0 {
		t.Errorf("error %v, %d requests", err, ts.requests())
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	ts.targetProxy.Use(on("Scan", func(n int, _ *testkit.Exchange) *testkit.Response {
		if n == 1 {
			if err := os.RemoveAll(folder); err != nil {
				t.Error(err)
			}
		}
		return nil
	}))
	if result, err := verify.Run(t.Context(), ts.options(resuming(path))); err == nil || result.Match || !strings.Contains(err.Error(), "checkpoint") {
		t.Errorf("error %v, match %t", err, result.Match)
	}
}
