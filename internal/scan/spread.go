package scan

import (
	"iter"
	"math/bits"
)

// Spread gives the numbers from 0 to n-1 in such an order that any few that follow each other are far apart (the van der Corput
// sequence). Segments are consecutive parts of the hash space: taken in their order, the ones under way would all be in one or
// two partitions of a large table, and be held to what those serve.
func Spread(n int) iter.Seq[int] {
	return func(yield func(int) bool) {
		width := bits.Len(uint(n - 1))
		for i := range 1 << width {
			if number := int(bits.Reverse(uint(i)) >> (bits.UintSize - width)); number < n && !yield(number) {
				return
			}
		}
	}
}
