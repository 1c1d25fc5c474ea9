package converge

import (
	"context"
	"sync/atomic"
	"time"

	"reseal/internal/call"
	"reseal/internal/item"
)

// MaxUncertain is how many uncertain keys may gather before Relieve settles them, to bound the memory.
const MaxUncertain = 20_000

// Settler settles the uncertain keys of a run, when none of their requests can be alive any more. It is safe for concurrent use.
type Settler struct {
	Uncertain *Uncertain
	Lifetime  time.Duration // of a request: see call.Policy.Lifetime

	// Wait waits until then. Nil: it sleeps.
	Wait func(ctx context.Context, then time.Time) error
	// Begin is called before keys are settled; what it returns, after that. It may be nil.
	Begin func() (end func())

	settle func(context.Context, []item.Key) ([]item.Key, error)
	one    chan struct{} // held by the one that relieves
	count  atomic.Int64
}

// NewSettler returns a settler of the keys that c leaves uncertain.
func NewSettler(c *Converger, uncertain *Uncertain) *Settler {
	return &Settler{Uncertain: uncertain, settle: c.Settle, one: make(chan struct{}, 1)}
}

// Settled is the number of keys that were settled.
func (s *Settler) Settled() int64 { return s.count.Load() }

// All settles until no key is uncertain. No other write may be under way.
func (s *Settler) All(ctx context.Context) error {
	for s.Uncertain.Len() > 0 {
		if err := s.some(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Relieve settles in the middle of a run, if more than MaxUncertain keys have gathered. Only one caller at a time does: if two settled
// the same key, the first to end would take it off the list while the second may be about to write it, and a process that is killed
// then would leave nothing that tells of it.
func (s *Settler) Relieve(ctx context.Context) error {
	if s.Uncertain.Len() <= MaxUncertain {
		return nil
	}
	select {
	case s.one <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-s.one }()
	if s.Uncertain.Len() <= MaxUncertain { // another one has done it meanwhile
		return nil
	}
	return s.some(ctx)
}

// some settles the keys that are on the list now.
func (s *Settler) some(ctx context.Context) error {
	keys, last := s.Uncertain.snapshot()
	if err := s.wait(ctx, last.Add(s.Lifetime)); err != nil {
		return err
	}
	if s.Begin != nil {
		defer s.Begin()()
	}
	again, err := s.settle(ctx, keys)
	s.Uncertain.Add(again)
	if err == nil {
		s.count.Add(int64(len(keys)))
		s.Uncertain.settled(keys, last)
	}
	return err
}

func (s *Settler) wait(ctx context.Context, then time.Time) error {
	if s.Wait != nil {
		return s.Wait(ctx, then)
	}
	return call.Sleep(ctx, time.Until(then))
}

// SettleAll settles the keys, of which no earlier write can be alive any more, and those again of which a write of its own was lost,
// each time a request's lifetime later, until none is left.
func (c *Converger) SettleAll(ctx context.Context, keys []item.Key, lifetime time.Duration) error {
	for {
		lost, err := c.Settle(ctx, keys)
		if err != nil || len(lost) == 0 {
			return err
		}
		if err := call.Sleep(ctx, lifetime); err != nil {
			return err
		}
		keys = lost
	}
}
