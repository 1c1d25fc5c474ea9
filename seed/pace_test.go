// Pacing is a matter of time, which the race detector changes by an order of magnitude: make test runs these tests by themselves,
// without it.

//go:build !race

package seed_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"reseal/internal/testkit"
	"reseal/seed"

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

// largest is what the largest item of mixed costs, in write units.
const largest = 300

// mixed makes items of 100 B, 1 KB, 11 KB and 300 KB, and returns what writing them costs.
func mixed(units float64) ([]attrs, float64) {
	quarter := units / 4
	var items []attrs
	items = append(items, sized("tiny", int(quarter), 100)...)
	items = append(items, sized("small", int(quarter), 1024)...)
	items = append(items, sized("medium", int(quarter/11), 11*1024)...)
	items = append(items, sized("large", int(quarter/largest), largest*1024)...)
	return items, quarter + quarter + math.Floor(quarter/11)*11 + math.Floor(quarter/largest)*largest
}

// pace seeds through a meter and returns what it saw.
func pace(t *testing.T, items []attrs, limits testkit.Limits, change func(*seed.Options)) (seed.Result, *testkit.Meter) {
	t.Helper()
	b := newBench(t, items)
	b.options.Segments = 16
	b.options.RequestTimeout = 20 * time.Second
	limits.Hash = "k"
	meter := testkit.NewMeter(limits)
	b.target.Use(meter.Hook)
	if limits.Latency > 0 {
		b.source.Use(testkit.NewMeter(testkit.Limits{Latency: limits.Latency}).Hook)
	}
	change(&b.options)
	result := b.run()
	b.mustBeEqual()
	return result, meter
}

// steady are the seconds after the first two, in which the pages come in, and before the last, which is cut.
func steady(seconds []float64) []float64 { return seconds[2 : len(seconds)-1] }

// Held to W units a second on a server that enforces W, a seed of very different items spends exactly what they cost, uses up its
// budget to within 2 %, takes no second's more than W and 5 % (and one item, which can't be cut), and is hardly ever throttled.
// On a busy machine the mean is the machine's affair, so it has three runs to show it.
func TestPaceHeldToUnits(t *testing.T) {
	for _, c := range []struct {
		limit   float64
		latency time.Duration
	}{{1000, 0}, {4000, 10 * time.Millisecond}} {
		t.Run(fmt.Sprintf("%.0f units, %s", c.limit, c.latency), func(t *testing.T) {
			items, units := mixed(c.limit * 8)
			heldToUnits(t, c.limit, c.latency, items, units, 0.98)
		})
	}
}

// With 10 ms for each request, 16 segments reach 95 % of a large budget.
func TestPaceWithLatency(t *testing.T) {
	const limit = 10_000
	items := sized("item", limit*8/4, 4096)
	heldToUnits(t, limit, 10*time.Millisecond, items, limit*8, 0.95)
}

// heldToUnits seeds the items, which cost so many units, and expects that the mean consumption is at least the given part of
// the limit.
func heldToUnits(t *testing.T, limit float64, latency time.Duration, items []attrs, units, least float64) {
	t.Helper()
	var means []float64
	for range 3 {
		mean := meanOfLimit(t, limit, latency, items, units)
		if mean > 1.02 {
			t.Errorf("the mean is %.3f of the limit", mean)
		}
		if mean >= least || t.Failed() {
			return
		}
		means = append(means, mean)
	}
	t.Errorf("the mean is never %.2f of the limit: %.3f", least, means)
}

// meanOfLimit seeds once and returns the mean consumption, as a part of the limit.
func meanOfLimit(t *testing.T, limit float64, latency time.Duration, items []attrs, units float64) float64 {
	t.Helper()
	r, meter := pace(t, items, testkit.Limits{Write: limit, Latency: latency}, func(o *seed.Options) { o.WriteUnits = limit })
	seconds, took := meter.WriteUnits()
	all, throttled := meter.Requests()
	mean := r.WriteUnits / took.Seconds() / limit
	t.Logf("mean %.1f %% of the limit in %s, %d of %d requests throttled, each second: %.0f", 100*mean, took, throttled, all, seconds)
	if r.WriteUnits != units || r.LeastWriteUnits != units {
		t.Errorf("%.0f write units, at least %.0f, want %.0f", r.WriteUnits, r.LeastWriteUnits, units)
	}
	if r.ReadUnits < r.LeastReadUnits || r.ReadUnits > 1.005*r.LeastReadUnits {
		t.Errorf("%.1f read units, at least %.1f", r.ReadUnits, r.LeastReadUnits)
	}
	for _, second := range steady(seconds) {
		if second > 1.05*limit+largest {
			t.Errorf("%.0f units in one second", second)
		}
	}
	if throttled*200 > all {
		t.Errorf("%d of %d requests throttled", throttled, all)
	}
	return mean
}

// Without a limit, a seed finds out within 20 seconds what a table on demand serves: at least 95 % of it, in the mean of three
// seconds.
func TestPaceAdapts(t *testing.T) {
	const serves = 2000
	items, _ := mixed(20 * serves)
	_, meter := pace(t, items, testkit.Limits{Write: serves}, func(*seed.Options) {})
	seconds, took := meter.WriteUnits()
	all, throttled := meter.Requests()
	t.Logf("%s, %d of %d requests throttled, each second: %.0f", took, throttled, all, seconds)
	best := 0.0
	for i := 3; i+3 < min(20, len(seconds)); i++ { // not the first seconds, which have the burst of the server
		best = max(best, (seconds[i]+seconds[i+1]+seconds[i+2])/3)
	}
	if best < 0.95*serves {
		t.Errorf("never more than %.0f units a second", best)
	}
}

// Partitions that serve less than the table has throttle a part of each batch; nothing is lost, nothing paid twice.
func TestPacePartitions(t *testing.T) {
	items := sized("item", 4000, 1024)
	r, meter := pace(t, items, testkit.Limits{Write: 4000, PartitionWrite: 200, Partitions: 4}, func(o *seed.Options) { o.WriteUnits = 4000 })
	seconds, took := meter.WriteUnits()
	t.Logf("%s, throttled %d, each second: %.0f", took, r.Throttled, seconds)
	// 1,000 items for each of four partitions, which serve 200 a second and have a second's worth in reserve.
	if r.Throttled == 0 || r.ItemsWritten != 4000 || r.WriteUnits != 4000 {
		t.Errorf("result %+v", r)
	}
}
