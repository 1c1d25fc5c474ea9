package item

import (
	"strings"
	"testing"
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
