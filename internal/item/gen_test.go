package item

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"pgregory.net/rapid"
)

// numberGen draws numbers over DynamoDB's whole range, always spelled
// [-]digits "E" exponent; respell makes the other spellings.
var numberGen = rapid.Custom(func(t *rapid.T) string {
	digits := rapid.OneOf(
		rapid.StringMatching(`[0-9]{1,4}`),
		rapid.StringMatching(`[1-9][0-9]{37}`),
	).Draw(t, "digits")
	exp := rapid.OneOf(rapid.IntRange(-3, 3), rapid.IntRange(-130, 125-len(digits))).Draw(t, "exp")
	sign := rapid.SampledFrom([]string{"", "-"}).Draw(t, "sign")
	return sign + digits + "E" + strconv.Itoa(exp)
})

// respell draws another spelling of a number from numberGen.
func respell(t *rapid.T, s string) string {
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
	// Few letters, so that equal and nearly equal strings turn up.
	textGen = rapid.OneOf(
		rapid.StringMatching(`[01ab]{0,3}`),
		rapid.String(),
		rapid.SampledFrom([]string{"\"", "\\", "\x00", "\x1f", "\u2028", "<&>", "é", "日本", "\U0001f600"}),
	)
	bytesGen = rapid.SliceOfN(rapid.Byte(), 0, 6)
)

// valueGen draws a value with at most so many levels of lists and maps in it.
func valueGen(depth int) *rapid.Generator[value] {
	gens := []*rapid.Generator[value]{
		rapid.Map(textGen, str),
		rapid.Map(numberGen, num),
		rapid.Map(bytesGen, func(b []byte) value { return bin(b...) }),
		rapid.Map(rapid.Bool(), boolean),
		rapid.Just(null()),
		rapid.Map(rapid.SliceOfNDistinct(textGen, 1, 5, rapid.ID), func(s []string) value { return strSet(s...) }),
		rapid.Map(rapid.SliceOfNDistinct(numberGen, 1, 5, rational), func(s []string) value { return numSet(s...) }),
		rapid.Map(rapid.SliceOfNDistinct(bytesGen, 1, 5, func(b []byte) string { return string(b) }),
			func(b [][]byte) value { return binSet(b...) }),
	}
	if depth > 0 {
		gens = append(
			gens,
			rapid.Map(rapid.SliceOfN(valueGen(depth-1), 0, 4), func(v []value) value { return listOf(v...) }),
			rapid.Map(rapid.MapOfN(textGen, valueGen(depth-1), 0, 4), mapOf),
		)
	}
	return rapid.OneOf(gens...)
}

var attrsGen = rapid.MapOfN(textGen, valueGen(3), 0, 6)

// disguise returns an equal item in other clothes: new maps, sets in another
// order, numbers spelled otherwise.
func disguise(t *rapid.T, av value) value {
	switch v := av.(type) {
	case *types.AttributeValueMemberN:
		return num(respell(t, v.Value))
	case *types.AttributeValueMemberSS:
		return strSet(rapid.Permutation(v.Value).Draw(t, "strings")...)
	case *types.AttributeValueMemberNS:
		shuffled := rapid.Permutation(v.Value).Draw(t, "numbers")
		for i := range shuffled {
			shuffled[i] = respell(t, shuffled[i])
		}
		return numSet(shuffled...)
	case *types.AttributeValueMemberBS:
		return binSet(rapid.Permutation(v.Value).Draw(t, "binaries")...)
	case *types.AttributeValueMemberL:
		list := slices.Clone(v.Value)
		for i := range list {
			list[i] = disguise(t, list[i])
		}
		return listOf(list...)
	case *types.AttributeValueMemberM:
		return mapOf(disguiseAll(t, v.Value))
	default:
		return av
	}
}

func disguiseAll(t *rapid.T, m attrs) attrs {
	out := make(attrs, len(m))
	for _, name := range sortedNames(m) {
		out[name] = disguise(t, m[name])
	}
	return out
}

// sortedNames keeps the draws, and so rapid's shrinking, reproducible.
func sortedNames(m attrs) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// change returns av with one random change somewhere in it. Every change that
// it makes is one that DynamoDB would notice.
func change(t *rapid.T, av value) value {
	if rapid.IntRange(0, 4).Draw(t, "what") == 0 {
		return changeType(av)
	}
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		return str(v.Value + "x")
	case *types.AttributeValueMemberN:
		return num(changeNumber(t, v.Value))
	case *types.AttributeValueMemberB:
		return bin(changeBytes(t, v.Value)...)
	case *types.AttributeValueMemberBOOL:
		return boolean(!v.Value)
	case *types.AttributeValueMemberSS:
		return strSet(changeElement(t, v.Value, "new\x01", func(s string) string { return s + "x" })...)
	case *types.AttributeValueMemberNS:
		return numSet(changeElement(t, v.Value, "777777E0", func(s string) string { return changeNumber(t, s) })...)
	case *types.AttributeValueMemberBS:
		return binSet(changeElement(t, v.Value, []byte("new\x01new"), func(b []byte) []byte { return changeBytes(t, b) })...)
	case *types.AttributeValueMemberL:
		return listOf(changeList(t, v.Value)...)
	case *types.AttributeValueMemberM:
		return mapOf(changeMap(t, v.Value))
	default:
		return changeType(av)
	}
}

// changeType keeps the content, as far as there is any, under another type.
func changeType(av value) value {
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		return bin([]byte(v.Value)...)
	case *types.AttributeValueMemberN:
		return str(v.Value)
	case *types.AttributeValueMemberB:
		return str(string(v.Value))
	case *types.AttributeValueMemberNULL:
		return boolean(false)
	case *types.AttributeValueMemberNS:
		return strSet(v.Value...)
	case *types.AttributeValueMemberSS:
		return numSet(strconv.Itoa(len(v.Value)) + "E0")
	case *types.AttributeValueMemberL:
		return mapOf(attrs{})
	default:
		return null()
	}
}

// changeNumber changes the last digit, whichever place it has.
func changeNumber(t *rapid.T, s string) string {
	mantissa, exponent, _ := strings.Cut(s, "E")
	last := mantissa[len(mantissa)-1]
	step := byte(rapid.IntRange(1, 9).Draw(t, "step"))
	return mantissa[:len(mantissa)-1] + string('0'+(last-'0'+step)%10) + "E" + exponent
}

func changeBytes(t *rapid.T, b []byte) []byte {
	if len(b) == 0 {
		return []byte{0}
	}
	out := slices.Clone(b)
	bit := rapid.IntRange(0, 8*len(b)-1).Draw(t, "bit")
	out[bit/8] ^= 1 << (bit % 8)
	return out
}

func changeElement[T any](t *rapid.T, set []T, added T, edit func(T) T) []T {
	i := rapid.IntRange(0, len(set)-1).Draw(t, "element")
	out := slices.Clone(set)
	kind := rapid.IntRange(0, 2).Draw(t, "set change")
	switch {
	case kind == 0:
		return append(out, added)
	case kind == 1 && len(out) > 1: // DynamoDB has no empty sets
		return slices.Delete(out, i, i+1)
	default:
		out[i] = edit(out[i])
		return out
	}
}

func changeList(t *rapid.T, list []value) []value {
	out := slices.Clone(list)
	if len(out) == 0 {
		return append(out, null())
	}
	i := rapid.IntRange(0, len(out)-1).Draw(t, "index")
	j := rapid.IntRange(0, len(out)-1).Draw(t, "other index")
	switch rapid.IntRange(0, 3).Draw(t, "list change") {
	case 0:
		return slices.Insert(out, i, str("new"), out[i])
	case 1:
		return slices.Delete(out, i, i+1)
	case 2:
		if oracle(out[i]) != oracle(out[j]) {
			out[i], out[j] = out[j], out[i]
			return out
		}
	}
	out[i] = change(t, out[i])
	return out
}

func changeMap(t *rapid.T, m attrs) attrs {
	out := make(attrs, len(m)+1)
	for name, v := range m {
		out[name] = v
	}
	if len(m) == 0 {
		out["new"] = null()
		return out
	}
	name := rapid.SampledFrom(sortedNames(m)).Draw(t, "name")
	switch rapid.IntRange(0, 3).Draw(t, "map change") {
	case 0:
		out["new\x01"+name] = null()
	case 1:
		delete(out, name)
	case 2:
		out["renamed\x01"+name] = out[name]
		delete(out, name)
	default:
		out[name] = change(t, out[name])
	}
	return out
}
