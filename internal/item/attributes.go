package item

import (
	"encoding/base64"
	"errors"
	"fmt"
	"reflect"

	"reseal/internal/jsonwalk"

	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// Of makes an Item of attributes as the SDK has them; a nil map gives the absent Item. What can't be written, such as a nil value, is
// an error of Digest.
func Of(attrs map[string]types.AttributeValue) Item {
	if attrs == nil {
		return Item{}
	}
	raw := appendEntries(nil, attrs)
	it, err := Parse(raw)
	if err != nil {
		return Item{raw: raw, size: -1}
	}
	return it
}

func appendEntries(dst []byte, attrs map[string]types.AttributeValue) []byte {
	dst = append(dst, '{')
	first := true
	for name, value := range attrs {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendValue(append(jsonwalk.AppendQuoted(dst, name), ':'), value)
	}
	return append(dst, '}')
}

func appendValue(dst []byte, av types.AttributeValue) []byte {
	if isNil(av) {
		return append(dst, `null`...)
	}
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		dst = jsonwalk.AppendQuoted(append(dst, `{"S":`...), v.Value)
	case *types.AttributeValueMemberN:
		dst = jsonwalk.AppendQuoted(append(dst, `{"N":`...), v.Value)
	case *types.AttributeValueMemberB:
		dst = appendBase64(append(dst, `{"B":`...), v.Value)
	case *types.AttributeValueMemberBOOL:
		dst = fmt.Appendf(dst, `{"BOOL":%t`, v.Value)
	case *types.AttributeValueMemberNULL:
		dst = append(dst, `{"NULL":true`...)
	case *types.AttributeValueMemberSS:
		dst = appendList(append(dst, `{"SS":`...), v.Value, jsonwalk.AppendQuoted[string])
	case *types.AttributeValueMemberNS:
		dst = appendList(append(dst, `{"NS":`...), v.Value, jsonwalk.AppendQuoted[string])
	case *types.AttributeValueMemberBS:
		dst = appendList(append(dst, `{"BS":`...), v.Value, appendBase64)
	case *types.AttributeValueMemberL:
		dst = appendList(append(dst, `{"L":`...), v.Value, appendValue)
	case *types.AttributeValueMemberM:
		dst = appendEntries(append(dst, `{"M":`...), v.Value)
	default:
		dst = append(dst, `{"":null`...) // no type
	}
	return append(dst, '}')
}

func appendBase64(dst, value []byte) []byte {
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), value), '"')
}

func appendList[T any](dst []byte, list []T, one func([]byte, T) []byte) []byte {
	dst = append(dst, '[')
	for i, element := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = one(dst, element)
	}
	return append(dst, ']')
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

// Attributes returns the attributes as the SDK takes them; nil if the item is absent, or malformed, of which Digest tells.
// Everything that reads many items works on their bytes instead.
func (it Item) Attributes() map[string]types.AttributeValue {
	if it.Absent() {
		return nil
	}
	r := readerAt(it.raw, 0)
	attrs, err := r.attributes(0)
	if err != nil {
		return nil
	}
	return attrs
}

func (r *reader) attributes(depth int) (map[string]types.AttributeValue, error) {
	if err := r.Take('{'); err != nil {
		return nil, err
	}
	attrs := map[string]types.AttributeValue{}
	for count := 0; ; count++ {
		more, err := r.Next('}', count)
		if err != nil || !more {
			return attrs, err
		}
		name, err := r.PlainText()
		if err != nil {
			return nil, err
		}
		if err := r.Take(':'); err != nil {
			return nil, err
		}
		if attrs[name], err = r.attribute(depth); err != nil {
			return nil, err
		}
	}
}

func (r *reader) attribute(depth int) (av types.AttributeValue, err error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	kind, err := r.open()
	if err != nil {
		return nil, err
	}
	switch kind {
	case tagString:
		v := &types.AttributeValueMemberS{}
		v.Value, err = r.PlainText()
		av = v
	case tagNumber:
		v := &types.AttributeValueMemberN{}
		v.Value, err = r.PlainText()
		av = v
	case tagBinary:
		v := &types.AttributeValueMemberB{}
		v.Value, err = r.bytes()
		av = v
	case tagTrue:
		v := &types.AttributeValueMemberBOOL{}
		v.Value, err = r.Boolean()
		av = v
	case tagNull:
		av, err = &types.AttributeValueMemberNULL{Value: true}, r.null()
	case tagStringSet:
		v := &types.AttributeValueMemberSS{}
		v.Value, err = readList(r, r.PlainText)
		av = v
	case tagNumberSet:
		v := &types.AttributeValueMemberNS{}
		v.Value, err = readList(r, r.PlainText)
		av = v
	case tagBinarySet:
		v := &types.AttributeValueMemberBS{}
		v.Value, err = readList(r, r.bytes)
		av = v
	case tagList:
		v := &types.AttributeValueMemberL{}
		v.Value, err = readList(r, func() (types.AttributeValue, error) { return r.attribute(depth + 1) })
		av = v
	case tagMap:
		v := &types.AttributeValueMemberM{}
		v.Value, err = r.attributes(depth + 1)
		av = v
	}
	if err != nil {
		return nil, err
	}
	return av, r.Take('}')
}

func (r *reader) bytes() ([]byte, error) {
	text, err := r.PlainText()
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(text)
}

func readList[T any](r *reader, one func() (T, error)) ([]T, error) {
	if err := r.Take('['); err != nil {
		return nil, err
	}
	list := []T{}
	for {
		more, err := r.Next(']', len(list))
		if err != nil || !more {
			return list, err
		}
		element, err := one()
		if err != nil {
			return nil, err
		}
		list = append(list, element)
	}
}

// FromStream makes an Item of an image from the DynamoDB Streams API. A nil
// image gives the absent Item; a nil or unknown value is an error.
func FromStream(image map[string]streamtypes.AttributeValue) (Item, error) {
	if image == nil {
		return Item{}, nil
	}
	attrs := make(map[string]types.AttributeValue, len(image))
	for name, value := range image {
		converted, err := attributevalue.FromDynamoDBStreams(value)
		if err != nil {
			return Item{}, fmt.Errorf("convert attribute %q of stream image: %w", name, err)
		}
		attrs[name] = converted
	}
	return Of(attrs), nil
}

var errNoValue = errors.New("attribute has no value")
