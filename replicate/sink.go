package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/call"
	"reseal/internal/refuse"
	"reseal/internal/stream"
	"reseal/internal/table"
)

var _ stream.Sink = (*tailer)(nil)

// Apply writes records of a shard. An item that the target refuses, and that nobody takes, is passed if the stream holds a later record
// of it that the target takes.
func (t *tailer) Apply(ctx context.Context, shard string, records []Record, again bool) (done int, err error) {
	for len(records) > 0 {
		applied, err := t.writeUntilFailure(ctx, shard, records, again)
		done += applied
		if err == nil {
			return done, nil
		}
		if !errors.Is(err, ErrPoison) {
			return done, err
		}
		superseded, aheadErr := t.supersede(ctx, shard, records[applied].Key, records[len(records)-1].Sequence)
		if aheadErr != nil {
			return done, aheadErr
		}
		if !superseded {
			return done, err
		}
		records, again = records[applied:], again && applied == 0
	}
	return done, nil
}

// writeUntilFailure returns how many of the records are applied, with an error if not all are.
func (t *tailer) writeUntilFailure(ctx context.Context, shard string, records []Record, again bool) (int, error) {
	kept, places, reached := t.ahead.leaveOut(records)
	sink := t.sink
	sink.again = again
	counts, err := sink.apply(ctx, kept)
	if counts.Uncertain > 0 {
		t.wroteUncertain()
	}
	applied := len(records)
	if failure, failed := failureIn(err); failed {
		applied = places[failure.Index]
	}
	if left := int64(applied) - counts.Records; left > 0 {
		counts.Records += left
		counts.Coalesced += left
	}
	t.applied(counts)
	t.ahead.forget(reached, applied)
	if err != nil {
		return applied, fmt.Errorf("replicate shard %s: %w", shard, err)
	}
	return applied, nil
}

// Save saves the checkpoint.
func (t *tailer) Save() error { return t.position.save() }

// Busy tells whether a write without an answer may still be carried out.
func (t *tailer) Busy() bool { return t.mayWriteLate() }

// IsFinal tells of the errors of replication that no repetition makes up for.
func (t *tailer) IsFinal(err error) bool {
	return refuse.Is(err) || errors.Is(err, ErrPoison) || errors.Is(err, ErrRefusesAll) || errors.Is(err, table.ErrChanged)
}

// lookInterval is how often the tables are described again: they may be deleted and made anew under a replication.
const lookInterval = time.Minute

// Look describes both tables again now and then, and returns an error if they are others by now. That they can't be described ends
// nothing yet, but is told. A stream that was disabled is seen where its shards are listed: what it still holds is applied first.
func (t *tailer) Look(ctx context.Context) error {
	if time.Since(t.looked) < lookInterval {
		return nil
	}
	t.looked = time.Now()
	err := t.recheck(ctx, false)
	if ctx.Err() != nil || errors.Is(err, table.ErrChanged) {
		return err
	}
	t.follower.Fails("tables", err)
	return nil
}

// Confirm describes both tables and the stream again, before the replication says that it is done.
func (t *tailer) Confirm(ctx context.Context) error { return t.recheck(ctx, true) }

// recheck describes both tables again; twice, before it says that one has changed: DescribeTable is eventually consistent (API reference).
func (t *tailer) recheck(ctx context.Context, stream bool) error {
	err := t.pair.Recheck(ctx, t.options.Source, t.options.Target, stream)
	if !errors.Is(err, table.ErrChanged) {
		return err
	}
	if err := call.Sleep(ctx, time.Second); err != nil {
		return err
	}
	return t.pair.Recheck(ctx, t.options.Source, t.options.Target, stream)
}
