package seed_test

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"

	"reseal/internal/test/testkit"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// description is the Table of a DescribeTable answer.
type description = map[string]any

// described has DescribeTable tell what change makes of the engine's answer, and Scans read pages of so many items; 0: as many as
// are asked for.
func described(t *testing.T, page int, change func(description)) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" && page > 0 {
			x.Body = limitedTo(page, x.Body)
		}
		if x.Op != "DescribeTable" {
			return nil
		}
		status, answer, err := x.Forward()
		var out struct{ Table description }
		if err != nil || status != http.StatusOK || json.Unmarshal(answer, &out) != nil {
			t.Errorf("status %d, error %v", status, err)
			return nil
		}
		change(out.Table)
		return &testkit.Response{Body: marshal(t, out)}
	}
}

// index describes an index by the given key, after the table's own if it is a local one.
func index(name, key string, projection any, local bool) description {
	keys := []description{{"AttributeName": key, "KeyType": "HASH"}}
	if local {
		keys = []description{{"AttributeName": "k", "KeyType": "HASH"}, {"AttributeName": key, "KeyType": "RANGE"}}
	}
	return description{"IndexName": name, "KeySchema": keys, "Projection": projection}
}

func (b *bench) plan(prices seed.Prices) seed.Estimate {
	b.t.Helper()
	plan, err := seed.Plan(b.t.Context(), b.options, prices)
	if err != nil {
		b.t.Fatal(err)
	}
	return plan
}

func hasNote(notes []string, part string) bool {
	return slices.ContainsFunc(notes, func(note string) bool { return strings.Contains(note, part) })
}

// Each index costs the units of what it holds of an item: all, some attributes, or the keys; nothing where its key is missing.
func TestPlanIndexes(t *testing.T) {
	items := numbered(60)
	for i, item := range items {
		for name, value := range testkit.Item("text", strings.Repeat("x", 2500), "more", strings.Repeat("y", 1500)) {
			item[name] = value // 5 units in all
		}
		if i < 20 {
			item["g"] = testkit.Item("g", i)["g"]
		}
	}
	b := newBench(t, items)
	b.options.WriteUnits = 100
	all, keys := description{"ProjectionType": "ALL"}, description{"ProjectionType": "KEYS_ONLY"}
	some := description{"ProjectionType": "INCLUDE", "NonKeyAttributes": []string{"more"}}
	b.target.Use(described(t, 0, func(table description) {
		table["GlobalSecondaryIndexes"] = []description{index("all", "g", all, false), index("some", "v", some, false), index("none", "missing", all, false)}
		table["LocalSecondaryIndexes"] = []description{index("local", "v", keys, true)}
	}))
	plan := b.plan(seed.Prices{})
	want := map[string]float64{"all": 20 * 4, "some": 60 * 2, "none": 0, "local": 60}
	units := 60.0 * 4
	for name, n := range want {
		units += n
		if plan.IndexWriteUnits[name] != n {
			t.Errorf("index %s: %g units, want %g", name, plan.IndexWriteUnits[name], n)
		}
	}
	// The local index takes units of the table; each global one has its own.
	if plan.WriteUnits != units || plan.Seconds != (60*4+60)/100.0 || !hasNote(plan.Notes, "4 secondary indexes") {
		t.Errorf("%+v, want %g units", plan, units)
	}
}

// A sample of a large table is taken for the whole of it.
func TestPlanExtrapolates(t *testing.T) {
	b := newBench(t, numbered(200))
	many := func(items, bytes int) testkit.Hook {
		return described(t, 10, func(table description) { table["ItemCount"], table["TableSizeBytes"] = items, bytes })
	}
	b.source.Use(many(20_000_000, 500_000_000))
	b.options.ReadUnits, b.options.WriteUnits = 10_000, 200
	plan := b.plan(seed.Prices{ReadMillion: 1, WriteMillion: 10, ReadUnitHour: 36, WriteUnitHour: 360})
	if plan.SampledItems != 40 || plan.Items != 20_000_000 || plan.Bytes != 500_000_000 || plan.WriteUnits != 20_000_000 {
		t.Errorf("%+v", plan)
	}
	// Ten items take half a unit to scan, and one each to check.
	if reads := 20_000_000 * (1 + 0.5/10); plan.ReadUnits != reads || plan.SampledUnits != 2 ||
		math.Abs(plan.OnDemandDollars-(200+reads/1e6)) > 1e-6 || math.Abs(plan.ProvisionedDollars-(2_000_000+reads/100)) > 1e-3 {
		t.Errorf("%+v, want %g read units", plan, reads)
	}
	if plan.Seconds != 100_000 || plan.FitsStream || !hasNote(plan.Notes, "longer than the 24 hours") || !hasNote(plan.Notes, "six hours") {
		t.Errorf("%+v", plan)
	}
	b.options.WriteUnits = 2000
	if plan := b.plan(seed.Prices{}); plan.Seconds != 10_000 || !plan.FitsStream || hasNote(plan.Notes, "24 hours") {
		t.Errorf("%+v", plan)
	}
	// What DescribeTable tells is up to six hours old.
	b.source.Use(many(0, 0))
	if plan := b.plan(seed.Prices{}); plan.Items != 40 || plan.WriteUnits != 40 || !hasNote(plan.Notes, "the table has more") {
		t.Errorf("%+v", plan)
	}
}

// What the tables have decides on time and warnings: a limit beyond it is of no use.
func TestPlanCapacity(t *testing.T) {
	provisioned := func(table description) {
		table["ProvisionedThroughput"] = description{"ReadCapacityUnits": 50, "WriteCapacityUnits": 10}
	}
	warm := func(table description) {
		table["WarmThroughput"] = description{"ReadUnitsPerSecond": 15_000, "WriteUnitsPerSecond": 9000}
	}
	infrequent := func(table description) {
		table["TableClassSummary"] = description{"TableClass": "STANDARD_INFREQUENT_ACCESS"}
	}
	const cold, throttled, grows = "setting its warm throughput before saves", "it would be throttled", "throttled until it has grown"
	for name, c := range map[string]struct {
		target  func(description)
		units   float64
		share   float64
		seconds float64
		notes   []string // no other of those above
	}{
		"on demand":         {func(description) {}, 0, 0, 0.025, []string{cold, "serves 4000 write units"}},
		"on demand, limit":  {func(description) {}, 1000, 0, 0.1, nil},
		"on demand, beyond": {func(description) {}, 8000, 0, 0.0125, []string{grows, "serves 4000 write units"}},
		"warm":              {warm, 0, 0, 100.0 / 9000, []string{cold, "serves 9000 write units"}},
		"provisioned":       {provisioned, 0, 0, 100.0 / 8, nil},
		"half of it":        {provisioned, 0, 0.5, 20, nil},
		"a limit below":     {provisioned, 5, 0, 20, nil},
		"a limit beyond":    {provisioned, 1000, 0, 10, []string{throttled, "1000 write units a second", "the 10 provisioned"}},
		"infrequent access": {infrequent, 100, 0, 1, []string{"Standard-IA"}},
	} {
		b := newBench(t, numbered(100))
		b.options.WriteUnits, b.options.WriteShare = c.units, c.share
		b.target.Use(described(t, 0, c.target))
		plan := b.plan(seed.Prices{})
		if math.Abs(plan.Seconds-c.seconds) > 1e-9 {
			t.Errorf("%s: %g s, want %g", name, plan.Seconds, c.seconds)
		}
		for _, part := range c.notes {
			if !hasNote(plan.Notes, part) {
				t.Errorf("%s: no note has %q: %q", name, part, plan.Notes)
			}
		}
		for _, part := range []string{cold, throttled, grows, "Standard-IA"} {
			if hasNote(plan.Notes, part) && !slices.Contains(c.notes, part) {
				t.Errorf("%s: a note has %q", name, part)
			}
		}
	}
	b := newBench(t, numbered(100))
	b.options.ReadUnits = 1000
	b.source.Use(described(t, 0, provisioned))
	if plan := b.plan(seed.Prices{}); math.Abs(plan.Seconds-plan.ReadUnits/50) > 1e-9 || !hasNote(plan.Notes, "1000 read units a second is more than the 50") {
		t.Errorf("%+v", plan)
	}
}

func TestPlanTimeToLive(t *testing.T) {
	b := newBench(t, numbered(3))
	if plan := b.plan(seed.Prices{}); hasNote(plan.Notes, "time to live") {
		t.Errorf("%q", plan.Notes)
	}
	b.source.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "DescribeTimeToLive" {
			return testkit.Fail(http.StatusBadRequest, "AccessDeniedException", "no")
		}
		return nil
	})
	if plan := b.plan(seed.Prices{}); !hasNote(plan.Notes, "time to live was not checked") {
		t.Errorf("%q", plan.Notes)
	}
	b.source.Use(nil)
	_, err := b.db.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName:               &b.options.SourceTable,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if plan := b.plan(seed.Prices{}); !hasNote(plan.Notes, "a time to live (attribute expires)") {
		t.Errorf("%q", plan.Notes)
	}
}
