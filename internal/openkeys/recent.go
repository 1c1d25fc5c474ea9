package openkeys

import (
	"maps"
	"slices"
	"time"
)

// recent are the keys that were closed of late: who must know that nothing differs now asks for those, too.
type recent struct {
	list  []closedKey // in the order in which they were closed
	bytes int64
	from  instant // all that were closed since then are in the list
}

type closedKey struct {
	id string
	at instant
}

const closedBytes = 40 // of one, beside its key

// add notes a closed key, and forgets those that are older than keep, or more than the memory takes.
func (r *recent) add(id string, now instant, keep time.Duration, memory int64) {
	if keep <= 0 {
		r.from = now
		return
	}
	r.list = append(r.list, closedKey{id, now})
	r.bytes += int64(len(id)) + closedBytes
	forgotten := 0
	for _, one := range r.list {
		if now.since(one.at) <= keep && r.bytes <= memory {
			break
		}
		r.bytes -= int64(len(one.id)) + closedBytes
		r.from = one.at + 1
		forgotten++
	}
	if forgotten == 0 {
		return
	}
	clear(r.list[:forgotten]) // the keys' memory
	r.list = r.list[forgotten:]
}

// Recent returns all keys that are open or differ, and those that were closed since a time. complete tells whether these are all of them:
// Options.Keep was long enough, and their memory too.
func (s *Set) Recent(since time.Time) (ids []string, complete bool, err error) {
	all := map[string]bool{}
	if err := s.Each(func(key Saved) error { all[key.ID] = true; return nil }); err != nil {
		return nil, false, err
	}
	s.mu.Lock() // a key that was closed in between is among both
	defer s.mu.Unlock()
	from := s.instant(since)
	for _, one := range s.closed.list {
		if one.at >= from {
			all[one.id] = true
		}
	}
	return slices.Collect(maps.Keys(all)), from >= s.closed.from, nil
}
