package testkit

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// twins makes two tables with the same items.
func twins(t *testing.T, c *dynamodb.Client, count int) (string, string) {
	t.Helper()
	var items []map[string]types.AttributeValue
	for i := range count {
		items = append(items, Item("id", fmt.Sprint("k", i), "v", i))
	}
	a := CreateTable(t, c, TableSpec{Hash: "id:S", Plain: true})
	b := CreateTable(t, c, TableSpec{Hash: "id:S"})
	Fill(t, c, a, items)
	slices.Reverse(items)
	Fill(t, c, b, items)
	return a, b
}

func TestDiff(t *testing.T) {
	c := Client(Engine(t))
	a, b := twins(t, c, 100)
	if lines := Diff(t, c, a, c, b); lines != nil {
		t.Fatalf("equal tables: %q", lines)
	}
	Delete(t, c, b, Item("id", "k7"))
	Put(t, c, b, Item("id", "k8", "v", 8.5))
	Put(t, c, b, Item("id", "k9", "v", 9, "w", true))
	Put(t, c, b, Item("id", "x"))
	want := []string{
		`different: M{"id":S"k8"}: A has M{"id":S"k8" "v":N8}, B has M{"id":S"k8" "v":N17/2}`,
		`different: M{"id":S"k9"}: A has M{"id":S"k9" "v":N9}, B has M{"id":S"k9" "v":N9 "w":BOOLtrue}`,
		`extra in B: M{"id":S"x"}`,
		`missing in B: M{"id":S"k7"}`,
	}
	if lines := Diff(t, c, a, c, b); !slices.Equal(lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(lines, "\n"), strings.Join(want, "\n"))
	}
}

func TestDiffShortens(t *testing.T) {
	c := Client(Engine(t))
	a, b := twins(t, c, 0)
	for i := range 20 {
		Put(t, c, a, Item("id", fmt.Sprint(i)))
	}
	if lines := Diff(t, c, a, c, b); len(lines) != 20 {
		t.Errorf("20 differences: %d lines", len(lines))
	}
	Put(t, c, b, Item("id", "x"))
	lines := Diff(t, c, a, c, b)
	if len(lines) != 21 || lines[20] != "21 differences in all" {
		t.Errorf("21 differences: %d lines, %q", len(lines), lines)
	}
}

// number, and the other short forms below, make attribute values for TestRender.
func number(text string) types.AttributeValue { return &types.AttributeValueMemberN{Value: text} }

func TestRender(t *testing.T) {
	ns := func(v ...string) types.AttributeValue { return &types.AttributeValueMemberNS{Value: v} }
	ss := func(v ...string) types.AttributeValue { return &types.AttributeValueMemberSS{Value: v} }
	bs := func(v ...[]byte) types.AttributeValue { return &types.AttributeValueMemberBS{Value: v} }
	s := func(v string) types.AttributeValue { return &types.AttributeValueMemberS{Value: v} }
	bin := func(v ...byte) types.AttributeValue { return &types.AttributeValueMemberB{Value: v} }
	list := func(v ...types.AttributeValue) types.AttributeValue { return &types.AttributeValueMemberL{Value: v} }
	m := func(kv ...any) types.AttributeValue { return &types.AttributeValueMemberM{Value: Item(kv...)} }

	// Each row holds values that are equal to one another, and to none of another row.
	rows := [][]types.AttributeValue{
		{number("1"), number("1.0"), number("1E0"), number("0.1e1"), number("01")},
		{number("0"), number("-0"), number("0.00")},
		{number("-1")},
		{number("9007199254740992")},
		{number("9007199254740993")},
		{number("1.2345678901234567890123456789012345678")},
		{number("1.2345678901234567890123456789012345679")},
		{number("1E125"), number("10E124")},
		{number("1E-130")},
		{s("1")},
		{s("")},
		{s("a b")},
		{s("ä")},
		{s("\u0000")},
		{bin(1)},
		{bin()},
		{bin('1')},
		{&types.AttributeValueMemberNULL{Value: true}},
		{&types.AttributeValueMemberBOOL{Value: true}},
		{&types.AttributeValueMemberBOOL{Value: false}},
		{ns("1", "2"), ns("2.0", "1E0")},
		{ns("1")},
		{ss("a", "b"), ss("b", "a")},
		{ss("a b")},
		{ss(`a" "b`)},
		{bs([]byte{1}, []byte{2}), bs([]byte{2}, []byte{1})},
		{bs([]byte{1, 2})},
		{list()},
		{list(s("a"), s("b"))},
		{list(s("b"), s("a"))},
		{list(list(s("a")), s("b"))},
		{list(s("a b"))},
		{m()},
		{m("a", 1, "b", number("2.0")), m("b", 2, "a", 1)},
		{m("a", m("b", 1))},
		{m("a", m(), "b", 1)},
		{list(number("1"), ss("x", "y")), list(number("1.0"), ss("y", "x"))},
	}
	seen := make(map[string]int)
	for i, row := range rows {
		for j, value := range row {
			text, err := render(value)
			if err != nil {
				t.Errorf("row %d: %v", i, err)
				continue
			}
			if first, ok := seen[text]; (ok && first != i) || (!ok && j > 0) {
				t.Errorf("row %d, value %d: %s (row %d)", i, j, text, first)
			}
			seen[text] = i
		}
	}
	for _, value := range []types.AttributeValue{nil, number("x"), ns("x"), list(nil), m("a", number(""))} {
		if text, err := render(value); err == nil {
			t.Errorf("%v: no error, but %s", value, text)
		}
	}
}
