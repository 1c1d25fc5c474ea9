package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/smithy-go"
)

// reader reads one shard from its position to its end.
type reader struct {
	tailer   *Follower
	shard    string
	closed   bool // as far as the listing tells
	latest   bool // without a position, start with records to come instead of the oldest
	renewals int  // of the iterator, since a read last succeeded
	trouble  *patience
	pause    time.Duration // before the next read, if it is longer than the Follower's

	after   map[string]string // the shards that come after this one, with their StartingSequenceNumbers
	cancel  context.CancelCauseFunc
	stopped chan struct{} // closed when run has returned

	mu        sync.Mutex // guards what follows
	emptyFrom time.Time  // when the first of the last reads began that all found nothing; zero: the last one found something
	emptyTo   time.Time  // when the last of them began
	ended     time.Time
	atTip     bool      // all that was in the shard at some time was read, so a read that finds nothing tells that there is nothing
	through   time.Time // up to when all that was made is done, by this machine's clock; zero: not known
}

// emptyBetween tells of the last reads, all of which found nothing, when the first and the last of them began. A read that
// failed, or that is under way, is none of them.
func (r *reader) emptyBetween() (from, to time.Time, empty bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.emptyFrom, r.emptyTo, !r.emptyFrom.IsZero()
}

func (r *reader) foundNothing(begun time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.emptyFrom.IsZero() {
		r.emptyFrom = begun
	} else if r.atTip = r.atTip || begun.Sub(r.emptyFrom) >= tipTime; r.atTip {
		r.through = later(r.through, r.emptyTo.Add(-AppearsWithin)) // not begun: that the reads since then found nothing either says it twice
	}
	r.emptyTo = begun
}

func (r *reader) notEmpty() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.emptyFrom = time.Time{}
}

func (r *reader) endedAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// run reads and applies the shard's records in order until the shard has no more and gets no more, which only a missing
// NextShardIterator says: an EndingSequenceNumber is no sign for it, and an empty answer none either.
//
// After a failure that may pass it begins again with an iterator for what is applied, until the tailer's patience ends.
func (r *reader) run(ctx context.Context, ended chan<- struct{}) error {
	r.trouble = r.tailer.patience(r.shard)
	defer r.trouble.succeeded()
	for {
		iterator, err := r.iterator(ctx)
		for err == nil && iterator != nil {
			iterator, err = r.step(ctx, iterator)
		}
		if err == nil {
			return r.end(ended)
		}
		if err := r.trouble.again(ctx, err); err != nil {
			return err
		}
	}
}

func (r *reader) end(ended chan<- struct{}) error {
	r.tailer.opened(r.shard)
	r.mu.Lock()
	r.ended = time.Now() // before the shard counts as drained: idle goes by both
	r.mu.Unlock()
	r.tailer.position.drained(r.shard)
	r.tailer.caughtUp(r.shard)
	if err := r.tailer.options.Sink.Save(); err != nil {
		return final(err)
	}
	select {
	case ended <- struct{}{}:
	default: // a wake-up is waiting already
	}
	return nil
}

// step reads once, applies what it read, waits, and returns the iterator to go on with; nil: the shard is drained.
func (r *reader) step(ctx context.Context, iterator *string) (*string, error) {
	begun, throttled := time.Now(), r.tailer.throttled.Throttled()
	found, err := r.read(ctx, iterator)
	r.pace(r.tailer.throttled.Throttled() > throttled)
	if err != nil && r.renewable(err) {
		if err := call.Sleep(ctx, r.tailer.poll()); err != nil {
			return nil, err
		}
		return r.iterator(ctx)
	}
	if err != nil {
		return nil, err
	}
	r.renewals = 0
	if err := r.apply(ctx, begun, found); err != nil {
		return nil, err
	}
	r.trouble.succeeded()
	if found.Next == nil {
		return nil, nil
	}
	return found.Next, call.Sleep(ctx, max(r.pause, r.tailer.poll()))
}

// pace sets the pause after a read. That of another shard may have been the one that was throttled: who may not read pauses everywhere.
func (r *reader) pace(throttled bool) {
	most := r.tailer.options.MostPause
	switch {
	case most == 0:
	case throttled:
		r.pause = min(most, 2*max(r.pause, r.tailer.poll()))
	default:
		r.pause -= r.pause / 16
	}
}

// renewable tells whether a new iterator makes up for the error, which it no longer does when it has failed to, again and again.
func (r *reader) renewable(err error) bool {
	const most = 10
	r.renewals++
	var expired *types.ExpiredIteratorException
	return r.renewals <= most && (errors.As(err, &expired) || isGone(err) || r.harmless(err))
}

// iterator starts after the last record applied, or where the options say. It returns nil if the shard was trimmed as a whole
// and no record of it is needed.
func (r *reader) iterator(ctx context.Context) (*string, error) {
	in := &dynamodbstreams.GetShardIteratorInput{StreamArn: &r.tailer.options.ARN, ShardId: &r.shard}
	position := r.tailer.position.of(r.shard)
	switch {
	case position.Sequence != "":
		in.ShardIteratorType, in.SequenceNumber = types.ShardIteratorTypeAfterSequenceNumber, &position.Sequence
	case position.Start != "":
		in.ShardIteratorType, in.SequenceNumber = types.ShardIteratorTypeAtSequenceNumber, &position.Start
	case r.latest:
		in.ShardIteratorType = types.ShardIteratorTypeLatest
	case r.isTooOld(position):
		return nil, r.tooOld(position)
	default:
		in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon
	}
	out, err := r.getIterator(ctx, in)
	switch {
	case err != nil && r.closed && r.harmless(err):
		return nil, nil // an open shard would get records that are needed, so there it is an error
	case isValidation(err) && position.Sequence == "" && position.Start != "" && r.tailer.position.since(position.asOf()) < Retention-giveUpMargin:
		// The service doesn't take the number at which it says that the shard starts. Nothing of the shard is old enough to be trimmed.
		in.ShardIteratorType, in.SequenceNumber = types.ShardIteratorTypeTrimHorizon, nil
		if out, err = r.getIterator(ctx, in); err == nil && out.ShardIterator != nil {
			return out.ShardIterator, nil
		}
		return nil, fmt.Errorf("get iterator of shard %s: %w", r.shard, err)
	case err != nil:
		return nil, fmt.Errorf("get iterator of shard %s: %w", r.shard, trimmed(err))
	case in.ShardIteratorType == types.ShardIteratorTypeTrimHorizon && r.isTooOld(position): // by the answer's clock
		return nil, r.tooOld(position)
	case out.ShardIterator == nil:
		return nil, fmt.Errorf("get iterator of shard %s: the answer has none", r.shard)
	}
	r.tailer.opened(r.shard)
	if in.ShardIteratorType == types.ShardIteratorTypeLatest {
		r.begunAtTip()
	}
	r.latest = false // if it expires, another LATEST would leave out what was made meanwhile
	return out.ShardIterator, nil
}

// isTooOld tells of a shard of which nothing is applied whether nothing was read for so long that the oldest record that there is may lie
// behind a gap.
func (r *reader) isTooOld(position Position) bool {
	return r.tailer.position.since(position.asOf()) >= Retention
}

func (r *reader) tooOld(position Position) error {
	return fmt.Errorf("get iterator of shard %s: nothing of it was read since %s: %w", r.shard, position.asOf().Format(time.RFC3339), ErrTrimmed)
}

// getIterator gets an iterator. The service has to say several times that there is no such shard.
func (r *reader) getIterator(ctx context.Context, in *dynamodbstreams.GetShardIteratorInput) (out *dynamodbstreams.GetShardIteratorOutput, err error) {
	err = r.tailer.confirmGone(ctx, func(ctx context.Context) (err error) {
		out, err = r.tailer.options.API.GetShardIterator(ctx, in, onceStreams)
		return call.Private(err)
	})
	if err == nil {
		r.tailer.position.observe(out.ResultMetadata)
	}
	return out, err
}

func (r *reader) read(ctx context.Context, iterator *string) (found Page, err error) {
	err = r.tailer.read(ctx, func(ctx context.Context) (err error) {
		found, err = r.tailer.getRecords(ctx, &dynamodbstreams.GetRecordsInput{ShardIterator: iterator})
		return call.Private(err)
	})
	if err != nil {
		return Page{}, fmt.Errorf("read shard %s: %w", r.shard, trimmed(err))
	}
	return found, nil
}

// harmless tells whether err says that records were trimmed none of which are needed. An old stream lists shards for a while
// whose records are all gone (AWS's own Kinesis adapter for DynamoDB Streams ends those, too).
func (r *reader) harmless(err error) bool {
	return isTrimmed(err) && !r.tailer.position.needs(r.shard)
}

// isGone tells whether the service doesn't know the shard: it was trimmed as a whole, or is so new that not every part of the
// service has heard of it, which another try shows.
func isGone(err error) bool {
	var gone *types.ResourceNotFoundException
	return errors.As(err, &gone)
}

func isTrimmed(err error) bool {
	var records *types.TrimmedDataAccessException
	return errors.As(err, &records) || isGone(err)
}

func isValidation(err error) bool {
	var api smithy.APIError
	return errors.As(err, &api) && api.ErrorCode() == "ValidationException"
}

// trimmed adds ErrTrimmed to the service's own error.
func trimmed(err error) error {
	if isTrimmed(err) {
		return fmt.Errorf("%w (%w)", ErrTrimmed, err)
	}
	return err
}
