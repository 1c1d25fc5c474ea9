package traffic_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/test/testkit"
	"reseal/internal/test/traffic"
)

// filled makes a table with items, and returns their keys.
func filled(t *testing.T, c *dynamodb.Client, count int) (string, []map[string]types.AttributeValue) {
	t.Helper()
	table := testkit.CreateTable(t, c, testkit.TableSpec{Hash: "id:S", Range: "n:N"})
	var keys, items []map[string]types.AttributeValue
	for i := range count {
		key := testkit.Item("id", "a", "n", i)
		item := maps.Clone(key)
		item["w0"] = &types.AttributeValueMemberS{Value: "as filled"}
		keys, items = append(keys, key), append(items, item)
	}
	testkit.Fill(t, c, table, items)
	return table, keys
}

// writeTotal runs a writer until it has written so much.
func writeTotal(t *testing.T, w *traffic.Writer, total int) traffic.Counts {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); w.Counts().Total() < total; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("written so far: %+v", w.Counts())
		}
	}
	counts, err := w.Stop()
	if err != nil {
		t.Fatal(err)
	}
	return counts
}

func TestWriter(t *testing.T) {
	url := testkit.Engine(t)
	p := testkit.NewProxy(t, url)
	c := testkit.Client(url)
	table, keys := filled(t, c, 100)
	w := traffic.Start(t.Context(), testkit.Client(p.URL), table, traffic.Options{Keys: keys, Rate: 2000, Seed: 1})
	counts := writeTotal(t, w, 1000)
	if again, err := w.Stop(); again != counts || err != nil {
		t.Errorf("stopped again: %+v, %v, before %+v", again, err, counts)
	}
	for name, n := range map[string]int{
		"updates": counts.Updates, "removals": counts.Removals, "deletes": counts.Deletes,
		"reinserts": counts.Reinserts, "hot": counts.Hot,
	} {
		if n == 0 {
			t.Errorf("no %s: %+v", name, counts)
		}
	}
	for op, want := range map[string]int{
		"UpdateItem": counts.Updates + counts.Removals + counts.Hot,
		"DeleteItem": counts.Deletes,
		"PutItem":    counts.Reinserts,
	} {
		if got := p.Count(op); got != want {
			t.Errorf("%d requests for %s, but %d counted", got, op, want)
		}
	}

	// The writer knows which items exist: as many as are in the table.
	items := testkit.ScanAll(t, c, table)
	if want := len(keys) - counts.Deletes + counts.Reinserts; len(items) != want {
		t.Errorf("%d items, want %d", len(items), want)
	}
	hits := 0
	for _, item := range items {
		if n, ok := item["hits"].(*types.AttributeValueMemberN); ok {
			var add int
			if _, err := fmt.Sscan(n.Value, &add); err != nil {
				t.Fatal(err)
			}
			hits += add
		}
	}
	if hits != counts.Hot {
		t.Errorf("%d hits in the table, but %d counted", hits, counts.Hot)
	}
}

func TestWriterIsRepeatable(t *testing.T) {
	c := testkit.Client(testkit.Engine(t))
	var tables []string
	var results []traffic.Counts
	for range 2 {
		table, keys := filled(t, c, 20)
		p := testkit.NewProxy(t, testkit.Engine(t))
		// After the hundredth write no other gets through.
		var n atomic.Int64
		p.Use(func(x *testkit.Exchange) *testkit.Response {
			if n.Add(1) > 100 {
				return testkit.Throttle(x.Op)
			}
			return nil
		})
		w := traffic.Start(t.Context(), testkit.Client(p.URL), table, traffic.Options{
			Keys: keys, Rate: 10_000, Seed: 7, Workers: 1, Hot: 1, Attributes: []string{"w0", "v"},
		})
		<-w.Done()
		counts, _ := w.Stop()
		tables, results = append(tables, table), append(results, counts)
	}
	if results[0] != results[1] {
		t.Errorf("counts differ: %+v and %+v", results[0], results[1])
	}
	if lines := testkit.Diff(t, c, tables[0], c, tables[1]); lines != nil {
		t.Errorf("tables differ: %q", lines)
	}
}

func TestWriterKeepsRate(t *testing.T) {
	c := testkit.Client(testkit.Engine(t))
	table, keys := filled(t, c, 50)
	const perSecond = 200
	begin := time.Now()
	w := traffic.Start(t.Context(), c, table, traffic.Options{Keys: keys, Rate: perSecond})
	counts := writeTotal(t, w, perSecond)
	// The bound is exact: the rate, and the burst at the start. How many it manages is the machine's affair.
	most := int(time.Since(begin).Seconds()*perSecond) + perSecond/20 + 1
	if total := counts.Total(); total > most {
		t.Errorf("%d writes at a rate of %d, at most %d expected", total, perSecond, most)
	}
}

func TestWriterReportsFirstFailure(t *testing.T) {
	url := testkit.Engine(t)
	p := testkit.NewProxy(t, url)
	table, keys := filled(t, testkit.Client(url), 10)
	p.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "DeleteItem" {
			return testkit.Throttle(x.Op)
		}
		return nil
	})
	w := traffic.Start(t.Context(), testkit.Client(p.URL), table, traffic.Options{Keys: keys, Rate: 5000})
	<-w.Done() // It stops by itself.
	counts, err := w.Stop()
	if throttled := (*types.ProvisionedThroughputExceededException)(nil); !errors.As(err, &throttled) {
		t.Errorf("error %v, want ProvisionedThroughputExceededException", err)
	}
	if counts.Deletes != 0 {
		t.Errorf("failed writes are counted: %+v", counts)
	}
}

func TestWriterEndsWithContext(t *testing.T) {
	c := testkit.Client(testkit.Engine(t))
	table, keys := filled(t, c, 10)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	w := traffic.Start(ctx, c, table, traffic.Options{Keys: keys, Rate: 5000})
	for w.Counts().Total() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	<-w.Done()
	if _, err := w.Stop(); err != nil {
		t.Errorf("error %v", err)
	}
}

func TestWriterOptions(t *testing.T) {
	c := testkit.Client(testkit.Engine(t))
	for name, opts := range map[string]traffic.Options{
		"no keys": {Rate: 1},
		"no rate": {Keys: []map[string]types.AttributeValue{testkit.Item("id", "a")}},
	} {
		w := traffic.Start(t.Context(), c, "abc", opts)
		if counts, err := w.Stop(); err == nil || counts.Total() > 0 {
			t.Errorf("%s: %+v, %v", name, counts, err)
		}
	}

	// With as few keys as this, all are hot.
	table, keys := filled(t, c, 2)
	w := traffic.Start(t.Context(), c, table, traffic.Options{Keys: keys, Rate: 5000})
	counts := writeTotal(t, w, 50)
	if counts.Hot != counts.Total() {
		t.Errorf("%+v", counts)
	}
}

// What was acknowledged is known, also when the application has gone over to another table meanwhile; and what is spoilt there is told.
func TestWriterGoesOver(t *testing.T) {
	c := testkit.Client(testkit.Engine(t))
	from, keys := filled(t, c, 50)
	to, _ := filled(t, c, 50)
	w := traffic.Start(t.Context(), c, from, traffic.Options{Keys: keys, Rate: 2000, Seed: 1})
	for w.Counts().Total() < 300 {
		select {
		case <-w.Done():
			t.Fatal(w.Stop())
		case <-time.After(time.Millisecond):
		}
	}
	w.Pause()
	before := w.Counts()
	items := testkit.ScanAll(t, c, from)
	for _, key := range keys {
		testkit.Delete(t, c, to, key)
	}
	testkit.Fill(t, c, to, items)
	if w.Counts() != before {
		t.Error("it has written while it was paused")
	}
	w.Resume(to)
	writeTotal(t, w, before.Total()+300)
	if lost, err := w.Lost(t.Context()); err != nil || len(lost) > 0 {
		t.Errorf("lost: %q, %v", lost, err)
	}
	for _, key := range keys {
		testkit.Delete(t, c, to, key)
		testkit.Put(t, c, to, testkit.Item("id", "a", "n", key["n"], "w0", "spoilt", "w1", "spoilt", "w2", "spoilt", "w3", "spoilt"))
	}
	if lost, err := w.Lost(t.Context()); err != nil || len(lost) < 25 {
		t.Errorf("of 50 items that were spoilt, and most of them written to, it tells of %d (%v)", len(lost), err)
	}
}
