package item

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"reseal/internal/item/itemtest"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// eventJSON is the image part of a Lambda event with every attribute type.
const eventJSON = `{
	"S": {"S": "Z\u00fcrich \"q\" \u2028 \u0001 \ud83d\ude00"},
	"emptyS": {"S": ""},
	"N": {"N": "9007199254740993"},
	"digits": {"N": "12345678901234567890123456789012345678"},
	"spelling": {"N": "1.00"},
	"B": {"B": "AP+AiQ=="},
	"emptyB": {"B": ""},
	"t": {"BOOL": true},
	"f": {"BOOL": false},
	"null": {"NULL": true},
	"SS": {"SS": ["b", "a", ""]},
	"NS": {"NS": ["2", "1.0", "9.9999999999999999999999999999999999999E+125"]},
	"BS": {"BS": ["/w==", "", "AAE="]},
	"emptyL": {"L": []},
	"emptyM": {"M": {}},
	"L": {"L": [{"S": "x"}, {"L": [{"B": "AA=="}]}, {"M": {"in": {"BS": ["AQ=="]}}}, {"NULL": true}]},
	"M": {"M": {"": {"S": "x"}, "n": {"N": "-0"}, "m": {"M": {"b": {"B": "/w=="}}}}}
}`

func wantEvent() attrs {
	return attrs{
		"S": str("Zürich \"q\" \u2028 \x01 \U0001f600"), "emptyS": str(""),
		"N": num("9007199254740993"), "digits": num("12345678901234567890123456789012345678"), "spelling": num("1.00"),
		"B": bin(0, 255, 128, 137), "emptyB": bin([]byte{}...), "t": boolean(true), "f": boolean(false), "null": null(),
		"SS": strSet("b", "a", ""), "NS": numSet("2", "1.0", "9.9999999999999999999999999999999999999E+125"),
		"BS": binSet([]byte{255}, []byte{}, []byte{0, 1}), "emptyL": listOf([]value{}...), "emptyM": mapOf(attrs{}),
		"L": listOf(str("x"), listOf(bin(0)), mapOf(attrs{"in": binSet([]byte{1})}), null()),
		"M": mapOf(attrs{"": str("x"), "n": num("-0"), "m": mapOf(attrs{"b": bin(255)})}),
	}
}

// The event's own reading is a reference in the tests.
func TestParseEvent(t *testing.T) {
	own, err := Parse([]byte(eventJSON))
	if err != nil {
		t.Fatal(err)
	}
	compareBits(t, own.Attributes(), wantEvent())
	var image map[string]events.DynamoDBAttributeValue
	if err := json.Unmarshal([]byte(eventJSON), &image); err != nil {
		t.Fatal(err)
	}
	reference, err := itemtest.FromEvent(image)
	if err != nil {
		t.Fatal(err)
	}
	compareBits(t, reference, wantEvent())
}

func compareBits(t *testing.T, got, want attrs) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d attributes, want %d", len(got), len(want))
	}
	for name := range want {
		if !reflect.DeepEqual(got[name], want[name]) {
			t.Errorf("%s: %#v, want %#v", name, got[name], want[name])
		}
	}
}

// streamValue is the same value as the Streams API has it.
func streamValue(av value) streamtypes.AttributeValue {
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		return &streamtypes.AttributeValueMemberS{Value: v.Value}
	case *types.AttributeValueMemberN:
		return &streamtypes.AttributeValueMemberN{Value: v.Value}
	case *types.AttributeValueMemberB:
		return &streamtypes.AttributeValueMemberB{Value: v.Value}
	case *types.AttributeValueMemberBOOL:
		return &streamtypes.AttributeValueMemberBOOL{Value: v.Value}
	case *types.AttributeValueMemberNULL:
		return &streamtypes.AttributeValueMemberNULL{Value: v.Value}
	case *types.AttributeValueMemberSS:
		return &streamtypes.AttributeValueMemberSS{Value: v.Value}
	case *types.AttributeValueMemberNS:
		return &streamtypes.AttributeValueMemberNS{Value: v.Value}
	case *types.AttributeValueMemberBS:
		return &streamtypes.AttributeValueMemberBS{Value: v.Value}
	case *types.AttributeValueMemberL:
		list := make([]streamtypes.AttributeValue, len(v.Value))
		for i, element := range v.Value {
			list[i] = streamValue(element)
		}
		return &streamtypes.AttributeValueMemberL{Value: list}
	case *types.AttributeValueMemberM:
		return &streamtypes.AttributeValueMemberM{Value: streamImage(v.Value)}
	default:
		return nil
	}
}

func streamImage(m attrs) map[string]streamtypes.AttributeValue {
	image := make(map[string]streamtypes.AttributeValue, len(m))
	for name, v := range m {
		image[name] = streamValue(v)
	}
	return image
}

func TestFromStream(t *testing.T) {
	it, err := FromStream(streamImage(wantEvent()))
	if err != nil {
		t.Fatal(err)
	}
	compareBits(t, it.Attributes(), wantEvent())

	if it, err := FromStream(nil); err != nil || !it.Absent() {
		t.Errorf("nil image: absent %v, %v", it.Absent(), err)
	}
	it, err = FromStream(map[string]streamtypes.AttributeValue{})
	if err != nil || it.Absent() {
		t.Errorf("empty image: absent %v, %v", it.Absent(), err)
	}
}

func TestFromStreamRefuses(t *testing.T) {
	unknown := &streamtypes.UnknownUnionMember{Tag: "VEC", Value: []byte("secret")}
	for name, bad := range map[string]streamtypes.AttributeValue{
		"nil":     nil,
		"unknown": unknown,
		"in list": &streamtypes.AttributeValueMemberL{Value: []streamtypes.AttributeValue{unknown}},
		"in map":  &streamtypes.AttributeValueMemberM{Value: map[string]streamtypes.AttributeValue{"secret": nil}},
	} {
		it, err := FromStream(map[string]streamtypes.AttributeValue{"a": bad})
		mustNotLeak(t, err, "secret")
		if !it.Absent() || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
