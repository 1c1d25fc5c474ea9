package itemtest

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

type (
	value = types.AttributeValue
	attrs = map[string]types.AttributeValue
)

func str(s string) value       { return &types.AttributeValueMemberS{Value: s} }
func num(s string) value       { return &types.AttributeValueMemberN{Value: s} }
func bin(b ...byte) value      { return &types.AttributeValueMemberB{Value: b} }
func boolean(b bool) value     { return &types.AttributeValueMemberBOOL{Value: b} }
func null() value              { return &types.AttributeValueMemberNULL{Value: true} }
func strSet(s ...string) value { return &types.AttributeValueMemberSS{Value: s} }
func numSet(s ...string) value { return &types.AttributeValueMemberNS{Value: s} }
func binSet(b ...[]byte) value { return &types.AttributeValueMemberBS{Value: b} }
func listOf(v ...value) value  { return &types.AttributeValueMemberL{Value: v} }
func mapOf(m attrs) value      { return &types.AttributeValueMemberM{Value: m} }

// Oracle describes a value such that equal values, and only those, have the
// same description. It shares nothing with the encoder: numbers are rationals.
func Oracle(av value) string {
	switch v := av.(type) {
	case *types.AttributeValueMemberS:
		return fmt.Sprintf("S%q", v.Value)
	case *types.AttributeValueMemberN:
		return "N" + Rational(v.Value)
	case *types.AttributeValueMemberB:
		return fmt.Sprintf("B%x", v.Value)
	case *types.AttributeValueMemberBOOL:
		return fmt.Sprint(v.Value)
	case *types.AttributeValueMemberNULL:
		return "null"
	case *types.AttributeValueMemberSS:
		return "SS" + described(v.Value, true, func(s string) string { return fmt.Sprintf("%q", s) })
	case *types.AttributeValueMemberNS:
		return "NS" + described(v.Value, true, Rational)
	case *types.AttributeValueMemberBS:
		return "BS" + described(v.Value, true, func(b []byte) string { return fmt.Sprintf("%x", b) })
	case *types.AttributeValueMemberL:
		return "L" + described(v.Value, false, Oracle)
	case *types.AttributeValueMemberM:
		var entries []string
		for name, entry := range v.Value {
			entries = append(entries, fmt.Sprintf("%q:%s", name, Oracle(entry)))
		}
		return "M" + described(entries, true, func(s string) string { return s })
	default:
		panic(fmt.Sprintf("Oracle: %T", av))
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

// Rational is a number such that equal ones, however they are spelled, are the same text.
func Rational(s string) string {
	r, ok := new(big.Rat).SetString(s)
	if !ok {
		panic("Oracle: not a number: " + s)
	}
	return r.RatString()
}
