package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"

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

	learned   atomic.Uint64 // float64 bits: units that a key took lately; 0: nothing is known
	asked     atomic.Int64  // keys of the last chunk
	operation wire.Operation
}

// Unknown is for the units of keys of which it isn't known how large their items are: they are reserved by what others took lately, and
// read so few at a time that a request takes no more of the budget than one should, if none is larger than the largest that was seen
// in the table.
const Unknown = 0

// Read returns the items of the given distinct keys, in their order; units is what they are likely to cost, or Unknown. An absent
// item is not in the table: every key is accounted for, or an error is returned.
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
	most, each := MaxReads, units/float64(len(keys))
	for start := 0; start < len(keys); {
		if units == Unknown {
			most, each = r.chunk()
		}
		end := min(start+most, len(keys))
		if err := r.readChunk(ctx, keys[start:end], each, found[start:end], on); err != nil {
			return nil, fmt.Errorf("read items: %w", err)
		}
		start = end
	}
	return found, nil
}

// maxPartitionBytes is how much of one partition a BatchGetItem returns (API reference). Keys that are read together may well be
// neighbours: they come from a Scan.
const maxPartitionBytes = 1 << 20

// chunk returns how many keys of unknown items to read at a time, and what to reserve for each. It begins with one key, for an item
// takes up to 100 units, and twice as many as before are the most: what no Scan has seen may be larger than what was seen.
func (r *Reader) chunk() (keys int, each float64) {
	largest, before := r.Limiter.Largest(), int(r.asked.Load())
	if largest > 0 && before == 0 {
		before = MaxReads // a Scan has seen the table
	}
	most := min(r.Limiter.RequestUnits(), maxPartitionBytes/unitBytes)
	switch {
	case math.IsInf(r.Limiter.RequestUnits(), 1):
		keys = MaxReads // nothing is held to anything
	case largest == 0:
		keys = 1
	default:
		keys = max(1, min(MaxReads, int(most/largest), 2*before))
	}
	r.asked.Store(int64(keys))
	return keys, max(1, math.Float64frombits(r.learned.Load()))
}

// unitBytes of an item are a unit of a consistent read (DynamoDB developer guide, "DynamoDB read and write operations").
const unitBytes = 4096

// learn takes in what an answer cost, and how large its items are.
func (r *Reader) learn(out read, keys int) {
	const weight = 0.2 // of the newest
	for _, it := range out.items {
		if units := it.ReadUnits(); units > 1 || r.Limiter.Largest() == 0 {
			r.Limiter.Saw(units)
		}
	}
	if n := keys - len(out.left); n > 0 && out.consumed.Limiting > 0 {
		mean := out.consumed.Limiting / float64(n)
		if before := math.Float64frombits(r.learned.Load()); before > 0 {
			mean = (1-weight)*before + weight*mean
		}
		r.learned.Store(math.Float64bits(mean))
	}
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
			r.learn(out, len(places))
			return nil
		}
		r.learn(out, len(places))
		got := len(left) < len(places)
		places = left
		if got {
			repeat.Progress()
		}
		if got && out.full() {
			continue
		}
		r.Limiter.Throttle()
		if err := repeat.Again(ctx, call.Throttled, errUnprocessed); err != nil {
			return err
		}
	}
	return nil
}

// maxItemBytes is how large an item is at the most (DynamoDB developer guide, quotas).
const maxItemBytes = 400 << 10

// full tells whether the answer may have left keys for its size: it holds at most 16 MB, and 1 MB of one partition (API reference),
// so whatever was left may not have fitted. The table isn't throttled then; if it is, too, the next answer will tell.
func (out read) full() bool {
	size := 0
	for _, it := range out.items {
		size += it.Size()
	}
	return size > maxPartitionBytes-maxItemBytes
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
