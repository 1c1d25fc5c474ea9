package scan_test

import (
	"slices"
	"testing"

	"reseal/internal/scan"
)

func TestSpread(t *testing.T) {
	for _, n := range []int{1, 2, 3, 16, 17, 1000, 1_000_000} {
		list := slices.Collect(scan.Spread(n))
		for i := 0; n >= 1000 && i+32 <= n; i += 32 {
			parts := map[int]bool{}
			for _, number := range list[i : i+32] {
				parts[number*8/n] = true
			}
			if len(parts) != 8 {
				t.Fatalf("of %d segments, the 32 from the %dth are in %d of 8 parts", n, i, len(parts))
			}
		}
		slices.Sort(list)
		for i, number := range list {
			if i != number {
				t.Fatalf("of %d segments, %d is missing", n, i)
			}
		}
		if len(list) != n {
			t.Errorf("%d segments of %d", len(list), n)
		}
	}
}
