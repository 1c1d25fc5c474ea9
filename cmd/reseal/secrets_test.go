package main

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"reseal/internal/test/testkit"
)

// What is planted, and must be nowhere but where it belongs.
const (
	plantedKey    = "PLANTED-KEY-5e1f0"
	plantedValue  = "PLANTED-VALUE-77ab3"
	plantedID     = "AKIAPLANTEDACCESSKEY"
	plantedSecret = "PLANTED-SECRET-c04d9"
	plantedToken  = "PLANTED-TOKEN-1b6e2"
)

// quoting is what a service may say: all that it was sent, and what was signed.
const quoting = "no: " + plantedKey + "-3, " + plantedValue + ", the canonical string was x-amz-security-token:" + plantedToken + " for " + plantedID + " " + plantedSecret

// failing answers the nth request for an operation with an error that quotes everything.
func failing(op string, n int64, status int, code string) testkit.Hook {
	var count atomic.Int64
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op == op && count.Add(1) >= n {
			return testkit.Fail(status, "com.amazonaws.dynamodb.v20120810#"+code, quoting)
		}
		return nil
	}
}

// Whatever fails, and whatever the service says of it, neither keys nor items nor credentials are on the terminal or in a log. Keys,
// but no values, are in files, which only their owner can read; credentials are nowhere.
func TestSecrets(t *testing.T) {
	t.Parallel()
	prepared := func(t *testing.T) *tables {
		t.Helper()
		ts := newTables(t, 0)
		ts.target = testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S", Index: "g:N"})
		for i := range 6 { // in the source alone, and by way of the stream
			testkit.Put(t, ts.db, ts.source, testkit.Item("id", plantedKey+"-"+string(rune('0'+i)), "v", plantedValue, "list", []string{plantedValue}))
		}
		testkit.Put(t, ts.db, ts.target, testkit.Item("id", plantedKey+"-0", "v", plantedValue+"!"))
		testkit.Put(t, ts.db, ts.target, testkit.Item("id", plantedKey+"-extra", "v", plantedValue))
		return ts
	}
	type run struct {
		args   []string
		op     string // fails on either side; "": nothing
		nth    int64
		status int
		code   string
		want   int
	}
	seed, resumable := []string{"seed", "--segments", "2"}, []string{"--checkpoint", "checkpoint"}
	replicate := append([]string{"replicate", "--until-idle", "300ms"}, resumable...)
	verify := append([]string{"verify", "--segments", "2", "--settle", "0s", "--report", "report"}, resumable...)
	repair := append([]string{"verify", "--repair", "--settle", "0s"}, resumable...)
	for name, r := range map[string]run{
		"seed":                         {args: seed},
		"seed, signature":              {seed, "DescribeTable", 1, 400, "InvalidSignatureException", 2},
		"seed, scan":                   {seed, "Scan", 1, 400, "ValidationException", 3},
		"seed, no access":              {seed, "BatchGetItem", 1, 400, "AccessDeniedException", 3},
		"seed, every item refused":     {seed, "BatchWriteItem", 1, 400, "ValidationException", 3},
		"seed, bad request":            {seed, "BatchWriteItem", 1, 400, "SerializationException", 3},
		"replicate":                    {args: replicate},
		"replicate, write":             {replicate, "BatchWriteItem", 1, 400, "ValidationException", 3},
		"replicate, write not allowed": {replicate, "BatchWriteItem", 1, 400, "AccessDeniedException", 3},
		"replicate, records":           {replicate, "GetRecords", 1, 400, "ValidationException", 3},
		"replicate, iterator":          {replicate, "GetShardIterator", 1, 400, "ValidationException", 3},
		"replicate, stream":            {replicate, "DescribeStream", 1, 400, "InvalidSignatureException", 2},
		"verify":                       {args: verify, want: 1},
		"verify, scan":                 {verify, "Scan", 2, 400, "ValidationException", 3},
		"verify, get":                  {verify, "BatchGetItem", 1, 400, "ValidationException", 3},
		"verify, configuration":        {verify, "ListTagsOfResource", 1, 400, "ValidationException", 1},
		"repair, write":                {repair, "BatchWriteItem", 1, 400, "ValidationException", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ts := prepared(t)
			if r.op != "" {
				ts.sourceProxy.Use(failing(r.op, r.nth, r.status, r.code))
				ts.targetProxy.Use(failing(r.op, r.nth, r.status, r.code))
			}
			o := start(t, command{args: ts.args(r.args[0], r.args[1:]...), env: []string{
				"AWS_ACCESS_KEY_ID=" + plantedID, "AWS_SECRET_ACCESS_KEY=" + plantedSecret, "AWS_SESSION_TOKEN=" + plantedToken,
			}}).await().want(r.want)
			for _, planted := range []string{plantedKey, plantedValue, plantedID, plantedSecret, plantedToken} {
				if holds(o.stdout, planted) || holds(o.stderr, planted) {
					t.Errorf("%q is printed: %s", planted, o)
				}
			}
			if r.want == 3 && !strings.Contains(o.stderr, r.code) && !o.exists(rejectsOf(ts)) {
				t.Errorf("the reason is nowhere: %s", o)
			}
			o.filesArePrivate()
		})
	}
}

func rejectsOf(ts *tables) string {
	return "reseal-rejects-" + ts.source + "-to-" + ts.target + ".jsonl"
}

// filesArePrivate looks at all that a process left in its folder.
func (o outcome) filesArePrivate() {
	o.t.Helper()
	err := filepath.WalkDir(o.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm() != 0o600 {
			o.t.Errorf("%s has the mode %o", entry.Name(), info.Mode().Perm())
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		forbidden := []string{plantedID, plantedSecret, plantedToken, plantedValue}
		if strings.HasPrefix(entry.Name(), "reseal-rejects-") {
			forbidden = nil // it has the service's own words, which quote all of these here
		}
		for _, planted := range forbidden {
			if holds(string(data), planted) {
				o.t.Errorf("%s holds %q: %s", entry.Name(), planted, data)
			}
		}
		return nil
	})
	if err != nil {
		o.t.Error(err)
	}
}

// holds tells whether the text has what was planted, as it is or in base64, wherever it begins.
func holds(text, planted string) bool {
	if strings.Contains(text, planted) {
		return true
	}
	for skip := range 3 {
		whole := planted[skip : skip+(len(planted)-skip)/3*3]
		if strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(whole))) {
			return true
		}
	}
	return false
}

// The check finds what it looks for.
func TestHolds(t *testing.T) {
	for _, prefix := range []string{"", "1", "12", "123"} {
		data := prefix + plantedKey + "-1"
		if !holds(data, plantedKey) || !holds(`"`+base64.StdEncoding.EncodeToString([]byte(data))+`"`, plantedKey) || holds(data, plantedValue) {
			t.Errorf("prefix %q", prefix)
		}
	}
}
