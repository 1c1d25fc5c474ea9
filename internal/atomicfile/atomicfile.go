// Package atomicfile replaces a file's content so that a reader, or a crash, finds the old one or the new one whole.
package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Write replaces the file at path by data, as WriteBy does.
func Write(path string, data []byte) error {
	return WriteBy(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// WriteBy replaces the file at path by what fill writes, as Replace does.
func WriteBy(path string, fill func(io.Writer) error) error {
	return Replace(path, func(f *os.File) error { return fill(f) })
}

// Replace replaces the file at path by what fill writes, readable by its owner only: it writes a temporary file beside it, syncs
// it, renames it over path and syncs the folder. If it fails, path holds the old content, or, if only the last step did, the new
// one.
func Replace(path string, fill func(*os.File) error) error {
	dir, name := filepath.Dir(path), filepath.Base(path)
	tmp, err := os.CreateTemp(dir, temporaryPrefix(path)+"*")
	if err != nil {
		return fmt.Errorf("create temporary file: %w", err)
	}
	if err := fillDurably(tmp, fill); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), os.Remove(tmp.Name()))
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return errors.Join(fmt.Errorf("replace %s: %w", name, err), os.Remove(tmp.Name()))
	}
	return syncDir(dir)
}

// fillDurably fills the file and closes it.
func fillDurably(f *os.File, fill func(*os.File) error) error {
	err := fill(f)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("open folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync folder: %w", err)
	}
	return nil
}
