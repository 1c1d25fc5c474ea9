package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/jsonwalk"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// written is the answer of a BatchWriteItem.
type written struct {
	left     []item.Item // of UnprocessedItems: items to be put, and keys to be deleted
	whole    bool        // it had UnprocessedItems
	consumed capacity.Consumed
}

// request makes one BatchWriteItem request and reads its answer.
func (w *Writer) request(ctx context.Context, pending []Op) (written, error) {
	in := &dynamodb.BatchWriteItemInput{ReturnConsumedCapacity: types.ReturnConsumedCapacityIndexes}
	client, is := wire.Client(w.API)
	if !is {
		in.RequestItems = map[string][]types.WriteRequest{w.Table: writeRequests(pending)}
		out, err := w.API.BatchWriteItem(ctx, in, call.Once)
		if err != nil {
			return written{}, err
		}
		return convertWritten(out), nil
	}
	// Of the input there must be what the SDK takes the endpoint from, which may go by the table's account.
	in.RequestItems = map[string][]types.WriteRequest{w.Table: {}}
	body, err := w.body(writeBodies.Get(), pending)
	if err != nil {
		return written{}, err
	}
	exchange := wire.Exchange{Body: body, Buffer: writeAnswers.Get()}
	err = w.root().operation.Do(ctx, client, &exchange, in, func(ctx context.Context, options ...func(*dynamodb.Options)) error {
		_, err := client.BatchWriteItem(ctx, in, options...)
		return err
	})
	if err != nil {
		return written{}, err // the memory is left to the garbage collector: who knows who still has it
	}
	answer, err := readWritten(exchange.Answer)
	if exchange.Sent() {
		writeBodies.Put(body)
	}
	if err == nil && len(answer.left) == 0 {
		writeAnswers.Put(exchange.Answer)
	}
	return answer, err
}

// Memory of requests and answers that are done with.
var (
	writeBodies  = wire.Pool{Most: 1 << 20}
	writeAnswers = wire.Pool{Most: 1 << 10}
	readBodies   = wire.Pool{Most: 64 << 10}
	readAnswers  = wire.Pool{Most: 1 << 20}
)

const (
	bodyStart = `{"ReturnConsumedCapacity":"INDEXES","RequestItems":{`
	bodyEnd   = `]}}`
)

// body is the request's, in the given memory if that is large enough: items go as the bytes that they came in.
func (w *Writer) body(memory []byte, pending []Op) ([]byte, error) {
	size := len(bodyStart) + len(bodyEnd) + 2*len(w.Table) + 8
	for _, op := range pending {
		size += op.wireSize()
	}
	body := append(slices.Grow(memory[:0], size), bodyStart...)
	body = append(jsonwalk.AppendQuoted(body, w.Table), ':')
	separator := byte('[')
	for _, op := range pending {
		body = append(body, separator)
		separator = ','
		if !op.Item.Absent() {
			body = append(append(append(body, `{"PutRequest":{"Item":`...), op.Item.JSON()...), '}', '}')
			continue
		}
		var err error
		if body, err = op.Key.AppendJSON(append(body, `{"DeleteRequest":{"Key":`...)); err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		body = append(body, '}', '}')
	}
	return append(body, bodyEnd...), nil
}

// keySize is the length of a key as DynamoDB JSON.
func keySize(key item.Key) int {
	text, err := key.AppendJSON(nil)
	if err != nil {
		return 0 // the request fails with it
	}
	return len(text)
}

func readWritten(answer []byte) (written, error) {
	var out written
	r := jsonwalk.Reader{Data: answer}
	err := r.Fields(func(name string) (err error) {
		switch name {
		case "UnprocessedItems":
			if out.whole = !r.Null(); out.whole {
				err = readUnprocessed(&r, &out)
			}
		case "ConsumedCapacity":
			out.consumed, err = wire.Consumed(&r)
		default:
			err = r.Skip()
		}
		return err
	})
	if err = errors.Join(err, r.End()); err != nil {
		return written{}, fmt.Errorf("read answer: %w", err)
	}
	return out, nil
}

// readUnprocessed takes {"table": [{"PutRequest": {"Item": {...}}}, {"DeleteRequest": {"Key": {...}}}, ...]}. A write that holds
// neither is taken for one without a key, which its reader refuses.
func readUnprocessed(r *jsonwalk.Reader, out *written) error {
	return r.Fields(func(string) error {
		return r.Elements(func() error {
			it, err := readWrite(r)
			out.left = append(out.left, it)
			return err
		})
	})
}

func readWrite(r *jsonwalk.Reader) (it item.Item, err error) {
	err = r.Fields(func(kind string) error {
		if r.Null() {
			return nil
		}
		return r.Fields(func(part string) (err error) {
			if kind+part != "PutRequestItem" && kind+part != "DeleteRequestKey" {
				return r.Skip()
			}
			it, err = wire.Item(r)
			return err
		})
	})
	return it, err
}

// read is the answer of a BatchGetItem.
type read struct {
	items    []item.Item // of Responses
	left     []item.Item // of UnprocessedKeys
	whole    error       // nil: it had all that an answer has
	noTable  bool        // Responses had nothing of any table, not even an empty list
	consumed capacity.Consumed
}

var (
	errNoResponses = errors.New("the answer is not whole: it lacks Responses or UnprocessedKeys")
	errNoItems     = errors.New("the answer is not whole: its Responses lack the items")
	errNoKeys      = errors.New("the answer is not whole: its UnprocessedKeys lack the keys")
	errNothing     = errors.New("the answer is not whole: it says nothing of any key")
)

// request makes one BatchGetItem request and reads its answer, whose memory is lent if there is a loan.
func (r *Reader) request(ctx context.Context, asked asked, on *loan) (read, error) {
	keys := types.KeysAndAttributes{ConsistentRead: aws.Bool(true), Keys: []map[string]types.AttributeValue{}}
	in := &dynamodb.BatchGetItemInput{ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal}
	client, is := wire.Client(r.API)
	if !is {
		for _, place := range asked.places {
			keys.Keys = append(keys.Keys, asked.all[place].Attributes())
		}
		in.RequestItems = map[string]types.KeysAndAttributes{r.Table: keys}
		out, err := r.API.BatchGetItem(ctx, in, call.Once)
		if err != nil {
			return read{}, err
		}
		return convertRead(out), nil
	}
	in.RequestItems = map[string]types.KeysAndAttributes{r.Table: keys}
	body, err := r.body(readBodies.Get(), asked)
	if err != nil {
		return read{}, err
	}
	exchange := wire.Exchange{Body: body, Buffer: on.memory()}
	err = r.operation.Do(ctx, client, &exchange, in, func(ctx context.Context, options ...func(*dynamodb.Options)) error {
		_, err := client.BatchGetItem(ctx, in, options...)
		return err
	})
	if err != nil {
		return read{}, err
	}
	if exchange.Sent() {
		readBodies.Put(body)
	}
	on.lend(exchange.Answer)
	return readRead(exchange.Answer, len(asked.places))
}

// loan is the memory of answers whose items somebody looks at for a while; nil: whose items are kept.
type loan struct{ answers [][]byte }

// memory is memory for an answer; nil: it is to have memory of its own.
func (l *loan) memory() []byte {
	if l == nil {
		return nil
	}
	return readAnswers.Get()
}

func (l *loan) lend(answer []byte) {
	if l != nil {
		l.answers = append(l.answers, answer)
	}
}

// end takes all of it back.
func (l *loan) end() {
	for _, answer := range l.answers {
		readAnswers.Put(answer)
	}
}

func (r *Reader) body(memory []byte, asked asked) ([]byte, error) {
	body := append(slices.Grow(memory[:0], 128+64*len(asked.places)), `{"ReturnConsumedCapacity":"TOTAL","RequestItems":{`...)
	body = append(jsonwalk.AppendQuoted(body, r.Table), `:{"ConsistentRead":true,"Keys":`...)
	separator := byte('[')
	for _, place := range asked.places {
		var err error
		if body, err = asked.all[place].AppendJSON(append(body, separator)); err != nil {
			return nil, fmt.Errorf("write request: %w", err)
		}
		separator = ','
	}
	return append(body, `]}}}`...), nil
}

func readRead(answer []byte, most int) (read, error) {
	var out read
	var responses, unprocessed, tables bool
	r := jsonwalk.Reader{Data: answer}
	err := r.Fields(func(name string) (err error) {
		switch name {
		case "Responses":
			if responses = !r.Null(); !responses {
				return nil
			}
			err = r.Fields(func(string) error {
				tables = true
				items, err := wire.Items(&r, make([]item.Item, 0, most))
				if err == nil && items == nil {
					out.whole = errNoItems
				}
				out.items = append(out.items, items...)
				return err
			})
		case "UnprocessedKeys":
			if unprocessed = !r.Null(); unprocessed {
				err = readUnprocessedKeys(&r, &out)
			}
		case "ConsumedCapacity":
			out.consumed, err = wire.Consumed(&r)
		default:
			err = r.Skip()
		}
		return err
	})
	if err = errors.Join(err, r.End()); err != nil {
		return read{}, fmt.Errorf("read answer: %w", err)
	}
	out.check(responses && unprocessed, tables)
	return out, nil
}

// readUnprocessedKeys takes {"table": {"Keys": [{...}, ...], ...}}.
func readUnprocessedKeys(r *jsonwalk.Reader, out *read) error {
	return r.Fields(func(string) error {
		var keys []item.Item
		err := r.Fields(func(name string) (err error) {
			if name != "Keys" {
				return r.Skip()
			}
			keys, err = wire.Items(r, nil)
			return err
		})
		out.unprocessed(keys)
		return err
	})
}

// unprocessed takes in the keys of a table in UnprocessedKeys. If there are none, it is not known which ones were meant.
func (out *read) unprocessed(keys []item.Item) {
	if len(keys) == 0 {
		out.whole = errNoKeys
	}
	out.left = append(out.left, keys...)
}

// check notes whether the answer lacks something that DynamoDB never leaves out (API reference), or has nothing of the table in
// Responses: that is not to be taken for "the table has no such item", for which the caller would delete it.
func (out *read) check(both, tables bool) {
	switch {
	case !both:
		out.whole = errNoResponses
	case out.whole == nil && !tables && len(out.left) == 0:
		out.whole = errNothing
	}
	out.noTable = !tables
}
