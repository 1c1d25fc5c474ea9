package wire

import (
	"encoding/json"
	"fmt"

	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/jsonwalk"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Consumed takes the value of ConsumedCapacity: an entry, or a list of them.
func Consumed(r *jsonwalk.Reader) (capacity.Consumed, error) {
	text, err := r.Value()
	if err != nil {
		return capacity.Consumed{}, err
	}
	if len(text) == 0 || text[0] != '[' {
		text = append(append([]byte{'['}, text...), ']')
	}
	var entries []types.ConsumedCapacity // its fields have the names that DynamoDB gives them
	if err := json.Unmarshal(text, &entries); err != nil {
		return capacity.Consumed{}, fmt.Errorf("read ConsumedCapacity: %w", err)
	}
	return capacity.Units(entries...), nil
}

// Items takes a list of items and appends them to list; null is none. They share the reader's memory.
func Items(r *jsonwalk.Reader, list []item.Item) ([]item.Item, error) {
	if r.Null() {
		return nil, nil
	}
	if list == nil {
		list = []item.Item{}
	}
	err := r.Elements(func() error {
		it, err := Item(r)
		list = append(list, it)
		return err
	})
	return list, err
}

// Item takes an item, or a key.
func Item(r *jsonwalk.Reader) (item.Item, error) {
	if r.Null() {
		return item.Item{}, nil
	}
	it, rest, err := item.Cut(r.Data[r.At:])
	r.At = len(r.Data) - len(rest)
	return it, err
}
