// Package seed copies a table into another one while the application goes on writing to the first: a parallel Scan of the
// source, BatchWriteItem to the target, and a re-check of every item against the source. Beside it, a replicator must apply
// the source's stream to the target, from a point before the seed started.
package seed

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/converge"
	"reseal/internal/refuse"
	"reseal/internal/scan"
	"reseal/internal/table"
	"reseal/internal/ticker"

	"golang.org/x/sync/errgroup"
)

// SourceAPI is what a seed asks of the source table's client; *dynamodb.Client has it.
type SourceAPI interface {
	table.DescribeAPI
	scan.API
	batch.ReadAPI
}

// TargetAPI is what a seed asks of the target table's client; *dynamodb.Client has it.
type TargetAPI interface {
	table.DescribeAPI
	batch.ReadAPI
	batch.WriteAPI
}

// The values of Options.Recheck.
const (
	RecheckAll = "all"
	RecheckOff = "off"
)

// DefaultSegments is a good number of segments where nothing speaks for another one.
const DefaultSegments = 16

// Options says what to copy and how.
type Options struct {
	Source      SourceAPI
	SourceTable string // name or ARN
	Target      TargetAPI
	TargetTable string // name or ARN

	Segments   int     // of the parallel Scan, 1 to 1,000,000
	ReadUnits  float64 // limit for the source, units a second; 0: 80 % of a provisioned table's, none on demand
	WriteUnits float64 // limit for the target, likewise
	Recheck    string  // RecheckAll (or "") or RecheckOff, for a source that nobody writes to
	Encryption string  // what the target must have: "kms" (or "") or "any"

	Checkpoint string // file to keep the position in, and to resume from if it exists; "": none
	Restart    bool   // start over even if the checkpoint exists

	RequestTimeout time.Duration  // of one request; 0: 20 s
	Progress       func(Progress) // called about once a second and at the end; may be nil
}

// Progress is how far a seed has come. Figures are of this run, not of the ones that it resumes.
type Progress struct {
	ItemsRead, ItemsWritten int64
	ItemsExpected           int64 // the table's ItemCount, up to six hours old
	ReadUnits, WriteUnits   float64
	Throttled               int64
	SegmentsDone, Segments  int
	Elapsed                 time.Duration
}

// Result is what a seed did, in this run.
type Result struct {
	Source         string  `json:"source"`
	Target         string  `json:"target"`
	Segments       int     `json:"segments"`
	ItemsRead      int64   `json:"items_read"`
	ItemsWritten   int64   `json:"items_written"`   // items of the Scan that were written
	ItemsRechecked int64   `json:"items_rechecked"` // items whose source was read again after their write
	ItemsRewritten int64   `json:"items_rewritten"` // writes made because the source had changed meanwhile
	ReadUnits      float64 `json:"read_units"`      // of both tables
	WriteUnits     float64 `json:"write_units"`
	Throttled      int64   `json:"throttled"` // requests that were throttled, in whole or in part
	Resumed        bool    `json:"resumed"`
	ElapsedSeconds float64 `json:"elapsed_seconds"`
}

// progressInterval is how often Options.Progress is called.
const progressInterval = time.Second

// run is one seed.
type run struct {
	options  Options
	pair     table.Pair
	reads    *capacity.Limiter // of the source
	writes   *capacity.Limiter // of the target
	scanner  *scan.Scanner
	converge *converge.Converger
	settling *capacity.Limiter // counts the reads of the target
	lifetime time.Duration     // of a request, after which it can't be carried out any more
	lost     *ledger
	position *checkpoint
	start    time.Time

	read, written atomic.Int64
}

// Run seeds the target. It returns a *refuse.Error (exit status 2) if it did nothing, the context's error if it was stopped
// (with the checkpoint saved), and another error if it failed on the way; the result then says how far it came.
//
// Each segment is one loop: read a page; note its keys in the checkpoint; write and re-check its batches; next page. When all
// segments are read, the keys with a lost write are settled, and only then is the seed done and the checkpoint removed.
func Run(ctx context.Context, options Options) (Result, error) {
	r, err := prepare(ctx, options)
	if err != nil {
		return Result{}, err
	}
	var report func()
	if options.Progress != nil {
		report = func() { options.Progress(r.progress()) }
	}
	stop := ticker.Every(progressInterval, report)
	err = r.copy(ctx)
	stop()
	if err == nil {
		err = r.position.remove()
	} else {
		err = errors.Join(err, r.position.save())
	}
	return r.result(), err
}

// prepare checks the options and the tables, and loads the checkpoint. It writes nothing to a table.
func prepare(ctx context.Context, o Options) (*run, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	pair, err := table.Preflight(ctx, o.Source, o.SourceTable, o.Target, o.TargetTable, table.Needs{
		Stream:     o.Recheck != RecheckOff,
		Encryption: o.Encryption,
	})
	if err != nil {
		return nil, err
	}
	policy := call.Policy{Timeout: o.RequestTimeout}
	schema := pair.Source.Schema
	r := &run{
		options:  o,
		pair:     pair,
		reads:    capacity.NewLimiter(orDefault(o.ReadUnits, capacity.DefaultReadUnits(pair.Source.Raw))),
		writes:   capacity.NewLimiter(orDefault(o.WriteUnits, capacity.DefaultWriteUnits(pair.Target.Raw))),
		settling: capacity.NewLimiter(0),
		lifetime: policy.Lifetime(),
		lost:     newLedger(),
		start:    time.Now(),
	}
	r.scanner = &scan.Scanner{API: o.Source, Table: o.SourceTable, Schema: schema, Limiter: r.reads, Policy: policy}
	r.converge = &converge.Converger{
		Source:  &batch.Reader{API: o.Source, Table: o.SourceTable, Schema: schema, Limiter: r.reads, Policy: policy},
		Target:  &batch.Reader{API: o.Target, Table: o.TargetTable, Schema: schema, Limiter: r.settling, Policy: policy},
		Writer:  &batch.Writer{API: o.Target, Table: o.TargetTable, Schema: schema, Limiter: r.writes, Policy: policy},
		Recheck: o.Recheck != RecheckOff,
	}
	r.position, err = openCheckpoint(o, pair, r.lost)
	return r, err
}

func orDefault(value, otherwise float64) float64 {
	if value > 0 {
		return value
	}
	return otherwise
}

func (o Options) check() error {
	switch {
	case o.Segments < 1 || o.Segments > scan.MaxSegments:
		return refuse.New("give a number from 1 to 1,000,000", "segments is %d", o.Segments)
	case o.ReadUnits < 0:
		return refuse.New("give a number above 0", "read units is %g", o.ReadUnits)
	case o.WriteUnits < 0:
		return refuse.New("give a number above 0", "write units is %g", o.WriteUnits)
	case o.Recheck != "" && o.Recheck != RecheckAll && o.Recheck != RecheckOff:
		return refuse.New("use all or off", "recheck %q is not known", o.Recheck)
	}
	return nil
}

// maxActiveSegments bounds the pages held in memory (1 MB each before decoding), however many segments there are.
const maxActiveSegments = 32

func (r *run) copy(ctx context.Context) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(min(r.options.Segments, maxActiveSegments))
	for segment := range r.options.Segments {
		if groupCtx.Err() != nil {
			break
		}
		if !r.position.isDone(segment) {
			group.Go(func() error { return r.segment(groupCtx, segment) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return r.settle(ctx)
}

// settle puts right the keys with a lost write, when none of those requests can be alive any more, until there are none left.
func (r *run) settle(ctx context.Context) error {
	for {
		keys, last := r.lost.snapshot()
		if len(keys) == 0 {
			return nil
		}
		if err := call.Sleep(ctx, time.Until(last.Add(r.lifetime))); err != nil {
			return err
		}
		again, err := r.converge.Settle(ctx, keys)
		if err != nil {
			r.lost.add(again)
			return err
		}
		r.lost.add(again)
		r.lost.settled(keys, last)
	}
}

func (r *run) progress() Progress {
	return Progress{
		ItemsRead:     r.read.Load(),
		ItemsWritten:  r.written.Load(),
		ItemsExpected: r.pair.Source.Items,
		ReadUnits:     r.reads.Used() + r.settling.Used(),
		WriteUnits:    r.writes.Used(),
		Throttled:     r.throttled(),
		SegmentsDone:  r.position.doneCount(),
		Segments:      r.options.Segments,
		Elapsed:       time.Since(r.start),
	}
}

func (r *run) throttled() int64 {
	return r.reads.Throttled() + r.writes.Throttled() + r.settling.Throttled()
}

func (r *run) result() Result {
	return Result{
		Source:         r.options.SourceTable,
		Target:         r.options.TargetTable,
		Segments:       r.options.Segments,
		ItemsRead:      r.read.Load(),
		ItemsWritten:   r.written.Load(),
		ItemsRechecked: r.converge.Rechecked(),
		ItemsRewritten: r.converge.Rewritten(),
		ReadUnits:      r.reads.Used() + r.settling.Used(),
		WriteUnits:     r.writes.Used(),
		Throttled:      r.throttled(),
		Resumed:        r.position.resumed,
		ElapsedSeconds: time.Since(r.start).Seconds(),
	}
}

// wrapSegment says in which segment an error struck.
func wrapSegment(segment int, err error) error {
	return fmt.Errorf("seed segment %d: %w", segment, err)
}
