package seed

import (
	"context"
	"fmt"
	"math"
)

// Estimate is what a seed would read and write, from DescribeTable's figures.
type Estimate struct {
	Source     string   `json:"source"`
	Target     string   `json:"target"`
	DryRun     bool     `json:"dry_run"` // always true
	Segments   int      `json:"segments"`
	Items      int64    `json:"items"`
	Bytes      int64    `json:"bytes"`
	ReadUnits  float64  `json:"read_units"`
	WriteUnits float64  `json:"write_units"`
	Notes      []string `json:"notes"`
}

// Plan checks options and tables as Run does and estimates the cost. It writes nothing, no checkpoint either. Its errors are
// those of Run before it starts.
//
// The estimate takes every item to be of the average size: Scan reads 4 KB for half a unit, the re-check costs a unit for each
// 4 KB of an item, the write a unit for each 1 KB (DynamoDB developer guide, "Read and write operations").
func Plan(ctx context.Context, options Options) (Estimate, error) {
	options.Checkpoint = ""
	r, err := prepare(ctx, options)
	if err != nil {
		return Estimate{}, err
	}
	info := r.pair.Source
	estimate := Estimate{
		Source: options.SourceTable, Target: options.TargetTable, DryRun: true, Segments: options.Segments,
		Items: info.Items, Bytes: info.Bytes,
		Notes: []string{"items and bytes are DescribeTable's, which AWS updates about every six hours"},
	}
	if info.Items > 0 {
		items, average := float64(info.Items), float64(info.Bytes)/float64(info.Items)
		estimate.ReadUnits = math.Ceil(float64(info.Bytes)/4096) / 2
		if options.Recheck != RecheckOff {
			estimate.ReadUnits += items * max(1, math.Ceil(average/4096))
		}
		estimate.WriteUnits = items * max(1, math.Ceil(average/1024))
	}
	if n := len(r.pair.Target.Raw.GlobalSecondaryIndexes); n > 0 {
		estimate.Notes = append(estimate.Notes, fmt.Sprintf("the target has %d global secondary indexes: each costs write units of its own, not counted here", n))
	}
	return estimate, nil
}
