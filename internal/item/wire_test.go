package item

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"reseal/internal/item/itemtest"

	"pgregory.net/rapid"
)

// wireClient has the SDK's client encode and decode items as it does for DynamoDB: its transport keeps the request's body and answers
// with the given one.
type wireClient struct{ sent, answer []byte }

func (w *wireClient) Do(r *http.Request) (*http.Response, error) {
	var err error
	if w.sent, err = io.ReadAll(r.Body); err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(w.answer)), ContentLength: int64(len(w.answer)),
	}, nil
}

func (w *wireClient) client() *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		Region: "us-east-1", HTTPClient: w, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("id", "secret", ""),
	})
}

// encode returns the item as the SDK's PutItem sends it.
func encode(t tb, m attrs) []byte {
	t.Helper()
	w := &wireClient{answer: []byte("{}")}
	if _, err := w.client().PutItem(context.Background(), &dynamodb.PutItemInput{TableName: aws.String("table"), Item: m}); err != nil {
		t.Fatalf("PutItem: %v", err)
	}
	var body struct{ Item json.RawMessage }
	if err := json.Unmarshal(w.sent, &body); err != nil {
		t.Fatalf("parse request: %v", err)
	}
	return bytes.ReplaceAll(body.Item, []byte(`{"B":null}`), []byte(`{"B":""}`)) // which it makes of nil bytes; DynamoDB refuses it
}

// decode returns the item as the SDK's GetItem reads it.
func decode(text []byte) (attrs, error) {
	w := &wireClient{answer: fmt.Appendf(nil, `{"Item":%s}`, text)}
	out, err := w.client().GetItem(context.Background(), &dynamodb.GetItemInput{
		TableName: aws.String("table"), Key: attrs{"k": str("k")},
	})
	if err != nil {
		return nil, err
	}
	return out.Item, nil
}

// mustBe checks that an item of bytes is in every respect the one that the reference makes of m.
func mustBe(t tb, it Item, m attrs) {
	t.Helper()
	want, err := canonicalBytes(m)
	if err != nil {
		t.Fatalf("reference: %v", err)
	}
	e := newEncoder()
	defer e.release()
	if err := e.item(it); err != nil {
		t.Fatalf("encode %s: %v", it.JSON(), err)
	}
	if !bytes.Equal(e.buf, want) {
		t.Fatalf("%s: encoding %q, want %q", it.JSON(), e.buf, want)
	}
	if got, want := it.Size(), referenceSize(m); got != want {
		t.Fatalf("%s: size %d, want %d", it.JSON(), got, want)
	}
	if got := it.Attributes(); itemtest.Oracle(mapOf(got)) != itemtest.Oracle(mapOf(m)) {
		t.Fatalf("%s: attributes %v, want %v", it.JSON(), got, m)
	}
}

// samples are items with whatever is awkward about JSON.
func samples() map[string]attrs {
	items := map[string]attrs{
		"empty":     {},
		"every":     everyType(),
		"event":     wantEvent(),
		"name":      {"\"\\\n\x01\u2028é": str("x"), "": str("no name")},
		"plain":     {"a": str(strings.Repeat("x", 5000))},
		"controls":  {"a": str(strings.Repeat("\x00\x1f\x7f", 500))},
		"short":     {"a": str(strings.Repeat("\"\\\n\r\t\b\f/<>&", 500))},
		"separator": {"a": str(strings.Repeat("\u2028\u2029\u202a", 500))},
		"unicode":   {"a": str(strings.Repeat("é日\U0001f600\ufffd", 500))},
		"binary":    {"a": bin(make([]byte, 3000)...), "b": bin(make([]byte, 3001)...), "c": bin(make([]byte, 3002)...)},
		"deep":      {"a": deep(32, num("1"))},
		"many":      {},
	}
	for i := range 500 {
		items["many"][fmt.Sprintf("attribute %d", i*7919%500)] = num(fmt.Sprint(i))
	}
	for name, v := range distinct() {
		items["value "+name] = attrs{"a": v}
	}
	return items
}

// What the SDK sends, and what Of writes, is read as the reference has it; and the SDK reads what Of writes bit for bit.
func mustAgree(t tb, m attrs) {
	t.Helper()
	it := Of(m)
	mustBe(t, it, m)
	sent, err := Parse(encode(t, m))
	if err != nil {
		t.Fatal(err)
	}
	mustBe(t, sent, m)
	back, err := decode(it.JSON())
	if err != nil {
		t.Fatalf("the SDK can't read %s: %v", it.JSON(), err)
	}
	if !reflect.DeepEqual(back, it.Attributes()) {
		t.Fatalf("%s: the SDK reads %#v, Attributes %#v", it.JSON(), back, it.Attributes())
	}
	same, err := Equal(it, sent)
	if err != nil || !same {
		t.Fatalf("Equal: %t, %v", same, err)
	}
}

func TestBytesAgreeWithTheSDK(t *testing.T) {
	for name, m := range samples() {
		t.Run(name, func(t *testing.T) { mustAgree(t, m) })
	}
}

func TestBytesAgreeWithTheSDKAtRandom(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) { mustAgree(t, itemtest.Attributes.Draw(t, "item")) })
}

// White space and escapes, wherever JSON allows them, change nothing.
func TestBytesSpelledOtherwise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := itemtest.Attributes.Draw(t, "item")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "spelling"), 0))
		text := respell(random, Of(m).JSON())
		it, err := Parse(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		mustBe(t, it, m)
		schema := schemaOf("k", "S", "", "")
		with := respell(random, Of(union(m, attrs{"k": str("é\"x")})).JSON())
		keyed, err := Parse(with)
		if err != nil {
			t.Fatalf("%s: %v", with, err)
		}
		if got, want := mustKey(t, schema, keyed), keyOf(t, schema, attrs{"k": str("é\"x")}); got != want {
			t.Fatalf("%s: key %q, want %q", with, got.ID(), want.ID())
		}
	})
}

func mustKey(t tb, s Schema, it Item) Key {
	t.Helper()
	key, err := s.KeyOf(it)
	if err != nil {
		t.Fatalf("KeyOf: %v", err)
	}
	return key
}

// respell writes the same JSON with white space and escapes drawn at random. Type names stay as they are.
func respell(random *rand.Rand, text []byte) []byte {
	var out []byte
	inside := false
	for i := 0; i < len(text); {
		c, width := utf8.DecodeRune(text[i:])
		switch {
		case c == '"':
			inside = !inside
			out = append(out, '"')
		case inside && c == '\\':
			width = 2
			if text[i+1] == 'u' {
				width = 6
			}
			out = append(out, text[i:i+width]...)
		case inside && random.IntN(4) == 0 && !isTypeName(text, i) && (c != utf8.RuneError || width == 3):
			out = append(out, escaped(c)...)
		default:
			out = append(out, text[i:i+width]...)
		}
		i += width
		if !inside && random.IntN(4) == 0 && (i == len(text) || strings.IndexByte("truefalsn", text[i]) < 0) {
			out = append(out, " \n\r\t"[random.IntN(4)])
		}
	}
	return out
}

func escaped(c rune) string {
	if c == '/' {
		return `\/`
	}
	if c > 0xffff {
		c -= 0x10000
		return fmt.Sprintf(`\u%04X\u%04x`, 0xd800+c>>10, 0xdc00+c&0x3ff)
	}
	return fmt.Sprintf(`\u%04x`, c)
}

// isTypeName tells whether the letter at i is in a string that may be the name of a type.
func isTypeName(text []byte, i int) bool {
	start := bytes.LastIndexByte(text[:i], '"') + 1
	end := i + bytes.IndexByte(text[i:], '"')
	_, err := kindOf(text[start:end])
	return err == nil
}

// What the SDK refuses, or reads as something else than it is, is an error here.
func TestMalformedBytesAreErrors(t *testing.T) {
	for _, text := range []string{
		``, `{`, `{}x`, `[]`, `null`, `{"a"}`, `{"a":}`, `{"a":1}`, `{"a":"secret"}`, `{"a":{}}`, `{"a":null}`, `{"a":{"S":null}}`,
		`{"a":{"S":"secret"}`, `{"a":{"S":"secret}}`, `{"a":{"S":"secret\"}}`, `{"a":{"S":1}}`, `{"a":{"S":"x","N":"1"}}`, `{"a":{"S":"x"},}`,
		`{"a":{"S":"x"}"b":{"S":"x"}}`, `{,"a":{"S":"x"}}`, `{"a":{"X":"secret"}}`, `{"a":{"s":"x"}}`, `{"a":{"\u0053":"x"}}`, `{"a":{"NULL":false}}`,
		`{"a":{"NULL":1}}`, `{"a":{"BOOL":"true"}}`, `{"a":{"BOOL":1}}`, `{"a":{"BOOL":tru}}`, `{"a":{"L":{}}}`, `{"a":{"M":[]}}`, `{"a":{"SS":["a",]}}`,
		`{"a":{"SS":["a" "b"]}}`, `{"a":{"SS":[1]}}`, `{"a":{"L":["a"]}}`, `{"a":{"S":"\x"}}`, `{"a":{"S":"\u12"}}`, `{"a":{"S":"\u12g4"}}`,
		`{"a":{"N":"1 "}}`, `{"a":{"N":"secret"}}`, `{"a":{"NS":["1","0x10"]}}`, `{"a":{"B":"secret!"}}`, `{"a":{"B":"YQ"}}`, `{"a":{"BS":["YQ==","*"]}}`,
		`{"a":{"S":"x"},"b":{"S":"x"},"a":{"S":"secret"}}`, `{"a":{"M":{"b":{"S":"x"},"\u0062":{"S":"x"}}}}`,
		`{"a":` + strings.Repeat(`{"L":[`, 200) + strings.Repeat(`]}`, 200) + `}`,
	} {
		it, err := Parse([]byte(text))
		if err == nil {
			_, err = it.Digest()
		}
		if err == nil {
			t.Errorf("%s: no error", text)
			continue
		}
		mustNotLeak(t, err, "secret")
	}
}

// Lists of items are cut where they end.
func TestCut(t *testing.T) {
	text := []byte(`  {"a":{"S":"}]\"{"}} , {"b":{"L":[{"M":{}}]}}]`)
	first, rest, err := Cut(text)
	if err != nil || string(first.JSON()) != `{"a":{"S":"}]\"{"}}` {
		t.Fatalf("%s, %v", first.JSON(), err)
	}
	second, rest, err := Cut(rest[len(" ,"):])
	if err != nil || string(second.JSON()) != `{"b":{"L":[{"M":{}}]}}` || string(rest) != "]" {
		t.Fatalf("%s, %q, %v", second.JSON(), rest, err)
	}
}

func TestKeysOf(t *testing.T) {
	items := []Item{Of(attrs{"country": str("AD"), "n": num("1.0")}), Of(attrs{"n": num("-2"), "x": null(), "country": str("")})}
	keys, err := stringNr.KeysOf(items)
	if err != nil || len(keys) != 2 {
		t.Fatalf("%v, %v", keys, err)
	}
	for i, it := range items {
		if want := mustKey(t, stringNr, it); keys[i] != want || keys[i].Clone() != want {
			t.Errorf("key %d is %q, want %q", i, keys[i].ID(), want.ID())
		}
	}
	if _, err := stringNr.KeysOf(append(items, Of(attrs{"n": num("1")}))); err == nil || !strings.Contains(err.Error(), `"country"`) {
		t.Errorf("an item without a key: %v", err)
	}
}

// FuzzItem: what has a digest is read by the SDK, too, as an item with that digest by the reference. But for text that isn't UTF-8, of
// which the SDK makes U+FFFD, and control characters, which JSON wants escaped: they are taken as they are here.
func FuzzItem(f *testing.F) {
	for _, m := range samples() {
		f.Add(Of(m).JSON())
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		it, err := Parse(text)
		if err != nil {
			return
		}
		if _, err := it.Digest(); err != nil || !utf8.Valid(text) || bytes.ContainsFunc(text, unicode.IsControl) {
			return
		}
		m, err := decode(it.JSON())
		if err != nil {
			t.Fatalf("%q has a digest, but the SDK refuses it: %v", text, err)
		}
		mustBe(t, it, m)
	})
}
