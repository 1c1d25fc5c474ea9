package replicate

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// Poison takes a record whose item the target refuses for what it is (the wrong type for an index key of the target, say, or a full item
// collection: see call.ItemRefused), which no repetition will change. If it returns nil, the record counts as done, and the target keeps the item's older
// version or none, which a verification reports. An error leaves the record unapplied. It is called by several goroutines at a time. It
// must not keep the record's image, whose memory may be used again.
//
// Without one, such a record is not applied, and what comes after it in its shard waits. A tailer looks for a later record of the item
// that the target takes, in what the stream has by then, and ends if there is none; the Lambda has only the event.
type Poison func(ctx context.Context, record Record, reason error) error

// What may be done with records whose items the target refuses.
const (
	OnPoisonBlock      = "block"       // nothing: their shard waits
	OnPoisonDeadLetter = "dead-letter" // they go to a Queue
)

// ErrPoison is why a record wasn't applied whose item the target refuses.
var ErrPoison = errors.New("the target refuses the item")

// ErrRefusesAll says that the target refuses so many items, or so many in a row, that the fault is hardly theirs: its keys differ, say.
// No more of them are handed on.
var ErrRefusesAll = errors.New("the target refuses too many items for the fault to be theirs: compare its keys and indexes with the source's")

// Bounds of what is handed on, in a run, or by one instance of the Lambda's function.
const (
	maxRefused      = 10_000
	maxRefusedInRow = 100 // with no item written between
)

// refusals counts the items that were refused. It is safe for concurrent use.
type refusals struct {
	mu           sync.Mutex
	total, inRow int
}

// count counts one, and returns an error if it is one too many.
func (r *refusals) count(reason error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.total >= maxRefused || r.inRow >= maxRefusedInRow {
		return fmt.Errorf("%w: %d in a row, %d in all, the last one: %w", ErrRefusesAll, r.inRow, r.total, reason)
	}
	r.total++
	r.inRow++
	return nil
}

// passed notes that an item was written.
func (r *refusals) passed() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.inRow = 0
}
