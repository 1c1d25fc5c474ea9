package verify

import (
	"fmt"
	"sync/atomic"
)

// SegmentMap tells where in the two tables items and differences are. Each cell stands for a segment of the Scan, or for some
// neighbouring ones where there are more than mapCells.
type SegmentMap struct {
	Segments int // of the Scan
	Source   []Cell
	Target   []Cell
}

// Cell is a part of one table.
type Cell struct {
	First, Last int   // segments, counted from 0
	Compared    int   // of them, those that were read: in a sample not all are
	Items       int64 // that the Scan returned
	Differences int64 // of what the Scan returned; what only the other table has is in that one's cell alone
}

// Name is the cell's segments in words.
func (c Cell) Name() string {
	if c.First == c.Last {
		return fmt.Sprintf("segment %d", c.First)
	}
	return fmt.Sprintf("segments %d to %d", c.First, c.Last)
}

// mapCells bounds the memory of a map, however many segments there are.
const mapCells = 256

// CellOf returns the number of the cell with a segment.
func (m SegmentMap) CellOf(segment int) int { return cellOf(segment, m.Segments) }

// cellOf shares the segments out evenly.
func cellOf(segment, segments int) int {
	return int(int64(segment) * int64(min(segments, mapCells)) / int64(segments))
}

// places counts for the map. Adding items is safe for concurrent use, adding differences is not.
type places struct {
	segments    int
	compared    []int
	items       [2][]atomic.Int64 // by origin
	differences [2][]int64
}

func newPlaces(segments []int, total int) *places {
	p := &places{segments: total, compared: make([]int, min(total, mapCells))}
	for _, segment := range segments {
		p.compared[cellOf(segment, total)]++
	}
	for side := range p.items {
		p.items[side] = make([]atomic.Int64, len(p.compared))
		p.differences[side] = make([]int64, len(p.compared))
	}
	return p
}

func (p *places) addItems(from origin, segment, count int) {
	p.items[from][cellOf(segment, p.segments)].Add(int64(count))
}

func (p *places) addDifference(at seen) {
	for side := range at {
		if segment, is := at.segment(origin(side)); is {
			p.differences[side][cellOf(segment, p.segments)]++
		}
	}
}

// counts are the items of one side by cell, for the checkpoint.
func (p *places) counts(from origin) []int64 {
	list := make([]int64, len(p.compared))
	for i := range list {
		list[i] = p.items[from][i].Load()
	}
	return list
}

// restore takes over what counts returned. It tells whether that was of as many cells.
func (p *places) restore(from origin, list []int64) bool {
	if len(list) != len(p.compared) {
		return false
	}
	for i, count := range list {
		p.items[from][i].Store(count)
	}
	return true
}

func (p *places) show() *SegmentMap {
	cells := func(from origin) []Cell {
		list := make([]Cell, len(p.compared))
		for segment := p.segments - 1; segment >= 0; segment-- {
			cell := &list[cellOf(segment, p.segments)]
			cell.First, cell.Last = segment, max(cell.Last, segment)
		}
		for i := range list {
			list[i].Compared, list[i].Items, list[i].Differences = p.compared[i], p.items[from][i].Load(), p.differences[from][i]
		}
		return list
	}
	return &SegmentMap{Segments: p.segments, Source: cells(fromSource), Target: cells(fromTarget)}
}

// seen holds for each table, by origin, 1 + the segment in which the Scan returned an item; 0 where it didn't.
type seen [2]uint32

func seenIn(from origin, segment int) seen {
	var s seen
	s[from] = uint32(segment) + 1 //nolint:gosec // a segment is below scan.MaxSegments
	return s
}

func (s seen) segment(from origin) (int, bool) { return int(s[from]) - 1, s[from] > 0 }

// with returns what both know; where they differ, as where an item came twice, the first holds.
func (s seen) with(o seen) seen {
	for side := range s {
		if s[side] == 0 {
			s[side] = o[side]
		}
	}
	return s
}
