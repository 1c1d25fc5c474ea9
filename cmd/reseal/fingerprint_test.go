package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"reseal/internal/test/testkit"
)

// printOf runs the command on one table.
func (ts *tables) printOf(c command, table string, more ...string) outcome {
	ts.t.Helper()
	url := ts.sourceProxy.URL
	if table == ts.target {
		url = ts.targetProxy.URL
	}
	c.args = append([]string{"fingerprint", "--table", table, "--endpoint-url", url}, more...)
	return start(ts.t, c).await()
}

// The fingerprints are those that verify prints; keyed ones agree if the secrets do, however they are given.
func TestFingerprint(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 20)
	ts.run("seed").want(0)
	want := ts.run("verify", "--output", "json").want(0).object()
	object := ts.printOf(command{}, ts.source, "--output", "json").want(0).object()
	hasAll(t, object, []string{"read_units", "throttled", "elapsed_seconds", "as_of", "expired_by", "time_to_live"})
	has(t, object, map[string]any{
		"command": "fingerprint", "table": ts.source, "items": 20.0, "keyed": false, "expired": 0.0, "fingerprint": want["source_fingerprint"],
	})

	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "secret"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keyed := func(table, secret string) string {
		t.Helper()
		c := command{folder: folder, env: []string{"THE_SECRET=s3cret", "OTHER=another"}}
		o := ts.printOf(c, table, "--output", "json", "--segments", "7", "--key-secret", secret).want(0)
		if strings.Contains(o.stdout+o.stderr, "s3cret") {
			t.Errorf("the secret is shown: %s", o)
		}
		has(t, o.object(), map[string]any{"keyed": true, "items": 20.0})
		return o.object()["fingerprint"].(string)
	}
	one := keyed(ts.source, "s3cret")
	for table, secret := range map[string]string{ts.source: "@secret", ts.target: "env:THE_SECRET"} {
		if got := keyed(table, secret); got != one {
			t.Errorf("%s: %s, want %s", secret, got, one)
		}
	}
	if other := keyed(ts.source, "env:OTHER"); other == one || one == object["fingerprint"] {
		t.Errorf("the fingerprint doesn't depend on the secret: %s, %s", one, other)
	}

	text := ts.printOf(command{}, ts.target, "--read-units", "50%", "--ignore-expired=false").want(0)
	pattern := `(?s)^  table +` + regexp.QuoteMeta(ts.target) + `\n  items +20\n  fingerprint +` + want["target_fingerprint"].(string) + `\n  expired +0 \(left out, by no attribute as of .*Z; time to live: off\)\n`
	if !regexp.MustCompile(pattern).MatchString(text.stdout) || text.stderr != "" {
		t.Errorf("text: %s", text)
	}
}

func TestFingerprintRefused(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 1)
	for name, test := range map[string]struct {
		flags []string
		parts []string
	}{
		"no table":        {[]string{"--table", ""}, []string{"--table is missing", "give a table name or ARN"}},
		"unknown table":   {[]string{"--table", "no-such"}, []string{`the table "no-such" does not exist`}},
		"no segments":     {[]string{"--segments", "0"}, []string{"segments is 0"}},
		"no secret":       {[]string{"--key-secret", ""}, []string{"the secret is empty"}},
		"no variable":     {[]string{"--key-secret", "env:NO_SUCH"}, []string{"the secret is empty"}},
		"no file":         {[]string{"--key-secret", "@no-such"}, []string{"the file of --key-secret can't be read", "no-such"}},
		"no time":         {[]string{"--as-of", "yesterday"}, []string{`--as-of "yesterday" is not understood`, "2026-03-01T12:00:00Z"}},
		"a word too much": {[]string{"cities"}, []string{`"cities" is not understood`}},
		"bad endpoint":    {[]string{"--endpoint-url", "nowhere"}, []string{"endpoint URL"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"fingerprint", "--table", ts.source, "--endpoint-url", ts.sourceProxy.URL}, test.flags...)
			reseal(t, args...).want(2).says(test.parts...)
		})
	}
	c := command{args: []string{"fingerprint", "--table", "a-table"}, env: []string{"AWS_REGION"}}
	start(t, c).await().want(2).says("no AWS Region is known for the table", "give --region")
	c = command{args: []string{"fingerprint", "--table", "a-table"}, env: []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}}
	start(t, c).await().want(2).says("no AWS credentials were found for the table", "or give --profile")
}

func TestFingerprintFails(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 20)
	ts.sourceProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" && segmentOf(x) == 7 {
			return testkit.Fail(400, "com.amazon.coral.service#AccessDeniedException", "not authorized")
		}
		return nil
	})
	ts.printOf(command{}, ts.source).want(3).says("AccessDeniedException")
}
