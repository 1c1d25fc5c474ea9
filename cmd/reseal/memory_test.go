// The race detector multiplies memory and time: make test runs these tests by themselves, without it.

//go:build !race

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"reseal/internal/test/testkit"
)

// peak runs reseal, built as its users build it, and returns the most memory that it had resident, in MB.
func peak(t *testing.T, plain string, args ...string) float64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), plain, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = command{}.environment(t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	usage := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	kilobytes := float64(usage.Maxrss)
	if runtime.GOOS == "darwin" {
		kilobytes /= 1024 // there it is in bytes
	}
	t.Logf("%.0f MB, %.1f s of processor time", kilobytes*1024/1e6, (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds())
	return kilobytes * 1024 / 1e6
}

// plainBinary builds reseal as its users do.
func plainBinary(t *testing.T) string {
	t.Helper()
	plain := filepath.Join(t.TempDir(), "reseal")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", plain, ".").CombinedOutput(); err != nil {
		t.Fatalf("build reseal: %v\n%s", err, out)
	}
	return plain
}

// manyItems are as many as memory must not grow with.
func manyItems() int {
	if os.Getenv("RESEAL_LONG") != "" {
		return 2_000_000
	}
	return 600_000
}

// The memory of a seed doesn't grow with the table.
func TestMemoryOfSeed(t *testing.T) {
	plain := plainBinary(t)
	seed := func(items int) float64 {
		server := testkit.NewCanned(t, items)
		return peak(t, plain, "seed", "--source", "source", "--target", "target", "--segments", "16", "--endpoint-url", server.URL)
	}
	small, big := seed(200_000), seed(manyItems())
	if big > 100 || big > 1.1*small {
		t.Errorf("%.0f MB for %d items, %.0f MB for 200,000", big, manyItems(), small)
	}
}

// Nor does that of a verification, even if one table comes in reverse order, or its segments hold other keys, so that half of all
// items wait for the other half; and the verdict is a match all the while. A page of a report is bounded too.
func TestMemoryOfVerify(t *testing.T) {
	plain := plainBinary(t)
	verify := func(items int, order func(*testkit.Canned)) float64 {
		server := testkit.NewCanned(t, items)
		order(server)
		return peak(t, plain, "verify", "--source", "source", "--target", "target", "--max-memory", "32MiB", "--report", "r.html", "--endpoint-url", server.URL)
	}
	for name, order := range map[string]func(*testkit.Canned){
		"the same order":         func(*testkit.Canned) {},
		"reverse order":          func(c *testkit.Canned) { c.Reversed = true },
		"segments of other keys": func(c *testkit.Canned) { c.Scattered = true },
	} {
		t.Run(name, func(t *testing.T) {
			small, big := verify(200_000, order), verify(manyItems(), order)
			if big > 150 || big > small+25 { // when the garbage is collected makes a difference of some MB
				t.Errorf("%.0f MB for %d items, %.0f MB for 200,000", big, manyItems(), small)
			}
		})
	}
}
