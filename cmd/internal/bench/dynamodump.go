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

	"reseal/internal/test/install"
)

//go:embed dynamodump/requirements.txt
var dynamodumpRequirements []byte

// dynamodumpStart runs it without the second that it waits before each of the 25 threads of a backup, of which a table takes one.
const dynamodumpStart = "import dynamodump.dynamodump as d; d.THREAD_START_DELAY = 0; d.main()"

// dynamodumpCompare tells by its exit status whether two backups have the same items, so many. diff finds each file to differ, since
// DynamoDB has no order of attributes, and their order in the files is that of the answers.
//
//go:embed dynamodump/compare.py
var dynamodumpCompare string

// dynamodumpDiffers is its exit status if they haven't; if it fails, that is 1.
const dynamodumpDiffers = 3

const dynamodumpNote = "dynamodump's wait of 25 s before a backup is left out. It restores into a table that is there, with --dataOnly and " +
	"--skipThroughputUpdate. It has no comparison: this is a backup of both tables at once and a script that compares the files by key."

// dynamodump is the program of that name (MIT License), which backs a table up to files, and restores it.
type dynamodump struct {
	interpreter string // path of the Python that has it
	host        *url.URL
	items       int // of each table
}

// newDynamodump fails if it can't be installed.
func newDynamodump(ctx context.Context, c *contest) (dynamodump, error) {
	host, err := url.Parse(c.url)
	if err != nil {
		return dynamodump{}, err
	}
	interpreter, err := install.Python{
		What: "dynamodump", Requirements: dynamodumpRequirements, Remedy: "do without it",
	}.Install(ctx, os.Stderr)
	return dynamodump{interpreter, host, c.items}, err
}

func (d dynamodump) peer() peer {
	return peer{copy: work{"dynamodump, backup and restore", d.copy}, compare: work{"dynamodump, two backups and a script", d.compare}}
}

func (d dynamodump) copy(ctx context.Context) (out outcome, err error) {
	err = inFolder(func(folder string) error {
		if err := d.run(ctx, &out, folder, "-m", "backup", "-s", "source"); err != nil {
			return err
		}
		return d.run(ctx, &out, folder, "-m", "restore", "-s", "source", "-d", "target", "--dataOnly", "--skipThroughputUpdate", "--noConfirm")
	})
	return out, err
}

func (d dynamodump) compare(ctx context.Context) (out outcome, err error) {
	err = inFolder(func(folder string) error {
		if err := d.run(ctx, &out, folder, "-m", "backup", "-s", "*"); err != nil {
			return err
		}
		err := d.python(
			ctx, &out, folder, "-c", dynamodumpCompare, strconv.Itoa(d.items), filepath.Join("dump", "source", "data"), filepath.Join("dump", "target", "data"),
		)
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() == dynamodumpDiffers {
			err = errNoComparison
		}
		return err
	})
	return out, err
}

// inFolder calls f with an empty folder, which is gone afterwards.
func inFolder(f func(folder string) error) (err error) {
	folder, err := os.MkdirTemp("", "reseal-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	return f(folder)
}

// run adds a run of dynamodump in a folder to the outcome.
func (d dynamodump) run(ctx context.Context, out *outcome, folder string, args ...string) error {
	start := []string{
		"-c", dynamodumpStart, "--region", "us-east-1", "--host", d.host.Hostname(), "--port", d.host.Port(),
		"--accessKey", credentials["AWS_ACCESS_KEY_ID"], "--secretKey", credentials["AWS_SECRET_ACCESS_KEY"], "--log", "WARNING",
	}
	if err := d.python(ctx, out, folder, append(start, args...)...); err != nil {
		return fmt.Errorf("dynamodump: %w", err)
	}
	return nil
}

// dynamodumpTime is the most that one run may take. A backup whose thread fails never ends.
const dynamodumpTime = 10 * time.Minute

// python adds a run of the interpreter, with all processes that it starts, to the outcome.
func (d dynamodump) python(ctx context.Context, out *outcome, folder string, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, dynamodumpTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.interpreter, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, os.Stderr, os.Stderr
	cmd.Env = slices.DeleteFunc(os.Environ(), func(variable string) bool {
		return strings.HasPrefix(variable, "AWS_PROFILE=") // empty, it is a profile that isn't there to boto3
	})
	start := time.Now()
	err := cmd.Run()
	out.WallSeconds += time.Since(start).Seconds()
	if cmd.ProcessState != nil {
		out.ProcessorSeconds += (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
		if usage, is := cmd.ProcessState.SysUsage().(*syscall.Rusage); is {
			out.PeakBytes = max(out.PeakBytes, peak(usage))
		}
	}
	return err
}
