package install

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"reseal/internal/test/install/cachetest"
)

// fakePython puts a shell script named python3 in the place of all programs.
func fakePython(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "python3"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

// An environment without packages takes no registry: it is the path and the interpreter that count here. The one of cfn-lint and
// moto, which other tests use, shows the rest.
func TestInstall(t *testing.T) {
	cache := cachetest.Empty(t)
	var log bytes.Buffer
	e := Python{What: "nothing", Requirements: []byte("# nothing\n"), Remedy: "don't"}
	path, err := e.Install(t.Context(), &log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(path, cache) || log.Len() == 0 {
		t.Errorf("installed %s, log %q", path, log.String())
	}
	prefix, err := exec.CommandContext(t.Context(), path, "-c", "import sys; print(sys.prefix)").Output()
	if err != nil || strings.TrimSpace(string(prefix)) != filepath.Dir(filepath.Dir(path)) {
		t.Errorf("the interpreter is one of %s: %v", prefix, err)
	}
	log.Reset()
	if again, err := e.Install(t.Context(), &log); err != nil || again != path || log.Len() > 0 {
		t.Errorf("the second time: %s, %v, log %q", again, err, log.String())
	}
}

func TestInstallFails(t *testing.T) {
	const makes = `case "$2" in venv) /bin/mkdir "$3/bin"; /bin/cp "$0" "$3/bin/python";; esac; `
	for name, test := range map[string]struct{ script, want string }{
		"old Python":   {"echo Python 3.9.2", "Python 3.11 or newer is needed; install it, or do without"},
		"Python 2":     {"echo Python 2.7.18", "Python 3.11 or newer is needed; install it, or do without"},
		"broken":       {"exit 3", "exit status 3"},
		"no venv":      {`case "$1" in --version) echo Python 3.12.1;; *) echo "No module named venv"; exit 1;; esac`, "venv: exit status 1: No module named venv; or do without"},
		"no pip":       {makes + `case "$2" in pip) echo "No module named pip"; exit 1;; *) echo Python 3.12.1;; esac`, "No module named pip; or do without"},
		"nothing done": {"echo Python 3.12.1", "pip install: "},
	} {
		t.Run(name, func(t *testing.T) {
			cache := cachetest.Empty(t)
			fakePython(t, test.script)
			_, err := Python{What: "it", Remedy: "do without"}.Install(t.Context(), nil)
			if err == nil || !strings.HasPrefix(err.Error(), "install it: ") || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q in one line", err, test.want)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "reseal", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("no Python", func(t *testing.T) {
		cachetest.Empty(t)
		t.Setenv("PATH", "")
		_, err := Python{What: "it", Remedy: "do without"}.Install(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), "install it: python3 not found: install Python 3.11 or newer with venv and pip, or do without") {
			t.Errorf("error %v", err)
		}
	})
}
