package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"syscall"
	"time"

	"reseal/internal/table"
	"reseal/internal/test/canned"
	"reseal/replicate"
	"reseal/seed"
	"reseal/verify"

	"golang.org/x/sync/errgroup"
)

// childArgument is the first argument of a process that measures itself, or serves.
const childArgument = "child"

// job is what a process is to do.
type job struct {
	what     string
	url      string
	source   string
	target   string
	segments int
	calls    int    // of floor
	profile  string // file for a profile of the processor time; "": none
}

// jobs are the things that are measured.
var jobs = map[string]func(context.Context, job) error{
	"plain":            plainCopy,
	plainAsIs:          plainCopy,
	"put each":         putEach,
	"get each":         getEach,
	"seed":             func(ctx context.Context, j job) error { return seedTables(ctx, j, seed.RecheckAll) },
	"seed, no recheck": func(ctx context.Context, j job) error { return seedTables(ctx, j, seed.RecheckOff) },
	"verify":           verifyTables,
	"replicate":        replicateStream,
	"floor":            emptyCalls,
}

// plainAsIs is the plain loop with the garbage collector as Go sets it, which makes it faster, and larger.
const plainAsIs = "plain, Go's GOGC"

// asIs are the jobs with that garbage collector. All others have it as reseal sets it.
var asIs = []string{plainAsIs, "put each", "get each"}

func child(args []string) (err error) {
	var j job
	var server canned.Server
	flags := flag.NewFlagSet(childArgument, flag.ContinueOnError)
	flags.StringVar(&j.what, "do", "", "")
	flags.StringVar(&j.url, "url", "", "")
	flags.StringVar(&j.source, "source", "source", "")
	flags.StringVar(&j.target, "target", "target", "")
	flags.IntVar(&j.segments, "segments", 8, "")
	flags.IntVar(&j.calls, "calls", 0, "")
	flags.StringVar(&j.profile, "profile", "", "")
	flags.IntVar(&server.Items, "items", 0, "")
	flags.IntVar(&server.Size, "size", 0, "")
	flags.DurationVar(&server.Latency, "latency", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if j.what == "serve" {
		return serve(&server)
	}
	run, is := jobs[j.what]
	if !is {
		return fmt.Errorf("job %q is not known", j.what)
	}
	if !slices.Contains(asIs, j.what) {
		debug.SetGCPercent(60) // as cmd/reseal does
	}
	if j.profile != "" {
		file, err := os.Create(j.profile)
		if err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer func() { err = errors.Join(err, file.Close()) }()
		if err := pprof.StartCPUProfile(file); err != nil {
			return fmt.Errorf("profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	start := time.Now()
	if err := run(context.Background(), j); err != nil {
		return fmt.Errorf("%s: %w", j.what, err)
	}
	return report(time.Since(start))
}

// report prints the outcome for the process that has started this one.
func report(wall time.Duration) error {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return fmt.Errorf("get resource usage: %w", err)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return json.NewEncoder(os.Stdout).Encode(outcome{
		WallSeconds:      wall.Seconds(),
		ProcessorSeconds: time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds(),
		PeakBytes:        peak(&usage), Allocations: memory.Mallocs, AllocatedBytes: memory.TotalAlloc,
	})
}

// peak is the most memory that was resident at a time, in bytes.
func peak(usage *syscall.Rusage) int64 {
	if runtime.GOOS == "darwin" {
		return int64(usage.Maxrss) // in bytes already
	}
	return int64(usage.Maxrss) * 1024
}

// serve answers requests until standard input ends, at the address that it prints.
func serve(server *canned.Server) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	fmt.Println("http://" + listener.Addr().String())
	var group errgroup.Group
	web := &http.Server{Handler: server, ReadHeaderTimeout: time.Minute}
	group.Go(func() error { return web.Serve(listener) })
	var end [1]byte
	_, _ = os.Stdin.Read(end[:]) // whatever it says, it is time to end
	return errors.Join(web.Close(), ignoreClosed(group.Wait()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// open returns the clients that the command line would have.
func (j job) open(ctx context.Context) (source, target *table.Handle, err error) {
	source, err = table.Side{Name: "source", Table: j.source, EndpointURL: j.url}.Open(ctx)
	if err != nil {
		return nil, nil, err
	}
	target, err = table.Side{Name: "target", Table: j.target, EndpointURL: j.url}.Open(ctx)
	return source, target, err
}

func seedTables(ctx context.Context, j job, recheck string) error {
	source, target, err := j.open(ctx)
	if err != nil {
		return err
	}
	folder, err := os.MkdirTemp("", "reseal-bench-")
	if err != nil {
		return err
	}
	_, err = seed.Run(ctx, seed.Options{
		StreamAge: -1, // a local engine has no reads that are behind
		Source:    source.DB, SourceTable: source.Table, Target: target.DB, TargetTable: target.Table, Segments: j.segments, Recheck: recheck,
		Encryption: table.EncryptionAny, Checkpoint: filepath.Join(folder, "checkpoint.json"), ReadUnits: unlimited, WriteUnits: unlimited,
	})
	return errors.Join(err, os.RemoveAll(folder))
}

// unlimited is more units a second than any server here serves: what is measured is never the budget.
const unlimited = 1e7

var errNoMatch = errors.New("the tables don't match")

func verifyTables(ctx context.Context, j job) error {
	source, target, err := j.open(ctx)
	if err != nil {
		return err
	}
	result, err := verify.Run(ctx, verify.Options{
		Source: source.DB, SourceTable: source.Table, Target: target.DB, TargetTable: target.Table, Segments: j.segments,
		Encryption: table.EncryptionAny, Settle: time.Second, MaxMemory: 256 << 20,
	})
	if err == nil && !result.Match {
		err = errNoMatch
	}
	return err
}

func replicateStream(ctx context.Context, j job) error {
	source, target, err := j.open(ctx)
	if err != nil {
		return err
	}
	_, err = replicate.Run(ctx, replicate.Options{
		Source: source.DB, Streams: source.Streams, SourceTable: source.Table, Target: target.DB, TargetTable: target.Table,
		From: replicate.FromTrimHorizon, UntilIdle: time.Millisecond, Encryption: table.EncryptionAny,
	})
	return err
}
