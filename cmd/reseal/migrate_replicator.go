package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reseal/internal/call"
	"reseal/replicate"
)

// ownReplicator is a replication in this process, which can be stopped and started again.
type ownReplicator struct {
	options replicate.Options
	ctx     context.Context         // of the migration
	failed  context.CancelCauseFunc // ends the migration

	mu     sync.Mutex // guards what follows
	cancel context.CancelFunc
	ended  chan struct{} // nil: it doesn't run
	total  replicate.Result
	now    replicate.Progress // of the run under way
	late   time.Time          // until when a write of an earlier run may still be carried out
}

// start begins to replicate, if it doesn't run.
func (r *ownReplicator) start() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended != nil || r.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(r.ctx)
	ended := make(chan struct{})
	r.cancel, r.ended = cancel, ended
	options := r.options
	r.options.Restart = false // not once more
	go func() {
		defer close(ended)
		defer cancel()
		result, err := replicate.Run(ctx, options)
		r.add(result)
		if err != nil && !errors.Is(err, context.Canceled) {
			r.failed(fmt.Errorf("replicate: %w", err))
		}
	}()
}

func (r *ownReplicator) add(more replicate.Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total.Counts = addCounts(r.total.Counts, more.Counts)
	r.total.WriteUnits += more.WriteUnits
	r.total.Throttled += more.Throttled
	r.total.ElapsedSeconds += more.ElapsedSeconds
	r.total.Resumed = r.total.Resumed || more.Resumed
	r.now = replicate.Progress{}
	if more.LateUntil.After(r.late) {
		r.late = more.LateUntil
	}
}

func addCounts(a, b replicate.Counts) replicate.Counts {
	a.Records += b.Records
	a.Puts += b.Puts
	a.Deletes += b.Deletes
	a.Coalesced += b.Coalesced
	a.DeadLettered += b.DeadLettered
	a.Uncertain += b.Uncertain
	return a
}

// progress is told by the replication.
func (r *ownReplicator) progress(p replicate.Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = p
}

// says is how far behind it is.
func (r *ownReplicator) says() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.now.Failure != nil {
		return fmt.Sprintf("replication failing for %s", r.now.Failing.Round(time.Second))
	}
	return fmt.Sprintf("replication %s behind", r.now.Lag.Round(time.Second))
}

// stop ends it, and returns when no write of it can be carried out any more.
func (r *ownReplicator) stop(ctx context.Context) error {
	r.end()
	r.mu.Lock()
	late := r.late
	r.mu.Unlock()
	if err := call.Sleep(ctx, time.Until(late)); err != nil {
		return fmt.Errorf("wait until no write of the replicator's can land: %w", err)
	}
	return nil
}

// end ends it and waits for that.
func (r *ownReplicator) end() {
	r.mu.Lock()
	ended, cancel := r.ended, r.cancel
	r.mu.Unlock()
	if ended == nil {
		return
	}
	cancel()
	<-ended
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ended = nil
}

// startAgain is for a cutover that goes back.
func (r *ownReplicator) startAgain(context.Context) error {
	r.start()
	return nil
}

// result is what it did in all.
func (r *ownReplicator) result() replicate.Result {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}
