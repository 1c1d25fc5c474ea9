package canned

import (
	"testing"

	"reseal/internal/item"
)

// The items have the size that the server charges for.
func TestItemSize(t *testing.T) {
	for _, size := range []int{LeastSize, DefaultSize, 600, 4096, 100 << 10} {
		s := &Server{Items: 1, Size: size}
		it, err := item.Parse(s.appendItem(nil, 9999))
		if err != nil {
			t.Fatal(err)
		}
		if got := it.Size(); got != size {
			t.Errorf("%d bytes, want %d", got, size)
		}
	}
}
