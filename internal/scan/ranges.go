package scan

import "errors"

// Range is the segments from the first to the second number, both included: the form in which checkpoints hold them.
type Range [2]int

// Ranges returns the numbers that are done.
func Ranges(done []bool) []Range {
	list := []Range{}
	for segment, is := range done {
		switch {
		case !is:
		case len(list) > 0 && list[len(list)-1][1] == segment-1:
			list[len(list)-1][1] = segment
		default:
			list = append(list, Range{segment, segment})
		}
	}
	return list
}

// EachOf calls use for each number in the ranges. One that isn't below segments is an error.
func EachOf(ranges []Range, segments int, use func(segment int)) error {
	for _, r := range ranges {
		if r[0] < 0 || r[0] > r[1] || r[1] >= segments {
			return errors.New("a done segment is out of range")
		}
		for segment := r[0]; segment <= r[1]; segment++ {
			use(segment)
		}
	}
	return nil
}
