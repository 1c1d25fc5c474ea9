package seed

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"reseal/internal/capacity"
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
	switch {
	case s.whole:
		e.Items, e.Bytes = s.items, s.bytes
	case e.Items < s.items:
		e.Items, e.Bytes = s.items, s.bytes
		e.Notes = append(e.Notes, "DescribeTable tells fewer items than the sample has, so the figures are those of the sample: the table has more")
	default:
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
	scan          float64            // units that the pages cost
	check, write  float64            // units of one consistent read and one write of each item
	local, global map[string]float64 // units of each index
	whole         bool               // the sample is the whole table
	segmentsEnded int
}

// sample reads the first page of segments that lie evenly among all.
func (r *run) sample(ctx context.Context) (sampled, error) {
	s := sampled{local: map[string]float64{}, global: map[string]float64{}}
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
				s.global[aws.ToString(index.IndexName)] += r.indexUnits(it, index.KeySchema, index.Projection)
			}
			for _, index := range r.pair.Target.Raw.LocalSecondaryIndexes {
				s.local[aws.ToString(index.IndexName)] += r.indexUnits(it, index.KeySchema, index.Projection)
			}
		}
	}
	s.scan = r.reads.Used()
	s.whole = s.segmentsEnded == r.options.Segments
	return s, nil
}

// indexUnits is what the item costs an index: the units of what is projected of it; none if it lacks one of the index's keys.
func (r *run) indexUnits(it item.Item, keys []types.KeySchemaElement, projection *types.Projection) float64 {
	attributes := it.Attributes()
	names := []string{r.pair.Source.Schema.Hash.Name, r.pair.Source.Schema.Range.Name}
	for _, key := range keys {
		name := aws.ToString(key.AttributeName)
		if _, has := attributes[name]; !has {
			return 0
		}
		names = append(names, name)
	}
	if projection != nil && projection.ProjectionType == types.ProjectionTypeAll {
		return it.WriteUnits()
	}
	if projection != nil {
		names = append(names, projection.NonKeyAttributes...)
	}
	projected := map[string]types.AttributeValue{}
	for name, value := range attributes {
		if slices.Contains(names, name) {
			projected[name] = value
		}
	}
	return item.Of(projected).WriteUnits()
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
	e.WriteUnits = math.Round(s.write * scale)
	index := func(name string, units float64) {
		if e.IndexWriteUnits == nil {
			e.IndexWriteUnits = map[string]float64{}
		}
		e.IndexWriteUnits[name] = math.Round(units * scale)
		e.WriteUnits += e.IndexWriteUnits[name]
	}
	limiting := s.write // see capacity.Consumed
	for name, units := range s.local {
		index(name, units)
		limiting += units
	}
	for name, units := range s.global {
		index(name, units)
		limiting = max(limiting, units)
	}
	reads := served(r.reads, capacity.ProvisionedReads(r.pair.Source.Raw))
	writes := served(r.writes, capacity.ProvisionedWrites(r.pair.Target.Raw))
	e.Seconds = max(e.ReadUnits/reads, limiting*scale/writes)
	e.FitsStream = e.Seconds < streamKeeps.Seconds()
	if !e.FitsStream {
		e.Notes = append(e.Notes, "it takes longer than the 24 hours for which the stream keeps a record: replication must run all through it, without a pause")
	}
}

// served is the units a second that a table gives at the limiter's rate: no more than are provisioned, if any are.
func served(limiter *capacity.Limiter, provisioned float64) float64 {
	if provisioned > 0 {
		return min(limiter.Limit(), provisioned)
	}
	return limiter.Limit()
}

// notes are the warnings that matter before a seed.
func (r *run) notes(ctx context.Context) []string {
	notes := append([]string{}, r.limitNotes()...)
	td := r.pair.Target.Raw
	if n := len(td.GlobalSecondaryIndexes) + len(td.LocalSecondaryIndexes); n > 0 {
		notes = append(notes, fmt.Sprintf("the target has %s, each of which costs write units of its own", plural(n, "secondary index", "secondary indexes")))
	}
	if class := td.TableClassSummary; class != nil && class.TableClass == types.TableClassStandardInfrequentAccess {
		notes = append(notes, "the target's table class is Standard-IA, whose units cost more than the prices taken here, if none were given")
	}
	notes = append(notes, r.expiryNote(ctx)...)
	if r.options.Segments > scan.MaxSegments/1000 {
		notes = append(notes, "so many segments cost at least half a read unit each, even where they are empty")
	}
	return notes
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "a " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// limitNotes tell where the tables serve less than the limits given, or less at first than they might.
func (r *run) limitNotes() []string {
	var notes []string
	provisionedOnly := func(limiter *capacity.Limiter, provisioned float64, what string) {
		if provisioned > 0 && limiter.Limit() > provisioned {
			notes = append(notes, fmt.Sprintf("the limit of %.0f %s is more than the %.0f provisioned, which the time is reckoned with: it would be throttled",
				limiter.Limit(), what, provisioned))
		}
	}
	provisionedOnly(r.reads, capacity.ProvisionedReads(r.pair.Source.Raw), "read units a second")
	writes := capacity.ProvisionedWrites(r.pair.Target.Raw)
	provisionedOnly(r.writes, writes, "write units a second")
	warm := capacity.WarmWrites(r.pair.Target.Raw)
	switch limited := r.options.WriteUnits > 0 || r.options.WriteShare > 0; {
	case writes > 0:
	case !limited:
		notes = append(notes, fmt.Sprintf("the target is on demand and serves %.0f write units a second at the start; reseal finds out what it can take, "+
			"and setting its warm throughput before saves that time", warm))
	case r.writes.Limit() > warm:
		notes = append(notes, fmt.Sprintf("the target is on demand and serves %.0f write units a second at the start, which is less than the limit: "+
			"it is throttled until it has grown, unless its warm throughput is set before", warm))
	}
	return notes
}

// expiryNote tells of a time to live of the source's.
func (r *run) expiryNote(ctx context.Context) []string {
	type ttl interface {
		DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
	}
	client, is := r.options.Source.(ttl)
	if !is {
		return nil
	}
	out, err := client.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &r.options.SourceTable})
	switch {
	case err != nil:
		return []string{"whether the source has a time to live was not checked"}
	case out.TimeToLiveDescription != nil && out.TimeToLiveDescription.TimeToLiveStatus == types.TimeToLiveStatusEnabled:
		return []string{fmt.Sprintf("the source has a time to live (attribute %s): an item may expire on one side before the other, "+
			"which verify then sees as a difference for a while", aws.ToString(out.TimeToLiveDescription.AttributeName))}
	}
	return nil
}
