// Package replicate applies a table's stream to another table: as a stand-alone tailer (Run) and as a Lambda's handler
// (Handler), both through Apply.
package replicate

import (
	"context"
	"errors"
	"sync"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/refuse"
	"reseal/internal/stream"
	"reseal/internal/table"
	"reseal/internal/ticker"

	"golang.org/x/sync/errgroup"
)

// TargetAPI is what a replicator asks of the target table's client; *dynamodb.Client has it.
type TargetAPI interface {
	table.DescribeAPI
	batch.WriteAPI
}

// StreamsAPI is what the tailer asks of DynamoDB Streams; *dynamodbstreams.Client has it.
type StreamsAPI = stream.API

// The values of Options.From.
const (
	FromTrimHorizon = "trim-horizon" // the oldest record that the stream holds
	FromLatest      = "latest"       // records made after the start
)

// Options says what to replicate and how.
type Options struct {
	Source      table.DescribeAPI
	SourceTable string // name or ARN
	Streams     StreamsAPI
	Target      TargetAPI
	TargetTable string // name or ARN

	From       string        // FromTrimHorizon (or "") or FromLatest; where the checkpoint has a position, that holds
	UntilIdle  time.Duration // end when the stream is drained and nothing came for so long; 0: go on until ctx ends
	Checkpoint string        // file to keep the position in, and to resume from if it exists; "": none
	Restart    bool          // start over even if the checkpoint exists
	Encryption string        // what the target must have: "kms" (or "") or "any"
	Poison     Poison        // for items that the target refuses; nil: such an item ends the replication

	// GiveUp is for how long failures that may pass (denials, throttling, errors of the service, no network) are gone through
	// without any success. 0: with UntilIdle a minute (throttled: ten), otherwise until an hour before the stream may trim what
	// comes next, that is, 23 h after the last record that was applied was made, or after nothing was left to apply.
	GiveUp time.Duration

	PollInterval time.Duration  // between two reads of one shard; 0: 250 ms (a shard serves 5 reads a second, to all readers)
	Progress     func(Progress) // called about once a second and at the end; may be nil

	policy call.Policy // of each request; for tests
}

// Progress is how far a replication has come.
type Progress struct {
	Counts
	ActiveShards int
	Lag          time.Duration // age of the last record of the shard that is most behind; 0 if nothing is waiting
	WriteUnits   float64
	Throttled    int64
	Elapsed      time.Duration

	Failure  error         // what fails at present, again and again; nil: nothing
	Failing  time.Duration // for how long
	GiveUpIn time.Duration // when the replication ends if it goes on failing; 0: not known
}

// Result is what a replication did, in this run.
type Result struct {
	Source string `json:"source"`
	Target string `json:"target"`
	Counts
	WriteUnits     float64 `json:"write_units"`
	Throttled      int64   `json:"throttled"`
	Resumed        bool    `json:"resumed"`
	ElapsedSeconds float64 `json:"elapsed_seconds"`

	// LateUntil is until when, by this machine's clock, a write of this run that had no answer may still be carried out; zero: there is none.
	LateUntil time.Time `json:"-"`
}

// ErrTrimmed says that the stream no longer holds the records that come next: they were made more than 24 hours ago. The target
// may lack changes; only a new seed brings it in line, and for deletes only verify --repair.
var ErrTrimmed = stream.ErrTrimmed

// ErrDisabled says that the source's stream was disabled meanwhile. What it holds is applied, what the source changed since is not.
var ErrDisabled = stream.ErrDisabled

const progressInterval = time.Second

// tailer is one Run.
type tailer struct {
	options  Options
	pair     table.Pair
	writer   *batch.Writer
	position *checkpoint
	follower *stream.Follower
	start    time.Time

	sink   applier // to the target
	ahead  ahead
	looked time.Time // when the tables were last described

	mu     sync.Mutex // guards what follows
	lost   time.Time  // when a write of unknown outcome was last given up
	counts Counts
}

// Run follows the source's stream and applies it to the target until UntilIdle, or until ctx ends, whose error it returns then,
// with the checkpoint saved. It returns an error that is [ErrRefused] if it did nothing, and another error if it failed on
// the way; the result then says how far it came.
func Run(ctx context.Context, options Options) (Result, error) {
	t, err := prepare(ctx, options)
	if err != nil {
		return Result{}, err
	}
	defer t.position.close()
	stop := ticker.Report(progressInterval, options.Progress, t.progress)
	err = t.run(ctx)
	stop()
	if !t.mayWriteLate() {
		t.position.quiet()
	}
	return t.result(), errors.Join(err, t.position.save())
}

// Check returns an error that is [ErrRefused] for options that can't be meant. Run begins with it.
func (o Options) Check() error {
	switch {
	case o.From != "" && o.From != FromTrimHorizon && o.From != FromLatest:
		return refuse.New("use trim-horizon or latest", "from %q is not known", o.From)
	case o.UntilIdle < 0:
		return refuse.New("give a duration such as 10s", "until-idle is %s", o.UntilIdle)
	case o.GiveUp < 0:
		return refuse.New("give a duration such as 6h", "give-up is %s", o.GiveUp)
	}
	return nil
}

func prepare(ctx context.Context, o Options) (*tailer, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	pair, err := table.Preflight(ctx, o.Source, o.SourceTable, o.Target, o.TargetTable, table.Needs{Stream: true, Encryption: o.Encryption})
	if err != nil {
		return nil, err
	}
	t := &tailer{options: o, pair: pair, start: time.Now(), looked: time.Now()}
	t.writer = &batch.Writer{API: o.Target, Table: o.TargetTable, Schema: pair.Target.Schema, Limiter: capacity.NewLimiter(0), Policy: t.policy()}
	t.sink = applier{writer: t.writer, poison: o.Poison, refusals: &refusals{}}
	t.position = newCheckpoint(o, pair)
	t.follower, err = stream.New(ctx, stream.Options{
		API: o.Streams, ARN: pair.Source.StreamARN(), Schema: pair.Source.Schema, Sink: t, Positions: t.position.positions,
		Latest: o.From == FromLatest, UntilIdle: o.UntilIdle, GiveUp: o.GiveUp, PollInterval: o.PollInterval, Policy: t.policy(),
	})
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, refuse.Because(err, "allow dynamodb:DescribeStream, GetShardIterator and GetRecords on it, and check the network", "the stream of the source table %q can't be listed (%s)", pair.Source.Name, err)
	}
	if err := t.position.open(o.Restart); err != nil {
		return nil, err
	}
	if t.position.unquiet {
		t.wroteUncertain()
	}
	return t, nil
}

// run follows the stream, and saves the position now and then.
func (t *tailer) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	saving, stop := context.WithCancel(ctx)
	group.Go(func() error { return t.position.saveRegularly(saving) })
	group.Go(func() error {
		defer stop()
		return t.follower.Run(ctx)
	})
	return group.Wait()
}

// policy is that of one request.
func (t *tailer) policy() call.Policy {
	p := t.options.policy
	if p.GiveUp == 0 {
		p.GiveUp = stream.TryFor
	}
	return p
}

func (t *tailer) progress() Progress {
	status := t.follower.Status()
	t.mu.Lock()
	defer t.mu.Unlock()
	return Progress{
		Counts: t.counts, ActiveShards: status.ActiveShards, Lag: status.Lag, WriteUnits: t.writer.Limiter.Used(),
		Throttled: t.writer.Limiter.Throttled() + status.Throttled, Elapsed: time.Since(t.start),
		Failure: status.Failure, Failing: status.Failing, GiveUpIn: status.GiveUpIn,
	}
}

// wroteUncertain notes that a write without an answer was given up, or repeated, just now.
func (t *tailer) wroteUncertain() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lost = time.Now()
}

// mayWriteLate tells whether a write without an answer may still be carried out, over something newer.
func (t *tailer) mayWriteLate() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.lost.IsZero() && time.Since(t.lost) < t.policy().Lifetime()
}

func (t *tailer) result() Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	late := time.Time{}
	if !t.lost.IsZero() {
		late = t.lost.Add(t.policy().Lifetime())
	}
	return Result{
		LateUntil: late, Source: t.options.SourceTable, Target: t.options.TargetTable, Counts: t.counts,
		WriteUnits: t.writer.Limiter.Used(), Throttled: t.writer.Limiter.Throttled() + t.follower.Status().Throttled, Resumed: t.position.resumed,
		ElapsedSeconds: time.Since(t.start).Seconds(),
	}
}

// applied counts what was done with records.
func (t *tailer) applied(counts Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.add(counts)
}
