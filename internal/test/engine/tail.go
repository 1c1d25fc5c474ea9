package engine

import (
	"bytes"
	"strings"
	"sync"
)

const (
	// tailLines is how many lines of an engine's output are kept for an error message.
	tailLines = 20
	// tailLineBytes is how much of one line is kept.
	tailLineBytes = 1024
)

// tail is an io.Writer that keeps the last lines written to it. It is safe for concurrent use.
type tail struct {
	mu    sync.Mutex
	lines []string // whole lines, the oldest first
	rest  []byte   // the beginning of a line that hasn't ended yet
}

// Write never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		t.rest = append(t.rest, line[:min(len(line), tailLineBytes-len(t.rest))]...)
		if ended {
			t.lines = append(t.lines, string(t.rest))
			t.lines = t.lines[max(0, len(t.lines)-tailLines):]
			t.rest = t.rest[:0]
		}
		rest = after
	}
	return len(p), nil
}

// String returns what is kept, lines separated by newlines.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(append(t.lines[:len(t.lines):len(t.lines)], string(t.rest)), "\n")
}
