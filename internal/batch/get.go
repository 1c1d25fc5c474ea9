package batch

import (
	"context"
	"errors"
	"fmt"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
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
		left, err := r.take(out, pending, found)
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

func (r *Reader) attempt(ctx context.Context, pending map[string]item.Key, units float64) (read, error) {
	var out read
	err := r.Limiter.Read(ctx, r.Policy, units, func(ctx context.Context) (capacity.Consumed, error) {
		var err error
		out, err = r.request(ctx, pending)
		return out.consumed, err
	})
	return out, err
}

// take puts the answer's items into found and returns the keys that it left unprocessed.
func (r *Reader) take(out read, pending map[string]item.Key, found map[string]item.Item) (map[string]item.Key, error) {
	if out.whole != nil {
		return nil, out.whole
	}
	var left map[string]item.Key
	for _, it := range out.left {
		key, err := r.asked(it, pending)
		if err != nil {
			return nil, err
		}
		if left == nil {
			left = map[string]item.Key{}
		}
		left[key.ID()] = key
	}
	if len(out.items) == 0 && len(left) > 0 && out.noTable {
		return pending, nil
	}
	for _, it := range out.items {
		key, err := r.asked(it, pending)
		if err != nil {
			return nil, err
		}
		found[key.ID()] = it
	}
	return left, nil
}

// asked returns the key of an item in the answer, which must be among the pending ones.
func (r *Reader) asked(it item.Item, pending map[string]item.Key) (item.Key, error) {
	key, err := r.Schema.KeyOf(it)
	if err != nil {
		return item.Key{}, fmt.Errorf("read the answer's key: %w", err)
	}
	key, is := pending[key.ID()]
	if !is {
		return item.Key{}, errors.New("the answer holds a key that was not asked for")
	}
	return key, nil
}
