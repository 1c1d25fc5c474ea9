package main

import (
	"regexp"
	"syscall"
	"testing"

	"reseal/internal/test/testkit"
)

// replicateFields are those of the contract.
var replicateFields = []string{"command", "source", "target", "records", "puts", "deletes", "coalesced", "elapsed_seconds"}

// change makes three changes to the source, two of them to one key.
func (ts *tables) change() {
	ts.t.Helper()
	testkit.Put(ts.t, ts.db, ts.source, testkit.Item("id", "item-00000", "v", "first"))
	testkit.Put(ts.t, ts.db, ts.source, testkit.Item("id", "item-00000", "v", "second"))
	testkit.Delete(ts.t, ts.db, ts.source, testkit.Item("id", "item-00001"))
}

func TestReplicate(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 10)
	ts.run("seed").want(0)
	ts.change()
	ts.run("verify", "--settle", "0s").want(1)

	o := ts.run("replicate", "--until-idle", "500ms", "--output", "json").want(0)
	if o.stderr != "" {
		t.Errorf("stderr: %s", o)
	}
	o.wroteNothing() // no checkpoint unless it is asked for
	object := o.object()
	hasAll(t, object, replicateFields)
	has(t, object, map[string]any{
		"command": "replicate", "source": ts.source, "target": ts.target, "records": 3.0, "puts": 1.0, "deletes": 1.0, "coalesced": 1.0,
	})
	ts.mustBeEqual()
	ts.run("verify").want(0)

	// What is applied already may be applied again.
	text := ts.run("replicate", "--until-idle", "500ms").want(0)
	if want := regexp.MustCompile(`(?s)^Replicated \S+ to \S+\.\n  records +3\n  puts +1\n  deletes +1\n`); !want.MatchString(text.stdout) {
		t.Errorf("text: %s", text)
	}
	ts.mustBeEqual()
}

// TestReplicateInterrupted stops it when the next page is read: the one before is applied.
func TestReplicateInterrupted(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			ts := newTables(t, 10)
			ts.run("seed").want(0)
			ts.change()
			pages, held := make(chan struct{}, 1), newEvent()
			ts.sourceProxy.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op != "GetRecords" {
					return nil
				}
				select {
				case pages <- struct{}{}: // the first page passes
					return nil
				default:
				}
				held.happen()
				<-x.Ctx.Done()
				return &testkit.Response{Cut: true}
			})
			args := ts.args("replicate", "--checkpoint", "r.json")
			p := start(t, command{args: args})
			p.reach("it read on", held.c)
			p.signal(signal)
			o := p.await().want(130).says("interrupted after 3 records; run the same command again to go on from the checkpoint r.json")
			if !o.exists("r.json") {
				t.Error("there is no checkpoint")
			}
			ts.mustBeEqual()

			ts.sourceProxy.Use(nil)
			testkit.Put(t, ts.db, ts.source, testkit.Item("id", "item-00002", "v", "third"))
			again := start(t, command{folder: o.folder, args: append(args, "--until-idle", "500ms", "--output", "json")}).await().want(0)
			has(t, again.object(), map[string]any{"resumed": true, "records": 1.0, "puts": 1.0, "deletes": 0.0})
			ts.mustBeEqual()
		})
	}
}
