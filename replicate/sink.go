package replicate

import (
	"context"
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

// write writes records of the shard and moves its position behind those that are applied.
func (r *reader) write(ctx context.Context, records []Record) error {
	if len(records) == 0 {
		return nil
	}
	t := r.tailer
	counts, err := t.sink.apply(ctx, records)
	if counts.Uncertain > 0 {
		t.wroteUncertain()
	}
	applied := len(records)
	failure, failed := failureIn(err)
	if failed {
		applied = failure.Index
	}
	if applied > 0 {
		last := records[applied-1]
		t.position.advance(r.shard, last.Sequence, last.Made)
		r.trouble.succeeded()
		t.applied(r.shard, counts, last.Made)
	} else {
		t.applied(r.shard, counts, time.Time{})
	}
	if err != nil {
		return fmt.Errorf("replicate shard %s: %w", r.shard, err)
	}
	return nil
}
