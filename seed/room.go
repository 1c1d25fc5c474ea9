package seed

import (
	"context"
	"sync/atomic"

	"reseal/internal/item"

	"golang.org/x/sync/semaphore"
)

// What pages in memory may take together, in bytes, whatever the number of segments, and what a decoded page takes: an item of
// few attributes takes much more than its size, in maps and headers. Measured with items of 100 bytes to 100 KB; the rest of the
// process takes about 30 MB.
const (
	roomBytes      = 24 << 20
	itemBytes      = 1200 // of memory for each item
	bytesPerByte   = 2    // of memory for each byte of the items: the answer and what was decoded from it
	firstPageBytes = 8 << 20
)

// Pages are no larger than pageBytes in memory, so that many segments have one, but no smaller than leastPage in items: each
// page is charged in units of 4 KB, half of which is wasted on average, and of leastPage that is 0.5 %.
const (
	pageBytes = 4 << 20
	leastPage = 448 << 10
)

// pageItems is the most items of the given average size, in bytes, that a page should have.
func pageItems(bytes float64) float64 {
	return max(pageBytes/(itemBytes+bytesPerByte*bytes), leastPage/bytes)
}

// room bounds the memory of pages. Segments whose last page was throttled share one half of it, so that a partition of the
// target that takes no more can't keep the other segments from going on. It is safe for concurrent use.
type room struct {
	all, slow *semaphore.Weighted
	next      atomic.Int64 // bytes that the last page took: the best guess for the next one
}

func newRoom() *room {
	r := &room{all: semaphore.NewWeighted(roomBytes), slow: semaphore.NewWeighted(roomBytes / 2)}
	r.next.Store(firstPageBytes)
	return r
}

// place is what one page has of the room.
type place struct {
	room   *room
	weight int64
	slow   bool
}

// enter waits until there is room for a page.
func (r *room) enter(ctx context.Context, slow bool) (*place, error) {
	p := &place{room: r, weight: min(r.next.Load(), roomBytes/2), slow: slow}
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

// holds corrects the place to what the page really takes. If that is more than there is, the page keeps what it has: it is in
// memory already.
func (p *place) holds(items []item.Item) {
	bytes := int64(0)
	for _, it := range items {
		bytes += itemBytes + bytesPerByte*int64(it.Size())
	}
	if bytes == 0 {
		return
	}
	p.room.next.Store(bytes)
	switch more := min(bytes, roomBytes/2) - p.weight; {
	case more < 0:
		p.release(-more)
	case p.slow && !p.room.slow.TryAcquire(more):
	case p.room.all.TryAcquire(more):
		p.weight += more
	case p.slow:
		p.room.slow.Release(more)
	}
}

// leave gives the place back.
func (p *place) leave() { p.release(p.weight) }

func (p *place) release(weight int64) {
	p.weight -= weight
	p.room.all.Release(weight)
	if p.slow {
		p.room.slow.Release(weight)
	}
}
