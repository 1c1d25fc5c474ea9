package item

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Key is the primary key of an item, to be passed by value. Two keys of one
// schema are the same key if and only if they are equal with ==. The zero Key
// is no key at all.
type Key struct {
	schema Schema
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
	id := scratch[:0]
	for _, attribute := range s.attributes() {
		var err error
		if id, err = appendKeyValue(id, attribute.Type, it.attrs[attribute.Name]); err != nil {
			return Key{}, fmt.Errorf("read key attribute %q (%s): %w", attribute.Name, attribute.Type, err)
		}
	}
	return Key{schema: s, id: string(id)}, nil
}

// appendKeyValue appends the canonical encoding of a key attribute's value.
func appendKeyValue(dst []byte, kind types.ScalarAttributeType, av types.AttributeValue) ([]byte, error) {
	if isNil(av) {
		return nil, errKeyMissing
	}
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		if kind == types.ScalarAttributeTypeS {
			return appendSized(append(dst, tagString), v.Value), nil
		}
	case *types.AttributeValueMemberN:
		if kind == types.ScalarAttributeTypeN {
			number, err := canonicalNumber(v.Value)
			return appendSized(append(dst, tagNumber), number), err
		}
	case *types.AttributeValueMemberB:
		if kind == types.ScalarAttributeTypeB {
			return appendSized(append(dst, tagBinary), v.Value), nil
		}
	}
	return nil, errKeyType
}

// ParseKey is the inverse of Key.ID. Bytes that no Key.ID of this schema gives
// are an error: another type, a cut or overlong value, a length or number not
// in its canonical form, trailing bytes.
func (s Schema) ParseKey(id string) (Key, error) {
	k := Key{schema: s, id: id}
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
	for i, attribute := range k.schema.attributes() {
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
	values, err := k.values()
	if err != nil {
		return "", err
	}
	var out bytes.Buffer
	for i, attribute := range k.schema.attributes() {
		value := values[i]
		if attribute.Type == types.ScalarAttributeTypeB {
			value = base64.StdEncoding.EncodeToString([]byte(value))
		}
		name, err := quote(attribute.Name)
		if err != nil {
			return "", err
		}
		text, err := quote(value)
		if err != nil {
			return "", err
		}
		separator := ","
		if i == 0 {
			separator = "{"
		}
		fmt.Fprintf(&out, `%s%s:{"%s":%s}`, separator, name, attribute.Type, text)
	}
	out.WriteByte('}')
	return out.String(), nil
}

// quote returns s as a JSON string, readable: without the HTML escapes that
// json.Marshal adds.
func quote(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", errors.New("write key as JSON: text is not UTF-8")
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(s); err != nil {
		return "", fmt.Errorf("write key as JSON: %w", err)
	}
	return string(bytes.TrimSuffix(out.Bytes(), []byte("\n"))), nil
}

// values takes the ID apart: one value for each key attribute.
func (k Key) values() ([]string, error) {
	attributes := k.schema.attributes()
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
