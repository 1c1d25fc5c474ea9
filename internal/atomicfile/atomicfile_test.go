package atomicfile_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"reseal/internal/atomicfile"
)

// names lists a folder.
func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, entry := range entries {
		list = append(list, entry.Name())
	}
	return list
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	if err := os.WriteFile(path, []byte("an older and longer content"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, content := range []string{"new", "", "newer"} {
		if err := atomicfile.Write(path, []byte(content)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Errorf("content %q, error %v, want %q", got, err, content)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode(); mode != 0o600 {
		t.Errorf("mode %v, want 0600", mode)
	}
	if got := names(t, dir); len(got) != 1 {
		t.Errorf("the folder holds %q", got)
	}
}

func TestWriteRelativePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := atomicfile.Write("state.json", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "state.json" {
		t.Errorf("the folder holds %q", got)
	}
}

func TestWriteFails(t *testing.T) {
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := atomicfile.Write(folder, []byte("x")); err == nil {
		t.Error("a folder was replaced")
	}
	if err := atomicfile.Write(filepath.Join(dir, "missing", "state.json"), nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a folder that is missing: error %v", err)
	}
	if got := names(t, dir); len(got) != 1 || got[0] != "folder" {
		t.Errorf("left behind: %q", got)
	}
}

// A reader must find one of the contents, whole, at any time.
func TestWriteIsAtomic(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	contents := [][]byte{bytes.Repeat([]byte("a"), 300_000), bytes.Repeat([]byte("b"), 100_000)}
	if err := atomicfile.Write(path, contents[0]); err != nil {
		t.Fatal(err)
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for {
				got, err := os.ReadFile(path)
				if err != nil || (!bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1])) {
					t.Errorf("%d bytes, error %v", len(got), err)
					return
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	var writers sync.WaitGroup
	for i := range 2 {
		writers.Go(func() {
			for range 25 {
				if err := atomicfile.Write(path, contents[i]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
}

// A file that can't be filled stays as it was, and nothing is left beside it.
func TestWriteByFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if err := atomicfile.Write(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	full := errors.New("disk full")
	err := atomicfile.WriteBy(path, func(w io.Writer) error {
		if _, err := w.Write([]byte("half of the new")); err != nil {
			return err
		}
		return full
	})
	if !errors.Is(err, full) {
		t.Error(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "old" || len(names(t, dir)) != 1 {
		t.Errorf("content %q, error %v, folder %q", got, err, names(t, dir))
	}
}
