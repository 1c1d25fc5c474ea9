package main

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// permissions are the actions that the README's table has for a command.
type permissions struct{ source, stream, target []string }

var actionName = regexp.MustCompile(`\b[A-Z][a-z]+[A-Za-z]+\b`)

// listed reads the README's table. "as prepare" stands for what that command has.
func listed(t *testing.T) map[string]permissions {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(readme), "| command | on the source |")
	if !found {
		t.Fatal("the README has no table of permissions")
	}
	all := map[string]permissions{}
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) != 6 {
			if len(all) > 0 {
				break
			}
			continue
		}
		actions := func(cell string) []string {
			list := actionName.FindAllString(cell, -1)
			switch {
			case strings.Contains(cell, "as retire"):
				list = append(list, all["retire"].source...)
			case strings.Contains(cell, "as prepare"):
				list = append(list, all["prepare"].source...)
			case strings.Contains(cell, "as verify"):
				list = append(list, all["verify"].source...)
			}
			return list
		}
		all[strings.TrimSpace(cells[1])] = permissions{actions(cells[2]), actions(cells[3]), actions(cells[4])}
	}
	return all
}

// asked for by verify and seed --dry-run, which say what they may not know.
var optional = []string{"DescribeTimeToLive", "DescribeContinuousBackups", "ListTagsOfResource"}

// TestPermissions runs the whole job with what the README lists for each command and nothing else.
func TestPermissions(t *testing.T) {
	t.Parallel()
	all := listed(t)
	ts := newTables(t, 0)
	ts.source = testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S", Range: "n:N"})
	ts.target = ts.source + "-twin"
	_, err := ts.db.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName: &ts.source, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ts.db.TagResource(t.Context(), &dynamodb.TagResourceInput{ResourceArn: ts.arn(ts.source), Tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		testkit.Put(t, ts.db, ts.source, testkit.Item("id", "a", "n", i))
	}
	used := map[string]permissions{}
	engines := map[bool]string{false: testkit.Engine(t), true: testkit.NewPolicies(t, map[string]string{"test": operatorARN}).InFront(testkit.Engine(t))}
	run := func(row string, args ...string) {
		t.Helper()
		has, is := all[row]
		if !is {
			t.Fatalf("the README has no permissions for %s", row)
		}
		source, target := map[string][]string{}, map[string][]string{}
		for _, action := range has.source {
			source["dynamodb:"+action] = []string{ts.source}
		}
		for _, action := range has.stream {
			source["dynamodb:"+action] = []string{aws.ToString(ts.stream())}
		}
		for _, action := range has.target {
			target["dynamodb:"+action] = []string{ts.target}
		}
		url := engines[row == "cutover"]
		atSource, atTarget := testkit.NewGuard(t, url, source), testkit.NewGuard(t, url, target)
		name, _, _ := strings.Cut(row, " ")
		start(t, command{env: []string{"AWS_ENDPOINT_URL_STS=" + engines[true]}, args: append([]string{
			name, "--source", ts.source, "--target", ts.target, "--source-endpoint-url", atSource.URL, "--target-endpoint-url", atTarget.URL,
		}, args...)}).await().want(0)
		for _, denied := range append(atSource.Denied(), atTarget.Denied()...) {
			action, _, _ := strings.Cut(strings.TrimPrefix(denied, "dynamodb:"), " ")
			if name == "prepare" || !slices.Contains(optional, action) {
				t.Errorf("%s was denied %s", row, denied)
			}
		}
		used[row] = permissions{
			slices.DeleteFunc(slices.Clone(has.source), func(op string) bool { return atSource.Count(op) > 0 }),
			slices.DeleteFunc(slices.Clone(has.stream), func(op string) bool { return atSource.Count(op) > 0 }),
			slices.DeleteFunc(slices.Clone(has.target), func(op string) bool { return atTarget.Count(op) > 0 }),
		}
	}
	run("prepare --apply", "--apply", "--no-progress")
	for i := range 10 {
		testkit.Put(t, ts.db, ts.source, testkit.Item("id", "b", "n", i))
	}
	run("prepare", "--stage", "2")
	run("seed --dry-run", "--dry-run")
	run("seed", "--segments", "2")
	run("replicate", "--until-idle", "1s")
	run("verify", "--settle", "1s")
	testkit.Delete(t, ts.db, ts.target, testkit.Item("id", "a", "n", 3))
	run("verify --repair", "--repair", "--settle", "1s")
	ts.mustBeEqual()
	run("verify --follow", "--follow", "--until-quiet", "1s")
	run("cutover", "--quiet", "1s", "--watch", "1s", "--replicator-arn", replicatorARN)

	// What a command has and didn't use: on tables such as these, with this engine, and for these reasons.
	unused := map[string]permissions{
		"prepare":         {target: []string{"DescribeTable"}},                                                                                  // provisioned capacity
		"prepare --apply": {target: []string{"TagResource", "UpdateContinuousBackups"}},                                                         // needed by CreateTable with tags; recovery that is on
		"verify":          {source: []string{"BatchGetItem"}, target: []string{"BatchGetItem"}},                                                 // tables that differ
		"verify --follow": {source: []string{"BatchGetItem"}, target: []string{"BatchGetItem"}},                                                 // keys that changed
		"cutover":         {source: []string{"DeleteResourcePolicy", "BatchGetItem"}, target: []string{"DeleteResourcePolicy", "BatchGetItem"}}, // keys that changed; going back
		"seed":            {target: []string{"BatchGetItem"}},                                                                                   // writes whose answer was lost
	}
	for row, got := range used {
		want := unused[row]
		if !slices.Equal(got.source, want.source) || !slices.Equal(got.stream, want.stream) || !slices.Equal(got.target, want.target) {
			t.Errorf("%s didn't use %+v, want %+v", row, got, want)
		}
	}
	wantPolicy(t, all)
}

func (ts *tables) arn(table string) *string {
	ts.t.Helper()
	out, err := ts.db.DescribeTable(ts.t.Context(), &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		ts.t.Fatal(err)
	}
	return out.Table.TableArn
}

func (ts *tables) stream() *string {
	ts.t.Helper()
	out, err := ts.db.DescribeTable(ts.t.Context(), &dynamodb.DescribeTableInput{TableName: &ts.source})
	if err != nil {
		ts.t.Fatal(err)
	}
	return out.Table.LatestStreamArn
}

// wantPolicy expects the operator's policy in the README to be what its table says, taken together.
func wantPolicy(t *testing.T, all map[string]permissions) {
	t.Helper()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "The operator's policy for the whole job:\n\n")
	var policy struct {
		Statement []struct {
			Resource string
			Action   []string
		}
	}
	if err := json.NewDecoder(strings.NewReader(text)).Decode(&policy); err != nil {
		t.Fatalf("the policy in the README: %v", err)
	}
	want := map[string]map[string]bool{"SOURCE": {}, "SOURCE/stream/*": {}, "TARGET": {}}
	for row, has := range all {
		if strings.Contains(row, "Lambda") || strings.HasPrefix(row, "retire") { // who deletes tables is somebody else
			continue
		}
		for of, actions := range map[string][]string{"SOURCE": has.source, "SOURCE/stream/*": has.stream, "TARGET": has.target} {
			for _, action := range actions {
				want[of]["dynamodb:"+action] = true
			}
		}
	}
	want["TARGET"]["dynamodb:UpdateTable"] = true // cutover --keep-back
	for _, action := range optional {             // of verify
		want["SOURCE"]["dynamodb:"+action], want["TARGET"]["dynamodb:"+action] = true, true
	}
	got := map[string][]string{}
	for _, statement := range policy.Statement {
		if _, of, isTable := strings.Cut(statement.Resource, ":table/"); isTable {
			got[of] = statement.Action
		}
	}
	for of, actions := range want {
		if list := slices.Sorted(maps.Keys(actions)); !slices.Equal(got[of], list) {
			t.Errorf("the policy for %s is %q, want %q", of, got[of], list)
		}
	}
}
