package replicate

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// apply applies what a read that began at the given time has found.
func (r *reader) apply(ctx context.Context, begun time.Time, found page) error {
	t, records := r.tailer, found.records
	if len(records) == 0 {
		r.foundNothing(begun)
		if from, to, empty := r.emptyBetween(); empty {
			t.position.foundEmpty(r.shard, from, to)
		}
		t.caughtUp(r.shard)
		return nil
	}
	r.notEmpty()
	if t.position.replay(r.shard, r.after) {
		if err := t.position.save(); err != nil {
			return final(err)
		}
	}
	var unread error
	if found.unread != nil {
		unread = final(fmt.Errorf("read shard %s: record %q: %w", r.shard, found.unread.Sequence, found.unread.Err))
		records = records[:found.unread.Index]
	}
	if err := r.write(ctx, records); err != nil {
		return err
	}
	return unread
}

// write writes records of the shard and moves its position behind those that are applied. An item that the target refuses, and that
// nobody takes, is passed if the stream holds a later record of it that the target takes.
func (r *reader) write(ctx context.Context, records []Record) error {
	for len(records) > 0 {
		applied, err := r.writeUntilFailure(ctx, records)
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrPoison) {
			return err
		}
		superseded, aheadErr := r.supersede(ctx, records[applied].Key, records[len(records)-1].Sequence)
		if aheadErr != nil {
			return aheadErr
		}
		if !superseded {
			return err
		}
		records = records[applied:]
	}
	return nil
}

// writeUntilFailure returns how many of the records are applied, with an error if not all are.
func (r *reader) writeUntilFailure(ctx context.Context, records []Record) (int, error) {
	t := r.tailer
	kept, places, reached := t.ahead.leaveOut(records)
	sink := t.sink
	sink.again = r.trouble.lasts()
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
	made := time.Time{}
	if applied > 0 {
		last := records[applied-1]
		made = last.Made
		t.position.advance(r.shard, last.Sequence, made)
		r.trouble.succeeded()
	}
	t.applied(r.shard, counts, made)
	t.ahead.forget(reached, applied)
	if err != nil {
		return applied, fmt.Errorf("replicate shard %s: %w", r.shard, err)
	}
	return applied, nil
}
