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
	"reseal/internal/table"
	"reseal/internal/ticker"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
)

// TargetAPI is what a replicator asks of the target table's client; *dynamodb.Client has it.
type TargetAPI interface {
	table.DescribeAPI
	batch.WriteAPI
}

// StreamsAPI is what the tailer asks of DynamoDB Streams; *dynamodbstreams.Client has it.
type StreamsAPI interface {
	DescribeStream(context.Context, *dynamodbstreams.DescribeStreamInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.DescribeStreamOutput, error)
	GetShardIterator(context.Context, *dynamodbstreams.GetShardIteratorInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetShardIteratorOutput, error)
	GetRecords(context.Context, *dynamodbstreams.GetRecordsInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetRecordsOutput, error)
}

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

	PollInterval time.Duration  // between two reads of one shard; 0: 250 ms (a shard serves 5 reads a second, to all readers)
	Progress     func(Progress) // called about once a second and at the end; may be nil
}

// Progress is how far a replication has come.
type Progress struct {
	Counts
	ActiveShards int
	Lag          time.Duration // age of the last record of the shard that is most behind; 0 if nothing is waiting
	WriteUnits   float64
	Throttled    int64
	Elapsed      time.Duration
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
}

// ErrTrimmed says that the stream no longer holds the records that come next: they were made more than 24 hours ago. The target
// may lack changes; only a new seed brings it in line.
var ErrTrimmed = errors.New("the stream no longer reaches back to the position needed: replicate with a new checkpoint, then seed again")

// ErrDisabled says that the source's stream was disabled meanwhile. What it holds is applied, what the source changed since is not.
var ErrDisabled = errors.New("the stream was disabled, so later changes are not replicated: enable it, replicate with a new checkpoint, then seed again")

const (
	defaultPoll      = 250 * time.Millisecond
	progressInterval = time.Second
)

// tailer is one Run.
type tailer struct {
	options  Options
	pair     table.Pair
	stream   string // ARN
	writer   *batch.Writer
	position *checkpoint
	start    time.Time

	mu     sync.Mutex // guards what follows
	counts Counts
	lags   map[string]time.Duration // of each shard that has something waiting
	active int

	throttledReads *capacity.Limiter // counts throttled reads of the stream; they cost no units
}

// Run follows the source's stream and applies it to the target until UntilIdle, or until ctx ends, whose error it returns then,
// with the checkpoint saved. It returns a *refuse.Error (exit status 2) if it did nothing, and another error if it failed on
// the way; the result then says how far it came.
func Run(ctx context.Context, options Options) (Result, error) {
	t, err := prepare(ctx, options)
	if err != nil {
		return Result{}, err
	}
	stop := ticker.Report(progressInterval, options.Progress, t.progress)
	err = t.follow(ctx)
	stop()
	return t.result(), errors.Join(err, t.position.save())
}

func prepare(ctx context.Context, o Options) (*tailer, error) {
	switch {
	case o.From != "" && o.From != FromTrimHorizon && o.From != FromLatest:
		return nil, refuse.New("use trim-horizon or latest", "from %q is not known", o.From)
	case o.UntilIdle < 0:
		return nil, refuse.New("give a duration such as 10s", "until-idle is %s", o.UntilIdle)
	}
	pair, err := table.Preflight(ctx, o.Source, o.SourceTable, o.Target, o.TargetTable, table.Needs{Stream: true, Encryption: o.Encryption})
	if err != nil {
		return nil, err
	}
	t := &tailer{
		options: o, pair: pair, stream: pair.Source.StreamARN(), start: time.Now(),
		lags: map[string]time.Duration{}, throttledReads: capacity.NewLimiter(0),
		writer: &batch.Writer{API: o.Target, Table: o.TargetTable, Schema: pair.Target.Schema, Limiter: capacity.NewLimiter(0), Policy: call.Policy{}},
	}
	t.position, err = openCheckpoint(o, pair)
	return t, err
}

func (t *tailer) progress() Progress {
	t.mu.Lock()
	defer t.mu.Unlock()
	lag := time.Duration(0)
	for _, of := range t.lags {
		lag = max(lag, of)
	}
	return Progress{
		Counts: t.counts, ActiveShards: t.active, Lag: lag, WriteUnits: t.writer.Limiter.Used(),
		Throttled: t.throttled(), Elapsed: time.Since(t.start),
	}
}

func (t *tailer) throttled() int64 {
	return t.writer.Limiter.Throttled() + t.throttledReads.Throttled()
}

func (t *tailer) result() Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	return Result{
		Source: t.options.SourceTable, Target: t.options.TargetTable, Counts: t.counts,
		WriteUnits: t.writer.Limiter.Used(), Throttled: t.throttled(), Resumed: t.position.resumed,
		ElapsedSeconds: time.Since(t.start).Seconds(),
	}
}

// applied counts what one Apply did for a shard; last is when its last record was made.
func (t *tailer) applied(shard string, counts Counts, last time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts.add(counts)
	if !last.IsZero() {
		t.lags[shard] = max(0, time.Since(last))
	}
}

// caughtUp says that nothing is waiting in a shard.
func (t *tailer) caughtUp(shard string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lags, shard)
}
