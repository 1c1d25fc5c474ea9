// Package item is the one place that knows an item's bytes: keys, canonical
// digest, equality and sizes. Everything else treats an Item as opaque.
//
// Nothing in this package puts an attribute's value into an error. Errors name
// top-level attributes at most, because nested map keys are often data.
package item

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// Item is one DynamoDB item. The zero Item means that there is no such item.
// An Item shares memory with the map that it was made from.
type Item struct {
	attrs map[string]types.AttributeValue
}

// Of wraps the attributes of an item; a nil map gives the absent Item. The map
// must not be changed afterwards.
func Of(attrs map[string]types.AttributeValue) Item {
	return Item{attrs: attrs}
}

// Attributes returns the attributes as the SDK takes them, nil if the item is
// absent. The map is the item's own: read it, send it, but don't change it.
func (it Item) Attributes() map[string]types.AttributeValue {
	return it.attrs
}

// Absent reports whether there is no such item. An item without attributes
// (an empty map, not nil) is not absent.
func (it Item) Absent() bool {
	return it.attrs == nil
}

// EpochSeconds returns the time that a number attribute holds in seconds since
// 1970, as a time to live does; fractions are cut off. It returns false if there
// is no such attribute, or it is of another type or out of range.
func (it Item) EpochSeconds(name string) (time.Time, bool) {
	number, is := it.attrs[name].(*types.AttributeValueMemberN)
	if !is || number == nil {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseFloat(number.Value, 64)
	if err != nil || math.Abs(seconds) > 1e12 { // the year 33,658
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
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
	return Item{attrs: attrs}, nil
}

// FromEvent makes an Item of an image from a Lambda event. A nil image gives
// the absent Item; a value of an unknown type, or without a value, is an error.
func FromEvent(image map[string]events.DynamoDBAttributeValue) (Item, error) {
	if image == nil {
		return Item{}, nil
	}
	attrs := make(map[string]types.AttributeValue, len(image))
	for name, value := range image {
		converted, err := fromEventValue(value)
		if err != nil {
			return Item{}, fmt.Errorf("convert attribute %q of event image: %w", name, err)
		}
		attrs[name] = converted
	}
	return Item{attrs: attrs}, nil
}

var errNoValue = errors.New("attribute has no value")

func fromEventValue(av events.DynamoDBAttributeValue) (types.AttributeValue, error) {
	kind := av.DataType()
	// The accessors below panic on a value that was never set, and the zero
	// DynamoDBAttributeValue claims to be a Binary.
	if kind != events.DataTypeNull && av.IsNull() {
		return nil, errNoValue
	}
	switch kind {
	case events.DataTypeString:
		return &types.AttributeValueMemberS{Value: av.String()}, nil
	case events.DataTypeNumber:
		return &types.AttributeValueMemberN{Value: av.Number()}, nil
	case events.DataTypeBinary:
		return &types.AttributeValueMemberB{Value: av.Binary()}, nil
	case events.DataTypeBoolean:
		return &types.AttributeValueMemberBOOL{Value: av.Boolean()}, nil
	case events.DataTypeNull:
		return &types.AttributeValueMemberNULL{Value: true}, nil
	case events.DataTypeStringSet:
		return &types.AttributeValueMemberSS{Value: av.StringSet()}, nil
	case events.DataTypeNumberSet:
		return &types.AttributeValueMemberNS{Value: av.NumberSet()}, nil
	case events.DataTypeBinarySet:
		return &types.AttributeValueMemberBS{Value: av.BinarySet()}, nil
	case events.DataTypeList:
		return fromEventList(av.List())
	case events.DataTypeMap:
		return fromEventMap(av.Map())
	default:
		return nil, fmt.Errorf("unsupported event data type %d", kind)
	}
}

func fromEventList(list []events.DynamoDBAttributeValue) (types.AttributeValue, error) {
	values := make([]types.AttributeValue, len(list))
	for i, element := range list {
		converted, err := fromEventValue(element)
		if err != nil {
			return nil, err
		}
		values[i] = converted
	}
	return &types.AttributeValueMemberL{Value: values}, nil
}

func fromEventMap(entries map[string]events.DynamoDBAttributeValue) (types.AttributeValue, error) {
	values := make(map[string]types.AttributeValue, len(entries))
	for name, entry := range entries {
		converted, err := fromEventValue(entry)
		if err != nil {
			return nil, err
		}
		values[name] = converted
	}
	return &types.AttributeValueMemberM{Value: values}, nil
}
