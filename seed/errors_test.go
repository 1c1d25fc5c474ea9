package seed_test

import (
	"errors"
	"testing"

	"reseal/seed"
)

// A program can tell a refusal by exported names alone.
func TestRefused(t *testing.T) {
	t.Parallel()
	if _, err := seed.Run(t.Context(), seed.Options{Segments: -5}); !errors.Is(err, seed.ErrRefused) {
		t.Errorf("not a refusal: %v", err)
	}
}
