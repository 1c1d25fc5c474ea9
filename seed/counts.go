package seed

import (
	"math"
	"sync/atomic"

	"reseal/internal/item"
)

// counts is what a run has read and written so far. It is safe for concurrent use.
type counts struct {
	read, written            atomic.Int64 // items
	bytes                    atomic.Int64 // of the items read
	leastChecks, leastWrites atomic.Int64 // units of one consistent read and one write of each item read
}

// addRead counts an item that a page has.
func (c *counts) addRead(it item.Item) {
	c.read.Add(1)
	c.bytes.Add(int64(it.Size()))
	c.leastChecks.Add(int64(it.ReadUnits()))
	c.leastWrites.Add(int64(it.WriteUnits()))
}

// leastReads is the least that reading the items could cost: one Scan of their bytes, 0.5 units for 4 KB, and, with a re-check, one
// consistent read of each (DynamoDB developer guide, "DynamoDB read and write operations").
func (c *counts) leastReads(recheck bool) float64 {
	units := math.Ceil(float64(c.bytes.Load())/4096) / 2
	if recheck {
		units += float64(c.leastChecks.Load())
	}
	return units
}
