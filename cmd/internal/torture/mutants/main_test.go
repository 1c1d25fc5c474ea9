package main

import (
	"bufio"
	"bytes"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
)

// module is the module's folder.
const module = "../../../.."

// Every mutant can still be made, and its package's types are right. Whether it is found, "make mutants" tells.
func TestMutantsApply(t *testing.T) {
	t.Parallel()
	packages := listPackages(t)
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("there are two mutants %s", m.name)
		}
		names[m.name] = true
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			original, err := os.ReadFile(filepath.Join(module, m.file))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(original), m.from); n != 1 {
				t.Fatalf("%s has the text to be replaced %d times, not once: bring the mutant up to date", m.file, n)
			}
			if err := packages.check(m.file, strings.Replace(string(original), m.from, m.to, 1)); err != nil {
				t.Errorf("it doesn't compile: %v", err)
			}
			if (m.test == "") != (m.why == "") {
				t.Error("a mutant that a unit test finds says why the torture can't")
			}
		})
	}
}

// What doesn't compile is told.
func TestCheckTellsOfErrors(t *testing.T) {
	t.Parallel()
	packages := listPackages(t)
	m := mutants[0]
	original, err := os.ReadFile(filepath.Join(module, m.file))
	if err != nil {
		t.Fatal(err)
	}
	if err := packages.check(m.file, strings.Replace(string(original), m.from, "for round := 0; false; unknown++", 1)); err == nil {
		t.Error("an unknown name is right")
	}
}

// packages are those of the mutants, and all that they import.
type packages struct {
	files   map[string][]string // of a package, by its folder in the module
	exports map[string]string   // the file with what a package exports, by its import path
}

// listPackages asks the go command, which builds what isn't built.
func listPackages(t *testing.T) packages {
	t.Helper()
	p := packages{files: map[string][]string{}, exports: map[string]string{}}
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}\t{{join .GoFiles \" \"}}"}
	for _, m := range mutants {
		p.files[path.Dir(m.file)] = nil
	}
	for folder := range p.files {
		args = append(args, "./"+folder)
	}
	list := exec.Command("go", args...)
	list.Dir = module
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list packages: %v", err)
	}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		fields := strings.Split(lines.Text(), "\t")
		p.exports[fields[0]] = fields[1]
		if folder, is := strings.CutPrefix(fields[0], "reseal/"); is {
			if _, is := p.files[folder]; is {
				p.files[folder] = strings.Fields(fields[2])
			}
		}
	}
	return p
}

// check checks the types of a file's package, with another text of the file.
func (p packages) check(file, text string) error {
	set, folder := token.NewFileSet(), path.Dir(file)
	var parsed []*ast.File
	for _, name := range p.files[folder] {
		var source any
		if name == path.Base(file) {
			source = text
		}
		one, err := parser.ParseFile(set, filepath.Join(module, folder, name), source, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		parsed = append(parsed, one)
	}
	if len(parsed) == 0 {
		return fmt.Errorf("%s has no Go files", folder)
	}
	config := types.Config{Importer: importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) { return os.Open(p.exports[path]) })}
	_, err := config.Check("reseal/"+folder, set, parsed, nil)
	return err
}
