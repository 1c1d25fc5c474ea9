package wire_test

import (
	"bytes"
	"slices"
	"testing"

	"reseal/internal/item"
	"reseal/internal/jsonwalk"
	"reseal/internal/wire"
)

// BenchmarkItems is of 100 items, as an answer has them.
func BenchmarkItems(b *testing.B) {
	one := []byte(`{"k":{"S":"0000000007"},"name":{"S":"Sant Julià"},"count":{"N":"42"},"latitude":{"N":"42.46372"},"tags":{"SS":["capital","border"]}}`)
	text := append(append([]byte{'['}, bytes.Join(slices.Repeat([][]byte{one}, 100), []byte{','})...), ']')
	var list []item.Item
	b.ReportAllocs()
	for b.Loop() {
		r := jsonwalk.Reader{Data: text}
		var err error
		if list, err = wire.Items(&r, list[:0]); err != nil || len(list) != 100 {
			b.Fatal(len(list), err)
		}
	}
}

func BenchmarkConsumed(b *testing.B) {
	text := []byte(`[{"TableName":"target","CapacityUnits":25.5,"Table":{"CapacityUnits":25.5}}]`)
	b.ReportAllocs()
	for b.Loop() {
		r := jsonwalk.Reader{Data: text}
		if _, err := wire.Consumed(&r); err != nil {
			b.Fatal(err)
		}
	}
}
