package main

import (
	"archive/zip"
	"bytes"
	"debug/elf"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// copyModule copies what the build needs to another place.
func copyModule(t *testing.T) string {
	t.Helper()
	root, copied := filepath.Join("..", "..", ".."), filepath.Join(t.TempDir(), "another", "place")
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if name := entry.Name(); name == ".git" || name == "bin" || name == "testdata" {
				return fs.SkipDir
			}
			return os.MkdirAll(filepath.Join(copied, relative), 0o755)
		}
		if ext := filepath.Ext(path); ext != ".go" && ext != ".mod" && ext != ".sum" && ext != ".json" || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(copied, relative), data, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
	return copied
}

// Two builds, in two places, give the same bytes, and what Lambda starts: an executable "bootstrap" of the architecture, linked to
// nothing.
func TestPack(t *testing.T) {
	here, there := t.TempDir(), t.TempDir()
	var log bytes.Buffer
	if err := pack(t.Context(), filepath.Join("..", "..", ".."), here, &log); err != nil {
		t.Fatal(err)
	}
	t.Log(log.String())
	if err := pack(t.Context(), copyModule(t), there, io.Discard); err != nil {
		t.Fatal(err)
	}
	for arch, machine := range map[string]elf.Machine{"arm64": elf.EM_AARCH64, "amd64": elf.EM_X86_64} {
		name := "replicator-" + arch + ".zip"
		one, err := os.ReadFile(filepath.Join(here, name))
		if err != nil {
			t.Fatal(err)
		}
		other, err := os.ReadFile(filepath.Join(there, name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(one, other) {
			t.Errorf("%s: two builds differ", name)
		}
		checkArchive(t, one, machine)
	}
}

func checkArchive(t *testing.T, data []byte, machine elf.Machine) {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if len(archive.File) != 1 || archive.File[0].Name != "bootstrap" || archive.File[0].Mode() != 0o755 {
		t.Fatalf("files: %+v", archive.File)
	}
	file, err := archive.File[0].Open()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(file)
	if err != nil {
		t.Fatal(err)
	}
	program, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	libraries, err := program.ImportedLibraries()
	if program.Machine != machine || len(libraries) > 0 || err != nil {
		t.Errorf("%v, libraries %v, %v", program.Machine, libraries, err)
	}
}
