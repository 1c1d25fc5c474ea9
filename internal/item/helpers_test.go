package item

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type (
	value = types.AttributeValue
	attrs = map[string]types.AttributeValue
)

func str(s string) value           { return &types.AttributeValueMemberS{Value: s} }
func num(s string) value           { return &types.AttributeValueMemberN{Value: s} }
func bin(b ...byte) value          { return &types.AttributeValueMemberB{Value: b} }
func boolean(b bool) value         { return &types.AttributeValueMemberBOOL{Value: b} }
func null() value                  { return &types.AttributeValueMemberNULL{Value: true} }
func strSet(s ...string) value     { return &types.AttributeValueMemberSS{Value: s} }
func numSet(s ...string) value     { return &types.AttributeValueMemberNS{Value: s} }
func binSet(b ...[]byte) value     { return &types.AttributeValueMemberBS{Value: b} }
func listOf(v ...value) value      { return &types.AttributeValueMemberL{Value: v} }
func mapOf(m attrs) value          { return &types.AttributeValueMemberM{Value: m} }
func single(v value) Item          { return Of(attrs{"a": v}) }
func numbers(s ...string) []string { return s }

// tb is what testing.T and rapid.T share.
type tb interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func digestOf(t tb, it Item) Digest {
	t.Helper()
	d, err := it.Digest()
	if err != nil {
		t.Fatalf("digest: %v", err)
	}
	return d
}

// oracle describes a value such that equal values, and only those, have the
// same description. It shares nothing with the encoder: numbers are rationals.
func oracle(av value) string {
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		return fmt.Sprintf("S%q", v.Value)
	case *types.AttributeValueMemberN:
		return "N" + rational(v.Value)
	case *types.AttributeValueMemberB:
		return fmt.Sprintf("B%x", v.Value)
	case *types.AttributeValueMemberBOOL:
		return fmt.Sprint(v.Value)
	case *types.AttributeValueMemberNULL:
		return "null"
	case *types.AttributeValueMemberSS:
		return "SS" + described(v.Value, true, func(s string) string { return fmt.Sprintf("%q", s) })
	case *types.AttributeValueMemberNS:
		return "NS" + described(v.Value, true, rational)
	case *types.AttributeValueMemberBS:
		return "BS" + described(v.Value, true, func(b []byte) string { return fmt.Sprintf("%x", b) })
	case *types.AttributeValueMemberL:
		return "L" + described(v.Value, false, oracle)
	case *types.AttributeValueMemberM:
		var entries []string
		for name, entry := range v.Value {
			entries = append(entries, fmt.Sprintf("%q:%s", name, oracle(entry)))
		}
		return "M" + described(entries, true, func(s string) string { return s })
	default:
		panic(fmt.Sprintf("oracle: %T", av))
	}
}

func described[T any](list []T, anyOrder bool, describe func(T) string) string {
	texts := make([]string, len(list))
	for i, element := range list {
		texts[i] = describe(element)
	}
	if anyOrder {
		slices.Sort(texts)
	}
	return "[" + strings.Join(texts, ",") + "]"
}

func rational(s string) string {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic("oracle: not a number: " + s)
	}
	return r.RatString()
}

// deep returns v inside so many lists and maps in turn.
func deep(levels int, v value) value {
	for i := range levels {
		if i%2 == 0 {
			v = listOf(v)
		} else {
			v = mapOf(attrs{"m": v})
		}
	}
	return v
}

func mustNotLeak(t *testing.T, err error, secret string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if strings.Contains(err.Error(), secret) {
		t.Errorf("error prints the value: %v", err)
	}
}
