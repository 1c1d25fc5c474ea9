package itemtest

import (
	"fmt"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// FromEvent is the image of a Lambda event, as aws-lambda-go has read it; nil if there is none. A value of an unknown type, or without
// a value, is an error.
func FromEvent(image map[string]events.DynamoDBAttributeValue) (map[string]types.AttributeValue, error) {
	if image == nil {
		return nil, nil
	}
	attrs := make(map[string]types.AttributeValue, len(image))
	for name, value := range image {
		converted, err := fromEventValue(value)
		if err != nil {
			return nil, fmt.Errorf("convert attribute %q of event image: %w", name, err)
		}
		attrs[name] = converted
	}
	return attrs, nil
}

func fromEventValue(av events.DynamoDBAttributeValue) (types.AttributeValue, error) {
	kind := av.DataType()
	// The accessors below panic on a value that was never set, and the zero
	// DynamoDBAttributeValue claims to be a Binary.
	if kind != events.DataTypeNull && av.IsNull() {
		return nil, errOdd
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
