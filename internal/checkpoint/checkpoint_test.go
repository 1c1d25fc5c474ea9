package checkpoint_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"reseal/internal/checkpoint"
)

const kind = "a test"

// open opens the checkpoint and returns what it holds, by name.
func open(t *testing.T, path string) (*checkpoint.File, map[string]string, error) {
	t.Helper()
	state := map[string]string{}
	f, _, err := checkpoint.Open(path, kind, checkpoint.Handlers{Restore: func(r checkpoint.Record) error {
		if r.Value == nil {
			delete(state, r.Name)
		} else {
			state[r.Name] = string(r.Value)
		}
		return nil
	}})
	if err == nil {
		t.Cleanup(func() { _ = f.Close() }) // a second Close does no harm
	}
	return f, state, err
}

func mustOpen(t *testing.T, path string) (*checkpoint.File, map[string]string) {
	t.Helper()
	f, state, err := open(t, path)
	if err != nil {
		t.Fatal(err)
	}
	return f, state
}

func put(name, value string) checkpoint.Record {
	return checkpoint.Record{Name: name, Value: []byte(value)}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// replace replaces the state by pairs of name and value.
func replace(t *testing.T, f *checkpoint.File, pairs ...string) {
	t.Helper()
	must(t, f.Replace(func(add func(checkpoint.Record) error) error {
		for i := 0; i < len(pairs); i += 2 {
			if err := add(put(pairs[i], pairs[i+1])); err != nil {
				return err
			}
		}
		return nil
	}))
}

func expect(t *testing.T, path string, want map[string]string) {
	t.Helper()
	f, got := mustOpen(t, path)
	must(t, f.Close())
	if !maps.Equal(got, want) {
		t.Errorf("it holds %v, want %v", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, state := mustOpen(t, path)
	if len(state) > 0 {
		t.Error("a file that isn't there holds", state)
	}
	if err := f.Append(put("a", "1")); err == nil {
		t.Error("appended to a file that was not begun")
	}
	replace(t, f, "head", "h", "empty", "")
	must(t, f.Append(put("a", "1"), put("b", "2")))
	must(t, f.Append(put("a", "3"), checkpoint.Record{Name: "b"}))
	must(t, f.Close())
	expect(t, path, map[string]string{"head": "h", "empty": "", "a": "3"})

	f, _ = mustOpen(t, path)
	must(t, f.Append(put("c", "4"))) // goes on where it was
	grown := f.Grown()
	replace(t, f, "a", "5")
	if after := f.Grown(); grown <= 0 || after != 0 {
		t.Errorf("grown by %d bytes, and by %d after it was replaced", grown, after)
	}
	must(t, f.Append(put("d", "6")))
	must(t, f.Close())
	expect(t, path, map[string]string{"a": "5", "d": "6"})

	f, _ = mustOpen(t, path)
	must(t, f.Remove())
	must(t, f.Close())
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) > 0 {
		t.Error("left behind:", left, err)
	}
}

// What a killed process had under way is ignored, wherever it was; what was durable before is there.
func TestKilledWhileAppending(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, _ := mustOpen(t, path)
	replace(t, f, "head", "h")
	must(t, f.Append(put("a", "1")))
	before, err := os.ReadFile(path)
	must(t, err)
	must(t, f.Append(put("a", "2"), put("b", strings.Repeat("x", 100))))
	must(t, f.Close())
	after, err := os.ReadFile(path)
	must(t, err)
	for size := len(before); size <= len(after); size++ {
		must(t, os.WriteFile(path, append(bytes.Clone(before), after[len(before):size]...), 0o600))
		f, state := mustOpen(t, path)
		if !maps.Equal(state, map[string]string{"head": "h", "a": "1"}) {
			t.Fatalf("cut at %d bytes it holds %v", size, state)
		}
		must(t, f.Append(put("c", "3")))
		must(t, f.Close())
		expect(t, path, map[string]string{"head": "h", "a": "1", "c": "3"})
	}
	must(t, os.WriteFile(path, after, 0o600))
	expect(t, path, map[string]string{"head": "h", "a": "2", "b": strings.Repeat("x", 100)})
}

// Any byte that changes before the mark is found, and so is a file that is cut there.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, _ := mustOpen(t, path)
	replace(t, f, "head", "h")
	must(t, f.Append(put("a", "1")))
	must(t, f.Append(put("a", "2")))
	must(t, f.Close())
	whole, err := os.ReadFile(path)
	must(t, err)
	for i := range whole {
		for _, bit := range []byte{1, 0x80} {
			spoilt := bytes.Clone(whole)
			spoilt[i] ^= bit
			must(t, os.WriteFile(path, spoilt, 0o600))
			if _, state, err := open(t, path); !errors.Is(err, checkpoint.ErrDamaged) {
				t.Errorf("byte %d changed: %v, %v", i, state, err)
			}
		}
		must(t, os.WriteFile(path, whole[:i], 0o600))
		if _, state, err := open(t, path); !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("cut to %d bytes: %v, %v", i, state, err)
		}
	}
}

func TestOtherKind(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, _ := mustOpen(t, path)
	replace(t, f, "head", "h")
	must(t, f.Close())
	_, _, err := checkpoint.Open(path, "another", checkpoint.Handlers{})
	if !errors.Is(err, checkpoint.ErrDamaged) || !strings.Contains(err.Error(), kind) {
		t.Error(err)
	}
}

func TestOldFormat(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	must(t, os.WriteFile(path, []byte(`{"format":"old"}`), 0o600))
	if _, _, err := open(t, path); !errors.Is(err, checkpoint.ErrDamaged) {
		t.Error("without a handler:", err)
	}
	var old string
	f, found, err := checkpoint.Open(path, kind, checkpoint.Handlers{Old: func(in *bufio.Reader) error {
		data, err := io.ReadAll(in)
		old = string(data)
		return err
	}})
	if err != nil || !found || old != `{"format":"old"}` {
		t.Fatal(old, found, err)
	}
	replace(t, f, "a", "1")
	must(t, f.Close())
	expect(t, path, map[string]string{"a": "1"})
}

func TestOneOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, _ := mustOpen(t, path)
	if _, _, err := open(t, path); !errors.Is(err, checkpoint.ErrLocked) {
		t.Error(err)
	}
	must(t, f.Close())
	mustOpen(t, path)
}

// Many owners' goroutines append while one of them replaces the state: nothing that Append has returned for is missing.
func TestAppendBesideReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, _ := mustOpen(t, path)
	replace(t, f)
	var mu sync.Mutex
	state, want := map[string]string{}, map[string]string{}
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for n := range 20 {
				name, value := fmt.Sprint(i, n%3), fmt.Sprint(n)
				mu.Lock()
				state[name] = value // first the state, then Append
				mu.Unlock()
				if err := f.Append(put(name, value)); err != nil {
					t.Error(err)
				}
				if n%7 != i%7 {
					continue
				}
				err := f.Replace(func(add func(checkpoint.Record) error) error {
					mu.Lock()
					defer mu.Unlock()
					for name, value := range state {
						if err := add(put(name, value)); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	maps.Copy(want, state)
	must(t, f.Close())
	expect(t, path, want)
}

// A state of any size goes through Replace in pieces.
func TestLarge(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, _ := mustOpen(t, path)
	const records, size = 3000, 1000
	must(t, f.Replace(func(add func(checkpoint.Record) error) error {
		for i := range records {
			if err := add(put(fmt.Sprint(i), strings.Repeat("x", size))); err != nil {
				return err
			}
		}
		return nil
	}))
	must(t, f.Close())
	_, state := mustOpen(t, path)
	for i := range records {
		if len(state[fmt.Sprint(i)]) != size {
			t.Fatalf("record %d has %d bytes", i, len(state[fmt.Sprint(i)]))
		}
	}
}

// A Replace that fails leaves the file as it was.
func TestReplaceFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "checkpoint")
	f, _ := mustOpen(t, path)
	replace(t, f, "a", "1")
	failure := errors.New("no more")
	err := f.Replace(func(add func(checkpoint.Record) error) error { return errors.Join(add(put("a", "2")), failure) })
	if !errors.Is(err, failure) {
		t.Error(err)
	}
	must(t, f.Append(put("b", "2")))
	must(t, f.Close())
	expect(t, path, map[string]string{"a": "1", "b": "2"})
}

// What is queued is durable with the next Append, before that one's own records; what is queued while the state is written anew is not
// lost.
func TestQueue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	f, _, err := checkpoint.Open(path, "test", checkpoint.Handlers{})
	if err != nil {
		t.Fatal(err)
	}
	record := func(name, value string) checkpoint.Record { return checkpoint.Record{Name: name, Value: []byte(value)} }
	err = f.Replace(func(put func(checkpoint.Record) error) error {
		f.Queue(record("a", "1"))
		return put(record("whole", ""))
	})
	f.Queue(record("a", "2"))
	err = errors.Join(err, f.Append(record("a", "3")))
	f.Queue(record("a", "4"))
	err = errors.Join(err, f.Append())
	f.Queue(record("a", "never appended"))
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	text := ""
	f, _, err = checkpoint.Open(path, "test", checkpoint.Handlers{Restore: func(r checkpoint.Record) error {
		text += r.Name + string(r.Value) + " "
		return nil
	}})
	if err != nil || text != "whole a1 a2 a3 a4 " {
		t.Fatalf("%q, %v", text, err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

// A file that somebody deleted or replaced takes records that nobody will read: that is an error.
func TestGone(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"deleted": os.Remove,
		"replaced": func(path string) error {
			return errors.Join(os.Rename(path, path+".old"), os.WriteFile(path, nil, 0o600))
		},
		"folder": func(path string) error { return os.RemoveAll(filepath.Dir(path)) },
	} {
		path := filepath.Join(t.TempDir(), "folder", "c")
		if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		f, _, err := checkpoint.Open(path, "test", checkpoint.Handlers{})
		if err == nil {
			err = f.Replace(func(func(checkpoint.Record) error) error { return nil })
		}
		if err == nil {
			err = f.Append(checkpoint.Record{Name: "a"})
		}
		if err == nil {
			err = spoil(path)
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Append(checkpoint.Record{Name: "b"}); !errors.Is(err, checkpoint.ErrGone) {
			t.Errorf("%s: error %v", name, err)
		}
		_ = f.Close()
	}
}

// An owner may go on from nothing where a file is damaged, under the same lock; one of another kind tells that it is.
func TestDamagedHandler(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c")
	f, _, err := checkpoint.Open(path, "test", checkpoint.Handlers{})
	if err == nil {
		err = f.Replace(func(put func(checkpoint.Record) error) error {
			return put(checkpoint.Record{Name: "a", Value: []byte("1")})
		})
	}
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if _, _, err := checkpoint.Open(path, "other", checkpoint.Handlers{}); !errors.Is(err, checkpoint.ErrKind) || !errors.Is(err, checkpoint.ErrDamaged) {
		t.Errorf("another kind: error %v", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[len(data)-1]++
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := checkpoint.Open(path, "test", checkpoint.Handlers{}); !errors.Is(err, checkpoint.ErrDamaged) || errors.Is(err, checkpoint.ErrKind) {
		t.Errorf("damaged: error %v", err)
	}
	f, found, err := checkpoint.Open(path, "test", checkpoint.Handlers{Damaged: func(err error) error {
		if !errors.Is(err, checkpoint.ErrDamaged) {
			t.Errorf("error %v", err)
		}
		return nil
	}})
	if err != nil || !found {
		t.Fatal(found, err)
	}
	err = f.Replace(func(put func(checkpoint.Record) error) error {
		return put(checkpoint.Record{Name: "b", Value: []byte("2")})
	})
	if err = errors.Join(err, f.Append(checkpoint.Record{Name: "c"}), f.Close()); err != nil {
		t.Error(err)
	}
}
