// Command mutants takes one safety feature of reseal's protocol out at a time and has the torture notice: a feature whose removal is
// not noticed is not tested. It changes nothing in the module: each mutant is a changed copy of a source file, with which the go
// command builds by -overlay.
//
//	go run ./cmd/internal/torture/mutants [-runs 50] [-seed 1] [name ...]
//
// A mutant of a feature that only one of the torture's twists needs is hunted in runs that all have this twist: of those that are drawn,
// one in eighteen has it. A mutant that the torture can't see has a unit test of its own.
//
// It prints in which run each mutant was found, and in how many replays of that run again, and ends with status 1 if one was not found,
// if one can't be made any more because the source has changed, or if the torture fails without any.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"reseal/cmd/internal/torture/overlay"
)

// mutant is a feature taken out: in a file, a text that must be there exactly once is replaced.
type mutant struct {
	name, what string
	file       string
	from, to   string
	twist      string // of all runs; "": it is drawn
	kind       string // of the runs: the name of the test that plays them; "": TestSimulated

	// Of a feature that the torture can't see, why not, and what finds the mutant instead: a test of the file's package, or of tests.
	why, test, tests string
}

// The tests that play runs of a kind.
const (
	simulated = "TestSimulated"
	following = "TestFollowing"
)

func main() {
	runs := flag.Int("runs", 50, "runs within which each mutant must be found")
	seed := flag.Uint64("seed", 1, "seed of the first run")
	flag.Parse()
	if err := run(*runs, *seed, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

func run(runs int, seed uint64, names []string) error {
	folder, err := os.MkdirTemp("", "reseal-mutants-")
	if err != nil {
		return fmt.Errorf("make temporary folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(folder) }()
	if len(names) == 0 {
		for _, kind := range []string{"", following} {
			at, output, err := torture(folder, "", runs, seed, kind, "")
			if err != nil || at > 0 {
				return fmt.Errorf("the torture fails without a mutant, in run %d: %w\n%s", at, err, output)
			}
		}
		fmt.Printf("%-28s not found in %d runs of each kind, as it should be\n", "none", runs)
	}
	var missed []error
	for _, m := range mutants {
		if len(names) > 0 && !slices.Contains(names, m.name) {
			continue
		}
		if err := m.hunt(folder, runs, seed); err != nil {
			missed = append(missed, fmt.Errorf("%s: %w", m.name, err))
		}
	}
	return errors.Join(missed...)
}

// replays is how often the run that has found a mutant is played again.
const replays = 10

// hunt has the torture find the mutant, and tells of it.
func (m mutant) hunt(folder string, runs int, seed uint64) error {
	start := time.Now()
	overlaid, err := overlay.Write(folder, ".", overlay.Edit{File: m.file, From: m.from, To: m.to})
	if err != nil {
		return err
	}
	if m.test != "" {
		return m.unit(overlaid)
	}
	at, output, err := torture(folder, overlaid, runs, seed, m.kind, m.twist)
	switch {
	case err != nil:
		return fmt.Errorf("%w\n%s", err, output)
	case at == 0:
		return fmt.Errorf("not found in %d runs", runs)
	}
	spent, again := time.Since(start), 0
	for range replays {
		failed, output, err := play(folder, 1, seed+uint64(at)-1, m.kind, m.twist)
		if err != nil {
			return fmt.Errorf("%w\n%s", err, output)
		}
		again += failed
	}
	fmt.Printf("%-28s found in run %2d, %3.0f s; again in %2d of %d replays: %s\n", m.name, at, spent.Seconds(), again, replays, m.told())
	return nil
}

// unit has the mutant's own test find it. A package that doesn't build is no find, nor is a test that isn't run.
func (m mutant) unit(overlaid string) error {
	test := exec.Command("go", "test", "-count", "1", "-run", "^"+m.test+"$", "./"+cmp.Or(m.tests, path.Dir(m.file)))
	test.Env = append(os.Environ(), "GOFLAGS=-overlay="+overlaid) // also for what the tests build themselves
	out, err := test.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "--- FAIL: "+m.test+" ") {
		return fmt.Errorf("not found by %s: %w\n%s", m.test, err, out)
	}
	fmt.Printf("%-28s found by %s (%s): %s\n", m.name, m.test, m.why, m.what)
	return nil
}

// told is what the mutant lacks, and in which runs.
func (m mutant) told() string {
	if m.twist == "" {
		return m.what
	}
	return fmt.Sprintf("%s (runs with %s)", m.what, m.twist)
}

// failedRun is how the torture tells of the first run that failed. A run that panics, as one whose goroutines all wait for ever does,
// tells nothing but its name.
var failedRun = regexp.MustCompile(`run (\d+) of \d+ failed`)

// torture builds the simulated torture and returns the first run that fails; 0: none did.
func torture(folder, overlaid string, runs int, seed uint64, kind, twist string) (at int, output string, err error) {
	binary := filepath.Join(folder, "torture.test")
	build := exec.Command("go", "test", "-c", "-overlay", overlaid, "-o", binary, "./cmd/internal/torture")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, string(out), fmt.Errorf("build: %w", err)
	}
	return play(folder, runs, seed, kind, twist)
}

// play runs the torture that is built, and returns the first run that fails; 0: none did.
func play(folder string, runs int, seed uint64, kind, twist string) (at int, output string, err error) {
	binary := filepath.Join(folder, "torture.test")
	test := exec.Command(binary, "-test.run", "^"+cmp.Or(kind, simulated)+"$", "-test.v")
	test.Dir = folder
	test.Env = append(os.Environ(), fmt.Sprint("RESEAL_TORTURE_RUNS=", runs), fmt.Sprint("RESEAL_TORTURE_SEED=", seed), "RESEAL_TORTURE_STOP=1",
		"RESEAL_TORTURE_TWIST="+twist)
	out, err := test.CombinedOutput()
	if err == nil {
		return 0, string(out), nil
	}
	if found := failedRun.FindStringSubmatch(string(out)); found != nil {
		_, err := fmt.Sscan(found[1], &at)
		return at, string(out), err
	}
	if n := strings.Count(string(out), "=== RUN   "+cmp.Or(kind, simulated)+"/runs/"); n > 0 {
		return n, string(out), nil
	}
	return 0, string(out), fmt.Errorf("run the torture: %w", err)
}
