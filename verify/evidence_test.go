package verify_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/internal/test/testkit"
	"reseal/verify"
)

// What goes on from a checkpoint has not seen itself what had matched: it is no match, says as of when it is, and the next run starts
// from the beginning.
func TestResumedIsNoMatch(t *testing.T) {
	t.Parallel()
	for _, sampled := range []bool{false, true} {
		ts := numbered(t, 200) // a sample has 16 segments at a time, each of some pages
		path := filepath.Join(t.TempDir(), "checkpoint")
		change := []option{resuming(path), func(o *verify.Options) {
			if sampled {
				o.Sample, o.SampleSeed = 0.9, 3
			}
		}}
		before := time.Now().Add(-2 * time.Second) // of the service's clock, which is a second late at the most
		if !ts.stopAt(20, nil, change...) {
			t.Fatal("not stopped")
		}
		ts.freshProxies()
		result, found := ts.verify(change...)
		began, err := time.Parse(time.RFC3339, result.AsOf)
		if err != nil || began.Before(before.Truncate(time.Second)) || began.After(time.Now()) || result.BeganAt != result.AsOf {
			t.Errorf("as of %q, began %q, %v", result.AsOf, result.BeganAt, err)
		}
		if !result.Resumed || result.Match || result.Passed || len(found) > 0 || result.Differing() != 0 || result.SourceFingerprint != result.TargetFingerprint {
			t.Errorf("resumed: %+v", result)
		}
		if says := result.Verdict(); !strings.HasPrefix(says, "NO MATCH YET: nothing differs") || !strings.Contains(says, result.AsOf) || !strings.Contains(says, "Run it again") {
			t.Error(says)
		}
		if sampled && (result.Sample.Match || result.Sample.Passed) {
			t.Errorf("the sample matches: %+v", result.Sample)
		}
		again, _ := ts.verify(change...)
		if again.Resumed || again.AsOf != "" || again.Match == sampled || sampled && !again.Sample.Passed {
			t.Errorf("once more: %+v", again)
		}
	}
}

// An update that is lost after the interruption, whichever item it is of, is never taken for a match.
func TestLostUpdateAfterTheInterruption(t *testing.T) {
	t.Parallel()
	const count = 40
	ts := numbered(t, count)
	path := filepath.Join(t.TempDir(), "checkpoint")
	if !ts.stopAt(4, nil, resuming(path)) {
		t.Fatal("not stopped")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	unseen := 0
	for i := range count {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		ts.putSource("id", fmt.Sprint("k", i), "v", "later")
		ts.freshProxies()
		result, _ := ts.verify(resuming(path))
		if result.Match || result.Passed {
			t.Errorf("k%d: %s", i, result.Verdict())
		}
		if result.Differing() == 0 {
			unseen++
		}
		if result, _ := ts.verify(resuming(path)); result.Match || result.Different != 1 {
			t.Errorf("k%d: the next run: %+v", i, verdictOf(result))
		}
		ts.putSource("id", fmt.Sprint("k", i), "v", i)
	}
	if unseen == 0 {
		t.Error("all updates were seen: the test tests nothing")
	}
}

// A checkpoint without a page, of a run that failed at once, takes nothing from the run that finds it.
func TestCheckpointWithoutAPage(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 20)
	path := filepath.Join(t.TempDir(), "checkpoint")
	ts.targetProxy.Use(on("Scan", func(int, *testkit.Exchange) *testkit.Response { return denied() }))
	ts.sourceProxy.Use(on("Scan", func(int, *testkit.Exchange) *testkit.Response { return denied() }))
	_ = ts.fails(t.Context(), resuming(path))
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	ts.freshProxies()
	if result, _ := ts.verify(resuming(path)); !result.Match || result.Resumed || result.AsOf != "" {
		t.Errorf("%+v", result)
	}
}

// A checkpoint whose scans are too old, or of no known time, or of before the stream was made anew, is refused and stays.
func TestCheckpointTooOld(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 40)
	path := filepath.Join(t.TempDir(), "checkpoint")
	if !ts.stopAt(4, nil, resuming(path)) {
		t.Fatal("not stopped")
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	line, items, _ := bytes.Cut(whole, []byte("\n"))
	var head object
	if err := json.Unmarshal(line, &head); err != nil {
		t.Fatal(err)
	}
	at := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(time.RFC3339) }
	for name, one := range map[string]struct {
		field, value, says string
	}{
		"eight days":  {"began", at(-8 * 24 * time.Hour), "more than 7 days ago"},
		"the future":  {"began", at(time.Hour), "in the future"},
		"no time":     {"began", "soon", "damaged"},
		"earlier one": {"began", "", "an earlier version of reseal wrote it"},
		"other":       {"stream", "arn:other", `had the stream "arn:other"`},
	} {
		before := head[one.field]
		head[one.field] = one.value
		changed, err := json.Marshal(head)
		head[one.field] = before
		if err != nil {
			t.Fatal(err)
		}
		data := slices.Concat(changed, []byte("\n"), items)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		ts.freshProxies()
		_, err = verify.Run(t.Context(), ts.options(resuming(path)))
		if !refuse.Is(err) || !strings.Contains(err.Error(), one.says) || !strings.Contains(err.Error(), "--restart") || ts.requests() > 0 {
			t.Errorf("%s: %v, %d requests", name, err, ts.requests())
		}
		if left, err := os.ReadFile(path); err != nil || !bytes.Equal(left, data) {
			t.Errorf("%s: the file is changed, or %v", name, err)
		}
	}
}

// Two runs don't share a checkpoint, and one that was refused for it leaves it to the other.
func TestCheckpointIsOneRunsOwn(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 20)
	path := filepath.Join(t.TempDir(), "checkpoint")
	var inner error
	ts.sourceProxy.Use(on("Scan", func(n int, _ *testkit.Exchange) *testkit.Response {
		if n == 1 {
			_, inner = verify.Run(t.Context(), ts.options(resuming(path), func(o *verify.Options) { o.Restart = true }))
		}
		return nil
	}))
	result, _ := ts.verify(resuming(path))
	if !refuse.Is(inner) || !strings.Contains(inner.Error(), "another verification is using the checkpoint") || !result.Match {
		t.Errorf("the second: %v, the first: %+v", inner, result)
	}
	fails := errors.New("no")
	if _, err := verify.Run(t.Context(), ts.options(resuming(path), func(o *verify.Options) { o.Begin = func(bool) error { return fails } })); !errors.Is(err, fails) {
		t.Error(err)
	}
	lock, err := atomicfile.Acquire(path)
	if err != nil {
		t.Fatalf("still locked: %v", err)
	}
	lock.Release()
}

// half fails in the middle of a page, when one part of it is in the join and the other isn't.
func half(t *testing.T, ts *tables) {
	t.Helper()
	ts.targetProxy.Use(on("Scan", func(_ int, x *testkit.Exchange) *testkit.Response {
		if !bytes.Contains(x.Body, []byte("ExclusiveStartKey")) { // first a page without items: the source's wait then
			return &testkit.Response{Body: []byte(`{"Items":[],"Count":0,"ScannedCount":0,"LastEvaluatedKey":{"id":{"S":"none"}}}`)}
		}
		x.Body = change(x.Body, func(o object) { delete(o, "ExclusiveStartKey"); delete(o, "Limit") })
		return answer(x, func(body []byte) []byte {
			return change(body, func(o object) { // what both have comes first
				slices.SortFunc(o["Items"].([]any), func(a, b any) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
			})
		})
	}))
}

// A page that got into the join by half is not saved as if it had not been read: it would be counted twice.
func TestHalfAPageIsNotSaved(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	var common, extra []attrs
	for i := range 4 {
		common = append(common, testkit.Item("id", fmt.Sprint("a", i)))
	}
	for i := range 30 {
		extra = append(extra, testkit.Item("id", fmt.Sprint("b", i)))
	}
	testkit.Fill(t, ts.engine, ts.source, common)
	testkit.Fill(t, ts.engine, ts.target, slices.Concat(common, extra))
	path, folder := filepath.Join(t.TempDir(), "checkpoint"), filepath.Join(t.TempDir(), "later")
	small := func(o *verify.Options) { o.Checkpoint, o.Segments, o.MaxMemory, o.Folder = path, 1, 3000, folder }
	half(t, ts)
	if err := ts.fails(t.Context(), small); !strings.Contains(err.Error(), "spill to disk") {
		t.Fatal(err)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	result, _ := ts.verify(small)
	if got := verdictOf(result); got != (verdict{sourceItems: 4, targetItems: 34, extra: 30}) {
		t.Errorf("after half a page: %+v", got)
	}
}

// A table, a stream, or a rule of expiry that is another one at the end than at the beginning is an error, whatever was seen.
func TestTableThatChangesDuringTheRun(t *testing.T) {
	t.Parallel()
	from := func(second int, hook testkit.Hook) testkit.Hook { // when the same is asked for the second time
		return func(x *testkit.Exchange) *testkit.Response {
			if second--; second > 0 {
				return nil
			}
			return hook(x)
		}
	}
	anew := describing(func(table object) { table["TableId"] = "another"; table["CreationDateTime"] = 1.7e9 })
	for name, one := range map[string]struct {
		side, op string
		hook     testkit.Hook
	}{
		"source made anew": {"source", "DescribeTable", anew},
		"target made anew": {"target", "DescribeTable", anew},
		"target deleted":   {"target", "DescribeTable", describing(func(table object) { table["TableStatus"] = "DELETING" })},
		"stream made anew": {"source", "DescribeTable", describing(func(table object) {
			table["StreamSpecification"], table["LatestStreamArn"] = object{"StreamEnabled": true, "StreamViewType": "NEW_IMAGE"}, "arn:new"
		})},
		"encryption":        {"target", "DescribeTable", describing(func(table object) { delete(table, "SSEDescription") })},
		"expires otherwise": {"source", "DescribeTimeToLive", ttl("other", "ENABLED")},
		"expires no more":   {"source", "DescribeTimeToLive", ttl("expires", "DISABLING")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := numbered(t, 5)
			first, last := ttl("expires", "ENABLED"), from(2, one.hook)
			ts.proxy(one.side).Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op == one.op {
					if response := last(x); response != nil {
						return response
					}
				}
				return first(x)
			})
			err := ts.fails(t.Context(), func(o *verify.Options) { o.Checkpoint = filepath.Join(t.TempDir(), "c") })
			if !errors.Is(err, table.ErrChanged) {
				t.Error(err)
			}
		})
	}
}

// What only the target's time to live deletes is missing, and the difference is said.
func TestTimeToLiveOfTheTargetOnly(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	for _, id := range []string{"a", "b", "c"} {
		ts.putSource("id", id, "expires", time.Now().Add(-time.Hour).Unix())
	}
	ts.putSource("id", "d")
	ts.putTarget("id", "d")
	ts.targetProxy.Use(ttl("expires", "ENABLED"))
	result, _ := ts.verify()
	ts.expect(result, verdict{sourceItems: 4, targetItems: 1, missing: 3})
	want := "time to live: source off, target on, attribute expires. The target deletes items whose time has passed, which the source keeps: they count as missing."
	if !slices.Equal(result.Warnings, []string{want}) || result.SourceExpired+result.TargetExpired != 0 || result.ExpiredBy != "" {
		t.Errorf("%q, %+v", result.Warnings, result)
	}
	ts.sourceProxy.Use(on("DescribeTimeToLive", func(int, *testkit.Exchange) *testkit.Response { return denied() }))
	result, _ = ts.verify()
	if len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "source not checked") || !strings.HasSuffix(result.Warnings[0], "No item was left out as expired.") || result.Missing != 3 {
		t.Errorf("%q", result.Warnings)
	}
	ts.sourceProxy.Use(ttl("expires", "ENABLED"))
	if result, _ = ts.verify(); len(result.Warnings) != 0 || !result.Match || result.ExpiredBy != "expires" || result.SourceExpired != 3 {
		t.Errorf("%+v", result)
	}
	ts.targetProxy.Use(ttl("expires", "ENABLING"))
	if result, _ = ts.verify(); len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "up to an hour") {
		t.Errorf("%+v", result)
	}
}

// dated passes requests on to the proxy, and dates the answers by another clock.
func dated(t *testing.T, proxy *testkit.Proxy, ahead time.Duration) string {
	t.Helper()
	to, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	pass := httputil.NewSingleHostReverseProxy(to)
	pass.ModifyResponse = func(r *http.Response) error {
		r.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
		return nil
	}
	server := httptest.NewServer(pass)
	t.Cleanup(server.Close)
	return server.URL
}

// What has expired is said by the clock of the source's service, in scans and looks, and so are the times of the result.
func TestExpiryGoesByTheServicesClock(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	ts.putSource("id", "soon", "expires", time.Now().Add(time.Hour).Unix())
	ts.putSource("id", "differs", "expires", time.Now().Add(time.Hour).Unix(), "v", 1)
	ts.putTarget("id", "differs", "expires", time.Now().Add(time.Hour).Unix(), "v", 2)
	ts.putSource("id", "later", "expires", time.Now().Add(4*time.Hour).Unix())
	ts.putTarget("id", "later", "expires", time.Now().Add(4*time.Hour).Unix())
	ts.sourceProxy.Use(ttl("expires", "ENABLED"))
	ts.targetProxy.Use(ttl("expires", "ENABLED"))
	by := func(ahead time.Duration) option {
		source := testkit.Client(dated(t, ts.sourceProxy, ahead))
		return func(o *verify.Options) { o.Source = source }
	}
	result, _ := ts.verify(by(2 * time.Hour))
	ts.expect(result, verdict{match: true, sourceItems: 1, targetItems: 1})
	began, err := time.Parse(time.RFC3339, result.BeganAt)
	if ahead := time.Until(began); err != nil || result.SourceExpired != 2 || result.TargetExpired != 1 || ahead < 119*time.Minute || ahead > 121*time.Minute {
		t.Errorf("began %s, %v, %+v", result.BeganAt, err, result)
	}
	result, _ = ts.verify(by(0))
	ts.expect(result, verdict{sourceItems: 3, targetItems: 2, missing: 1, different: 1})
	// Behind the machine's: what has expired by that alone is looked at, too.
	ts.putSource("id", "past", "expires", time.Now().Add(-time.Hour).Unix())
	result, _ = ts.verify(by(-2 * time.Hour))
	ts.expect(result, verdict{sourceItems: 4, targetItems: 2, missing: 2, different: 1})
	testkit.Delete(t, ts.engine, ts.source, testkit.Item("id", "past"))
	o := ts.mustFingerprint(ts.source, func(o *verify.FingerprintOptions) { o.API = testkit.Client(dated(t, ts.sourceProxy, 2*time.Hour)) })
	if o.Items != 1 || o.Expired != 2 || o.AsOf != o.BeganAt {
		t.Errorf("fingerprint: %+v", o)
	}
}
