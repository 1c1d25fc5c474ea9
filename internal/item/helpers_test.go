package item

import (
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
