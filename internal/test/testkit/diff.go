package testkit

import (
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// diffLines is how many differences Diff spells out.
const diffLines = 20

// Diff compares two tables, item by item, and returns a line for each difference, sorted: "missing in B: ..." for
// an item that only a has, "extra in B: ..." for one that only b has, "different: ..." otherwise. If there are more
// than 20, it returns the first 20 and a line with the count. It returns nil if the tables hold the same items.
//
// It is the tests' judge of reseal, so it shares no code with it, here or below: it reads each table by one plain
// consistent scan, and writes each item as text by the rules in render. The tables must not be written to
// meanwhile.
func Diff(t testing.TB, a *dynamodb.Client, ta string, b *dynamodb.Client, tb string) []string {
	t.Helper()
	itemsA, itemsB := Contents(t, a, ta), Contents(t, b, tb)
	var lines []string
	for key, item := range itemsA {
		other, ok := itemsB[key]
		switch {
		case !ok:
			lines = append(lines, "missing in B: "+key)
		case item != other:
			lines = append(lines, fmt.Sprintf("different: %s: A has %s, B has %s", key, item, other))
		}
	}
	for key := range itemsB {
		if _, ok := itemsA[key]; !ok {
			lines = append(lines, "extra in B: "+key)
		}
	}
	slices.Sort(lines)
	if n := len(lines); n > diffLines {
		lines = append(lines[:diffLines], fmt.Sprintf("%d differences in all", n))
	}
	return lines
}

// Contents reads a table into text by key, both as Render writes them.
func Contents(t testing.TB, c *dynamodb.Client, table string) map[string]string {
	t.Helper()
	out, err := c.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		t.Fatalf("describe table %s: %v", table, err)
	}
	var names []string
	for _, element := range out.Table.KeySchema {
		names = append(names, *element.AttributeName)
	}
	rendered := make(map[string]string)
	for _, item := range ScanAll(t, c, table) {
		key, err := Render(pick(item, names))
		if err != nil {
			t.Fatalf("key in table %s: %v", table, err)
		}
		if _, twice := rendered[key]; twice {
			t.Fatalf("table %s: the scan returned an item twice: %s", table, key)
		}
		if rendered[key], err = Render(item); err != nil {
			t.Fatalf("item %s in table %s: %v", key, table, err)
		}
	}
	return rendered
}

// Render writes an item, or a key, as text, the same for two if and only if DynamoDB holds them equal.
func Render(item map[string]types.AttributeValue) (string, error) {
	return render(&types.AttributeValueMemberM{Value: item})
}

// render writes a value as text, the same for two values if and only if DynamoDB holds them equal: every text
// begins with its type, numbers are exact fractions, map keys and set elements are sorted.
func render(value types.AttributeValue) (string, error) {
	switch v := value.(type) {
	case *types.AttributeValueMemberS:
		return "S" + strconv.Quote(v.Value), nil
	case *types.AttributeValueMemberN:
		number, err := renderNumber(v.Value)
		return "N" + number, err
	case *types.AttributeValueMemberB:
		return "B" + hex.EncodeToString(v.Value), nil
	case *types.AttributeValueMemberBOOL:
		return "BOOL" + strconv.FormatBool(v.Value), nil
	case *types.AttributeValueMemberNULL:
		return "NULL", nil
	case *types.AttributeValueMemberSS:
		return renderSet("SS", v.Value, func(s string) (string, error) { return strconv.Quote(s), nil })
	case *types.AttributeValueMemberNS:
		return renderSet("NS", v.Value, renderNumber)
	case *types.AttributeValueMemberBS:
		return renderSet("BS", v.Value, func(b []byte) (string, error) { return hex.EncodeToString(b), nil })
	case *types.AttributeValueMemberL:
		elements := make([]string, len(v.Value))
		for i, element := range v.Value {
			var err error
			if elements[i], err = render(element); err != nil {
				return "", fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return "L[" + strings.Join(elements, " ") + "]", nil
	case *types.AttributeValueMemberM:
		var entries []string
		for _, name := range slices.Sorted(maps.Keys(v.Value)) {
			entry, err := render(v.Value[name])
			if err != nil {
				return "", fmt.Errorf("%q: %w", name, err)
			}
			entries = append(entries, strconv.Quote(name)+":"+entry)
		}
		return "M{" + strings.Join(entries, " ") + "}", nil
	}
	return "", fmt.Errorf("unknown attribute type %T", value)
}

// renderSet writes a set's elements, sorted by their text.
func renderSet[E any](letters string, elements []E, text func(E) (string, error)) (string, error) {
	texts := make([]string, len(elements))
	for i, element := range elements {
		var err error
		if texts[i], err = text(element); err != nil {
			return "", err
		}
	}
	slices.Sort(texts)
	return letters + "(" + strings.Join(texts, " ") + ")", nil
}

// renderNumber writes a decimal number as a reduced fraction. DynamoDB's numbers stay below 1E126.
func renderNumber(decimal string) (string, error) {
	number, ok := new(big.Rat).SetString(decimal)
	if !ok {
		return "", fmt.Errorf("not a number: %q", decimal)
	}
	return number.RatString(), nil
}
