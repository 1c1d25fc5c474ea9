package itemtest

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Decode reads the attributes of an item as the API writes them (DynamoDB JSON): for each, one known type with a value of it. It is
// stricter than the SDK's decoder, which takes what the service never sends, and shares nothing with it.
func Decode(data []byte) (map[string]types.AttributeValue, error) {
	if err := Plain(data); err != nil {
		return nil, err
	}
	var attrs map[string]json.RawMessage
	if err := json.Unmarshal(data, &attrs); err != nil || attrs == nil {
		return nil, errors.Join(errOdd, err)
	}
	return decodeMap(attrs)
}

var errOdd = errors.New("not what DynamoDB sends")

func decodeMap(attrs map[string]json.RawMessage) (map[string]types.AttributeValue, error) {
	values := make(map[string]types.AttributeValue, len(attrs))
	for name, raw := range attrs {
		var err error
		if values[name], err = decodeValue(raw); err != nil {
			return nil, err
		}
	}
	return values, nil
}

func decodeValue(raw json.RawMessage) (types.AttributeValue, error) {
	var typed map[string]json.RawMessage
	if err := json.Unmarshal(raw, &typed); err != nil || len(typed) != 1 {
		return nil, errors.Join(errOdd, err)
	}
	for kind, raw := range typed {
		if string(raw) == "null" {
			return nil, errOdd
		}
		return decodeKind(kind, raw)
	}
	return nil, errOdd
}

func decodeKind(kind string, raw json.RawMessage) (types.AttributeValue, error) {
	switch kind {
	case "S":
		s, err := as[string](raw)
		return &types.AttributeValueMemberS{Value: s}, err
	case "N":
		s, err := as[string](raw)
		return &types.AttributeValueMemberN{Value: s}, err
	case "B":
		s, err := as[string](raw)
		b, badBase64 := unbase64(s)
		return &types.AttributeValueMemberB{Value: b}, errors.Join(err, badBase64)
	case "BOOL":
		b, err := as[bool](raw)
		return &types.AttributeValueMemberBOOL{Value: b}, err
	case "NULL":
		b, err := as[bool](raw)
		if !b {
			err = errOdd
		}
		return &types.AttributeValueMemberNULL{Value: true}, err
	case "SS":
		list, err := texts(raw)
		return &types.AttributeValueMemberSS{Value: list}, err
	case "NS":
		list, err := texts(raw)
		return &types.AttributeValueMemberNS{Value: list}, err
	case "BS":
		list, err := texts(raw)
		blobs := make([][]byte, len(list))
		for i, s := range list {
			var badBase64 error
			blobs[i], badBase64 = unbase64(s)
			err = errors.Join(err, badBase64)
		}
		return &types.AttributeValueMemberBS{Value: blobs}, err
	case "L":
		list, err := as[[]json.RawMessage](raw)
		values := make([]types.AttributeValue, len(list))
		for i, raw := range list {
			var bad error
			values[i], bad = decodeValue(raw)
			err = errors.Join(err, bad)
		}
		return &types.AttributeValueMemberL{Value: values}, err
	case "M":
		entries, err := as[map[string]json.RawMessage](raw)
		values, bad := decodeMap(entries)
		return &types.AttributeValueMemberM{Value: values}, errors.Join(err, bad)
	}
	return nil, errOdd
}

func as[T any](raw json.RawMessage) (T, error) {
	var value T
	err := json.Unmarshal(raw, &value)
	return value, err
}

func texts(raw json.RawMessage) ([]string, error) {
	pointers, err := as[[]*string](raw)
	list := make([]string, len(pointers))
	for i, p := range pointers {
		if p == nil {
			return nil, errOdd
		}
		list[i] = *p
	}
	return list, err
}

func unbase64(s string) ([]byte, error) {
	if strings.ContainsAny(s, "\r\n") {
		return nil, errOdd
	}
	return base64.StdEncoding.Strict().DecodeString(s)
}

// Plain tells whether JSON can be read in one way only: it is one value, in UTF-8, no name is twice in an object, and none differs from
// one of names in its case alone.
func Plain(data []byte, names ...string) error {
	if !utf8.Valid(data) {
		return errOdd
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := plainValue(decoder, names); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errOdd
	}
	return nil
}

func plainValue(decoder *json.Decoder, names []string) error {
	token, err := decoder.Token()
	if err != nil {
		return err
	}
	opened, isOpen := token.(json.Delim)
	if !isOpen {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if opened == '{' {
			token, err := decoder.Token()
			if err != nil {
				return err
			}
			name, _ := token.(string)
			if seen[name] || folded(name, names) {
				return errOdd
			}
			seen[name] = true
		}
		if err := plainValue(decoder, names); err != nil {
			return err
		}
	}
	_, err = decoder.Token()
	return err
}

func folded(name string, names []string) bool {
	for _, one := range names {
		if name != one && strings.EqualFold(name, one) {
			return true
		}
	}
	return false
}
