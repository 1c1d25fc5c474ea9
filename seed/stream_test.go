package seed_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"

	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/internal/test/testkit"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// disableStream disables the source's stream.
func (b *bench) disableStream() {
	b.t.Helper()
	_, err := b.db.UpdateTable(context.WithoutCancel(b.t.Context()), &dynamodb.UpdateTableInput{
		TableName: &b.options.SourceTable, StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(false)},
	})
	if err != nil {
		b.t.Error(err)
	}
}

// enableStream enables another stream, and returns when it has another label, which some engines keep in whole seconds.
func (b *bench) enableStream() {
	b.t.Helper()
	before := b.label()
	for {
		testkit.EnableStream(b.t, b.db, b.options.SourceTable, types.StreamViewTypeNewAndOldImages)
		if b.label() != before || b.t.Failed() {
			return
		}
		b.disableStream()
	}
}

func (b *bench) label() string {
	out, err := b.db.DescribeTable(b.t.Context(), &dynamodb.DescribeTableInput{TableName: &b.options.SourceTable})
	if err != nil {
		b.t.Fatal(err)
	}
	return aws.ToString(out.Table.LatestStreamLabel)
}

// unseen changes half of the items, and deletes one that is copied already, whose key it returns, while no stream tells of it.
func (b *bench) unseen(items []attrs) string {
	for _, item := range items[:len(items)/2] {
		item["v"] = &types.AttributeValueMemberS{Value: "newer"}
		testkit.Put(b.t, b.db, b.options.SourceTable, item)
	}
	gone := testkit.ScanAll(b.t, b.db, b.options.TargetTable)[0]["k"]
	testkit.Delete(b.t, b.db, b.options.SourceTable, attrs{"k": gone})
	return text(gone)
}

// refused runs the seed and expects a refusal with the given words, which touches nothing.
func (b *bench) refused(words ...string) {
	b.t.Helper()
	before, err := readFile(b.options.Checkpoint)
	if err != nil {
		b.t.Fatal(err)
	}
	writes := b.target.Count("BatchWriteItem")
	_, err = seed.Run(b.t.Context(), b.options)
	if !refuse.Is(err) {
		b.t.Fatalf("error %v, want a refusal", err)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			b.t.Errorf("error %v, want one with %q", err, word)
		}
	}
	if after, err := readFile(b.options.Checkpoint); err != nil || string(after) != string(before) || b.target.Count("BatchWriteItem") != writes {
		b.t.Errorf("something was written, %v", err)
	}
}

// startOver runs the seed with --restart, and expects that it copies everything and says what it can't know.
func (b *bench) startOver(items int) seed.Result {
	b.t.Helper()
	b.options.Restart = true
	result, err := seed.Run(b.t.Context(), b.options)
	if !errors.Is(err, seed.ErrLeftovers) || !strings.Contains(err.Error(), "verify --repair") || len(result.Doubts) != 1 {
		b.t.Errorf("error %v, doubts %q: the target has items that the source no longer has", err, result.Doubts)
	}
	if result.Resumed || result.ItemsRead != int64(items) || result.ItemsDone != int64(items) {
		b.t.Errorf("started over: %+v", result)
	}
	if _, err := os.Stat(b.options.Checkpoint); err == nil {
		b.t.Error("the checkpoint is left")
	}
	return result
}

// mustHaveLeft expects the target to be the source, but for the items with these keys.
func (b *bench) mustHaveLeft(keys ...string) {
	b.t.Helper()
	for _, key := range keys {
		if testkit.Get(b.t, b.db, b.options.TargetTable, testkit.Item("k", key)) == nil {
			b.t.Errorf("%s isn't left: this test forces nothing", key)
		}
		testkit.Delete(b.t, b.db, b.options.TargetTable, testkit.Item("k", key))
	}
	b.mustBeEqual()
}

// The source's stream is disabled and enabled again between two runs. What the first one copied may have changed since, and no stream
// tells: its positions are worth nothing.
func TestResumeOverAnotherStream(t *testing.T) {
	items := large(200)
	b := newBench(t, items)
	b.options.Segments = 2
	b.interrupted(stopAt(60))
	b.disableStream()
	gone := b.unseen(items)
	b.enableStream()
	b.refused("was disabled since", "replicate with --restart, seed again with --restart, and then run verify --repair")

	// Stopped in the middle, and started over once more, it still knows what it can't know.
	b.options.Restart = true
	b.interrupted(stopAt(20))
	b.options.Restart = false
	b.interrupted(stopAt(20))
	b.startOver(199)
	b.mustHaveLeft(gone)
}

// The stream is disabled, or replaced by another one, in the middle of a run: its positions are worth nothing, either.
func TestStreamReplacedInMidRun(t *testing.T) {
	for name, again := range map[string]bool{"disabled": false, "disabled and enabled again": true} {
		t.Run(name, func(t *testing.T) {
			items := large(100)
			b := newBench(t, items)
			b.options.Segments = 1
			var mu sync.Mutex // of what follows
			writes, gone := 0, ""
			b.target.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op != "BatchWriteItem" {
					return nil
				}
				status, answer, err := x.Forward()
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if writes++; writes == 60 { // the first page is done
					b.disableStream()
					gone = b.unseen(items)
					if again {
						b.enableStream()
					}
				}
				return &testkit.Response{Status: status, Body: answer}
			})
			result, err := seed.Run(t.Context(), b.options)
			b.target.Use(nil)
			if !errors.Is(err, table.ErrChanged) || refuse.Is(err) || !strings.Contains(err.Error(), "seed again with --restart") {
				t.Fatalf("error %v, %+v", err, result)
			}
			mu.Lock()
			defer mu.Unlock()
			if !again {
				b.refused("has no stream")
				b.enableStream()
			}
			b.refused("seed again with --restart")
			b.startOver(99)
			b.mustHaveLeft(gone)
		})
	}
}

// A checkpoint of the format without a stream is gone on from if the stream is older than the target, since no seed of these tables can
// have begun with another one.
func TestOlderFormat(t *testing.T) {
	older := func(b *bench) {
		good, err := readFile(b.options.Checkpoint)
		if err != nil {
			b.t.Fatal(err)
		}
		data := editedCheckpoint(b.t, good, func(file map[string]any) {
			file["format"] = "reseal seed checkpoint 2"
			for _, field := range []string{"stream", "begun", "items", "doubts", "hold"} {
				delete(file, field)
			}
			for _, open := range file["open"].(map[string]any) {
				delete(open.(map[string]any), "items")
			}
		})
		if err := os.WriteFile(b.options.Checkpoint, unsealed(data), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	t.Run("stream older than target", func(t *testing.T) {
		b := newBench(t, large(100))
		b.options.Segments = 2
		b.labelled("2001-02-03T04:05:06.789")
		b.interrupted(stopAt(60))
		older(b)
		if r := b.run(); !r.Resumed || r.ItemsRead >= 100 || r.Begun != "" {
			t.Errorf("resumed: %+v", r)
		}
		b.mustBeEqual()
	})
	for name, label := range map[string]string{"stream younger than target": "2999-02-03T04:05:06.789", "a label that is no time": "1795692515.288"} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, large(100))
			b.options.Segments = 2
			b.labelled(label)
			b.interrupted(stopAt(20))
			older(b)
			b.refused("of an older reseal", "seed again with --restart")
			b.startOver(100)
			b.mustBeEqual()
		})
	}
}

// labelled has the source's stream bear the label.
func (b *bench) labelled(label string) {
	b.source.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "DescribeTable" {
			return nil
		}
		status, answer, err := x.Forward()
		if err != nil {
			b.t.Error(err)
		}
		return &testkit.Response{Status: status, Body: streamLabel.ReplaceAll(answer, []byte(`"LatestStreamLabel":"`+label+`"`))}
	})
}

var streamLabel = regexp.MustCompile(`"LatestStreamLabel": *"[^"]*"`)

// unsealed is the file without its sum.
func unsealed(data []byte) []byte {
	text := string(data)
	return []byte(text[:strings.LastIndex(text, `,"sum"`)] + "}")
}
