package item

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// The canonical encoding. Two values have the same bytes if and only if
// DynamoDB would call them equal. uvarint is that of encoding/binary; sized is
// uvarint(length in bytes) followed by the bytes.
//
//	S     'S' sized text             BOOL  't' or 'f'
//	N     'N' sized canonicalNumber  NULL  '0'
//	B     'B' sized bytes
//	L     'L' uvarint(count) values in order
//	M     'M' uvarint(count) (sized name, value), sorted by name bytewise
//	SS    's' uvarint(count) sized text, sorted bytewise
//	NS    'n' uvarint(count) sized canonicalNumber, sorted bytewise
//	BS    'b' uvarint(count) sized bytes, sorted
//
// An item is the M of its attributes. A digest that is stored anywhere depends
// on this format: change it and every stored digest is void.
const (
	tagString    = 'S'
	tagNumber    = 'N'
	tagBinary    = 'B'
	tagTrue      = 't'
	tagFalse     = 'f'
	tagNull      = '0'
	tagList      = 'L'
	tagMap       = 'M'
	tagStringSet = 's'
	tagNumberSet = 'n'
	tagBinarySet = 'b'
)

// Digest is the SHA-256 of a canonical encoding, 32 bytes.
type Digest [sha256.Size]byte

var errAbsent = errors.New("item is absent")

// Digest returns the SHA-256 of the item's canonical encoding. Items that
// DynamoDB would call equal have equal digests. An absent item, a nil or
// unknown attribute value and a malformed number are errors.
func (it Item) Digest() (Digest, error) {
	e := newEncoder()
	defer e.release()
	if err := e.item(it); err != nil {
		return Digest{}, err
	}
	return sha256.Sum256(e.buf), nil
}

// Equal reports whether DynamoDB would call the items equal: sets in any
// order, numbers by value. Two absent items are equal; an absent and a present
// one are not. It fails as Digest does.
func Equal(a, b Item) (bool, error) {
	if a.Absent() || b.Absent() {
		return a.Absent() == b.Absent(), nil
	}
	ea, eb := newEncoder(), newEncoder()
	defer ea.release()
	defer eb.release()
	if err := ea.item(a); err != nil {
		return false, err
	}
	if err := eb.item(b); err != nil {
		return false, err
	}
	return bytes.Equal(ea.buf, eb.buf), nil
}

// DiffAttributes returns the sorted names of the top-level attributes that
// differ; one that only one side has counts. An absent item has no attributes.
// It fails as Digest does, for the attributes that both sides have.
func DiffAttributes(a, b Item) ([]string, error) {
	var names []string
	ea, eb := newEncoder(), newEncoder()
	defer ea.release()
	defer eb.release()
	for name, va := range a.attrs {
		vb, both := b.attrs[name]
		if !both {
			names = append(names, name)
			continue
		}
		ea.buf, eb.buf = ea.buf[:0], eb.buf[:0]
		if err := errors.Join(ea.value(va), eb.value(vb)); err != nil {
			return nil, fmt.Errorf("encode attribute %q: %w", name, err)
		}
		if !bytes.Equal(ea.buf, eb.buf) {
			names = append(names, name)
		}
	}
	for name := range b.attrs {
		if _, both := a.attrs[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// encoder writes canonical encodings into buf. names is a stack on which each
// nesting level sorts its map keys or set elements, so that encoding an item
// allocates nothing once the pool is warm.
type encoder struct {
	buf   []byte
	names []string
}

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// maxPooledBytes keeps a buffer that grew for an odd item from staying for
// good. DynamoDB's limit for an item is 400 KB.
const maxPooledBytes = 1 << 20

func newEncoder() *encoder {
	return encoders.Get().(*encoder)
}

// release gives e back to the pool. It drops the names, which would keep whole
// answers of the server alive.
func (e *encoder) release() {
	e.pop(0)
	e.buf = e.buf[:0]
	if cap(e.buf) <= maxPooledBytes {
		encoders.Put(e)
	}
}

func (e *encoder) pop(start int) {
	clear(e.names[start:])
	e.names = e.names[:start]
}

func (e *encoder) item(it Item) error {
	if it.Absent() {
		return fmt.Errorf("encode item: %w", errAbsent)
	}
	if name, err := e.entries(it.attrs); err != nil {
		return fmt.Errorf("encode attribute %q: %w", name, err)
	}
	return nil
}

func (e *encoder) value(av types.AttributeValue) error {
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

func (e *encoder) collection(av types.AttributeValue) error {
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
func (e *encoder) entries(attrs map[string]types.AttributeValue) (string, error) {
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
func (e *encoder) set(tag byte, start int) {
	elements := e.names[start:]
	slices.Sort(elements)
	e.open(tag, len(elements))
	for _, element := range elements {
		e.buf = appendSized(e.buf, element)
	}
	e.pop(start)
}

func (e *encoder) open(tag byte, count int) {
	e.buf = binary.AppendUvarint(append(e.buf, tag), uint64(count))
}

func appendSized[T string | []byte](dst []byte, v T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}

// isNil also finds a nil pointer inside the interface, which the type switches
// would dereference.
func isNil(av types.AttributeValue) bool {
	if av == nil {
		return true
	}
	v := reflect.ValueOf(av)
	return v.Kind() == reflect.Pointer && v.IsNil()
}
