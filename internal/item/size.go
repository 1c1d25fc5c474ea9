package item

import (
	"encoding/base64"
	"math"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Size returns the item's size in bytes by DynamoDB's accounting rule: for
// every attribute the UTF-8 bytes of its name and the size of its value. Source:
// "DynamoDB item sizes and formats" in the DynamoDB Developer Guide, which calls
// the size of a number approximate (see numberSize). An absent item has size 0.
func (it Item) Size() int {
	size := 0
	for name, value := range it.attrs {
		size += len(name) + valueSize(value)
	}
	return size
}

// WriteUnits returns the capacity units that writing the item takes: one per
// 1,024 bytes begun, at least one. A transaction takes twice as many.
func (it Item) WriteUnits() float64 {
	return units(it.Size(), 1024)
}

// ReadUnits returns the capacity units of a strongly consistent read: one per
// 4,096 bytes begun, at least one. An eventually consistent read takes half.
func (it Item) ReadUnits() float64 {
	return units(it.Size(), 4096)
}

func units(size, perUnit int) float64 {
	return max(1, math.Ceil(float64(size)/float64(perUnit)))
}

const (
	collectionOverhead = 3 // bytes of a list or map, whatever it holds
	elementOverhead    = 1 // bytes of each element of a list or map
)

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

// numberSize is one byte for every pair of significant digits, one more, and
// one for a minus sign. The guide leaves open which digits pair up; this is the
// rule of github.com/zaccharles/dynamodb-calculator, which counts the pairs from
// the decimal point (12.5 is 12 50, 123 is 01 23), but without its upper limit of
// 21 bytes: a size that is a byte too large is better than one too small. A
// malformed number counts every byte as a digit.
func numberSize(s string) int {
	var scratch [64]byte
	n, err := parseNumber(scratch[:0], s)
	if err != nil {
		return (len(s)+1)/2 + 1
	}
	if len(n.digits) == 0 {
		return 1
	}
	first, last := n.exp+len(n.digits)-1, n.exp // powers of ten
	pairs := first>>1 - last>>1 + 1             // >> rounds down below zero, too
	size := pairs + 1
	if n.neg {
		size++
	}
	return size
}

// WireSize returns an upper bound, in bytes, of the item as DynamoDB JSON the
// way the SDK writes it. The SDK has two encoders: the client's (smithy-go,
// transport/http/protocol/internal/json) and the older encoding/json, which
// attributevalue uses. The bound is exact for the client's but for true, counted
// as false, and for bytes that aren't UTF-8, counted as the older encoder's
// `\ufffd`. The older encoder writes U+007F in one byte, which counts as six.
func (it Item) WireSize() int {
	return wireMap(it.attrs)
}

func wireMap(attrs map[string]types.AttributeValue) int {
	size := len(`{}`) + separators(len(attrs))
	for name, value := range attrs {
		size += wireString(name) + len(`:`) + wireValue(value)
	}
	return size
}

func wireValue(av types.AttributeValue) int {
	if isNil(av) {
		return 0 // the SDK writes nothing, or refuses
	}
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		return len(`{"S":}`) + wireString(v.Value)
	case *types.AttributeValueMemberN:
		return len(`{"N":}`) + wireString(v.Value)
	case *types.AttributeValueMemberB:
		return len(`{"B":}`) + wireBinary(v.Value)
	case *types.AttributeValueMemberBOOL, *types.AttributeValueMemberNULL:
		return len(`{"BOOL":false}`)
	case *types.AttributeValueMemberSS:
		return len(`{"SS":[]}`) + wireList(v.Value, wireString)
	case *types.AttributeValueMemberNS:
		return len(`{"NS":[]}`) + wireList(v.Value, wireString)
	case *types.AttributeValueMemberBS:
		return len(`{"BS":[]}`) + wireList(v.Value, wireBinary)
	case *types.AttributeValueMemberL:
		return len(`{"L":[]}`) + wireList(v.Value, wireValue)
	case *types.AttributeValueMemberM:
		return len(`{"M":}`) + wireMap(v.Value)
	default:
		return 0
	}
}

func wireList[T any](list []T, wire func(T) int) int {
	size := separators(len(list))
	for _, element := range list {
		size += wire(element)
	}
	return size
}

// separators is the number of commas between so many elements.
func separators(count int) int {
	return max(0, count-1)
}

func wireBinary(b []byte) int {
	if b == nil {
		return len(`null`)
	}
	return len(`""`) + base64.StdEncoding.EncodedLen(len(b))
}

// wireString is the length of s as a JSON string, by the longer of the two
// encoders' rules.
func wireString(s string) int {
	size := len(`""`)
	for i := 0; i < len(s); {
		c, width := utf8.DecodeRuneInString(s[i:])
		switch {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t':
			size += len(`\n`)
		case c < ' ' || c == '\u007f' || c == '\u2028' || c == '\u2029' || (c == utf8.RuneError && width == 1):
			size += len(`\u0000`)
		default:
			size += width
		}
		i += width
	}
	return size
}
