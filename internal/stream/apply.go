package stream

import (
	"context"
	"fmt"
	"time"
)

// apply hands on what a read that began at the given time has found, and moves the position past what is done.
func (r *reader) apply(ctx context.Context, begun time.Time, found Page) error {
	t, records := r.tailer, found.Records
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
		if err := t.options.Sink.Save(); err != nil {
			return final(err)
		}
	}
	var unread error
	if found.Unread != nil {
		unread = final(fmt.Errorf("read shard %s: record %q: %w", r.shard, found.Unread.Sequence, found.Unread.Err))
		records = records[:found.Unread.Index]
	}
	if len(records) == 0 {
		return unread
	}
	done, err := t.options.Sink.Apply(ctx, r.shard, records, r.trouble.lasts())
	if done > 0 {
		last := records[done-1]
		t.position.advance(r.shard, last.Sequence, last.Made)
		r.trouble.succeeded()
		t.readTo(r.shard, last.Made)
		r.readThrough(begun, last.Made)
	}
	if err != nil {
		return err
	}
	return unread
}
