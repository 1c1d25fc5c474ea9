//go:build !race

// With the race detector, sync.Pool forgets some of what it is given.

package item

import (
	"bytes"
	"errors"
	"testing"
)

// What is done for each item of a table makes nothing that has to be collected again.
func TestMemoryOfEachItem(t *testing.T) {
	it, other, schema := benchItem(), benchItem().Clone(), schemaOf("country", "S", "id", "N")
	text := bytes.Repeat(it.JSON(), 10)
	var room [256]byte
	for name, f := range map[string]func() error{
		"cut":    func() error { _, err := cutAll(text); return err },
		"digest": func() error { _, err := it.Digest(); return err },
		"equal":  func() error { _, err := Equal(it, other); return err },
		"key":    func() error { _, err := schema.AppendID(room[:0], it); return err },
		"sizes":  func() error { _, _, _ = it.Size(), it.WireSize(), it.ReadUnits(); return nil },
	} {
		var err error
		if n := testing.AllocsPerRun(100, func() { err = errors.Join(err, f()) }); n > 0 || err != nil {
			t.Errorf("%s: %g allocations, %v", name, n, err)
		}
	}
}
