// Package seed copies a table into another one while the application goes on writing to the first: a parallel Scan of the
// source, BatchWriteItem to the target, and a re-check of every item against the source. Beside it, a replicator must apply
// the source's stream to the target, from a point before the seed started.
package seed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/converge"
	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/room"
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

// AutoSegments leaves the number of segments to reseal: by the table's size and the budget, or as the checkpoint has it.
const AutoSegments = -1

// Options says what to copy and how.
type Options struct {
	Source      SourceAPI
	SourceTable string // name or ARN
	Target      TargetAPI
	TargetTable string // name or ARN

	Segments   int     // of the parallel Scan, 1 to 1,000,000, or AutoSegments
	ReadUnits  float64 // limit for the source, units a second; 0: see ReadShare
	WriteUnits float64 // limit for the target and for each of its indexes, units a second; 0: see WriteShare
	ReadShare  float64 // likewise as a part, up to 1, of what the table has; 0: 0.8 if it is provisioned, else what it serves
	WriteShare float64 // likewise; of a table and indexes that differ, the least counts
	Recheck    string  // RecheckAll (or "") or RecheckOff, for a source that nobody writes to
	Encryption string  // what the target must have: "kms" (or "") or "any"

	Checkpoint string // file to keep the position in, and to resume from if it exists, locked for as long as Run runs; "": none
	Restart    bool   // start over even if the checkpoint exists

	// Reject is called, by one goroutine at a time, for each item that the target refuses for what it holds: the wrong type for
	// an index key, say. The rest is copied, and Run ends with ErrRejected. An item that was refused in a run that this one
	// resumes is not told again. An error ends Run. If Reject is nil, such an item is an error at once.
	Reject func(Reject) error

	// StreamAge is how long the source's stream must have been on before the first page is read; Run waits for that. 0 is 10 s; below 0
	// it is not looked at, which is right for an engine whose reads are never stale.
	StreamAge time.Duration

	RequestTimeout time.Duration  // of one request; 0: 20 s
	Progress       func(Progress) // called about once a second and at the end; may be nil
}

// Reject is an item that the target refused.
type Reject struct {
	Key    json.RawMessage `json:"key"`    // DynamoDB JSON
	Reason string          `json:"reason"` // the service's words
}

// ErrRejected says that a seed is done but for items that the target refused; each was given to Options.Reject.
var ErrRejected = errors.New("the target refused items")

// maxRejected bounds the items that may be refused before the seed takes it that something is wrong with the target.
const maxRejected = 10_000

// Progress is how far a seed has come. Figures are of this run, not of the ones that it resumes.
type Progress struct {
	ItemsRead, ItemsWritten int64
	ItemsExpected           int64 // the table's ItemCount, up to six hours old
	ReadUnits, WriteUnits   float64
	Throttled               int64
	SegmentsDone, Segments  int
	Elapsed                 time.Duration

	ItemsResumed int64 // items that the runs which this one resumes had done for good; those of an older version's are not counted
	ItemsDone    int64 // items done for good, ItemsResumed included: a run that resumes this one doesn't read them again

	Uncertain    int64     // keys with a write whose answer was lost: they are settled before the seed is done
	WaitingUntil time.Time // not zero: until then the run only waits, since a lost write may still be carried out
	Settling     bool      // the uncertain keys are being read from both tables, and put right

	ReadLimit, WriteLimit       float64 // units a second that the source's reads and the target's writes are held to at present; 0: none
	LimitedReads, LimitedWrites float64 // units that count against them: of the source only, and of the table or index that takes most
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
	WriteUnits     float64 `json:"write_units"`     // of the target and its indexes
	Rejected       int64   `json:"rejected"`        // items that the target refused, those of the runs that this one resumes included
	Throttled      int64   `json:"throttled"`       // requests that were throttled, in whole or in part
	Resumed        bool    `json:"resumed"`
	ElapsedSeconds float64 `json:"elapsed_seconds"`

	IndexWriteUnits map[string]float64 `json:"index_write_units,omitempty"` // the part of write_units of each index
	LeastReadUnits  float64            `json:"least_read_units"`            // what the items read cost at the least: see leastReads
	LeastWriteUnits float64            `json:"least_write_units"`           // likewise the items written, without indexes

	ItemsDone       int64   `json:"items_done"`        // items done for good, also by the runs that this one resumes: see Progress.ItemsDone
	ItemsUnfinished int64   `json:"items_unfinished"`  // of ItemsRead: a run that resumes this one reads them again
	ItemsReread     int64   `json:"items_reread"`      // of ItemsRead at the most: the run before this one had read them, and not finished
	ItemsSettled    int64   `json:"items_settled"`     // keys with a lost write, or one under way in a run before, that were read from both tables
	SettleReadUnits float64 `json:"settle_read_units"` // of ReadUnits, for ItemsSettled; about, where they were settled in mid-run

	ReadLimit  capacity.Taken `json:"read_limit"`  // what the reads of the source were held to
	WriteLimit capacity.Taken `json:"write_limit"` // likewise the writes to the target

	// Begun is when the first of the runs started that this one resumes, RFC 3339; "" if a run of an older version was. Since then the
	// replication must have missed no change.
	Begun string `json:"begun,omitempty"`

	Doubts []string `json:"doubts,omitempty"` // why the target may hold items that the source no longer has: see ErrLeftovers

	// Warnings are what the copy rests on and a seed can't see. A stream keeps a record for 24 hours: where the runs took longer, from
	// Begun on, nothing tells a seed whether the replication has missed records that were trimmed.
	Warnings []string `json:"warnings,omitempty"`
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
	settling *settling
	position *checkpoint
	memory   *room.Room // of pages
	workers  *workers
	active   activeSegments
	counts   counts
	start    time.Time

	rejecting sync.Mutex // held while Options.Reject is called
}

// Run seeds the target. It returns an error that is [ErrRefused] if it did nothing, the context's error if it was stopped
// (with the checkpoint saved), and another error if it failed on the way; the result then says how far it came. ErrRejected and
// ErrLeftovers say that everything was done but for what they tell; [ErrChanged], that a table or the source's stream was replaced
// meanwhile: what was copied is worth nothing then, and the run can't be resumed.
//
// Each segment is one loop: read a page; note its keys in the checkpoint; write and re-check its batches; next page. When all
// segments are read, the keys with a lost write are settled, both tables are described again, and only then is the seed done and the
// checkpoint removed.
func Run(ctx context.Context, options Options) (Result, error) {
	r, err := prepare(ctx, options)
	if err != nil {
		return Result{}, err
	}
	defer r.position.close()
	if err := options.awaitStream(ctx, r.pair.Source); err != nil {
		return Result{}, err
	}
	r.start = time.Now()
	stop := ticker.Report(progressInterval, options.Progress, r.progress)
	err = r.watched(ctx, r.copy)
	r.workers.dismiss()
	stop()
	if err != nil {
		return r.result(), errors.Join(err, r.position.save())
	}
	err = r.position.remove()
	if rejected := r.position.rejections(); err == nil && rejected > 0 {
		err = fmt.Errorf("%w: %d of them", ErrRejected, rejected)
	}
	if left := r.position.leftovers(); left != nil {
		err = errors.Join(err, left)
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
		options: o,
		pair:    pair,
		reads:   o.readBudget().ReadLimiter(pair.Source.Raw),
		writes:  o.writeBudget().WriteLimiter(pair.Target.Raw),
		memory:  room.New(pageMemory),
		workers: newWorkers(),
		active:  newActiveSegments(),
	}
	r.writes.Partly(r.active.partlySlow)
	r.scanner = &scan.Scanner{API: o.Source, Table: o.SourceTable, Schema: schema, Limiter: r.reads, Policy: policy, MaxItems: room.SmallPage}
	r.converge = &converge.Converger{
		Source:  &batch.Reader{API: o.Source, Table: o.SourceTable, Schema: schema, Limiter: r.reads, Policy: policy},
		Target:  &batch.Reader{API: o.Target, Table: o.TargetTable, Schema: schema, Limiter: capacity.Budget{}.ReadLimiter(pair.Target.Raw), Policy: policy},
		Writer:  &batch.Writer{API: o.Target, Table: o.TargetTable, Schema: schema, Limiter: r.writes, Policy: policy},
		Recheck: o.Recheck != RecheckOff,
	}
	if o.Reject != nil {
		r.converge.Reject = r.reject
	}
	if o.Segments == AutoSegments {
		r.options.Segments = r.autoSegments()
	}
	uncertain := converge.NewUncertain()
	r.settling = newSettling(r.converge, uncertain, func() bool { return r.active.running.Load() > 0 })
	r.position, err = openCheckpoint(r.options, pair, uncertain, policy.Lifetime())
	if err != nil {
		return nil, err
	}
	r.settling.Lifetime = r.position.lifetime()
	return r, nil
}

// What a segment copies at the least, where round trips take 20 ms: its pages come one after the other, but many batches of a
// page are under way at a time.
const (
	segmentBytes      = 1 << 30
	segmentWriteUnits = 1000
	mostAutoSegments  = 256
)

// autoSegments is the number of segments of the checkpoint, if there is one to go on from; otherwise one for each GiB, and
// enough to use up the budget, from 4 to 256.
func (r *run) autoSegments() int {
	if n := checkpointSegments(r.options); n > 0 {
		return n
	}
	bySize := int(r.pair.Source.Bytes / segmentBytes)
	byBudget := int(math.Ceil(r.writes.Limit() / segmentWriteUnits))
	return min(mostAutoSegments, max(4, bySize, byBudget))
}

// reject hands a refused item on, and notes it in the checkpoint, so that a resumed run can't end as if there were none, and
// counts it once. It is handed on first: a process that is killed in between hands it on twice, but not never.
func (r *run) reject(key item.Key, reason error) error {
	r.rejecting.Lock()
	defer r.rejecting.Unlock()
	if r.position.isRejected(key) {
		return nil
	}
	if r.position.rejections() == maxRejected {
		return fmt.Errorf("more than %d items refused by the target, the last one: %w", maxRejected, reason)
	}
	text, err := key.JSON()
	if err == nil {
		err = r.options.Reject(Reject{Key: json.RawMessage(text), Reason: call.Message(reason)})
	}
	if err != nil {
		return fmt.Errorf("report rejected item: %w", err)
	}
	r.position.reject(key)
	return nil
}

func (o Options) readBudget() capacity.Budget {
	return capacity.Budget{Units: o.ReadUnits, Share: o.ReadShare}
}

func (o Options) writeBudget() capacity.Budget {
	return capacity.Budget{Units: o.WriteUnits, Share: o.WriteShare}
}

const budgetRemedy = "give a number above 0, or a percentage up to 100"

func (o Options) check() error {
	switch {
	case o.Segments != AutoSegments && o.Segments < 1 || o.Segments > scan.MaxSegments:
		return refuse.New("give a number from 1 to 1,000,000, or auto", "segments is %d", o.Segments)
	case !o.readBudget().Valid():
		return refuse.New(budgetRemedy, "read units is %g, or %g %%", o.ReadUnits, 100*o.ReadShare)
	case !o.writeBudget().Valid():
		return refuse.New(budgetRemedy, "write units is %g, or %g %%", o.WriteUnits, 100*o.WriteShare)
	case o.Recheck != "" && o.Recheck != RecheckAll && o.Recheck != RecheckOff:
		return refuse.New("use all or off", "recheck %q is not known", o.Recheck)
	}
	return nil
}

// pageMemory is what the pages that are being copied take together, in bytes.
const pageMemory = 14 << 20

func (r *run) copy(ctx context.Context) error {
	if r.position.head.Hold {
		if err := r.settling.wait(ctx, time.Now().Add(r.settling.Lifetime)); err != nil {
			return err
		}
		r.position.held()
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for number := range scan.Spread(r.options.Segments) {
		if r.position.isDone(number) {
			continue
		}
		if r.active.begin(groupCtx) != nil {
			break // the group or ctx tells why
		}
		group.Go(func() error { return r.segment(groupCtx, number) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := r.settling.All(ctx); err != nil {
		return err
	}
	return r.confirm(ctx)
}

func (r *run) progress() Progress {
	return Progress{
		ItemsRead:     r.counts.read.Load(),
		ItemsWritten:  r.counts.written.Load(),
		ItemsExpected: r.pair.Source.Items,
		ReadUnits:     r.reads.Used() + r.settling.looks.Used(),
		WriteUnits:    r.writes.Used(),
		Throttled:     r.throttled(),
		SegmentsDone:  r.position.doneCount(),
		Segments:      r.options.Segments,
		Elapsed:       time.Since(r.start),
		ItemsResumed:  r.position.before,
		ItemsDone:     r.position.itemsDone(),
		ReadLimit:     r.reads.Rate(),
		WriteLimit:    r.writes.Rate(),
		LimitedReads:  r.reads.Limited(),
		LimitedWrites: r.writes.Limited(),
		Uncertain:     int64(r.settling.Uncertain.Len()),
		Settling:      r.settling.alone.Load(),
		WaitingUntil:  r.settling.waitingUntil(),
	}
}

func (r *run) throttled() int64 {
	return r.reads.Throttled() + r.writes.Throttled() + r.settling.looks.Throttled()
}

func (r *run) result() Result {
	done := r.position.itemsDone()
	result := Result{
		Source:         r.options.SourceTable,
		Target:         r.options.TargetTable,
		Segments:       r.options.Segments,
		ItemsRead:      r.counts.read.Load(),
		ItemsWritten:   r.counts.written.Load(),
		ItemsRechecked: r.converge.Rechecked(),
		ItemsRewritten: r.converge.Rewritten(),
		ReadUnits:      r.reads.Used() + r.settling.looks.Used(),
		WriteUnits:     r.writes.Used(),
		Rejected:       r.position.rejections(),
		Throttled:      r.throttled(),
		Resumed:        r.position.resumed,
		ElapsedSeconds: time.Since(r.start).Seconds(),

		IndexWriteUnits: r.writes.UsedByIndex(),
		LeastReadUnits:  r.counts.leastReads(r.converge.Recheck),
		LeastWriteUnits: float64(r.counts.leastWrites.Load()),

		ReadLimit:       r.reads.Taken(),
		WriteLimit:      r.writes.Taken(),
		ItemsDone:       done,
		ItemsUnfinished: r.counts.read.Load() - (done - r.position.before),
		ItemsReread:     min(r.position.reread, r.counts.read.Load()),
		ItemsSettled:    r.settling.Settled(),
		SettleReadUnits: r.settling.readUnits(),
		Doubts:          r.position.doubts(),
	}
	begun := r.position.head.Begun
	if !begun.IsZero() {
		result.Begun = begun.Format(time.RFC3339)
	}
	if r.converge.Recheck {
		result.Warnings = restsOn(begun, time.Now())
	}
	return result
}

// restsOn is Result.Warnings of a seed whose first run started then; the zero time: nobody knows when.
func restsOn(begun, now time.Time) []string {
	since := "since " + begun.Format(time.RFC3339)
	switch {
	case begun.IsZero():
		since = "since the first run, which an older reseal began without noting the time"
	case now.Sub(begun) <= streamKeeps:
		return nil
	}
	return []string{"the stream keeps a record for 24 hours only: the copy is right only if the replication was never that far behind, and missed nothing, " +
		since + "; run verify"}
}

// wrapSegment says in which segment an error struck.
func wrapSegment(segment int, err error) error {
	return fmt.Errorf("seed segment %d: %w", segment, err)
}
