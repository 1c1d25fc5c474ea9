// Pacing is a matter of time, which the race detector changes by an order of magnitude: make test runs these tests by themselves,
// without it.

//go:build !race

package seed_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/seed"
)

// pace seeds through a meter before the target, or the source, and returns what it saw.
func pace(t *testing.T, items []attrs, limits testkit.Limits, atSource bool, change func(*seed.Options)) (seed.Result, *testkit.Meter) {
	t.Helper()
	b := newBench(t, items)
	b.options.Segments = 16
	b.options.RequestTimeout = 20 * time.Second
	limits.Hash = "k"
	metered, other := b.target, b.source
	if atSource {
		metered, other = b.source, b.target
	}
	meter := testkit.NewMeter(limits)
	metered.Use(meter.Hook)
	other.Use(testkit.NewMeter(testkit.Limits{Latency: limits.Latency}).Hook)
	change(&b.options)
	result := b.run()
	b.mustBeEqual()
	return result, meter
}

// paced is a seed whose limit a server enforces.
type paced struct {
	limit   float64 // units a second
	latency time.Duration
	items   []attrs
	largest float64 // units of the largest item
	least   float64 // of the mean, as a part of the limit
	reads   bool    // it is the reads of the source that are limited, else the writes to the target
}

// Held to W units a second on a server that enforces W, for the table and for its partitions, a seed uses up its budget to within
// 2 %, takes no second's more than W and 5 %, is hardly ever throttled, and has no more requests under way than that takes.
func TestPaceHeldToUnits(t *testing.T) {
	for name, c := range map[string]paced{
		"small items": {limit: 1000, items: sized("item", 8000, 1000), largest: 1, least: 0.98},
		"reads":       {limit: 600, items: sized("item", 4500, 1000), largest: 1, least: 0.98, reads: true},
	} {
		t.Run(name, c.run)
	}
}

// The figures are the same where items are of 100 B, 1 KB, 11 KB and 300 KB, except that a second may have one item too much: an
// item can't be cut.
func TestPaceOfMixedItems(t *testing.T) {
	for name, c := range map[string]paced{
		"1000":        {limit: 1000, items: mixed(8000), largest: 300, least: 0.98},
		"4000, 10 ms": {limit: 4000, latency: 10 * time.Millisecond, items: mixed(32_000), largest: 300, least: 0.98},
	} {
		t.Run(name, c.run)
	}
}

// With 10 ms for each request, 16 segments reach 95 % of a large budget.
func TestPaceWithLatency(t *testing.T) {
	const limit = 10_000
	c := paced{limit: limit, latency: 10 * time.Millisecond, items: sized("item", limit*8/4, 4096), largest: 4, least: 0.95}
	c.run(t)
}

// run seeds up to three times: on a busy machine the pace is the machine's affair, but it can't be that by chance.
func (c paced) run(t *testing.T) {
	var problems []string
	for range 3 {
		if problems = c.once(t); problems == nil || t.Failed() {
			return
		}
		t.Log(problems)
	}
	t.Errorf("three times not as it should be, lastly: %q", problems)
}

// once seeds and returns what is wrong with the pace. Wrong units are an error at once.
func (c paced) once(t *testing.T) (problems []string) {
	t.Helper()
	limits := testkit.Limits{Write: c.limit, Latency: c.latency, PartitionWrite: 1000, Partitions: max(2, int(c.limit/500))}
	if c.reads {
		limits = testkit.Limits{Read: c.limit, Latency: c.latency}
	}
	r, meter := pace(t, c.items, limits, c.reads, func(o *seed.Options) {
		if c.reads {
			o.ReadUnits = c.limit
		} else {
			o.WriteUnits = c.limit
		}
	})
	c.checkUnits(t, r)
	units := r.WriteUnits
	seconds, took := meter.WriteUnits()
	if c.reads {
		units = r.ReadUnits
		seconds, took = meter.ReadUnits()
	}
	all, throttled := meter.Requests()
	mean := units / took.Seconds() / c.limit
	t.Logf("mean %.1f %% of the limit in %s, %d of %d requests throttled, %d at a time at the most, each second: %.0f",
		100*mean, took, throttled, all, meter.MostInFlight(), seconds)
	add := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	if mean < c.least || mean > 1.02 {
		add("the mean is %.3f of the limit", mean)
	}
	most := 1.05 * c.limit
	if c.largest > 0.05*c.limit {
		most += c.largest
	}
	for _, second := range seconds[2 : len(seconds)-1] { // after the first two, and before the last, which is cut
		if second > most {
			add("%.0f units in one second", second)
		}
	}
	if throttled*200 >= all {
		add("%d of %d requests throttled", throttled, all)
	}
	if n := meter.MostInFlight(); n > mostInFlight {
		add("%d requests at a time", n)
	}
	return problems
}

// mostInFlight is far more than these budgets take with 10 ms for each request, and far less than the 256 batches that 16
// segments have ready.
const mostInFlight = 40

// checkUnits expects the units of the result to be the sum of the items', and those of the pages and the re-checks.
func (c paced) checkUnits(t *testing.T, r seed.Result) {
	t.Helper()
	least := 0.0
	for _, attributes := range c.items {
		least += math.Ceil(float64(len("k")+len("f")+len(text(attributes["k"]))+len(text(attributes["f"]))) / 1024)
	}
	if r.WriteUnits != least || r.LeastWriteUnits != least {
		t.Errorf("%.0f write units, at least %.0f, want %.0f", r.WriteUnits, r.LeastWriteUnits, least)
	}
	if r.ReadUnits < r.LeastReadUnits || r.ReadUnits > 1.005*r.LeastReadUnits {
		t.Errorf("%.1f read units, at least %.1f", r.ReadUnits, r.LeastReadUnits)
	}
}

// Without a limit, a seed finds out within 20 seconds what a table on demand serves: at least 95 % of it, in the mean of three
// seconds.
func TestPaceAdapts(t *testing.T) {
	const serves = 2000
	_, meter := pace(t, mixed(20*serves), testkit.Limits{Write: serves}, false, func(*seed.Options) {})
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
	r, meter := pace(t, items, testkit.Limits{Write: 4000, PartitionWrite: 200, Partitions: 4}, false, func(o *seed.Options) { o.WriteUnits = 4000 })
	seconds, took := meter.WriteUnits()
	t.Logf("%s, throttled %d, each second: %.0f", took, r.Throttled, seconds)
	// 1,000 items for each of four partitions, which serve 200 a second and have a second's worth in reserve.
	if r.Throttled == 0 || r.ItemsWritten != 4000 || r.WriteUnits != 4000 {
		t.Errorf("result %+v", r)
	}
}

// An application that uses 60 % of a provisioned table hardly notices a seed without a limit of its own: less than one in 1,000 of its
// requests is throttled, by the same server that meters the seed's.
func TestPaceLeavesTheApplicationItsRoom(t *testing.T) {
	const provisioned, used = 600, 360
	for range 3 { // a busy machine sends requests late, and then at once
		b := benchOf(t, sized("item", 20_000, 1000), testkit.TableSpec{Hash: "k:S", Provisioned: [2]int64{provisioned, provisioned}}, testkit.TableSpec{Hash: "k:S"})
		b.options.Segments = 16
		b.options.RequestTimeout = 20 * time.Second
		meter := testkit.NewMeter(testkit.Limits{Read: provisioned})
		b.source.Use(meter.Hook)
		var keys []attrs
		for i := range 1000 {
			keys = append(keys, testkit.Item("k", fmt.Sprintf("item-%06d", i)))
		}
		application := testkit.StartReading(t, testkit.Client(b.source.URL), b.options.SourceTable, used, keys)
		r := b.run()
		all, throttled := application.Stop()
		b.mustBeEqual()
		t.Logf("%.1f s; %d of %d requests of the application throttled, %d of the seed's; %+v", r.ElapsedSeconds, throttled, all, r.Throttled, r.ReadLimit)
		if float64(all) > 0.9*used*r.ElapsedSeconds && r.ReadLimit.Slowed > 0 && throttled*1000 < all {
			return
		}
	}
	t.Error("three times, too many requests of the application were throttled, or the seed and it never met")
}
