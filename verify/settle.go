package verify

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"sync"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/item"

	"golang.org/x/sync/errgroup"
)

// candidate is an item that did not match in the scans. What is said of it at the end comes from consistent reads only.
type candidate struct {
	unmatched
	source   state
	target   state
	first    time.Time // when its source had been read first
	since    time.Time // since when its source has been found unchanged
	last     time.Time // when its source had been read last, and its target was about to be
	decided  bool
	changing bool // decided: it never stood still
}

// state is what one table has for a key.
type state struct {
	digest item.Digest // zero if the table has no such item
	exists bool
}

func stateOf(it item.Item) (state, error) {
	if it.Absent() {
		return state{}, nil
	}
	digest, err := it.Digest()
	return state{digest: digest, exists: true}, err
}

func (s state) String() string {
	if !s.exists {
		return ""
	}
	return hex.EncodeToString(s.digest[:])
}

func candidatesOf(waiting []unmatched) []*candidate {
	list := make([]*candidate, len(waiting))
	for i, one := range waiting {
		list[i] = &candidate{unmatched: one}
	}
	return list
}

// observe takes in what both tables have. seen is when the source had been read and the target was about to be.
func (c *candidate) observe(source, target item.Item, seen time.Time) error {
	now, err := stateOf(source)
	if err != nil {
		return fmt.Errorf("source item: %w", err)
	}
	if c.target, err = stateOf(target); err != nil {
		return fmt.Errorf("target item: %w", err)
	}
	if c.first.IsZero() {
		c.first, c.since = seen, seen
	} else if now != c.source {
		c.since = seen
	}
	c.source, c.last = now, seen
	return nil
}

// agrees stands for no difference.
const agrees Kind = ""

// judge tells what the candidate is, once that is certain. It goes by the times at which the tables were read, not by the
// clock: a look at many candidates may take longer than the settling time, and a single look settles nothing.
func (c *candidate) judge(settle time.Duration) (kind Kind, certain bool) {
	switch {
	case c.source == c.target:
		return agrees, true
	case c.last.Sub(c.since) >= settle:
		switch {
		case !c.target.exists:
			return Missing, true
		case !c.source.exists:
			return Extra, true
		}
		return Different, true
	case c.last.Sub(c.first) >= patience*settle:
		return StillChanging, true
	}
	return agrees, false
}

const (
	// lookAgainFirst and lookAgainMost limit the pause between two looks at the candidates, which doubles each time.
	lookAgainFirst = 100 * time.Millisecond
	lookAgainMost  = 5 * time.Second
	// patience is how many settling times an item may go on changing before nothing is said of it.
	patience = 4
)

// settlement looks at candidates until something certain can be said of each.
type settlement struct {
	run    *run
	report func(Difference) error // called for each difference, one at a time

	mu        sync.Mutex // of what follows, of the sides' items and sums, and of report
	settled   int64
	differing []*candidate
}

// settle looks at the items, in both tables with ConsistentRead, until each has agreed once (replication had been under way), or
// has differed while its source stayed the same for the settling time (a difference), or has gone on changing for several
// settling times. It counts all of them in the sides' items and sums. It takes the list.
func (s *settlement) settle(ctx context.Context, open []*candidate) error {
	pause := lookAgainFirst
	for {
		if err := s.look(ctx, open); err != nil {
			return fmt.Errorf("look at differing items: %w", err)
		}
		open = slices.DeleteFunc(open, func(c *candidate) bool { return c.decided })
		if len(open) == 0 {
			return nil
		}
		if err := call.Sleep(ctx, min(pause, s.untilDecision(open))); err != nil {
			return fmt.Errorf("look at differing items: %w", err)
		}
		pause = min(2*pause, lookAgainMost)
	}
}

// untilDecision is the time until the first of the candidates can be decided.
func (s *settlement) untilDecision(open []*candidate) time.Duration {
	wait := s.run.options.Settle
	for _, c := range open {
		wait = min(wait, time.Until(c.since.Add(s.run.options.Settle)))
	}
	return max(wait, time.Millisecond)
}

const (
	lookChunk     = 100 // keys read at a time: 40 MB of items at the most, twice
	looksInFlight = 4
)

// look reads the candidates from both tables once and decides those that can be.
func (s *settlement) look(ctx context.Context, open []*candidate) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(looksInFlight)
	for chunk := range slices.Chunk(open, lookChunk) {
		if groupCtx.Err() != nil {
			break
		}
		group.Go(func() error { return s.lookAt(groupCtx, chunk) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return ctx.Err() // the loop may have ended early without an error of a chunk
}

// lookAt reads the source first: a target that agrees with it has what the source had.
func (s *settlement) lookAt(ctx context.Context, chunk []*candidate) error {
	keys := make([]item.Key, len(chunk))
	for i, c := range chunk {
		keys[i] = c.key
	}
	sources, err := s.run.source.reader.Read(ctx, keys, batch.Unknown)
	if err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	seen := time.Now()
	targets, err := s.run.target.reader.Read(ctx, keys, batch.Unknown)
	if err != nil {
		return fmt.Errorf("read target: %w", err)
	}
	now := s.run.clock.At(seen)
	for i, c := range chunk {
		source := s.run.expiry.without(sources[i], now)
		target := s.run.expiry.without(targets[i], now)
		if err := c.observe(source, target, seen); err != nil {
			return err
		}
		if err := s.decide(c, source, target); err != nil {
			return err
		}
	}
	return nil
}

// decide books the candidate if it is certain what it is. The names of the attributes, which may be many, are not kept.
func (s *settlement) decide(c *candidate, source, target item.Item) error {
	kind, certain := c.judge(s.run.options.Settle)
	if !certain {
		return nil
	}
	c.decided = true
	s.mu.Lock()
	defer s.mu.Unlock()
	s.run.source.account(c.source)
	s.run.target.account(c.target)
	if kind == agrees {
		s.settled++
		s.run.join.forget()
		return nil
	}
	c.changing = kind == StillChanging
	s.differing = append(s.differing, c)
	d, err := s.run.difference(c, kind, source, target)
	if err != nil {
		return err
	}
	return s.report(d)
}
