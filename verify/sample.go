package verify

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"reseal/internal/scan"
)

// Sample says which part of the tables was compared.
type Sample struct {
	Share         float64 `json:"share"`          // of the segments, as it was asked for
	Seed          uint64  `json:"seed"`           // with which the segments were drawn; the same seed draws the same
	Segments      int     `json:"segments"`       // compared
	TotalSegments int     `json:"total_segments"` // of the Scan
	Match         bool    `json:"match"`          // no difference is left in the sample, and nothing was still changing
	Passed        bool    `json:"passed"`         // likewise, as AllowChanging and Strict have it
}

// String is the sample as flags; a nil one is all.
func (s *Sample) String() string {
	if s == nil {
		return "all items"
	}
	return fmt.Sprintf("--sample %g%% --sample-seed %d", 100*s.Share, s.Seed)
}

// errEmptySample: nothing was compared, which is no match.
var errEmptySample = errors.New("the sample holds no items: take a larger one, or another --sample-seed")

// sampleSegments is how many segments a sample has at the least: so many places of the table are looked into.
const sampleSegments = 16

// draw returns the sample and its segments. The more of them a table is cut into, the finer the sample; a segment that holds
// nothing costs one request.
func draw(share float64, seed uint64, segments int) (Sample, []int) {
	total := min(scan.MaxSegments, max(segments, int(math.Ceil(sampleSegments/share))))
	count := max(1, int(math.Round(share*float64(total))))
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a sample, not a secret
	drawn := random.Perm(total)[:count]
	slices.Sort(drawn)
	return Sample{Share: share, Seed: seed, Segments: count, TotalSegments: total}, drawn
}
