package main

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"

	"reseal/cmd/internal/demo"
	"reseal/internal/cutover"
	"reseal/internal/table"
	"reseal/internal/test/testkit"
	"reseal/verify"
)

const ownEngine = "the demo starts an engine of its own, always the other one"

// TestDemo has the demo start an engine of its own: its tables have fixed names.
func TestDemo(t *testing.T) {
	testkit.SkipOn(t, testkit.MiniStack, ownEngine)
	t.Parallel()
	o := start(t, command{args: []string{"demo", "--items", "300", "--output", "json"}, home: true}).await().want(0)
	object := o.object()
	has(t, object, map[string]any{"command": "demo", "match": true, "items": 300.0})
	hasAll(t, object["seed"].(map[string]any), []string{"items_read", "items_written", "items_rechecked", "items_rewritten"})
	hasAll(t, object["verify_final"].(map[string]any), []string{"match", "source_fingerprint", "target_fingerprint"})
	has(t, object["cutover"].(map[string]any), map[string]any{"verdict": "go", "stragglers": 0.0})
	has(t, object, map[string]any{"lost": 0.0})
	for _, step := range []string{"seeding", "having the writers go over"} {
		if !strings.Contains(o.stderr, step) {
			t.Errorf("no step %q: %q", step, o.stderr)
		}
	}
}

func TestDemoText(t *testing.T) {
	t.Parallel()
	story := demo.Story{Items: 20_000, Encryption: table.EncryptionKMS, Elapsed: 25 * time.Second}
	story.Final = verify.Result{Match: true, SourceItems: 19_900, TargetItems: 19_900, SourceFingerprint: "aa", TargetFingerprint: "aa"}
	story.Seed.ItemsRewritten, story.Naive.Different = 75, 43
	story.Cutover.Verdict, story.Cutover.RefusedSeconds, story.Final.ElapsedSeconds, story.After = cutover.VerdictGo, 3.5, 0.5, 300
	told := func() string {
		t.Helper()
		var out bytes.Buffer
		if err := printStory(&out, story); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for _, part := range []string{
		"VERIFIED MATCH: cities moved into cities-encrypted (KMS-encrypted) in 25 s, and the application went over.\n",
		"\n  loaded             20,000 items\n", "\n  re-check caught    75 changes", "\n  a naive copy       had 43 lost updates",
		"\n  source fingerprint aa (19,900 items)\n", "\n  target fingerprint aa (19,900 items)\n",
	} {
		if text := told(); !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	for _, part := range []string{"writes waited 3.5 s, 0.5 s of it for a comparison", "a thousand times as large 8m20s, beside the same 3.0 s", "300 writes; of all that were acknowledged, none of them lost"} {
		if text := told(); !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	story.Lost, story.Encryption = 1, table.EncryptionAny
	if text := told(); !strings.HasPrefix(text, "NO MATCH: cities moved into cities-encrypted (not encrypted, ") {
		t.Errorf("no match:\n%s", text)
	}
}

func TestDemoInterrupted(t *testing.T) {
	testkit.SkipOn(t, testkit.MiniStack, ownEngine)
	t.Parallel()
	p := start(t, command{args: []string{"demo", "--items", "300"}, home: true})
	p.reach("it seeded", p.err.seen("seeding"))
	p.signal(syscall.SIGINT)
	if o := p.await().want(130); o.stdout != "" || !strings.HasSuffix(o.stderr, "\nreseal: interrupted\n") {
		t.Errorf("want one more line on stderr, got %s", o)
	}
}
