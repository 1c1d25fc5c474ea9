package itemtest

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"pgregory.net/rapid"
)

// ChangeAttributes returns the item with one random change somewhere in it, one that DynamoDB would notice, and what kind of change it is.
func ChangeAttributes(t *rapid.T, m attrs) (attrs, string) {
	out := make(attrs, len(m)+1)
	for name, v := range m {
		out[name] = v
	}
	if len(m) == 0 {
		out["new"] = null()
		return out, "entry added"
	}
	name := rapid.SampledFrom(SortedNames(m)).Draw(t, "name")
	switch rapid.IntRange(0, 5).Draw(t, "map change") {
	case 0:
		out["new\x01"+name] = null()
		return out, "entry added"
	case 1:
		delete(out, name)
		return out, "entry removed" + emptiness(m[name])
	case 2:
		out["renamed\x01"+name] = out[name]
		delete(out, name)
		return out, "entry renamed"
	}
	var kind string
	out[name], kind = change(t, out[name])
	return out, kind
}

// emptiness tells of a value that a careless comparison takes for none.
func emptiness(v value) string {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		if v.Value == "" {
			return ", empty text"
		}
	case *types.AttributeValueMemberB:
		if len(v.Value) == 0 {
			return ", empty binary"
		}
	case *types.AttributeValueMemberNULL:
		return ", null"
	}
	return ""
}

func change(t *rapid.T, av value) (value, string) {
	if rapid.IntRange(0, 4).Draw(t, "what") == 0 {
		return changeType(av)
	}
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		changed, kind := changeText(t, v.Value)
		return str(changed), kind
	case *types.AttributeValueMemberN:
		changed, kind := changeNumber(t, v.Value)
		return num(changed), kind
	case *types.AttributeValueMemberB:
		return bin(changeBytes(t, v.Value)...), "binary: a bit"
	case *types.AttributeValueMemberBOOL:
		return boolean(!v.Value), "boolean"
	case *types.AttributeValueMemberSS:
		changed, kind := changeSet(t, v.Value, "new\x01", strconv.Quote, func(s string) string { return s + "x" })
		return strSet(changed...), "string " + kind
	case *types.AttributeValueMemberNS:
		changed, kind := changeSet(t, v.Value, "777777E0", Rational, func(s string) string { n, _ := changeNumber(t, s); return n })
		return numSet(changed...), "number " + kind
	case *types.AttributeValueMemberBS:
		id := func(b []byte) string { return string(b) }
		changed, kind := changeSet(t, v.Value, []byte("new\x01new"), id, func(b []byte) []byte { return changeBytes(t, b) })
		return binSet(changed...), "binary " + kind
	case *types.AttributeValueMemberL:
		changed, kind := changeList(t, v.Value)
		return listOf(changed...), kind
	case *types.AttributeValueMemberM:
		changed, kind := ChangeAttributes(t, v.Value)
		return mapOf(changed), kind
	default:
		return changeType(av)
	}
}

// changeType keeps the content, as far as there is any, under another type.
func changeType(av value) (value, string) {
	var to value
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		to = bin([]byte(v.Value)...)
	case *types.AttributeValueMemberN:
		to = str(v.Value)
	case *types.AttributeValueMemberB:
		to = str(string(bytes.ToValidUTF8(v.Value, []byte("?"))))
	case *types.AttributeValueMemberNULL:
		to = boolean(false)
	case *types.AttributeValueMemberNS:
		to = strSet(v.Value...)
	case *types.AttributeValueMemberSS:
		to = numSet(strconv.Itoa(len(v.Value)) + "E0")
	case *types.AttributeValueMemberL:
		to = mapOf(attrs{})
	default:
		to = null()
	}
	return to, fmt.Sprintf("type: %s to %s", letters(av), letters(to))
}

func letters(av value) string {
	_, name, _ := strings.Cut(fmt.Sprintf("%T", av), "Member")
	return name
}

func changeText(t *rapid.T, s string) (string, string) {
	runes := []rune(s)
	if len(runes) == 0 {
		return "x", "text: empty to not"
	}
	i := rapid.IntRange(0, len(runes)-1).Draw(t, "rune")
	switch rapid.IntRange(0, 2).Draw(t, "text change") {
	case 0:
		return s + " ", "text: space behind"
	case 1:
		return string(slices.Delete(runes, i, i+1)), "text: a letter less"
	}
	was := runes[i]
	if runes[i] = 'x'; was == 'x' {
		runes[i] = 'X'
	}
	return string(runes), "text: a letter"
}

// changeNumber changes the last digit, whichever place it has, or the sign.
func changeNumber(t *rapid.T, s string) (string, string) {
	mantissa, exponent, _ := strings.Cut(s, "E")
	if Rational(s) != "0" && rapid.IntRange(0, 3).Draw(t, "number change") == 0 {
		if digits, negative := strings.CutPrefix(s, "-"); negative {
			return digits, "number: sign"
		}
		return "-" + s, "number: sign"
	}
	kind := "number: a digit"
	if len(strings.TrimPrefix(mantissa, "-")) == 38 {
		kind = "number: the 38th digit"
	}
	last := mantissa[len(mantissa)-1]
	step := byte(rapid.IntRange(1, 9).Draw(t, "step"))
	return mantissa[:len(mantissa)-1] + string('0'+(last-'0'+step)%10) + "E" + exponent, kind
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

// changeSet never makes two elements alike: DynamoDB has no such sets, and no empty ones.
func changeSet[T any](t *rapid.T, set []T, added T, id func(T) string, edit func(T) T) ([]T, string) {
	i := rapid.IntRange(0, len(set)-1).Draw(t, "element")
	out := slices.Clone(set)
	kind := rapid.IntRange(0, 2).Draw(t, "set change")
	if kind == 1 && len(out) > 1 {
		return slices.Delete(out, i, i+1), "set: element removed"
	}
	edited := edit(out[i])
	if kind == 0 || slices.ContainsFunc(out, func(e T) bool { return id(e) == id(edited) }) {
		return append(out, added), "set: element added"
	}
	out[i] = edited
	return out, "set: element changed"
}

func changeList(t *rapid.T, list []value) ([]value, string) {
	out := slices.Clone(list)
	if len(out) == 0 {
		return append(out, null()), "list: element added"
	}
	i := rapid.IntRange(0, len(out)-1).Draw(t, "index")
	j := rapid.IntRange(0, len(out)-1).Draw(t, "other index")
	switch rapid.IntRange(0, 3).Draw(t, "list change") {
	case 0:
		return slices.Insert(out, i, str("new"), out[i]), "list: elements added"
	case 1:
		return slices.Delete(out, i, i+1), "list: element removed"
	case 2:
		if Oracle(out[i]) != Oracle(out[j]) {
			out[i], out[j] = out[j], out[i]
			return out, "list: order"
		}
	}
	var kind string
	out[i], kind = change(t, out[i])
	return out, kind
}
