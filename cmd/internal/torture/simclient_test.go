package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// client is a process's way to one of the tables, with DynamoDB's answers.
type client struct {
	p     *process
	table *simTable
}

// Scan answers with pages of few items, each as it is or, where it may be stale, as it was a while ago, in part or as a whole.
func (c *client) Scan(ctx context.Context, in *dynamodb.ScanInput, _ ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	out := &dynamodb.ScanOutput{}
	err := c.p.send(ctx, "Scan "+c.table.name, func(random *rand.Rand) {
		most := 1 + random.IntN(c.p.w.plan.page)
		if in.Limit != nil {
			most = min(most, int(*in.Limit))
		}
		when := c.seenAt(random, in.ConsistentRead)
		items, last := c.table.page(int(*in.Segment), int(*in.TotalSegments), in.ExclusiveStartKey, most, when)
		out.Items, out.LastEvaluatedKey = append([]attrs{}, items...), last
		out.Count, out.ScannedCount = int32(len(items)), int32(len(items))
		out.ConsumedCapacity = &types.ConsumedCapacity{TableName: in.TableName, CapacityUnits: aws.Float64(max(0.5, float64(len(items))/2))}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// seenAt tells as of when a read sees each key: now, if it is consistent; or a page that is stale as a whole, or in part.
func (c *client) seenAt(random *rand.Rand, consistent *bool) func() time.Time {
	now := time.Now()
	lag := c.p.w.plan.lag
	if aws.ToBool(consistent) || lag == 0 || chance(random, 0.2) {
		return func() time.Time { return now }
	}
	c.p.w.count("stale read")
	if chance(random, 0.5) {
		when := now.Add(-between(random, 0, lag))
		return func() time.Time { return when }
	}
	return func() time.Time { return now.Add(-between(random, 0, lag)) }
}

// BatchGetItem may leave keys unprocessed.
func (c *client) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	wanted := in.RequestItems[c.table.name]
	out := &dynamodb.BatchGetItemOutput{
		Responses:       map[string][]map[string]types.AttributeValue{c.table.name: {}},
		UnprocessedKeys: map[string]types.KeysAndAttributes{},
	}
	err := c.p.send(ctx, "BatchGetItem "+c.table.name, func(random *rand.Rand) {
		keys, left := wanted.Keys, []map[string]types.AttributeValue(nil)
		if chance(random, c.p.w.plan.faults) {
			c.p.w.count("unprocessed keys")
			keys, left = half(random, keys)
		}
		if len(left) > 0 {
			out.UnprocessedKeys[c.table.name] = types.KeysAndAttributes{Keys: left, ConsistentRead: wanted.ConsistentRead}
		}
		when := c.seenAt(random, wanted.ConsistentRead)
		for _, key := range keys {
			if item := c.table.get(key, when()); item != nil {
				out.Responses[c.table.name] = append(out.Responses[c.table.name], item)
			}
		}
		out.ConsumedCapacity = []types.ConsumedCapacity{{TableName: &c.table.name, CapacityUnits: aws.Float64(float64(len(keys)))}}
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// BatchWriteItem may leave items unprocessed. Its writes are carried out one by one, in any order.
func (c *client) BatchWriteItem(ctx context.Context, in *dynamodb.BatchWriteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
	writes := in.RequestItems[c.table.name]
	if len(writes) == 0 || len(writes) > 25 {
		c.p.w.t.Errorf("%s sent a batch of %d writes", c.p.role, len(writes))
	}
	out := &dynamodb.BatchWriteItemOutput{UnprocessedItems: map[string][]types.WriteRequest{}}
	var refusal error
	err := c.p.send(ctx, "BatchWriteItem", func(random *rand.Rand) {
		if refusal = c.p.w.refusalOf(writes); refusal != nil {
			c.p.w.count("batch refused for an item")
			return
		}
		all, left := writes, []types.WriteRequest(nil)
		if chance(random, c.p.w.plan.faults) {
			c.p.w.count("unprocessed items")
			all, left = half(random, all)
		}
		if len(left) > 0 {
			out.UnprocessedItems[c.table.name] = left
		}
		for _, one := range all {
			var key, item attrs
			if one.DeleteRequest != nil {
				key = one.DeleteRequest.Key
			} else {
				key, item = keyOf(c.table.spec, one.PutRequest.Item), one.PutRequest.Item
			}
			if c.p.w.isDropped(c.p, key, item) {
				continue
			}
			c.table.set(key, item, time.Now(), c.p.role)
			c.p.w.wasApplied(c.p, key, item)
		}
		out.ConsumedCapacity = []types.ConsumedCapacity{{TableName: &c.table.name, CapacityUnits: aws.Float64(float64(len(all)))}}
		if len(all) > 0 {
			c.p.wrote(len(all))
		}
	})
	if err != nil {
		return nil, err
	}
	if refusal != nil {
		return nil, refusal
	}
	return out, nil
}

// streams is a process's way to the source's stream.
type streams struct{ p *process }

// of finds the stream that is asked for.
func (s *streams) of(arn *string) (*simStream, error) {
	for _, one := range s.p.w.allStreams() {
		if one.arn == aws.ToString(arn) {
			return one, nil
		}
	}
	return nil, answerOf(400, &streamtypes.ResourceNotFoundException{})
}

// DescribeStream answers page by page.
func (s *streams) DescribeStream(ctx context.Context, in *dynamodbstreams.DescribeStreamInput) (*dynamodbstreams.DescribeStreamOutput, error) {
	stream, err := s.of(in.StreamArn)
	if err != nil {
		return nil, err
	}
	answer := &streamtypes.StreamDescription{StreamArn: in.StreamArn}
	start := aws.ToString(in.ExclusiveStartShardId) // as it is now: the caller may use in again before a late request arrives
	err = s.p.send(ctx, "DescribeStream", func(random *rand.Rand) {
		if answer.StreamStatus = streamtypes.StreamStatusEnabled; stream.disabled.Load() {
			answer.StreamStatus = streamtypes.StreamStatusDisabled
		}
		views, more := stream.list(time.Now(), start, 1+random.IntN(8))
		hidden := s.p.w.hidden(stream, start == "")
		for _, view := range views {
			if hidden[view.id] {
				continue
			}
			one := streamtypes.Shard{ShardId: &view.id, SequenceNumberRange: &streamtypes.SequenceNumberRange{StartingSequenceNumber: &view.start}}
			if view.parent != "" {
				one.ParentShardId = &view.parent
			}
			if view.closed {
				one.SequenceNumberRange.EndingSequenceNumber = &view.end
			}
			answer.Shards = append(answer.Shards, one)
		}
		if more {
			answer.LastEvaluatedShardId = &views[len(views)-1].id
		}
	})
	if err != nil {
		return nil, err
	}
	return &dynamodbstreams.DescribeStreamOutput{StreamDescription: answer}, nil
}

// GetShardIterator doesn't know a new shard at first, now and then.
func (s *streams) GetShardIterator(ctx context.Context, in *dynamodbstreams.GetShardIteratorInput) (*dynamodbstreams.GetShardIteratorOutput, error) {
	stream, err := s.of(in.StreamArn)
	if err != nil {
		return nil, err
	}
	s.p.w.knows(*in.ShardId)
	var at int
	var failure error
	err = s.p.send(ctx, "GetShardIterator", func(random *rand.Rand) {
		at, failure = stream.position(*in.ShardId, string(in.ShardIteratorType), aws.ToString(in.SequenceNumber), time.Now())
		if failure == nil && chance(random, 0.2) && s.p.w.ordinal("first iterator of "+*in.ShardId) == 0 {
			failure = errNoShard
		}
	})
	switch {
	case err != nil:
		return nil, err
	case errors.Is(failure, errNoShard):
		return nil, answerOf(400, &streamtypes.ResourceNotFoundException{})
	case errors.Is(failure, errTrimmed):
		s.p.w.count("iterator for a record that was trimmed")
		return nil, answerOf(400, &streamtypes.TrimmedDataAccessException{})
	case failure != nil:
		s.p.w.t.Error(failure)
		return nil, answerOf(400, failure)
	}
	s.p.w.note("%p reads %s %s %s", s.p, *in.ShardId, in.ShardIteratorType, aws.ToString(in.SequenceNumber))
	return &dynamodbstreams.GetShardIteratorOutput{ShardIterator: aws.String(iterator(*in.ShardId, at, false))}, nil
}

// GetRecords may answer with few records, with none though there are some, or begin with some that were read before.
func (s *streams) GetRecords(ctx context.Context, in *dynamodbstreams.GetRecordsInput) (map[string]any, error) {
	out := map[string]any{}
	var failure error
	err := s.p.send(ctx, "GetRecords", func(random *rand.Rand) {
		shard, index, full, err := parseIterator(*in.ShardIterator)
		if err != nil {
			failure = err
			return
		}
		s.p.w.takesPage(s.p, shard)
		most := oneOf(random, 0, 1, 3, 10, 100, 1000)
		if full {
			most = max(1, most)
		}
		if f := s.p.w.plan.following; f != nil && f.wholePages {
			most = 1000
		}
		if index > 0 && most > 0 && chance(random, s.p.w.plan.faults) && s.p.w.ordinal("replay of "+shard) < 10 {
			s.p.w.count("records replayed")
			again := 1 + random.IntN(min(index, 20))
			index, most = index-again, most+again
		}
		if chance(random, s.p.w.plan.faults/4) {
			failure = answerOf(400, &streamtypes.ExpiredIteratorException{})
			s.p.w.count("iterator expired")
			return
		}
		records, ended, err := s.p.w.streamWith(shard).read(shard, index, most, time.Now())
		if errors.Is(err, errTrimmed) {
			failure = answerOf(400, &streamtypes.TrimmedDataAccessException{})
			return
		}
		if err != nil {
			failure = fmt.Errorf("read shard %s: %w", shard, err)
			return
		}
		list := make([]any, len(records))
		for i, one := range records {
			list[i] = wireRecord(one)
		}
		out["Records"] = list
		if !ended {
			out["NextShardIterator"] = iterator(shard, index+len(records), most == 0)
		}
	})
	if err != nil {
		return nil, err
	}
	if failure != nil {
		return nil, failure
	}
	return out, nil
}
