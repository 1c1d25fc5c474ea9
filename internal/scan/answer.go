package scan

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/jsonwalk"
	"reseal/internal/wire"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// request makes one Scan request and reads its answer.
func (s *Scanner) request(ctx context.Context, in *dynamodb.ScanInput) (Page, capacity.Consumed, error) {
	client, is := wire.Client(s.API)
	if !is {
		out, err := s.API.Scan(ctx, in, call.Once)
		if err != nil {
			return Page{}, capacity.Consumed{}, err
		}
		page, consumed := s.convert(out)
		return page, consumed, nil
	}
	exchange := wire.Exchange{Buffer: buffers.Get()}
	err := s.operation.Do(ctx, client, &exchange, in, func(ctx context.Context, options ...func(*dynamodb.Options)) error {
		_, err := client.Scan(ctx, in, options...)
		return err
	})
	if err != nil {
		return Page{}, capacity.Consumed{}, err // the buffer is left to the garbage collector: who knows who still has it
	}
	return s.read(exchange.Answer)
}

// errNotWhole: an answer that lost its items must not pass for an empty segment.
var errNotWhole = errors.New("the answer is not whole: its items are not as many as its Count")

// read reads an answer's bytes, which become the page's.
func (s *Scanner) read(answer []byte) (Page, capacity.Consumed, error) {
	page := Page{buffer: answer}
	var consumed capacity.Consumed
	var last item.Item
	count := -1
	r := jsonwalk.Reader{Data: answer}
	err := r.Fields(func(name string) (err error) {
		switch name {
		case "Items":
			page.Items, err = wire.Items(&r, s.list())
		case "Count":
			var number []byte
			if number, err = r.Value(); err == nil {
				err = json.Unmarshal(number, &count)
			}
		case "LastEvaluatedKey":
			last, err = wire.Item(&r)
		case "ConsumedCapacity":
			consumed, err = wire.Consumed(&r)
		default:
			err = r.Skip()
		}
		return err
	})
	if err = errors.Join(err, r.End()); err != nil {
		return Page{}, capacity.Consumed{}, fmt.Errorf("read answer: %w", err)
	}
	s.items.Store(int64(len(page.Items)))
	s.finish(&page, count, last)
	return page, consumed, nil
}

// list is room for as many items as the last page had.
func (s *Scanner) list() []item.Item { return make([]item.Item, 0, s.items.Load()+1) }

// convert reads the answer of a client that isn't the SDK's.
func (s *Scanner) convert(out *dynamodb.ScanOutput) (Page, capacity.Consumed) {
	var page Page
	if out.Items != nil {
		page.Items = make([]item.Item, len(out.Items))
	}
	for i, attrs := range out.Items {
		page.Items[i] = item.Of(attrs)
	}
	var consumed capacity.Consumed
	if out.ConsumedCapacity != nil {
		consumed = capacity.Units(*out.ConsumedCapacity)
	}
	s.finish(&page, int(out.Count), item.Of(out.LastEvaluatedKey))
	return page, consumed
}

// finish completes a page with what else the answer said. What is wrong with it then would be so in another answer, too, and is kept
// for Page to return; an answer that can't be read at all is worth another try.
func (s *Scanner) finish(page *Page, count int, last item.Item) {
	if page.Items == nil || len(page.Items) != count {
		page.broken = errNotWhole
		return
	}
	if page.Keys, page.broken = s.Schema.KeysOf(page.Items); page.broken != nil || last.Size() == 0 {
		return
	}
	key, err := s.Schema.KeyOf(last)
	if err != nil {
		page.broken = fmt.Errorf("read LastEvaluatedKey: %w", err)
		return
	}
	page.Next = &key
}
