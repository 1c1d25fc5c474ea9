// Package item is the one place that knows an item's bytes: keys, canonical
// digest, equality and sizes. Everything else treats an Item as opaque.
//
// Nothing in this package puts an attribute's value into an error. Errors name
// top-level attributes at most, because nested map keys are often data.
package item

import (
	"bytes"
	"fmt"
	"math"
	"strconv"
	"time"
)

// Item is one DynamoDB item, as the DynamoDB JSON that it came in. The zero Item means that there is no such item. An Item shares memory with what
// it was made from.
type Item struct {
	raw  []byte // an object of attribute values, without white space around it; nil: absent
	size int    // see Size; -1: it can't be read
}

// Parse makes an Item of DynamoDB JSON, as in {"k":{"S":"x"}}. The text becomes the item's own and must not be changed.
func Parse(text []byte) (Item, error) {
	it, rest, err := Cut(text)
	if r := readerAt(rest, 0); err == nil && r.End() != nil {
		return Item{}, errSyntax
	}
	return it, err
}

// Cut takes an item off the front of a text and returns what follows it. Of its values only the types and the nesting are checked;
// Digest checks the rest.
func Cut(text []byte) (it Item, rest []byte, err error) {
	r := readerAt(text, 0)
	r.Peek()
	start := r.At
	size, err := r.measure(0, 0)
	if err != nil {
		return Item{}, nil, fmt.Errorf("read item: %w", err)
	}
	return Item{raw: text[start:r.At:r.At], size: size}, text[r.At:], nil
}

// JSON returns the item as DynamoDB JSON; nil if it is absent. It is the item's own: read it, send it, but don't change it.
func (it Item) JSON() []byte { return it.raw }

// Clone returns the same item in memory of its own.
func (it Item) Clone() Item {
	it.raw = bytes.Clone(it.raw)
	return it
}

// Absent reports whether there is no such item. An item without attributes
// (an empty map, not nil) is not absent.
func (it Item) Absent() bool {
	return it.raw == nil
}

// EpochSeconds returns the time that a number attribute holds in seconds since
// 1970, as a time to live does; fractions are cut off. It returns false if there
// is no such attribute, or it is of another type or out of range.
func (it Item) EpochSeconds(name string) (time.Time, bool) {
	at, _, err := it.find(name, "")
	if err != nil || at == 0 {
		return time.Time{}, false
	}
	r := readerAt(it.raw, at)
	if kind, err := r.open(); err != nil || kind != tagNumber {
		return time.Time{}, false
	}
	text, escaped, err := r.Text()
	if err != nil || escaped { // no engine escapes a digit
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(string(text), 64)
	if err != nil || math.Abs(seconds) > 1e12 { // the year 33,658
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}
