package seed_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/table"
	"reseal/seed"
)

// slow is a source and a target on which a seed takes two minutes.
func slow(stream func(time.Duration) (string, error)) *virtual {
	v := newVirtual(sized("item", 1200, 1000), 10*time.Millisecond)
	v.stream = stream
	return v
}

// watched runs a seed of two minutes and returns how long it took.
func watched(t *testing.T, v *virtual, checkpoint string) (time.Duration, error) {
	t.Helper()
	start := time.Now()
	_, err := seed.Run(t.Context(), seed.Options{
		StreamAge: -1, // a local engine has no reads that are behind
		Source:    v, SourceTable: "source", Target: v, TargetTable: "target", Segments: 2, WriteUnits: 10, Checkpoint: checkpoint,
	})
	return time.Since(start), err
}

// A long run ends soon after its stream was replaced, and leaves its checkpoint; one look that finds an older state doesn't end it.
func TestWatch(t *testing.T) {
	const second = time.Second
	unreachable := errors.New("no route")
	for name, c := range map[string]struct {
		stream      func(at time.Duration) (string, error)
		least, most time.Duration
		changed     bool
		fails       bool
	}{
		"never replaced": {func(time.Duration) (string, error) { return "stream", nil }, 100 * second, 140 * second, false, false},
		"replaced early": {func(at time.Duration) (string, error) {
			if at > 10*second {
				return "another", nil
			}
			return "stream", nil
		}, 30 * second, 40 * second, true, false},
		"an answer of before": {func(at time.Duration) (string, error) {
			if at > 25*second && at < 30*second+second/2 {
				return "one of before", nil
			}
			return "stream", nil
		}, 100 * second, 140 * second, false, false},
		"unreachable at times": {func(at time.Duration) (string, error) {
			if at > 20*second && at < 125*second {
				return "", unreachable
			}
			return "stream", nil
		}, 125 * second, 190 * second, false, false},
		"unreachable from then on": {func(at time.Duration) (string, error) {
			if at > 20*second {
				return "", unreachable
			}
			return "stream", nil
		}, 170 * second, 250 * second, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				checkpoint := filepath.Join(t.TempDir(), "c.json")
				took, err := watched(t, slow(c.stream), checkpoint)
				if took < c.least || took > c.most || errors.Is(err, table.ErrChanged) != c.changed || (err != nil) != (c.changed || c.fails) {
					t.Errorf("after %s: %v", took, err)
				}
				if _, statErr := os.Stat(checkpoint); (statErr == nil) != (err != nil) {
					t.Errorf("the checkpoint: %v, the seed: %v", statErr, err)
				}
				if errors.Is(err, context.Canceled) {
					t.Errorf("it passes for an interruption: %v", err)
				}
			})
		})
	}
}

// While nothing is copied, progress says why: how many keys had a lost write, and until when it waits.
func TestProgressOfWaiting(t *testing.T) {
	b := newBench(t, numbered(10))
	killedInWrite(t, b)
	b.source.Use(nil)
	var waited, unsettled int64
	var until time.Time
	b.options.RequestTimeout = 3 * time.Second // more than an interval of progress
	b.options.Progress = func(p seed.Progress) {
		if !p.WaitingUntil.IsZero() {
			waited++
			unsettled, until = p.Uncertain, p.WaitingUntil
		}
	}
	r := b.run()
	if waited == 0 || unsettled != 10 || until.IsZero() || time.Since(until) > 5*time.Second {
		t.Errorf("waited %d times, for %d keys, until %s", waited, unsettled, until)
	}
	if r.ItemsReread != 9 || r.ItemsSettled != 10 || r.Begun == "" {
		t.Errorf("%+v", r)
	}
	b.mustBeEqual()
}

// A stream keeps a record for a day. A seed that took longer can't see whether records were trimmed before they were replicated, and says so.
func TestLongerThanTheStreamKeeps(t *testing.T) {
	for name, c := range map[string]struct {
		writeUnits float64
		recheck    string
		warns      bool
	}{
		"28 hours":                    {0.01, "", true},
		"20 hours":                    {0.014, "", false},
		"28 hours without a re-check": {0.01, seed.RecheckOff, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVirtual(sized("item", 1000, 1000), 10*time.Millisecond)
				result := v.seed(t, func(o *seed.Options) {
					o.Segments, o.WriteUnits, o.StreamAge, o.Recheck = 1, c.writeUnits, -1, c.recheck
				})
				t.Log(time.Duration(result.ElapsedSeconds) * time.Second)
				if took := result.ElapsedSeconds; (took > 24*3600) != (c.writeUnits == 0.01) || took < 15*3600 {
					t.Fatalf("it took %.0f s: this test forces nothing", took)
				}
				if warns := len(result.Warnings) == 1 && strings.Contains(result.Warnings[0], "since "+result.Begun); warns != c.warns || len(result.Warnings) > 1 {
					t.Errorf("warnings %q", result.Warnings)
				}
			})
		})
	}
}
