// Pacing is a matter of time, which the race detector changes by an order of magnitude: make test runs this test by itself, without it.

//go:build !race

package verify_test

import (
	"fmt"
	"strings"
	"testing"

	"reseal/internal/test/testkit"
)

// An application that uses 60 % of a provisioned table hardly notices a verification without a limit: less than one in 1,000 of its
// requests is throttled, by the same server that meters the verification's.
func TestPaceLeavesTheApplicationItsRoom(t *testing.T) {
	const provisioned, used = 400, 240
	spec := testkit.TableSpec{Hash: "id:S", Provisioned: [2]int64{provisioned, provisioned}}
	ts := newTables(t, spec)
	fill := strings.Repeat("x", 8000)
	for part := range 20 {
		var items []attrs
		for i := range 600 {
			items = append(items, testkit.Item("id", fmt.Sprintf("large-%d-%d", part, i), "v", fill))
		}
		ts.fill(items)
	}
	var small, keys []attrs
	for i := range 1000 {
		small = append(small, testkit.Item("id", fmt.Sprint("small-", i), "v", i))
		keys = append(keys, testkit.Item("id", fmt.Sprint("small-", i)))
	}
	ts.fill(small)
	for range 3 { // a busy machine sends requests late, and then at once
		ts.freshProxies()
		ts.sourceProxy.Use(testkit.NewMeter(testkit.Limits{Read: provisioned}).Hook)
		application := testkit.StartReading(t, testkit.Client(ts.sourceProxy.URL), ts.source, used, keys)
		r, _ := ts.verify(segments(16))
		all, throttled := application.Stop()
		ts.expect(r, verdict{match: true, sourceItems: 13_000, targetItems: 13_000})
		t.Logf("%.1f s; %d of %d requests of the application throttled; %+v", r.ElapsedSeconds, throttled, all, r.SourceLimit)
		if float64(all) > 0.9*used*r.ElapsedSeconds && r.SourceLimit.Slowed > 0 && throttled*1000 < all {
			return
		}
	}
	t.Error("three times, too many requests of the application were throttled, or the verification and it never met")
}
