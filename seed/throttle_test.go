package seed_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// leave has the engine write the requests that written tells, and returns the others as unprocessed.
func leave(t *testing.T, x *testkit.Exchange, written func(i int, raw json.RawMessage) bool) *testkit.Response {
	var whole map[string]json.RawMessage
	var tables map[string][]json.RawMessage
	if json.Unmarshal(x.Body, &whole) != nil || json.Unmarshal(whole["RequestItems"], &tables) != nil {
		t.Errorf("request %s", x.Body)
		return nil
	}
	for table, requests := range tables {
		var some, rest []json.RawMessage
		for i, raw := range requests {
			if written(i, raw) {
				some = append(some, raw)
			} else {
				rest = append(rest, raw)
			}
		}
		if len(some) == 0 {
			return testkit.Throttle(x.Op)
		}
		whole["RequestItems"] = marshal(t, map[string][]json.RawMessage{table: some})
		x.Body = marshal(t, whole)
		status, answer, err := x.Forward()
		var fields map[string]json.RawMessage
		if err != nil || status != http.StatusOK || json.Unmarshal(answer, &fields) != nil {
			t.Errorf("status %d, error %v", status, err)
			return nil
		}
		if len(rest) > 0 {
			fields["UnprocessedItems"] = marshal(t, map[string][]json.RawMessage{table: rest})
		}
		return &testkit.Response{Body: marshal(t, fields)}
	}
	return nil
}

func marshal(t *testing.T, v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		t.Error(err)
	}
	return data
}

// What many batches leave unprocessed is written together: most of 20 batches leave one item, which takes one request more,
// or two, and not as many as there are items.
func TestUnprocessedItemsShareBatches(t *testing.T) {
	b := newBench(t, numbered(500))
	b.options.Segments = 1
	var mu sync.Mutex
	left := map[string]bool{}
	b.target.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchWriteItem" {
			return nil
		}
		return leave(t, x, func(i int, raw json.RawMessage) bool {
			mu.Lock()
			defer mu.Unlock()
			if i > 0 || left[string(raw)] || len(left) == 20 {
				return true
			}
			left[string(raw)] = true
			return false
		})
	})
	r := b.run()
	b.mustBeEqual()
	// 500 items are 20 batches. The first item of each comes a second time, if it wasn't left before, which at best makes 21
	// requests. Rounds end early when something was left, so a few batches aren't full.
	if n := b.target.Count("BatchWriteItem"); n > 30 || len(left) < 10 {
		t.Errorf("%d requests, with %d items left unprocessed", n, len(left))
	}
	if r.ItemsWritten != 500 || r.ItemsRechecked != 500 || r.WriteUnits != 500 || r.Throttled == 0 {
		t.Errorf("result %+v", r)
	}
}

// Partitions of the target that take nothing hold up neither the other segments nor the seed's end: as soon as everything else
// is copied, they are served, and the rest follows.
func TestHotPartitionsDoNotStallTheRest(t *testing.T) {
	testkit.SkipIf(t, testkit.Slow)
	// Of many segments, more are hot than are under way at a time otherwise.
	for segments, hot := range map[int]int{16: 6, 160: 60} {
		t.Run(fmt.Sprintf("%d of %d segments", hot, segments), func(t *testing.T) { hotSegments(t, segments, hot) })
	}
}

// hotSegments seeds into a target that takes nothing of the first segments until all others are copied.
func hotSegments(t *testing.T, segments, hotSegments int) {
	b := newBench(t, numbered(800))
	b.options.Segments = segments
	b.options.WriteUnits = 4000
	hot := map[string]bool{}
	for segment := range hotSegments {
		out, err := b.db.Scan(t.Context(), &dynamodb.ScanInput{
			TableName: &b.options.SourceTable, Segment: aws.Int32(int32(segment)), TotalSegments: aws.Int32(int32(segments)),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, item := range out.Items {
			hot[item["k"].(*types.AttributeValueMemberS).Value] = true
		}
	}
	if len(hot) < 100 || len(hot) > 700 {
		t.Fatalf("%d of 800 keys are hot", len(hot))
	}
	var mu sync.Mutex
	cold := map[string]bool{}
	b.target.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchWriteItem" {
			return nil
		}
		return leave(t, x, func(_ int, raw json.RawMessage) bool {
			var put struct {
				PutRequest struct {
					Item struct{ K struct{ S string } }
				}
			}
			if json.Unmarshal(bytes.ToLower(raw), &put) != nil {
				t.Errorf("request %s", raw)
			}
			key := put.PutRequest.Item.K.S
			mu.Lock()
			defer mu.Unlock()
			if !hot[key] {
				cold[key] = true
			}
			return !hot[key] || len(cold) == 800-len(hot)
		})
	})
	r := b.run()
	b.mustBeEqual()
	if r.ItemsWritten != 800 || r.WriteUnits != 800 || r.Throttled == 0 {
		t.Errorf("result %+v", r)
	}
	t.Logf("%d hot keys, %d requests throttled", len(hot), r.Throttled)
}
