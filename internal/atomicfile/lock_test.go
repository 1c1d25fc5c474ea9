package atomicfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"reseal/internal/atomicfile"
)

func TestLock(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	lock, err := atomicfile.Acquire(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := atomicfile.Acquire(path); !errors.Is(err, atomicfile.ErrLocked) {
		t.Errorf("locked twice: %v", err)
	}
	other, err := atomicfile.Acquire(filepath.Join(dir, "other.json"))
	if err != nil {
		t.Fatal(err)
	}
	other.Release()
	if info, err := os.Stat(path + ".lock"); err != nil || info.Mode() != 0o600 {
		t.Errorf("lock file: %v, %v", info, err)
	}
	lock.Release()
	if left := names(t, dir); len(left) != 0 {
		t.Errorf("left behind: %q", left)
	}
	// What a killed process leaves behind isn't locked.
	if err := os.WriteFile(path+".lock", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if lock, err = atomicfile.Acquire(path); err != nil {
		t.Fatal(err)
	}
	lock.Release()
	if _, err := atomicfile.Acquire(filepath.Join(dir, "missing", "state.json")); err == nil {
		t.Error("locked in a folder that doesn't exist")
	}
}

// Each of many holds the lock by itself, although its file comes and goes.
func TestLockExcludes(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	var holders, held atomic.Int64
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 200 {
				lock, err := atomicfile.Acquire(path)
				if errors.Is(err, atomicfile.ErrLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("%d hold the lock", n)
				}
				held.Add(1)
				holders.Add(-1)
				lock.Release()
			}
		})
	}
	group.Wait()
	if held.Load() == 0 {
		t.Error("nobody ever held the lock")
	}
}

// The temporary files of a process that was killed go; those of other files, and files of others, stay.
func TestLockDeletesTemporaries(t *testing.T) {
	dir := t.TempDir()
	keep := []string{".other.json.123", ".state.json.", ".state.json.1.2", ".state.json.bak", "state.json", "state.json.123"}
	for _, name := range append([]string{".state.json.123", ".state.json.4"}, keep...) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := atomicfile.Acquire(filepath.Join(dir, "state.json"))
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
	if left := names(t, dir); !slices.Equal(left, keep) {
		t.Errorf("left: %q, want %q", left, keep)
	}
}
