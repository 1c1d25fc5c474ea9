package scratch

import (
	"bytes"
	"errors"
	"os"
	"testing"
)

func written(t *testing.T, size int) (*File, []byte) {
	t.Helper()
	f, err := Create(t.TempDir(), "test-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	content := bytes.Repeat([]byte("0123456789abcdef"), size/16)
	for start := 0; start < len(content); start += 16 {
		if _, err := f.Write(content[start : start+16]); err != nil {
			t.Fatal(err)
		}
	}
	return f, content
}

// Two readers of one file each get all of it.
func TestReadersAreIndependent(t *testing.T) {
	f, content := written(t, 1<<18)
	one, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(content))
	if _, err := one.Read(got[:1000]); err != nil {
		t.Fatal(err)
	}
	other, err := f.Read()
	if err != nil {
		t.Fatal(err)
	}
	all := make([]byte, len(content))
	if _, err := other.Read(all); err != nil || !bytes.Equal(all, content) || other.End() != nil {
		t.Errorf("the other reader got something else (%v, %v)", err, other.End())
	}
	if err := one.End(); !errors.Is(err, Err) {
		t.Errorf("the end before the end: %v", err)
	}
	if one, err = f.Read(); err != nil {
		t.Fatal(err)
	}
	if _, err := one.Read(got); err != nil || !bytes.Equal(got, content) || one.End() != nil {
		t.Errorf("the reader got something else (%v)", err)
	}
}

func TestDamageIsAnError(t *testing.T) {
	for name, damage := range map[string]func(*os.File) error{
		"cut":         func(f *os.File) error { return f.Truncate(20) },
		"empty":       func(f *os.File) error { return f.Truncate(0) },
		"longer":      func(f *os.File) error { _, err := f.WriteString("x"); return err },
		"other bytes": func(f *os.File) error { _, err := f.WriteAt([]byte{7}, 5); return err },
	} {
		f, content := written(t, 1<<12)
		reader, err := f.Read()
		if err == nil {
			err = damage(f.file)
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err = reader.Read(make([]byte, len(content))); err == nil {
			err = reader.End()
		}
		if !errors.Is(err, Err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestNothingIsLeft(t *testing.T) {
	folder := t.TempDir()
	f, err := Create(folder, "test-*")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if list, err := os.ReadDir(folder); err != nil || len(list) > 0 {
		t.Errorf("%d files are left (%v)", len(list), err)
	}
	if _, err := f.Read(); !errors.Is(err, Err) {
		t.Errorf("a closed file is read: %v", err)
	}
	if _, err := Create(folder+"/nowhere", "test-*"); !errors.Is(err, Err) {
		t.Errorf("a file in no folder: %v", err)
	}
}
