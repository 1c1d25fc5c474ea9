// Package stream reads a DynamoDB stream: all its shards, parents before their children, each record once after the other, from a
// position on that its user keeps. It goes through what may pass, and never past what it doesn't know to be read.
//
// A [Follower] lists the shards, reads each by a goroutine of its own, and hands the pages to a [Sink]. A shard's position, in
// [Positions], moves only past the records that the sink has done. What was trimmed, and would be missed, is [ErrTrimmed].
package stream

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
)

// API is what a Follower asks of DynamoDB Streams; *dynamodbstreams.Client has it.
type API interface {
	DescribeStream(context.Context, *dynamodbstreams.DescribeStreamInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.DescribeStreamOutput, error)
	GetShardIterator(context.Context, *dynamodbstreams.GetShardIteratorInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetShardIteratorOutput, error)
	GetRecords(context.Context, *dynamodbstreams.GetRecordsInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetRecordsOutput, error)
}

// ErrTrimmed says that the stream no longer holds the records that come next: they were made more than 24 hours ago. The target
// may lack changes; only a new seed brings it in line, and for deletes only verify --repair.
var ErrTrimmed = errors.New("the stream no longer reaches back to the position needed: " + table.StartOver)

// ErrDisabled says that the source's stream was disabled meanwhile. What it holds is applied, what the source changed since is not.
var ErrDisabled = errors.New("the stream was disabled, so later changes are not replicated: enable it, " + table.StartOver)

// Sink takes the records of the shards. Apply is called by one goroutine for each shard.
type Sink interface {
	// Apply takes records of a shard in their order; again tells that some of them may have failed before. It returns how many, from the
	// first on, are done: the shard's position moves past those. Unless that is all, it also returns an error.
	Apply(ctx context.Context, shard string, records []Record, again bool) (done int, err error)
	// Save makes the positions last, where they are kept. It is called before a position may go back, and when a shard is at its end.
	Save() error
	// Look is called whenever the shards are listed, at the latest every 15 s. Its error ends the Follower.
	Look(ctx context.Context) error
	// Confirm is called before the Follower says that the stream is idle, by which it ends. An error that may pass is gone through.
	Confirm(ctx context.Context) error
	// Busy tells that what was done may still change, so that the stream doesn't count as idle.
	Busy() bool
	// IsFinal tells which errors of Apply, Look and Confirm no repetition makes up for.
	IsFinal(err error) bool
}

// Options say what a Follower reads, and how.
type Options struct {
	API    API
	ARN    string // of the stream
	Schema item.Schema
	Sink   Sink

	Positions *Positions // where to begin, and from then on how far it is

	Latest       bool          // begin with records made from now on, in shards of which no position is known
	UntilIdle    time.Duration // end when every shard was empty for so long; 0: never
	GiveUp       time.Duration // for how long failures that may pass are gone through; see replicate.Options
	PollInterval time.Duration // between two reads of a shard; 0: 250 ms (a shard serves 5 reads a second, to all readers)
	Policy       call.Policy   // of each request

	// MostPause leaves a stream that is throttled to its other readers: with each throttled read the pause before a shard's next one
	// doubles, up to this, and shrinks again slowly. 0: the pause stays PollInterval.
	MostPause time.Duration

	// Opened is called once, when each shard that was listed at the start has an iterator (or is at its end): what is changed from then on
	// is read. It may be nil.
	Opened func()
}

const defaultPoll = 250 * time.Millisecond

// Follower follows a stream. Its methods may be called while it runs.
type Follower struct {
	options  Options
	position *Positions
	start    time.Time
	first    listing      // of the start; for the first survey
	interval atomic.Int64 // of Poll; 0: the options'

	opening   map[string]bool   // the shards of the first listing that have no iterator yet; nil: it isn't known which they are
	isOpen    bool              // Opened was called
	openMu    sync.Mutex        // guards opening and isOpen
	throttled *capacity.Limiter // counts throttled reads of the stream; they cost no units

	mu       sync.Mutex         // guards what follows
	troubles map[string]trouble // by shard
	lags     map[string]time.Duration
	readers  map[string]*reader // those that were begun
	listed   listing            // when they were
}

// New returns a Follower of the stream, whose shards it lists. It returns the context's error, or says why they can't be listed.
func New(ctx context.Context, options Options) (*Follower, error) {
	if options.Policy.GiveUp == 0 {
		options.Policy.GiveUp = TryFor
	}
	t := &Follower{
		options: options, position: options.Positions, start: time.Now(), throttled: capacity.NewLimiter(0),
		troubles: map[string]trouble{}, lags: map[string]time.Duration{}, readers: map[string]*reader{},
	}
	var err error
	if t.first, err = t.list(ctx); err != nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return t, err
}

// Status is what a Follower does at present.
type Status struct {
	Listed       int // shards, when they were listed last
	ActiveShards int
	Lag          time.Duration // age of the last record of the shard that is most behind; 0 if nothing is waiting
	Throttled    int64         // reads, since the start

	Failure  error         // what fails at present, again and again; nil: nothing
	Failing  time.Duration // for how long
	GiveUpIn time.Duration // when the Follower ends if it goes on failing; 0: not known
}

// Status tells what the Follower does at present.
func (t *Follower) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := Status{Throttled: t.throttled.Throttled(), Listed: len(t.listed.parents)}
	for _, of := range t.lags {
		s.Lag = max(s.Lag, of)
	}
	for _, r := range t.readers {
		if r.endedAt().IsZero() {
			s.ActiveShards++
		}
	}
	if worst := t.worst(); worst.err != nil {
		s.Failure, s.Failing = worst.err, time.Since(worst.since)
		if !worst.end.IsZero() {
			s.GiveUpIn = time.Until(worst.end)
		}
	}
	return s
}

// Fails has Status tell of an error that ends nothing yet; nil: it has passed. what is its cause, which no shard's name is.
func (t *Follower) Fails(what string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	what = "\x00" + what // no shard
	if delete(t.troubles, what); err != nil {
		t.troubles[what] = trouble{since: time.Now(), err: err}
	}
}

// readTo notes that a shard was applied up to a record that was made at a time.
func (t *Follower) readTo(shard string, made time.Time) {
	if made.IsZero() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lags[shard] = max(0, t.position.since(made))
}

// caughtUp says that nothing is waiting in a shard.
func (t *Follower) caughtUp(shard string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.lags, shard)
}

// toOpen notes the shards of the first listing that are to be begun.
func (t *Follower) toOpen(shards listing) {
	t.openMu.Lock()
	if t.opening != nil || len(shards.parents) == 0 {
		t.openMu.Unlock()
		return
	}
	t.opening = map[string]bool{}
	for shard := range shards.parents {
		if !t.position.isDrained(shard) && !t.waits(shards, shard) {
			t.opening[shard] = true
		}
	}
	t.openMu.Unlock()
	t.opened("")
}

// opened notes that a shard has an iterator, or needs none.
func (t *Follower) opened(shard string) {
	t.openMu.Lock()
	defer t.openMu.Unlock()
	delete(t.opening, shard)
	if t.opening != nil && len(t.opening) == 0 && t.options.Opened != nil && !t.isOpen {
		t.isOpen = true // the options stay as they are: every reader has them at hand without a lock
		t.options.Opened()
	}
}
