package seed

import (
	"sync"
	"time"

	"reseal/internal/item"
)

// maxLost is how many uncertain keys may gather before they are settled in the middle of the run, to bound the memory.
const maxLost = 20_000

// ledger holds the keys with a write of unknown outcome: see "Writes whose answer was lost" in internal/converge
type ledger struct {
	mu   sync.Mutex
	keys map[string]lostKey
	last time.Time // when the newest was added
}

type lostKey struct {
	key item.Key
	at  time.Time
}

func newLedger() *ledger { return &ledger{keys: map[string]lostKey{}} }

func (l *ledger) add(keys []item.Key) {
	if len(keys) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = time.Now()
	for _, key := range keys {
		l.keys[key.ID()] = lostKey{key.Clone(), l.last} // the key of a page shares memory with all the others
	}
}

func (l *ledger) len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.keys)
}

// snapshot returns all keys and when the newest of them was added.
func (l *ledger) snapshot() ([]item.Key, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keys := make([]item.Key, 0, len(l.keys))
	for _, lost := range l.keys {
		keys = append(keys, lost.key)
	}
	return keys, l.last
}

// settled takes the keys of a snapshot out again, but for those that were lost once more after it.
func (l *ledger) settled(keys []item.Key, taken time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range keys {
		if lost, is := l.keys[key.ID()]; is && !lost.at.After(taken) {
			delete(l.keys, key.ID())
		}
	}
}
