package scan_test

import (
	"slices"
	"testing"

	"reseal/internal/scan"
)

func TestRanges(t *testing.T) {
	for _, done := range []string{"", ".", "x", ".x.", "xx.xx", "x.x.x", "..xxx", "xxxx"} {
		flags := make([]bool, len(done))
		for i := range done {
			flags[i] = done[i] == 'x'
		}
		list := scan.Ranges(flags)
		again := make([]bool, len(done))
		err := scan.EachOf(list, len(done), func(segment int) {
			if again[segment] {
				t.Errorf("%q: %d twice", done, segment)
			}
			again[segment] = true
		})
		if err != nil || !slices.Equal(flags, again) {
			t.Errorf("%q: %v, %v", done, list, err)
		}
		for i := 1; i < len(list); i++ {
			if list[i][0] <= list[i-1][1]+1 {
				t.Errorf("%q: %v is not the shortest", done, list)
			}
		}
	}
}

func TestRangesThatAreNone(t *testing.T) {
	for _, r := range []scan.Range{{-1, 0}, {1, 0}, {0, 4}, {4, 4}} {
		if err := scan.EachOf([]scan.Range{{0, 1}, r}, 4, func(int) {}); err == nil {
			t.Errorf("%v is taken", r)
		}
	}
}
