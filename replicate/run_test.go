package replicate

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"reseal/internal/test/testkit"
	"reseal/internal/test/traffic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// everyType has an attribute of each type, and values that a careless copy changes.
func everyType() []any {
	n := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	s := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	binary := &types.AttributeValueMemberB{Value: []byte{0, 1, 0xfe, 0xff, '"'}}
	return []any{
		"text", "Grüße, 世界 \u2028 \" \\ <&>", "empty", "",
		"digits", n("1234567890123456789012345678901234567.8"), "big", n("9.9999999999999999999999999999999999999E+125"),
		"small", n("-1E-130"), "above53", n("9007199254740993"), "zero", n("0"),
		"binary", binary, "nothing", &types.AttributeValueMemberB{Value: []byte{}},
		"true", true, "false", false, "null", &types.AttributeValueMemberNULL{Value: true},
		"ss", &types.AttributeValueMemberSS{Value: []string{"b", "a", "ä"}},
		"ns", &types.AttributeValueMemberNS{Value: []string{"3", "-0.5", "9007199254740993"}},
		"bs", &types.AttributeValueMemberBS{Value: [][]byte{{2}, {0, 0xff}}},
		"list", &types.AttributeValueMemberL{Value: []types.AttributeValue{
			n("1"), s("x"), binary, &types.AttributeValueMemberL{Value: []types.AttributeValue{}},
			&types.AttributeValueMemberM{Value: map[string]types.AttributeValue{"deep": binary, "N": n("2")}},
		}},
		"map", &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
			"": s("no name"), "B": binary, "M": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{}},
		}},
	}
}

// changeAll makes each kind of change, and returns the numbers of changes, items left and items deleted.
func changeAll(f *fixture) (changes, left, deleted int64) {
	f.t.Helper()
	item := func(id string, rest ...any) { f.put(append([]any{"id", id}, rest...)...) }
	item("all", everyType()...)
	item("modified", "v", "1", "gone", "x")
	item("modified", "v", "2") // another item altogether: an attribute goes, one changes
	item("removed", everyType()...)
	f.del("removed")
	item("inserted again", "v", "1", "gone", "x")
	f.del("inserted again")
	item("inserted again", "w", "2")
	item("shrunk", everyType()...)
	_, err := f.db.UpdateItem(f.t.Context(), &dynamodb.UpdateItemInput{
		TableName: &f.source, Key: testkit.Item("id", "shrunk"), UpdateExpression: aws.String("REMOVE #l, ss, digits SET #b = :b"),
		ExpressionAttributeNames: map[string]string{"#b": "binary", "#l": "list"}, ExpressionAttributeValues: testkit.Item(":b", "text now"),
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return 10, 4, 1
}

func TestRunReplicatesEveryKindOfChange(t *testing.T) {
	t.Parallel()
	for _, view := range []types.StreamViewType{types.StreamViewTypeNewImage, types.StreamViewTypeNewAndOldImages} {
		t.Run(string(view), func(t *testing.T) {
			t.Parallel()
			f := fixtureOf(t, testkit.TableSpec{Hash: "id:S"}, view)
			testkit.Put(t, f.db, f.target, testkit.Item("id", "removed", "v", "what a seed may have left"))
			changes, left, deleted := changeAll(f)
			result := f.run(f.options())
			f.wantSame()
			// All of it comes in one answer, so each key is written once.
			want := Counts{Records: changes, Puts: left, Deletes: deleted, Coalesced: changes - left - deleted}
			if result.Counts != want {
				t.Errorf("counts are %+v, want %+v", result.Counts, want)
			}
			if result.Source != f.source || result.Target != f.target || result.Resumed || result.Throttled != 0 ||
				result.ElapsedSeconds < testIdle.Seconds() || result.WriteUnits < 4 {
				t.Errorf("result is %+v", result)
			}
		})
	}
}

func TestRunWithOtherKeys(t *testing.T) {
	t.Parallel()
	for _, keys := range []testkit.TableSpec{{Hash: "h:N", Range: "r:B"}, {Hash: "h:B", Range: "r:N"}} {
		t.Run(keys.Hash+" "+keys.Range, func(t *testing.T) {
			t.Parallel()
			f := fixtureOf(t, keys, types.StreamViewTypeNewImage)
			tenth := "0.10"
			if testkit.Has(testkit.NumberKeysBySpelling) {
				tenth = "0.1"
			}
			key := map[string][]any{
				"N": {&types.AttributeValueMemberN{Value: tenth}, &types.AttributeValueMemberN{Value: "12345678901234567890123456789012345678"}},
				"B": {[]byte{0}, []byte{0, 0xff}},
			}
			for _, h := range key[keys.Hash[2:]] {
				for _, r := range key[keys.Range[2:]] {
					f.put("h", h, "r", r, "v", "1")
					f.put("h", h, "r", r, "v", "2")
				}
			}
			testkit.Delete(t, f.db, f.source, testkit.Item("h", key[keys.Hash[2:]][1], "r", key[keys.Range[2:]][0]))
			if result := f.run(f.options()); result.Puts != 3 || result.Deletes != 1 {
				t.Errorf("result is %+v", result)
			}
			f.wantSame()
		})
	}
}

func TestRunWhileTheApplicationWrites(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var items, keys []map[string]types.AttributeValue
	for i := range 60 {
		id := fmt.Sprintf("item-%02d", i)
		keys = append(keys, testkit.Item("id", id))
		items = append(items, testkit.Item("id", id, "v", "seeded"))
	}
	testkit.Fill(t, f.db, f.source, items)
	ctx := limited(t)
	writer := traffic.Start(ctx, f.db, f.source, traffic.Options{Keys: keys, Rate: 150, Seed: 7})
	defer func() { _, _ = writer.Stop() }() // for a test that ends early; otherwise it is stopped already
	o := f.options()
	o.UntilIdle = longIdle
	var last atomic.Pointer[Progress]
	o.Progress = func(p Progress) { last.Store(&p) }
	wait := f.background(ctx, o)
	eventually(ctx, t, "writing", func() bool { return writer.Counts().Total() >= 200 })
	if _, err := writer.Stop(); err != nil {
		t.Fatal(err)
	}
	result, err := wait()
	if err != nil {
		t.Fatal(err)
	}
	f.wantSame()
	if result.Records != result.Puts+result.Deletes+result.Coalesced || result.Records < 200 {
		t.Errorf("counts are %+v", result.Counts)
	}
	if p := last.Load(); p == nil || p.Counts != result.Counts || p.Lag != 0 || p.WriteUnits != result.WriteUnits {
		t.Errorf("last progress is %+v, result %+v", p, result)
	}
}

// written are the keys ("id") of one BatchWriteItem, with what was put there ("v"; "" for a delete).
func written(t *testing.T, body []byte) map[string]string {
	t.Helper()
	type text struct{ S string }
	var request struct {
		RequestItems map[string][]struct {
			PutRequest    *struct{ Item map[string]text }
			DeleteRequest *struct{ Key map[string]text }
		}
	}
	if err := json.Unmarshal(body, &request); err != nil {
		t.Error(err)
	}
	batch := map[string]string{}
	for _, writes := range request.RequestItems {
		for _, write := range writes {
			id, v := "", ""
			if write.PutRequest != nil {
				id, v = write.PutRequest.Item["id"].S, write.PutRequest.Item["v"].S
			} else {
				id = write.DeleteRequest.Key["id"].S
			}
			if _, twice := batch[id]; twice {
				t.Errorf("key %s is in a batch twice", id)
			}
			batch[id] = v
		}
	}
	return batch
}

func TestOnlyTheLastRecordOfAKeyIsWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.limit = 4
	s.add("a", "")
	s.put("a", "k", "1")
	s.put("a", "j", "1")
	s.put("a", "k", "2")
	s.put("a", "k", "3")
	s.put("a", "j", "2")
	s.put("a", "k", "4")
	s.del("a", "k")
	s.del("a", "j")
	s.put("a", "k", "5")
	var batches []map[string]string // one at a time: the batches of a shard are few here, and follow one another
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			batches = append(batches, written(t, x.Body))
		}
		return nil
	})
	result := f.run(s.options())
	want := []map[string]string{{"k": "3", "j": "1"}, {"k": "", "j": ""}, {"k": "5"}}
	if !slices.EqualFunc(batches, want, maps.Equal) {
		t.Errorf("written: %v, want %v", batches, want)
	}
	if want := (Counts{Records: 9, Puts: 3, Deletes: 2, Coalesced: 4}); result.Counts != want {
		t.Errorf("counts are %+v, want %+v", result.Counts, want)
	}
	f.wantSame()
}

func TestManyKeysInOneAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := newFake(f)
	s.add("a", "")
	s.fill("a", 260)
	f.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			written(t, x.Body)
		}
		return nil
	})
	f.run(s.options())
	f.wantSame()
	if n := f.proxy.Count("BatchWriteItem"); n != 11 {
		t.Errorf("260 items took %d batches, want 11", n)
	}
}

func TestResultAsJSON(t *testing.T) {
	t.Parallel()
	data, err := json.Marshal(Result{Source: "s", Target: "t", Counts: Counts{Records: 1, Puts: 2, Deletes: 3, Coalesced: 4}, ElapsedSeconds: 1.5})
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]any
	if err := json.Unmarshal(data, &fields); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"source": "s", "target": "t", "records": 1.0, "puts": 2.0, "deletes": 3.0, "coalesced": 4.0, "elapsed_seconds": 1.5,
		"write_units": 0.0, "throttled": 0.0, "resumed": false, "dead_lettered": 0.0, "uncertain_writes": 0.0,
	}
	if !maps.Equal(fields, want) {
		t.Errorf("fields are %v, want %v", fields, want)
	}
}

// This test isn't parallel: it looks at all goroutines of the process.
func TestCancelEndsAll(t *testing.T) {
	f := newFixture(t)
	s := newFake(f)
	for _, id := range []string{"a", "b", "c"} {
		s.add(id, "")
	}
	s.put("a", "k", "1")
	s.close("c")
	ctx, cancel := context.WithCancel(limited(t))
	o := s.withCheckpoint()
	o.UntilIdle = 0
	over := false
	s.before = func(ctx context.Context, op, shard string) error {
		switch {
		case over:
			t.Errorf("%s %s after Run has returned", op, shard)
		case shard == "b" && op == "GetRecords":
			<-ctx.Done() // a request under way must not outlive Run either
			return ctx.Err()
		}
		return nil
	}
	wait := f.background(ctx, o)
	eventually(ctx, t, "reading", func() bool {
		return f.valueInTarget("k") == "1" && len(s.made("GetRecords a")) > 2 && len(s.made("GetRecords b")) > 0
	})
	cancel()
	result, err := wait()
	wantIs(t, err, context.Canceled)
	over = true
	if result.Records != 1 || result.ElapsedSeconds <= 0 {
		t.Errorf("result is %+v", result)
	}
	file := readCheckpoint(t, o.Checkpoint)
	if file.Shards["a"].Sequence == "" || !file.Shards["c"].Drained {
		t.Errorf("checkpoint is %+v", file)
	}
	eventually(limited(t), t, "the end of all goroutines", func() bool { return !running() })
}

// running tells whether any goroutine is in a function of this package that is not one of a test.
func running() bool {
	buffer := make([]byte, 1<<20)
	stacks := string(buffer[:runtime.Stack(buffer, true)])
	for _, name := range []string{".(*tailer)", ".(*reader)", ".(*checkpoint)", ".Apply", ".Run("} {
		if strings.Contains(stacks, "reseal/replicate"+name) {
			return true
		}
	}
	return false
}

func TestCancelledBeforeTheStart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := Run(ctx, f.options())
	wantIs(t, err, context.Canceled)
}
