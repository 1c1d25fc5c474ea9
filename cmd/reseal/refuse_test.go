package main

import (
	"net"
	"os"
	"path/filepath"
	"testing"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// deadEndpoint returns the URL of a port on which nobody listens.
func deadEndpoint(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return "http://" + listener.Addr().String()
}

// TestBadCommandLine has what is refused before any request is made: the tables need not exist.
func TestBadCommandLine(t *testing.T) {
	t.Parallel()
	unused := deadEndpoint(t)
	on := func(name string, more ...string) []string {
		return append([]string{name, "--source", "a-source", "--target", "a-target", "--endpoint-url", unused}, more...)
	}
	for name, test := range map[string]struct {
		args  []string
		parts []string
	}{
		"unknown command":       {[]string{"bogus"}, []string{`"bogus" is not understood`, `see "reseal --help"`}},
		"unknown, with flag":    {[]string{"nosuch", "--segments", "3"}, []string{`"nosuch" is not understood, there is no such command`, `see "reseal --help"`}},
		"unknown, with help":    {[]string{"nosuch", "--help"}, []string{`"nosuch" is not understood`, `see "reseal --help"`}},
		"help of an unknown":    {[]string{"--help", "nosuch"}, []string{`"nosuch" is not understood`}},
		"command misspelt":      {[]string{"sede", "--source", "a"}, []string{`"sede" is not understood`, `did you mean "seed"?`, `see "reseal --help"`}},
		"command cut short":     {[]string{"repl", "--help"}, []string{`did you mean "replicate"?`}},
		"help of a misspelt":    {[]string{"help", "verfy"}, []string{`did you mean "verify"?`}},
		"flag misspelt":         {on("seed", "--segmets", "3"), []string{"unknown flag: --segmets", "did you mean --segments?", `see "reseal seed --help"`}},
		"flag of one side":      {on("verify", "--source-regoin=x"), []string{"did you mean --source-region?"}},
		"unknown letter":        {on("verify", "-x"), []string{"unknown shorthand flag", `see "reseal verify --help"`}},
		"help of nothing":       {[]string{"help", "bogus"}, []string{`"bogus" is not understood`, `see "reseal --help"`}},
		"positional argument":   {on("seed", "extra"), []string{`"extra" is not understood`, `see "reseal seed --help"`}},
		"argument beside help":  {[]string{"seed", "extra", "--help"}, []string{`"extra" is not understood`, `see "reseal seed --help"`}},
		"argument after help":   {[]string{"verify", "--help", "extra"}, []string{`"extra" is not understood`, `see "reseal verify --help"`}},
		"unknown flag":          {on("verify", "--bogus"), []string{"unknown flag: --bogus: see", `see "reseal verify --help"`}},
		"unknown flag of root":  {[]string{"--bogus"}, []string{"unknown flag: --bogus", `see "reseal --help"`}},
		"flag without value":    {[]string{"seed", "--source"}, []string{"needs an argument: --source", `see "reseal seed --help"`}},
		"retire nothing":        {[]string{"retire"}, []string{"--source is missing"}},
		"unused for less":       {[]string{"retire", "--source", "a-source", "--unused-for", "-1h"}, []string{"--unused-for is -1h0m0s"}},
		"apply, and a way back": {on("prepare", "--apply", "--keep-back"), []string{"--apply deploys no replicator", "leave one of them out"}},
		"no fence's command":    {on("cutover", "--fence", "command"), []string{"--fence-command and --unfence-command", "give both"}},
		"fence of another kind": {on("cutover", "--fence-command", "x"), []string{"add --fence command"}},
		"except without policy": {on("cutover", "--fence", "none", "--fence-except", "arn:aws:iam::123456789012:role/x"), []string{"--fence-except and --deny-reads are of --fence policy"}},
		"abort and finish":      {on("cutover", "--abort", "--finish"), []string{"only one of"}},
		"no quiet":              {on("cutover", "--quiet", "0s"), []string{"--quiet is 0s", "above 0"}},
		"a short hold":          {on("cutover", "--hold", "30s"), []string{"--hold (30s) is not longer than --max-fence (1m0s)"}},
		"a short fence":         {on("cutover", "--max-fence", "10s"), []string{"--max-fence (10s) is too short", "26s or more"}},
		"a time that is none":   {on("cutover", "--at", "tomorrow"), []string{`--at "tomorrow"`, "2026-12-01T03:00:00Z"}},
		"a principal's pattern": {on("cutover", "--replicator-arn", "arn:aws:iam::123456789012:role/*"), []string{"--replicator-arn", "without wildcards"}},
		"no fence":              {on("cutover", "--fence", "wire"), []string{`--fence "wire" is not understood`, "policy or command or none"}},
		"no tables":             {[]string{"seed"}, []string{"--source is missing", "give a table name or ARN"}},
		"no source":             {[]string{"verify", "--target", "a-target"}, []string{"--source is missing"}},
		"no target":             {[]string{"replicate", "--source", "a-source"}, []string{"--target is missing"}},
		"malformed name":        {[]string{"seed", "--source", "a b", "--target", "t"}, []string{`--source "a b" is not`, "3 to 255"}},
		"malformed ARN":         {on("seed", "--source", "arn:aws:dynamodb:eu-west-1:12:table/x"), []string{"--source", "should look like arn:aws:dynamodb:"}},
		"ARN of something else": {on("verify", "--target", "arn:aws:s3:::bucket"), []string{"--target", "should look like arn:aws:dynamodb:"}},
		"malformed endpoint":    {on("seed", "--endpoint-url", "localhost:8000"), []string{`"localhost:8000"`, "should look like http://localhost:8000"}},
		"unknown profile":       {on("seed", "--profile", "nobody"), []string{`profile "nobody" does not exist`}},
		"no segments":           {on("seed", "--segments", "0"), []string{`--segments "0"`, "from 1 to 1,000,000"}},
		"negative segments":     {on("verify", "--segments", "-1"), []string{"segments is -1", "from 1 to 1,000,000"}},
		"too many segments":     {on("seed", "--segments", "1000001"), []string{`--segments "1000001"`, "from 1 to 1,000,000"}},
		"segments in words":     {on("seed", "--segments", "many"), []string{`--segments "many"`, "from 1 to 1,000,000"}},
		"half a segment":        {on("seed", "--segments", "1.5"), []string{`--segments "1.5"`, "from 1 to 1,000,000"}},
		"zero read units":       {on("verify", "--read-units", "0"), []string{`--read-units "0"`, "above 0"}},
		"negative read units":   {on("seed", "--read-units", "-5"), []string{`--read-units "-5"`, "above 0"}},
		"zero write units":      {on("seed", "--write-units", "0"), []string{`--write-units "0"`, "above 0"}},
		"infinite write units":  {on("seed", "--write-units", "inf"), []string{`--write-units "inf"`, "above 0"}},
		"units in words":        {on("seed", "--write-units", "fast"), []string{`--write-units "fast"`, "above 0"}},
		"negative price":        {on("seed", "--dry-run", "--price-write-million", "-1"), []string{`--price-write-million "-1"`, "dollars, 0 or more"}},
		"price in words":        {on("seed", "--dry-run", "--price-read-million", "nan"), []string{`--price-read-million "nan"`, "dollars, 0 or more"}},
		"no memory":             {on("verify", "--max-memory", "0"), []string{`--max-memory "0"`, "such as 256MiB"}},
		"negative memory":       {on("verify", "--max-memory", "-1MiB"), []string{`--max-memory "-1MiB"`, "such as 256MiB"}},
		"memory in words":       {on("verify", "--max-memory", "lots"), []string{`--max-memory "lots"`, "such as 256MiB"}},
		"negative settle":       {on("verify", "--settle", "-1s"), []string{"settle is -1s", "such as 30s"}},
		"settle without unit":   {on("verify", "--settle", "5"), []string{`--settle "5"`, "such as 30s"}},
		"negative idle time":    {on("replicate", "--until-idle", "-1s"), []string{"until-idle is -1s", "such as 10s"}},
		"idle time in words":    {on("replicate", "--until-idle", "soon"), []string{`--until-idle "soon"`, "such as 30s"}},
		"unknown start":         {on("replicate", "--from", "now"), []string{`--from "now"`, "use trim-horizon or latest"}},
		"unknown re-check":      {on("seed", "--recheck", "some"), []string{`--recheck "some"`, "use all or off"}},
		"unknown encryption":    {on("seed", "--encryption", "aes"), []string{`--encryption "aes"`, "use kms or any"}},
		"unknown output":        {on("seed", "--output", "xml"), []string{`--output "xml"`, "use text or json"}},
		"no output":             {on("verify", "--output", ""), []string{`--output ""`, "use text or json"}},
		"unknown poison":        {on("replicate", "--on-poison", "drop"), []string{`--on-poison "drop"`, "use block or dead-letter"}},
		"poison, no queue":      {on("replicate", "--on-poison", "dead-letter"), []string{"--on-poison dead-letter has no queue", "--dead-letter-queue"}},
		"queue of no use":       {on("replicate", "--dead-letter-queue", "x"), []string{"--dead-letter-queue is of no use", "--on-poison dead-letter"}},
		"sample as a number":    {on("verify", "--sample", "1"), []string{`--sample "1"`, "such as 1%"}},
		"all as a sample":       {on("verify", "--sample", "100%"), []string{`--sample "100%"`, "below 100"}},
		"dry run of nothing":    {on("verify", "--dry-run"), []string{"--dry-run", "give --repair too"}},
		"no such stage":         {on("prepare", "--stage", "5"), []string{"--stage is 5", "give 1, 2, 3 or 4"}},
		"stage in words":        {on("prepare", "--stage", "seed"), []string{`--stage "seed"`, "give a whole number"}},
		"stage of an apply":     {on("prepare", "--apply", "--stage", "2"), []string{"--apply makes the target", "leave one of them out"}},
		"prepare's encryption":  {on("prepare", "--encryption", "any"), []string{"unknown flag: --encryption"}},
		"tables far apart":      {on("prepare", "--target-region", "eu-west-1"), []string{"us-east-1 and the target in eu-west-1", "--apply"}},
		"demo's output":         {[]string{"demo", "--output", "xml"}, []string{`--output "xml"`, "use text or json"}},
		"demo's items":          {[]string{"demo", "--items", "0"}, []string{"items is 0", "give 1 or more"}},
		"demo of something":     {[]string{"demo", "cities"}, []string{`"cities" is not understood`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reseal(t, test.args...).want(2).says(test.parts...).wroteNothing()
		})
	}
}

// wroteNothing expects the working folder to be empty.
func (o outcome) wroteNothing() {
	o.t.Helper()
	entries, err := os.ReadDir(o.folder)
	if err != nil {
		o.t.Fatal(err)
	}
	for _, entry := range entries {
		o.t.Errorf("file %s was written", entry.Name())
	}
}

// TestPreflight has what is refused after a look at the tables. Nothing is read from them, let alone written.
func TestPreflight(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 3)
	testkit.Put(t, ts.db, ts.target, testkit.Item("id", "mine"))
	numberKey := testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:N"})
	rangeKey := testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S", Range: "r:S"})
	streamless := testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S"})
	keysOnly := testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S", Stream: types.StreamViewTypeKeysOnly})
	plain := testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S", Plain: true})
	dead := deadEndpoint(t)
	occupied := filepath.Join(t.TempDir(), "occupied")
	if err := os.WriteFile(occupied, []byte("something else\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keyless := []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}

	for name, test := range map[string]struct {
		command string
		flags   []string // they come last, and so go before those of ts
		env     []string
		parts   []string
	}{
		"unknown source":       {"seed", []string{"--source", "no-such"}, nil, []string{`source table "no-such" does not exist`, "check its name, Region and account"}},
		"unknown target":       {"verify", []string{"--target", "no-such"}, nil, []string{`target table "no-such" does not exist`, "check its name"}},
		"same table":           {"seed", []string{"--target", ts.source}, nil, []string{"the same table", "give another --target"}},
		"same table, verify":   {"verify", []string{"--source", ts.target}, nil, []string{"the same table", "give another --target"}},
		"other key type":       {"seed", []string{"--target", numberKey}, nil, []string{"the key schemas differ", "create a target with the source's keys"}},
		"other keys":           {"verify", []string{"--target", rangeKey}, nil, []string{"the key schemas differ", "create a target"}},
		"other keys, stream":   {"replicate", []string{"--target", rangeKey}, nil, []string{"the key schemas differ", "create a target"}},
		"no stream":            {"seed", []string{"--source", streamless}, nil, []string{"has no stream", "enable it with new images"}},
		"no stream, replicate": {"replicate", []string{"--source", streamless}, nil, []string{"has no stream", "enable it with new images"}},
		"KEYS_ONLY stream":     {"seed", []string{"--source", keysOnly}, nil, []string{"KEYS_ONLY", "enable one with NEW_IMAGE"}},
		"plain target":         {"seed", []string{"--target", plain}, nil, []string{"not encrypted with a KMS key", "--encryption any"}},
		"plain, replicate":     {"replicate", []string{"--target", plain}, nil, []string{"not encrypted with a KMS key", "--encryption any"}},
		"plain, verify":        {"verify", []string{"--target", plain}, nil, []string{"not encrypted with a KMS key", "--encryption any"}},
		"dry run, too":         {"seed", []string{"--dry-run", "--target", plain}, nil, []string{"not encrypted with a KMS key", "--encryption any"}},
		"no stack's source":    {"prepare", []string{"--source", "no-such"}, nil, []string{`source table "no-such" does not exist`}},
		"no stack's key":       {"prepare", []string{"--kms-key-id", "mine"}, nil, []string{`--kms-key-id "mine" is not a KMS key`, "alias/NAME"}},
		"twin that differs":    {"prepare", []string{"--apply", "--target", plain}, nil, []string{"is there already and differs", "encryption", "give another --target"}},
		"KEYS_ONLY, apply":     {"prepare", []string{"--apply", "--source", keysOnly, "--target", "not-there"}, nil, []string{"KEYS_ONLY", "disable it"}},
		"dead endpoint":        {"seed", []string{"--source-endpoint-url", dead}, nil, []string{"can't be reached", "check the endpoint URL"}},
		"dead target":          {"verify", []string{"--target-endpoint-url", dead}, nil, []string{"the target table", "can't be reached", "check the endpoint URL"}},
		"no credentials":       {"seed", nil, keyless, []string{"no AWS credentials were found for the source", "set AWS_PROFILE or AWS_ACCESS_KEY_ID"}},
		"no checkpoint folder": {"seed", []string{"--checkpoint", "no/such/c.json"}, nil, []string{"can't be written", "give another --checkpoint"}},
		"no rejects folder":    {"seed", []string{"--rejects", "no/such/r.jsonl"}, nil, []string{"the file for refused items can't be written", "give another --rejects"}},
		"folder of rejects":    {"seed", []string{"--rejects", filepath.Dir(occupied)}, nil, []string{"the file for refused items can't be written", "give another --rejects"}},
		"not a checkpoint":     {"seed", []string{"--checkpoint", occupied, "--restart"}, nil, []string{occupied, "is not the checkpoint of a seed: give another --checkpoint"}},
		"not of replicate":     {"replicate", []string{"--checkpoint", occupied}, nil, []string{occupied, "use --restart to start over, or give another --checkpoint"}},
		"no report folder":     {"verify", []string{"--report", "no/such/r.jsonl"}, nil, []string{"the report can't be written", "give another --report"}},
		"report not begun":     {"verify", []string{"--report", "r.jsonl", "--target", plain}, nil, []string{"not encrypted with a KMS key"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start(t, command{args: ts.args(test.command, test.flags...), env: test.env}).await().want(2).says(test.parts...).wroteNothing()
		})
	}
	t.Cleanup(func() { // when the parallel subtests are done
		for _, op := range []string{"Scan", "BatchGetItem", "BatchWriteItem", "PutItem", "DeleteItem", "GetRecords", "CreateTable", "UpdateTable"} {
			if n := ts.sourceProxy.Count(op) + ts.targetProxy.Count(op); n > 0 {
				t.Errorf("%d requests for %s", n, op)
			}
		}
		if content, err := os.ReadFile(occupied); err != nil || string(content) != "something else\n" {
			t.Errorf("the file that is no checkpoint: %q, %v", content, err)
		}
	})
}

func TestNoRegion(t *testing.T) {
	t.Parallel()
	c := command{args: []string{"seed", "--source", "a-source", "--target", "a-target"}, env: []string{"AWS_REGION"}}
	start(t, c).await().want(2).says("no AWS Region is known for the source", "set AWS_REGION or give --source-region").wroteNothing()
}

// TestRefusedReport keeps the report of an earlier run if a later one is refused.
func TestRefusedReport(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 1)
	folder := t.TempDir()
	path := filepath.Join(folder, "r.jsonl")
	if err := os.WriteFile(path, []byte("earlier\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	verify := func(more ...string) outcome {
		return start(t, command{folder: folder, args: ts.args("verify", append([]string{"--report", "r.jsonl", "--settle", "0s"}, more...)...)}).await()
	}
	verify("--target", "no-such").want(2).says("does not exist")
	if content, err := os.ReadFile(path); err != nil || string(content) != "earlier\n" {
		t.Errorf("after a refusal: %q, %v", content, err)
	}
	ts.run("seed").want(0)
	verify().want(0)
	info, err := os.Stat(path)
	if err != nil || info.Size() != 0 || info.Mode() != 0o600 {
		t.Errorf("after a match: %v, %v", info, err)
	}
}
