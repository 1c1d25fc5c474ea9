package batch

import (
	"context"
	"errors"
	"fmt"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// maxReads is BatchGetItem's limit of keys (API reference).
const maxReads = 100

// ReadAPI is the DynamoDB call that a Reader makes.
type ReadAPI interface {
	BatchGetItem(context.Context, *dynamodb.BatchGetItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error)
}

// Reader reads items of one table by key, always with ConsistentRead. It is safe for concurrent use.
type Reader struct {
	API     ReadAPI
	Table   string
	Schema  item.Schema
	Limiter *capacity.Limiter
	Policy  call.Policy
}

// Read returns the items of the given distinct keys by Key.ID; units is what they are likely to cost. A key that is not in the result is not in the table: every key
// is accounted for, or an error is returned.
func (r *Reader) Read(ctx context.Context, keys []item.Key, units float64) (map[string]item.Item, error) {
	found := make(map[string]item.Item, len(keys))
	for start := 0; start < len(keys); start += maxReads {
		chunk := keys[start:min(start+maxReads, len(keys))]
		if err := r.readChunk(ctx, chunk, units/float64(len(keys)), found); err != nil {
			return nil, fmt.Errorf("read items: %w", err)
		}
	}
	return found, nil
}

func (r *Reader) readChunk(ctx context.Context, keys []item.Key, keyUnits float64, found map[string]item.Item) error {
	pending := make(map[string]item.Key, len(keys))
	for _, key := range keys {
		pending[key.ID()] = key
	}
	repeat := r.Policy.Start()
	for len(pending) > 0 {
		out, err := r.attempt(ctx, pending, keyUnits*float64(len(pending)))
		if err != nil {
			return err
		}
		left, err := r.parse(out, pending, found)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if len(left) < len(pending) {
			repeat.Progress()
		}
		pending = left
		r.Limiter.Throttle()
		if err := repeat.Again(ctx, call.Throttled, errUnprocessed); err != nil {
			return err
		}
	}
	return nil
}

func (r *Reader) attempt(ctx context.Context, pending map[string]item.Key, units float64) (*dynamodb.BatchGetItemOutput, error) {
	request := types.KeysAndAttributes{ConsistentRead: aws.Bool(true)}
	for _, key := range pending {
		request.Keys = append(request.Keys, key.Attributes())
	}
	in := &dynamodb.BatchGetItemInput{
		RequestItems:           map[string]types.KeysAndAttributes{r.Table: request},
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}
	var out *dynamodb.BatchGetItemOutput
	err := r.Limiter.Read(ctx, r.Policy, units, func(ctx context.Context) (capacity.Consumed, error) {
		var err error
		if out, err = r.API.BatchGetItem(ctx, in, call.Once); err != nil {
			return capacity.Consumed{}, err
		}
		return capacity.Units(out.ConsumedCapacity...), nil
	})
	return out, err
}

// parse puts the answer's items into found and returns the keys that it left unprocessed. An answer that lacks either part,
// which DynamoDB never leaves out (API reference), or has nothing of the table in Responses, is not taken for "the table has no
// such item": that would make the caller delete it.
func (r *Reader) parse(out *dynamodb.BatchGetItemOutput, pending map[string]item.Key, found map[string]item.Item) (map[string]item.Key, error) {
	if out.Responses == nil || out.UnprocessedKeys == nil {
		return nil, errors.New("the answer is not whole: it lacks Responses or UnprocessedKeys")
	}
	left := map[string]item.Key{}
	for _, unprocessed := range out.UnprocessedKeys {
		for _, attrs := range unprocessed.Keys {
			if err := r.account(attrs, pending, func(key item.Key) { left[key.ID()] = key }); err != nil {
				return nil, err
			}
		}
	}
	if len(out.Responses) == 0 {
		if len(left) == 0 {
			return nil, errors.New("the answer is not whole: it says nothing of any key")
		}
		return pending, nil
	}
	for _, items := range out.Responses {
		if items == nil {
			return nil, errors.New("the answer is not whole: its Responses lack the items")
		}
		for _, attrs := range items {
			if err := r.account(attrs, pending, func(key item.Key) { found[key.ID()] = item.Of(attrs) }); err != nil {
				return nil, err
			}
		}
	}
	return left, nil
}

func (r *Reader) account(attrs map[string]types.AttributeValue, pending map[string]item.Key, use func(item.Key)) error {
	key, err := r.Schema.KeyOf(item.Of(attrs))
	if err != nil {
		return fmt.Errorf("read the answer's key: %w", err)
	}
	if _, asked := pending[key.ID()]; !asked {
		return errors.New("the answer holds a key that was not asked for")
	}
	use(key)
	return nil
}
