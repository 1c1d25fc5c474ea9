package item

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"reseal/internal/item/itemtest"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// numberGrammar is that of DynamoDB's numbers (Java's BigDecimal).
var numberGrammar = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?0*[0-9]{1,4})?$`)

// farOut tells whether the number may have an exponent beyond maxExponent, which is far beyond DynamoDB's own limit.
func farOut(s string) bool { return len(s) > 1000 || largeExponent.MatchString(s) }

var largeExponent = regexp.MustCompile(`[eE][+-]?0*[1-9][0-9]{3}$`)

// FuzzNumber holds number keys against rationals: what is a number is taken, becomes the same number, and has one spelling.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{
		"0", "-0", "1", "1.0", "+1", "1E0", "1e+2", ".5", "5.", "-12.50", "9007199254740993", "1E125", "1E-130", "9.99E+125", "10E9999", "0.1E-9999",
		"", "-", ".", "e5", "1e", "1E10000", "NaN", "0x1", "1_0", " 1", "١", strings.Repeat("9", 38), strings.Repeat("0", 60) + "1",
	} {
		f.Add(s)
	}
	schema := Schema{Hash: KeyAttribute{Name: "n", Type: types.ScalarAttributeTypeN}}
	f.Fuzz(func(t *testing.T, s string) {
		key, err := schema.KeyOf(Of(attrs{"n": num(s)}))
		wellFormed := numberGrammar.MatchString(s)
		if err == nil && !wellFormed || err != nil && wellFormed && !farOut(s) {
			t.Fatalf("%q: well-formed %t, error %v", s, wellFormed, err)
		}
		if err != nil {
			return
		}
		canonical := key.Attributes()["n"].(*types.AttributeValueMemberN).Value
		if itemtest.Rational(canonical) != itemtest.Rational(s) {
			t.Fatalf("%q became another number: %q", s, canonical)
		}
		again, err := schema.KeyOf(Of(attrs{"n": num(canonical)}))
		if err != nil || again != key {
			t.Fatalf("%q gives %q, which gives %v, %v", s, canonical, again, err)
		}
		if parsed, err := schema.ParseKey(key.ID()); err != nil || parsed != key {
			t.Fatalf("%q: its ID gives %v, %v", s, parsed, err)
		}
	})
}

// FuzzDecode holds an item, as the API writes it, against its reading by itemtest.Decode: the SDK's decoder, the Lambda event's and
// Parse must give the same item, with the same digest and size. What only they take must do no harm.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{
		`{}`, `null`, eventJSON, `{"k":{"S":"a"},"n":{"N":"1.0"}}`, `{"k":{"B":"AA=="},"l":{"L":[{"M":{"":{"NULL":true}}},{"BS":["AQ==",""]}]}}`,
		`{"a":{"S":"x","N":"1"}}`, `{"a":{"X":1}}`, `{"a":{"S":"x"},"b":{}}`, `{"a":{"NULL":false}}`, `{"a":{"SS":[]}}`, `{"a":{"N":"1_0"}}`,
		`{"a":{"L":[null]}}`, `{"a":{"S":null}}`, `{"a":null}`, `{"a":{"B":"A"}}`, `{"a":{"S":"\ud800"}}`, `{"a":{"S":"1"},"a":{"S":"2"}}`,
	} {
		f.Add([]byte(s))
	}
	for _, attribute := range slices.Sorted(maps.Keys(everyType())) {
		var image map[string]events.DynamoDBAttributeValue
		if err := json.Unmarshal([]byte(eventJSON), &image); err != nil {
			f.Fatal(err)
		}
		if value, is := image[attribute]; is {
			data, err := json.Marshal(map[string]events.DynamoDBAttributeValue{attribute: value})
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		want, odd := itemtest.Decode(data)
		ofSDK, sdkErr := decodeBySDK(t, data)
		ofEvent, eventErr := decodeByEvent(data)
		own, ownErr := Parse(data)
		for _, it := range []Item{ofSDK, ofEvent, own} {
			_, _ = it.Digest() // must not panic
			_, _ = it.Size(), it.WireSize()
		}
		if odd != nil {
			return
		}
		if sdkErr != nil || eventErr != nil || ownErr != nil {
			t.Fatalf("%s: the SDK says %v, the event %v, Parse %v", data, sdkErr, eventErr, ownErr)
		}
		reference := Of(want)
		digest, digestErr := reference.Digest()
		for name, it := range map[string]Item{"SDK": ofSDK, "event": ofEvent, "Parse": own} {
			if d, err := it.Digest(); d != digest || (err == nil) != (digestErr == nil) {
				t.Fatalf("%s by the %s: digest %x (%v), want %x (%v)", data, name, d, err, digest, digestErr)
			}
			if n, want := it.Size(), reference.Size(); n != want {
				t.Fatalf("%s by the %s: size %d, want %d", data, name, n, want)
			}
		}
	})
}

// decodeBySDK has the SDK's client read an answer with the item.
func decodeBySDK(t *testing.T, data []byte) (Item, error) {
	if !json.Valid(data) {
		return Item{}, errNoValue
	}
	client := dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String("http://localhost"), Region: "us-east-1", Credentials: aws.AnonymousCredentials{}, Retryer: aws.NopRetryer{},
		HTTPClient: answering(slices.Concat([]byte(`{"Item":`), data, []byte(`}`))),
	})
	out, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{TableName: aws.String("t"), Key: attrs{"k": str("a")}})
	if err != nil {
		return Item{}, err
	}
	return Of(out.Item), nil
}

func decodeByEvent(data []byte) (Item, error) {
	var image map[string]events.DynamoDBAttributeValue
	if err := json.Unmarshal(data, &image); err != nil {
		return Item{}, err
	}
	attributes, err := itemtest.FromEvent(image)
	return Of(attributes), err
}

// answering is an HTTP client that gets this answer to everything.
type answering []byte

func (a answering) Do(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(a))}, nil
}
