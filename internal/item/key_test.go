package item

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"reseal/internal/item/itemtest"

	"pgregory.net/rapid"
)

func schemaOf(hash, hashType, rng, rngType string) Schema {
	return Schema{
		Hash:  KeyAttribute{Name: hash, Type: types.ScalarAttributeType(hashType)},
		Range: KeyAttribute{Name: rng, Type: types.ScalarAttributeType(rngType)},
	}
}

var (
	hashOnly = schemaOf("h", "S", "", "")
	stringNr = schemaOf("country", "S", "n", "N")
)

func keyOf(t tb, s Schema, m attrs) Key {
	t.Helper()
	k, err := s.KeyOf(Of(m))
	if err != nil {
		t.Fatalf("KeyOf: %v", err)
	}
	return k
}

func description(definitions, keys [][2]string) *types.TableDescription {
	td := &types.TableDescription{}
	for _, d := range definitions {
		td.AttributeDefinitions = append(td.AttributeDefinitions,
			types.AttributeDefinition{AttributeName: aws.String(d[0]), AttributeType: types.ScalarAttributeType(d[1])})
	}
	for _, k := range keys {
		td.KeySchema = append(td.KeySchema, types.KeySchemaElement{AttributeName: aws.String(k[0]), KeyType: types.KeyType(k[1])})
	}
	return td
}

func TestSchemaOf(t *testing.T) {
	type pairs = [][2]string
	definitions := pairs{{"gsi", "B"}, {"place", "N"}, {"country", "S"}}
	tests := []struct {
		name string
		td   *types.TableDescription
		want string // "" for an error
	}{
		{"hash", description(definitions, pairs{{"country", "HASH"}}), "country (S, hash)"},
		{"hash and range", description(definitions, pairs{{"country", "HASH"}, {"place", "RANGE"}}), "country (S, hash), place (N, range)"},
		{"range first", description(definitions, pairs{{"place", "RANGE"}, {"gsi", "HASH"}}), "gsi (B, hash), place (N, range)"},
		{"nil", nil, ""},
		{"no keys", description(definitions, nil), ""},
		{"no hash", description(definitions, pairs{{"place", "RANGE"}}), ""},
		{"two hashes", description(definitions, pairs{{"country", "HASH"}, {"place", "HASH"}}), ""},
		{"undefined", description(definitions, pairs{{"other", "HASH"}}), ""},
		{"no name", description(pairs{{"", "S"}}, pairs{{"", "HASH"}}), ""},
		{"no name for range", description(pairs{{"h", "S"}, {"", "N"}}, pairs{{"h", "HASH"}, {"", "RANGE"}}), ""},
		{"bad type", description(pairs{{"k", "SS"}}, pairs{{"k", "HASH"}}), ""},
		{"bad role", description(definitions, pairs{{"country", "HASH"}, {"place", "SORT"}}), ""},
	}
	for _, test := range tests {
		s, err := SchemaOf(test.td)
		if test.want == "" {
			if err == nil {
				t.Errorf("%s: no error, schema %s", test.name, s)
			}
			continue
		}
		if err != nil || s.String() != test.want {
			t.Errorf("%s: %q, %v; want %q", test.name, s, err, test.want)
		}
	}
}

func TestKeyOfRefuses(t *testing.T) {
	tests := []struct {
		name   string
		schema Schema
		item   attrs
		names  string // the attribute that the error must name
	}{
		{"absent", hashOnly, nil, `"h"`},
		{"missing", hashOnly, attrs{"other": str("secret")}, `"h"`},
		{"nil", hashOnly, attrs{"h": nil}, `"h"`},
		{"nil pointer", hashOnly, attrs{"h": (*types.AttributeValueMemberS)(nil)}, `"h"`},
		{"N for S", hashOnly, attrs{"h": num("1")}, `"h"`},
		{"B for S", hashOnly, attrs{"h": bin([]byte("secret")...)}, `"h"`},
		{"SS for S", hashOnly, attrs{"h": strSet("secret")}, `"h"`},
		{"missing range", stringNr, attrs{"country": str("secret")}, `"n"`},
		{"S for N", stringNr, attrs{"country": str("AD"), "n": str("secret")}, `"n"`},
		{"malformed N", stringNr, attrs{"country": str("AD"), "n": num("1secret")}, `"n"`},
		{"S for B", schemaOf("b", "B", "", ""), attrs{"b": str("secret")}, `"b"`},
		{"schema without type", schemaOf("h", "", "", ""), attrs{"h": str("secret")}, `"h"`},
		{"no schema", Schema{}, attrs{"h": str("secret")}, `""`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k, err := test.schema.KeyOf(Of(test.item))
			mustNotLeak(t, err, "secret")
			if k != (Key{}) || !strings.Contains(err.Error(), test.names) {
				t.Errorf("key %v, error %v", k, err)
			}
		})
	}
}

func TestKeyGolden(t *testing.T) {
	k := keyOf(t, stringNr, attrs{"n": num("5E-1"), "country": str("AD"), "other": null()})
	if want := "S\x02ADN\x030.5"; k.ID() != want {
		t.Errorf("ID %q, want %q", k.ID(), want)
	}
	d := k.Digest()
	if got, want := hex.EncodeToString(d[:]), "460fe28f2ffd38be3014b0da291429ce520059c35870bd00989de8b90c228daf"; got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
	if d != sha256.Sum256([]byte(k.ID())) {
		t.Error("digest isn't that of the ID")
	}
}

func TestKeyAttributesAndJSON(t *testing.T) {
	long := strings.Repeat("x", 2048)
	tests := []struct {
		name   string
		schema Schema
		item   attrs
		want   attrs
		json   string // "" for not checked as text
	}{
		{
			"hash first", schemaOf("z", "S", "a", "N"),
			attrs{"a": num("5.0"), "z": str("AD"), "more": str("x")},
			attrs{"a": num("5"), "z": str("AD")},
			`{"z":{"S":"AD"},"a":{"N":"5"}}`,
		},
		{
			"binary", schemaOf("b", "B", "", ""),
			attrs{"b": bin(0, 255, 16)},
			attrs{"b": bin(0, 255, 16)},
			`{"b":{"B":"AP8Q"}}`,
		},
		{
			"big number", schemaOf("n", "N", "", ""),
			attrs{"n": num("10E124")},
			attrs{"n": num("1E125")},
			`{"n":{"N":"1E125"}}`,
		},
		{
			"no HTML escapes", hashOnly,
			attrs{"h": str("<a>&")},
			attrs{"h": str("<a>&")},
			`{"h":{"S":"<a>&"}}`,
		},
		{
			"escapes", schemaOf("we\"ird\\\n", "S", "r", "B"),
			attrs{"we\"ird\\\n": str("\"\\\x00\x1f\u2028\u2029é\U0001f600\n"), "r": bin('"')},
			attrs{"we\"ird\\\n": str("\"\\\x00\x1f\u2028\u2029é\U0001f600\n"), "r": bin('"')},
			"",
		},
		{"long", hashOnly, attrs{"h": str(long)}, attrs{"h": str(long)}, `{"h":{"S":"` + long + `"}}`},
	}
	for _, test := range tests {
		k := keyOf(t, test.schema, test.item)
		compareBits(t, k.Attributes(), test.want)
		text, err := k.JSON()
		if err != nil || (test.json != "" && text != test.json) {
			t.Errorf("%s: JSON %s, %v", test.name, text, err)
		}
		compareBits(t, parseKeyJSON(t, text), test.want)
	}
}

// parseKeyJSON reads DynamoDB JSON with nothing but encoding/json.
func parseKeyJSON(t tb, text string) attrs {
	t.Helper()
	var parsed map[string]map[string]string
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		t.Fatalf("parse %s: %v", text, err)
	}
	out := attrs{}
	for name, typed := range parsed {
		for kind, text := range typed {
			switch kind {
			case "S":
				out[name] = str(text)
			case "N":
				out[name] = num(text)
			case "B":
				b, err := base64.StdEncoding.DecodeString(text)
				if err != nil {
					t.Fatalf("decode %s: %v", text, err)
				}
				out[name] = bin(b...)
			}
		}
	}
	return out
}

func TestKeyJSONRefuses(t *testing.T) {
	for name, k := range map[string]Key{
		"zero key":       {},
		"value not UTF8": keyOf(t, hashOnly, attrs{"h": str("secret\xff")}),
		"name not UTF8":  keyOf(t, schemaOf("secret\xff", "S", "", ""), attrs{"secret\xff": str("x")}),
	} {
		text, err := k.JSON()
		mustNotLeak(t, err, "secret")
		if text != "" {
			t.Errorf("%s: %s", name, text)
		}
	}
	if got := (Key{}).Attributes(); got != nil {
		t.Errorf("attributes of the zero key: %v", got)
	}
}

func TestParseKeyRefuses(t *testing.T) {
	number, binary := schemaOf("n", "N", "", ""), schemaOf("b", "B", "", "")
	tests := []struct {
		name   string
		schema Schema
		id     string
	}{
		{"nothing", hashOnly, ""},
		{"tag alone", hashOnly, "S"},
		{"other type", hashOnly, "N\x011"},
		{"unknown tag", hashOnly, "X\x011"},
		{"type of an item's map", hashOnly, "M\x00"},
		{"cut short", hashOnly, "S\x03AD"},
		{"trailing byte", hashOnly, "S\x02ADx"},
		{"second value without range", hashOnly, "S\x02ADN\x015"},
		{"range missing", stringNr, "S\x02AD"},
		{"range of another type", stringNr, "S\x02ADS\x015"},
		{"range trailing byte", stringNr, "S\x02ADN\x015\x00"},
		{"swapped", stringNr, "N\x015S\x02AD"},
		{"length in two bytes for one", hashOnly, "S\x82\x00AD"},
		{"zero length in two bytes", hashOnly, "S\x80\x00"},
		{"length cut short", hashOnly, "S\x80"},
		{"length beyond 64 bits", hashOnly, "S\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f"},
		{"length of 2^63", hashOnly, "S\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"},
		{"number not normalised", number, "N\x031.0"},
		{"number with zero before", number, "N\x0201"},
		{"minus zero", number, "N\x02-0"},
		{"plus", number, "N\x02+1"},
		{"small exponent", number, "N\x031E2"},
		{"no number", number, "N\x06secret"},
		{"empty number", number, "N\x00"},
		{"binary as string", binary, "S\x011"},
		{"no schema", Schema{}, "S\x02AD"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k, err := test.schema.ParseKey(test.id)
			mustNotLeak(t, err, "secret")
			if k != (Key{}) {
				t.Errorf("key %v with error %v", k, err)
			}
		})
	}
}

var (
	kindGen   = rapid.SampledFrom([]string{"S", "N", "B"})
	schemaGen = rapid.Custom(func(t *rapid.T) Schema {
		if rapid.Bool().Draw(t, "range") {
			return schemaOf("h", kindGen.Draw(t, "hash type"), "r", kindGen.Draw(t, "range type"))
		}
		return schemaOf("h", kindGen.Draw(t, "hash type"), "", "")
	})
)

func drawKey(t *rapid.T, s Schema, label string) attrs {
	m := attrs{"other": itemtest.Value(1).Draw(t, label+" other")}
	for _, attribute := range s.attributes() {
		switch attribute.Type {
		case types.ScalarAttributeTypeS:
			m[attribute.Name] = str(itemtest.Text.Draw(t, label))
		case types.ScalarAttributeTypeN:
			m[attribute.Name] = num(itemtest.Number.Draw(t, label))
		case types.ScalarAttributeTypeB:
			m[attribute.Name] = bin(itemtest.Bytes.Draw(t, label)...)
		}
	}
	return m
}

func describeKey(s Schema, m attrs) string {
	var text string
	for _, attribute := range s.attributes() {
		text += itemtest.Oracle(m[attribute.Name]) + ";"
	}
	return text
}

func TestKeyIDEqualExactlyIfAttributesAre(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := schemaGen.Draw(t, "schema")
		a, b := drawKey(t, s, "a"), drawKey(t, s, "b")
		for _, attribute := range s.attributes() {
			if rapid.Bool().Draw(t, "same "+attribute.Name) {
				b[attribute.Name] = itemtest.Disguise(t, a[attribute.Name])
			}
		}
		ka, kb := keyOf(t, s, a), keyOf(t, s, b)
		same := describeKey(s, a) == describeKey(s, b)
		if (ka.ID() == kb.ID()) != same || (ka == kb) != same || (ka.Digest() == kb.Digest()) != same {
			t.Fatalf("IDs %q and %q; attributes equal: %v", ka.ID(), kb.ID(), same)
		}
	})
}

// Hash and range must not run into each other.
func TestKeyIDSeparatesValues(t *testing.T) {
	s := schemaOf("h", "S", "r", "S")
	seen := map[string]bool{}
	pairs := [][2]string{{"a", "bc"}, {"ab", "c"}, {"", "abc"}, {"abc", ""}, {"a", "S\x01b"}, {"aS\x01b", ""}, {"c", "ab"}}
	for _, pair := range pairs {
		seen[keyOf(t, s, attrs{"h": str(pair[0]), "r": str(pair[1])}).ID()] = true
	}
	if len(seen) != len(pairs) {
		t.Errorf("%d IDs for %d keys", len(seen), len(pairs))
	}
}

func TestParseKeyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := schemaGen.Draw(t, "schema")
		m := drawKey(t, s, "key")
		k := keyOf(t, s, m)
		parsed, err := s.ParseKey(k.ID())
		if err != nil || parsed != k {
			t.Fatalf("ParseKey(%q) = %v, %v", k.ID(), parsed, err)
		}
		got := parsed.Attributes()
		if len(got) != len(s.attributes()) || describeKey(s, got) != describeKey(s, m) {
			t.Fatalf("attributes %v", got)
		}
		text, err := parsed.JSON()
		if err != nil || !reflect.DeepEqual(keyOf(t, s, parseKeyJSON(t, text)), k) {
			t.Fatalf("JSON %s, %v", text, err)
		}
	})
}

// Whatever ParseKey accepts is the ID of the key that it gives: one bit
// changed, a byte added or dropped never gives an ID in a second form.
func TestParseKeyAcceptsOnlyIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := schemaGen.Draw(t, "schema")
		id := []byte(keyOf(t, s, drawKey(t, s, "key")).ID())
		i := rapid.IntRange(0, len(id)-1).Draw(t, "position")
		switch rapid.IntRange(0, 3).Draw(t, "damage") {
		case 0:
			id[i] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		case 1:
			id = append(id[:i], id[i+1:]...)
		case 2:
			id = append(id[:i+1], id[i:]...)
		default:
			id[i] = rapid.Byte().Draw(t, "byte")
		}
		k, err := s.ParseKey(string(id))
		if err != nil {
			return
		}
		if again := keyOf(t, s, k.Attributes()); again.ID() != string(id) {
			t.Fatalf("%q parses, but its key's ID is %q", id, again.ID())
		}
	})
}
