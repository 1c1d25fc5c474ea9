package item

import (
	"fmt"
	"testing"
)

// benchJSON is a row like those in most tables, about 300 bytes as DynamoDB counts them: a dozen scalars, sets, a small list and a
// map, in the order in which an engine may send them. %d is its sort key.
const benchJSON = `{"latitude":{"N":"42.50779"},"place":{"S":"Andorra la Vella"},"deleted":{"NULL":true},"country":{"S":"AD"},` +
	`"population":{"N":"20430"},"alternate":{"SS":["La Vella","Andora","Andorra"]},"longitude":{"N":"1.52109"},` +
	`"codes":{"NS":["7","12","105"]},"id":{"N":"%d"},"active":{"BOOL":true},` +
	`"tags":{"L":[{"S":"capital"},{"S":"town"},{"N":"3"}]},"elevation":{"N":"1037"},` +
	`"thumbnail":{"B":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="},` +
	`"modified":{"M":{"by":{"S":"import"},"at":{"N":"1700000000"}}}}`

func benchItem(id int) Item {
	it, err := Parse(fmt.Appendf(nil, benchJSON, id))
	if err != nil {
		panic(err)
	}
	return it
}

// benchPage is many of them, as an answer has them.
func benchPage(count int) []Item {
	page := make([]Item, count)
	for i := range page {
		page[i] = benchItem(i)
	}
	return page
}

// benchInOtherWords is equal to benchItem, but not byte for byte.
func benchInOtherWords(id int) Item {
	attributes := benchItem(id).Attributes()
	attributes["latitude"] = num("42.507790")
	return Of(attributes)
}

func BenchmarkDigest(b *testing.B) {
	it := benchItem(7)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := it.Digest(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeyOf(b *testing.B) {
	it, schema := benchItem(7), schemaOf("country", "S", "id", "N")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schema.KeyOf(it); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKeysOf is of 100 items.
func BenchmarkKeysOf(b *testing.B) {
	page, schema := benchPage(100), schemaOf("country", "S", "id", "N")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schema.KeysOf(page); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeyAppendJSON(b *testing.B) {
	key, err := schemaOf("country", "S", "id", "N").KeyOf(benchItem(7))
	if err != nil {
		b.Fatal(err)
	}
	var text []byte
	b.ReportAllocs()
	for b.Loop() {
		if text, err = key.AppendJSON(text[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCut(b *testing.B) {
	text := benchItem(7).JSON()
	b.ReportAllocs()
	for b.Loop() {
		if it, _, err := Cut(text); err != nil || it.Size() == 0 {
			b.Fatal(it, err)
		}
	}
}

// BenchmarkEqual is of two items that are the same in other words, which is the long way.
func BenchmarkEqual(b *testing.B) {
	one, another := benchItem(7), benchInOtherWords(7)
	b.ReportAllocs()
	for b.Loop() {
		if equal, err := Equal(one, another); err != nil || !equal {
			b.Fatal(equal, err)
		}
	}
}

// BenchmarkOf is the way of what the SDK has read.
func BenchmarkOf(b *testing.B) {
	attributes := benchItem(7).Attributes()
	b.ReportAllocs()
	for b.Loop() {
		if Of(attributes).Absent() {
			b.Fatal("absent")
		}
	}
}
