package replicate

import (
	"context"
	"errors"
)

// Poison takes a record whose item the target refuses for what it holds (ValidationException: the wrong type for an index key of the
// target, say), which no repetition will change. If it returns nil, the record counts as done, and the target keeps the item's older
// version or none, which a verification reports. An error leaves the record unapplied. It is called by several goroutines at a time. It
// must not keep the record's image, whose memory may be used again.
//
// Without one, such a record is not applied, and what comes after it in its shard waits.
type Poison func(ctx context.Context, record Record, reason error) error

// What may be done with records whose items the target refuses.
const (
	OnPoisonBlock      = "block"       // nothing: their shard waits
	OnPoisonDeadLetter = "dead-letter" // they go to a Queue
)

// ErrPoison is why a record wasn't applied whose item the target refuses.
var ErrPoison = errors.New("the target refuses the item")
