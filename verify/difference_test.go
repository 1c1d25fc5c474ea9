package verify_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"reseal/internal/item"
	"reseal/internal/test/testkit"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
func bin(b ...byte) types.AttributeValue {
	return &types.AttributeValueMemberB{Value: append([]byte{}, b...)}
}
func boolean(b bool) types.AttributeValue   { return &types.AttributeValueMemberBOOL{Value: b} }
func null() types.AttributeValue            { return &types.AttributeValueMemberNULL{Value: true} }
func strs(e ...string) types.AttributeValue { return &types.AttributeValueMemberSS{Value: e} }
func nums(e ...string) types.AttributeValue { return &types.AttributeValueMemberNS{Value: e} }
func bins(e ...[]byte) types.AttributeValue { return &types.AttributeValueMemberBS{Value: e} }
func mapOf(kv ...any) types.AttributeValue {
	return &types.AttributeValueMemberM{Value: testkit.Item(kv...)}
}

func list(e ...types.AttributeValue) types.AttributeValue {
	return &types.AttributeValueMemberL{Value: e}
}

const (
	digits38 = "1.2345678901234567890123456789012345678"
	digit38  = "1.2345678901234567890123456789012345679" // another in the 38th place
)

// pairsThatDiffer are values that DynamoDB tells apart. A nil value is a missing attribute.
var pairsThatDiffer = map[string][2]types.AttributeValue{
	"text":                      {str("a"), str("b")},
	"text, case":                {str("a"), str("A")},
	"text, normal form":         {str("\u00e9"), str("e\u0301")},
	"text, trailing space":      {str("a"), str("a ")},
	"38th digit":                {num(digits38), num(digit38)},
	"above 2^53":                {num("9007199254740993"), num("9007199254740992")},
	"sign":                      {num("1"), num("-1")},
	"magnitude":                 {num("1E-130"), num("1E-129")},
	"number and text":           {num("1"), str("1")},
	"one bit of binary":         {bin(0, 0x80, 1), bin(0, 0x81, 1)},
	"binary and text":           {bin('a'), str("a")},
	"binary, trailing zero":     {bin(1), bin(1, 0)},
	"boolean":                   {boolean(true), boolean(false)},
	"null and false":            {null(), boolean(false)},
	"null and missing":          {null(), nil},
	"empty text and missing":    {str(""), nil},
	"missing and empty text":    {nil, str("")},
	"empty text and null":       {str(""), null()},
	"empty binary and text":     {bin(), str("")},
	"empty list and map":        {list(), mapOf()},
	"empty list and missing":    {list(), nil},
	"empty map and missing":     {nil, mapOf()},
	"list order":                {list(str("a"), str("b")), list(str("b"), str("a"))},
	"list length":               {list(str("a")), list(str("a"), str("a"))},
	"list nesting":              {list(list(str("a")), str("b")), list(list(str("a"), str("b")))},
	"map value":                 {mapOf("a", 1, "b", 2), mapOf("a", 1, "b", 3)},
	"map name":                  {mapOf("a", 1), mapOf("b", 1)},
	"map entry":                 {mapOf("a", 1), mapOf("a", 1, "b", 1)},
	"map values swapped":        {mapOf("a", 1, "b", 2), mapOf("a", 2, "b", 1)},
	"deep inside":               {mapOf("a", list(mapOf("b", nums("1", "2")))), mapOf("a", list(mapOf("b", nums("1", "3"))))},
	"string set element":        {strs("a", "b"), strs("a", "c")},
	"string set size":           {strs("a", "b"), strs("a")},
	"string set, cut elsewhere": {strs("a", "bc"), strs("ab", "c")},
	"number set element":        {nums("1", digits38), nums("1", digit38)},
	"binary set element":        {bins([]byte{1}, []byte{2}), bins([]byte{1}, []byte{3})},
	"string and number set":     {strs("1"), nums("1")},
	"set and list":              {strs("a"), list(str("a"))},
}

// with returns an item with the value as its attribute "v", beside one that never changes.
func with(id string, value types.AttributeValue) attrs {
	it := testkit.Item("id", id, "same", 7)
	if value != nil {
		it["v"] = value
	}
	return it
}

func digest(t *testing.T, it attrs) string {
	t.Helper()
	d, err := item.Of(it).Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(d[:])
}

func TestDifferentItemsAreFound(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var sources, targets []attrs
	for name, pair := range pairsThatDiffer {
		sources, targets = append(sources, with(name, pair[0])), append(targets, with(name, pair[1]))
	}
	testkit.Fill(t, ts.engine, ts.source, sources)
	testkit.Fill(t, ts.engine, ts.target, targets)
	result, found := ts.verify()
	count := int64(len(pairsThatDiffer))
	ts.expect(result, verdict{sourceItems: count, targetItems: count, different: count})
	for name, pair := range pairsThatDiffer {
		d := found[fmt.Sprintf(`{"id":{"S":"%s"}}`, name)]
		if d.Kind != verify.Different || !slices.Equal(d.Attributes, []string{"v"}) {
			t.Errorf("%s: kind %q, attributes %q", name, d.Kind, d.Attributes)
		}
		if d.SourceDigest != digest(t, with(name, pair[0])) || d.TargetDigest != digest(t, with(name, pair[1])) {
			t.Errorf("%s: digests %s, %s", name, d.SourceDigest, d.TargetDigest)
		}
	}
}

func TestMissingAndExtraItemsAreFound(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 10)
	ts.damage()
	ts.putTarget("id", "k2", "v", 2, "w", "added", "a", "added")
	result, found := ts.verify()
	ts.expect(result, verdict{sourceItems: 10, targetItems: 10, missing: 1, extra: 1, different: 2})
	want := map[string]difference{
		"k0": {Kind: verify.Missing, SourceDigest: digest(t, testkit.Item("id", "k0", "v", 0))},
		"k1": {
			Kind: verify.Different, Attributes: []string{"v"},
			SourceDigest: digest(t, testkit.Item("id", "k1", "v", 1)), TargetDigest: digest(t, testkit.Item("id", "k1", "v", "damaged")),
		},
		"k2": {
			Kind: verify.Different, Attributes: []string{"a", "w"},
			SourceDigest: digest(t, testkit.Item("id", "k2", "v", 2)),
			TargetDigest: digest(t, testkit.Item("id", "k2", "v", 2, "w", "added", "a", "added")),
		},
		"x": {Kind: verify.Extra, TargetDigest: digest(t, testkit.Item("id", "x", "v", 0))},
	}
	for id, w := range want {
		got := found[fmt.Sprintf(`{"id":{"S":"%s"}}`, id)]
		if got.Kind != w.Kind || got.SourceDigest != w.SourceDigest || got.TargetDigest != w.TargetDigest || !slices.Equal(got.Attributes, w.Attributes) {
			t.Errorf("%s: %+v, want %+v", id, got, w)
		}
	}
	if len(found) != len(want) {
		t.Errorf("%d differences reported, want %d", len(found), len(want))
	}
}

// TestOneTableEmpty is what somebody sees who forgot the seed, and more candidates than are looked at in one request.
func TestOneTableEmpty(t *testing.T) {
	t.Parallel()
	const count = 450
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var items []attrs
	for i := range count {
		items = append(items, with(fmt.Sprint(i), nil))
	}
	testkit.Fill(t, ts.engine, ts.source, items)
	result, found := ts.verify()
	ts.expect(result, verdict{sourceItems: count, missing: count})
	if len(found) != count || result.TargetFingerprint != strings.Repeat("0", 64) {
		t.Errorf("%d differences reported, fingerprint %s", len(found), result.TargetFingerprint)
	}
	other := ts.options(func(o *verify.Options) {
		o.Source, o.SourceTable, o.Target, o.TargetTable = o.Target, o.TargetTable, testkit.Client(ts.sourceProxy.URL), o.SourceTable
	})
	result, err := verify.Run(t.Context(), other)
	if got := verdictOf(result); err != nil || got != (verdict{targetItems: count, extra: count}) {
		t.Errorf("the other way round: %+v, %v", got, err)
	}
}

// TestReportsComeOneAtATime counts without a lock: it is a data race, and seen as one, if they come together.
func TestReportsComeOneAtATime(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var items []attrs
	for i := range 200 {
		items = append(items, with(fmt.Sprint(i), nil))
	}
	testkit.Fill(t, ts.engine, ts.source, items)
	ts.putSource("id", "both")
	ts.putTarget("id", "both") // with which the Scan of the target has seen how large items are: a look reads 100 of them together
	// The answers to the two looks, of 100 items each, come together, so that the reports would.
	var together sync.WaitGroup
	together.Add(2)
	ts.targetProxy.Use(on("BatchGetItem", func(int, *testkit.Exchange) *testkit.Response {
		together.Done()
		together.Wait()
		return nil
	}))
	calls := 0
	ts.verify(reporting(func(difference) { calls++ }))
	if calls != 200 {
		t.Errorf("%d reports", calls)
	}
}

// TestSwappedItemsAreFound: sums of values, or an XOR of the items, would be the same on both sides.
func TestSwappedItemsAreFound(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	ts.putSource("id", "A", "v", 1)
	ts.putSource("id", "B", "v", 2)
	ts.putTarget("id", "A", "v", 2)
	ts.putTarget("id", "B", "v", 1)
	// The same error in two items.
	for _, id := range []string{"C", "D"} {
		ts.putSource("id", id, "v", "right")
		ts.putTarget("id", id, "v", "wrong")
	}
	result, found := ts.verify()
	ts.expect(result, verdict{sourceItems: 4, targetItems: 4, different: 4})
	if len(found) != 4 {
		t.Errorf("differences: %v", found)
	}
}

// otherSpelling changes what the engine answers to what DynamoDB would call the same.
var otherSpelling = map[string]string{
	`{"N":"1500"}`:                        `{"N":"1.5E+3"}`,
	`{"N":"0.25"}`:                        `{"N":"00.250"}`,
	`{"N":"0"}`:                           `{"N":"-0.0"}`,
	`{"SS":["a","b"]}`:                    `{"SS":["b","a"]}`,
	`{"NS":["1","20"]}`:                   `{"NS":["2E1","1.0"]}`,
	`{"BS":["AQ==","Ag=="]}`:              `{"BS":["Ag==","AQ=="]}`,
	`{"M":{"a":{"S":"x"},"b":{"S":"y"}}}`: `{"M":{"b":{"S":"y"},"a":{"S":"x"}}}`,
}

// TestSpellingIsNoDifference: all of it has to match in the scans, without a look at any item, and in the look alone.
func TestSpellingIsNoDifference(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S", Range: "n:N"})
	values := []types.AttributeValue{
		num("1500"), num("0.25"), num("0"), strs("a", "b"), nums("1", "20"), bins([]byte{1}, []byte{2}), mapOf("a", "x", "b", "y"),
	}
	var items []attrs
	for i, v := range values {
		items = append(items, testkit.Item("id", fmt.Sprint(i), "n", 1500, "v", v))
	}
	ts.fill(items)
	var mu sync.Mutex
	spelled := map[string]bool{}
	respell := func(body []byte) []byte {
		mu.Lock()
		defer mu.Unlock()
		body = change(body, func(object) {}) // maps sorted by name
		for from, to := range otherSpelling {
			if bytes.Contains(body, []byte(from)) {
				spelled[from] = true
				body = bytes.ReplaceAll(body, []byte(from), []byte(to))
			}
		}
		return body
	}
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "Scan" && x.Op != "BatchGetItem" {
			return nil
		}
		return answer(x, respell)
	})
	result, found := ts.verify()
	count := int64(len(values))
	ts.expect(result, verdict{match: true, sourceItems: count, targetItems: count})
	if len(found) > 0 || len(spelled) != len(otherSpelling) {
		t.Errorf("differences %v; respelled %v", found, slices.Collect(maps.Keys(spelled)))
	}

	// Now a scan that misses every item of the target: the look alone decides.
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		switch x.Op {
		case "Scan":
			return answer(x, func(body []byte) []byte {
				return change(body, func(o object) { o["Items"], o["Count"] = []any{}, 0 })
			})
		case "BatchGetItem":
			return answer(x, respell)
		}
		return nil
	})
	clear(spelled)
	result, _ = ts.verify()
	ts.expect(result, verdict{match: true, sourceItems: count, targetItems: count, settled: count})
	if len(spelled) != len(otherSpelling) {
		t.Errorf("respelled %v", slices.Collect(maps.Keys(spelled)))
	}
}
