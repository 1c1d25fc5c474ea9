package seed_test

import (
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/table"
	"reseal/seed"
)

// A page may be behind. What it lacks of the time before the stream was enabled, no record tells of: so the first page is read only when
// the stream has been on for a while.
func TestStreamThatIsJustOn(t *testing.T) {
	for name, test := range map[string]struct {
		label string        // relative to the start, if it is a duration
		age   time.Duration // of the options
		want  time.Duration // that Run waits
	}{
		"just enabled":               {"0s", 0, 10 * time.Second},
		"three seconds ago":          {"-3s", 0, 7 * time.Second},
		"a minute ago":               {"-1m", 0, 0},
		"by a clock that is ahead":   {"1h", 0, 10 * time.Second},
		"a label that tells nothing": {"1", 0, 0},
		"another age":                {"-3s", 4 * time.Second, time.Second},
		"not looked at":              {"0s", -1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVirtual(sized("item", 10, 100), 0)
				if since, err := time.ParseDuration(test.label); err == nil {
					test.label = time.Now().Add(since).UTC().Format("2006-01-02T15:04:05.000")
				}
				v.label = &test.label
				told := 0
				start := time.Now()
				_, err := seed.Run(table.OnWaiting(t.Context(), func(table.Waiting) { told++ }), seed.Options{
					Source: v, SourceTable: "source", Target: v, TargetTable: "target", Segments: 1, StreamAge: test.age,
				})
				if err != nil {
					t.Fatal(err)
				}
				waited := v.start.Sub(start)
				if waited < test.want || waited > test.want+time.Second || (told > 0) != (test.want > 0) {
					t.Errorf("the first page was read after %s, told %d times; want %s", waited, told, test.want)
				}
			})
		})
	}
}

// A dry run copies nothing, so it has nothing to wait for.
func TestDryRunOverAStreamThatIsJustOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVirtual(sized("item", 10, 100), 0)
		label := time.Now().UTC().Format("2006-01-02T15:04:05.000")
		v.label = &label
		start := time.Now()
		_, err := seed.Plan(t.Context(), seed.Options{Source: v, SourceTable: "source", Target: v, TargetTable: "target", Segments: 1}, seed.Prices{})
		if err != nil || time.Since(start) > time.Second {
			t.Errorf("it took %s: %v", time.Since(start), err)
		}
	})
}
