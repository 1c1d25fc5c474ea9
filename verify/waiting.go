package verify

// waiting is a set of items that wait for their counterpart, by Key.ID. Its memory is used again: a pair that comes and goes
// allocates nothing once the set has been as large as it gets. (A map with the IDs as its keys would need memory for each of them.)
// It isn't safe for concurrent use. The zero value is empty.
type waiting struct {
	first  map[uint64]int32 // the place of the first item of each hash
	chunks [][]waiter       // each of chunkWaiters
	used   int32            // places that were ever taken
	free   int32            // the last place given back, plus 1; 0: none
	count  int
}

// waiter is one item. Those with the same hash are a list.
type waiter struct {
	id   []byte // Key.ID
	next int32  // the place of the next one, or of the next free place, plus 1; 0: none
	pending
}

const chunkWaiters = 64

func (w *waiting) at(place int32) *waiter { return &w.chunks[place/chunkWaiters][place%chunkWaiters] }

// find returns the item with the ID, and the place of the one before it in its list, plus 1 (0: it is the first).
func (w *waiting) find(hash uint64, id string) (found *waiter, place, before int32) {
	place, is := w.first[hash]
	if !is {
		return nil, 0, 0
	}
	for {
		found = w.at(place)
		if string(found.id) == id {
			return found, place, before
		}
		if found.next == 0 {
			return nil, 0, 0
		}
		before = place + 1
		place = found.next - 1
	}
}

// add adds an item that isn't there.
func (w *waiting) add(hash uint64, id string, p pending) {
	place := w.free - 1
	if place >= 0 {
		w.free = w.at(place).next
	} else {
		place = w.used
		w.used++
		if int(place)/chunkWaiters == len(w.chunks) {
			w.chunks = append(w.chunks, make([]waiter, chunkWaiters))
		}
	}
	one := w.at(place)
	one.id, one.pending, one.next = append(one.id[:0], id...), p, 0
	if first, is := w.first[hash]; is {
		one.next = first + 1
	}
	if w.first == nil {
		w.first = map[uint64]int32{}
	}
	w.first[hash] = place
	w.count++
}

// remove takes out an item that find has found.
func (w *waiting) remove(hash uint64, found *waiter, place, before int32) {
	switch {
	case before > 0:
		w.at(before - 1).next = found.next
	case found.next > 0:
		w.first[hash] = found.next - 1
	default:
		delete(w.first, hash)
	}
	found.next = w.free
	w.free = place + 1
	w.count--
}

// each calls visit for each item. Nothing may be added or removed meanwhile.
func (w *waiting) each(visit func(id string, p pending) error) error {
	for _, place := range w.first {
		for {
			one := w.at(place)
			if err := visit(string(one.id), one.pending); err != nil {
				return err
			}
			if one.next == 0 {
				break
			}
			place = one.next - 1
		}
	}
	return nil
}
