package torture

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// tally counts what happened in all runs. It is safe for concurrent use.
type tally struct {
	mu     sync.Mutex
	counts map[string]int
}

func newTally() *tally { return &tally{counts: map[string]int{}} }

func (y *tally) add(what string, n int) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.counts[what] += n
}

func (y *tally) String() string {
	y.mu.Lock()
	defer y.mu.Unlock()
	var text strings.Builder
	for _, what := range slices.Sorted(maps.Keys(y.counts)) {
		fmt.Fprintf(&text, "\n%9d %s", y.counts[what], what)
	}
	return text.String()
}

// setting reads a number from the environment.
func setting(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	value := os.Getenv(name)
	if value == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(value, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// eachRun plays runs, several at a time, each with a seed of its own, and says how to play a failed one again. With
// RESEAL_TORTURE_STOP it plays one at a time and ends with the first that fails.
func eachRun(t *testing.T, kind string, runs int, play func(t *testing.T, seed uint64)) {
	t.Helper()
	first := setting(t, "RESEAL_TORTURE_SEED", rand.Uint64N(1e9))
	n := setting(t, "RESEAL_TORTURE_RUNS", uint64(runs))
	stop := os.Getenv("RESEAL_TORTURE_STOP") != ""
	t.Logf("%d runs, from seed %d on", n, first)
	var failed atomic.Bool
	t.Run("runs", func(t *testing.T) {
		for i := range n {
			if stop && failed.Load() {
				t.Skip("a run has failed")
			}
			t.Run(fmt.Sprint("seed=", first+i), func(t *testing.T) {
				if !stop {
					t.Parallel()
				}
				t.Cleanup(func() {
					if t.Failed() {
						failed.Store(true)
						t.Logf("run %d of %d failed; again: make torture KIND=%s SEED=%d RUNS=1", i+1, n, kind, first+i)
					}
				})
				play(t, first+i)
			})
		}
	})
}

// fastFolder is a temporary folder, in memory where there is such a file system: checkpoints are synced all the time.
func fastFolder(t *testing.T) string {
	t.Helper()
	const memory = "/dev/shm"
	if _, err := os.Stat(memory); err != nil {
		return t.TempDir()
	}
	folder, err := os.MkdirTemp(memory, "reseal-torture-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	return folder
}

// TestSimulated plays simulated runs: reseal's code with tables, stream, network and clock in memory.
func TestSimulated(t *testing.T) {
	all := newTally()
	start := time.Now()
	eachRun(t, "simulated", 60, func(t *testing.T, seed uint64) {
		folder := fastFolder(t)
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 60*24*time.Hour)
			defer cancel()
			pl := newPlan(seed)
			w := newSimWorld(t, pl, folder, all)
			w.ctx = ctx
			w.run()
			all.add("changes by the application", len(pl.changes))
			all.add("runs", 1)
			all.add("runs with the twist "+cmp.Or(string(pl.twist), "none"), 1)
			if pl.hole {
				all.add("runs in which the replicator's writes may land late", 1)
			}
			if pl.asLambda {
				all.add("runs with the Lambda's handler", 1)
			}
		})
	})
	t.Logf("in %s: %s", time.Since(start).Round(time.Second), all)
}
