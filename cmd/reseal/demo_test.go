package main

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"

	"reseal/cmd/internal/demo"
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
	for _, name := range []string{"verify_live", "verify_final"} {
		hasAll(t, object[name].(map[string]any), []string{"match", "source_fingerprint", "target_fingerprint"})
	}
	if !strings.Contains(o.stderr, "seeding table") {
		t.Errorf("no steps: %q", o.stderr)
	}
}

func TestDemoText(t *testing.T) {
	t.Parallel()
	story := demo.Story{Items: 20_000, Encryption: table.EncryptionKMS, Elapsed: 25 * time.Second}
	story.Final = verify.Result{Match: true, SourceItems: 19_900, TargetItems: 19_900, SourceFingerprint: "aa", TargetFingerprint: "aa"}
	story.Seed.ItemsRewritten, story.Naive.Different = 75, 43
	told := func() string {
		t.Helper()
		var out bytes.Buffer
		if err := printStory(&out, story); err != nil {
			t.Fatal(err)
		}
		return out.String()
	}
	for _, part := range []string{
		"VERIFIED MATCH: cities moved into cities-encrypted (KMS-encrypted) in 25 s, while the application went on writing.\n",
		"\n  loaded             20,000 items\n", "\n  re-check caught    75 changes", "\n  a naive copy       had 43 lost updates",
		"\n  source fingerprint aa (19,900 items)\n", "\n  target fingerprint aa (19,900 items)\n",
	} {
		if text := told(); !strings.Contains(text, part) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	story.Live.Missing, story.Encryption = 1, table.EncryptionAny // an item was missing, even if only for a while
	if text := told(); !strings.HasPrefix(text, "NO MATCH: cities moved into cities-encrypted (not encrypted, ") {
		t.Errorf("no match:\n%s", text)
	}
}

func TestDemoInterrupted(t *testing.T) {
	testkit.SkipOn(t, testkit.MiniStack, ownEngine)
	t.Parallel()
	p := start(t, command{args: []string{"demo", "--items", "300"}, home: true})
	p.reach("it seeded", p.err.seen("seeding table"))
	p.signal(syscall.SIGINT)
	if o := p.await().want(130); o.stdout != "" || !strings.HasSuffix(o.stderr, "\nreseal: interrupted\n") {
		t.Errorf("want one more line on stderr, got %s", o)
	}
}
