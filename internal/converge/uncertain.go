package converge

import (
	"sync"
	"time"

	"reseal/internal/item"
)

// Uncertain holds the keys with a write of unknown outcome: see "Writes whose answer was lost" in the package's doc. It is safe for
// concurrent use.
type Uncertain struct {
	mu   sync.Mutex
	keys map[string]lostKey
	last time.Time // when the newest was added
}

type lostKey struct {
	key item.Key
	at  time.Time
}

// NewUncertain returns an empty list.
func NewUncertain() *Uncertain { return &Uncertain{keys: map[string]lostKey{}} }

// Add notes that a write of each of the keys was lost just now, at the latest.
func (u *Uncertain) Add(keys []item.Key) {
	if len(keys) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.last = time.Now()
	for _, key := range keys {
		key = key.Clone() // the key of a page shares memory with all the others
		u.keys[key.ID()] = lostKey{key, u.last}
	}
}

// Len is the number of keys.
func (u *Uncertain) Len() int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.keys)
}

// IDs returns Key.ID of all keys.
func (u *Uncertain) IDs() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	ids := make([]string, 0, len(u.keys))
	for id := range u.keys {
		ids = append(ids, id)
	}
	return ids
}

// snapshot returns all keys and when the newest of them was added.
func (u *Uncertain) snapshot() ([]item.Key, time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	keys := make([]item.Key, 0, len(u.keys))
	for _, lost := range u.keys {
		keys = append(keys, lost.key)
	}
	return keys, u.last
}

// settled takes the keys of a snapshot out again, but for those that were lost once more after it.
func (u *Uncertain) settled(keys []item.Key, taken time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, key := range keys {
		if lost, is := u.keys[key.ID()]; is && !lost.at.After(taken) {
			delete(u.keys, key.ID())
		}
	}
}
