package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"reseal/internal/cutover"
	"reseal/internal/refuse"
	"reseal/internal/stream"
	"reseal/verify"
)

// followLifetime is how long a request of the replicator may be alive: see verify.FollowOptions.
const followLifetime = verify.DefaultLifetime

// comparison is a verify --follow that tells a cutover what it knows.
type comparison struct {
	live   *verify.Live
	stop   chan struct{}
	cancel context.CancelFunc
	end    func() // closes stop, once
	done   chan struct{}
	result verify.Result // from here on once done is closed
	err    error
}

var _ cutover.Follower = (*comparison)(nil)

// comparing are the options of the comparison.
func (c *cutting) comparing() verify.Options {
	f := c.flags
	o := verify.Options{
		Source: c.source.DB, SourceTable: c.source.Table, Target: c.target.DB, TargetTable: c.target.Table,
		Segments: f.segments, ReadUnits: f.readUnits.units, ReadShare: f.readUnits.share, Settle: 30 * time.Second,
		MaxMemory: int64(f.maxMemory), Encryption: f.encryption, Consistent: !f.eventual, Checkpoint: f.checkpoint,
		Strict: true, StrictExcept: c.excepted(),
	}
	o.Follow.Streams = c.source.Streams
	return o
}

// excepted are the lines of the configuration that may differ. The source's stream is there for the migration. What a local engine doesn't
// know nobody can check.
func (c *cutting) excepted() []string {
	list := append([]string{"stream"}, c.flags.strictExcept.split()...)
	if c.source.LocalEndpoint() != nil {
		list = append(list, "point-in-time recovery", "tags", "encryption")
	}
	return list
}

// follow begins to compare, and returns when both tables are scanned.
func (c *cutting) follow(ctx context.Context) (cutover.Follower, error) {
	if c.flags.keepBack {
		if err := c.enableStream(ctx); err != nil {
			return nil, err
		}
	}
	if err := c.letIn(ctx); err != nil {
		return nil, err
	}
	o := c.comparing()
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &comparison{stop: make(chan struct{}), done: make(chan struct{}), cancel: cancel}
	f.end = sync.OnceFunc(func() { close(f.stop) })
	started := make(chan struct{})
	o.Follow.Stop, o.Follow.Keep = f.stop, c.flags.maxFence+2*followLifetime
	o.Follow.Started = func(live *verify.Live) error {
		f.live = live
		close(started)
		return nil
	}
	o.Progress = c.progress.verify
	go func() {
		defer close(f.done)
		f.result, f.err = verify.Run(running, o)
	}()
	select {
	case <-started:
		return f, nil
	case <-f.done:
		cancel()
		if f.err == nil {
			f.err = errors.New("it ended before the tables were scanned")
		}
		return nil, f.err
	case <-ctx.Done():
		cancel()
		<-f.done
		return nil, ctx.Err()
	}
}

// Followed tells what the verification knows.
func (f *comparison) Followed() (cutover.Followed, error) {
	select {
	case <-f.done:
		return cutover.Followed{}, f.ended()
	default:
	}
	s := f.live.Status()
	records, newest := f.live.Records()
	through := f.live.ReadThrough()
	if !through.IsZero() { // when it was read, not what that tells: --quiet is how late a record may be
		through = through.Add(stream.AppearsWithin)
	}
	return cutover.Followed{
		Scanned: s.Scanned, CaughtUp: s.CaughtUp, Open: s.Open, Oldest: s.OldestOpen, Suspect: s.Suspect, Differing: s.Differing,
		Records: records, Newest: newest, ReadThrough: through,
	}, nil
}

// ended says why the verification is over.
func (f *comparison) ended() error {
	if f.err != nil {
		return f.err
	}
	return errors.New("the comparison has ended")
}

// Look looks at what changed of late.
func (f *comparison) Look(ctx context.Context, since time.Time) (cutover.Looked, error) {
	looked, err := f.live.LookNow(ctx, since)
	return cutover.Looked{Keys: int64(looked.Keys), Differing: int64(looked.Differing)}, err
}

// Position is that of the stream.
func (f *comparison) Position() (json.RawMessage, error) { return f.live.Position() }

// Hurry has the stream be read more often.
func (f *comparison) Hurry() { f.live.Hurry() }

// mostEnding is how long the verification may take to end: it describes both tables.
const mostEnding = 15 * time.Second

// End ends the verification, which describes both tables once more: they, and what counts of their configuration, have to be the same.
func (f *comparison) End() error {
	f.end()
	timer := time.NewTimer(mostEnding)
	defer timer.Stop()
	defer f.cancel()
	select {
	case <-f.done:
	case <-timer.C:
		f.cancel()
		<-f.done
	}
	if f.err != nil {
		return f.err
	}
	return against(f.result.Against())
}

// against is the error for lines of the configuration that count.
func against(lines []verify.Setting) error {
	if len(lines) == 0 {
		return nil
	}
	var list []string
	for _, one := range lines {
		list = append(list, fmt.Sprintf("%s (source %s, target %s)", one.What, one.Source, one.Target))
	}
	return refuse.New("bring the target in line, or pass the line with --strict-except", "the tables' configuration differs: %s", strings.Join(list, "; "))
}

// plan is what a --dry-run tells.
type plan struct {
	Source     string                     `json:"source"`
	Target     string                     `json:"target"`
	Verdict    cutover.Verdict            `json:"verdict"`
	Fence      string                     `json:"fence"` // how
	Stop       string                     `json:"stop"`  // likewise
	Principals []string                   `json:"replicators"`
	Statements map[string]json.RawMessage `json:"statements"`
	Notes      []string                   `json:"notes"`
}

// plan describes what the cutover would do.
func (c *cutting) plan() (plan, error) {
	p := plan{
		Source: c.source.Given, Target: c.target.Given, Verdict: cutover.VerdictPlan, Fence: c.state.FenceBy, Stop: c.state.StopBy,
		Principals: append([]string{}, c.state.Replicators...), Statements: map[string]json.RawMessage{}, Notes: append([]string{}, c.notes...),
	}
	until := c.now().Add(c.flags.maxFence)
	for of, gate := range map[string]*cutover.PolicyGate{"source": c.gate, "target": c.hold} {
		if gate == nil {
			continue
		}
		temporary := gate.Temporary
		temporary.Until = until
		for name, statement := range map[string]interface {
			JSON() (json.RawMessage, error)
		}{of + ", before the verdict": temporary, of + ", for good": gate.Lasting} {
			text, err := statement.JSON()
			if err != nil {
				return plan{}, err
			}
			p.Statements[name] = text
		}
	}
	return p, nil
}

func (p plan) print(out io.Writer) error {
	err := errors.Join(
		heading(out, "Nothing was changed. What a cutover would do:"),
		lines(
			out, "source", p.Source, "target", p.Target, "fence by", p.Fence, "replicator stopped by", p.Stop,
			"replicators", strings.Join(p.Principals, ", "),
		),
	)
	for _, name := range []string{"source, before the verdict", "source, for good", "target, before the verdict", "target, for good"} {
		if text, is := p.Statements[name]; is {
			err = errors.Join(err, heading(out, "Statement of the %s:\n  %s", name, text))
		}
	}
	return errors.Join(err, notes(out, p.Notes))
}
