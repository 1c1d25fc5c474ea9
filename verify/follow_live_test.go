package verify_test

import (
	"path/filepath"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// followed makes two tables of the same items, the source with a stream, and options that follow it.
func followed(t *testing.T, count int) (*tables, option) {
	t.Helper()
	spec := testkit.TableSpec{Hash: "id:S"}
	withStream := spec
	withStream.Stream = types.StreamViewTypeNewAndOldImages
	ts := tablesOf(t, withStream, spec)
	var items []attrs
	for i := range count {
		items = append(items, testkit.Item("id", "k"+string(rune('0'+i)), "v", i))
	}
	ts.fill(items)
	return ts, func(o *verify.Options) {
		o.Settle = time.Second
		o.Follow = verify.FollowOptions{Streams: testkit.Streams(testkit.Engine(t)), UntilQuiet: time.Second, Lifetime: 2 * time.Second, Keep: time.Minute}
	}
}

// started has something done when the scans are over.
func started(do func(*verify.Live)) option {
	return func(o *verify.Options) {
		o.Follow.Started = func(l *verify.Live) error { do(l); return nil }
	}
}

// What is written to both tables after the scans is looked at, and a match is one of the end.
func TestFollowMatches(t *testing.T) {
	t.Parallel()
	ts, follow := followed(t, 9)
	result, found := ts.verify(follow, started(func(*verify.Live) {
		ts.hookPut(ts.source, "id", "k1", "v", "new")
		ts.hookPut(ts.target, "id", "k1", "v", "new")
	}))
	if !result.Match || !result.Passed || len(found) > 0 || result.Following == nil || !result.CaughtUp || result.Open != 0 {
		t.Fatalf("%s: found %v, %+v", result.Verdict(), found, result.Following)
	}
	if result.FollowedRecords < 1 || result.LookedAt < 1 || result.SourceItems != 9 {
		t.Errorf("%d records, looked at %d, %d items", result.FollowedRecords, result.LookedAt, result.SourceItems)
	}
}

// An update that is lost after the scans is named, and the verification is no match.
func TestFollowNamesALostUpdate(t *testing.T) {
	t.Parallel()
	ts, follow := followed(t, 9)
	result, found := ts.verify(follow, started(func(*verify.Live) { ts.hookPut(ts.source, "id", "k1", "v", "new") }), func(o *verify.Options) {
		o.Follow.UntilQuiet, o.Follow.For = 0, 9*time.Second
	})
	d, is := found[`{"id":{"S":"k1"}}`]
	if result.Match || result.Passed || result.Different != 1 || !is || d.LastChanged.IsZero() {
		t.Fatalf("%s: found %v", result.Verdict(), found)
	}
}

// A look at once sees what differs now, however young it is, and closes nothing.
func TestLookNow(t *testing.T) {
	t.Parallel()
	ts, follow := followed(t, 9)
	result, _ := ts.verify(follow, func(o *verify.Options) { o.Follow.Lifetime = 3 * time.Second }, started(func(l *verify.Live) {
		since := time.Now()
		ts.hookPut(ts.source, "id", "k2", "v", "new")
		wait := time.Now()
		for n, _ := l.Records(); n == 0 && time.Since(wait) < time.Minute; n, _ = l.Records() {
			<-time.After(10 * time.Millisecond)
		}
		looked, err := l.LookNow(t.Context(), since)
		if err != nil || looked.Differing != 1 || len(looked.Some) != 1 {
			t.Errorf("looked %+v, %v", looked, err)
		}
		ts.hookPut(ts.target, "id", "k2", "v", "new")
		if looked, err = l.LookNow(t.Context(), since); err != nil || looked.Differing != 0 || looked.Keys == 0 {
			t.Errorf("then looked %+v, %v", looked, err)
		}
	}))
	if !result.Match {
		t.Error(result.Verdict())
	}
}

// A run goes on from the checkpoint of another without a scan, and finds what was lost in between.
func TestFollowResumes(t *testing.T) {
	t.Parallel()
	ts, follow := followed(t, 9)
	saved := func(o *verify.Options) { o.Checkpoint = filepath.Join(t.TempDir(), "verify.checkpoint") }
	path := ""
	keep := func(o *verify.Options) {
		if path == "" {
			saved(o)
			path = o.Checkpoint
		}
		o.Checkpoint = path
	}
	if result, _ := ts.verify(follow, keep); !result.Match {
		t.Fatal(result.Verdict())
	}
	scans := ts.scansOf()
	ts.putSource("id", "k3", "v", "lost")
	result, found := ts.verify(follow, keep, func(o *verify.Options) { o.Follow.UntilQuiet, o.Follow.For = 0, 9*time.Second })
	if result.Match || len(found) != 1 || !result.Resumed || ts.scansOf() != scans {
		t.Errorf("%s: found %v, resumed %t, %d scans more", result.Verdict(), found, result.Resumed, ts.scansOf()-scans)
	}
}

// A checkpoint can be saved also when what waited for its counterpart was in files, which are gone when the scans are over.
func TestFollowSavesWhatWasInFiles(t *testing.T) {
	t.Parallel()
	ts, follow := followed(t, 9)
	ts.putSource("id", "k3", "v", "lost")
	path := filepath.Join(t.TempDir(), "verify.checkpoint")
	spilled := func(o *verify.Options) { o.Checkpoint, o.MaxMemory = path, 1 }
	for _, resumed := range []bool{false, true} {
		result, found := ts.verify(follow, spilled)
		if result.Match || len(found) != 1 || result.Resumed != resumed {
			t.Errorf("%s: found %v, resumed %t", result.Verdict(), found, result.Resumed)
		}
	}
}

// No page is scanned before each shard has an iterator: what changes in between would be in neither.
func TestTheStreamIsOpenBeforeTheScans(t *testing.T) {
	t.Parallel()
	ts, follow := followed(t, 3)
	open := 0
	streams := testkit.NewProxy(t, testkit.Engine(t))
	streams.Use(on("GetShardIterator", func(int, *testkit.Exchange) *testkit.Response {
		<-time.After(300 * time.Millisecond) // enough for a scan that doesn't wait
		return nil
	}))
	ts.sourceProxy.Use(on("Scan", func(n int, _ *testkit.Exchange) *testkit.Response {
		if n == 1 {
			open = streams.Count("GetRecords") + streams.Count("GetShardIterator")
		}
		return nil
	}))
	result, _ := ts.verify(follow, segments(1), func(o *verify.Options) { o.Follow.Streams = testkit.Streams(streams.URL) })
	if !result.Match || open == 0 {
		t.Errorf("%s: %d requests for the stream before the first scan", result.Verdict(), open)
	}
}
