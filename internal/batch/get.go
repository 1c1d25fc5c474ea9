package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// MaxReads is BatchGetItem's limit of keys (API reference).
const MaxReads = 100

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

	operation wire.Operation
}

// Read returns the items of the given distinct keys, in their order; units is what they are likely to cost. An absent item is not in
// the table: every key is accounted for, or an error is returned.
func (r *Reader) Read(ctx context.Context, keys []item.Key, units float64) ([]item.Item, error) {
	return r.read(ctx, keys, units, nil)
}

// Inspect gives use what Read would return. The items' memory is used again when use has returned: what is kept must be a clone.
func (r *Reader) Inspect(ctx context.Context, keys []item.Key, units float64, use func([]item.Item) error) error {
	var on loan
	defer on.end()
	found, err := r.read(ctx, keys, units, &on)
	if err != nil {
		return err
	}
	return use(found)
}

func (r *Reader) read(ctx context.Context, keys []item.Key, units float64, on *loan) ([]item.Item, error) {
	found := make([]item.Item, len(keys))
	for start := 0; start < len(keys); start += MaxReads {
		end := min(start+MaxReads, len(keys))
		if err := r.readChunk(ctx, keys[start:end], units/float64(len(keys)), found[start:end], on); err != nil {
			return nil, fmt.Errorf("read items: %w", err)
		}
	}
	return found, nil
}

// readChunk fills found with the items of the keys.
func (r *Reader) readChunk(ctx context.Context, keys []item.Key, keyUnits float64, found []item.Item, on *loan) error {
	places := make([]int, len(keys)) // of the keys that are to be read
	for i := range places {
		places[i] = i
	}
	repeat := r.Policy.Start()
	for len(places) > 0 {
		asked := asked{all: keys, places: places}
		out, err := r.attempt(ctx, asked, keyUnits*float64(len(places)), on)
		if err != nil {
			return err
		}
		left, err := r.take(out, asked, found)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if len(left) < len(places) {
			repeat.Progress()
		}
		places = left
		r.Limiter.Throttle()
		if err := repeat.Again(ctx, call.Throttled, errUnprocessed); err != nil {
			return err
		}
	}
	return nil
}

// asked is the keys of one request: some of those that are to be read.
type asked struct {
	all    []item.Key
	places []int
}

// place returns which of the keys an item of the answer has. DynamoDB promises no order, but an engine may well keep that of the
// request, so the place of the i-th item is looked for at the i-th key first.
func (a asked) place(schema item.Schema, it item.Item, i int) (int, error) {
	var scratch [128]byte
	id, err := schema.AppendID(scratch[:0], it)
	if err != nil {
		return 0, fmt.Errorf("read the answer's key: %w", err)
	}
	for n := range a.places {
		place := a.places[(i+n)%len(a.places)]
		if a.all[place].ID() == string(id) {
			return place, nil
		}
	}
	return 0, errors.New("the answer holds a key that was not asked for")
}

func (r *Reader) attempt(ctx context.Context, asked asked, units float64, on *loan) (read, error) {
	var out read
	err := r.Limiter.Read(ctx, r.Policy, units, func(ctx context.Context) (capacity.Consumed, error) {
		var err error
		out, err = r.request(ctx, asked, on)
		return out.consumed, call.Private(err)
	})
	return out, err
}

// take puts the answer's items into found and returns the places of the keys that it left unprocessed.
func (r *Reader) take(out read, asked asked, found []item.Item) (left []int, err error) {
	if out.whole != nil {
		return nil, out.whole
	}
	if out.noTable {
		out.left = nil // all of them
		left = asked.places
	}
	for i, it := range out.items {
		place, err := asked.place(r.Schema, it, i)
		if err != nil {
			return nil, err
		}
		found[place] = it
	}
	for i, it := range out.left {
		place, err := asked.place(r.Schema, it, i)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(left, place) {
			left = append(left, place)
		}
		found[place] = item.Item{} // what counts is that it is to be read again
	}
	return left, nil
}
