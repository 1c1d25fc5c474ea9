package main

import (
	"errors"
	"testing"

	"reseal/internal/refuse"
	"reseal/internal/table"
)

// Replications of one direction may be several; while one is on, none of the other begins.
func TestLockDirection(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	one, other := table.Identity{ARN: "one", ID: "1", Made: "now"}, table.Identity{ARN: "other", ID: "2", Made: "now"}
	first, err := lockDirection(one, other)
	if err != nil {
		t.Fatal(err)
	}
	second, err := lockDirection(one, other)
	if err != nil {
		t.Fatal("two of one direction: ", err)
	}
	first.close()
	if _, err := lockDirection(other, one); !refuse.Is(err) || !errors.Is(err, errOn) {
		t.Errorf("both directions: %v", err)
	}
	if anew, err := lockDirection(table.Identity{ARN: "other", ID: "3", Made: "now"}, one); err != nil {
		t.Errorf("a table made anew: %v", err)
	} else {
		anew.close()
	}
	second.close()
	back, err := lockDirection(other, one)
	if err != nil {
		t.Fatal("when the other one has ended: ", err)
	}
	back.close()
}
