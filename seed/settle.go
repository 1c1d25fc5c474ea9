package seed

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/converge"
)

// settling is what a seed tells of the settling of uncertain keys.
type settling struct {
	*converge.Settler
	reads  *capacity.Limiter // of the source
	looks  *capacity.Limiter // of reads of the target, which are few
	active func() bool       // whether a segment is under way

	waiting atomic.Int64 // Progress.WaitingUntil, in Unix nanoseconds; 0: it doesn't wait
	alone   atomic.Bool  // keys are being settled, and no segment is under way
	halves  atomic.Int64 // half units of the source's reads that are counted as settling
}

func newSettling(c *converge.Converger, uncertain *converge.Uncertain, active func() bool) *settling {
	s := &settling{Settler: converge.NewSettler(c, uncertain), reads: c.Source.Limiter, looks: c.Target.Limiter, active: active}
	s.Wait, s.Begin = s.wait, s.meter
	return s
}

// wait waits until then. Progress tells, if nothing else is under way.
func (s *settling) wait(ctx context.Context, then time.Time) error {
	if !s.active() {
		s.waiting.Store(then.UnixNano())
		defer s.waiting.Store(0)
	}
	return call.Sleep(ctx, time.Until(then))
}

// waitingUntil is Progress.WaitingUntil.
func (s *settling) waitingUntil() time.Time {
	if then := s.waiting.Load(); then != 0 {
		return time.Unix(0, then)
	}
	return time.Time{}
}

// meter has progress tell of the settling, and counts its units, until the function that it returns is called. The
// units of the target's reads are settled ones all. Those of the source's are, if no segment is under way; otherwise they are taken to
// be the target's: both are asked for the same keys.
func (s *settling) meter() func() {
	alone, reads := !s.active(), s.looks
	if alone {
		s.alone.Store(true)
		reads = s.reads
	}
	before := reads.Used()
	return func() {
		s.alone.Store(false)
		s.halves.Add(int64(math.Round(2 * (reads.Used() - before)))) // the smallest part that DynamoDB counts
	}
}

// readUnits is Result.SettleReadUnits.
func (s *settling) readUnits() float64 { return s.looks.Used() + float64(s.halves.Load())/2 }
