package main

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"

	"reseal/replicate"
	"reseal/seed"
	"reseal/verify"

	"github.com/dustin/go-humanize"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// progress shows how far a command has come: a bar on a terminal, a line every 10 s otherwise. Its methods are called by one
// goroutine at a time.
type progress struct {
	out      io.Writer
	on       bool
	columns  func() int // of the terminal; nil: it is none
	interval time.Duration
	now      func() time.Time
	lastLine time.Time

	bar     *progressbar.ProgressBar
	endless bool // the bar is one without an end

	done   int64   // as it was shown last
	before figures // of the last measurement, for rates
	rate   figures // a second, smoothed
}

// figures are those of one moment.
type figures struct {
	at           time.Time
	items, units float64
}

// status is what there is to show.
type status struct {
	command   string
	noun      string // of what is counted
	done      int64
	expected  int64  // 0: no end is known
	instead   string // of the count and its rate; may be empty
	note      string // to follow them; may be empty
	rest      string // to come last; may be empty
	units     float64
	throttled int64
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
	p.show(status{
		command: "seed", noun: "items", done: s.ItemsWritten, expected: s.ItemsExpected,
		units: s.ReadUnits + s.WriteUnits, throttled: s.Throttled,
		rest: fmt.Sprintf("%d/%d segments", s.SegmentsDone, s.Segments),
	})
}

func (p *progress) verify(v verify.Progress) {
	s := status{
		command: "verify", noun: "items", done: v.SourceItems + v.TargetItems, expected: v.SourceExpected + v.TargetExpected,
		units: v.ReadUnits, throttled: v.Throttled,
		rest: fmt.Sprintf("%s unmatched, %s of the source, %s of the target", count(v.Waiting), count(v.SourceItems), count(v.TargetItems)),
	}
	if v.Settling {
		s.instead, s.expected, s.rest = "settling "+many(v.Waiting, "item")+" that did not match", 0, ""
	}
	p.show(s)
}

func (p *progress) fingerprint(f verify.FingerprintProgress) {
	p.show(status{
		command: "fingerprint", noun: "items", done: f.Items, expected: f.Expected, units: f.ReadUnits, throttled: f.Throttled,
	})
}

func (p *progress) replicate(r replicate.Progress) {
	p.show(status{
		command: "replicate", noun: "records", done: r.Records,
		units: r.WriteUnits, throttled: r.Throttled,
		note: "lag " + r.Lag.Round(time.Second).String(), rest: many(int64(r.ActiveShards), "active shard"),
	})
}

func (p *progress) show(s status) {
	p.done = s.done
	if !p.on {
		return
	}
	p.measure(float64(s.done), s.units)
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
	add(p.eta(s))
	add(count(s.throttled) + " throttled")
	add(perSecond(p.rate.units, "units"))
	add(s.rest)
	return list
}

func perSecond(rate float64, noun string) string {
	return humanize.CommafWithDigits(math.Round(rate), 0) + " " + noun + "/s"
}

// eta is when the expected number is reached at the present rate.
func (p *progress) eta(s status) string {
	if s.expected == 0 || p.rate.items < 0.01 {
		return ""
	}
	left := float64(s.expected-s.done) / p.rate.items
	return "ETA " + (time.Duration(left) * time.Second).String()
}

// measure keeps the rates, as a mean over about the last rateWindow in which newer figures weigh more.
func (p *progress) measure(items, units float64) {
	const rateWindow = 5.0 // seconds
	now := figures{p.now(), items, units}
	first := p.before.at.IsZero()
	elapsed := now.at.Sub(p.before.at).Seconds()
	if !first && elapsed < 0.2 {
		return // too short to tell
	}
	if !first {
		weight := 1 - math.Exp(-elapsed/rateWindow)
		if p.rate.at.IsZero() {
			weight = 1
		}
		p.rate.at = now.at
		p.rate.items += weight * ((now.items-p.before.items)/elapsed - p.rate.items)
		p.rate.units += weight * ((now.units-p.before.units)/elapsed - p.rate.units)
	}
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
	p.finish()
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
	if p.bar != nil {
		_ = p.bar.Clear()
		p.bar = nil
	}
}
