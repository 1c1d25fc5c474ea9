package verify_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/verify"
)

func sampled(share float64, seed uint64) option {
	return func(o *verify.Options) { o.Sample, o.SampleSeed = share, seed }
}

// A sample reads its share, is never a match of the tables, and finds what is in it: the same seed the same.
func TestSample(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 1000)
	result, _ := ts.verify(sampled(0.25, 1))
	if result.Match || result.Sample == nil || !result.Sample.Match || result.Sample.Segments != 16 || result.Sample.TotalSegments != 64 || result.Sample.Seed != 1 {
		t.Errorf("result %+v, sample %+v", result, result.Sample)
	}
	if result.SourceItems < 100 || result.SourceItems > 400 || result.SourceItems != result.TargetItems {
		t.Errorf("%d and %d of 1000 items", result.SourceItems, result.TargetItems)
	}
	ts.damageAll()
	again, found := ts.verify(sampled(0.25, 1))
	if again.Match || again.Sample.Match || again.Different != result.SourceItems || int64(len(found)) != result.SourceItems {
		t.Errorf("result %+v, %d differences", again, len(found))
	}
	other, _ := ts.verify(sampled(0.25, 2))
	if other.SourceFingerprint == again.SourceFingerprint {
		t.Error("two seeds draw the same")
	}
}

// damageAll changes every item of the target.
func (ts *tables) damageAll() {
	ts.t.Helper()
	var items []attrs
	for i := range 1000 {
		items = append(items, testkit.Item("id", fmt.Sprint("k", i), "v", "damaged"))
	}
	testkit.Fill(ts.t, ts.engine, ts.target, items)
}

func TestEmptySample(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 1)
	for seed := range uint64(20) {
		result, err := verify.Run(t.Context(), ts.options(sampled(0.02, seed)))
		if err == nil && result.SourceItems == 0 {
			t.Errorf("seed %d: a sample without items has a verdict", seed)
		}
		if err != nil {
			if !strings.Contains(err.Error(), "no items") || result.Sample != nil {
				t.Errorf("seed %d: %+v, %v", seed, result, err)
			}
			return
		}
	}
	t.Error("no sample is empty")
}

// ttl answers DescribeTimeToLive.
func ttl(attribute, status string) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "DescribeTimeToLive" {
			return nil
		}
		return &testkit.Response{Body: fmt.Appendf(nil, `{"TimeToLiveDescription":{"TimeToLiveStatus":%q,"AttributeName":%q}}`, status, attribute)}
	}
}

// Items that have expired may be in one table only, or differ. Those that haven't, that no TTL applies to, or that expired so long
// ago that DynamoDB keeps them, may not.
func TestExpired(t *testing.T) {
	t.Parallel()
	now := time.Now()
	items := []struct {
		name    string
		expires any
		counts  bool
	}{
		{"an hour ago", now.Add(-time.Hour).Unix(), false},
		{"four years ago", now.AddDate(-4, 0, 0).Unix(), false},
		{"in an hour", now.Add(time.Hour).Unix(), true},
		{"six years ago", now.AddDate(-6, 0, 0).Unix(), true},
		{"text", fmt.Sprint(now.Add(-time.Hour).Unix()), true},
		{"zero", 0, true},
	}
	for _, c := range []struct {
		name           string
		source, target testkit.Hook
		change         option
		leavesOut      bool
	}{
		{"both tables", ttl("expires", "ENABLED"), ttl("expires", "ENABLED"), nil, true},
		{"the source only", ttl("expires", "ENABLED"), nil, nil, true},
		{"the target only", nil, ttl("expires", "ENABLED"), nil, false},
		{"the target by another", ttl("other", "ENABLED"), ttl("expires", "ENABLED"), nil, false},
		{"being turned on", ttl("expires", "ENABLING"), ttl("expires", "ENABLED"), nil, false},
		{"being turned off", ttl("expires", "DISABLING"), ttl("expires", "ENABLED"), nil, false},
		{"may not be asked", on("DescribeTimeToLive", func(int, *testkit.Exchange) *testkit.Response { return denied() }), ttl("expires", "ENABLED"), nil, false},
		{"another attribute", ttl("other", "ENABLED"), ttl("v", "ENABLED"), nil, false},
		{"disabled", ttl("expires", "DISABLED"), ttl("expires", "DISABLING"), nil, false},
		{"kept", ttl("expires", "ENABLED"), ttl("expires", "ENABLED"), func(o *verify.Options) { o.KeepExpired = true }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
			counted, out := int64(1), int64(0)
			ts.putSource("id", "without", "v", 1)
			ts.putTarget("id", "without", "v", 1)
			for _, one := range items {
				if one.counts || !c.leavesOut {
					counted++
				} else {
					out++
				}
				ts.putSource("id", one.name, "expires", one.expires)
			}
			ts.sourceProxy.Use(c.source)
			ts.targetProxy.Use(c.target)
			var change []option
			if c.change != nil {
				change = append(change, c.change)
			}
			result, _ := ts.verify(change...)
			ts.expect(result, verdict{sourceItems: counted, targetItems: 1, missing: counted - 1})
			if result.SourceExpired != out || result.TargetExpired != 0 {
				t.Errorf("left out: %d and %d, want %d and 0", result.SourceExpired, result.TargetExpired, out)
			}
			for _, one := range items {
				ts.putTarget("id", one.name, "expires", one.expires)
			}
			ts.putTarget("id", "an hour ago", "expires", now.Add(-time.Hour).Unix(), "v", "another")
			result, _ = ts.verify(change...)
			if c.leavesOut != result.Match || result.TargetExpired != out {
				t.Errorf("with one that expired and differs: %+v", result)
			}
		})
	}
}
