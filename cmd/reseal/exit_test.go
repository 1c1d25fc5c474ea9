package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"reseal/internal/refuse"
)

func TestExitStatus(t *testing.T) {
	t.Parallel()
	running := t.Context()
	ended, cancel := context.WithCancel(running)
	cancel()
	canceled := fmt.Errorf("scan: %w", context.Canceled)
	unsaved := fmt.Errorf("write checkpoint: %w", fs.ErrPermission)
	for _, test := range []struct {
		name    string
		ctx     context.Context
		err     error
		status  int
		message string
	}{
		{"done", running, nil, 0, ""},
		{"different", running, fmt.Errorf("x: %w", errDifferent), 1, "x: the tables do not match"},
		{"refused", running, refuse.New("do that", "no %s", "table"), 2, "no table: do that"},
		{"failed", running, errors.New("broken\n  pipe"), 3, "broken pipe"},
		{"canceled by itself", running, canceled, 3, "scan: context canceled"},
		{"interrupted", ended, canceled, 130, "interrupted"},
		{"interrupted twice", ended, errors.Join(canceled, context.Canceled), 130, "interrupted"},
		{"interrupted while refusing", ended, refuse.Because(canceled, "do that", "no table"), 130, "interrupted"},
		{"different after a signal", ended, errDifferent, 1, "the tables do not match"},
		{"failed after a signal", ended, errors.New("broken"), 3, "broken"},
		{"interrupted, not saved", ended, errors.Join(canceled, unsaved), 3, "scan: context canceled write checkpoint: permission denied"},
		{"interrupted half-way", ended, &stopped{canceled, "5 items", "; go on"}, 130, "interrupted after 5 items; go on"},
		{"failed half-way", running, &stopped{errors.New("broken"), "5 items", "; go on"}, 3, "broken; go on"},
	} {
		status := exitStatus(test.ctx, test.err)
		if status != test.status {
			t.Errorf("%s: status %d, want %d", test.name, status, test.status)
		}
		if test.err == nil {
			continue
		}
		if got := message(status, test.err); got != test.message {
			t.Errorf("%s: %q, want %q", test.name, got, test.message)
		}
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	checkpoint := filepath.Join(t.TempDir(), "c.json")
	if err := os.WriteFile(checkpoint, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	for _, test := range []struct {
		checkpoint string
		restart    bool
		want       string
	}{
		{"", false, "broken"},
		{checkpoint + ".not", false, "broken"},
		{checkpoint, false, "broken; run the same command again to go on from the checkpoint " + checkpoint},
		{checkpoint, true, "broken; run the same command again, but without --restart, to go on from the checkpoint " + checkpoint},
	} {
		if got := stop(broken, "", test.checkpoint, test.restart); got.Error() != test.want || !errors.Is(got, broken) {
			t.Errorf("%q, %v: %q, want %q", test.checkpoint, test.restart, got, test.want)
		}
	}
	refused := refuse.New("do that", "no table")
	if got := stop(refused, "", checkpoint, false); got != error(refused) {
		t.Errorf("refused: %v", got)
	}
}
