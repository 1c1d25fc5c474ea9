package demo

import (
	"context"
	"sync"
	"time"

	"reseal/internal/cutover"
	"reseal/internal/test/traffic"
)

// application is the one whose table is moved, with the switch that each application should have: its writes can be made to wait. The
// local engine knows no resource policies.
type application struct {
	writer *traffic.Writer

	mu     sync.Mutex // guards what follows
	paused bool
	before int // writes until it went over
}

var _ cutover.Gate = (*application)(nil)

// Close has its writes wait. When it returns, none is under way.
func (a *application) Close(context.Context, cutover.Term) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.paused && a.before == 0 {
		a.writer.Pause()
		a.paused = true
	}
	return nil
}

// Open lets them through, to the source.
func (a *application) Open(context.Context) error {
	a.resume(SourceTable)
	return nil
}

// goOver lets them through, to the target.
func (a *application) goOver() error {
	a.mu.Lock()
	a.before = a.writer.Counts().Total()
	a.mu.Unlock()
	a.resume(TargetTable)
	return nil
}

func (a *application) resume(table string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.paused {
		a.writer.Resume(table)
		a.paused = false
	}
}

// stop ends it.
func (a *application) stop() (traffic.Counts, error) {
	a.resume(SourceTable) // what waits is to end, too
	return a.writer.Stop()
}

// Prove has nothing to wait for: see Close.
func (a *application) Prove(context.Context, time.Duration) (time.Time, error) {
	return time.Time{}, nil
}

// ProveOpen likewise.
func (a *application) ProveOpen(context.Context, time.Duration) error { return nil }

// IsClosed tells whether its writes wait, or have gone over.
func (a *application) IsClosed(context.Context) (time.Time, bool, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return time.Time{}, a.paused || a.before > 0, nil
}

// Expires tells that it lasts.
func (a *application) Expires() bool { return false }
