package item

import (
	"encoding/base64"
	"math"

	"reseal/internal/jsonwalk"
)

// Size returns the item's size in bytes by DynamoDB's accounting rule: for
// every attribute the UTF-8 bytes of its name and the size of its value. Source:
// "DynamoDB item sizes and formats" in the DynamoDB Developer Guide, which calls
// the size of a number approximate (see numberSize). An absent item has size 0,
// and one that can't be read (see Digest) that of its JSON.
func (it Item) Size() int {
	if it.size < 0 {
		return len(it.raw)
	}
	return it.size
}

// WireSize returns the length, in bytes, of the item as DynamoDB JSON, the way a request holds it.
func (it Item) WireSize() int { return len(it.raw) }

// WriteUnits returns the capacity units that writing the item takes: one per
// 1,024 bytes begun, at least one. A transaction takes twice as many.
func (it Item) WriteUnits() float64 {
	return units(it.Size(), 1024)
}

// ReadUnits returns the capacity units of a strongly consistent read: one per
// 4,096 bytes begun, at least one. An eventually consistent read takes half.
func (it Item) ReadUnits() float64 {
	return units(it.Size(), 4096)
}

func units(size, perUnit int) float64 {
	return max(1, math.Ceil(float64(size)/float64(perUnit)))
}

const (
	collectionOverhead = 3 // bytes of a list or map, whatever it holds
	elementOverhead    = 1 // bytes of each element of a list or map
)

// measure reads an item, or the value of an M, and returns its size without the collectionOverhead. A map's entries have an
// overhead; the attributes of an item, which is no value itself, have none.
func (r *reader) measure(depth, overhead int) (size int, err error) {
	if err := r.Take('{'); err != nil {
		return 0, err
	}
	for count := 0; ; count++ {
		more, err := r.Next('}', count)
		if err != nil || !more {
			return size, err
		}
		name, escaped, err := r.Name()
		if err != nil {
			return 0, err
		}
		length, err := textSize(name, escaped)
		if err != nil {
			return 0, err
		}
		value, err := r.value(depth)
		if err != nil {
			return 0, err
		}
		size += overhead + length + value
	}
}

// value reads an attribute value and returns its size.
func (r *reader) value(depth int) (size int, err error) {
	if depth > maxDepth {
		return 0, errTooDeep
	}
	kind, err := r.open()
	if err != nil {
		return 0, err
	}
	switch kind {
	case tagString, tagNumber, tagBinary:
		size, err = r.scalar(kind)
	case tagTrue:
		size = 1
		_, err = r.Boolean()
	case tagNull:
		size = 1
		err = r.null()
	case tagMap:
		size, err = r.measure(depth+1, elementOverhead)
		size += collectionOverhead
	default:
		size, err = r.elements(kind, depth)
	}
	if err != nil {
		return 0, err
	}
	return size, r.Take('}')
}

// elements reads the elements of a list or set and returns its size.
func (r *reader) elements(kind byte, depth int) (size int, err error) {
	if err := r.Take('['); err != nil {
		return 0, err
	}
	if kind == tagList {
		size = collectionOverhead
	}
	for count := 0; ; count++ {
		more, err := r.Next(']', count)
		if err != nil || !more {
			return size, err
		}
		element := 0
		switch kind {
		case tagList:
			element, err = r.value(depth + 1)
			element += elementOverhead
		case tagNumberSet:
			element, err = r.scalar(tagNumber)
		case tagBinarySet:
			element, err = r.scalar(tagBinary)
		default:
			element, err = r.scalar(tagString)
		}
		if err != nil {
			return 0, err
		}
		size += element
	}
}

// scalar reads the content of an S, N or B and returns its size.
func (r *reader) scalar(kind byte) (size int, err error) {
	text, escaped, err := r.Text()
	if err != nil {
		return 0, err
	}
	if kind == tagString {
		return textSize(text, escaped)
	}
	if escaped {
		if text, err = jsonwalk.Unescape(nil, text); err != nil {
			return 0, err
		}
	}
	if kind == tagNumber {
		return numberSize(text), nil
	}
	return decodedSize(text), nil
}

// textSize is how many bytes the string has of which raw is the inside.
func textSize(raw []byte, escaped bool) (int, error) {
	if !escaped {
		return len(raw), nil
	}
	var scratch [256]byte
	text, err := jsonwalk.Unescape(scratch[:0], raw)
	return len(text), err
}

// decodedSize is how many bytes the base64 stands for.
func decodedSize(text []byte) int {
	size := base64.StdEncoding.DecodedLen(len(text))
	for i := len(text); i > 0 && text[i-1] == '=' && size > 0; i-- {
		size--
	}
	return size
}

// numberSize is one byte for every pair of significant digits, one more, and
// one for a minus sign. The guide leaves open which digits pair up; this is the
// rule of github.com/zaccharles/dynamodb-calculator, which counts the pairs from
// the decimal point (12.5 is 12 50, 123 is 01 23), but without its upper limit of
// 21 bytes: a size that is a byte too large is better than one too small. A
// malformed number counts every byte as a digit.
func numberSize[T text](s T) int {
	var scratch [64]byte
	n, err := parseNumber(scratch[:0], s)
	if err != nil {
		return (len(s)+1)/2 + 1
	}
	if len(n.digits) == 0 {
		return 1
	}
	first, last := n.exp+len(n.digits)-1, n.exp // powers of ten
	pairs := first>>1 - last>>1 + 1             // >> rounds down below zero, too
	size := pairs + 1
	if n.neg {
		size++
	}
	return size
}
