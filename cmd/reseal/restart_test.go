package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"reseal/internal/test/testkit"
)

// TestSeedLeftovers starts over where the checkpoint is damaged: everything is copied, and what can't be known is said, with the remedy,
// and is no success.
func TestSeedLeftovers(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 80)
	reached, _ := ts.halfway()
	p := start(t, command{args: ts.args("seed", "--segments", "4", "--checkpoint", "c.json")})
	p.reach("it was half-way", reached.c)
	p.signal(syscall.SIGINT)
	o := p.await().want(130).says("that were begun are read again")
	ts.sourceProxy.Use(nil)
	path := filepath.Join(o.folder, "c.json")
	data, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, bytes.Replace(data, []byte(`"items":`), []byte(`"items":1`), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	run := func(flags ...string) outcome {
		return start(t, command{folder: o.folder, args: ts.args("seed", append(flags, "--segments", "4", "--checkpoint", "c.json", "--output", "json")...)}).await()
	}
	run().want(2).says("c.json\" is damaged", "use --restart and then verify --repair")
	done := run("--restart").want(3)
	if !strings.Contains(done.stderr, "everything is copied, but the target may hold items that the source no longer has") || !strings.Contains(done.stderr, "run verify --repair\n") {
		t.Errorf("%s", done)
	}
	if object := done.object(); object["items_done"] != 80.0 || len(object["doubts"].([]any)) != 1 {
		t.Errorf("%v", object)
	}
	if strings.Contains(done.stderr, "run the same command again") || done.exists("c.json") {
		t.Errorf("%s", done)
	}
	ts.mustBeEqual()
}

// TestSeedOverTargetMadeAnew has the target replaced while a seed runs: it fails, and doesn't advise to go on.
func TestSeedOverTargetMadeAnew(t *testing.T) {
	t.Parallel()
	for _, recheck := range []string{"all", "off"} {
		t.Run(recheck, func(t *testing.T) {
			t.Parallel()
			ts := newTables(t, 20)
			made := regexp.MustCompile(`"TableId": *"[^"]*"`)
			var looks atomic.Int64
			ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op != "DescribeTable" || looks.Add(1) == 1 {
					return nil
				}
				status, answer, err := x.Forward()
				if err != nil || !made.Match(answer) {
					t.Errorf("%s, %v", answer, err)
				}
				return &testkit.Response{Status: status, Body: made.ReplaceAll(answer, []byte(`"TableId":"another"`))}
			})
			o := ts.run("seed", "--recheck", recheck).want(3).says("a table changed under the run", ts.target)
			if o.stdout != "" || strings.Contains(o.stderr, "run the same command again") || !o.exists(ts.checkpoint()) {
				t.Errorf("%s", o)
			}
		})
	}
}
