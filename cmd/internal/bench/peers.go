package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// peer is one way to copy a table, and to compare the copy with it.
type peer struct {
	copy, compare work // compare.run is nil if it has no comparison of its own
}

// work is what a figure is about.
type work struct {
	what string
	run  func(context.Context) (outcome, error)
}

// errNoComparison says that a peer doesn't find equal tables to be equal.
var errNoComparison = errors.New("it finds differences between tables that are equal")

// peers has other tools copy and compare the tables that reseal does, on the same engine.
func (s *suite) peers(ctx context.Context) error {
	return onEngine(ctx, 20_000, func(c *contest) error {
		list, err := s.addDynamodump(ctx, c, s.own(c))
		if err != nil {
			return err
		}
		return s.compete(ctx, c, list)
	})
}

// addDynamodump appends the tool to the peers. If it can't be had on this machine, it is left out, and that is noted.
func (s *suite) addDynamodump(ctx context.Context, c *contest, list []peer) ([]peer, error) {
	tool, err := newDynamodump(ctx, c)
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		s.note("dynamodump was left out: %v", err)
		return list, nil
	}
	s.note("%s", dynamodumpNote)
	return append(list, tool.peer()), nil
}

// own are the peers that are part of this program; the first is the yardstick of all.
func (s *suite) own(c *contest) []peer {
	job := func(what string) work {
		return work{what, func(ctx context.Context) (outcome, error) {
			once := suite{log: s.log, rounds: 1}
			return once.measure(ctx, what, "-url", c.url, "-segments", strconv.Itoa(c.segments()))
		}}
	}
	return []peer{
		{copy: job("seed"), compare: job("verify")},
		{copy: job("seed, no recheck")},
		{copy: job(plainAsIs)},
		{copy: job("put each"), compare: job("get each")},
	}
}

// compete measures the peers in turns, since the machine has its moods. It fails if a copy isn't one.
func (s *suite) compete(ctx context.Context, c *contest, peers []peer) error {
	copies, comparisons := make([]outcome, len(peers)), make([]outcome, len(peers))
	for range s.rounds {
		for i := range peers {
			if err := c.emptyTarget(ctx); err != nil {
				return err
			}
			if err := peers[i].copy.add(ctx, &copies[i]); err != nil {
				return err
			}
			if err := c.check(ctx); err != nil {
				return fmt.Errorf("check the copy of %s: %w", peers[i].copy.what, err)
			}
			err := peers[i].compare.add(ctx, &comparisons[i])
			if errors.Is(err, errNoComparison) {
				s.note("none: %v", err)
				peers[i].compare.run, err = nil, nil
			}
			if err != nil {
				return err
			}
		}
	}
	var first figure
	for i, p := range peers {
		first = s.rank(figure{What: p.copy.what, Items: c.items, Size: c.size, outcome: copies[i]}, first)
	}
	first = figure{}
	for i, p := range peers {
		if p.compare.run != nil {
			first = s.rank(figure{What: p.compare.what, Items: c.items, Size: c.size, outcome: comparisons[i]}, first)
		}
	}
	return nil
}

// add does the work, if there is any, and takes what it took for the best if it is.
func (w work) add(ctx context.Context, best *outcome) error {
	if w.run == nil {
		return nil
	}
	out, err := w.run(ctx)
	if err != nil {
		return fmt.Errorf("%s: %w", w.what, err)
	}
	if *best == (outcome{}) {
		*best = out
	}
	best.WallSeconds = min(best.WallSeconds, out.WallSeconds)
	best.ProcessorSeconds = min(best.ProcessorSeconds, out.ProcessorSeconds)
	best.PeakBytes = min(best.PeakBytes, out.PeakBytes)
	best.Allocations = min(best.Allocations, out.Allocations)
	best.AllocatedBytes = min(best.AllocatedBytes, out.AllocatedBytes)
	return nil
}

// rank takes in a figure beside the first of its kind, which it returns; if there is none, it is the one.
func (s *suite) rank(f, first figure) figure {
	f.Part = "peers"
	if first.What == "" {
		s.add(f, nil)
		return f
	}
	f.WallRatio = f.WallSeconds / first.WallSeconds
	s.add(f, &first)
	return first
}

// check tells whether the target is a copy of the source. It is not measured.
func (c *contest) check(ctx context.Context) error {
	return verifyTables(ctx, job{url: c.url, source: "source", target: "target", segments: c.segments()})
}
