package verify_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/verify"
)

func allowChanging(o *verify.Options) { o.AllowChanging = true }

// An item that never stands still is no match, but may be let pass; a difference beside it may not.
func TestAllowChanging(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 20)
	ts.putTarget("id", "k1", "v", "damaged")
	ts.sourceProxy.Use(on("BatchGetItem", func(n int, _ *testkit.Exchange) *testkit.Response {
		ts.hookPut(ts.source, "id", "k1", "v", fmt.Sprint("change ", n))
		return nil
	}))
	check := func(name string, passed bool, says string, change ...option) {
		t.Helper()
		result, _ := ts.verify(append(change, settling(50*time.Millisecond))...)
		if result.Match || result.StillChanging != 1 || result.Passed != passed || !strings.HasPrefix(result.Verdict(), says) {
			t.Errorf("%s: %+v, passed %t, %q", name, verdictOf(result), result.Passed, result.Verdict())
		}
		if result.SourceFingerprint == result.TargetFingerprint {
			t.Errorf("%s: the fingerprints are the same", name)
		}
	}
	check("not allowed", false, "NO MATCH: some items never stood still.")
	check("allowed", true, "PASSED: nothing but items that never stood still differs.", allowChanging)
	strict := func(o *verify.Options) { o.Strict = true } // and the time to live is not checked
	ts.targetProxy.Use(on("DescribeTimeToLive", func(int, *testkit.Exchange) *testkit.Response {
		return testkit.Fail(400, "AccessDeniedException", "no")
	}))
	check("allowed, but strict", false, "NO MATCH: some items never stood still, and", allowChanging, strict)

	all := func(o *verify.Options) { o.Sample, o.Segments = 0.999, 1 } // a sample of all segments but some of 17
	for seed := range uint64(20) {
		result, _ := ts.verify(allowChanging, all, settling(50*time.Millisecond), func(o *verify.Options) { o.SampleSeed = seed })
		if result.Passed || result.Match {
			t.Fatalf("a sample passed as a whole: %+v", result)
		}
		if result.StillChanging == 1 {
			if !result.Sample.Passed || result.Sample.Match || !strings.HasPrefix(result.Verdict(), "SAMPLE MATCHED: nothing but items that never stood still differs in a sample") {
				t.Errorf("%+v, %q", result.Sample, result.Verdict())
			}
			break
		}
	}

	ts.putTarget("id", "k2", "v", "damaged")
	check("with a difference", false, "NO MATCH: the tables do not hold the same items.", allowChanging)
}

// A difference says since when it was seen until when, and where.
func TestDifferenceSaysWhenAndWhere(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 200)
	ts.damage()
	const settle, count = 300 * time.Millisecond, 7
	start := time.Now()
	result, found := ts.verify(settling(settle), segments(count))
	in := func(d difference, ofTarget bool) int {
		if segment, is := d.Segment(ofTarget); is {
			return segment
		}
		return -1
	}
	want := [2][count]int64{}
	for key, d := range found {
		if d.FirstSeen.Before(start) || d.LastSeen.Sub(d.FirstSeen) < settle || d.LastSeen.After(time.Now()) {
			t.Errorf("%s: seen %v to %v, started %v", key, d.FirstSeen, d.LastSeen, start)
		}
		source, target := in(d, false), in(d, true)
		if (source < 0) != (d.Kind == verify.Extra) || (target < 0) != (d.Kind == verify.Missing) || source >= count || target >= count {
			t.Errorf("%s: in segments %d and %d", key, source, target)
		}
		for side, segment := range []int{source, target} {
			if segment >= 0 {
				want[side][segment]++
			}
		}
	}
	items := [2]int64{}
	for side, cells := range [][]verify.Cell{result.Map.Source, result.Map.Target} {
		for i, cell := range cells {
			items[side] += cell.Items
			if cell.Differences != want[side][i] || cell.First != i || cell.Last != i || cell.Compared != 1 {
				t.Errorf("side %d, cell %d: %+v, want %d differences", side, i, cell, want[side][i])
			}
		}
	}
	if items != [2]int64{200, 200} || len(result.Map.Source) != count {
		t.Errorf("%v items in the map, %d cells", items, len(result.Map.Source))
	}
}

// The map has no more cells than people can see, and each segment is in one of them.
func TestMapOfManySegments(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 3)
	result, _ := ts.verify(segments(300))
	next, read := 0, 0
	for i, cell := range result.Map.Source {
		if cell.First != next || cell.Last < cell.First || result.Map.CellOf(cell.First) != i || result.Map.CellOf(cell.Last) != i {
			t.Fatalf("cell %d: %+v, want it to start with %d", i, cell, next)
		}
		next = cell.Last + 1
		read += cell.Compared
	}
	if next != 300 || read != 300 || len(result.Map.Source) != 256 {
		t.Errorf("%d cells up to segment %d, %d compared", len(result.Map.Source), next, read)
	}
	result, _ = ts.verify(func(o *verify.Options) { o.Sample, o.SampleSeed = 0.3, 1 })
	read = 0
	for _, cell := range result.Map.Target {
		read += cell.Compared
	}
	if read != result.Sample.Segments {
		t.Errorf("%d segments of the sample are in the map, want %d", read, result.Sample.Segments)
	}
}

// Values are in a difference only if they are asked for: of the attributes that differ, or all where one table hasn't the item.
func TestShowValues(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 3)
	ts.damage()
	_, found := ts.verify()
	for key, d := range found {
		if d.SourceValues != nil || d.TargetValues != nil {
			t.Errorf("%s has values: %s, %s", key, d.SourceValues, d.TargetValues)
		}
	}
	_, found = ts.verify(func(o *verify.Options) { o.ShowValues = true })
	for id, want := range map[string][2]string{
		"k0": {`{"id":{"S":"k0"},"v":{"N":"0"}}`, ""},
		"k1": {`{"v":{"N":"1"}}`, `{"v":{"S":"damaged"}}`},
		"x":  {"", `{"id":{"S":"x"},"v":{"N":"0"}}`},
	} {
		d := found[fmt.Sprintf(`{"id":{"S":%q}}`, id)]
		if got := [2]string{string(d.SourceValues), string(d.TargetValues)}; got != want {
			t.Errorf("%s: values %q, want %q", id, got, want)
		}
	}
}

// What a repair is about to do is reported before it does it, and what it did not achieve once more.
func TestRepairIsReported(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 5)
	ts.damage()
	report := func(change ...option) []string {
		t.Helper()
		var list []string
		collect := reporting(func(d difference) {
			key, _ := d.Key.JSON()
			list = append(list, fmt.Sprintf("%s %s repair=%s would=%s after=%t", key, d.Kind, d.Repair, d.WouldRepair, d.AfterRepair))
		})
		ts.verify(append(change, collect)...)
		slices.Sort(list)
		return list
	}
	dry := func(o *verify.Options) { o.Repair, o.DryRun = true, true }
	want := []string{
		`{"id":{"S":"k0"}} missing repair= would=put after=false`,
		`{"id":{"S":"k1"}} different repair= would=put after=false`,
		`{"id":{"S":"x"}} extra repair= would=delete after=false`,
	}
	if got := report(dry); !slices.Equal(got, want) {
		t.Errorf("dry run: %q", got)
	}
	deletesOnly := on("BatchWriteItem", func(_ int, x *testkit.Exchange) *testkit.Response {
		x.Body = change(x.Body, func(o object) {
			kept := slices.DeleteFunc(o["RequestItems"].(object)[ts.target].([]any), func(request any) bool {
				return request.(object)["DeleteRequest"] == nil
			})
			o["RequestItems"] = object{ts.target: kept}
		})
		return nil
	})
	ts.targetProxy.Use(deletesOnly)
	want = []string{
		`{"id":{"S":"k0"}} missing repair= would= after=true`,
		`{"id":{"S":"k0"}} missing repair=put would= after=false`,
		`{"id":{"S":"k1"}} different repair= would= after=true`,
		`{"id":{"S":"k1"}} different repair=put would= after=false`,
		`{"id":{"S":"x"}} extra repair=delete would= after=false`,
	}
	if got := report(withRepair); !slices.Equal(got, want) {
		t.Errorf("repair: %q", got)
	}
}

// Begin is called once when the checks are passed, before an item is read; a refused run never gets there.
func TestBegin(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 3)
	begun := 0
	begin := func(result error) option {
		return func(o *verify.Options) {
			o.Begin = func(resumed bool) error {
				if begun++; ts.requests() > 0 || resumed {
					t.Errorf("%d requests before", ts.requests())
				}
				return result
			}
		}
	}
	if _, err := verify.Run(t.Context(), ts.options(begin(nil), segments(0))); err == nil || begun != 0 {
		t.Errorf("refused: %v, begun %d times", err, begun)
	}
	full := errors.New("full")
	if _, err := verify.Run(t.Context(), ts.options(begin(full))); !errors.Is(err, full) || begun != 1 || ts.requests() > 0 {
		t.Errorf("failed: %v, begun %d times, %d requests", err, begun, ts.requests())
	}
	if ts.verify(begin(nil)); begun != 2 {
		t.Errorf("begun %d times", begun)
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	sample := func(match, passed bool) *verify.Sample {
		return &verify.Sample{Seed: 7, Segments: 16, TotalSegments: 1600, Match: match, Passed: passed}
	}
	differs := verify.Setting{What: "stream", Source: "off", Target: "on"}
	for want, r := range map[string]verify.Result{
		"MATCH: both tables hold the same items.":                                                 {Match: true, Passed: true},
		"MATCH: both tables hold the same items, now that 3 were repaired.":                       {Match: true, Passed: true, Missing: 3, Repaired: 3},
		"PASSED: nothing but items that never stood still differs. Those were not seen to agree.": {Passed: true, StillChanging: 1000},
		"NO MATCH: the tables do not hold the same items.":                                        {Extra: 1, StillChanging: 1},
		"NO MATCH: some items never stood still. Verify again when the application writes less.":  {StillChanging: 1},
		"NO MATCH: the items are the same, but 1 of the table configuration's lines differ or were not checked.": {
			Match: true, Strict: true, Configuration: []verify.Setting{differs},
		},
		"SAMPLE MATCHED: nothing differs in a sample of 16 of 1,600 segments (seed 7). The rest was not compared.": {Sample: sample(true, true)},
		"NO MATCH: the tables do not hold the same items, in a sample of 16 of 1,600 segments (seed 7).":           {Missing: 1, Sample: sample(false, false)},
		"NO MATCH: the items are the same, but 1 of the table configuration's lines differ or were not checked, in a sample of 16 of 1,600 segments (seed 7).": {
			Strict: true, Configuration: []verify.Setting{differs}, Sample: sample(true, false),
		},
	} {
		if got := r.Verdict(); got != want {
			t.Errorf("%+v: %q", r, got)
		}
	}
}
