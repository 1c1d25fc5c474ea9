package stream

import (
	"context"

	"reseal/internal/call"

	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// Search looks through a shard, after a record, and then through the shards that come after it, up to what there is at present, and hands
// each page to visit until that has found what it looks for. It moves no position.
func (t *Follower) Search(ctx context.Context, shard, after string, visit func([]Record) (found bool, err error)) (found bool, err error) {
	r := &reader{tailer: t, shard: shard}
	in := &dynamodbstreams.GetShardIteratorInput{
		StreamArn: &t.options.ARN, ShardId: &r.shard, ShardIteratorType: types.ShardIteratorTypeAfterSequenceNumber, SequenceNumber: &after,
	}
	ended, found, err := r.searchShard(ctx, in, visit)
	if err != nil || found || !ended {
		return found, err
	}
	shards, err := t.list(ctx)
	if err != nil {
		return false, err
	}
	return r.searchChildren(ctx, shards, visit)
}

func (r *reader) searchChildren(ctx context.Context, shards listing, visit func([]Record) (bool, error)) (bool, error) {
	for shard, parent := range shards.parents {
		if parent != r.shard {
			continue
		}
		child := &reader{tailer: r.tailer, shard: shard}
		in := &dynamodbstreams.GetShardIteratorInput{StreamArn: &r.tailer.options.ARN, ShardId: &child.shard, ShardIteratorType: types.ShardIteratorTypeTrimHorizon}
		ended, found, err := child.searchShard(ctx, in, visit)
		if err == nil && ended && !found {
			found, err = child.searchChildren(ctx, shards, visit)
		}
		if err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// searchShard looks through one shard. It also tells whether the shard is at its end.
func (r *reader) searchShard(ctx context.Context, in *dynamodbstreams.GetShardIteratorInput, visit func([]Record) (bool, error)) (ended, found bool, err error) {
	out, err := r.getIterator(ctx, in)
	if isGone(err) { // so new that not every part of the service has heard of it, perhaps: there is nothing to be had at present
		return false, false, nil
	}
	if err != nil {
		return false, false, trimmed(err)
	}
	const mostEmpty = 5 // answers in a row, then there is nothing more at present
	iterator := out.ShardIterator
	for empty := 0; iterator != nil && empty < mostEmpty; {
		page, err := r.read(ctx, iterator)
		if isGone(err) {
			return false, false, nil
		}
		if err != nil {
			return false, false, err
		}
		if empty++; len(page.Records) > 0 {
			empty = 0
		}
		if page.Unread != nil {
			return false, false, nil // nobody gets past that one
		}
		if found, err := visit(page.Records); found || err != nil {
			return false, found, err
		}
		if iterator = page.Next; iterator != nil {
			if err := call.Sleep(ctx, r.tailer.poll()); err != nil {
				return false, false, err
			}
		}
	}
	return iterator == nil, false, nil
}
