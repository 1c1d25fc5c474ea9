package openkeys

import "hash/maphash"

// filter tells of a key that it is not among some others, or that it may be. It takes a byte for each key.
type filter []byte

var filterSeed = maphash.MakeSeed()

func newFilter(list []*entry) filter {
	f := make(filter, len(list)+1)
	for _, e := range list {
		for _, bit := range f.bits(e.id) {
			f[bit/8] |= 1 << (bit % 8)
		}
	}
	return f
}

// bits are those of a key, which all keys with the same hash share.
func (f filter) bits(id string) [4]uint64 {
	hash := maphash.String(filterSeed, id)
	n, step := uint64(len(f))*8, hash>>32|1
	var bits [4]uint64
	for i := range bits {
		bits[i] = (hash + uint64(i)*step) % n //nolint:gosec // i is small
	}
	return bits
}

func (f filter) mayHave(id string) bool {
	for _, bit := range f.bits(id) {
		if f[bit/8]&(1<<(bit%8)) == 0 {
			return false
		}
	}
	return true
}
