package item

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"reseal/internal/jsonwalk"
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
// DynamoDB would call equal have equal digests. An absent item, an attribute
// without a value or of an unknown type, and a malformed number are errors.
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
// one are not. It fails as Digest does, but need not look at the insides of two
// items that are the same bytes.
func Equal(a, b Item) (bool, error) {
	if a.Absent() || b.Absent() {
		return a.Absent() == b.Absent(), nil
	}
	if bytes.Equal(a.raw, b.raw) && a.size >= 0 {
		return true, nil
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
// It fails as Digest does.
func DiffAttributes(a, b Item) ([]string, error) {
	ea, eb := newEncoder(), newEncoder()
	defer ea.release()
	defer eb.release()
	for _, side := range []struct {
		e  *encoder
		it Item
	}{{ea, a}, {eb, b}} {
		if !side.it.Absent() {
			if err := side.e.attributes(side.it); err != nil {
				return nil, err
			}
		}
	}
	var names []string
	for i, j := 0, 0; i < len(ea.parts) || j < len(eb.parts); {
		order := 0
		switch {
		case j == len(eb.parts):
			order = -1
		case i == len(ea.parts):
			order = 1
		default:
			order = bytes.Compare(ea.id(ea.parts[i]), eb.id(eb.parts[j]))
		}
		switch {
		case order < 0:
			names = append(names, string(ea.id(ea.parts[i])))
			i++
		case order > 0:
			names = append(names, string(eb.id(eb.parts[j])))
			j++
		default:
			if !bytes.Equal(ea.bytes(ea.parts[i]), eb.bytes(eb.parts[j])) {
				names = append(names, string(ea.id(ea.parts[i])))
			}
			i++
			j++
		}
	}
	return names, nil
}

// encoder writes canonical encodings into buf, from the bytes of an item. Encoding an item allocates nothing once the pool is warm.
//
// The entries of a map, and the elements of a set, are first written in the order in which they come. Their places in buf are on the
// stack parts, by which they are then put into order.
type encoder struct {
	r       reader
	buf     []byte
	parts   []part
	ordered []byte // entries or elements on their way into order
	scratch []byte // text without its escapes, and bytes without their base64
}

// part is the place of an entry or an element in an encoder's buf: from start to end. What orders it is from id to idEnd.
type part struct{ start, id, idEnd, end int }

func (e *encoder) id(p part) []byte    { return e.buf[p.id:p.idEnd] }
func (e *encoder) bytes(p part) []byte { return e.buf[p.start:p.end] }

var encoders = sync.Pool{New: func() any { return new(encoder) }}

// maxPooledBytes keeps a buffer that grew for an odd item from staying for
// good. DynamoDB's limit for an item is 400 KB.
const maxPooledBytes = 1 << 20

func newEncoder() *encoder {
	return encoders.Get().(*encoder)
}

// release gives e back to the pool. It drops the item, which would keep a whole answer of the server alive.
func (e *encoder) release() {
	e.r = reader{}
	e.parts, e.buf = e.parts[:0], e.buf[:0]
	if cap(e.buf)+cap(e.ordered)+cap(e.scratch) <= maxPooledBytes {
		encoders.Put(e)
	}
}

func (e *encoder) item(it Item) error {
	if it.Absent() {
		return fmt.Errorf("encode item: %w", errAbsent)
	}
	if err := e.attributes(it); err != nil {
		return err
	}
	e.close(tagMap, 0, 0)
	return nil
}

// attributes leaves the item's attributes in buf, unordered, and their places in parts, ordered by name.
func (e *encoder) attributes(it Item) error {
	e.r = readerAt(it.raw, 0)
	name, err := e.entries(0)
	if err == nil {
		err = e.r.End()
	}
	switch {
	case err != nil && name == nil:
		return fmt.Errorf("encode item: %w", err)
	case err != nil:
		return fmt.Errorf("encode attribute %q: %w", name, err)
	}
	return nil
}

// entries encodes a map's entries, from its opening bracket to its closing one. With an error it returns the name of the entry that
// it is about, if it has one.
func (e *encoder) entries(depth int) (name []byte, err error) {
	if err := e.r.Take('{'); err != nil {
		return nil, err
	}
	first := len(e.parts)
	for {
		more, err := e.r.Next('}', len(e.parts)-first)
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
		raw, escaped, err := e.r.Name()
		if err != nil {
			return nil, err
		}
		p := part{start: len(e.buf)}
		if name, e.scratch, err = jsonwalk.Plain(raw, escaped, e.scratch); err != nil {
			return nil, err
		}
		e.buf = appendSized(e.buf, name)
		p.idEnd = len(e.buf)
		p.id = p.idEnd - len(name)
		if err := e.value(depth); err != nil {
			return bytes.Clone(e.id(p)), err
		}
		p.end = len(e.buf)
		e.parts = append(e.parts, p)
	}
	e.sort(first)
	for i := first + 1; i < len(e.parts); i++ {
		if bytes.Equal(e.id(e.parts[i-1]), e.id(e.parts[i])) {
			return bytes.Clone(e.id(e.parts[i])), errNameTwice
		}
	}
	return nil, nil
}

// sort orders the parts from first on.
func (e *encoder) sort(first int) {
	parts := e.parts[first:]
	const few = 24 // more than most items have; no call for each comparison then
	if len(parts) > few {
		slices.SortFunc(parts, func(a, b part) int { return bytes.Compare(e.id(a), e.id(b)) })
		return
	}
	for i := 1; i < len(parts); i++ {
		for j := i; j > 0 && bytes.Compare(e.id(parts[j-1]), e.id(parts[j])) > 0; j-- {
			parts[j-1], parts[j] = parts[j], parts[j-1]
		}
	}
}

// close makes a map or a set of the parts from first on, which is all that buf holds from start on.
func (e *encoder) close(tag byte, start, first int) {
	e.ordered = binary.AppendUvarint(append(e.ordered[:0], tag), uint64(len(e.parts)-first))
	for _, p := range e.parts[first:] {
		e.ordered = append(e.ordered, e.bytes(p)...)
	}
	e.buf = append(e.buf[:start], e.ordered...)
	e.parts = e.parts[:first]
}

// value encodes an attribute value.
func (e *encoder) value(depth int) error {
	if depth > maxDepth {
		return errTooDeep
	}
	kind, err := e.r.open()
	if err != nil {
		return err
	}
	switch kind {
	case tagString, tagNumber, tagBinary:
		e.buf = append(e.buf, kind)
		err = e.scalar(kind)
	case tagTrue:
		var is bool
		if is, err = e.r.Boolean(); is {
			e.buf = append(e.buf, tagTrue)
		} else {
			e.buf = append(e.buf, tagFalse)
		}
	case tagNull:
		e.buf = append(e.buf, tagNull)
		err = e.r.null()
	case tagList:
		err = e.list(depth + 1)
	case tagMap:
		start, first := len(e.buf), len(e.parts)
		if _, err = e.entries(depth + 1); err == nil {
			e.close(tagMap, start, first)
		}
	default:
		err = e.set(kind)
	}
	if err != nil {
		return err
	}
	return e.r.Take('}')
}

// scalar encodes a string as the content of an S, N or B.
func (e *encoder) scalar(kind byte) error {
	text, escaped, err := e.r.Text()
	if err != nil {
		return err
	}
	if text, e.scratch, err = jsonwalk.Plain(text, escaped, e.scratch); err != nil {
		return err
	}
	if escaped && kind == tagBinary {
		text = bytes.Clone(text) // it is in the scratch, which is about to take what it decodes to
	}
	e.buf, e.scratch, err = appendScalar(e.buf, kind, text, e.scratch)
	return err
}

// appendScalar appends the content of an S, N or B that has been read from JSON. The text of a B must not be in the scratch, which is
// returned for the next use.
func appendScalar(dst []byte, kind byte, text, scratch []byte) (_, grown []byte, err error) {
	switch kind {
	case tagNumber:
		var number [64]byte
		canonical, err := appendNumber(number[:0], text)
		return appendSized(dst, canonical), scratch, err
	case tagBinary:
		if scratch, err = base64.StdEncoding.AppendDecode(scratch[:0], text); err != nil {
			return dst, scratch, errBase64
		}
		return appendSized(dst, scratch), scratch, nil
	default:
		return appendSized(dst, text), scratch, nil
	}
}

// errBase64 says nothing of the text: it may be somebody's data.
var errBase64 = errors.New("malformed base64")

func (e *encoder) list(depth int) error {
	if err := e.r.Take('['); err != nil {
		return err
	}
	start, count := len(e.buf), 0
	for ; ; count++ {
		more, err := e.r.Next(']', count)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		if err := e.value(depth); err != nil {
			return err
		}
	}
	// The number of elements, which is only known now, goes before them.
	var header [1 + binary.MaxVarintLen64]byte
	e.buf = slices.Insert(e.buf, start, binary.AppendUvarint(append(header[:0], tagList), uint64(count))...)
	return nil
}

func (e *encoder) set(kind byte) error {
	element := byte(tagString)
	switch kind {
	case tagNumberSet:
		element = tagNumber
	case tagBinarySet:
		element = tagBinary
	}
	if err := e.r.Take('['); err != nil {
		return err
	}
	start, first := len(e.buf), len(e.parts)
	for {
		more, err := e.r.Next(']', len(e.parts)-first)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		p := part{start: len(e.buf)}
		if err := e.scalar(element); err != nil {
			return err
		}
		p.end = len(e.buf)
		_, n := binary.Uvarint(e.bytes(p))
		p.id, p.idEnd = p.start+n, p.end
		e.parts = append(e.parts, p)
	}
	e.sort(first)
	e.close(kind, start, first)
	return nil
}

func appendSized[T string | []byte](dst []byte, v T) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	return append(dst, v...)
}
