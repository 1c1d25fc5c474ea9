package main

import (
	"syscall"
	"testing"

	"reseal/internal/test/testkit"
)

// A verification that follows ends with a verdict and all figures in JSON; also on a signal, when its scans are done.
func TestFollow(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 10)
	ts.run("seed").want(0)
	got := ts.run("verify", "--follow", "--consistent", "--until-quiet", "1s", "--output", "json").want(0).object()
	for name, want := range map[string]any{
		"match": true, "consistent": true, "open": 0.0, "oldest_open_seconds": 0.0, "looked_at": 0.0, "followed_records": 0.0, "caught_up": true,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	ts.run("verify", "--until-quiet", "1s").want(2).says("give --follow too")
	ts.run("verify", "--follow", "--sample", "50%").want(2).says("--sample")
}

// A key that is open when a signal ends it is no match, and no failure.
func TestFollowEndsOnASignal(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 10)
	ts.run("seed").want(0)
	scanned, looked := newEvent(), newEvent()
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		switch x.Op {
		case "Scan":
			scanned.happen()
		case "BatchGetItem":
			looked.happen()
		}
		return nil
	})
	p := start(t, command{args: ts.args("verify", "--follow", "--segments", "1")})
	p.reach("it scanned", scanned.c)
	testkit.Put(t, ts.db, ts.source, testkit.Item("id", "late", "v", "1"))
	p.reach("it looked at what changed", looked.c)
	p.signal(syscall.SIGTERM)
	p.await().want(1)
}
