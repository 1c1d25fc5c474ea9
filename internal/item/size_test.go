package item

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"reseal/internal/item/itemtest"

	"pgregory.net/rapid"
)

func TestSize(t *testing.T) {
	tests := []struct {
		name string
		item attrs
		want int
	}{
		{"no attributes", attrs{}, 0},
		{"absent", nil, 0},
		{"string", attrs{"name": str("value")}, 4 + 5},
		{"string and name in UTF-8 bytes", attrs{"é": str("日本")}, 2 + 6},
		{"empty string", attrs{"a": str("")}, 1},
		{"binary raw, not base64", attrs{"a": bin(0, 1, 2, 3)}, 1 + 4},
		{"booleans and null", attrs{"a": boolean(true), "b": boolean(false), "c": null()}, 3 * (1 + 1)},
		{"zero", attrs{"a": num("0")}, 1 + 1},
		{"one digit", attrs{"a": num("7")}, 1 + 2},
		{"two digits", attrs{"a": num("42")}, 1 + 2},
		{"three digits", attrs{"a": num("123")}, 1 + 3},
		{"zeros trimmed", attrs{"a": num("001200")}, 1 + 2},
		{"digits in two pairs", attrs{"a": num("12000")}, 1 + 3},
		{"a pair on each side of the point", attrs{"a": num("1.5")}, 1 + 3},
		{"fraction's zeros trimmed", attrs{"a": num("0.00120")}, 1 + 2},
		{"fraction in two pairs", attrs{"a": num("0.012")}, 1 + 3},
		{"exponent costs nothing", attrs{"a": num("12E98")}, 1 + 2},
		{"tiny", attrs{"a": num("1E-130")}, 1 + 2},
		{"negative", attrs{"a": num("-123")}, 1 + 4},
		{"38 digits", attrs{"a": num(strings.Repeat("9", 38))}, 1 + 20},
		{"38 digits in 20 pairs", attrs{"a": num(strings.Repeat("9", 37) + ".9")}, 1 + 21},
		{"negative 38 digits in 20 pairs", attrs{"a": num("-" + strings.Repeat("9", 37) + ".9")}, 1 + 22},
		{"malformed number", attrs{"a": num("oops")}, 1 + 3},
		{"empty list", attrs{"a": listOf()}, 1 + 3},
		{"empty map", attrs{"a": mapOf(attrs{})}, 1 + 3},
		{"list", attrs{"a": listOf(str("xyz"), null())}, 1 + 3 + (1 + 3) + (1 + 1)},
		{"map", attrs{"a": mapOf(attrs{"key": str("xy")})}, 1 + 3 + (1 + 3 + 2)},
		{"nested", attrs{"a": listOf(mapOf(attrs{"k": listOf()}))}, 1 + 3 + 1 + 3 + (1 + 1 + 3)},
		{"string set", attrs{"a": strSet("x", "éy")}, 1 + 1 + 3},
		{"number set", attrs{"a": numSet("1", "-123")}, 1 + 2 + 4},
		{"binary set", attrs{"a": binSet([]byte{1}, []byte{2, 3})}, 1 + 1 + 2},
		{"nil value", attrs{"a": nil}, 1},
		{"nil pointer", attrs{"a": (*types.AttributeValueMemberS)(nil)}, 1},
	}
	for _, test := range tests {
		if got := Of(test.item).Size(); got != test.want {
			t.Errorf("%s: %d bytes, want %d", test.name, got, test.want)
		}
	}
}

func TestUnits(t *testing.T) {
	tests := []struct {
		size        int
		write, read float64
	}{
		{1, 1, 1},
		{1024, 1, 1},
		{1025, 2, 1},
		{2048, 2, 1},
		{4096, 4, 1},
		{4097, 5, 2},
		{400 * 1024, 400, 100},
	}
	for _, test := range tests {
		it := single(str(strings.Repeat("x", test.size-1)))
		if it.Size() != test.size || it.WriteUnits() != test.write || it.ReadUnits() != test.read {
			t.Errorf("%d bytes: size %d, %v WCU, %v RCU", test.size, it.Size(), it.WriteUnits(), it.ReadUnits())
		}
	}
	if none := (Item{}); none.WriteUnits() != 1 || none.ReadUnits() != 1 {
		t.Errorf("absent item: %v WCU, %v RCU", none.WriteUnits(), none.ReadUnits())
	}
}

var errCaptured = errors.New("request captured")

// capture is a transport that keeps the request's body and sends nothing.
type capture struct{ body []byte }

func (c *capture) Do(r *http.Request) (*http.Response, error) {
	var err error
	if c.body, err = io.ReadAll(r.Body); err != nil {
		return nil, err
	}
	return nil, errCaptured
}

// wireClient has the SDK's client encode items as it does for DynamoDB.
type wireClient struct {
	http   *capture
	client *dynamodb.Client
}

func newWireClient() wireClient {
	c := &capture{}
	return wireClient{http: c, client: dynamodb.New(dynamodb.Options{
		Region:      "us-east-1",
		HTTPClient:  c,
		Retryer:     aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})}
}

// encode returns the item as PutItem sends it.
func (w wireClient) encode(t tb, m attrs) []byte {
	t.Helper()
	_, err := w.client.PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String("table"), Item: m})
	if !errors.Is(err, errCaptured) {
		t.Fatalf("PutItem: %v", err)
	}
	var body struct{ Item json.RawMessage }
	if err := json.Unmarshal(w.http.body, &body); err != nil {
		t.Fatalf("parse request: %v", err)
	}
	return body.Item
}

func checkWireSize(t tb, w wireClient, m attrs) {
	t.Helper()
	older, err := attributevalue.MarshalMapJSON(m)
	if err != nil {
		t.Fatalf("MarshalMapJSON: %v", err)
	}
	sent := w.encode(t, m)
	size := Of(m).WireSize()
	if size < len(sent) || size < len(older) {
		t.Fatalf("WireSize %d, but the SDK writes %d and %d bytes", size, len(sent), len(older))
	}
	// The bound gives away one byte for each true, no more.
	if slack := bytes.Count(sent, []byte("true")); size > len(sent)+slack {
		t.Fatalf("WireSize %d, but the client writes %d bytes", size, len(sent))
	}
}

func TestWireSize(t *testing.T) {
	w := newWireClient()
	items := map[string]attrs{
		"empty":     {},
		"every":     everyType(),
		"event":     wantEvent(),
		"name":      {"\"\\\n\x01\u2028é": str("x")},
		"plain":     {"a": str(strings.Repeat("x", 5000))},
		"controls":  {"a": str(strings.Repeat("\x00\x1f\x7f", 500))},
		"short":     {"a": str(strings.Repeat("\"\\\n\r\t\b\f/<>&", 500))},
		"separator": {"a": str(strings.Repeat("\u2028\u2029\u202a", 500))},
		"unicode":   {"a": str(strings.Repeat("é日\U0001f600\ufffd", 500))},
		"binary":    {"a": bin(make([]byte, 3000)...), "b": bin(make([]byte, 3001)...), "c": bin(make([]byte, 3002)...)},
		"nil bytes": {"a": &types.AttributeValueMemberB{}},
		"deep":      {"a": deep(32, num("1"))},
	}
	for name, v := range distinct() {
		items["value "+name] = attrs{"a": v}
	}
	for name, m := range items {
		t.Run(name, func(t *testing.T) { checkWireSize(t, w, m) })
	}
}

func TestWireSizeRandom(t *testing.T) {
	w := newWireClient()
	rapid.Check(t, func(t *rapid.T) { checkWireSize(t, w, itemtest.Attributes.Draw(t, "item")) })
}

// Text that isn't UTF-8: one encoder escapes, the other one writes U+FFFD.
func TestWireSizeBrokenText(t *testing.T) {
	w := newWireClient()
	for _, text := range []string{"\xff", strings.Repeat("\xff\xfe\x80", 100), "ok\xe2\x80", "\xed\xa0\x80x"} {
		m := attrs{"a": str(text)}
		size, written := Of(m).WireSize(), len(w.encode(t, m))
		if size < written || size > 2*written {
			t.Errorf("%q: WireSize %d, the SDK writes %d", text, size, written)
		}
		old, err := attributevalue.MarshalMapJSON(m)
		if err != nil || size != len(old) {
			t.Errorf("%q: WireSize %d, the old encoder writes %d, %v", text, size, len(old), err)
		}
	}
}
