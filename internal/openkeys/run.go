package openkeys

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Work is what a set has done by its user.
type Work struct {
	// Look reads the keys, up to LookKeys, from the source and then from the target, both with ConsistentRead, and returns what they have,
	// in the keys' order.
	Look func(ctx context.Context, ids []string) ([]Pair, error)
	// Tell is called for each event, one at a time, in the order in which they happened.
	Tell func(Event) error
	// Repair brings keys that were told as found in line with the source. It returns when none of its requests can be alive any more. It is
	// nil where nothing is to be repaired.
	Repair func(ctx context.Context, ids []string) error
}

// looksInFlight is how many looks are made at a time.
const looksInFlight = 4

// Run looks at open keys as they are due until ctx ends, which is no error, or until something fails. It may be run again after that.
func (s *Set) Run(ctx context.Context, work Work) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(looksInFlight)
	var telling sync.Mutex
	err := s.dispatch(groupCtx, func(l *look) {
		group.Go(func() error { return s.look(groupCtx, l, work, &telling) })
	})
	if failure := group.Wait(); failure != nil {
		err = failure // what dispatch ended for
	}
	if ctx.Err() != nil && (err == nil || isOf(ctx, err)) {
		return nil
	}
	return err
}

// isOf tells whether an error is only the context's.
func isOf(ctx context.Context, err error) bool { return errors.Is(err, ctx.Err()) }

// dispatch begins looks until ctx ends, whose error it returns.
func (s *Set) dispatch(ctx context.Context, begin func(*look)) error {
	for ctx.Err() == nil {
		l, err := s.take()
		if err != nil {
			return err
		}
		if l != nil {
			begin(l)
			continue
		}
		wait, err := s.untilDue()
		if err != nil {
			return err
		}
		s.sleep(ctx, wait)
	}
	return ctx.Err()
}

// sleep returns after a time, when something is due earlier, or when ctx ends.
func (s *Set) sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-s.wake:
	}
}

func (s *Set) look(ctx context.Context, l *look, work Work, telling *sync.Mutex) error {
	ids := make([]string, len(l.entries))
	for i, e := range l.entries {
		ids[i] = e.id
	}
	pairs, err := work.Look(ctx, ids)
	if err != nil {
		s.putBack(l)
		return fmt.Errorf("look at open keys: %w", err)
	}
	events, err := s.tell(l, pairs, work, telling)
	if err != nil || work.Repair == nil {
		return err
	}
	broken := toRepair(events)
	if len(broken) == 0 {
		return nil
	}
	defer s.wasRepaired(broken) // also if it failed: something may have been written
	return work.Repair(ctx, broken)
}

// tell holds events of one key in their order: the next look at it may be over before these are told.
func (s *Set) tell(l *look, pairs []Pair, work Work, telling *sync.Mutex) ([]Event, error) {
	telling.Lock()
	defer telling.Unlock()
	events, err := s.done(l, pairs, work.Repair != nil)
	if err != nil {
		return nil, err
	}
	for _, event := range events {
		if err := work.Tell(event); err != nil {
			return nil, err
		}
	}
	return events, nil
}
