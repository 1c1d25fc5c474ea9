package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"reseal/replicate"
	"reseal/seed"
	"reseal/verify"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a command has come: a bar on a terminal, a line every 10 s otherwise.
type progress struct {
	mu       sync.Mutex
	ended    bool
	out      io.Writer
	on       bool
	columns  func() int // of the terminal; nil: it is none
	interval time.Duration
	now      func() time.Time
	lastLine time.Time

	followed followTroubles // of verify --follow; not guarded: progress is shown by one goroutine
	beside   func() string  // of what goes on beside it, to come after the note; may be nil
	later    float64        // of the whole job, what is still to be done after this, as a part of what this is

	bar     *progressbar.ProgressBar
	endless bool // the bar is one without an end

	done   int64     // as it was shown last
	since  time.Time // of the first measurement
	before figures   // of the last measurement, for rates
	rate   figures   // a second, smoothed
	steady smooth    // items a second, smoothed over a longer time
	smooth [3]smooth // of rate
}

// figures are those of one moment.
type figures struct {
	at                   time.Time
	items, reads, writes float64
}

// smooth is a mean over about the last seconds given, in which newer values weigh more. The first value doesn't weigh more than any.
type smooth struct{ sum, weight float64 }

func (s *smooth) add(value, elapsed, seconds float64) float64 {
	kept := math.Exp(-elapsed / seconds)
	s.sum = kept*s.sum + (1-kept)*value
	s.weight = kept*s.weight + (1 - kept)
	return s.mean()
}

func (s *smooth) mean() float64 {
	if s.weight == 0 {
		return 0
	}
	return s.sum / s.weight
}

// status is what there is to show.
type status struct {
	command   string
	noun      string // of what is counted
	done      int64
	expected  int64   // 0: no end is known
	instead   string  // of the count and its rate; may be empty
	note      string  // to follow them; may be empty
	rest      string  // to come last; may be empty
	reads     limited // units
	writes    limited
	throttled int64
}

// limited is units, so far, and how many a second they are held to.
type limited struct {
	units, limit float64
	none         bool // there are none of the kind
}

const lineInterval = 10 * time.Second

func newProgress(out io.Writer, on bool) *progress {
	p := &progress{out: out, on: on, interval: lineInterval, now: time.Now, lastLine: time.Now()}
	file, is := out.(*os.File)
	if is && term.IsTerminal(int(file.Fd())) && os.Getenv("TERM") != "dumb" {
		p.columns = func() int {
			width, _, err := term.GetSize(int(file.Fd()))
			if err != nil {
				return 0
			}
			return width
		}
	}
	return p
}

func (p *progress) seed(s seed.Progress) {
	shown := status{
		command: "seed", noun: "items", done: s.ItemsResumed + s.ItemsWritten, expected: s.ItemsExpected,
		reads: limited{units: s.LimitedReads, limit: s.ReadLimit}, writes: limited{units: s.LimitedWrites, limit: s.WriteLimit},
		throttled: s.Throttled, rest: fmt.Sprintf("%d/%d segments", s.SegmentsDone, s.Segments),
	}
	lost, waitsFor := many(s.Uncertain, "item"), "lost writes of "+many(s.Uncertain, "item")
	if s.Uncertain == 0 { // the checkpoint that tells of them is damaged, or there was none: see seed.ErrLeftovers
		waitsFor = "writes of an earlier seed"
	}
	switch wait := s.WaitingUntil.Sub(p.now()); {
	case !s.WaitingUntil.IsZero():
		shown.instead = fmt.Sprintf("waiting %.0f s until %s can't land any more", max(1, math.Ceil(wait.Seconds())), waitsFor)
	case s.Settling:
		shown.instead = "settling " + lost + " with lost writes"
	}
	if shown.instead != "" {
		shown.expected = 0
	}
	p.show(shown)
}

func (p *progress) verify(v verify.Progress) {
	s := status{
		command: "verify", noun: "items", done: v.SourceItems + v.TargetItems, expected: v.SourceExpected + v.TargetExpected,
		reads: limited{units: v.ReadUnits, limit: v.ReadLimit}, writes: limited{none: true}, throttled: v.Throttled,
		rest: fmt.Sprintf("%s unmatched, %s of the source, %s of the target", count(v.Waiting), count(v.SourceItems), count(v.TargetItems)),
	}
	if v.Settling {
		s.instead, s.expected, s.rest = "settling "+many(v.Waiting, "item")+" that did not match", 0, ""
	}
	if f := v.Following; f != nil {
		s.note = following(*f)
		if f.Scanned {
			s.instead, s.rest = "following", fmt.Sprintf("%s items of the source, %s of the target", count(v.SourceItems), count(v.TargetItems))
		}
		if said := p.followed.next(f); said != "" {
			defer p.say("reseal: " + harmless(said))
		}
	}
	p.show(s)
}

func (p *progress) fingerprint(f verify.FingerprintProgress) {
	p.show(status{
		command: "fingerprint", noun: "items", done: f.Items, expected: f.Expected,
		reads: limited{units: f.ReadUnits, limit: f.ReadLimit}, writes: limited{none: true}, throttled: f.Throttled,
	})
}

func (p *progress) replicate(r replicate.Progress) {
	p.show(status{
		command: "replicate", noun: "records", done: r.Records,
		reads: limited{none: true}, writes: limited{units: r.WriteUnits}, throttled: r.Throttled,
		note: "lag " + r.Lag.Round(time.Second).String(), rest: many(int64(r.ActiveShards), "active shard"),
	})
}

func (p *progress) show(s status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = s.done
	if !p.on || p.ended {
		return
	}
	p.measure(float64(s.done), s.reads.units, s.writes.units)
	if s.expected < s.done {
		s.expected = 0 // the table holds more than its ItemCount says
	}
	if p.columns != nil {
		p.draw(s)
		return
	}
	if now := p.now(); now.Sub(p.lastLine) >= p.interval {
		p.lastLine = now
		_, _ = fmt.Fprintln(p.out, s.command+": "+strings.Join(p.parts(s), ", "))
	}
}

// parts is the status in words, the most important first.
func (p *progress) parts(s status) []string {
	var list []string
	add := func(part string) {
		if part != "" {
			list = append(list, part)
		}
	}
	if s.instead != "" {
		add(s.instead)
	} else {
		if s.expected > 0 {
			add(count(s.done) + "/" + count(s.expected) + " " + s.noun)
		} else {
			add(count(s.done) + " " + s.noun)
		}
		add(perSecond(p.rate.items, s.noun))
	}
	add(s.note)
	if p.beside != nil {
		add(p.beside())
	}
	add(p.eta(s))
	add(count(s.throttled) + " throttled")
	add(s.reads.perSecond(p.rate.reads, "RCU"))
	add(s.writes.perSecond(p.rate.writes, "WCU"))
	add(s.rest)
	return list
}

func perSecond(rate float64, noun string) string {
	return humanize.CommafWithDigits(math.Round(rate), 0) + " " + noun + "/s"
}

// perSecond is the units a second, beside the limit.
func (l limited) perSecond(rate float64, unit string) string {
	switch {
	case l.none:
		return ""
	case l.limit > 0:
		return fmt.Sprintf("%s of %s", humanize.CommafWithDigits(math.Round(rate), 0), perSecond(max(1, l.limit), unit))
	}
	return perSecond(rate, unit)
}

const (
	rateWindow   = 5.0  // seconds of the rates that are shown
	steadyWindow = 30.0 // and of the one that tells the time left
	// etaAfter is when there is a rate worth the name: the first seconds open connections and look for the pace.
	etaAfter = 5 * time.Second
)

// eta is when the expected number is reached at the rate of late.
func (p *progress) eta(s status) string {
	rate := p.steady.mean()
	if s.expected == s.done || s.expected == 0 || rate < 0.01 || p.before.at.Sub(p.since) < etaAfter {
		return ""
	}
	left := math.Round(float64(s.expected-s.done) / rate)
	text := "ETA " + (time.Duration(left) * time.Second).String()
	if p.later > 0 {
		whole := left + math.Round(p.later*float64(s.expected)/rate)
		text += ", of the whole about " + (time.Duration(whole) * time.Second).String()
	}
	return text
}

// measure keeps the rates.
func (p *progress) measure(items, reads, writes float64) {
	now := figures{p.now(), items, reads, writes}
	if p.before.at.IsZero() {
		p.since, p.before = now.at, now
		return
	}
	elapsed := now.at.Sub(p.before.at).Seconds()
	if elapsed < 0.2 {
		return // too short to tell
	}
	p.rate.items = p.smooth[0].add((now.items-p.before.items)/elapsed, elapsed, rateWindow)
	p.rate.reads = p.smooth[1].add((now.reads-p.before.reads)/elapsed, elapsed, rateWindow)
	p.rate.writes = p.smooth[2].add((now.writes-p.before.writes)/elapsed, elapsed, rateWindow)
	p.steady.add((now.items-p.before.items)/elapsed, elapsed, steadyWindow)
	p.before = now
}

const (
	barWidth    = 20 // columns, where there is room
	barMinWidth = 3
	barFrame    = len(" 100% ||   ") + len("^C") // what the bar library draws around bar and text, and the terminal at ^C
	barSteps    = 1000
)

// draw shows the status on one line of the terminal. Of what there is no room for, the least important is left out: a line
// that is too long would be wrapped, and what was wrapped is never cleared.
func (p *progress) draw(s status) {
	room := cmp.Or(p.columns(), 80) - barFrame - barMinWidth
	parts := p.parts(s)
	text := strings.Join(parts, ", ")
	for len(text) > room && len(parts) > 1 {
		parts = parts[:len(parts)-1]
		text = strings.Join(parts, ", ")
	}
	text = text[:min(len(text), max(room, 0))]

	p.useBar(s.expected == 0)
	progressbar.OptionSetWidth(barMinWidth + min(barWidth-barMinWidth, max(room-len(text), 0)))(p.bar)
	p.bar.Describe(text) // before Set64: both draw, and the new width goes with the new text
	if !p.endless {
		// The last step is never taken: a bar that is full takes itself for finished and is not drawn any more. An error is one
		// of the terminal, and no reason to stop a copy.
		_ = p.bar.Set64(min(s.done*barSteps/s.expected, barSteps-1))
	}
}

// useBar makes the bar, and a new one when it is found out that there is an end, or that there is none.
func (p *progress) useBar(endless bool) {
	if p.bar != nil && p.endless == endless {
		return
	}
	p.clear()
	end := int64(barSteps)
	if endless {
		end = -1
	}
	p.endless = endless
	p.bar = progressbar.NewOptions64(
		end,
		progressbar.OptionSetWriter(p.out),
		progressbar.OptionShowDescriptionAtLineEnd(),
		progressbar.OptionSetElapsedTime(false),
		progressbar.OptionSetPredictTime(false),
		progressbar.OptionSetSpinnerChangeInterval(0), // otherwise it draws when it likes, also after finish
		progressbar.OptionUseANSICodes(true),
	)
}

// finish clears the bar, so that what comes next stands alone.
func (p *progress) finish() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.clear()
}

func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}

// note prints a line between what else is shown, also after the work has ended.
func (p *progress) note(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	_, _ = fmt.Fprintln(p.out, line)
}

// say prints a line between what else is shown, unless the work has ended.
func (p *progress) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.clear()
	if p.columns != nil {
		line = "\r" + line // the terminal has printed ^C
	}
	_, _ = fmt.Fprintln(p.out, line)
}
