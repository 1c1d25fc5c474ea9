package main

import (
	"encoding/json"
	"strings"
	"syscall"
	"testing"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TestPrepare prints the templates of all stages, and writes nothing.
func TestPrepare(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 1)
	for stage, resources := range map[string]int{"2": 11, "3": 11, "4": 2} {
		o := ts.run("prepare", "--stage", stage, "--target", "twin").want(0)
		parsed := testkit.ParseTemplate(t, o.stdout)
		if list, _ := parsed["Resources"].(map[string]any); len(list) != resources || o.stderr != "" {
			t.Errorf("stage %s has %d resources: %s", stage, len(list), o.stderr)
		}
		if name := testkit.At(parsed, "Resources", "Target", "Properties", "TableName"); name != "twin" {
			t.Errorf("stage %s: the target is %v", stage, name)
		}
	}
	if o := ts.run("prepare", "--stage", "1").want(0); !strings.Contains(o.stdout, "Nothing is to be changed on the source") {
		t.Errorf("stage 1 is %s", o.stdout)
	}
	var got struct {
		Command, Source, Target, Template string
		Stage                             int
		Notes                             []string
	}
	o := ts.run("prepare", "--output", "json").want(0)
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.Command != "prepare" || got.Source != ts.source || got.Target != ts.target || got.Stage != 2 || len(got.Notes) == 0 {
		t.Errorf("JSON %+v", got)
	}
	if text := ts.run("prepare").want(0).stdout; text != got.Template {
		t.Errorf("the template differs: %s, %s", text, got.Template)
	}
	o.wroteNothing()
	for _, op := range []string{"CreateTable", "UpdateTable", "UpdateTimeToLive", "TagResource", "UntagResource"} {
		if n := ts.sourceProxy.Count(op) + ts.targetProxy.Count(op); n > 0 {
			t.Errorf("%d requests for %s", n, op)
		}
	}
}

// TestPrepareApply makes a target, to which the job then goes; done again, it does nothing.
func TestPrepareApply(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 50)
	streamless := testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S", Index: "v:N"})
	testkit.Fill(t, ts.db, streamless, numbered(50))
	ts.source, ts.target = streamless, streamless+"-twin"
	t.Cleanup(func() {
		_, _ = ts.db.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &ts.target}) // the engine goes with the process, too
	})
	o := ts.run("prepare", "--apply").want(0)
	said := []string{"(created)", "(enabled)", "reseal replicate --source " + ts.source}
	if testkit.Has(testkit.NoBackups) {
		said = append(said, "point-in-time recovery (UnknownOperationException")
	}
	for _, words := range said {
		if !strings.Contains(o.stdout, words) {
			t.Errorf("it doesn't say %q: %s", words, o.stdout)
		}
	}
	if !strings.Contains(o.stderr, "prepare: creating the target") {
		t.Errorf("progress %q", o.stderr)
	}
	ts.run("seed").want(0)
	ts.run("replicate", "--until-idle", "1s").want(0)
	ts.run("verify", "--settle", "1s").want(0)
	ts.mustBeEqual()

	var got struct {
		Command       string
		StreamARN     string `json:"stream_arn"`
		StreamEnabled bool   `json:"stream_enabled"`
		TargetARN     string `json:"target_arn"`
		TargetCreated bool   `json:"target_created"`
		KMSKeyARN     string `json:"kms_key_arn"`
		Notes         []string
	}
	o = ts.run("prepare", "--apply", "--output", "json", "--no-progress").want(0)
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil || o.stderr != "" {
		t.Fatal(err, o.stderr)
	}
	if got.Command != "prepare" || got.StreamEnabled || got.TargetCreated || got.StreamARN == "" || got.TargetARN == "" || got.KMSKeyARN == "" || len(got.Notes) == 0 {
		t.Errorf("JSON %+v", got)
	}
	if n := ts.targetProxy.Count("CreateTable"); n != 1 {
		t.Errorf("%d requests for CreateTable", n)
	}
	if n := ts.sourceProxy.Count("UpdateTable"); n != 1 {
		t.Errorf("%d requests for UpdateTable", n)
	}
}

// TestPrepareFails ends on the way, and says how to go on.
func TestPrepareFails(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 1)
	ts.source = testkit.CreateTable(t, ts.db, testkit.TableSpec{Hash: "id:S", Stream: types.StreamViewTypeNewImage})
	testkit.Put(t, ts.db, ts.source, testkit.Item("id", "a"))
	ts.target = ts.source + "-twin"
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "CreateTable" {
			return testkit.Fail(400, "ResourceInUseException", "Attempt to change a resource which is still in use")
		}
		return nil
	})
	ts.run("prepare", "--apply", "--no-progress").want(3).says("create target", "run the same command again to go on")
	ts.targetProxy.Use(nil)
	ts.run("prepare", "--apply", "--no-progress").want(0)
}

// TestPrepareInterrupted stops while it waits.
func TestPrepareInterrupted(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 1)
	ts.target = ts.source + "-twin"
	waits := make(chan struct{}, 10)
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "DescribeTable" && ts.targetProxy.Count("CreateTable") > 0 {
			waits <- struct{}{}
			<-x.Ctx.Done()
		}
		return nil
	})
	p := start(t, command{args: ts.args("prepare", "--apply", "--no-progress")})
	select {
	case <-waits:
	case <-time.After(patience):
		t.Fatal("it doesn't wait for the target")
	}
	p.signal(syscall.SIGINT)
	p.await().want(130).says("interrupted after waiting until the target is ACTIVE", "run the same command again")
	ts.targetProxy.Use(nil)
	ts.run("prepare", "--apply").want(0)
}
