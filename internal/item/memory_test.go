// With the race detector a sync.Pool forgets some of what it is given.

//go:build !race

package item

import (
	"bytes"
	"testing"
)

// What is done to every item allocates nothing, or as much for a page as for one item. A change that makes it allocate fails here,
// not in somebody's memory.
func TestMemoryOfItems(t *testing.T) {
	one, equal, schema := benchItem(7), benchInOtherWords(7), schemaOf("country", "S", "id", "N")
	key, err := schema.KeyOf(one)
	if err != nil {
		t.Fatal(err)
	}
	// Names and strings have escapes.
	escaped := bytes.ReplaceAll([]byte(`{"country":{"S":"AD"},"tags":{"L":[{"S":"\"x"},{"M":{"in":{"SS":["b","a"]}}}]},"n":{"N":"1"}}`), []byte(`a`), []byte(`\u0061`))
	hard, err := Parse(escaped)
	if err != nil {
		t.Fatal(err)
	}
	pages := [][]Item{benchPage(1), benchPage(200)}
	var text []byte
	for _, test := range []struct {
		what string
		most float64
		do   func() error
	}{
		{"Cut", 0, func() error { _, _, err := Cut(one.JSON()); return err }},
		{"Cut, escaped", 0, func() error { _, _, err := Cut(hard.JSON()); return err }},
		{"Digest", 0, func() error { _, err := one.Digest(); return err }},
		{"Digest, escaped", 0, func() error { _, err := hard.Digest(); return err }},
		{"Equal, the same bytes", 0, func() error { _, err := Equal(one, one); return err }},
		{"Equal, other bytes", 0, func() error { _, err := Equal(one, equal); return err }},
		{"AppendID", 0, func() (err error) { text, err = schema.AppendID(text[:0], one); return err }},
		{"KeyOf", 1, func() error { _, err := schema.KeyOf(one); return err }},                              // its ID
		{"KeysOf one item", 4, func() error { _, err := schema.KeysOf(pages[0]); return err }},              // the IDs twice, their ends, the keys
		{"KeysOf 200 items", 4, func() error { _, err := schema.KeysOf(pages[1]); return err }},             // the same
		{"AppendJSON of a key", 1, func() (err error) { text, err = key.AppendJSON(text[:0]); return err }}, // its values
	} {
		if err := test.do(); err != nil { // and the pools are warm
			t.Fatalf("%s: %v", test.what, err)
		}
		if n := testing.AllocsPerRun(200, func() { _ = test.do() }); n > test.most {
			t.Errorf("%s: %.0f allocations, %.0f at the most", test.what, n, test.most)
		}
	}
}
