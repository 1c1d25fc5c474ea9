package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"reseal/internal/call"
	"reseal/internal/item"
)

// Records reads a stream for whoever wants to know of each record but removals by time to live.
type Records struct {
	follower *Follower
	told     func(context.Context, Record) error
	place    place

	mu     sync.Mutex
	broken bool // by whoever is told
}

// place is a position of verify.Live's: where a reader of the stream has come to.
type place struct {
	Since    time.Time `json:"since"`    // from when on it has read each record
	Position State     `json:"position"` // of its shards
}

// sinceMargin is how well Since is known: a record's time has whole seconds, and the service's clock is known to one and an answer's way.
const sinceMargin = 3 * time.Second

// isRead tells of a record that was made before the earlier reader began, in a shard of which it has read none: only its oldest record can
// be begun with, though the reader began after that. Since is known to some seconds.
func (p place) isRead(shard string, record Record) bool {
	return p.Position.Shards[shard].Sequence == "" && record.Made.Before(p.Since.Add(sinceMargin))
}

var _ Sink = (*Records)(nil)

// RecordsOptions say which stream is read, and from where.
type RecordsOptions struct {
	API    API
	ARN    string
	Schema item.Schema
	// Position is where a Follower has come to, as it tells; nil: where the stream is now, or with Oldest its oldest record.
	Position json.RawMessage
	Oldest   bool
	Clock    call.Clock
	Opened   func() // see Options
	// Told is called for each record, by one goroutine for each shard. Its error ends the reading.
	Told func(context.Context, Record) error
}

// NewRecords lists the stream's shards.
func NewRecords(ctx context.Context, o RecordsOptions) (*Records, error) {
	r := &Records{told: o.Told}
	positions := NewPositions(o.Clock)
	if o.Position != nil {
		if err := json.Unmarshal(o.Position, &r.place); err != nil {
			return nil, fmt.Errorf("read position in the stream: %w", err)
		}
		positions.Resume(r.place.Position)
	}
	var err error
	r.follower, err = New(ctx, Options{
		API: o.API, ARN: o.ARN, Schema: o.Schema, Sink: r, Positions: positions, Latest: !o.Oldest, Opened: o.Opened,
		GiveUp: call.DefaultGiveUpSlowed, PollInterval: time.Second, MostPause: 10 * time.Second, Policy: call.Policy{GiveUp: TryFor},
	})
	if err != nil {
		return nil, fmt.Errorf("list shards: %w", err)
	}
	return r, nil
}

// Run reads until ctx ends, whose error it returns then.
func (r *Records) Run(ctx context.Context) error { return r.follower.Run(ctx) }

// ReadThrough is up to when the stream was read, by this machine's clock; zero: not known.
func (r *Records) ReadThrough() time.Time { return r.follower.ReadThrough() }

// RunFor reads what was made until a time from now, by this machine's clock. It waits for what comes late for a while longer, and fails if
// the stream could not be read that far.
func (r *Records) RunFor(ctx context.Context, length time.Duration) error {
	end := time.Now().Add(length)
	running, cancel := context.WithTimeout(ctx, length+readPatience)
	defer cancel()
	reached := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		defer close(watching)
		for call.Sleep(running, 100*time.Millisecond) == nil {
			if !r.ReadThrough().Before(end) {
				close(reached)
				cancel()
				return
			}
		}
	}()
	err := r.Run(running)
	cancel()
	<-watching
	select {
	case <-reached:
		if errors.Is(err, context.Canceled) && ctx.Err() == nil {
			return nil
		}
	default:
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("read the stream: it could not be read to its end within %s", readPatience)
	}
	return fmt.Errorf("read the stream: %w", err)
}

// readPatience is for how long a stream may be behind, or fail, when it is to be read up to a time.
const readPatience = time.Minute

// Apply hands the records on.
func (r *Records) Apply(ctx context.Context, shard string, records []Record, _ bool) (int, error) {
	for i, record := range records {
		if record.Expired || r.place.isRead(shard, record) {
			continue
		}
		if err := r.told(ctx, record); err != nil {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.broken = true
			return i, err
		}
	}
	return len(records), nil
}

// Save does nothing: positions are kept nowhere.
func (r *Records) Save() error { return nil }

// Look does nothing.
func (r *Records) Look(context.Context) error { return nil }

// Confirm does nothing: the stream is never taken for idle.
func (r *Records) Confirm(context.Context) error { return nil }

// Busy is for a stream that may be taken for idle.
func (r *Records) Busy() bool { return false }

// IsFinal tells that no other try makes up for an error of whoever is told.
func (r *Records) IsFinal(error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}
