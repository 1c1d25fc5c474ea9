package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"reseal/internal/batch"
	"reseal/internal/capacity"
	"reseal/internal/cutover"
	"reseal/internal/item"
	"reseal/internal/stream"
)

// watch reads the source's stream from where it was drained.
func (c *cutting) watch(ctx context.Context, state cutover.State, length time.Duration, tell func(cutover.Straggler) error) error {
	targets := &batch.Reader{API: c.target.DB, Table: c.target.Table, Schema: c.pair.Target.Schema, Limiter: capacity.NewLimiter(0)}
	records, err := stream.NewRecords(ctx, stream.RecordsOptions{
		API: c.source.Streams, ARN: state.Stream, Schema: c.pair.Source.Schema, Position: state.Position, Clock: c.pair.Source.Clock,
		Told: func(ctx context.Context, record stream.Record) error {
			s, err := straggler(ctx, targets, record)
			if err != nil {
				return err
			}
			return tell(s)
		},
	})
	if err != nil {
		return err
	}
	return records.RunFor(ctx, length)
}

// straggler tells what the target has of a record.
func straggler(ctx context.Context, targets *batch.Reader, record stream.Record) (cutover.Straggler, error) {
	key, err := record.Key.JSON()
	if err != nil {
		return cutover.Straggler{}, fmt.Errorf("write key: %w", err)
	}
	s := cutover.Straggler{Key: json.RawMessage(key), Made: record.Made.UTC().Format(time.RFC3339)}
	found, err := targets.Read(ctx, []item.Key{record.Key}, batch.Unknown)
	if err != nil {
		s.Target = "not known (" + err.Error() + ")"
		return s, ctx.Err()
	}
	same, err := item.Equal(record.Image, found[0])
	switch {
	case found[0].Absent() && record.Image.Absent():
		s.Target = "no item, as this write left it"
	case found[0].Absent():
		s.Target = "no item"
	case err != nil:
		s.Target = "an item that can't be compared"
	case !record.Image.Absent() && same:
		s.Target = "the same item"
	default:
		s.Target = "another item"
	}
	return s, nil
}

// written counts what the target gets once nobody but the application writes to it.
type written struct {
	*cutting

	reading *stream.Records // of this process; nil: the verdict was another's
	got     atomic.Int64
	cancel  context.CancelFunc
	ended   chan struct{}
	err     error // of the reading, once ended is closed
}

// mark begins to read the target's stream at its end.
func (w *written) mark(ctx context.Context) error {
	opened := make(chan struct{})
	records, err := stream.NewRecords(ctx, stream.RecordsOptions{
		API: w.target.Streams, ARN: w.pair.Target.StreamARN(), Schema: w.pair.Target.Schema, Clock: w.pair.Target.Clock,
		Opened: func() { close(opened) },
		Told: func(context.Context, stream.Record) error {
			w.got.Add(1)
			return nil
		},
	})
	if err != nil {
		return err
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	w.reading, w.cancel, w.ended = records, cancel, make(chan struct{})
	go func() {
		defer close(w.ended)
		w.err = records.Run(running)
	}()
	select {
	case <-opened:
		return nil
	case <-w.ended:
		cancel()
		return w.err
	case <-ctx.Done():
		w.close()
		return ctx.Err()
	}
}

// close ends the reading.
func (w *written) close() {
	if w.reading != nil {
		w.cancel()
		<-w.ended
		w.reading = nil
	}
}

// count is how many records the target's stream has since the verdict.
func (w *written) count(ctx context.Context, state cutover.State) (int64, error) {
	if w.reading == nil {
		return w.countAll(ctx, state)
	}
	now := time.Now().Add(w.flags.quiet)
	for {
		if through := w.reading.ReadThrough(); !through.Before(now) || w.got.Load() > 0 {
			return w.got.Load(), nil
		}
		select {
		case <-w.ended:
			return 0, fmt.Errorf("read the target's stream: %w", w.err)
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// countAll reads the target's stream from its oldest record on: only its records of after the verdict are the application's.
func (w *written) countAll(ctx context.Context, state cutover.State) (int64, error) {
	if w.pair.Target.StreamARN() == "" {
		return 0, errors.New("the target has no stream")
	}
	var n atomic.Int64
	since := state.ReadyAt.Add(-time.Second).Truncate(time.Second)
	records, err := stream.NewRecords(ctx, stream.RecordsOptions{
		API: w.target.Streams, ARN: w.pair.Target.StreamARN(), Schema: w.pair.Target.Schema, Clock: w.pair.Target.Clock, Oldest: true,
		Told: func(_ context.Context, record stream.Record) error {
			if !record.Made.Before(since) {
				n.Add(1)
			}
			return nil
		},
	})
	if err != nil {
		return 0, err
	}
	err = records.RunFor(ctx, w.flags.quiet)
	return n.Load(), err
}

// printCutover prints the result for people.
func printCutover(out io.Writer, r cutover.Result) error {
	say := map[cutover.Verdict]string{
		cutover.VerdictGo:      "The writers are on the target, and the source is closed for good.",
		cutover.VerdictBack:    "The writers go on with the source. Nothing is lost.",
		cutover.VerdictHeld:    "Some writers may be on the target: look, and then give --finish or --abort.",
		cutover.VerdictAborted: "Everything is put back: the writers may go on with the source.",
		cutover.VerdictNone:    "There is no verdict.",
	}[r.Verdict]
	fence := string(r.Fence)
	if r.FenceBy != fencePolicy { // reseal itself has closed nothing
		if r.Verdict == cutover.VerdictGo {
			say = "The writers are on the target."
		}
		fence += ", by " + map[string]string{fenceCommand: "--fence-command", fenceNone: "nothing of reseal's"}[r.FenceBy]
	}
	since := "not known"
	if r.WrittenSince >= 0 {
		since = many(r.WrittenSince, "write")
	}
	until := r.FenceUntil
	if until != "" {
		until = ", until " + until
	}
	list := []string{
		"source", r.Source,
		"target", r.Target,
		"fence", fence + until,
		"writes refused", seconds(r.RefusedSeconds),
		"looked at again", many(r.Relooked, "key"),
		"stragglers", count(r.Stragglers),
	}
	if r.Verdict == cutover.VerdictHeld || r.Verdict == cutover.VerdictAborted {
		list = append(list, "target got since", since)
	}
	if r.Why != "" {
		list = append(list, "why", r.Why)
	}
	for _, step := range r.Steps {
		list = append(list, "step "+string(step.Step), step.Began+" to "+step.Ended)
	}
	return errors.Join(heading(out, "%s", say), lines(out, append(list, "time", seconds(r.ElapsedSeconds))...))
}
