package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/verify"

	"github.com/spf13/pflag"
)

// followFlags are those of verify that keep its verdict true while the application writes.
type followFlags struct {
	on         bool
	untilQuiet time.Duration
	most       time.Duration
}

func (f *followFlags) addTo(flags *pflag.FlagSet) {
	flags.BoolVar(&f.on, "follow", false, "go on when the scans are done: look at each key that changes, until stopped")
	flags.DurationVar(&f.untilQuiet, "until-quiet", 0, "with --follow: end when no key was open, and nothing changed, for so long, such as\n10s (default 0s: not for that)")
	flags.DurationVar(&f.most, "for", 0, "with --follow: end after so long, or when the scans are done if that is later, such\nas 2h (default 0s: not for that)")
}

// apply puts the flags into the options. The context it returns is that of a run whose interruption is told by Options.Follow.Stop once it
// has begun: what ends a verification that follows is no failure, it ends with its verdict. begun is to be called when it has.
func (f *followFlags) apply(ctx context.Context, o *verify.Options, source *table.Handle) (_ context.Context, begun func(), err error) {
	if !f.on {
		if f.untilQuiet != 0 || f.most != 0 {
			return nil, nil, refuse.New("give --follow too, or leave them out", "--until-quiet and --for are of --follow")
		}
		return ctx, func() {}, nil
	}
	stop := make(chan struct{})
	o.Follow = verify.FollowOptions{Streams: source.Streams, UntilQuiet: f.untilQuiet, For: f.most, Stop: stop}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var follows atomic.Bool
	context.AfterFunc(ctx, func() {
		close(stop)
		if !follows.Load() {
			cancel()
		}
	})
	return running, func() { follows.Store(true) }, nil
}

// stopping is the first line after a signal.
func (f *followFlags) stopping(checkpoint string) string {
	switch {
	case !f.on:
		return stoppingLine(checkpoint)
	case checkpoint == "":
		return "reseal: ending with what is known; again to stop at once"
	}
	return "reseal: ending with what is known, saving the checkpoint; again to stop at once"
}

// followed are the result's lines of --follow.
func followed(r verify.Result) []string {
	f := r.Following
	if f == nil {
		return nil
	}
	caughtUp := "no"
	if f.CaughtUp {
		caughtUp = "yes"
	}
	oldest := ""
	if f.Open > 0 {
		oldest = fmt.Sprintf(" (the last change of the oldest was seen %.0f s before the end)", f.OldestOpenSeconds)
	}
	return []string{
		"followed", many(f.FollowedRecords, "record") + " of the stream, from " + orUnknown(f.FollowedSince) + " to " + orUnknown(f.FollowedUntil),
		"open", many(f.Open, "key") + oldest,
		"unsettled", count(f.Unsettled) + " of them differed when last looked at",
		"looked at", many(f.LookedAt, "key"),
		"mended", count(f.Mended) + " of the differences agreed later by themselves",
		"caught up", caughtUp,
	}
}

func orUnknown(moment string) string {
	if moment == "" {
		return "a time that is not known"
	}
	return moment
}

// openError is errDifferent of a verification that followed, and found nothing that differs.
type openError struct{ open int64 }

func (e openError) Error() string {
	if e.open == 0 {
		return "the tables are not known to match: the stream is not known to be read to its end"
	}
	return "the tables are not known to match: nothing differs, but " + many(e.open, "key") + " that changed of late " + areOpen(e.open)
}

func areOpen(n int64) string {
	if n == 1 {
		return "is open"
	}
	return "are open"
}

func (openError) Is(target error) bool { return target == errDifferent }

// following is the part of the progress line on what is followed.
func following(f verify.FollowProgress) string {
	if f.NoShards {
		return "waiting for the stream to list a shard"
	}
	if !f.Opened {
		return "opening the stream"
	}
	open := many(f.Open, "key") + " open"
	if f.Open > 0 {
		open += " (oldest " + f.OldestOpen.Round(time.Second).String()
		if f.Unsettled > 0 {
			open += fmt.Sprintf(", %s differ so far", count(f.Unsettled))
		}
		open += ")"
	}
	return fmt.Sprintf("%s, %s, lag %s", open, many(f.Differing, "difference"), f.Lag.Round(time.Second))
}

// followTroubles tells of what keeps the stream from being read, each time that it changes, and of throttling once.
type followTroubles struct {
	failure   string
	throttled bool
	noShards  int // times in a row that this was so
}

// noShardsFor is for how many seconds a stream lists no shard when that is told.
const noShardsFor = 30

// next returns what is to be told now; "" for nothing.
func (t *followTroubles) next(f *verify.FollowProgress) string {
	switch {
	case f == nil:
		return ""
	case f.Failure != nil && f.Failure.Error() != t.failure:
		t.failure = f.Failure.Error()
		return "WARNING: the stream can't be read at present, and is tried again: " + t.failure
	case f.Failure == nil:
		t.failure = ""
	}
	if t.noShards++; !f.NoShards {
		t.noShards = 0
	}
	if t.noShards == noShardsFor {
		return "WARNING: the stream of the source lists no shard, and the scans wait for one, for up to 5 minutes"
	}
	if f.StreamThrottled > 0 && !t.throttled {
		t.throttled = true
		return "WARNING: " + verify.ThrottledStream
	}
	return ""
}
