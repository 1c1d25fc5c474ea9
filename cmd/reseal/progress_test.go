package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"reseal/replicate"
	"reseal/seed"
	"reseal/verify"
)

// paced returns a progress whose clock goes on by a second at each call of tick.
func paced(columns int) (p *progress, out *bytes.Buffer, tick func()) {
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	out = &bytes.Buffer{}
	p = &progress{out: out, on: true, interval: lineInterval, now: func() time.Time { return clock }, lastLine: clock}
	if columns > 0 {
		p.columns = func() int { return columns }
	}
	return p, out, func() { clock = clock.Add(time.Second) }
}

// seeding is a seed of 50,000 items after so many seconds at 2,000 items a second.
func seeding(seconds int64) seed.Progress {
	return seed.Progress{
		ItemsRead: 2000 * seconds, ItemsWritten: 2000 * seconds, ItemsExpected: 50_000,
		ReadUnits: float64(1100 * seconds), LimitedReads: float64(1000 * seconds), ReadLimit: 1200,
		WriteUnits: float64(4000 * seconds), LimitedWrites: float64(2000 * seconds), WriteLimit: 2400, Throttled: 3,
		SegmentsDone: int(seconds) / 2, Segments: 16,
	}
}

func TestProgressLines(t *testing.T) {
	t.Parallel()
	p, out, tick := paced(0)
	for second := range int64(25) {
		p.seed(seeding(second))
		tick()
	}
	p.finish()
	want := "seed: 20,000/50,000 items, 2,000 items/s, ETA 15s, 3 throttled, 1,000 of 1,200 RCU/s, 2,000 of 2,400 WCU/s, 5/16 segments\n" +
		"seed: 40,000/50,000 items, 2,000 items/s, ETA 5s, 3 throttled, 1,000 of 1,200 RCU/s, 2,000 of 2,400 WCU/s, 10/16 segments\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

func TestProgressOfEachCommand(t *testing.T) {
	t.Parallel()
	p, out, tick := paced(0)
	p.interval = time.Second
	last := func(want string) {
		t.Helper()
		if got := strings.TrimSuffix(out.String(), "\n"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		out.Reset()
		tick()
	}
	tick()
	p.verify(verify.Progress{SourceItems: 10, TargetItems: 20, SourceExpected: 50, TargetExpected: 60, Waiting: 10, ReadUnits: 5})
	last("verify: 30/110 items, 0 items/s, 0 throttled, 0 RCU/s, 10 unmatched, 10 of the source, 20 of the target")
	p.verify(verify.Progress{SourceItems: 30, TargetItems: 40, SourceExpected: 50, TargetExpected: 60, Waiting: 1, ReadUnits: 8, Throttled: 1})
	last("verify: 70/110 items, 40 items/s, 1 throttled, 3 RCU/s, 1 unmatched, 30 of the source, 40 of the target")
	p.verify(verify.Progress{SourceItems: 50, TargetItems: 60, SourceExpected: 50, TargetExpected: 60, Waiting: 1, Settling: true, ReadUnits: 11, Throttled: 1})
	last("verify: settling 1 item that did not match, 1 throttled, 3 RCU/s")
	tick()
	p.fingerprint(verify.FingerprintProgress{Items: 150, Expected: 400, ReadUnits: 14, Throttled: 2})
	if got := out.String(); !strings.HasPrefix(got, "fingerprint: 150/400 items, ") || !strings.Contains(got, " RCU/s") || !strings.Contains(got, ", 2 throttled, ") {
		t.Errorf("got %q", got)
	}

	p, out, tick = paced(0)
	p.interval = time.Second
	tick()
	p.replicate(replicate.Progress{Counts: replicate.Counts{Records: 1234}, ActiveShards: 4, Lag: 1499 * time.Millisecond})
	last("replicate: 1,234 records, 0 records/s, lag 1s, 0 throttled, 0 WCU/s, 4 active shards")

	p, out, tick = paced(0)
	p.interval = time.Second
	tick()
	p.seed(seed.Progress{ItemsWritten: 11, ItemsExpected: 10, Segments: 1}) // ItemCount is hours old
	last("seed: 11 items, 0 items/s, 0 throttled, 0 RCU/s, 0 WCU/s, 0/1 segments")
}

func TestProgressOff(t *testing.T) {
	t.Parallel()
	for _, columns := range []int{0, 80} {
		p, out, tick := paced(columns)
		p.on = false
		for second := range int64(25) {
			p.seed(seeding(second))
			tick()
		}
		p.finish()
		if out.Len() > 0 {
			t.Errorf("%d columns: %q", columns, out)
		}
	}
}

// screen is one line of a terminal. It fails the test if more than the line is touched.
type screen struct {
	t       *testing.T
	columns int
	line    []rune
	at      int
}

// show interprets what was written to the terminal.
func (s *screen) show(written string) {
	s.t.Helper()
	for written != "" {
		r, size := utf8.DecodeRuneInString(written)
		switch {
		case strings.HasPrefix(written, "\x1b[2K"):
			s.line, size = s.line[:0], len("\x1b[2K")
		case strings.HasPrefix(written, "\x1b[0K"):
			s.line, size = s.line[:min(s.at, len(s.line))], len("\x1b[0K")
		case r == '\r':
			s.at = 0
		case r < ' ':
			s.t.Fatalf("control character in %q", written)
		default:
			for len(s.line) <= s.at {
				s.line = append(s.line, ' ')
			}
			s.line[s.at] = r
			if s.at++; s.at >= s.columns {
				s.t.Fatalf("the line of %d columns is full: %q", s.columns, string(s.line))
			}
		}
		written = written[size:]
	}
}

func (s *screen) text() string { return strings.TrimRight(string(s.line), " ") }

func TestProgressBar(t *testing.T) {
	t.Parallel()
	for columns, want := range map[int]string{
		40:  "  40% |███     |  20,000/50,000 items",
		80:  "  40% |████       |  20,000/50,000 items, 2,000 items/s, ETA 15s, 3 throttled",
		120: "  40% |██     |  20,000/50,000 items, 2,000 items/s, ETA 15s, 3 throttled, 1,000 of 1,200 RCU/s, 2,000 of 2,400 WCU/s",
		150: "  40% |████████            |  20,000/50,000 items, 2,000 items/s, ETA 15s, 3 throttled, 1,000 of 1,200 RCU/s, 2,000 of 2,400 WCU/s, 5/16 segments",
		0:   "  40% |████       |  20,000/50,000 items, 2,000 items/s, ETA 15s, 3 throttled", // a width that can't be found out
		20:  "  40% |█  |  20,0",
		5:   "",
	} {
		p, out, tick := paced(max(columns, 1))
		p.columns = func() int { return columns }
		s := &screen{t: t, columns: columns}
		if columns == 0 {
			s.columns = 80
		}
		if columns < 15 { // no room for anything: it must not fail, that's all
			s.columns = 1000
		}
		for second := range int64(30) { // to more items than expected
			p.seed(seeding(second))
			s.show(out.String())
			out.Reset()
			if got := s.text(); second == 10 && want != "" && got != want {
				t.Errorf("%d columns:\n%q, want\n%q", columns, got, want)
			}
			if strings.Contains(s.text(), "50,000/50,000") && !strings.HasPrefix(s.text(), "  99% ") {
				t.Errorf("%d columns: %q", columns, s.text())
			}
			tick()
		}
		if got := s.text(); columns == 80 && !strings.HasSuffix(got, "  58,000 items, 2,000 items/s, 3 throttled, 1,000 of 1,200 RCU/s") {
			t.Errorf("past the end: %q", got)
		}
		p.finish()
		s.show(out.String())
		if s.text() != "" || s.at != 0 {
			t.Errorf("%d columns: %q is left", columns, s.text())
		}
	}
}

// TestProgressBarOfVerify goes from a bar with an end to one without.
func TestProgressBarOfVerify(t *testing.T) {
	t.Parallel()
	p, out, tick := paced(80)
	s := &screen{t: t, columns: 80}
	for second := range int64(10) {
		v := verify.Progress{SourceItems: 100 * second, TargetItems: 100 * second, SourceExpected: 500, TargetExpected: 500, Waiting: 7}
		v.Settling = second >= 5
		p.verify(v)
		s.show(out.String())
		out.Reset()
		if got := s.text(); v.Settling != strings.HasSuffix(got, "  settling 7 items that did not match, 0 throttled, 0 RCU/s") {
			t.Errorf("%q", got)
		}
		tick()
	}
	p.finish()
	s.show(out.String())
	if s.text() != "" {
		t.Errorf("%q is left", s.text())
	}
}

// The first seconds say little of the pace: no time is told from them, and they don't weigh on the times told later.
func TestProgressFirstETA(t *testing.T) {
	t.Parallel()
	p, out, tick := paced(0)
	p.interval = time.Second
	shown := func(items int64) string {
		out.Reset()
		p.seed(seed.Progress{ItemsWritten: items, ItemsExpected: 20_000})
		tick()
		return out.String()
	}
	for second, items := range []int64{0, 5, 10, 1500, 3500} {
		if text := shown(items); strings.Contains(text, "ETA") {
			t.Errorf("second %d: %q", second, text)
		}
	}
	if text := shown(5500); !strings.Contains(text, " ETA 1") || strings.Contains(text, "m") && strings.Contains(text, "ETA 1m") {
		t.Errorf("after 5 s: %q, want some 15 s", text)
	}
	if text := shown(20_000); strings.Contains(text, "ETA") {
		t.Errorf("at the end: %q", text)
	}
}

// A seed that has copied everything and waits says what for.
func TestProgressOfWaitingSeed(t *testing.T) {
	t.Parallel()
	p, out, tick := paced(0)
	p.interval = time.Second
	tick()
	s := seed.Progress{ItemsWritten: 10, ItemsResumed: 90, ItemsExpected: 101, Uncertain: 1200, WaitingUntil: p.now().Add(14 * time.Second)}
	p.seed(s)
	s.Uncertain = 0 // which they are, nobody knows
	tick()
	p.seed(s)
	s.Uncertain = 1200
	s.WaitingUntil, s.Settling = time.Time{}, true
	tick()
	p.seed(s)
	s.Settling = false
	tick()
	p.seed(s)
	want := "seed: waiting 14 s until lost writes of 1,200 items can't land any more, 0 throttled, 0 RCU/s, 0 WCU/s, 0/0 segments\n" +
		"seed: waiting 13 s until writes of an earlier seed can't land any more, 0 throttled, 0 RCU/s, 0 WCU/s, 0/0 segments\n" +
		"seed: settling 1,200 items with lost writes, 0 throttled, 0 RCU/s, 0 WCU/s, 0/0 segments\n" +
		"seed: 100/101 items, 0 items/s, 0 throttled, 0 RCU/s, 0 WCU/s, 0/0 segments\n"
	if out.String() != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
}

// A line that is said stands by itself: the bar is cleared before it, and drawn again below. Nothing is said after the end.
func TestProgressSays(t *testing.T) {
	t.Parallel()
	p, out, _ := paced(80)
	p.seed(seeding(1))
	out.Reset()
	p.say("stopping")
	if before, _, said := strings.Cut(out.String(), "stopping\n"); !said || !strings.HasSuffix(before, "\r") {
		t.Errorf("%q", out)
	}
	p.finish()
	out.Reset()
	p.say("too late")
	if out.Len() > 0 {
		t.Errorf("%q", out)
	}
}

// One line says what a verification follows, and what keeps it from that is told once.
func TestProgressOfFollowing(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]verify.FollowProgress{
		"waiting for the stream to list a shard": {NoShards: true},
		"opening the stream":                     {},
		"0 keys open, 0 differences, lag 1s":     {Opened: true, Lag: time.Second},
		"12 keys open (oldest 34s, 3 differ so far), 1 difference, lag 1s": {
			Opened: true, Scanned: true, Open: 12, OldestOpen: 34 * time.Second, Unsettled: 3, Differing: 1, Lag: time.Second,
		},
	} {
		if got := following(f); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	var troubles followTroubles
	told := map[string]int{}
	say := func(f verify.FollowProgress) {
		if said := troubles.next(&f); said != "" {
			told[said]++
		}
	}
	for range 100 {
		say(verify.FollowProgress{NoShards: true})
	}
	for range 3 {
		say(verify.FollowProgress{Opened: true, StreamThrottled: 2})
		say(verify.FollowProgress{Opened: true, StreamThrottled: 2, Failure: errors.New("no network")})
	}
	if len(told) != 3 || told["WARNING: "+verify.ThrottledStream] != 1 || told["WARNING: the stream can't be read at present, and is tried again: no network"] != 3 {
		t.Errorf("told %v", told)
	}
}
