package item

import (
	"bytes"
	"testing"
)

// benchItem is a row like those in most tables: a dozen scalars, a small list
// and a map, about 300 bytes.
func benchItem() Item {
	return Of(attrs{
		"country": str("AD"), "place": str("Andorra la Vella"), "id": num("1234567890"), "latitude": num("42.50779"),
		"longitude": num("1.52109"), "population": num("20430"), "elevation": num("1037"), "active": boolean(true),
		"deleted": null(), "alternate": strSet("Andora", "Andorra", "La Vella"), "codes": numSet("7", "12", "105"),
		"thumbnail": bin(make([]byte, 64)...), "tags": listOf(str("capital"), str("town"), num("3")),
		"modified": mapOf(attrs{"by": str("import"), "at": num("1700000000")}),
	})
}

// cutAll cuts a list of items as they are in an answer.
func cutAll(text []byte) (items int, err error) {
	for len(text) > 0 {
		_, rest, err := Cut(text)
		if err != nil {
			return items, err
		}
		text = rest
		items++
	}
	return items, nil
}

func BenchmarkCut(b *testing.B) {
	text := bytes.Repeat(benchItem().JSON(), 100)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if n, err := cutAll(text); err != nil || n != 100 {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkEqual(b *testing.B) {
	for name, other := range map[string]Item{"same": benchItem().Clone(), "respelled": respelled()} {
		b.Run(name, func(b *testing.B) {
			it := benchItem()
			b.ReportAllocs()
			for b.Loop() {
				if same, err := Equal(it, other); err != nil || !same {
					b.Fatal(same, err)
				}
			}
		})
	}
}

// respelled is the same item, with a number in other words.
func respelled() Item {
	text := bytes.Replace(benchItem().JSON(), []byte(`"20430"`), []byte(`"2043E1"`), 1)
	it, err := Parse(text)
	if err != nil {
		panic(err)
	}
	return it
}

func BenchmarkDigest(b *testing.B) {
	it := benchItem()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := it.Digest(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkKeyOf(b *testing.B) {
	it, schema := benchItem(), schemaOf("country", "S", "id", "N")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := schema.KeyOf(it); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSizes(b *testing.B) {
	it := benchItem()
	b.ReportAllocs()
	for b.Loop() {
		if it.Size() == 0 || it.WireSize() == 0 {
			b.Fatal("no size")
		}
	}
}
