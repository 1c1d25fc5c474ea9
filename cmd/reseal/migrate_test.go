package main

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// newMove is a source with an application, and nothing else yet: no stream, no target.
func newMove(t *testing.T, items int, rate float64) *migration {
	t.Helper()
	m := &migration{tables: newTables(t, 1), folder: t.TempDir()}
	m.source = testkit.CreateTable(t, m.db, testkit.TableSpec{Hash: "id:S"})
	m.target = m.source + "-twin"
	testkit.Fill(t, m.db, m.source, numbered(items))
	t.Cleanup(func() {
		_, _ = m.db.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &m.target}) // the engine goes with the process, too
	})
	m.policies = testkit.NewPolicies(t, map[string]string{"OPERATOR": operatorARN, "WRITER": writerARN})
	m.policies.SetTimes(testkit.PolicyTimes{Block: testkit.UpdateBlock})
	m.sourceProxy, m.targetProxy = m.policies.Proxy(testkit.Engine(t), nil), m.policies.Proxy(testkit.Engine(t), nil)
	m.application = testkit.StartApplication(t, testkit.ClientAs(m.sourceProxy.URL, "WRITER"), testkit.ClientAs(m.targetProxy.URL, "WRITER"), m.source, m.target, 5, 100, rate)
	return m
}

// move starts a migration with usual flags and others.
func (m *migration) move(more ...string) *process {
	return start(m.t, command{folder: m.folder, env: []string{"AWS_ACCESS_KEY_ID=OPERATOR"}, args: m.args("migrate", append([]string{"--state", "move", "--output", "json"}, more...)...)})
}

// fast are flags of a cutover that doesn't wait long.
func fast(more ...string) []string {
	return append([]string{"--quiet", "3s", "--watch", "3s"}, more...)
}

// The whole job in one command, beside a live application: each stage can be the last of a run, and what is done is not done again.
func TestMigrate(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	m := newMove(t, 2_000, 50)
	got := m.move("--until", "seed").await().want(0).object()
	has(t, got, map[string]any{"stage": "seed", "verdict": "", "cutover": nil})
	if seeded, _ := got["seed"].(map[string]any); seeded["items_written"].(float64) < 2_000 {
		t.Errorf("the seed is %v", got["seed"])
	}
	if prepared, _ := got["prepare"].(map[string]any); prepared["target_created"] != true || prepared["stream_enabled"] != true {
		t.Errorf("prepared %v", got["prepare"])
	}
	got = m.move(fast("--until", "follow")...).await().want(0).object()
	has(t, got, map[string]any{"stage": "follow", "verdict": "", "prepare": nil, "seed": nil})
	if policy := m.policies.Text(m.source); policy != "" {
		t.Errorf("it has fenced: %s", policy)
	}
	o := m.move(fast("--on-ready", m.hook())...).await().want(0)
	got = o.object()
	has(t, got, map[string]any{"stage": "cutover", "verdict": "go", "seed": nil})
	cut, _ := got["cutover"].(map[string]any)
	has(t, cut, map[string]any{"verdict": "go", "fence": "permanent", "stragglers": 0.0})
	m.lostNothing()
	if waited := m.application.Waited(); waited > 20*time.Second {
		t.Errorf("the application waited %s", waited)
	}
	t.Logf("waited %s", m.application.Waited())

	// It is done, and says so again: nothing is replicated any more, which would write older items over newer ones.
	testkit.Put(t, m.db, m.target, testkit.Item("id", "item-00001", "v", "of the application"))
	o = m.move(fast()...).await().want(0)
	has(t, o.object(), map[string]any{"verdict": "go"})
	if strings.Contains(o.stderr, "replicating") {
		t.Errorf("it replicates: %s", o)
	}
	item := testkit.Get(t, m.db, m.target, testkit.Item("id", "item-00001"))
	if v, is := item["v"].(*types.AttributeValueMemberS); !is || v.Value != "of the application" {
		t.Errorf("the target has %v", item)
	}
}

// A migration whose hook fails lets the application go on with the source, and replicates on when it is run again.
func TestMigrateGoesBack(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	m := newMove(t, 100, 30)
	o := m.move(fast("--keep-back", "--on-ready", "exit 7")...).await().want(1)
	has(t, o.object(), map[string]any{"verdict": "back", "stage": "cutover"})
	m.cleared()
	m.move(fast("--finish")...).await().want(2).says("no cutover has come to its verdict")
	has(t, m.move(fast("--on-ready", m.hook())...).await().want(0).object(), map[string]any{"verdict": "go", "seed": nil})
	m.lostNothing()
}

// Killed at any moment and run again, again and again, it ends with both tables equal, and nothing of the application's is lost.
// With RESEAL_LONG=1 it is killed thirty times.
func TestMigrateKilled(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	kills := 4
	if os.Getenv("RESEAL_LONG") != "" {
		kills = 30
	}
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0)) //nolint:gosec // not for secrets
	m := newMove(t, 3_000, 50)
	hook := m.hook()
	for n := range kills {
		after := time.Duration(random.Int64N(int64(40 * time.Second)))
		p := m.move(fast("--write-units", "400", "--on-ready", hook)...)
		select {
		case <-p.ended:
			if o := p.await(); o.status != 0 {
				t.Fatalf("run %d: %s", n, o)
			}
			continue
		case <-time.After(after): // the moment of the kill is what is drawn
		}
		p.signal(syscall.SIGKILL)
		o := p.await()
		t.Logf("kill %d after %s: %s", n, after, lastLine(o.stderr))
	}
	has(t, m.move(fast("--on-ready", hook)...).await().want(0).object(), map[string]any{"verdict": "go"})
	m.lostNothing()
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// What the migration rests on is checked: another table of the same name, a folder of another migration, a second one at once, and a
// replication that has missed something.
func TestMigrateRefusals(t *testing.T) {
	t.Parallel()
	m := newMove(t, 50, 20)
	if testkit.EngineName() == testkit.Dynoxide {
		o := reseal(t, "migrate", "--source", m.source, "--target", m.target+"-2", "--endpoint-url", testkit.Engine(t), "--state", filepath.Join(t.TempDir(), "move"), "--no-progress")
		o.want(2).says("knows no resource policies", "--fence command")
	}
	m.run("migrate").want(2).says("--state is missing")
	m.move("--until", "seed", "--on-ready", "true").await().want(2).says("--until seed ends before a cutover")
	m.move("--replicator", "lambda").await().want(2).says("target")
	m.move("--until", "seed").await().want(0)

	// Without the replication's checkpoint nothing tells that it has missed nothing: the seed starts over.
	if err := os.Remove(filepath.Join(m.folder, "move", "replicate.json")); err != nil {
		t.Fatal(err)
	}
	o := m.move("--until", "seed").await().want(0)
	if got := o.object(); got["seed"] == nil || !strings.Contains(o.stderr, "starting over") {
		t.Errorf("it did not start over: %s", o)
	}
	p := m.move("--until", "seed", "--replicator", "lambda")
	p.await().want(2).says("no Lambda reads the stream", "leave --replicator out")

	if err := m.application.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := m.db.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &m.target}); err != nil {
		t.Fatal(err)
	}
	testkit.CreateTable(t, m.db, testkit.TableSpec{Name: m.target, Hash: "id:S"})
	m.move("--until", "seed").await().want(2).says("is of a migration from", "give another --state")
}
