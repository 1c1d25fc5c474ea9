package verify_test

import (
	"errors"
	"testing"

	"reseal/verify"
)

// A program can tell a refusal by exported names alone.
func TestRefused(t *testing.T) {
	t.Parallel()
	if _, err := verify.Run(t.Context(), verify.Options{Segments: -5}); !errors.Is(err, verify.ErrRefused) {
		t.Errorf("not a refusal: %v", err)
	}
}
