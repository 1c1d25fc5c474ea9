package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/item"
	"reseal/internal/test/testkit"
	"reseal/verify"
	"reseal/verify/report"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// file reads a file that the process left.
func (o outcome) file(name string) string {
	o.t.Helper()
	content, err := os.ReadFile(filepath.Join(o.folder, name))
	if err != nil {
		o.t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(o.folder, name))
	if err != nil || info.Mode() != 0o600 {
		o.t.Errorf("%s: mode %v, %v", name, info.Mode(), err)
	}
	return string(content)
}

// contains expects some texts in a page, and not others.
func contains(t *testing.T, page string, has []string, hasNot ...string) {
	t.Helper()
	for _, text := range has {
		if !strings.Contains(page, text) {
			t.Errorf("%q is not in the page", text)
		}
	}
	for _, text := range hasNot {
		if strings.Contains(page, text) {
			t.Errorf("%q is in the page", text)
		}
	}
}

// One run writes lines and a page, with values only if they are asked for, and replaces what an earlier run left.
func TestReportPage(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 20)
	ts.run("seed").want(0)
	folder := t.TempDir()
	verify := func(more ...string) outcome {
		return start(t, command{folder: folder, args: ts.args("verify", append([]string{"--settle", "1ms", "--report", "r.jsonl", "--report", "page.HTML"}, more...)...)}).await()
	}
	if err := os.WriteFile(filepath.Join(folder, "page.HTML"), []byte("of an earlier run"), 0o644); err != nil {
		t.Fatal(err)
	}
	page := verify().want(0).file("page.HTML")
	contains(t, page, []string{`<body class="passed">`, "MATCH: both tables hold the same items.", ts.source, ts.target}, "earlier")
	ts.damage()
	o := verify().want(1)
	contains(t, o.file("page.HTML"), []string{`<body class="failed">`, "item-00000", "item-00001", "item-extra", `<code>v</code>`}, "changed", "attribute</th>")
	checkReport(t, filepath.Join(folder, "r.jsonl"))
	if strings.Contains(o.file("r.jsonl"), "changed") {
		t.Error("values in the lines, though none was asked for")
	}
	o = verify("--show-values").want(1)
	contains(t, o.file("page.HTML"), []string{"changed", "attribute</th>", "keys and values of the tables"})
	var found []string
	for line := range strings.Lines(o.file("r.jsonl")) {
		var one struct {
			Kind         string
			SourceValues json.RawMessage `json:"source_values"`
			TargetValues json.RawMessage `json:"target_values"`
		}
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatal(err)
		}
		found = append(found, one.Kind+" "+string(one.SourceValues)+" "+string(one.TargetValues))
	}
	slices.Sort(found)
	want := []string{
		`different {"v":{"N":"1"}} {"v":{"S":"changed"}}`, `extra  {"id":{"S":"item-extra"},"v":{"N":"1"}}`, `missing {"id":{"S":"item-00000"},"v":{"N":"0"}} `,
	}
	if !slices.Equal(found, want) {
		t.Errorf("values %q, want %q", found, want)
	}

	o = verify("--repair").want(0)
	contains(t, o.file("page.HTML"), []string{"now that 3 were repaired", "written by the repair", "deleted by the repair"}, "not repaired")
	if n := strings.Count(o.file("r.jsonl"), `"repair":"`); n != 3 {
		t.Errorf("%d repairs in the lines", n)
	}
	if rest, err := os.ReadDir(folder); err != nil || len(rest) != 2 {
		t.Errorf("left in the folder: %v, %v", rest, err)
	}
}

// A run that fails, is interrupted or killed leaves a page that says so, whatever page there was before.
func TestReportPageOfAFailedRun(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 20)
	ts.run("seed").want(0)
	folder := t.TempDir()
	args := ts.args("verify", "--settle", "1ms", "--report", "page.html")
	match := start(t, command{folder: folder, args: args}).await().want(0)
	contains(t, match.file("page.html"), []string{">MATCH: "}) // to be replaced
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" && segmentOf(x) == 7 {
			return testkit.Fail(400, "com.amazon.coral.service#AccessDeniedException", "not authorized to <scan>")
		}
		return nil
	})
	page := start(t, command{folder: folder, args: args}).await().want(3).file("page.html")
	contains(t, page, []string{`<body class="incomplete">`, "<h1>INCOMPLETE: ", "AccessDeniedException"}, "not authorized", "MATCH", "source fingerprint")

	for signal, says := range map[syscall.Signal]string{syscall.SIGINT: "<h1>INCOMPLETE: ", syscall.SIGKILL: "<h1>NOT FINISHED: "} {
		ts.targetProxy.Use(nil)
		contains(t, start(t, command{folder: folder, args: args}).await().want(0).file("page.html"), []string{">MATCH: "})
		held := newEvent()
		ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
			if x.Op == "Scan" {
				held.happen()
				<-x.Ctx.Done()
			}
			return nil
		})
		p := start(t, command{folder: folder, args: args})
		p.reach("it scanned", held.c)
		p.signal(signal)
		contains(t, p.await().file("page.html"), []string{`<body class="incomplete">`, says}, "MATCH")
	}
}

// A refused run leaves the page of an earlier one, and none where there was none.
func TestReportPageOfARefusedRun(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 2)
	folder := t.TempDir()
	refused := func(more ...string) outcome {
		args := ts.args("verify", append([]string{"--report", "page.html"}, more...)...)
		return start(t, command{folder: folder, args: args}).await().want(2)
	}
	if o := refused("--segments", "0"); o.exists("page.html") {
		t.Error("a page is there")
	}
	if err := os.WriteFile(filepath.Join(folder, "page.html"), []byte("earlier"), 0o600); err != nil {
		t.Fatal(err)
	}
	if page := refused("--segments", "0").file("page.html"); page != "earlier" {
		t.Errorf("the page is now %q", page)
	}
	refused("--report", "page.html").says("given twice")
	refused("--report", "no/such/page.html").says("the report can't be written", "give another --report")
	refused("--report", "r.jsonl", "--report", ".").says("the report can't be written")
	ts.run("verify", "--show-values").want(2).says("--show-values", "--report")
	if rest, err := os.ReadDir(folder); err != nil || len(rest) != 1 {
		t.Errorf("left in the folder: %v, %v", rest, err)
	}
}

// A disk that is full when the page is written is a failure, and no page is taken for a result.
func TestReportPageThatCanNotBeWritten(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 2)
	ts.run("seed").want(0)
	folder := t.TempDir()
	gone := filepath.Join(folder, "gone")
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	ts.sourceProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" {
			_ = os.RemoveAll(gone) // while the verification runs
		}
		return nil
	})
	o := start(t, command{folder: folder, args: ts.args("verify", "--report", "gone/page.html")}).await().want(3).says("write report")
	if o.exists("gone/page.html") {
		t.Error("the page is there")
	}
}

// The gate's flags reach the exit status and the words.
func TestVerifyStrict(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 5)
	ts.run("seed").want(0)
	o := ts.run("verify", "--strict").want(1)
	lines := 1 // the target has no stream
	for _, o := range []testkit.Oddity{testkit.NoBackups, testkit.KeyPerTable} {
		if testkit.Has(o) {
			lines++
		}
	}
	head := fmt.Sprintf("NO MATCH: the items are the same, but %d of the table configuration's lines differ or were not checked.\n", lines)
	if !strings.HasPrefix(o.stdout, head) || !strings.Contains(o.stdout, "Whatever reads the source's stream") || o.stderr != "reseal: the tables do not match: their items do, their configuration doesn't\n" {
		t.Errorf("text: %s", o)
	}
	// An engine may make a key for each table, and know no backups.
	object := ts.run("verify", "--strict", "--strict-except", "encryption,stream", "--strict-except", "point-in-time-recovery", "--output", "json").want(0).object()
	has(t, object, map[string]any{"match": true, "passed": true, "strict": true})
	for _, one := range object["configuration"].([]any) {
		line := one.(map[string]any)
		if line["expected"] != true || line["consequence"] == "" {
			t.Errorf("%v", line)
		}
	}
	ts.run("verify", "--strict", "--strict-except", "colour").want(2).says("colour", "deletion protection")
	object = ts.run("verify", "--output", "json").want(0).object()
	has(t, object, map[string]any{"match": true, "passed": true, "strict": false})
}

func TestVerifyAllowChanging(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 5)
	ts.run("seed").want(0)
	testkit.Delete(t, ts.db, ts.target, testkit.Item("id", "item-00001"))
	n := 0
	ts.sourceProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchGetItem" {
			n++
			in := &dynamodb.PutItemInput{TableName: &ts.source, Item: testkit.Item("id", "item-00001", "v", 1000+n)}
			if _, err := ts.db.PutItem(t.Context(), in); err != nil {
				t.Error(err) // and not the end of the test, from another goroutine
			}
		}
		return nil
	})
	has(t, ts.run("verify", "--settle", "20ms", "--output", "json").want(1).object(), map[string]any{"match": false, "passed": false, "still_changing": 1.0})
	o := ts.run("verify", "--settle", "20ms", "--allow-changing", "--output", "json").want(0)
	has(t, o.object(), map[string]any{"match": false, "passed": true, "still_changing": 1.0, "missing": 0.0})
	testkit.Delete(t, ts.db, ts.target, testkit.Item("id", "item-00002"))
	ts.run("verify", "--settle", "20ms", "--allow-changing").want(1)
}

// A repair that was interrupted and goes on has all that it repaired in its lines, though the first of it is found equal then.
func TestReportOfAResumedRepair(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 20)
	ts.run("seed").want(0)
	ts.damage()
	held := newEvent()
	reads := 0
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchGetItem" {
			return nil
		}
		if reads++; reads == 3 { // to settle, to repair, and to look at what was repaired
			held.happen()
			<-x.Ctx.Done()
		}
		return nil
	})
	c := command{folder: t.TempDir(), args: ts.args("verify", "--settle", "0s", "--repair", "--checkpoint", "v", "--report", "r.jsonl", "--output", "json")}
	p := start(t, c)
	p.reach("it repaired", held.c)
	p.signal(syscall.SIGINT)
	o := p.await().want(130)
	if n := strings.Count(o.file("r.jsonl"), `"repair":"`); n != 3 {
		t.Errorf("%d repairs in the lines of the first run", n)
	}
	ts.targetProxy.Use(nil)
	o = start(t, c).await().want(1) // the rest had matched before
	has(t, o.object(), map[string]any{"resumed": true, "settled": 3.0, "repaired": 0.0, "match": false})
	if n := strings.Count(o.file("r.jsonl"), `"repair":"`); n != 3 {
		t.Errorf("%d repairs in the lines of both runs: %s", n, o.file("r.jsonl"))
	}
	start(t, c).await().want(0) // a new run
	if lines := o.file("r.jsonl"); lines != "" {
		t.Errorf("an older run is in the lines: %s", lines)
	}
}

// What a verification that follows finds is in its reports at once.
func TestReportsOfAFollowingRun(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		lines, page := filepath.Join(t.TempDir(), "r.jsonl"), filepath.Join(t.TempDir(), "r.html")
		written, err := openReports([]string{lines, page}, false, report.PageHead{Source: "s", Target: "t", Started: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		written.follows = true
		schema := item.Schema{Hash: item.KeyAttribute{Name: "id", Type: "S"}}
		key, err := schema.KeyOf(item.Of(testkit.Item("id", "lost")))
		if err == nil {
			err = written.begin(false)
		}
		if err == nil {
			err = written.write(verify.Difference{Key: key, Kind: verify.Missing, LastChanged: time.Now()})
		}
		if err != nil {
			t.Fatal(err)
		}
		written.show()
		if content, err := os.ReadFile(lines); err != nil || !strings.Contains(string(content), `"lost"`) || !strings.Contains(string(content), `"last_changed"`) {
			t.Errorf("lines: %v, %s", err, content)
		}
		time.Sleep(pageInterval)
		written.show()
		if content, err := os.ReadFile(page); err != nil || !strings.Contains(string(content), "lost") || !strings.Contains(string(content), "NOT FINISHED") {
			t.Errorf("page: %v, %.300s", err, content)
		}
		if err := written.close(verify.Result{}, nil); err != nil {
			t.Error(err)
		}
	})
}
