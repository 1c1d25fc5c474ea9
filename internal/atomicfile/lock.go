package atomicfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/gofrs/flock"
)

// ErrLocked says that somebody else holds the lock.
var ErrLocked = errors.New("another process is using it")

// Lock keeps a file that is replaced as a whole to one process. It is the operating system's lock of a file beside it, so it
// ends with the process, however that ends.
type Lock struct {
	file   *flock.Flock
	shared bool // others may have it, too, by the same file
}

// Acquire locks the file at path, which need not exist, or returns ErrLocked at once. It deletes the temporary files that Write
// left there when its process was killed: nobody else can be using them now.
func Acquire(path string) (*Lock, error) {
	lock, err := acquire(path, (*flock.Flock).TryLock)
	if err != nil {
		return nil, err
	}
	if err := deleteTemporaries(path); err != nil {
		lock.Release()
		return nil, err
	}
	return lock, nil
}

// Share is Acquire, but others may share the lock, too; and nothing is deleted.
func Share(path string) (*Lock, error) {
	lock, err := acquire(path, (*flock.Flock).TryRLock)
	if err == nil {
		lock.shared = true
	}
	return lock, err
}

func acquire(path string, try func(*flock.Flock) (bool, error)) (*Lock, error) {
	for {
		file := flock.New(path+".lock", flock.SetPermissions(0o600))
		held, err := try(file)
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", filepath.Base(path), err)
		}
		if !held {
			return nil, ErrLocked
		}
		if !inPlace(file) { // whoever had it before deleted it between our opening and our locking it
			_ = file.Close()
			continue
		}
		return &Lock{file: file}, nil
	}
}

// inPlace tells whether the locked file is still the one that others find under its name.
func inPlace(file *flock.Flock) bool {
	mine, err := file.Stat()
	if err != nil {
		return false
	}
	theirs, err := os.Stat(file.Path())
	return err == nil && os.SameFile(mine, theirs)
}

// Release ends the lock. A lock file that can't be deleted does no harm: it isn't locked.
func (l *Lock) Release() {
	if !l.shared {
		_ = os.Remove(l.file.Path()) // before the lock ends: after it, it may be another's
	}
	_ = l.file.Close()
}

// deleteTemporaries deletes what os.CreateTemp made for the file at path.
func deleteTemporaries(path string) error {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("look for temporary files: %w", err)
	}
	for _, entry := range entries {
		number, is := strings.CutPrefix(entry.Name(), temporaryPrefix(path))
		if !is || number == "" || strings.Trim(number, "0123456789") != "" {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), entry.Name())); err != nil {
			return fmt.Errorf("delete temporary file: %w", err)
		}
	}
	return nil
}

// temporaryPrefix is what precedes the random number in a temporary file's name.
func temporaryPrefix(path string) string { return "." + filepath.Base(path) + "." }
