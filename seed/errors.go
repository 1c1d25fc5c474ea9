package seed

import (
	"reseal/internal/refuse"
	"reseal/internal/table"
)

// ErrRefused is what errors.Is finds in an error with which nothing was done: an option is wrong, or a check before the start failed. The
// error says in one line what is wrong, and what to do about it.
var ErrRefused = refuse.ErrRefused

// ErrChanged says that a table, or the source's stream, was replaced under the seed: what it found or did is worth nothing then.
var ErrChanged = table.ErrChanged
