package ministack

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// emptyCache gives the test a cache folder of its own.
func emptyCache(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the cache folder follows XDG_CACHE_HOME on Linux only")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	return dir
}

// fakePython puts a shell script named python3 in the place of all programs.
func fakePython(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "python3"), []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
}

func TestInstallAndStart(t *testing.T) {
	if os.Getenv("RESEAL_TEST_ENGINE") != "ministack" {
		t.Skip("it takes Python and a package registry: make test ENGINE=ministack")
	}
	cache := emptyCache(t)
	var log bytes.Buffer
	installed, err := Install(t.Context(), &log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(installed.packages, cache) || log.Len() == 0 {
		t.Errorf("installed in %s, log %q", installed.packages, log.String())
	}
	log.Reset()
	if again, err := Install(t.Context(), &log); err != nil || again != installed || log.Len() > 0 {
		t.Errorf("the second time: %+v, %v, log %q", again, err, log.String())
	}
	engine, err := installed.Start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Stop(); err != nil {
		t.Error(err)
	}
}

func TestInstallFails(t *testing.T) {
	for name, test := range map[string]struct{ script, want string }{
		"old Python":   {"echo Python 3.9.2", "Python 3.11 or newer is needed"},
		"Python 2":     {"echo Python 2.7.18", "Python 3.11 or newer is needed"},
		"broken":       {"exit 3", "exit status 3"},
		"no pip":       {`case "$1" in --version) echo Python 3.12.1;; *) echo "No module named pip"; exit 1;; esac`, "No module named pip"},
		"nothing done": {"echo Python 3.12.1", "pip put no engine"},
	} {
		t.Run(name, func(t *testing.T) {
			cache := emptyCache(t)
			fakePython(t, test.script)
			_, err := Install(t.Context(), nil)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error %v, want %q in one line", err, test.want)
			}
			if left, _ := filepath.Glob(filepath.Join(cache, "reseal", "*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
	t.Run("no Python", func(t *testing.T) {
		emptyCache(t)
		t.Setenv("PATH", "")
		if _, err := Install(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "python3 not found: install Python 3.11") {
			t.Errorf("error %v", err)
		}
	})
}

// Every package has one version and the digests of its files, and none says where from.
func TestPins(t *testing.T) {
	pinned := regexp.MustCompile(`(?m)^[a-z0-9-]+==[0-9a-z.]+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+`)
	if rest := pinned.ReplaceAll(requirements, nil); len(bytes.TrimSpace(rest)) > 0 {
		t.Errorf("not pinned: %s", rest)
	}
	if !bytes.Contains(requirements, []byte("ministack==")) {
		t.Error("the engine is not among them")
	}
}
