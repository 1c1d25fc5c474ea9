package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"reseal/internal/python"
)

//go:embed dynamodump/requirements.txt
var dynamodumpRequirements []byte

// peers has other ways copy and compare the tables that reseal does, on the same engine, and checks that each copy is one.
func (s *suite) peers(ctx context.Context) error {
	return onEngine(ctx, 20_000, func(c *contest) error {
		if err := s.copies(ctx, c); err != nil {
			return err
		}
		return s.comparisons(ctx, c)
	})
}

// copies leaves the target as a copy of the source.
func (s *suite) copies(ctx context.Context, c *contest) error {
	own := []string{"-url", c.url, "-segments", strconv.Itoa(c.segments())}
	ways := []way{
		{"seed", s.own("seed", own...)},
		{"seed, no recheck", s.own("seed, no recheck", own...)},
		{"plain SDK loop", s.own("plain", own...)},
		{"one PutItem an item", s.own("put each", own...)},
		{"dynamodump, backup and restore", dynamodump(c, dumpSource, restore)},
	}
	return s.compete(ctx, c, ways, func() error { return c.emptyTarget(ctx) }, func(w way) error {
		if _, err := s.measure(ctx, "verify", own...); err != nil {
			return fmt.Errorf("check the copy of %s: %w", w.name, err)
		}
		return nil
	})
}

// comparisons compares the target with the source, which are the same.
func (s *suite) comparisons(ctx context.Context, c *contest) error {
	own := []string{"-url", c.url, "-segments", strconv.Itoa(c.segments())}
	nothing := func() error { return nil }
	return s.compete(ctx, c, []way{
		{"verify", s.own("verify", own...)},
		{"one GetItem an item", s.own("get each", own...)},
		{"dynamodump, two backups and a script", dynamodump(c, dumpSource, dumpTarget, compare)},
	}, nothing, func(way) error { return nil })
}

// way is one way to do a job.
type way struct {
	name string
	run  func(context.Context) (outcome, error)
}

// compete measures the ways one after the other, with the wall time of the first as the yardstick. A way that isn't to be had on this
// machine is left out, and the log says why.
func (s *suite) compete(ctx context.Context, c *contest, ways []way, before func() error, check func(way) error) error {
	first := 0.0
	for i, w := range ways {
		if err := before(); err != nil {
			return err
		}
		out, err := w.run(ctx)
		if errors.Is(err, errNotHere) {
			fmt.Printf("\n%s is left out: %v\n", w.name, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		if err := check(w); err != nil {
			return err
		}
		f := figure{Part: "peers", What: w.name, Items: c.items, Size: c.size, outcome: out}
		if i == 0 {
			first = out.WallSeconds
		} else {
			f.Ratio, f.Of = out.WallSeconds/first, ways[0].name+" (wall time)"
		}
		s.figures = append(s.figures, f)
	}
	return nil
}

// own is a way that this program has itself.
func (s *suite) own(job string, args ...string) func(context.Context) (outcome, error) {
	return func(ctx context.Context) (outcome, error) {
		once := suite{log: s.log, rounds: 1}
		return once.measure(ctx, job, args...)
	}
}

// errNotHere says that a way can't be gone on this machine.
var errNotHere = errors.New("not on this machine")

// step is a command of a way that goes by dynamodump. It is run in an empty folder, which it shares with the other steps.
type step func(interpreter string, host *url.URL) []string

func dumpSource(interpreter string, host *url.URL) []string {
	return append(dump(interpreter, host), "-m", "backup", "-s", "source")
}

func dumpTarget(interpreter string, host *url.URL) []string {
	return append(dump(interpreter, host), "-m", "backup", "-s", "target")
}

// restore is told not to touch the table but for its items, so that there is nothing that it has to wait for.
func restore(interpreter string, host *url.URL) []string {
	return append(dump(interpreter, host), "-m", "restore", "-s", "source", "-d", "target", "--dataOnly", "--skipThroughputUpdate", "--noConfirm")
}

// dump is dynamodump with what all steps have.
func dump(interpreter string, host *url.URL) []string {
	return []string{
		interpreter, filepath.Join(filepath.Dir(interpreter), "dynamodump"), "-r", "local", "--host", host.Hostname(), "--port", host.Port(),
		"--accessKey", "bench", "--secretKey", "bench", "--log", "WARNING",
	}
}

//go:embed dynamodump/compare.py
var compareBackups string

// compare is what one has to write oneself: a table gives its items in an order of its own, so that diff is no help.
func compare(interpreter string, _ *url.URL) []string {
	return []string{interpreter, "-c", compareBackups}
}

// dynamodump is a way that has the steps one after the other.
func dynamodump(c *contest, steps ...step) func(context.Context) (outcome, error) {
	return func(ctx context.Context) (out outcome, err error) {
		interpreter, err := python.Environment{What: "dynamodump", Requirements: dynamodumpRequirements}.Install(ctx, os.Stderr)
		if err != nil {
			return outcome{}, fmt.Errorf("%w: %w", errNotHere, err)
		}
		host, err := url.Parse(c.url)
		if err != nil {
			return outcome{}, err
		}
		folder, err := os.MkdirTemp("", "reseal-bench-")
		if err != nil {
			return outcome{}, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
		for _, step := range steps {
			args := step(interpreter, host)
			cmd := exec.CommandContext(ctx, args[0], args[1:]...)
			cmd.Dir, cmd.Stderr = folder, os.Stderr
			// An empty name is one that isn't there, to boto3.
			cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool { return strings.HasPrefix(variable, "AWS_PROFILE=") })
			start := time.Now()
			if err := cmd.Run(); err != nil {
				return outcome{}, fmt.Errorf("%s: %w", args[0], err)
			}
			out.WallSeconds += time.Since(start).Seconds()
			out.ProcessorSeconds += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
			if usage, is := cmd.ProcessState.SysUsage().(*syscall.Rusage); is {
				out.PeakBytes = max(out.PeakBytes, peak(usage))
			}
		}
		return out, nil
	}
}
