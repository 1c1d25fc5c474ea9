package seed

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"reseal/internal/item"
	"reseal/internal/scan"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Estimate is what a seed would read and write.
type Estimate struct {
	Source   string `json:"source"`
	Target   string `json:"target"`
	DryRun   bool   `json:"dry_run"` // always true
	Segments int    `json:"segments"`

	Items           int64              `json:"items"` // DescribeTable's, or those counted if the sample was the whole table
	Bytes           int64              `json:"bytes"` // likewise
	SampledItems    int64              `json:"sampled_items"`
	SampledUnits    float64            `json:"sampled_units"` // read units that the estimate itself cost
	ReadUnits       float64            `json:"read_units"`
	WriteUnits      float64            `json:"write_units"`                 // of the table and its indexes
	IndexWriteUnits map[string]float64 `json:"index_write_units,omitempty"` // the part of each index

	OnDemandDollars    float64  `json:"on_demand_dollars"`
	ProvisionedDollars float64  `json:"provisioned_dollars"`
	Seconds            float64  `json:"expected_seconds"` // at the limits that hold at the start
	FitsStream         bool     `json:"fits_stream"`      // takes less than the 24 hours for which the stream keeps a record
	Notes              []string `json:"notes"`
}

// maxSampled is how many segments are sampled at the most, a page each.
const maxSampled = 64

// streamKeeps is for how long a stream keeps a record.
const streamKeeps = 24 * time.Hour

// Plan checks options and tables as Run does, reads one page of each segment (of 64 at the most), and estimates from it and
// from DescribeTable what the seed would cost. It writes nothing, no checkpoint either. Its errors are
// those of Run.
func Plan(ctx context.Context, options Options, prices Prices) (Estimate, error) {
	options.Checkpoint = ""
	r, err := prepare(ctx, options)
	if err != nil {
		return Estimate{}, err
	}
	s, err := r.sample(ctx)
	if err != nil {
		return Estimate{}, fmt.Errorf("sample: %w", err)
	}
	e := Estimate{
		Source: options.SourceTable, Target: options.TargetTable, DryRun: true, Segments: r.options.Segments,
		Items: r.pair.Source.Items, Bytes: r.pair.Source.Bytes, SampledItems: s.items, SampledUnits: r.reads.Used(),
		Notes: r.notes(ctx),
	}
	if s.whole {
		e.Items, e.Bytes = s.items, s.bytes
	} else {
		e.Notes = append(e.Notes, "items and bytes are DescribeTable's, which AWS updates about every six hours")
	}
	r.extrapolate(&e, s)
	e.OnDemandDollars = prices.onDemand(e.ReadUnits, e.WriteUnits)
	e.ProvisionedDollars = prices.provisioned(e.ReadUnits, e.WriteUnits)
	return e, nil
}

// sampled is what sampled pages would cost.
type sampled struct {
	items, bytes  int64
	scan          float64 // units that the pages cost
	check, write  float64 // units of one consistent read and one write of each item
	indexes       map[string]float64
	whole         bool // the sample is the whole table
	segmentsEnded int
}

// sample reads the first page of segments that lie evenly among all.
func (r *run) sample(ctx context.Context) (sampled, error) {
	s := sampled{indexes: map[string]float64{}}
	n := min(r.options.Segments, maxSampled)
	for i := range n {
		page, err := r.scanner.Page(ctx, i*r.options.Segments/n, r.options.Segments, nil)
		if err != nil {
			return s, err
		}
		if page.Next == nil {
			s.segmentsEnded++
		}
		for _, it := range page.Items {
			s.items++
			s.bytes += int64(it.Size())
			s.check += it.ReadUnits()
			s.write += it.WriteUnits()
			for _, index := range r.pair.Target.Raw.GlobalSecondaryIndexes {
				if projected, is := project(it, index, r.pair.Source.Schema); is {
					s.indexes[aws.ToString(index.IndexName)] += projected.WriteUnits()
				}
			}
		}
	}
	s.scan = r.reads.Used()
	s.whole = s.segmentsEnded == r.options.Segments
	return s, nil
}

// project is the item as the index holds it; not at all if it lacks one of the index's keys.
func project(it item.Item, index types.GlobalSecondaryIndexDescription, schema item.Schema) (item.Item, bool) {
	attributes := it.Attributes()
	names := []string{schema.Hash.Name, schema.Range.Name}
	for _, key := range index.KeySchema {
		name := aws.ToString(key.AttributeName)
		if _, has := attributes[name]; !has {
			return item.Item{}, false
		}
		names = append(names, name)
	}
	if index.Projection != nil && index.Projection.ProjectionType == types.ProjectionTypeAll {
		return it, true
	}
	if index.Projection != nil {
		names = append(names, index.Projection.NonKeyAttributes...)
	}
	projected := map[string]types.AttributeValue{}
	for name, value := range attributes {
		if slices.Contains(names, name) {
			projected[name] = value
		}
	}
	return item.Of(projected), true
}

// extrapolate takes every item to be like those of the sample.
func (r *run) extrapolate(e *Estimate, s sampled) {
	e.FitsStream = true
	if s.items == 0 {
		return
	}
	scale := max(1, float64(e.Items)/float64(s.items))
	e.ReadUnits = math.Round(s.scan*scale*2) / 2
	if r.converge.Recheck {
		e.ReadUnits += math.Round(s.check * scale)
	}
	limiting := s.write
	e.WriteUnits = math.Round(s.write * scale)
	for name, units := range s.indexes {
		if e.IndexWriteUnits == nil {
			e.IndexWriteUnits = map[string]float64{}
		}
		e.IndexWriteUnits[name] = math.Round(units * scale)
		e.WriteUnits += e.IndexWriteUnits[name]
		limiting = max(limiting, units)
	}
	e.Seconds = max(e.ReadUnits/r.reads.Rate(), limiting*scale/r.writes.Rate())
	e.FitsStream = e.Seconds < streamKeeps.Seconds()
	if !e.FitsStream {
		e.Notes = append(e.Notes, "it takes longer than the 24 hours for which the stream keeps a record: replication must run all through it, without a pause")
	}
}

// notes are the warnings that matter before a seed.
func (r *run) notes(ctx context.Context) []string {
	notes := []string{}
	td := r.pair.Target.Raw
	if p := td.ProvisionedThroughput; p == nil || aws.ToInt64(p.WriteCapacityUnits) == 0 {
		notes = append(notes, fmt.Sprintf("the target is on demand and serves %.0f write units a second at the start; reseal finds out what it can take, "+
			"and setting its warm throughput before saves that time", r.writes.Rate()))
	}
	if n := len(td.GlobalSecondaryIndexes); n > 0 {
		notes = append(notes, fmt.Sprintf("the target has %d global secondary indexes, each of which costs write units of its own", n))
	}
	type ttl interface {
		DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
	}
	if client, is := r.options.Source.(ttl); is {
		out, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &r.options.SourceTable})
		switch {
		case err != nil:
			notes = append(notes, "whether the source has a time to live was not checked")
		case out.TimeToLiveDescription != nil && out.TimeToLiveDescription.TimeToLiveStatus == types.TimeToLiveStatusEnabled:
			notes = append(notes, fmt.Sprintf("the source has a time to live (attribute %s): an item may expire on one side before the other, which verify then sees as a difference for a while",
				aws.ToString(out.TimeToLiveDescription.AttributeName)))
		}
	}
	if r.options.Segments > scan.MaxSegments/1000 {
		notes = append(notes, "so many segments cost at least half a read unit each, even where they are empty")
	}
	return notes
}
