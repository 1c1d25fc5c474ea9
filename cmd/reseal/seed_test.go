package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"reseal/internal/test/testkit"
)

// seedFields are those of the contract.
var seedFields = []string{
	"command", "source", "target", "segments", "items_read", "items_written", "items_rechecked", "items_rewritten", "read_units",
	"write_units", "throttled", "resumed", "elapsed_seconds",
}

// hasAll expects all fields, and no null.
func hasAll(t *testing.T, object map[string]any, fields []string) {
	t.Helper()
	for _, name := range fields {
		if value, is := object[name]; !is || value == nil {
			t.Errorf("%s: %v, %v", name, value, is)
		}
	}
}

func TestSeedAndVerify(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 120)
	seeded := ts.run("seed", "--output", "json", "--segments", "3").want(0)
	if seeded.stderr != "" {
		t.Errorf("seed: %s", seeded)
	}
	seeded.wroteNothing() // the checkpoint is gone
	object := seeded.object()
	hasAll(t, object, seedFields)
	has(t, object, map[string]any{
		"command": "seed", "source": ts.source, "target": ts.target, "segments": 3.0, "resumed": false, "throttled": 0.0,
		"items_read": 120.0, "items_written": 120.0, "items_rechecked": 120.0, "items_rewritten": 0.0, "write_units": 120.0,
	})
	ts.mustBeEqual()

	verified := ts.run("verify", "--output", "json").want(0)
	if verified.stderr != "" {
		t.Errorf("verify: %s", verified)
	}
	object = verified.object()
	hasAll(t, object, verifyFields)
	has(t, object, map[string]any{
		"command": "verify", "source": ts.source, "target": ts.target, "match": true, "source_items": 120.0, "target_items": 120.0,
		"missing": 0.0, "extra": 0.0, "different": 0.0, "encryption": "KMS", "target_fingerprint": object["source_fingerprint"],
	})

	// A seed may be repeated.
	again := ts.run("seed").want(0)
	if want := regexp.MustCompile(`(?s)^Seeded \S+ from \S+\.\n  items read +120\n  items written +120\n.*\n  time +[0-9.]+ s\n$`); !want.MatchString(again.stdout) {
		t.Errorf("text: %s", again)
	}
	ts.mustBeEqual()
}

// TestNamesAndEndpoints gives the tables as ARNs and the endpoint through the environment.
func TestNamesAndEndpoints(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 5)
	arn := "arn:aws:dynamodb:us-east-1:000000000000:table/"
	run := func(name string, more ...string) outcome {
		args := append([]string{name, "--source", arn + ts.source, "--target", arn + ts.target, "--output", "json"}, more...)
		return start(t, command{args: args, env: []string{"AWS_REGION", "AWS_ENDPOINT_URL_DYNAMODB=" + ts.sourceProxy.URL}}).await()
	}
	want := map[string]any{"source": arn + ts.source, "target": arn + ts.target}
	has(t, run("seed", "--dry-run").want(0).object(), want)
	has(t, run("seed").want(0).object(), want)
	has(t, run("verify").want(0).object(), want)
	has(t, run("replicate", "--until-idle", "500ms").want(0).object(), want)
	if ts.targetProxy.Count("DescribeTable") > 0 {
		t.Error("an endpoint was used that nobody gave")
	}
}

func TestDryRun(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 7)
	text := ts.run("seed", "--dry-run").want(0)
	if want := regexp.MustCompile(`^Seeding \S+ from \S+ would take about the following; nothing was written\.\n  items +7\n`); !want.MatchString(text.stdout) {
		t.Errorf("text: %s", text)
	}
	planned := ts.run("seed", "--dry-run", "--output", "json").want(0)
	has(t, planned.object(), map[string]any{"command": "seed", "dry_run": true, "items": 7.0, "write_units": 7.0})
	planned.wroteNothing()
	if n := ts.targetProxy.Count("BatchWriteItem"); n > 0 {
		t.Errorf("%d writes", n)
	}
}

// segmentOf returns the number of the segment that a Scan reads.
func segmentOf(x *testkit.Exchange) int {
	var in struct{ Segment int }
	if err := json.Unmarshal(x.Body, &in); err != nil {
		panic(err)
	}
	return in.Segment
}

// event is something that happens once, although it may be told several times.
type event struct {
	once sync.Once
	c    chan struct{}
}

func newEvent() *event { return &event{c: make(chan struct{})} }

func (e *event) happen() { e.once.Do(func() { close(e.c) }) }

// halfway makes a seed of four segments stop where two are written, and one of them is re-checked: the others' Scans and the second
// re-check are held until the process gives them up. reached happens when all of that is so, gone when the process has given up.
func (ts *tables) halfway() (reached, gone *event) {
	reached, gone = newEvent(), newEvent()
	var mu sync.Mutex
	held, copied := 0, 0
	tell := func(n *int) int {
		mu.Lock()
		defer mu.Unlock()
		if *n++; held >= 2 && copied >= 2 {
			reached.happen()
		}
		return *n
	}
	hold := func(x *testkit.Exchange) *testkit.Response {
		<-x.Ctx.Done()
		gone.happen()
		return &testkit.Response{Cut: true}
	}
	ts.sourceProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		switch {
		case x.Op == "Scan" && segmentOf(x) >= 2:
			tell(&held)
			return hold(x)
		case x.Op == "BatchGetItem": // the re-check: the last thing that is done for a segment of one small page
			if tell(&copied) == 2 {
				return hold(x)
			}
		}
		return nil
	})
	return reached, gone
}

// resume lets a seed that was stopped go on, with the same flags, and expects it to come to its end.
func (ts *tables) resume(o outcome, flags ...string) outcome {
	ts.t.Helper()
	ts.sourceProxy.Use(nil)
	ts.targetProxy.Use(nil)
	args := ts.args("seed", append(flags, "--output", "json")...)
	done := start(ts.t, command{folder: o.folder, args: args}).await().want(0)
	has(ts.t, done.object(), map[string]any{"resumed": true})
	if done.exists(ts.checkpoint()) {
		ts.t.Error("the checkpoint is still there")
	}
	ts.mustBeEqual()
	return done
}

// checkpoint is the file that a seed keeps its position in if it isn't told another one.
func (ts *tables) checkpoint() string {
	return fmt.Sprintf("reseal-seed-%s-to-%s.json", ts.source, ts.target)
}

func TestSeedInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			ts := newTables(t, 80)
			reached, _ := ts.halfway()
			p := start(t, command{args: ts.args("seed", "--segments", "4")})
			p.reach("it was half-way", reached.c)
			p.signal(signal)
			o := p.await().want(130).says("interrupted after ", " that were begun are read again); run the same command again to go on from the checkpoint "+ts.checkpoint())
			if !o.exists(ts.checkpoint()) {
				t.Error("there is no checkpoint")
			}
			ts.resume(o, "--segments", "4")
		})
	}
}

// TestSeedTwice starts a second seed beside the first one: it is refused, and the first goes on.
func TestSeedTwice(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 80)
	reached, _ := ts.halfway()
	first := start(t, command{args: ts.args("seed", "--segments", "4")})
	first.reach("it was half-way", reached.c)
	second := start(t, command{folder: first.folder, args: ts.args("seed", "--segments", "4", "--restart")}).await()
	second.want(2).says("another seed is using the checkpoint", ts.checkpoint(), "wait until it has ended")
	first.signal(syscall.SIGINT)
	ts.resume(first.await().want(130), "--segments", "4").wroteNothing()
}

// TestSeedInterruptedInWrite lets a batch end that is under way when the signal comes: its keys are not left uncertain.
func TestSeedInterruptedInWrite(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 80)
	_, gone := ts.halfway()
	writing := newEvent()
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			writing.happen()
			<-gone.c
		}
		return nil
	})
	flags := []string{"--segments", "4", "--checkpoint", "c.json"}
	p := start(t, command{args: ts.args("seed", flags...)})
	p.reach("it wrote", writing.c)
	p.signal(syscall.SIGINT)
	o := p.await().want(130).says("interrupted after ", "run the same command again to go on from the checkpoint c.json")
	if len(testkit.ScanAll(t, ts.db, ts.target)) == 0 {
		t.Error("the batch was given up")
	}
	ts.resume(o, flags...).wroteNothing()
}

// TestSeedSecondSignal: the first signal is answered at once, though what is under way may take three more seconds; the second one ends
// the process.
func TestSeedSecondSignal(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			ts := newTables(t, 80)
			writing := newEvent()
			ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op != "BatchWriteItem" {
					return nil
				}
				writing.happen()
				<-x.Ctx.Done()
				return &testkit.Response{Cut: true}
			})
			p := start(t, command{args: ts.args("seed", "--segments", "4")})
			p.reach("it wrote", writing.c)
			const line = "reseal: stopping, saving the checkpoint; again to stop at once\n"
			said := p.err.seen(line)
			p.signal(signal)
			p.reach("it answered", said)
			p.signal(signal)
			o := p.await().want(130)
			if o.stderr != line || o.stdout != "" { // nothing of an orderly end
				t.Errorf("%s", o)
			}
			if !o.exists(ts.checkpoint()) {
				t.Error("there is no checkpoint")
			}
		})
	}
}

// TestSeedKilled kills the process between two pages. It has six pages in hand at a time: when six Scans are held, after something
// was written, nothing else is under way.
func TestSeedKilled(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 200)
	reached := newEvent()
	var held atomic.Int32
	ts.sourceProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "Scan" || ts.targetProxy.Count("BatchWriteItem") == 0 {
			return nil
		}
		if held.Add(1) == 6 {
			reached.happen()
		}
		<-x.Ctx.Done()
		return &testkit.Response{Cut: true}
	})
	p := start(t, command{args: ts.args("seed", "--segments", "40")})
	p.reach("it was on its way", reached.c)
	p.signal(syscall.SIGKILL)
	o := p.await().want(-1)
	before := len(testkit.ScanAll(t, ts.db, ts.target))
	done := ts.resume(o, "--segments", "40")
	if written := done.object()["items_written"].(float64); before == 0 || written < float64(200-before) {
		t.Errorf("%d items written before, %g after", before, written)
	}
}

// TestSeedKilledInWrite is slow: the keys that were in flight are left until no request can be alive any more. So it also sees
// a status line, where there is no terminal.
func TestSeedKilledInWrite(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	ts := newTables(t, 80)
	late := make(chan *testkit.Exchange, 100)
	writing := newEvent()
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			late <- x
			writing.happen()
			<-x.Ctx.Done()
			return &testkit.Response{Cut: true}
		}
		return nil
	})
	p := start(t, command{args: ts.args("seed", "--segments", "4")})
	p.reach("it wrote", writing.c)
	p.signal(syscall.SIGKILL)
	o := p.await().want(-1)

	// The application deletes an item, the replicator has applied that, and only now a write of the dead process lands.
	x := <-late
	var in struct {
		RequestItems map[string][]struct {
			PutRequest struct {
				Item struct{ ID struct{ S string } }
			}
		}
	}
	if err := json.Unmarshal(x.Body, &in); err != nil {
		t.Fatal(err)
	}
	key := testkit.Item("id", in.RequestItems[ts.target][0].PutRequest.Item.ID.S)
	testkit.Delete(t, ts.db, ts.source, key)
	if status, body, err := x.Forward(); err != nil || status != http.StatusOK {
		t.Fatalf("forward: %d %s %v", status, body, err)
	}
	if testkit.Get(t, ts.db, ts.target, key) == nil {
		t.Fatal("the late write did not bring the item back")
	}
	ts.targetProxy.Use(nil)
	done := ts.resume(o, "--segments", "4")
	rest := `, .*0 throttled, .* RCU/s, .* WCU/s, 4/4 segments\n`
	if want := regexp.MustCompile(`^(seed: waiting [0-9]+ s until lost writes of [0-9]+ items can't land any more` + rest + `|seed: (settling )?[0-9].*` + rest + `)+$`); !want.MatchString(done.stderr) {
		t.Errorf("status lines: %q", done.stderr)
	}
}

func TestSeedFails(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 80)
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			return testkit.Fail(http.StatusBadRequest, "com.amazon.coral.service#AccessDeniedException", "not authorized to perform: dynamodb:BatchWriteItem")
		}
		return nil
	})
	o := ts.run("seed").want(3).says("BatchWriteItem: AccessDeniedException", "run the same command again to go on from the checkpoint "+ts.checkpoint())
	if !o.exists(ts.checkpoint()) {
		t.Error("there is no checkpoint")
	}
	if items := testkit.ScanAll(t, ts.db, ts.target); len(items) > 0 {
		t.Errorf("%d items in the target", len(items))
	}
}

// TestOutputFails ends with a failure if the result can't be written, also if the tables match.
func TestOutputFails(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 5)
	ts.run("seed").want(0)
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip("no /dev/full here:", err)
	}
	t.Cleanup(func() { _ = full.Close() })
	reader, gone, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gone.Close() })
	if err := reader.Close(); err != nil {
		t.Fatal(err)
	}
	for _, output := range []string{"text", "json"} {
		for _, args := range [][]string{{"seed"}, {"seed", "--dry-run"}, {"verify"}, {"replicate", "--until-idle", "1ms"}} {
			args = slices.Concat(args, []string{"--output", output})
			o := start(t, command{args: ts.args(args[0], args[1:]...), stdout: full}).await().want(3).says("write result", "no space left")
			if strings.Count(o.stderr, "write result") != 1 {
				t.Errorf("one failure is said more than once: %s", o)
			}
		}
		start(t, command{args: ts.args("verify", "--output", output), stdout: gone}).await().want(3).says("write result", "broken pipe")
	}
}
