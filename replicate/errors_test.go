package replicate_test

import (
	"errors"
	"testing"

	"reseal/replicate"
)

// A program can tell a refusal by exported names alone.
func TestRefused(t *testing.T) {
	t.Parallel()
	if _, err := replicate.Run(t.Context(), replicate.Options{From: "nowhere"}); !errors.Is(err, replicate.ErrRefused) {
		t.Errorf("not a refusal: %v", err)
	}
}
