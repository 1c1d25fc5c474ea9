package item

import (
	"encoding/hex"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"reseal/internal/item/itemtest"

	"pgregory.net/rapid"
)

// everyType is an item with every attribute type, awkward spellings included.
func everyType() attrs {
	return attrs{
		"S": str("Zürich \"quoted\"\n\u2028"), "long": str(strings.Repeat("x", 300)),
		"N": num("-12.50"), "big": num("9." + strings.Repeat("9", 37) + "E+125"), "tiny": num("0.1E-129"),
		"B": bin(0, 255, 128), "t": boolean(true), "f": boolean(false), "null": null(),
		"emptyS": str(""), "emptyB": bin(), "emptyL": listOf(), "emptyM": mapOf(attrs{}),
		"SS": strSet("é", "b", "a"), "NS": numSet("9", "1E1", "-1.0"), "BS": binSet([]byte{2}, []byte{1, 0}),
		"L": listOf(str("1"), num("1"), bin('1'), listOf(null()), mapOf(attrs{"é": boolean(true), "z": boolean(false)})),
	}
}

// The digests were made by another implementation of the format in encode.go,
// in Python. If this test fails the format has drifted.
func TestDigestGolden(t *testing.T) {
	tests := []struct {
		name string
		item attrs
		want string
	}{
		{"no attributes", attrs{}, "fcfcd4ecebe43ba403cb968bafa849a96f301ace87357a2e235ceb06dc226947"},
		{"small", attrs{"n": num("5.0"), "country": str("AD")}, "085b48c1c36ee43f152f9aaccdecf22c7062e36857b68a4d8c190849d1e09b12"},
		{"every type", everyType(), "2c2688fc6a0e94fac311927c863fd609c12596bc2843d8f7e3754165060e588d"},
	}
	for _, test := range tests {
		d := digestOf(t, Of(test.item))
		if got := hex.EncodeToString(d[:]); got != test.want {
			t.Errorf("%s: digest %s, want %s", test.name, got, test.want)
		}
	}
}

// distinct lists values of which no two are equal to DynamoDB.
func distinct() map[string]value {
	digits := "1234567890123456789012345678901234567"
	return map[string]value{
		"NULL": null(), "true": boolean(true), "false": boolean(false),
		"empty S": str(""), "empty B": bin(), "empty L": listOf(), "empty M": mapOf(attrs{}),
		"S 1": str("1"), "N 1": num("1"), "B 1": bin('1'), "S 1.0": str("1.0"), "S true": str("true"), "S NULL": str("NULL"),
		"SS 1": strSet("1"), "NS 1": numSet("1"), "BS 1": binSet([]byte("1")), "L of S 1": listOf(str("1")), "L of N 1": listOf(num("1")),
		"SS empty S": strSet(""), "BS empty B": binSet([]byte{}), "L NULL": listOf(null()),
		"SS ab c": strSet("ab", "c"), "SS a bc": strSet("a", "bc"), "SS a b c": strSet("a", "b", "c"), "SS abc": strSet("abc"),
		"N 38 digits": num(digits + "8"), "N 38 digits, last differs": num(digits + "9"),
		"N 2^53": num("9007199254740992"), "N 2^53+1": num("9007199254740993"),
		"N -1": num("-1"), "N 0": num("0"), "N 1E125": num("1E125"), "N 1E-130": num("1E-130"), "N 1E-129": num("1E-129"),
		"NS 38 digits": numSet(digits + "8"), "NS 38 digits, last differs": numSet(digits + "9"),
		"L ab": listOf(str("a"), str("b")), "L ba": listOf(str("b"), str("a")),
		"L in L": listOf(listOf()), "L of L a, b": listOf(listOf(str("a")), str("b")), "L of L a b": listOf(listOf(str("a"), str("b"))),
		"M a:b": mapOf(attrs{"a": str("b")}), "M b:a": mapOf(attrs{"b": str("a")}), "M empty name": mapOf(attrs{"": str("b")}),
		"M a:NULL": mapOf(attrs{"a": null()}), "M a:M": mapOf(attrs{"a": mapOf(attrs{})}),
		"é composed": str("\u00e9"), "é decomposed": str("e\u0301"), "U+2028": str("\u2028"), "U+2029": str("\u2029"),
		"quote": str(`"`), "backslash quote": str(`\"`), "NUL": str("\x00"), "2 NUL": str("\x00\x00"), "B NUL": bin(0),
		"32 deep": deep(32, str("x")), "31 deep": deep(31, str("x")), "32 deep, other leaf": deep(32, str("y")),
	}
}

func TestDistinctValuesDiffer(t *testing.T) {
	values := distinct()
	seen := map[Digest]string{}
	for name, v := range values {
		d := digestOf(t, single(v))
		if other, dup := seen[d]; dup {
			t.Errorf("%s and %s have the same digest", name, other)
		}
		seen[d] = name
		for otherName, other := range values {
			if equal, err := Equal(single(v), single(other)); err != nil || equal != (name == otherName) {
				t.Errorf("Equal(%s, %s) = %v, %v", name, otherName, equal, err)
			}
		}
	}
}

func TestEqualValues(t *testing.T) {
	nested := func(n string, set ...string) value {
		return listOf(mapOf(attrs{"n": num(n), "set": numSet(set...)}), strSet("a"))
	}
	tests := []struct {
		name string
		a, b value
	}{
		{"number", num("1"), num("1.0")},
		{"minus zero", num("0"), num("-0")},
		{"string set order", strSet("a", "b", "é"), strSet("é", "a", "b")},
		{"number set order and spelling", numSet("1", "2.50", "100"), numSet("1E2", "01", "2.5")},
		{"binary set order", binSet([]byte{1}, []byte{0, 2}, []byte{}), binSet([]byte{}, []byte{0, 2}, []byte{1})},
		{"nested", nested("100", "3", "20"), nested("1E2", "2e1", "3.0")},
		{"nil and empty bytes", bin(), &types.AttributeValueMemberB{}},
		{"nil and empty list", listOf(), &types.AttributeValueMemberL{}},
		{"nil and empty map", mapOf(attrs{}), &types.AttributeValueMemberM{}},
		{"deep", deep(32, num("1.0")), deep(32, num("1"))},
	}
	for _, test := range tests {
		a, b := single(test.a), single(test.b)
		if equal, err := Equal(a, b); err != nil || !equal {
			t.Errorf("%s: Equal = %v, %v", test.name, equal, err)
		}
		if digestOf(t, a) != digestOf(t, b) {
			t.Errorf("%s: digests differ", test.name)
		}
	}
}

func TestEqualAbsent(t *testing.T) {
	absent, empty := Item{}, Of(attrs{})
	tests := []struct {
		a, b Item
		want bool
	}{
		{absent, absent, true},
		{absent, Of(nil), true},
		{empty, empty, true},
		{absent, empty, false},
		{empty, absent, false},
		{absent, single(str("x")), false},
		{single(str("x")), absent, false},
		{single(str("x")), empty, false},
	}
	for i, test := range tests {
		if got, err := Equal(test.a, test.b); err != nil || got != test.want {
			t.Errorf("case %d: %v, %v; want %v", i, got, err, test.want)
		}
	}
	if !absent.Absent() || !Of(nil).Absent() || empty.Absent() {
		t.Error("Absent is wrong")
	}
	if _, err := absent.Digest(); !errors.Is(err, errAbsent) {
		t.Errorf("Digest of the absent item: %v", err)
	}
}

// broken lists values that can't be encoded, each with a secret in it where it
// has room for one.
func broken() map[string]value {
	return map[string]value{
		"nil":               nil,
		"nil pointer":       (*types.AttributeValueMemberS)(nil),
		"unknown":           &types.UnknownUnionMember{Tag: "VEC", Value: []byte("secret")},
		"number":            num("secret"),
		"number set":        numSet("1", "secret"),
		"nil in list":       listOf(str("secret"), nil),
		"nil in map":        mapOf(attrs{"secret": nil}),
		"number in map":     mapOf(attrs{"secret": num("1.2.secret")}),
		"number far inside": deep(20, numSet("secret")),
	}
}

func TestBrokenValuesAreErrors(t *testing.T) {
	for name, v := range broken() {
		t.Run(name, func(t *testing.T) {
			bad, good := single(v), single(str("x"))
			_, err := bad.Digest()
			mustNotLeak(t, err, "secret")
			if !strings.Contains(err.Error(), `attribute "a"`) {
				t.Errorf("error doesn't name the attribute: %v", err)
			}
			for _, pair := range [][2]Item{{bad, good}, {good, bad}} { // two that are the same bytes are equal, whatever they mean
				_, err := Equal(pair[0], pair[1])
				mustNotLeak(t, err, "secret")
				_, err = DiffAttributes(pair[0], pair[1])
				mustNotLeak(t, err, "secret")
			}
			// The encoder goes back to the pool half used.
			if d := digestOf(t, Of(attrs{})); hex.EncodeToString(d[:4]) != "fcfcd4ec" {
				t.Error("an error spoils the next digest")
			}
		})
	}
}

func TestDiffAttributes(t *testing.T) {
	a := Of(attrs{"same": num("1"), "set": strSet("a", "b"), "changed": str("1"), "onlyA": null(), "deep": listOf(num("1"), num("2"))})
	b := Of(attrs{"same": num("1.0"), "set": strSet("b", "a"), "changed": num("1"), "onlyB": str("x"), "deep": listOf(num("1"), num("3"))})
	tests := []struct {
		name string
		a, b Item
		want []string
	}{
		{"all kinds", a, b, []string{"changed", "deep", "onlyA", "onlyB"}},
		{"itself", a, a, nil},
		{"two absent", Item{}, Item{}, nil},
		{"absent", Item{}, a, []string{"changed", "deep", "onlyA", "same", "set"}},
		{"empty", a, Of(attrs{}), []string{"changed", "deep", "onlyA", "same", "set"}},
	}
	for _, test := range tests {
		for _, pair := range [][2]Item{{test.a, test.b}, {test.b, test.a}} {
			if got, err := DiffAttributes(pair[0], pair[1]); err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%s: %q, %v; want %q", test.name, got, err, test.want)
			}
		}
	}
}

func TestDigestConcurrently(t *testing.T) {
	var items []Item
	var want []Digest
	for _, v := range distinct() {
		items = append(items, single(v))
		want = append(want, digestOf(t, single(v)))
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i, it := range items {
				if got, err := it.Digest(); err != nil || got != want[i] {
					t.Errorf("item %d: %v", i, err)
				}
			}
		})
	}
	group.Wait()
}

// An item in other clothes is equal; the description by itemtest.Oracle, which
// knows nothing of the encoding, says so too.
func TestDigestIgnoresSpelling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := itemtest.Attributes.Draw(t, "item")
		a, b := Of(m), Of(itemtest.DisguiseAll(t, m))
		if itemtest.Oracle(mapOf(m)) != itemtest.Oracle(mapOf(b.Attributes())) {
			t.Fatal("the test's disguise changes the item")
		}
		if digestOf(t, a) != digestOf(t, b) {
			t.Fatal("digests differ")
		}
		if equal, err := Equal(a, b); err != nil || !equal {
			t.Fatalf("Equal: %v, %v", equal, err)
		}
		if names, err := DiffAttributes(a, b); err != nil || len(names) != 0 {
			t.Fatalf("DiffAttributes: %q, %v", names, err)
		}
	})
}

func TestDigestSeesAnyChange(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := itemtest.Attributes.Draw(t, "item")
		changed, _ := itemtest.ChangeAttributes(t, m)
		a, b := Of(m), Of(itemtest.DisguiseAll(t, changed))
		if itemtest.Oracle(mapOf(m)) == itemtest.Oracle(mapOf(changed)) {
			t.Fatal("the test's change changes nothing")
		}
		if digestOf(t, a) == digestOf(t, b) {
			t.Fatal("digests are the same")
		}
		if equal, err := Equal(a, b); err != nil || equal {
			t.Fatalf("Equal: %v, %v", equal, err)
		}
		var want []string
		for _, name := range itemtest.SortedNames(union(a.Attributes(), b.Attributes())) {
			va, vb := a.Attributes()[name], b.Attributes()[name]
			if va == nil || vb == nil || itemtest.Oracle(va) != itemtest.Oracle(vb) {
				want = append(want, name)
			}
		}
		if got, err := DiffAttributes(a, b); err != nil || !slices.Equal(got, want) {
			t.Fatalf("DiffAttributes: %q, %v; want %q", got, err, want)
		}
	})
}

// Two items drawn apart, small enough to be equal now and then.
func TestDigestAgreesWithOracle(t *testing.T) {
	small := itemtest.Value(1)
	rapid.Check(t, func(t *rapid.T) {
		a, b := small.Draw(t, "a"), small.Draw(t, "b")
		same := itemtest.Oracle(a) == itemtest.Oracle(b)
		if got := digestOf(t, single(a)) == digestOf(t, single(b)); got != same {
			t.Fatalf("digests equal: %v, values equal: %v", got, same)
		}
	})
}

func union(a, b attrs) attrs {
	out := make(attrs, len(a)+len(b))
	for _, m := range []attrs{a, b} {
		for name, v := range m {
			out[name] = v
		}
	}
	return out
}
