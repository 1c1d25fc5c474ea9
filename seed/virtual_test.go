package seed_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/call"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// sized makes n items of about the given size in bytes, with distinct keys.
func sized(prefix string, n, size int) []attrs {
	items := make([]attrs, n)
	for i := range items {
		key := fmt.Sprintf("%s-%06d", prefix, i)
		fill := max(0, size-len("k")-len(key)-len("f"))
		items[i] = attrs{
			"k": &types.AttributeValueMemberS{Value: key},
			"f": &types.AttributeValueMemberS{Value: strings.Repeat("x", fill)},
		}
	}
	return items
}

// mixed makes items of 100 B, 1 KB, 11 KB and 300 KB, which cost a quarter of the units each.
func mixed(units int) []attrs {
	quarter := units / 4
	var items []attrs
	for _, size := range []int{100, 1024, 11 * 1024, 300 * 1024} {
		items = append(items, sized(fmt.Sprint(size), quarter/max(1, size/1024), size)...)
	}
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	return items
}

func text(value types.AttributeValue) string { return value.(*types.AttributeValueMemberS).Value }

// virtual is a DynamoDB of two tables in memory, in which only requests take time: in a synctest bubble, it tells the pace of a
// seed exactly, however busy the machine is. It knows items with the string attributes k and f, of which k is the key, and throttles
// as testkit.Meter does.
type virtual struct {
	latency time.Duration
	items   []attrs
	numbers map[string]int // of the items, by key
	sizes   []int
	bounds  []int                                                  // where each segment starts, and the end; nil: they are even
	stream  func(sinceStart time.Duration) (arn string, err error) // the source's, as DescribeTable tells it; nil: always the same
	label   *string                                                // of the source's stream
	given   types.ProvisionedThroughputDescription
	hot     int // items from here on are in a partition of their own, the others are spread over the other partitions

	mu            sync.Mutex
	read, write   tokens
	partitions    []tokens
	written       map[string]bool
	perSecond     []float64 // units of what is limited
	start, last   time.Time
	begun         time.Time // first described
	all, refused  int
	cold          time.Time // when the last item before hot was written
	inFlight, top int
}

// tokens is a bucket that holds the units of one second, or of more; a rate of zero is no limit.
type tokens struct {
	rate, left float64
	seconds    float64 // of which it holds the units; 0: one
	at         time.Time
}

func (b *tokens) open() bool {
	if b.rate == 0 {
		return true
	}
	now, most := time.Now(), b.rate*max(1, b.seconds)
	if b.at.IsZero() {
		b.left, b.at = most, now
	}
	b.left = min(most, b.left+b.rate*now.Sub(b.at).Seconds())
	b.at = now
	return b.left > 0
}

func newVirtual(items []attrs, latency time.Duration) *virtual {
	v := &virtual{latency: latency, items: items, hot: len(items), numbers: map[string]int{}, written: map[string]bool{}, partitions: make([]tokens, 1)}
	for i, one := range items {
		v.numbers[text(one["k"])] = i
		v.sizes = append(v.sizes, len("kf")+len(text(one["k"]))+len(text(one["f"])))
	}
	return v
}

// enter is a request's way there; the function that it returns is the way back.
func (v *virtual) enter(ctx context.Context) (func(), error) {
	v.mu.Lock()
	v.all++
	v.inFlight++
	v.top = max(v.top, v.inFlight)
	v.mu.Unlock()
	err := call.Sleep(ctx, max(v.latency, time.Microsecond))
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.inFlight--
	}, err
}

func (v *virtual) count(units float64) {
	now := time.Now()
	if v.start.IsZero() {
		v.start = now
	}
	v.last = now
	second := int(now.Sub(v.start) / time.Second)
	for len(v.perSecond) <= second {
		v.perSecond = append(v.perSecond, 0)
	}
	v.perSecond[second] += units
}

// admitRead takes the units of a read, whose limit admits it while it holds anything.
func (v *virtual) admitRead(units float64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.read.open() {
		v.refused++
		return &types.ProvisionedThroughputExceededException{Message: aws.String("too fast")}
	}
	v.read.left -= units
	if v.read.rate > 0 {
		v.count(units)
	}
	return nil
}

func (v *virtual) DescribeTable(_ context.Context, in *dynamodb.DescribeTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	made, stream := time.Unix(1, 0), "stream"
	if v.stream != nil {
		v.mu.Lock()
		if v.begun.IsZero() {
			v.begun = time.Now()
		}
		v.mu.Unlock()
		var err error
		if stream, err = v.stream(time.Since(v.begun)); err != nil {
			return nil, err
		}
	}
	return &dynamodb.DescribeTableOutput{Table: &types.TableDescription{
		TableName: in.TableName, TableArn: aws.String("arn:aws:dynamodb:us-east-1:000000000000:table/" + *in.TableName), CreationDateTime: &made,
		TableStatus: types.TableStatusActive, ProvisionedThroughput: &v.given,
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String("k"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String("k"), AttributeType: types.ScalarAttributeTypeS}},
		StreamSpecification:  &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage},
		LatestStreamArn:      &stream,
		LatestStreamLabel:    v.label,
		SSEDescription:       &types.SSEDescription{SSEType: types.SSETypeKms, Status: types.SSEStatusEnabled},
	}}, nil
}

func (v *virtual) Scan(ctx context.Context, in *dynamodb.ScanInput, _ ...func(*dynamodb.Options)) (*dynamodb.ScanOutput, error) {
	back, err := v.enter(ctx)
	defer back()
	if err != nil {
		return nil, err
	}
	segment, segments := int(*in.Segment), int(*in.TotalSegments)
	from, to := segment*len(v.items)/segments, (segment+1)*len(v.items)/segments
	if v.bounds != nil {
		from, to = v.bounds[segment], v.bounds[segment+1]
	}
	if in.ExclusiveStartKey != nil {
		from = v.numbers[text(in.ExclusiveStartKey["k"])] + 1
	}
	end, size := from, 0
	for end < to && size < 1<<20 && (in.Limit == nil || end-from < int(*in.Limit)) {
		size += v.sizes[end]
		end++
	}
	units := max(0.5, math.Ceil(float64(size)/4096)/2)
	if err := v.admitRead(units); err != nil {
		return nil, err
	}
	out := &dynamodb.ScanOutput{Items: v.items[from:end], Count: int32(end - from), ConsumedCapacity: &types.ConsumedCapacity{CapacityUnits: &units}}
	if end < to {
		out.LastEvaluatedKey = attrs{"k": v.items[end-1]["k"]}
	}
	return out, nil
}

func (v *virtual) BatchGetItem(ctx context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	back, err := v.enter(ctx)
	defer back()
	if err != nil {
		return nil, err
	}
	units := 0.0
	out := &dynamodb.BatchGetItemOutput{Responses: map[string][]attrs{}, UnprocessedKeys: map[string]types.KeysAndAttributes{}}
	for table, request := range in.RequestItems {
		for _, key := range request.Keys {
			number := v.numbers[text(key["k"])]
			units += math.Ceil(float64(v.sizes[number]) / 4096)
			out.Responses[table] = append(out.Responses[table], v.items[number])
		}
	}
	if err := v.admitRead(units); err != nil {
		return nil, err
	}
	out.ConsumedCapacity = []types.ConsumedCapacity{{CapacityUnits: &units}}
	return out, nil
}

func (v *virtual) BatchWriteItem(ctx context.Context, in *dynamodb.BatchWriteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
	back, err := v.enter(ctx)
	defer back()
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	out := &dynamodb.BatchWriteItemOutput{UnprocessedItems: map[string][]types.WriteRequest{}}
	total := 0.0
	for table, requests := range in.RequestItems {
		for _, request := range requests {
			units, admitted := v.put(text(request.PutRequest.Item["k"]))
			if total += units; !admitted {
				out.UnprocessedItems[table] = append(out.UnprocessedItems[table], request)
			}
		}
		if len(out.UnprocessedItems[table]) > 0 {
			v.refused++
		}
		if len(out.UnprocessedItems[table]) == len(requests) {
			return nil, &types.ProvisionedThroughputExceededException{Message: aws.String("too fast")}
		}
	}
	out.ConsumedCapacity = []types.ConsumedCapacity{{CapacityUnits: &total}}
	return out, nil
}

// put writes one item, if its buckets admit it.
func (v *virtual) put(key string) (units float64, admitted bool) {
	number := v.numbers[key]
	partition := &v.partitions[len(v.partitions)-1]
	if number < v.hot {
		partition = &v.partitions[number%max(1, len(v.partitions)-1)]
	}
	if !v.write.open() || !partition.open() {
		return 0, false
	}
	units = math.Ceil(float64(v.sizes[number]) / 1024)
	v.write.left -= units
	partition.left -= units
	v.written[key] = true
	if v.read.rate == 0 {
		v.count(units)
	}
	if number < v.hot {
		v.cold = time.Now()
	}
	return units, true
}

// seed runs a seed from one table to the other and expects every item to be written.
func (v *virtual) seed(t *testing.T, change func(*seed.Options)) seed.Result {
	t.Helper()
	o := seed.Options{Source: v, SourceTable: "source", Target: v, TargetTable: "target", Segments: 16}
	change(&o)
	result, err := seed.Run(t.Context(), o)
	if err != nil || len(v.written) != len(v.items) || result.ItemsWritten != int64(len(v.items)) {
		t.Fatalf("%d of %d items written, error %v, %+v", len(v.written), len(v.items), err, result)
	}
	return result
}

// mean is the mean consumption from the first to the last request.
func (v *virtual) mean() float64 {
	sum := 0.0
	for _, units := range v.perSecond {
		sum += units
	}
	return sum / v.last.Sub(v.start).Seconds()
}

// The pace of seeds whose limit a server enforces, as it is where the machine has time enough.
func TestVirtualPace(t *testing.T) {
	const ms = time.Millisecond
	small, page := sized("item", 8000, 1000), sized("item", 12_500, 4096)
	for _, c := range []struct {
		name      string
		limit     float64
		latency   time.Duration
		items     []attrs
		largest   float64 // units of the largest item
		least     float64 // of the mean
		reads     bool
		segments  int
		lopsided  bool // one segment has nearly everything
		mostUnder int  // requests under way at the most
	}{
		{"small items", 1000, 0, small, 1, 0.98, false, 16, false, 8},
		{"small items, 10 ms", 1000, 10 * ms, small, 1, 0.98, false, 16, false, 8},
		{"few units", 5, 10 * ms, small[:100], 1, 0.98, false, 16, false, 18},
		{"mixed items", 1000, 10 * ms, mixed(8000), 300, 0.98, false, 16, false, 18},
		{"mixed items, 4000", 4000, 10 * ms, mixed(32_000), 300, 0.98, false, 16, false, 18},
		{"mixed items, 10,000", 10_000, 10 * ms, mixed(60_000), 300, 0.98, false, 16, false, 24},
		{"16 segments, 10,000", 10_000, 10 * ms, page, 4, 0.98, false, 16, false, 24},
		{"300 segments, 10,000", 10_000, 10 * ms, page, 4, 0.98, false, 300, false, 40},
		{"reads", 600, 10 * ms, small, 1, 0.98, true, 16, false, 18},
		{"many reads", 5000, 10 * ms, page, 1, 0.98, true, 16, false, 40},
		{"one segment", 1000, 10 * ms, small, 1, 0.98, false, 1, false, 8},
		{"one segment outlasts the others", 1000, 10 * ms, small, 1, 0.98, false, 16, true, 18},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVirtual(c.items, c.latency)
				if c.reads {
					v.read.rate = c.limit
				} else {
					v.write.rate = c.limit
					v.partitions = slices.Repeat([]tokens{{rate: 1000}}, max(3, int(c.limit/500)+1))
				}
				if c.lopsided {
					v.bounds = []int{0, len(c.items) - 16*10}
					for range 15 {
						v.bounds = append(v.bounds, v.bounds[len(v.bounds)-1]+10)
					}
					v.bounds[16] = len(c.items)
				}
				v.seed(t, func(o *seed.Options) {
					o.Segments = c.segments
					if c.reads {
						o.ReadUnits, o.WriteUnits = c.limit, 100_000
					} else {
						o.WriteUnits = c.limit
					}
				})
				mean := v.mean() / c.limit
				t.Logf("mean %.4f of the limit, %d of %d requests throttled, %d at a time, each second: %.0f", mean, v.refused, v.all, v.top, v.perSecond)
				if mean < c.least || mean > 1.02 {
					t.Errorf("the mean is %.4f of the limit", mean)
				}
				most := 1.05 * c.limit
				if c.largest > 0.05*c.limit { // an item can't be cut
					most += c.largest
				}
				if second := slices.Max(v.perSecond[2 : len(v.perSecond)-1]); second > most {
					t.Errorf("%.0f units in one second", second)
				}
				if v.refused*200 >= v.all {
					t.Errorf("%d of %d requests throttled", v.refused, v.all)
				}
				if v.top > c.mostUnder {
					t.Errorf("%d requests at a time", v.top)
				}
			})
		})
	}
}

// On demand, 95 % of what the table serves is reached within 20 seconds, and held.
func TestVirtualPaceAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const serves = 2000
		v := newVirtual(mixed(33*serves), 10*time.Millisecond)
		v.write.rate = serves
		v.seed(t, func(*seed.Options) {})
		t.Logf("%d of %d requests throttled, each second: %.0f", v.refused, v.all, v.perSecond)
		mean := 0.0
		for _, units := range v.perSecond[20:30] {
			mean += units / 10
		}
		if mean < 0.95*serves {
			t.Errorf("from second 20 on, %.0f units a second", mean)
		}
	})
}

// On demand, a hot partition that has 3 of 16 segments and serves little doesn't slow down the others.
func TestVirtualPaceWithHotPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hotUnits, warm = 50, 4000
		const cold, hot = 13 * 5000, 3 * 350
		v := newVirtual(sized("item", cold+hot, 1000), 10*time.Millisecond)
		v.hot = cold
		v.partitions = make([]tokens, 9)
		v.partitions[8].rate = hotUnits
		for i := range 13 {
			v.bounds = append(v.bounds, i*cold/13)
		}
		for i := range 4 {
			v.bounds = append(v.bounds, cold+i*hot/3)
		}
		v.seed(t, func(*seed.Options) {})
		took := v.cold.Sub(v.start).Seconds()
		rate := float64(v.hot) / took
		t.Logf("%.0f units a second in the other segments, %d of %d requests throttled", rate, v.refused, v.all)
		if rate < 0.95*warm {
			t.Errorf("the other segments are held to %.0f units a second", rate)
		}
	})
}
