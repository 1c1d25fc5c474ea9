package item

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
	"unique"

	"reseal/internal/jsonwalk"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Key is the primary key of an item, to be passed by value. Two keys of one
// schema are the same key if and only if they are equal with ==. The zero Key
// is no key at all.
type Key struct {
	schema unique.Handle[Schema] // a handle, since there are many keys, and a schema is large
	id     string
}

var (
	errKeyMissing = errors.New("attribute is missing")
	errKeyType    = errors.New("attribute has another type")
)

// KeyOf takes the primary key out of an item. A key attribute that is missing,
// has another type than the schema says, or is a malformed number is an error.
func (s Schema) KeyOf(it Item) (Key, error) {
	var scratch [128]byte
	id, err := s.AppendID(scratch[:0], it)
	if err != nil {
		return Key{}, err
	}
	return Key{schema: unique.Make(s), id: string(id)}, nil
}

// KeysOf is KeyOf for many items. The keys share their memory, so that one that is kept for long, while the others are not, should be
// a Clone.
func (s Schema) KeysOf(items []Item) ([]Key, error) {
	ids := make([]byte, 0, 32*len(items))
	ends := make([]int, len(items))
	for i, it := range items {
		var err error
		if ids, err = s.AppendID(ids, it); err != nil {
			return nil, err
		}
		ends[i] = len(ids)
	}
	keys, all, start, schema := make([]Key, len(items)), string(ids), 0, unique.Make(s)
	for i, end := range ends {
		keys[i] = Key{schema: schema, id: all[start:end]}
		start = end
	}
	return keys, nil
}

// Clone returns the same key in memory of its own.
func (k Key) Clone() Key {
	k.id = strings.Clone(k.id)
	return k
}

// AppendID appends the ID of the item's key (see Key.ID). It fails as KeyOf does.
func (s Schema) AppendID(dst []byte, it Item) ([]byte, error) {
	hash, rng, err := it.find(s.Hash.Name, s.Range.Name)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	if dst, err = appendKeyValue(dst, s.Hash, it.raw, hash); err != nil {
		return nil, err
	}
	if s.Range.Name == "" {
		return dst, nil
	}
	return appendKeyValue(dst, s.Range, it.raw, rng)
}

// find returns where in the item's JSON the values of two attributes begin; 0: there is none. An empty name is not looked for.
func (it Item) find(one, other string) (atOne, atOther int, err error) {
	if it.Absent() {
		return 0, 0, nil
	}
	r := readerAt(it.raw, 0)
	if err := r.Take('{'); err != nil {
		return 0, 0, err
	}
	for count := 0; ; count++ {
		more, err := r.Next('}', count)
		if err != nil || !more {
			return atOne, atOther, err
		}
		name, escaped, err := r.Name()
		if err != nil {
			return 0, 0, err
		}
		if escaped {
			if name, err = jsonwalk.Unescape(nil, name); err != nil {
				return 0, 0, err
			}
		}
		switch {
		case atOne == 0 && string(name) == one:
			atOne = r.At
		case atOther == 0 && other != "" && string(name) == other:
			atOther = r.At
		}
		if atOne > 0 && (atOther > 0 || other == "") {
			return atOne, atOther, nil
		}
		if _, err := r.value(0); err != nil {
			return 0, 0, err
		}
	}
}

// appendKeyValue appends the canonical encoding of a key attribute's value, which begins at the given place.
func appendKeyValue(dst []byte, attribute KeyAttribute, raw []byte, at int) ([]byte, error) {
	dst, err := appendValueAt(dst, attribute.Type, raw, at)
	if err != nil {
		return nil, fmt.Errorf("read key attribute %q (%s): %w", attribute.Name, attribute.Type, err)
	}
	return dst, nil
}

func appendValueAt(dst []byte, kind types.ScalarAttributeType, raw []byte, at int) ([]byte, error) {
	if at == 0 {
		return nil, errKeyMissing
	}
	r := readerAt(raw, at)
	tag, err := r.open()
	if err != nil {
		return nil, err
	}
	if want, err := keyTag(kind); err != nil || tag != want {
		return nil, errKeyType
	}
	text, escaped, err := r.Text()
	if err != nil {
		return nil, err
	}
	if escaped {
		if text, err = jsonwalk.Unescape(nil, text); err != nil {
			return nil, err
		}
	}
	dst, _, err = appendScalar(append(dst, tag), tag, text, nil)
	return dst, err
}

// ParseKey is the inverse of Key.ID. Bytes that no Key.ID of this schema gives
// are an error: another type, a cut or overlong value, a length or number not
// in its canonical form, trailing bytes.
func (s Schema) ParseKey(id string) (Key, error) {
	k := Key{schema: unique.Make(s), id: id}
	if _, err := k.values(); err != nil {
		return Key{}, err
	}
	return k, nil
}

// ID returns the canonical encoding of the key attributes' values, hash first
// (see encode.go), for use as a map key. Keys of one schema are equal if and
// only if their IDs are. It isn't text: use JSON to show a key.
func (k Key) ID() string {
	return k.id
}

// Digest returns the SHA-256 of the ID.
func (k Key) Digest() Digest {
	return sha256.Sum256([]byte(k.id))
}

// Attributes returns the key as the SDK takes it, with numbers in canonical
// form; nil for the zero Key. The map is the caller's.
func (k Key) Attributes() map[string]types.AttributeValue {
	values, err := k.values()
	if err != nil {
		return nil // only the zero Key: KeyOf and ParseKey made all others
	}
	attrs := make(map[string]types.AttributeValue, len(values))
	for i, attribute := range k.attributes() {
		switch attribute.Type {
		case types.ScalarAttributeTypeS:
			attrs[attribute.Name] = &types.AttributeValueMemberS{Value: values[i]}
		case types.ScalarAttributeTypeN:
			attrs[attribute.Name] = &types.AttributeValueMemberN{Value: values[i]}
		case types.ScalarAttributeTypeB:
			attrs[attribute.Name] = &types.AttributeValueMemberB{Value: []byte(values[i])}
		}
	}
	return attrs
}

// JSON returns the key as a DynamoDB-JSON object, hash attribute first, for
// reports: {"country":{"S":"AD"},"n":{"N":"5"}}. Binary is base64. The zero Key
// and text that isn't UTF-8, which JSON can't carry, are errors.
func (k Key) JSON() (string, error) {
	text, err := k.AppendJSON(nil)
	if err != nil {
		return "", err
	}
	if !utf8.Valid(text) {
		return "", errors.New("write key as JSON: text is not UTF-8")
	}
	return string(text), nil
}

// attributes are those of the schema; one without a name for the zero Key.
func (k Key) attributes() []KeyAttribute {
	if k.schema == (unique.Handle[Schema]{}) {
		return Schema{}.attributes()
	}
	return k.schema.Value().attributes()
}

// AppendJSON appends the key as a DynamoDB-JSON object, for requests. The zero Key is an error.
func (k Key) AppendJSON(dst []byte) ([]byte, error) {
	values, err := k.values()
	if err != nil {
		return nil, err
	}
	for i, attribute := range k.attributes() {
		dst = append(dst, '{')
		if i > 0 {
			dst[len(dst)-1] = ','
		}
		dst = append(append(append(jsonwalk.AppendQuoted(dst, attribute.Name), `:{"`...), attribute.Type...), `":`...)
		if attribute.Type == types.ScalarAttributeTypeB {
			dst = append(base64.StdEncoding.AppendEncode(append(dst, '"'), []byte(values[i])), '"')
		} else {
			dst = jsonwalk.AppendQuoted(dst, values[i])
		}
		dst = append(dst, '}')
	}
	return append(dst, '}'), nil
}

// values takes the ID apart: one value for each key attribute.
func (k Key) values() ([]string, error) {
	attributes := k.attributes()
	values := make([]string, len(attributes))
	rest := k.id
	for i, attribute := range attributes {
		var err error
		if values[i], rest, err = cutKeyValue(rest, attribute.Type); err != nil {
			return nil, fmt.Errorf("parse key attribute %q: %w", attribute.Name, err)
		}
	}
	if rest != "" {
		return nil, errors.New("parse key: trailing bytes")
	}
	return values, nil
}

// cutKeyValue reads one value from the front of an ID, strictly.
func cutKeyValue(id string, kind types.ScalarAttributeType) (value, rest string, err error) {
	tag, err := keyTag(kind)
	if err != nil {
		return "", "", err
	}
	if id == "" || id[0] != tag {
		return "", "", errors.New("type tag is missing or wrong")
	}
	id = id[1:]
	length, n := binary.Uvarint([]byte(id[:min(len(id), binary.MaxVarintLen64)]))
	// A last byte of zero is a length written longer than need be.
	if n <= 0 || (n > 1 && id[n-1] == 0) {
		return "", "", errors.New("malformed length")
	}
	id = id[n:]
	if length > uint64(len(id)) {
		return "", "", errors.New("value is cut short")
	}
	value, rest = id[:length], id[length:]
	if kind == types.ScalarAttributeTypeN {
		if canonical, err := canonicalNumber(value); err != nil || canonical != value {
			return "", "", errNumber
		}
	}
	return value, rest, nil
}
