package wire

import (
	"errors"
	"fmt"
	"math"
	"strconv"

	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/jsonwalk"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Consumed takes the value of ConsumedCapacity: an entry, or a list of them.
func Consumed(r *jsonwalk.Reader) (capacity.Consumed, error) {
	var room [1]types.ConsumedCapacity
	entries := room[:0]
	take := func() error {
		entry, err := consumed(r)
		entries = append(entries, entry)
		return err
	}
	var err error
	if r.Peek() == '[' {
		err = r.Elements(take)
	} else {
		err = take()
	}
	if err != nil {
		return capacity.Consumed{}, fmt.Errorf("read ConsumedCapacity: %w", err)
	}
	return capacity.Units(entries...), nil
}

// consumed takes an entry; null is one without units.
func consumed(r *jsonwalk.Reader) (entry types.ConsumedCapacity, err error) {
	if r.Null() {
		return entry, nil
	}
	err = r.Fields(func(name string) (err error) {
		switch name {
		case "CapacityUnits":
			entry.CapacityUnits, err = number(r)
		case "Table":
			entry.Table = new(types.Capacity)
			*entry.Table, err = units(r)
		case "LocalSecondaryIndexes":
			entry.LocalSecondaryIndexes, err = indexes(r)
		case "GlobalSecondaryIndexes":
			entry.GlobalSecondaryIndexes, err = indexes(r)
		default:
			err = r.Skip()
		}
		return err
	})
	return entry, err
}

func indexes(r *jsonwalk.Reader) (map[string]types.Capacity, error) {
	if r.Null() {
		return nil, nil
	}
	all := map[string]types.Capacity{}
	err := r.Fields(func(index string) (err error) {
		all[index], err = units(r)
		return err
	})
	return all, err
}

func units(r *jsonwalk.Reader) (one types.Capacity, err error) {
	if r.Null() {
		return one, nil
	}
	err = r.Fields(func(name string) (err error) {
		if name != "CapacityUnits" {
			return r.Skip()
		}
		one.CapacityUnits, err = number(r)
		return err
	})
	return one, err
}

func number(r *jsonwalk.Reader) (*float64, error) {
	if r.Null() {
		return nil, nil
	}
	text, err := r.Value()
	if err != nil {
		return nil, err
	}
	value, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
		return nil, errNumber
	}
	return &value, nil
}

// errNumber doesn't quote what there is: an answer is somebody's data.
var errNumber = errors.New("a number of units is none")

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
