package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"reseal/internal/item"
	"reseal/internal/test/testkit"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// keyValue is the i-th value of a key attribute of a type.
func keyValue(kind string, i int) types.AttributeValue {
	switch kind {
	case "N":
		numbers := []string{"0", "-1.5", "1E-130", "9.9999999999999999999999999999999999999E125", "12345678901234567890123456789012345678"}
		if i < len(numbers) {
			return &types.AttributeValueMemberN{Value: numbers[i]}
		}
		return &types.AttributeValueMemberN{Value: fmt.Sprintf("%d.5", i)}
	case "B":
		return &types.AttributeValueMemberB{Value: []byte{byte(i), 0, 0xff}}
	}
	return &types.AttributeValueMemberS{Value: fmt.Sprintf("\"<é\x01\u2028 %d", i)}
}

// fingerprint is computed apart from Run: the sum of all digests modulo 2^256.
func fingerprint(t *testing.T, ts *tables, table string) string {
	t.Helper()
	sum := new(big.Int)
	for _, it := range testkit.ScanAll(t, ts.engine, table) {
		digest, err := item.Of(it).Digest()
		if err != nil {
			t.Fatal(err)
		}
		sum.Add(sum, new(big.Int).SetBytes(digest[:]))
	}
	return fmt.Sprintf("%064x", sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 256)))
}

func TestEqualTablesMatch(t *testing.T) {
	t.Parallel()
	const count = 40
	for _, keys := range []string{"S", "N", "B", "S S", "S N", "B N", "N B"} {
		t.Run(keys, func(t *testing.T) {
			t.Parallel()
			hash, sort, composite := strings.Cut(keys, " ")
			spec := testkit.TableSpec{Hash: "id:" + hash}
			if composite {
				spec.Range = "at:" + sort
			}
			ts := newTables(t, spec)
			var items []attrs
			for i := range count {
				it := testkit.Item("id", keyValue(hash, i), "v", i%3)
				if composite {
					it["id"], it["at"] = keyValue(hash, i%4), keyValue(sort, i)
				}
				items = append(items, it)
			}
			ts.fill(items)
			want := fingerprint(t, ts, ts.source)
			counts := []int{1, 7, 16}
			if keys == "S" || keys == "B N" { // a hundred segments of 40 items cost time and tell the same of any key
				counts = append(counts, 100)
			}
			for _, n := range counts {
				result, _ := ts.verify(segments(n))
				ts.expect(result, verdict{match: true, sourceItems: count, targetItems: count})
				if result.SourceFingerprint != want || result.TargetFingerprint != want {
					t.Errorf("%d segments: fingerprints %s, %s; want %s", n, result.SourceFingerprint, result.TargetFingerprint, want)
				}
				if got := [2]int{ts.sourceProxy.Count("BatchGetItem"), ts.targetProxy.Count("BatchGetItem")}; got != [2]int{} {
					t.Errorf("%d segments: %v reads by key, though all matched", n, got)
				}
			}
		})
	}
}

func TestEmptyTablesMatch(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 0)
	result, _ := ts.verify()
	ts.expect(result, verdict{match: true})
}

// TestPagesOfTheEngine has items so large that the engine cuts the scan into pages by itself.
func TestPagesOfTheEngine(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var items []attrs
	for i := range 7 {
		items = append(items, testkit.Item("id", fmt.Sprint(i), "v", strings.Repeat("x", 390_000)))
	}
	ts.fill(items)
	ts.putTarget("id", "6", "v", strings.Repeat("x", 389_999)+"y")
	result, found := ts.verify(segments(1))
	ts.expect(result, verdict{sourceItems: 7, targetItems: 7, different: 1})
	if _, ok := found[`{"id":{"S":"6"}}`]; !ok {
		t.Errorf("differences: %v", found)
	}
	if n := ts.sourceProxy.Count("Scan"); n < 2 {
		t.Errorf("%d pages: the test tests nothing", n)
	}
}

// TestResultFields holds the names that scripts rely on. More may be added.
func TestResultFields(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 3)
	ts.damage()
	result, _ := ts.verify()
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	configuration := []any{}
	for _, line := range result.Configuration { // which ones there are depends on the engine
		configuration = append(configuration, map[string]any{
			"what": line.What, "source": line.Source, "target": line.Target, "expected": line.Expected, "consequence": line.Consequence,
		})
	}
	want := map[string]any{
		"source": ts.source, "target": ts.target, "match": false, "source_items": 3.0, "target_items": 3.0,
		"missing": 1.0, "extra": 1.0, "different": 1.0, "settled": 0.0, "repaired": 0.0,
		"source_fingerprint": fingerprint(t, ts, ts.source), "target_fingerprint": fingerprint(t, ts, ts.target),
		"read_units": result.ReadUnits, "encryption": "KMS", "elapsed_seconds": result.ElapsedSeconds,
		"configuration": configuration, "passed": false, "strict": false,
		"still_changing": 0.0, "write_units": 0.0, "throttled": 0.0,
		"would_put": 0.0, "would_delete": 0.0, "source_expired": 0.0, "target_expired": 0.0, "resumed": false,
		"expired_by": "", "warnings": []any{}, "began_at": result.BeganAt, "consistent": false,
		"source_limit": decoded(t, result.SourceLimit), "target_limit": decoded(t, result.TargetLimit),
	}
	for name, value := range want {
		if fmt.Sprint(got[name]) != fmt.Sprint(value) {
			t.Errorf("%s: %v, want %v", name, got[name], value)
		}
	}
	if extra := len(got) - len(want); extra != 0 {
		t.Errorf("%d fields more than are tested: %v", extra, slices.Sorted(maps.Keys(got)))
	}
	if result.ElapsedSeconds <= 0 || result.ReadUnits <= 0 {
		t.Errorf("elapsed %v, read units %v", result.ElapsedSeconds, result.ReadUnits)
	}
	result.Configuration = []verify.Setting{}
	if text, err = json.Marshal(result); err != nil || !strings.Contains(string(text), `"configuration":[]`) {
		t.Errorf("no configuration is not an empty list: %s, %v", text, err)
	}
}

// decoded is what a value is in JSON.
func decoded(t *testing.T, value any) (got any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &got)
	}
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// reversed turns the items of a Scan's page round.
func reversed(n int, x *testkit.Exchange) *testkit.Response {
	return answer(x, func(body []byte) []byte {
		return change(body, func(o object) { slices.Reverse(o["Items"].([]any)) })
	})
}

// mirrored serves segment n-1-i for segment i.
func mirrored(n int, x *testkit.Exchange) *testkit.Response {
	x.Body = change(x.Body, func(o object) { o["Segment"] = o["TotalSegments"].(float64) - 1 - o["Segment"].(float64) })
	return nil
}

// TestOrderAndSegmentsDontMatter serves the target's items in another order than the source's.
func TestOrderAndSegmentsDontMatter(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 30)
	check := func(want verdict) {
		t.Helper()
		for name, hook := range map[string]testkit.Hook{
			"as they are": nil, "reversed": on("Scan", reversed), "mirrored": on("Scan", mirrored),
			"short pages": paged(1, nil), "short pages, reversed": paged(7, on("Scan", reversed)),
			"short pages, mirrored": paged(4, on("Scan", mirrored)),
		} {
			ts.targetProxy.Use(hook)
			for _, n := range []int{1, 7, 16, 100} {
				result, _ := ts.verify(segments(n))
				if got := verdictOf(result); got != want {
					t.Errorf("%s, %d segments: %+v, want %+v", name, n, got, want)
				}
				if got := [2]string{result.SourceFingerprint, result.TargetFingerprint}; got != [2]string{
					fingerprint(t, ts, ts.source), fingerprint(t, ts, ts.target),
				} {
					t.Errorf("%s, %d segments: fingerprints %v", name, n, got)
				}
			}
		}
	}
	check(verdict{match: true, sourceItems: 30, targetItems: 30})
	ts.damage()
	check(verdict{sourceItems: 30, targetItems: 30, missing: 1, extra: 1, different: 1})
}

// TestReadUnits adds up what the engine says that it has charged.
func TestReadUnits(t *testing.T) {
	testkit.SkipIf(t, testkit.ReadUnitsBySize)
	t.Parallel()
	ts := numbered(t, 30)
	ts.damage()
	var mu sync.Mutex
	charged := 0.0
	meter := func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "Scan" && x.Op != "BatchGetItem" {
			return nil
		}
		return answer(x, func(body []byte) []byte {
			return change(body, func(o object) {
				mu.Lock()
				defer mu.Unlock()
				list, isList := o["ConsumedCapacity"].([]any)
				if !isList {
					list = []any{o["ConsumedCapacity"]}
				}
				for _, one := range list {
					charged += one.(object)["CapacityUnits"].(float64)
				}
			})
		})
	}
	ts.sourceProxy.Use(meter)
	ts.targetProxy.Use(meter)
	result, _ := ts.verify(segments(20))
	if result.ReadUnits != charged || charged < 2*20*0.5 {
		t.Errorf("read units %v, the engine charged %v", result.ReadUnits, charged)
	}
}

// TestReadUnitsAreTheLeast compares what was spent with the tables' sizes: half a unit for each 4 KB of a Scan, and for each candidate
// a consistent read of both sides.
func TestReadUnitsAreTheLeast(t *testing.T) {
	testkit.SkipIf(t, testkit.ReadUnitsBySize)
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var items []attrs
	size := 0
	for i := range 4000 {
		it := testkit.Item("id", fmt.Sprint("k", i), "v", i, "text", strings.Repeat("x", 1500+i%500))
		items = append(items, it)
		size += item.Of(it).Size()
	}
	ts.fill(items)
	const candidates = 25
	for i := range candidates {
		testkit.Delete(t, ts.engine, ts.target, testkit.Item("id", fmt.Sprint("k", i)))
	}
	result, _ := ts.verify(segments(4))
	ts.expect(result, verdict{sourceItems: 4000, targetItems: 4000 - candidates, missing: candidates})
	gone := 0
	for _, it := range items[:candidates] {
		gone += item.Of(it).Size()
	}
	// An item of up to 4 KB takes a unit, and so does one that isn't there.
	least := 0.5*float64(size)/4096 + 0.5*float64(size-gone)/4096 + 2*candidates
	if result.ReadUnits < least || result.ReadUnits > 1.005*least {
		t.Errorf("%v read units, the least is %v", result.ReadUnits, least)
	}
}

// TestReadUnitsLimitEachTable has one table read in many requests and the other in one, so that none waits for the other.
func TestReadUnitsLimitEachTable(t *testing.T) {
	t.Parallel()
	const items, perSecond, unitsOfPage = 50, 40, 0.5
	for _, side := range []string{"source", "target"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			ts := numbered(t, items)
			var requests moments
			hook := paged(1, on("Scan", func(int, *testkit.Exchange) *testkit.Response { requests.add(); return nil }))
			if side == "source" {
				ts.sourceProxy.Use(hook)
			} else {
				ts.targetProxy.Use(hook)
			}
			result, _ := ts.verify(segments(1), func(o *verify.Options) { o.ReadUnits = perSecond })
			ts.expect(result, verdict{match: true, sourceItems: items, targetItems: items})
			// A tenth of a second's units may be spent at once.
			all := requests.all()
			units := float64(len(all)-1)*unitsOfPage - perSecond/10
			if took := all[len(all)-1].Sub(all[0]).Seconds(); len(all) < items || took < units/perSecond {
				t.Errorf("%d requests in %v s: less than %v", len(all), took, units/perSecond)
			}
		})
	}
}

// TestMatchedItemsLeaveTheMemory compares far more items than may wait.
func TestMatchedItemsLeaveTheMemory(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 300)
	ts.sourceProxy.Use(paged(5, nil))
	ts.targetProxy.Use(paged(5, nil))
	small := func(o *verify.Options) { o.MaxMemory = 5 * 1024 }
	result, _ := ts.verify(segments(1), small)
	ts.expect(result, verdict{match: true, sourceItems: 300, targetItems: 300})

	// Another order makes more of them wait. They are joined on the disk, where nothing is left of them.
	folder := t.TempDir()
	ts.damage()
	ts.targetProxy.Use(paged(300, on("Scan", reversed)))
	result, _ = ts.verify(segments(1), small, func(o *verify.Options) { o.Folder = folder })
	ts.expect(result, verdict{sourceItems: 300, targetItems: 300, missing: 1, extra: 1, different: 1})
	if rest, err := os.ReadDir(folder); err != nil || len(rest) > 0 {
		t.Errorf("left in the folder: %v, %v", rest, err)
	}
}

// TestProgress sees the last state, and nothing after the run.
func TestProgress(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 20)
	ts.damage()
	var calls []verify.Progress
	result, _ := ts.verify(func(o *verify.Options) { o.Progress = func(p verify.Progress) { calls = append(calls, p) } })
	if len(calls) == 0 {
		t.Fatal("no progress")
	}
	last := calls[len(calls)-1]
	if last.SourceItems != 20 || last.TargetItems != 20 || last.Waiting != 3 || !last.Settling {
		t.Errorf("last progress: %+v", last)
	}
	if last.ReadUnits != result.ReadUnits || last.SourceExpected != 20 || last.TargetExpected != 20 || last.Elapsed <= 0 {
		t.Errorf("last progress: %+v, result %+v", last, result)
	}
}

// A pair that scans found equal rests on reads that may be behind, unless they are consistent. No engine is ever behind: the proxy is.
func TestScansThatAreBehind(t *testing.T) {
	t.Parallel()
	for _, consistent := range []bool{false, true} {
		ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
		ts.putSource("id", "k", "v", "newer")
		ts.putTarget("id", "k", "v", "older")
		ts.targetProxy.Use(on("Scan", func(_ int, x *testkit.Exchange) *testkit.Response {
			return answer(x, func(body []byte) []byte {
				if bytes.Contains(x.Body, []byte(`"ConsistentRead":true`)) {
					return body
				}
				return bytes.ReplaceAll(body, []byte(`"older"`), []byte(`"newer"`))
			})
		}))
		result, found := ts.verify(func(o *verify.Options) { o.Consistent = consistent })
		if result.Match == consistent || (len(found) > 0) != consistent || result.Consistent != consistent {
			t.Errorf("consistent %t: match %t, found %v", consistent, result.Match, found)
		}
	}
}
