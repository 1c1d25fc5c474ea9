package cutover

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// A command's exit status counts, its output and environment are its user's, and it ends with all that it began when its time does.
func TestHook(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	h := Hook{Flag: "--on-ready", Command: "echo $RESEAL_STEP; echo error >&2", Environ: []string{"RESEAL_STEP=hook"}, Output: &out}
	if err := h.Run(t.Context()); err != nil || out.String() != "hook\nerror\n" {
		t.Errorf("output %q (%v)", out.String(), err)
	}
	h.Command = "exit 3"
	if err := h.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--on-ready ended with exit status 3") {
		t.Errorf("exit 3: %v", err)
	}
	h.Command, h.Limit = "sleep 60 & sleep 60", 100*time.Millisecond
	began := time.Now()
	if err := h.Run(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 20*time.Second {
		t.Errorf("after %s: %v", time.Since(began), err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	h.Limit = 0
	if err := h.Run(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}
