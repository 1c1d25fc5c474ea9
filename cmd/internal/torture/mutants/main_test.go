package main

import (
	"testing"

	"reseal/cmd/internal/torture/overlay"
)

// Every mutant can still be made. Whether it builds and is found, "make mutants" tells.
func TestMutantsApply(t *testing.T) {
	names := map[string]bool{}
	for _, m := range mutants {
		if names[m.name] {
			t.Errorf("there are two mutants %s", m.name)
		}
		names[m.name] = true
		if _, err := overlay.Write(t.TempDir(), "../../../..", overlay.Edit{File: m.file, From: m.from, To: m.to}); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}
