// Package batch writes and reads items by key, many in one request.
package batch

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// Limits of BatchWriteItem (API reference): 25 requests, 16 MB. The size is kept below by what the request itself adds.
const (
	MaxWrites     = 25
	maxWriteBytes = 16<<20 - 64<<10
)

// Op is one write: a put of Item, or, where Item is absent, a delete of Key.
type Op struct {
	Key  item.Key
	Item item.Item
}

// around is what a write takes in a request, at the most, beside its item or key.
const around = len(`{"DeleteRequest":{"Key":}},`)

// wireSize is what the op takes in a request, at the most.
func (op Op) wireSize() int {
	if op.Item.Absent() {
		return around + keySize(op.Key)
	}
	return around + op.Item.WireSize()
}

// writeUnits is what the op costs the table, if it has no larger item of the key. A delete costs what it deletes.
func (op Op) writeUnits() float64 {
	if op.Item.Absent() {
		return 1
	}
	return op.Item.WriteUnits()
}

// WriteAPI is the DynamoDB call that a Writer makes.
type WriteAPI interface {
	BatchWriteItem(context.Context, *dynamodb.BatchWriteItemInput, ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error)
}

// Writer writes to one table. It is safe for concurrent use.
type Writer struct {
	API     WriteAPI
	Table   string
	Schema  item.Schema
	Limiter *capacity.Limiter
	Policy  call.Policy

	// Reject is called for an item that the table refuses for what it is (see call.ItemRefused), which is not written then; an error
	// ends the write: of its batch, what comes before the item is written then, and nothing that comes after it. If Reject is
	// nil, such an item fails its whole batch.
	Reject func(op Op, reason error) error

	origin    *Writer // of which it is a variant; nil: it is none
	operation wire.Operation
}

// Rejecting returns a writer that is the same but for its Reject.
func (w *Writer) Rejecting(reject func(op Op, reason error) error) *Writer {
	return &Writer{API: w.API, Table: w.Table, Schema: w.Schema, Limiter: w.Limiter, Policy: w.Policy, Reject: reject, origin: w.root()}
}

// root is the writer that all variants come from.
func (w *Writer) root() *Writer {
	if w.origin != nil {
		return w.origin
	}
	return w
}

// Split cuts ops into batches that BatchWriteItem takes: at most 25 items and 16 MB each. The order is kept. Keys must be
// distinct, as BatchWriteItem demands.
func Split(ops []Op) [][]Op { return split(ops, math.Inf(1)) }

// Split is the function Split with batches that also take no more of the writer's budget than one request should.
func (w *Writer) Split(ops []Op) [][]Op {
	return split(ops, w.Limiter.RequestUnits()/w.Limiter.Overhead())
}

func split(ops []Op, maxUnits float64) [][]Op {
	var batches [][]Op
	start, size, units := 0, 0, 0.0
	for i, op := range ops {
		n, u := op.wireSize(), op.writeUnits()
		if i > start && (i-start == MaxWrites || size+n > maxWriteBytes || units+u > maxUnits) {
			batches = append(batches, ops[start:i])
			start, size, units = i, 0, 0
		}
		size += n
		units += u
	}
	if start < len(ops) {
		batches = append(batches, ops[start:])
	}
	return batches
}

// Left is what a table that throttles left of a batch.
type Left struct {
	Ops   []Op  // not written, in the batch's order
	Cause error // how the table said so
}

// Write carries out one batch (see Split), UnprocessedItems included. A request that has been sent is waited for even when ctx
// ends meanwhile, for at most the policy's time-out, so that its outcome is known.
//
// The keys returned, with an error or without, are uncertain: an attempt to write them had no answer, or none that tells. Even
// where a later attempt succeeded, the earlier one may still be carried out, and put an older value back.
func (w *Writer) Write(ctx context.Context, ops []Op) (uncertain []item.Key, err error) {
	repeat := w.Policy.Start()
	for {
		left, more, err := w.Try(ctx, ops)
		uncertain = append(uncertain, more...)
		if err != nil || len(left.Ops) == 0 {
			return uncertain, err
		}
		if len(left.Ops) < len(ops) {
			repeat.Progress()
		}
		ops = left.Ops
		if err := repeat.Again(ctx, call.Throttled, left.Cause); err != nil {
			return uncertain, fmt.Errorf("write batch: %w", err)
		}
	}
}

// Try is Write that doesn't wait for a table that throttles: it returns what the table has left. All other ops are written then,
// or rejected.
func (w *Writer) Try(ctx context.Context, ops []Op) (left Left, uncertain []item.Key, err error) {
	if !distinct(ops) {
		return Left{}, nil, errors.New("write batch: two writes have the same key")
	}
	pending := ops
	repeat := w.Policy.Start()
	for len(pending) > 0 && err == nil && left.Cause == nil {
		outcome, rest, cause := w.attempt(ctx, pending)
		if outcome == call.Unknown {
			uncertain = with(uncertain, pending)
		}
		pending = rest
		switch {
		case outcome == call.OK:
		case ctx.Err() != nil:
			err = ctx.Err()
		case outcome == call.Throttled:
			left = Left{Ops: pending, Cause: cause}
		case outcome == call.Refused && w.Reject != nil && call.ItemRefused(cause):
			var more []item.Key
			more, err = w.narrow(ctx, pending, cause)
			uncertain = append(uncertain, more...)
			pending = nil
		case outcome == call.Refused:
			err = cause
		default:
			err = repeat.Again(ctx, outcome, cause)
		}
	}
	if err != nil {
		return Left{}, uncertain, fmt.Errorf("write batch: %w", err)
	}
	return left, uncertain, nil
}

// distinct compares each key with each other: for a batch that is less than to make a map of them.
func distinct(ops []Op) bool {
	for i, op := range ops {
		for _, other := range ops[:i] {
			if op.Key == other.Key {
				return false
			}
		}
	}
	return true
}

// with adds the keys of the ops that aren't in the list.
func with(list []item.Key, ops []Op) []item.Key {
	for _, op := range ops {
		if !slices.Contains(list, op.Key) {
			list = append(list, op.Key)
		}
	}
	return list
}

// narrow finds the items for which a batch was refused: it writes each half of the batch by itself, until what is refused is one
// item. One bad item of 25 costs about ten requests more; the rest is written.
func (w *Writer) narrow(ctx context.Context, ops []Op, cause error) ([]item.Key, error) {
	if len(ops) == 1 {
		return nil, w.Reject(ops[0], cause)
	}
	first, err := w.Write(ctx, ops[:len(ops)/2])
	if err != nil {
		return first, err
	}
	second, err := w.Write(ctx, ops[len(ops)/2:])
	return append(first, second...), err
}

// errUnprocessed is what is reported when UnprocessedItems (or UnprocessedKeys) persist until the policy gives up.
var errUnprocessed = errors.New("the table keeps leaving items unprocessed: it is throttled")

// attempt sends the pending writes once and returns what is left of them.
func (w *Writer) attempt(ctx context.Context, pending []Op) (call.Outcome, []Op, error) {
	units := 0.0
	for _, op := range pending {
		units += op.writeUnits()
	}
	estimate := units * w.Limiter.Overhead()
	if err := w.Limiter.Reserve(ctx, estimate); err != nil {
		return call.NotSent, pending, err
	}
	sent, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.Policy.AttemptTimeout())
	defer cancel()
	answer, err := w.request(sent, pending)
	outcome := call.Classify(err)
	if err != nil {
		switch outcome {
		case call.Throttled:
			w.Limiter.SettleThrottled(estimate, capacity.Consumed{})
		case call.Unknown: // it may have been carried out, and then it was charged
			w.Limiter.Settle(estimate, capacity.Of(estimate))
		default:
			w.Limiter.Settle(estimate, capacity.Consumed{})
		}
		return outcome, pending, call.Private(err)
	}
	left, err := w.unprocessed(pending, answer)
	if err == nil && len(left) > 0 {
		w.Limiter.SettleThrottled(estimate, answer.consumed)
	} else {
		w.Limiter.Settle(estimate, answer.consumed)
		w.Limiter.Learn(units, answer.consumed)
	}
	if err != nil {
		return call.Unknown, pending, err
	}
	if len(left) > 0 {
		return call.Throttled, left, errUnprocessed
	}
	return call.OK, nil, nil
}

// unprocessed reads what the answer left of the pending writes. An answer without UnprocessedItems, which DynamoDB never leaves
// out (API reference), is not taken for "all are written": the SDK makes such a one of an empty body, too.
func (w *Writer) unprocessed(pending []Op, answer written) (left []Op, err error) {
	if !answer.whole {
		return nil, errors.New("the answer is not whole: it has no UnprocessedItems")
	}
	for _, it := range answer.left {
		key, err := w.Schema.KeyOf(it)
		if err != nil {
			return nil, fmt.Errorf("read UnprocessedItems: %w", err)
		}
		place := slices.IndexFunc(pending, func(op Op) bool { return op.Key == key })
		if place < 0 {
			return nil, errors.New("read UnprocessedItems: it holds a key that was not in the request")
		}
		if !slices.ContainsFunc(left, func(op Op) bool { return op.Key == key }) {
			left = append(left, pending[place])
		}
	}
	return left, nil
}
