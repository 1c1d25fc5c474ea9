// Package cachetest is for tests of what is installed in the user's cache folder.
package cachetest

import (
	"runtime"
	"testing"
)

// Empty gives the test a cache folder of its own, and returns its path. The folder follows an environment variable on Linux only;
// elsewhere the test is skipped.
func Empty(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the cache folder follows XDG_CACHE_HOME on Linux only")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	return dir
}
