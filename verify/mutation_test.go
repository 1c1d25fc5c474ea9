package verify_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"reseal/internal/item/itemtest"
	"reseal/internal/test/testkit"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"pgregory.net/rapid"
)

// mutant is an item, the same in other clothes, and one that differs from it in a single place.
type mutant struct {
	item, disguised, changed attrs
	kind                     string // of the change
}

var mutantGen = rapid.Custom(func(t *rapid.T) mutant {
	drawn := itemtest.Attributes.Draw(t, "item")
	changed, kind := itemtest.ChangeAttributes(t, drawn)
	return mutant{
		item: itemtest.Named(drawn), disguised: itemtest.Named(itemtest.DisguiseAll(t, drawn)),
		changed: itemtest.Named(itemtest.DisguiseAll(t, changed)), kind: kind,
	}
})

func keyed(m attrs, id string) attrs {
	all := maps.Clone(m)
	all["id"] = str(id)
	return all
}

// TestMutations makes one random change in each of 10,000 random items, and each must be found; and each item once more in another
// spelling, none of which may be.
func TestMutations(t *testing.T) {
	t.Parallel()
	const mutations = 10_000
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var sources, targets []attrs
	kinds, names := map[string]int{}, make(map[string]mutant, mutations)
	for i := range mutations {
		m := mutantGen.Example(i)
		changed, same := fmt.Sprint("changed ", i), fmt.Sprint("same ", i)
		sources = append(sources, keyed(m.item, changed), keyed(m.item, same))
		targets = append(targets, keyed(m.changed, changed), keyed(m.disguised, same))
		kinds[m.kind]++
		names[fmt.Sprintf(`{"id":{"S":"%s"}}`, changed)] = m
	}
	testkit.Fill(t, ts.engine, ts.source, sources)
	testkit.Fill(t, ts.engine, ts.target, targets)
	result, found := ts.verify(segments(4))
	ts.expect(result, verdict{sourceItems: 2 * mutations, targetItems: 2 * mutations, different: mutations})
	missed := 0
	for key, m := range names {
		if found[key].Kind != verify.Different {
			if missed++; missed <= 3 {
				t.Errorf("not found: %s: %s: %s to %s", key, m.kind, itemtest.Oracle(mapValue(m.item)), itemtest.Oracle(mapValue(m.changed)))
			}
		}
	}
	for key := range found {
		if _, is := names[key]; !is {
			t.Errorf("%s is equal", key)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		t.Logf("%5d %s", kinds[kind], kind)
	}
	for _, kind := range []string{
		"number: the 38th digit", "number: sign", "text: a letter", "binary: a bit", "boolean", "list: order", "list: element removed",
		"string set: element changed", "number set: element changed", "binary set: element changed", "entry removed, empty text",
		"entry removed, null", "entry added", "entry renamed", "type: S to B", "type: N to S", "type: SS to NS", "type: L to M", "type: M to NULL",
	} {
		if kinds[kind] < 5 {
			t.Errorf("only %d changes: %s", kinds[kind], kind)
		}
	}
}

func mapValue(m attrs) types.AttributeValue { return &types.AttributeValueMemberM{Value: m} }
