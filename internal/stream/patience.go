package stream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/call"

	"github.com/aws/smithy-go"
)

const (
	// giveUpMargin is how long before the stream may trim what comes next a replication that only fails ends, so that there is time to
	// put right what is wrong and start it again.
	giveUpMargin = time.Hour
	// TryFor is how long one request is repeated before its failure is told; then it is made again after a pause.
	TryFor = 10 * time.Second
	// pauseMost bounds the pause between two such tries.
	pauseMost = 30 * time.Second
)

// patience is how long one shard, or the listing of all, is tried again after failures that may pass: denials (IAM and KMS have
// hiccups, and permissions are put right), credentials that expired, throttling, errors of the service, a network that is down.
type patience struct {
	tailer *Follower
	shard  string // "": the listing
	since  time.Time
	pause  time.Duration

	missing time.Time // since when every failure says that there is no such table
}

func (t *Follower) patience(shard string) *patience { return &patience{tailer: t, shard: shard} }

// lasts tells whether the last try failed.
func (p *patience) lasts() bool { return !p.since.IsZero() }

// succeeded ends a time of failures.
func (p *patience) succeeded() {
	if p.since.IsZero() {
		return
	}
	p.since, p.pause, p.missing = time.Time{}, 0, time.Time{}
	p.tailer.mu.Lock()
	defer p.tailer.mu.Unlock()
	delete(p.tailer.troubles, p.shard)
}

// again waits until it is time to try again after err. It returns an error if that one may not pass, or the patience ends.
func (p *patience) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if IsFinal(err, p.tailer.options.Sink.IsFinal) {
		return err
	}
	now := time.Now()
	if p.since.IsZero() {
		p.since = now
	}
	if !isMissing(err) {
		p.missing = time.Time{}
	} else if p.missing.IsZero() {
		p.missing = now
	}
	p.pause = min(pauseMost, max(2*p.pause, p.tailer.poll()))
	end := p.end(err)
	if left := end.Sub(now); left < p.pause {
		return fmt.Errorf("gave up after %s without success: %w", now.Sub(p.since).Round(time.Second), err)
	}
	p.tailer.mu.Lock()
	p.tailer.troubles[p.shard] = trouble{since: p.since, err: err, end: end}
	p.tailer.mu.Unlock()
	return call.Pause(ctx, p.pause)
}

// end is when the patience ends.
func (p *patience) end(err error) time.Time {
	o := p.tailer.options
	switch {
	case o.GiveUp > 0:
		return p.since.Add(o.GiveUp)
	case isMissing(err):
		return p.missing.Add(call.DefaultGiveUp)
	case o.UntilIdle > 0 && call.Classify(err) == call.Throttled:
		return p.since.Add(call.DefaultGiveUpSlowed)
	case o.UntilIdle > 0:
		return p.since.Add(call.DefaultGiveUp)
	}
	// A minute even where what comes next is about to be trimmed.
	return later(p.tailer.position.machine(p.tailer.position.oldest(p.shard)).Add(Retention-giveUpMargin), p.since.Add(call.DefaultGiveUp))
}

// trouble is what is failing.
type trouble struct {
	since, end time.Time
	err        error
}

// worst is the trouble that has lasted longest. The tailer's mu is held.
func (t *Follower) worst() trouble {
	var worst trouble
	for _, one := range t.troubles {
		if worst.since.IsZero() || one.since.Before(worst.since) {
			worst = one
		}
	}
	return worst
}

// lasting is an error that no repetition makes up for.
type lasting struct{ error }

func (l lasting) Unwrap() error { return l.error }

func final(err error) error { return lasting{err} }

// IsFinal tells whether no repetition makes up for an error: what it says of the stream, a table, an item or the request stays so.
func IsFinal(err error, also func(error) bool) bool {
	var marked lasting
	if errors.As(err, &marked) || errors.Is(err, ErrTrimmed) || errors.Is(err, ErrDisabled) || also(err) {
		return true
	}
	var invalid smithy.InvalidParamsError
	var serialization *smithy.SerializationError
	var api smithy.APIError
	return errors.As(err, &invalid) || errors.As(err, &serialization) || call.ItemRefused(err) ||
		(errors.As(err, &api) && api.ErrorCode() == "SerializationException")
}

// isMissing tells whether the service says that there is no such table, which it also says of one that isn't ACTIVE.
func isMissing(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "ResourceNotFoundException"
}

// confirm asks the sink, before the Follower says that it is done.
func (t *Follower) confirm(ctx context.Context) error {
	p := t.patience("")
	for {
		err := t.options.Sink.Confirm(ctx)
		if err == nil {
			p.succeeded()
			return nil
		}
		if err := p.again(ctx, err); err != nil {
			return err
		}
	}
}
