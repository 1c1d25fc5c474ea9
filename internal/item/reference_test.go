package item

// The reference: digests and sizes computed from the SDK's attribute values, which everything in this package that works on bytes is
// compared with.

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// reference writes canonical encodings into buf. names is a stack on which each
// nesting level sorts its map keys or set elements.
type reference struct {
	buf   []byte
	names []string
}

func (e *reference) pop(start int) {
	clear(e.names[start:])
	e.names = e.names[:start]
}

// canonicalBytes is the canonical encoding of an item's attributes.
func canonicalBytes(attrs map[string]types.AttributeValue) ([]byte, error) {
	e := new(reference)
	_, err := e.entries(attrs)
	return e.buf, err
}

func (e *reference) value(av types.AttributeValue) error {
	if isNil(av) {
		return errNoValue
	}
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		e.buf = appendSized(append(e.buf, tagString), v.Value)
	case *types.AttributeValueMemberN:
		number, err := canonicalNumber(v.Value)
		if err != nil {
			return err
		}
		e.buf = appendSized(append(e.buf, tagNumber), number)
	case *types.AttributeValueMemberB:
		e.buf = appendSized(append(e.buf, tagBinary), v.Value)
	case *types.AttributeValueMemberBOOL:
		if v.Value {
			e.buf = append(e.buf, tagTrue)
		} else {
			e.buf = append(e.buf, tagFalse)
		}
	case *types.AttributeValueMemberNULL:
		e.buf = append(e.buf, tagNull)
	default:
		return e.collection(av)
	}
	return nil
}

func (e *reference) collection(av types.AttributeValue) error {
	switch v := av.(type) {
	case *types.AttributeValueMemberL:
		e.open(tagList, len(v.Value))
		for _, element := range v.Value {
			if err := e.value(element); err != nil {
				return err
			}
		}
	case *types.AttributeValueMemberM:
		_, err := e.entries(v.Value)
		return err
	case *types.AttributeValueMemberSS:
		start := len(e.names)
		e.names = append(e.names, v.Value...)
		e.set(tagStringSet, start)
	case *types.AttributeValueMemberNS:
		start := len(e.names)
		for _, element := range v.Value {
			number, err := canonicalNumber(element)
			if err != nil {
				return err
			}
			e.names = append(e.names, number)
		}
		e.set(tagNumberSet, start)
	case *types.AttributeValueMemberBS:
		start := len(e.names)
		for _, element := range v.Value {
			e.names = append(e.names, string(element))
		}
		e.set(tagBinarySet, start)
	default:
		return fmt.Errorf("unsupported attribute type %T", av)
	}
	return nil
}

// entries encodes a map, sorted by name. With an error it returns the name of
// the entry that it is about.
func (e *reference) entries(attrs map[string]types.AttributeValue) (string, error) {
	e.open(tagMap, len(attrs))
	start := len(e.names)
	for name := range attrs {
		e.names = append(e.names, name)
	}
	end := len(e.names)
	slices.Sort(e.names[start:end])
	for i := start; i < end; i++ { // by index: value may move e.names
		name := e.names[i]
		e.buf = appendSized(e.buf, name)
		if err := e.value(attrs[name]); err != nil {
			return name, err
		}
	}
	e.pop(start)
	return "", nil
}

// set encodes the elements e.names[start:] as a set and takes them off.
func (e *reference) set(tag byte, start int) {
	elements := e.names[start:]
	slices.Sort(elements)
	e.open(tag, len(elements))
	for _, element := range elements {
		e.buf = appendSized(e.buf, element)
	}
	e.pop(start)
}

func (e *reference) open(tag byte, count int) {
	e.buf = binary.AppendUvarint(append(e.buf, tag), uint64(count))
}

// referenceSize is the size of an item by DynamoDB's accounting rule.
func referenceSize(attrs map[string]types.AttributeValue) int {
	size := 0
	for name, value := range attrs {
		size += len(name) + valueSize(value)
	}
	return size
}

func valueSize(av types.AttributeValue) int {
	if isNil(av) {
		return 0
	}
	size := 0
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		size = len(v.Value)
	case *types.AttributeValueMemberN:
		size = numberSize(v.Value)
	case *types.AttributeValueMemberB:
		size = len(v.Value)
	case *types.AttributeValueMemberBOOL, *types.AttributeValueMemberNULL:
		size = 1
	case *types.AttributeValueMemberSS:
		for _, element := range v.Value {
			size += len(element)
		}
	case *types.AttributeValueMemberNS:
		for _, element := range v.Value {
			size += numberSize(element)
		}
	case *types.AttributeValueMemberBS:
		for _, element := range v.Value {
			size += len(element)
		}
	case *types.AttributeValueMemberL:
		size = collectionOverhead
		for _, element := range v.Value {
			size += elementOverhead + valueSize(element)
		}
	case *types.AttributeValueMemberM:
		size = collectionOverhead
		for name, element := range v.Value {
			size += elementOverhead + len(name) + valueSize(element)
		}
	}
	return size
}
