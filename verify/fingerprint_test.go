package verify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/internal/test/testkit"
	"reseal/verify"
)

type printOption = func(*verify.FingerprintOptions)

// fingerprintOf reads one of the tables, through its proxy.
func (ts *tables) fingerprintOf(ctx context.Context, table string, change ...printOption) (verify.TableFingerprint, error) {
	proxy := ts.sourceProxy
	if table == ts.target {
		proxy = ts.targetProxy
	}
	o := verify.FingerprintOptions{API: testkit.Client(proxy.URL), Table: table, Segments: 3}
	for _, f := range change {
		f(&o)
	}
	return verify.Fingerprint(ctx, o)
}

func (ts *tables) mustFingerprint(table string, change ...printOption) verify.TableFingerprint {
	ts.t.Helper()
	got, err := ts.fingerprintOf(ts.t.Context(), table, change...)
	if err != nil {
		ts.t.Fatal(err)
	}
	return got
}

func secret(s string) printOption {
	return func(o *verify.FingerprintOptions) { o.Secret = []byte(s) }
}

// keyedFingerprint is computed apart from the code: the sum of the digests' HMACs modulo 2^256.
func keyedFingerprint(t *testing.T, ts *tables, table, secret string) string {
	t.Helper()
	sum := new(big.Int)
	for _, it := range testkit.ScanAll(t, ts.engine, table) {
		digest, err := item.Of(it).Digest()
		if err != nil {
			t.Fatal(err)
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(digest[:])
		sum.Add(sum, new(big.Int).SetBytes(mac.Sum(nil)))
	}
	return fmt.Sprintf("%064x", sum.Mod(sum, new(big.Int).Lsh(big.NewInt(1), 256)))
}

// It is the fingerprint of Run, whatever the segments, the pages and the order, and with a secret another one, which depends on it.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 50)
	ts.damage()
	run, _ := ts.verify()
	for _, n := range []int{1, 7, 16, 100} {
		for name, hook := range map[string]testkit.Hook{"whole pages": nil, "short pages": paged(3, nil), "reversed": on("Scan", reversed)} {
			ts.sourceProxy.Use(hook)
			ts.targetProxy.Use(hook)
			count := func(o *verify.FingerprintOptions) { o.Segments = n }
			source, target := ts.mustFingerprint(ts.source, count), ts.mustFingerprint(ts.target, count)
			if source.Fingerprint != run.SourceFingerprint || target.Fingerprint != run.TargetFingerprint || source.Items != 50 || target.Items != 50 {
				t.Errorf("%d segments, %s: %+v, %+v, want %+v", n, name, source, target, run)
			}
			keyed := ts.mustFingerprint(ts.source, count, secret("s3cret"))
			if want := keyedFingerprint(t, ts, ts.source, "s3cret"); keyed.Fingerprint != want || !keyed.Keyed || keyed.Items != 50 {
				t.Errorf("%d segments, %s: keyed %+v, want %s", n, name, keyed, want)
			}
		}
	}
	got := ts.mustFingerprint(ts.source)
	other := ts.mustFingerprint(ts.source, secret("another"))
	if got.Keyed || other.Fingerprint == got.Fingerprint || other.Fingerprint == keyedFingerprint(t, ts, ts.source, "s3cret") {
		t.Errorf("%+v, with another secret %+v", got, other)
	}
	if got.Table != ts.source || got.ReadUnits <= 0 || got.ElapsedSeconds <= 0 || got.TimeToLive != "off" || len(got.ExpiredBy) > 0 || got.Expired != 0 {
		t.Errorf("%+v", got)
	}
}

func TestFingerprintOfNothing(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 0)
	for _, f := range [][]printOption{nil, {secret("x")}} {
		if got := ts.mustFingerprint(ts.source, f...); got.Items != 0 || got.Fingerprint != strings.Repeat("0", 64) {
			t.Errorf("%+v", got)
		}
	}
}

// The same items are left out as in Run, so that the figures can be compared, if both are told what expires, and as of when.
func TestFingerprintLeavesOutWhatExpired(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	now := time.Now()
	for id, at := range map[string]time.Time{"past": now.Add(-time.Hour), "soon": now.Add(time.Hour), "old": now.AddDate(-6, 0, 0)} {
		ts.putSource("id", id, "expires", at.Unix())
		ts.putTarget("id", id, "expires", at.Unix())
	}
	ts.sourceProxy.Use(ttl("expires", "ENABLED"))
	testkit.Delete(t, ts.engine, ts.target, testkit.Item("id", "past"))
	run, _ := ts.verify()
	source := ts.mustFingerprint(ts.source)
	if source.Items != 2 || source.Expired != 1 || !run.Match || source.Fingerprint != run.SourceFingerprint || source.TimeToLive != "on, attribute expires" || !slices.Equal(source.ExpiredBy, []string{"expires"}) {
		t.Errorf("%+v, want what %+v has", source, run)
	}
	by := func(o *verify.FingerprintOptions) { o.ExpiredBy = []string{"expires"} }
	later := func(o *verify.FingerprintOptions) { o.AsOf = now.Add(2 * time.Hour) }
	target := ts.mustFingerprint(ts.target, by)
	if target.Fingerprint != source.Fingerprint || target.Expired != 0 {
		t.Errorf("%+v, want what %+v has", target, source)
	}
	source, target = ts.mustFingerprint(ts.source, later), ts.mustFingerprint(ts.target, by, later)
	if source.Items != 1 || source.Expired != 2 || target.Fingerprint != source.Fingerprint || source.AsOf != now.Add(2*time.Hour).UTC().Format(time.RFC3339) {
		t.Errorf("later: %+v, %+v", source, target)
	}
	// What the target's own rule leaves out, the source keeps.
	ts.targetProxy.Use(ttl("v", "ENABLED"))
	ts.putTarget("id", "gone by v", "v", now.Add(-time.Hour).Unix())
	if got := ts.mustFingerprint(ts.target, by); got.Items != 3 || got.Expired != 0 || got.TimeToLive != "on, attribute v" || !slices.Equal(got.ExpiredBy, []string{"expires"}) {
		t.Errorf("by the source's rule: %+v", got)
	}
	if got := ts.mustFingerprint(ts.target); got.Items != 2 || got.Expired != 1 {
		t.Errorf("by its own: %+v", got)
	}
	kept := ts.mustFingerprint(ts.source, func(o *verify.FingerprintOptions) { o.KeepExpired = true })
	if kept.Items != 3 || kept.Expired != 0 || kept.Fingerprint != fingerprint(t, ts, ts.source) || kept.TimeToLive != "on, attribute expires" {
		t.Errorf("kept: %+v", kept)
	}
	ts.sourceProxy.Use(on("DescribeTimeToLive", func(int, *testkit.Exchange) *testkit.Response { return denied() }))
	if got := ts.mustFingerprint(ts.source); got.TimeToLive != "not checked" || got.Items != 3 {
		t.Errorf("may not be asked: %+v", got)
	}
}

func TestFingerprintRefusals(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 1)
	for name, change := range map[string]printOption{
		"segments is 0":        func(o *verify.FingerprintOptions) { o.Segments = 0 },
		"read units":           func(o *verify.FingerprintOptions) { o.ReadUnits = -1 },
		"the secret is empty":  secret(""),
		`the table "no-such" `: func(o *verify.FingerprintOptions) { o.Table = "no-such" },
	} {
		got, err := ts.fingerprintOf(t.Context(), ts.source, change)
		if !refuse.Is(err) || !strings.Contains(err.Error(), name) || got.Fingerprint != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	ts.sourceProxy.Use(describing(func(table object) { table["TableStatus"] = "DELETING" }))
	if _, err := ts.fingerprintOf(t.Context(), ts.source); !refuse.Is(err) || !strings.Contains(err.Error(), "is DELETING: give another table") {
		t.Error(err)
	}
	ts.sourceProxy.Use(describing(func(table object) { table["TableStatus"] = "UPDATING" })) // it is waited for, and nothing is read until then
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if _, err := ts.fingerprintOf(table.OnWaiting(ctx, func(table.Waiting) { cancel() }), ts.source); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := ts.requests(); n > 0 {
		t.Errorf("%d requests for data", n)
	}
}

// Every request that fails is an error, and none of them a fingerprint of less; but a TTL that can't be read is named.
func TestFingerprintFails(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 30)
	for name, fault := range map[string]func(*testkit.Exchange, func()) *testkit.Response{
		"denied":    func(*testkit.Exchange, func()) *testkit.Response { return denied() },
		"cancelled": func(x *testkit.Exchange, cancel func()) *testkit.Response { cancel(); <-x.Ctx.Done(); return nil },
		"no items": func(x *testkit.Exchange, _ func()) *testkit.Response {
			return answer(x, func(body []byte) []byte {
				return change(body, func(o object) { delete(o, "Items"); delete(o, "Table"); delete(o, "TimeToLiveDescription") })
			})
		},
	} {
		for n := 1; ; n++ {
			ctx, cancel := context.WithCancel(t.Context())
			var count atomic.Int64
			var struck atomic.Value
			ts.freshProxies()
			ts.sourceProxy.Use(paged(4, func(x *testkit.Exchange) *testkit.Response {
				if count.Add(1) != int64(n) {
					return nil
				}
				struck.Store(x.Op)
				return fault(x, cancel)
			}))
			got, err := ts.fingerprintOf(ctx, ts.source)
			cancel()
			op, is := struck.Load().(string)
			if !is {
				if err != nil || got.Items != 30 || n < 10 {
					t.Errorf("%s: without a fault, after %d requests: %+v, %v", name, n-1, got, err)
				}
				break
			}
			if op == "DescribeTimeToLive" && name != "cancelled" {
				if n == 2 && got.TimeToLive != "not checked" || err != nil {
					t.Errorf("%s: no TTL: %+v, %v", name, got, err)
				}
				continue
			}
			if op == "DescribeTable" && n > 1 && name != "cancelled" { // once more, when all is read, and then again
				if err != nil || got.Items != 30 {
					t.Errorf("%s: at the end: %+v, %v", name, got, err)
				}
				continue
			}
			if err == nil || got.Fingerprint != "" || name == "cancelled" && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: request %d, %s: %+v, %v", name, n, op, got, err)
			}
		}
	}
}

// A table that was replaced, or expires otherwise, has no fingerprint.
func TestFingerprintOfATableThatChanges(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 10)
	expires := ttl("expires", "ENABLED")
	second := func(op string, hook testkit.Hook) testkit.Hook {
		return on(op, func(n int, x *testkit.Exchange) *testkit.Response {
			if n == 1 {
				return expires(x)
			}
			return hook(x)
		})
	}
	for name, hook := range map[string]testkit.Hook{
		"made anew":       second("DescribeTable", describing(func(table object) { table["TableId"] = "another" })),
		"expires no more": second("DescribeTimeToLive", ttl("", "DISABLED")),
	} {
		ts.sourceProxy.Use(hook)
		if got, err := ts.fingerprintOf(t.Context(), ts.source); !errors.Is(err, table.ErrChanged) || got.Fingerprint != "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestFingerprintProgress(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 30)
	var last verify.FingerprintProgress
	got := ts.mustFingerprint(ts.source, func(o *verify.FingerprintOptions) {
		o.Progress = func(p verify.FingerprintProgress) { last = p }
	})
	if last.Items != 30 || last.Expected != 30 || last.ReadUnits != got.ReadUnits || last.Elapsed <= 0 {
		t.Errorf("%+v", last)
	}
}
