package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reseal/internal/test/testkit"
)

// An item whose index key has the wrong type is named in the file of --rejects; the rest is copied, and the exit status is 3.
func TestSeedRejects(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 30)
	ts.target = testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S", Index: "g:N"})
	testkit.Put(t, ts.db, ts.source, testkit.Item("id", `a "bad" one`, "g", "not a number"))
	path := filepath.Join(t.TempDir(), "rejects.jsonl")
	const earlier = "of an earlier run\n"
	if err := os.WriteFile(path, []byte(earlier), 0o644); err != nil {
		t.Fatal(err)
	}
	done := ts.run("seed", "--output", "json", "--rejects", path).want(3)
	if !strings.Contains(done.stderr, "refused") || !strings.Contains(done.stderr, path) || strings.Count(done.stderr, "\n") != 1 {
		t.Errorf("stderr: %s", done)
	}
	has(t, done.object(), map[string]any{"rejected": 1.0, "items_read": 31.0, "items_written": 30.0})
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data, kept := bytes.CutPrefix(data, []byte(earlier))
	if !kept {
		t.Errorf("what the file held is gone: %s", data)
	}
	var reject struct {
		Key    map[string]map[string]string
		Reason string
	}
	if err := json.Unmarshal(data, &reject); err != nil || reject.Key["id"]["S"] != `a "bad" one` || !strings.Contains(reject.Reason, "ValidationException") {
		t.Errorf("%s: %v", data, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if lines := testkit.Diff(t, ts.db, ts.source, ts.db, ts.target); len(lines) != 1 {
		t.Errorf("differences: %q", lines)
	}
	byDefault := ts.run("seed", "--no-progress").want(3)
	if !byDefault.exists("reseal-rejects-" + ts.source + "-to-" + ts.target + ".jsonl") {
		t.Errorf("no file of rejects: %s", byDefault)
	}
}

func TestSeedDryRun(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 200)
	planned := ts.run("seed", "--dry-run", "--output", "json", "--write-units", "50%", "--segments", "auto").want(0)
	planned.wroteNothing()
	object := planned.object()
	has(t, object, map[string]any{
		"dry_run": true, "items": 200.0, "sampled_items": 200.0, "write_units": 200.0, "fits_stream": true,
		"expected_seconds": 200.0 / 2000, "on_demand_dollars": (200*0.625 + object["read_units"].(float64)*0.125) / 1e6,
	})
	dear := ts.run("seed", "--dry-run", "--price-write-million", "1000000", "--price-read-million", "0").want(0)
	if !strings.Contains(dear.stdout, "$200.00") {
		t.Errorf("%s", dear)
	}
	if ts.targetProxy.Count("BatchWriteItem") != 0 {
		t.Error("a dry run writes")
	}
}
