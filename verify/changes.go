package verify

import (
	"context"
	"encoding/json"
	"time"

	"reseal/internal/item"
)

// change is what a stream record says of its key.
type change struct {
	key  item.Key
	made time.Time // by the service's clock
}

// changes is the source's stream, from a position on.
type changes interface {
	// Run hands on the changes of each shard in their order until ctx ends, whose error it returns then. The position moves past a page
	// only when it was taken. What was trimmed, or a stream that was disabled, is an error.
	Run(ctx context.Context, page func(shard string, changes []change) error) error
	// Position is where another run may go on without missing a change.
	Position() (json.RawMessage, error)
	// ReadThrough is a time, by this machine's clock, up to which each change was handed on; the zero time if none is known.
	ReadThrough() time.Time
	Throttled() int64
}
