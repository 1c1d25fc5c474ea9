package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"reseal/internal/call"
	"reseal/internal/capacity"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// listing is the stream's shards at one time.
type listing struct {
	at       time.Time         // what happened before is seen
	parents  map[string]string // of each shard its parent, which need not be listed itself; "": none
	starts   map[string]string // their StartingSequenceNumbers
	hasChild map[string]bool
	closed   map[string]bool // has an EndingSequenceNumber, which an engine may also give an open shard
	disabled bool            // the stream gets no more records
}

func newListing() listing {
	return listing{at: time.Now(), parents: map[string]string{}, starts: map[string]string{}, hasChild: map[string]bool{}, closed: map[string]bool{}}
}

// put adds a shard.
func (l *listing) put(shard, parent, start string, isClosed bool) {
	l.parents[shard], l.starts[shard], l.closed[shard] = parent, start, isClosed
	l.hasChild[parent] = true
}

// list lists all shards, page by page.
func (t *Follower) list(ctx context.Context) (listing, error) {
	shards := newListing()
	in := &dynamodbstreams.DescribeStreamInput{StreamArn: &t.options.ARN}
	for {
		var out *dynamodbstreams.DescribeStreamOutput
		err := t.confirmGone(ctx, func(ctx context.Context) (err error) {
			out, err = t.options.API.DescribeStream(ctx, in, onceStreams)
			return call.Private(err)
		})
		switch {
		case isGone(err):
			return shards, fmt.Errorf("%w (describe stream: %w)", ErrDisabled, err)
		case err != nil:
			return shards, fmt.Errorf("describe stream: %w", err)
		}
		if out.StreamDescription == nil {
			return shards, errors.New("describe stream: the answer has no description")
		}
		t.position.observe(out.ResultMetadata)
		shards.add(out.StreamDescription)
		in.ExclusiveStartShardId = out.StreamDescription.LastEvaluatedShardId
		if in.ExclusiveStartShardId == nil {
			return shards, nil
		}
	}
}

func (l *listing) add(page *types.StreamDescription) {
	l.disabled = page.StreamStatus == types.StreamStatusDisabled
	for _, shard := range page.Shards {
		start, isClosed := "", false
		if numbers := shard.SequenceNumberRange; numbers != nil {
			start, isClosed = aws.ToString(numbers.StartingSequenceNumber), numbers.EndingSequenceNumber != nil
		}
		l.put(aws.ToString(shard.ShardId), aws.ToString(shard.ParentShardId), start, isClosed)
	}
}

// include adds the shards of an earlier listing that are wanted and that this one lacks: an answer may have holes.
func (l *listing) include(earlier listing, wanted func(shard string) bool) {
	for shard, parent := range earlier.parents {
		if _, listed := l.parents[shard]; listed || !wanted(shard) {
			continue
		}
		l.put(shard, parent, earlier.starts[shard], earlier.closed[shard])
	}
}

// ancestors are the shard's parent, its parent, and so on, as far as they are listed; after those comes one that isn't.
func (l *listing) ancestors(shard string) []string {
	var list []string
	parent := l.parents[shard]
	for len(list) <= len(l.parents) { // no engine can make it go round for ever
		next, listed := l.parents[parent]
		if parent == "" {
			break
		}
		list = append(list, parent)
		if !listed {
			break
		}
		parent = next
	}
	return list
}

// descendants are the StartingSequenceNumbers of all shards that come after a shard.
func (l *listing) descendants(shard string) map[string]string {
	found := map[string]string{}
	for one := range l.parents {
		if slices.Contains(l.ancestors(one), shard) {
			found[one] = l.starts[one]
		}
	}
	return found
}

// read carries out a request to the stream, repeated as any other.
func (t *Follower) read(ctx context.Context, try func(context.Context) error) error {
	return t.throttled.Read(ctx, t.options.Policy, 0, func(ctx context.Context) (capacity.Consumed, error) {
		return capacity.Consumed{}, try(ctx)
	})
}

// confirmGone is read, but the service has to say several times that there is no such stream or shard.
func (t *Follower) confirmGone(ctx context.Context, try func(context.Context) error) error {
	for n := 1; ; n++ {
		if err := t.read(ctx, try); !isGone(err) || n == confirmations {
			return err
		}
		if err := call.Sleep(ctx, 4*t.poll()); err != nil {
			return err
		}
	}
}

func onceStreams(o *dynamodbstreams.Options) { o.Retryer = aws.NopRetryer{} }

// Poll has each shard be read so often from now on; see Options.PollInterval.
func (t *Follower) Poll(interval time.Duration) { t.interval.Store(int64(interval)) }

func (t *Follower) poll() time.Duration {
	if interval := time.Duration(t.interval.Load()); interval > 0 {
		return interval
	}
	if t.options.PollInterval > 0 {
		return t.options.PollInterval
	}
	return defaultPoll
}
