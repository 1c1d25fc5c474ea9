// Package room bounds the memory that pages of a Scan take, whatever the number of segments that are read at a time.
package room

import (
	"context"
	"sync/atomic"

	"reseal/internal/item"

	"golang.org/x/sync/semaphore"
)

// What a page takes, in bytes: the answer as it came, and what is made of it.
const (
	itemBytes    = 250 // of memory for each item: its headers, its key, its write
	bytesPerByte = 2   // of an answer for each byte of an item, at the most, where JSON has little to escape
	firstPage    = 2 << 20
)

// SmallPage is the most items of the given average size, in bytes, that a page should have that stays in memory for long. It is
// then no larger than 2 MB in memory, so that many segments have one, but no smaller than 448 KB in items: each page is charged
// in units of 4 KB, half of which is wasted on average, and of 448 KB that is 0.5 %.
func SmallPage(bytes float64) float64 {
	const most, least = 2 << 20, 448 << 10
	return max(most/(itemBytes+bytesPerByte*bytes), least/bytes)
}

// Room is the memory for pages. Pages of a slow segment (the target throttles what it writes) share one half of it, so that a
// partition of the target that takes no more can't keep the other segments from going on. It is safe for concurrent use.
type Room struct {
	bytes     int64
	all, slow *semaphore.Weighted
	next      atomic.Int64 // bytes that the last page took: the best guess for the next one
}

// New returns an empty room for pages that take so many bytes together, of which one page takes no more than half.
func New(bytes int64) *Room {
	r := &Room{bytes: bytes, all: semaphore.NewWeighted(bytes), slow: semaphore.NewWeighted(bytes / 2)}
	r.next.Store(firstPage)
	return r
}

// Place is what one page has of the room. It belongs to one goroutine.
type Place struct {
	room   *Room
	weight int64
	slow   bool
}

// Enter waits until there is room for a page. It returns the context's error if that ends first.
func (r *Room) Enter(ctx context.Context, slow bool) (*Place, error) {
	p := &Place{room: r, weight: min(r.next.Load(), r.bytes/2), slow: slow}
	if slow {
		if err := r.slow.Acquire(ctx, p.weight); err != nil {
			return nil, err
		}
	}
	if err := r.all.Acquire(ctx, p.weight); err != nil {
		if slow {
			r.slow.Release(p.weight)
		}
		return nil, err
	}
	return p, nil
}

// Holds corrects the place to what the page really takes. If that is more than there is, the page keeps what it has: it is in
// memory already.
func (p *Place) Holds(items []item.Item) {
	bytes := int64(0)
	for _, it := range items {
		bytes += itemBytes + int64(it.WireSize())
	}
	if bytes == 0 {
		return
	}
	p.room.next.Store(max(bytes, p.room.next.Load()*7/8)) // the last page of a segment is a short one
	switch more := min(bytes, p.room.bytes/2) - p.weight; {
	case more < 0:
		p.release(-more)
	case p.slow && !p.room.slow.TryAcquire(more):
	case p.room.all.TryAcquire(more):
		p.weight += more
	case p.slow:
		p.room.slow.Release(more)
	}
}

// Leave gives the place back.
func (p *Place) Leave() { p.release(p.weight) }

func (p *Place) release(weight int64) {
	p.weight -= weight
	p.room.all.Release(weight)
	if p.slow {
		p.room.slow.Release(weight)
	}
}
