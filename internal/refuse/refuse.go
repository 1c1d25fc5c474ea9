// Package refuse marks the errors for which reseal does nothing at all: bad input and failed preflight checks.
package refuse

import (
	"errors"
	"fmt"
)

// ErrRefused is what errors.Is finds in each Error. The packages that programs import have it under their own names.
var ErrRefused = errors.New("nothing was done")

// Error says in one line what is wrong and what to do about it. Nothing has been written when it is returned.
type Error struct {
	Problem string
	Remedy  string
	Err     error // the cause, if there is one
}

// New returns an Error; the problem is formatted as by fmt.Sprintf.
func New(remedy, problem string, args ...any) *Error {
	return &Error{Problem: fmt.Sprintf(problem, args...), Remedy: remedy}
}

// Because returns an Error with a cause.
func Because(cause error, remedy, problem string, args ...any) *Error {
	return &Error{Problem: fmt.Sprintf(problem, args...), Remedy: remedy, Err: cause}
}

func (e *Error) Error() string { return e.Problem + ": " + e.Remedy }

func (e *Error) Unwrap() error { return e.Err }

// Is has errors.Is find ErrRefused.
func (e *Error) Is(target error) bool { return target == ErrRefused }

// Is tells whether err is, or wraps, an Error.
func Is(err error) bool {
	var refused *Error
	return errors.As(err, &refused)
}
