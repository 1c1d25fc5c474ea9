package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"reseal/internal/call"
	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/stream"
)

// StreamsAPI is what a verification that follows asks of DynamoDB Streams; *dynamodbstreams.Client has it.
type StreamsAPI = stream.API

// change is what a stream record says of its key.
type change struct {
	key  item.Key
	made time.Time // by the service's clock
	// expired tells that the service's time to live made it.
	expired bool
}

// changeReader is the source's stream, from a position on.
type changeReader interface {
	// Run hands on the changes of each shard in their order until ctx ends, whose error it returns then. The position moves past a page
	// only when it was taken. What was trimmed, or a stream that was disabled, is an error.
	Run(ctx context.Context, page func(shard string, changes []change) error) error
	// Opened is closed when each change that is made from then on will be handed on.
	Opened() <-chan struct{}
	// Position is where another run may go on without missing a change.
	Position() (json.RawMessage, error)
	// ReadThrough is a time, by this machine's clock, up to which each change was handed on; the zero time if none is known.
	ReadThrough() time.Time
	Throttled() int64
	// Hurry has the stream be read more often from now on.
	Hurry()
	// Shards is how many the stream lists.
	Shards() int
	// Failure is what fails at present, again and again; nil: nothing.
	Failure() error
}

const (
	// followPoll is the time between two reads of a shard. A shard serves five a second to all of its readers, and the Lambda takes four
	// (AWS Lambda developer guide, "Process DynamoDB records with Lambda": "a base rate of 4 times per second").
	followPoll = time.Second
	// followHurry is that time while somebody waits: together with the Lambda it may be more than the shard serves, for some seconds.
	followHurry = 500 * time.Millisecond
	// followMostPause bounds it while the stream is throttled.
	followMostPause = 10 * time.Second
)

// tail is the source's stream as internal/stream reads it, and its sink.
type tail struct {
	follower  *stream.Follower
	positions *stream.Positions
	opened    chan struct{}
	page      func(shard string, changes []change) error

	mu     sync.Mutex
	broken error // of page: the disk's
}

var (
	_ changeReader = (*tail)(nil)
	_ stream.Sink  = (*tail)(nil)
)

// openChanges lists the shards of the source's stream, which are read from now on, or from a position of an earlier run on.
func openChanges(ctx context.Context, r *run, position json.RawMessage) (changeReader, error) {
	t := &tail{positions: stream.NewPositions(r.clock), opened: make(chan struct{})}
	if position != nil {
		var state stream.State
		if err := json.Unmarshal(position, &state); err != nil {
			return nil, fmt.Errorf("read checkpoint: position in the stream: %w", err)
		}
		t.positions.Resume(state)
	}
	var err error
	t.follower, err = stream.New(ctx, stream.Options{
		API: r.options.Follow.Streams, ARN: r.pair.Source.StreamARN(), Schema: r.pair.Source.Schema, Sink: t, Positions: t.positions,
		Latest: true, GiveUp: call.DefaultGiveUpSlowed, PollInterval: followPoll, MostPause: followMostPause,
		Policy: call.Policy{Timeout: r.options.RequestTimeout, GiveUp: stream.TryFor}, Opened: func() { close(t.opened) },
	})
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, refuse.Because(err, "allow dynamodb:DescribeStream, GetShardIterator and GetRecords on it, and check the network",
			"the stream of the source table %q can't be listed (%s)", r.pair.Source.Name, err)
	}
	return t, nil
}

func (t *tail) Run(ctx context.Context, page func(shard string, changes []change) error) error {
	t.page = page
	if err := t.follower.Run(ctx); err != nil {
		return fmt.Errorf("follow stream: %w", err)
	}
	return nil
}

func (t *tail) Opened() <-chan struct{} { return t.opened }

func (t *tail) Position() (json.RawMessage, error) {
	state, _ := t.positions.Take()
	return json.Marshal(state)
}

func (t *tail) ReadThrough() time.Time { return t.follower.ReadThrough() }

func (t *tail) Hurry() { t.follower.Poll(followHurry) }

func (t *tail) Throttled() int64 { return t.follower.Status().Throttled }

func (t *tail) Shards() int { return t.follower.Status().Listed }

func (t *tail) Failure() error { return t.follower.Status().Failure }

// Apply hands the records' keys on. What an item has by then is read from the tables.
func (t *tail) Apply(_ context.Context, shard string, records []stream.Record, _ bool) (int, error) {
	list := make([]change, len(records))
	for i, record := range records {
		list[i] = change{record.Key, record.Made, record.Expired}
	}
	if err := t.page(shard, list); err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.broken = err
		return 0, err
	}
	return len(records), nil
}

// Save does nothing: positions are kept together with the open keys, and to read records once more only opens keys once more.
func (t *tail) Save() error { return nil }

// Look does nothing: the tables are looked at by follower.watch.
func (t *tail) Look(context.Context) error { return nil }

// Confirm does nothing: the stream is never taken for idle.
func (t *tail) Confirm(context.Context) error { return nil }

// Busy is for a stream that may be taken for idle.
func (t *tail) Busy() bool { return false }

// IsFinal tells that no other try makes up for an error of the disk.
func (t *tail) IsFinal(error) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.broken != nil
}
