// Package itemtest draws random items for tests, changes and re-spells them, and describes them independently of
// package item.
package itemtest

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"pgregory.net/rapid"
)

// Number draws numbers over DynamoDB's whole range, always spelled
// [-]digits "E" exponent; Respell makes the other spellings.
var Number = rapid.Custom(func(t *rapid.T) string {
	digits := rapid.OneOf(
		rapid.StringMatching(`[0-9]{1,4}`),
		rapid.StringMatching(`[1-9][0-9]{37}`),
	).Draw(t, "digits")
	exp := rapid.OneOf(rapid.IntRange(-3, 3), rapid.IntRange(-130, 125-len(digits))).Draw(t, "exp")
	if strings.Trim(digits, "0") == "" && (exp < -100 || exp > 100) {
		exp = 0 // an engine may refuse a zero for the exponent that it is spelled with
	}
	sign := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign")
	return sign + digits + "E" + strconv.Itoa(exp)
})

// Respell draws another spelling of a number from Number.
func Respell(t *rapid.T, s string) string {
	mantissa, exponent, _ := strings.Cut(s, "E")
	digits, negative := strings.CutPrefix(mantissa, "-")
	exp, err := strconv.Atoi(exponent)
	if err != nil {
		panic(err)
	}
	zeros := rapid.IntRange(0, 5).Draw(t, "zeros behind")
	digits += strings.Repeat("0", zeros)
	exp -= zeros
	if exp > 0 && exp < 50 && rapid.Bool().Draw(t, "write out") {
		digits += strings.Repeat("0", exp)
		exp = 0
	}
	if point := rapid.IntRange(0, len(digits)).Draw(t, "point"); rapid.Bool().Draw(t, "with point") {
		exp += len(digits) - point
		digits = digits[:point] + "." + digits[point:]
	}
	digits = strings.Repeat("0", rapid.IntRange(0, 3).Draw(t, "zeros before")) + digits
	sign := "-"
	if !negative {
		sign = rapid.SampledFrom([]string{"", "+"}).Draw(t, "sign")
	}
	if exp == 0 && rapid.Bool().Draw(t, "no exponent") {
		return sign + digits
	}
	format := rapid.SampledFrom([]string{"E%d", "e%d", "E%+d", "e%+04d"}).Draw(t, "exponent")
	return sign + digits + fmt.Sprintf(format, exp)
}

var (
	// Text draws strings of few letters, so that equal and nearly equal ones turn up.
	Text = rapid.OneOf(
		rapid.StringMatching(`[01ab]{0,3}`),
		rapid.String(),
		rapid.SampledFrom([]string{"\"", "\\", "\x00", "\x1f", "\u2028", "<&>", "é", "日本", "\U0001f600"}),
	)
	// Bytes draws short binaries.
	Bytes = rapid.SliceOfN(rapid.Byte(), 0, 6)
)

// Value draws a value with at most so many levels of lists and maps in it.
func Value(depth int) *rapid.Generator[value] {
	gens := []*rapid.Generator[value]{
		rapid.Map(Text, str),
		rapid.Map(Number, num),
		rapid.Map(Bytes, func(b []byte) value { return bin(b...) }),
		rapid.Map(rapid.Bool(), boolean),
		rapid.Just(null()),
		rapid.Map(rapid.SliceOfNDistinct(Text, 1, 5, rapid.ID), func(s []string) value { return strSet(s...) }),
		rapid.Map(rapid.SliceOfNDistinct(Number, 1, 5, Rational), func(s []string) value { return numSet(s...) }),
		rapid.Map(rapid.SliceOfNDistinct(Bytes, 1, 5, func(b []byte) string { return string(b) }),
			func(b [][]byte) value { return binSet(b...) }),
	}
	if depth > 0 {
		gens = append(
			gens,
			rapid.Map(rapid.SliceOfN(Value(depth-1), 0, 4), func(v []value) value { return listOf(v...) }),
			rapid.Map(rapid.MapOfN(Text, Value(depth-1), 0, 4), mapOf),
		)
	}
	return rapid.OneOf(gens...)
}

// Attributes draws items without a key. A name may be empty, which DynamoDB refuses.
var Attributes = rapid.MapOfN(Text, Value(3), 0, 6)

// Disguise returns an equal item in other clothes: new maps, sets in another
// order, numbers spelled otherwise.
func Disguise(t *rapid.T, av value) value {
	switch v := av.(type) {
	case *types.AttributeValueMemberN:
		return num(Respell(t, v.Value))
	case *types.AttributeValueMemberSS:
		return strSet(rapid.Permutation(v.Value).Draw(t, "strings")...)
	case *types.AttributeValueMemberNS:
		shuffled := rapid.Permutation(v.Value).Draw(t, "numbers")
		for i := range shuffled {
			shuffled[i] = Respell(t, shuffled[i])
		}
		return numSet(shuffled...)
	case *types.AttributeValueMemberBS:
		return binSet(rapid.Permutation(v.Value).Draw(t, "binaries")...)
	case *types.AttributeValueMemberL:
		list := slices.Clone(v.Value)
		for i := range list {
			list[i] = Disguise(t, list[i])
		}
		return listOf(list...)
	case *types.AttributeValueMemberM:
		return mapOf(DisguiseAll(t, v.Value))
	default:
		return av
	}
}

// DisguiseAll disguises each attribute.
func DisguiseAll(t *rapid.T, m attrs) attrs {
	out := make(attrs, len(m))
	for _, name := range SortedNames(m) {
		out[name] = Disguise(t, m[name])
	}
	return out
}

// SortedNames keeps the draws, and so rapid's shrinking, reproducible.
func SortedNames(m attrs) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
