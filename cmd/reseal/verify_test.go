package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"reseal/internal/test/testkit"
)

// verifyFields are those of the contract.
var verifyFields = []string{
	"command", "source", "target", "match", "source_items", "target_items", "missing", "extra", "different", "settled", "repaired",
	"source_fingerprint", "target_fingerprint", "read_units", "configuration", "encryption", "elapsed_seconds",
}

func TestVerifyDifferences(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 20)
	ts.run("seed").want(0)
	ts.damage()

	o := ts.run("verify", "--settle", "100ms", "--report", "r.jsonl", "--output", "json").want(1)
	if o.stderr != "reseal: the tables do not match\n" {
		t.Errorf("stderr: %s", o)
	}
	object := o.object()
	hasAll(t, object, verifyFields)
	counts := map[string]any{
		"command": "verify", "match": false, "source_items": 20.0, "target_items": 20.0, "missing": 1.0, "extra": 1.0, "different": 1.0, "repaired": 0.0,
	}
	has(t, object, counts)
	if object["source_fingerprint"] == object["target_fingerprint"] {
		t.Error("the fingerprints are the same")
	}
	for _, one := range object["configuration"].([]any) {
		hasAll(t, one.(map[string]any), []string{"what", "source", "target"})
	}
	checkReport(t, filepath.Join(o.folder, "r.jsonl"))

	text := ts.run("verify", "--settle", "100ms").want(1)
	if want := regexp.MustCompile(`(?s)^NO MATCH: .*\n  missing +1\n  extra +1\n  different +1\n`); !want.MatchString(text.stdout) {
		t.Errorf("text: %s", text)
	}

	repaired := ts.run("verify", "--settle", "100ms", "--repair", "--output", "json").want(0)
	counts["match"], counts["repaired"] = true, 3.0
	has(t, repaired.object(), counts)
	ts.mustBeEqual()

	text = ts.run("verify").want(0)
	if want := regexp.MustCompile(`(?s)^MATCH: both tables hold the same items\.\n.*\n  source fingerprint [0-9a-f]{64}\n  target fingerprint [0-9a-f]{64}\n`); !want.MatchString(text.stdout) || text.stderr != "" {
		t.Errorf("text: %s", text)
	}
}

// checkReport expects the lines of the three differences.
func checkReport(t *testing.T, path string) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for line := range strings.Lines(string(content)) {
		var one struct {
			Key          struct{ ID struct{ S string } }
			Kind         string
			Attributes   []string
			SourceDigest string `json:"source_digest"`
			TargetDigest string `json:"target_digest"`
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Errorf("line %q: %v", line, err)
		}
		if (one.SourceDigest == "") != (one.Kind == "extra") || (one.TargetDigest == "") != (one.Kind == "missing") {
			t.Errorf("digests: %s", line)
		}
		got = append(got, one.Kind+" "+one.Key.ID.S+" "+strings.Join(one.Attributes, ","))
	}
	slices.Sort(got)
	if want := []string{"different item-00001 v", "extra item-extra ", "missing item-00000 "}; !slices.Equal(got, want) {
		t.Errorf("report: %q, want %q", got, want)
	}
}

func TestVerifyFails(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 20)
	ts.run("seed").want(0)
	for name, proxy := range map[string]*testkit.Proxy{"source": ts.sourceProxy, "target": ts.targetProxy} {
		proxy.Use(func(x *testkit.Exchange) *testkit.Response {
			if x.Op == "Scan" && segmentOf(x) == 7 {
				return testkit.Fail(http.StatusBadRequest, "com.amazon.coral.service#AccessDeniedException", "not authorized to perform: dynamodb:Scan")
			}
			return nil
		})
		for _, output := range []string{"text", "json"} {
			t.Run(name+" "+output, func(t *testing.T) {
				ts.run("verify", "--output", output).want(3).says("Scan: AccessDeniedException")
			})
		}
		proxy.Use(nil)
	}
}

func TestVerifyInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			ts := newTables(t, 20) // the target stays empty: they are never compared
			held := newEvent()
			hold := func(x *testkit.Exchange) *testkit.Response {
				if x.Op == "Scan" {
					held.happen()
					<-x.Ctx.Done()
				}
				return nil
			}
			ts.sourceProxy.Use(hold)
			ts.targetProxy.Use(hold)
			p := start(t, command{args: ts.args("verify", "--output", "json")})
			p.reach("it scanned", held.c)
			p.signal(signal)
			if o := p.await().want(130).says(); !strings.HasSuffix(o.stderr, "reseal: interrupted\n") {
				t.Errorf("stderr: %s", o)
			}
		})
	}
}

func TestVerifySample(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 200)
	ts.run("seed").want(0)
	o := ts.run("verify", "--sample", "25%", "--output", "json").want(4)
	if !strings.Contains(o.stderr, "only a verification without --sample") {
		t.Errorf("stderr: %s", o)
	}
	has(t, o.object(), map[string]any{"match": false})
	sample := o.object()["sample"].(map[string]any)
	has(t, sample, map[string]any{"match": true, "share": 0.25, "segments": 16.0, "total_segments": 64.0})
	again := ts.run("verify", "--sample", "25%", "--sample-seed", fmt.Sprint(sample["seed"]), "--output", "json").want(4)
	has(t, again.object(), map[string]any{"source_fingerprint": o.object()["source_fingerprint"]})
	text := ts.run("verify", "--sample", "25%", "--sample-seed", "7").want(4)
	if want := "SAMPLE MATCHED: nothing differs in a sample of 16 of 64 segments (seed 7). The rest was not compared.\n"; !strings.HasPrefix(text.stdout, want) {
		t.Errorf("text: %s", text)
	}
	for i := range 200 {
		testkit.Delete(t, ts.db, ts.target, testkit.Item("id", fmt.Sprintf("item-%05d", i)))
	}
	o = ts.run("verify", "--sample", "25%", "--sample-seed", "7", "--settle", "1ms").want(1)
	if want := "NO MATCH: the tables do not hold the same items, in a sample of 16 of 64 segments (seed 7).\n"; !strings.HasPrefix(o.stdout, want) {
		t.Errorf("text: %s", o)
	}
}

func TestVerifyDryRun(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 20)
	ts.run("seed").want(0)
	ts.damage()
	o := ts.run("verify", "--settle", "1ms", "--repair", "--dry-run", "--output", "json").want(1)
	has(t, o.object(), map[string]any{"would_put": 2.0, "would_delete": 1.0, "repaired": 0.0, "write_units": 0.0})
	o = ts.run("verify", "--settle", "1ms", "--repair", "--dry-run").want(1)
	if !strings.Contains(o.stdout, "dry run: would write 2 items and delete 1") {
		t.Errorf("text: %s", o)
	}
	ts.run("verify", "--dry-run").want(2).says("--repair")
	ts.run("verify", "--settle", "1ms").want(1)
}

// holdLater answers no Scan from the 20th on. There are 16 segments at a time at the most: some of 40 are read whole by then.
func holdLater(held *event) testkit.Hook {
	var scans atomic.Int64
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" && scans.Add(1) >= 20 {
			held.happen()
			<-x.Ctx.Done()
		}
		return nil
	}
}

// An interrupted verification goes on when the same command is run again, and says so.
func TestVerifyResumes(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 200)
	ts.run("seed").want(0)
	ts.damage()
	held := newEvent()
	ts.targetProxy.Use(holdLater(held))
	command := command{args: ts.args("verify", "--settle", "1ms", "--segments", "40", "--checkpoint", "v", "--output", "json"), folder: t.TempDir()}
	p := start(t, command)
	p.reach("it scanned", held.c)
	p.signal(syscall.SIGINT)
	o := p.await().want(130).says("; run the same command again to go on from the checkpoint v")
	if info, err := os.Stat(filepath.Join(o.folder, "v")); err != nil || info.Mode() != 0o600 {
		t.Errorf("checkpoint: %v, %v", info, err)
	}
	ts.targetProxy.Use(nil)
	o = start(t, command).await().want(1)
	has(t, o.object(), map[string]any{"resumed": true, "source_items": 200.0, "target_items": 200.0, "missing": 1.0, "extra": 1.0, "different": 1.0})
	if _, err := os.Stat(filepath.Join(o.folder, "v")); err == nil {
		t.Error("the checkpoint is still there")
	}
}

// A verification that goes on from a checkpoint is no gate, and says so; the same command is one again after it.
func TestVerifyResumedIsNoGate(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 200)
	ts.run("seed").want(0)
	held := newEvent()
	ts.targetProxy.Use(holdLater(held))
	command := command{args: ts.args("verify", "--segments", "40", "--checkpoint", "v", "--report", "page.html"), folder: t.TempDir()}
	p := start(t, command)
	p.reach("it scanned", held.c)
	p.signal(syscall.SIGINT)
	p.await().want(130).says("which can't end as a match", "--restart")
	ts.targetProxy.Use(nil)
	o := start(t, command).await().want(1)
	if !strings.HasPrefix(o.stderr, "reseal: the tables are not known to match: nothing differs as of 2") {
		t.Errorf("stderr: %s", o)
	}
	if want := regexp.MustCompile(`(?s)^NO MATCH YET: nothing differs, but the scans began at 2.*\n  scans began +2.*Z \(before this run\)\n`); !want.MatchString(o.stdout) {
		t.Errorf("text: %s", o)
	}
	page, err := os.ReadFile(filepath.Join(o.folder, "page.html"))
	if err != nil || !strings.Contains(string(page), `<body class="failed">`) || !strings.Contains(string(page), "NO MATCH YET") {
		t.Errorf("page: %v, %.300s", err, page)
	}
	o = start(t, command).await().want(0)
	if !strings.HasPrefix(o.stdout, "MATCH: both tables hold the same items.\n") {
		t.Errorf("text: %s", o)
	}
}

// A time to live that differs is said where nobody overlooks it, in each form of the result.
func TestVerifyWarnsOfTimeToLive(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 5)
	ts.run("seed").want(0)
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "DescribeTimeToLive" {
			return nil
		}
		return &testkit.Response{Body: []byte(`{"TimeToLiveDescription":{"TimeToLiveStatus":"ENABLED","AttributeName":"e\u001b[2J"}}`)}
	})
	o := ts.run("verify", "--report", "page.html").want(0)
	if want := "\nWARNING: time to live: source off, target on, attribute e\ufffd[2J. The target deletes items"; !strings.Contains(o.stdout, want) {
		t.Errorf("text: %s", o)
	}
	page, err := os.ReadFile(filepath.Join(o.folder, "page.html"))
	if err != nil || !strings.Contains(string(page), "Note: time to live: source off, target on") {
		t.Errorf("page: %v", err)
	}
	object := ts.run("verify", "--output", "json").want(0).object()
	if warnings, is := object["warnings"].([]any); !is || len(warnings) != 1 {
		t.Errorf("JSON: %v", object["warnings"])
	}
}

// A name that somebody gave an attribute or a tag must not steer the terminal of whoever reads the result.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 3)
	ts.run("seed").want(0)
	hostile := "\x1b[2J\x1b]0;owned\a<script>"
	ts.sourceProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "ListTagsOfResource" {
			return nil
		}
		body, err := json.Marshal(map[string]any{"Tags": []any{map[string]string{"Key": hostile, "Value": "1\r2"}}})
		if err != nil {
			t.Error(err)
		}
		return &testkit.Response{Body: body}
	})
	text := ts.run("verify").want(0)
	if strings.ContainsAny(text.stdout, "\x1b\a\r") || !strings.Contains(text.stdout, "owned") {
		t.Errorf("text: %s", text)
	}
	object := ts.run("verify", "--output", "json").want(0)
	if strings.ContainsAny(object.stdout, "\x1b\a\r") || strings.Contains(object.stdout, "<script>") || !strings.Contains(object.stdout, "owned") {
		t.Errorf("JSON: %s", object)
	}
	for _, name := range []string{"../../x", "/etc/passwd", "a\x1b[2J", "$(touch x)", "x;y", "arn:aws:dynamodb:us-east-1:123456789012:table/../../x"} {
		for _, args := range [][]string{{"seed", "--source", name, "--target", ts.target}, {"verify", "--source", ts.source, "--target", name}} {
			o := reseal(t, args...).want(2).says("is not a table")
			o.wroteNothing()
			if strings.Contains(o.stderr, "\x1b") {
				t.Errorf("%q: %s", name, o)
			}
		}
	}
}
