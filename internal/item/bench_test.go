package item

import "testing"

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
