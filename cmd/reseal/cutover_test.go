package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

const (
	operatorARN   = "arn:aws:sts::123456789012:assumed-role/operator/session"
	replicatorARN = "arn:aws:iam::123456789012:role/path/replicator"
	writerARN     = "arn:aws:iam::123456789012:role/application"
)

// cutting is a migration that has come to its cutover: seeded, with a replicator of a user of its own and an application that writes.
type migration struct {
	*tables
	policies    *testkit.Policies
	application *testkit.Application
	replicator  *process
	folder      string
}

// newMigration seeds so many items, and begins to replicate and to write.
func newMigration(t *testing.T, items int, rate float64) *migration {
	t.Helper()
	m := &migration{tables: newTables(t, items), folder: t.TempDir()}
	m.policies = testkit.NewPolicies(t, map[string]string{"OPERATOR": operatorARN, "REPLICATOR": replicatorARN, "BACK": backARN, "WRITER": writerARN})
	m.policies.SetTimes(testkit.PolicyTimes{Block: testkit.UpdateBlock})
	m.sourceProxy = m.policies.Proxy(testkit.Engine(t), nil)
	m.targetProxy = m.policies.Proxy(testkit.Engine(t), nil)
	m.startReplicator()
	m.run("seed").want(0)
	writer := testkit.ClientAs(m.sourceProxy.URL, "WRITER")
	onTarget := testkit.ClientAs(m.targetProxy.URL, "WRITER")
	m.application = testkit.StartApplication(t, writer, onTarget, m.source, m.target, 5, 100, rate)
	return m
}

func (m *migration) startReplicator() {
	m.replicator = start(m.t, command{args: m.args("replicate", "--no-progress", "--give-up", "5m"), env: []string{"AWS_ACCESS_KEY_ID=REPLICATOR"}})
}

// cut starts a cutover with usual flags and others.
func (m *migration) cut(more ...string) *process {
	return start(m.t, command{
		folder: m.folder, env: []string{"AWS_ACCESS_KEY_ID=OPERATOR"},
		args: m.args("cutover", append([]string{"--quiet", "3s", "--watch", "5s", "--replicator-arn", replicatorARN, "--output", "json"}, more...)...),
	})
}

// hook is a command for --on-ready that has the application go over.
func (m *migration) hook() string { return m.hookBy("", m.application.GoOver) }

// hookBy is a command for --on-ready that does something, once.
func (m *migration) hookBy(name string, over func()) string {
	m.t.Helper()
	ready, done := filepath.Join(m.folder, "ready"+name), filepath.Join(m.folder, "over"+name)
	ended := make(chan struct{})
	stop := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
			if _, err := os.Stat(ready); err == nil {
				over()
				if err := os.WriteFile(done, nil, 0o600); err != nil {
					m.t.Error(err)
				}
				return
			}
		}
	}()
	m.t.Cleanup(func() { close(stop); <-ended })
	return "echo going over >&2; touch " + ready + "; while [ ! -e " + done + " ]; do sleep 0.02; done"
}

// lostNothing ends the application.
func (m *migration) lostNothing() {
	m.t.Helper()
	if err := m.application.Stop(); err != nil {
		m.t.Error(err)
	}
	for _, one := range m.application.Lost(m.t, m.db) {
		m.t.Error("lost: " + one)
	}
}

// cleared expects no statement of reseal's in either policy.
func (m *migration) cleared() {
	m.t.Helper()
	for _, table := range []string{m.source, m.target} {
		if text := m.policies.Text(table); strings.Contains(text, "Reseal") {
			m.t.Errorf("the policy of %s has %s", table, text)
		}
	}
}

// A live application goes over: it waits for seconds, and nothing that was acknowledged is lost. The source stays closed, and the replicator's
// writes are refused. With RESEAL_LONG=1 the table has a million items, and writers wait for no longer.
func TestCutover(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	items, most := 15_000, 20*time.Second // beside other tests, with the race detector
	if os.Getenv("RESEAL_LONG") != "" {
		items, most = 1_000_000, 15*time.Second
	}
	m := newMigration(t, items, 150)
	m.policies.SetTimes(testkit.PolicyTimes{Effect: 2 * time.Second, Flap: time.Second, Read: time.Second, Block: testkit.UpdateBlock})
	o := m.cut("--on-ready", m.hook()).await().want(0)
	got := o.object()
	has(t, got, map[string]any{"verdict": "go", "ready": true, "fence": "permanent", "stragglers": 0.0, "why": ""})
	m.lostNothing()
	waited, told := m.application.Waited(), got["writes_refused_seconds"].(float64)
	if waited < 3*time.Second || waited > most || told < waited.Seconds()-0.5 || told > most.Seconds()+1 {
		t.Errorf("the application waited %s, and %.2f s are told", waited, told)
	}
	t.Logf("waited %s, told %.2f s, relooked %v, steps %v", waited, told, got["relooked"], got["steps"])
	for _, want := range []string{"ResealFence", "going over"} {
		if !strings.Contains(o.stderr+m.policies.Text(m.source), want) {
			t.Errorf("no %q in %s, policy %s", want, o, m.policies.Text(m.source))
		}
	}
	if text := m.policies.Text(m.target); !strings.Contains(text, replicatorARN) || strings.Contains(text, "operator") || strings.Contains(text, "DateLessThan") {
		t.Errorf("the target's policy is %s", text)
	}
	m.cut().await().want(0) // it is done, and says so again
	m.policies.Put(m.source, `{"Version":"2012-10-17","Statement":[{"Sid":"Mine","Effect":"Allow","Principal":"*","Action":"dynamodb:GetItem","Resource":"*"}]}`)
	has(t, m.cut().await().want(0).object(), map[string]any{"verdict": "go"}) // also when somebody has taken the fence away
}

// What keeps a cutover from being proven has everything put back, and the application goes on.
func TestCutoverGoesBack(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	for name, spoil := range map[string]func(m *migration) []string{
		"a writer outside IAM": func(m *migration) []string {
			m.policies.Outside("WRITER")
			return []string{"--max-fence", "32s"}
		},
		"a policy that takes effect too late": func(m *migration) []string {
			m.policies.Late(time.Hour, 0)
			return []string{"--max-fence", "26s"}
		},
		"a replication that stands still": func(m *migration) []string {
			return []string{"--max-fence", "26s", "--fence-except", replicatorARN}
		},
		"a hook that fails, with nothing written": func(m *migration) []string {
			return []string{"--keep-back", "--on-ready", "exit 7"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, 100, 50)
			other := `{"Version":"2012-10-17","Statement":{"Sid":"Mine","Effect":"Allow","Principal":"*","Action":"dynamodb:GetItem","Resource":"*"}}`
			m.policies.Put(m.source, other)
			p := m.cut(spoil(m)...)
			if strings.Contains(name, "stands still") {
				p.reach("the fence", p.err.seen(" fence: "))
				m.replicator.signal(syscall.SIGSTOP)
			}
			o := p.await()
			if strings.Contains(name, "stands still") {
				m.replicator.signal(syscall.SIGCONT)
			}
			o.want(1)
			has(t, o.object(), map[string]any{"verdict": "back", "fence": "lifted"})
			m.cleared()
			if text := m.policies.Text(m.source); !strings.Contains(text, `"Mine"`) {
				t.Errorf("what others had in the policy is gone: %s", text)
			}
			m.cut("--finish").await().want(2).says("no cutover has come to its verdict")
			m.lostNothing()
		})
	}
}

// A difference ends it before anything is fenced.
func TestCutoverFindsADifference(t *testing.T) {
	t.Parallel()
	m := newMigration(t, 100, 10)
	testkit.Delete(t, m.db, m.target, testkit.Item("id", "item-00000"))
	o := m.cut().await().want(1)
	has(t, o.object(), map[string]any{"verdict": "back", "fence": "none", "ready": false})
	if m.policies.Denied("WRITER") > 0 {
		t.Error("a writer was denied")
	}
}

// A hook that fails when the target has been written to leaves the fence for somebody to decide.
func TestCutoverIsHeld(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	m := newMigration(t, 100, 50)
	// One writer goes over, and then the hook fails.
	p := m.cut("--keep-back", "--on-ready", m.hook()+"; sleep 2; exit 1")
	o := p.await().want(3)
	has(t, o.object(), map[string]any{"verdict": "held", "fence": "held", "ready": true})
	if text := m.policies.Text(m.source); !strings.Contains(text, "ResealFence") {
		t.Errorf("the fence is gone: %s", text)
	}
	o = m.cut("--finish").await().want(0)
	has(t, o.object(), map[string]any{"verdict": "go", "fence": "permanent"})
	m.lostNothing()
}

// A cutover that is killed leaves a fence that ends by itself, and the next run takes it away and goes on.
func TestCutoverKilled(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	for _, step := range []string{"fence", "prove", "drain", "stop", "ready", "hook", "permanent", "watch"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, 100, 50)
			hook := m.hook()
			p := m.cut("--on-ready", hook)
			p.reach(step, p.err.seen(" "+step+": "))
			p.signal(syscall.SIGKILL)
			p.await()
			has(t, m.cut("--on-ready", hook).await().want(0).object(), map[string]any{"verdict": "go", "fence": "permanent", "stragglers": 0.0, "why": ""})
			m.lostNothing()
		})
	}
}

// Two cutovers at once: on this machine by the state file, and elsewhere by the statement in the policy.
func TestTwoCutovers(t *testing.T) {
	t.Parallel()
	m := newMigration(t, 10, 10)
	postponed := filepath.Join(m.folder, "postponed")
	if err := os.WriteFile(postponed, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := m.cut("--postpone", postponed)
	p.reach("it waits", p.err.seen("waiting, as asked for"))
	m.cut().await().want(2).says("another cutover uses the state file")
	p.signal(syscall.SIGTERM)
	p.await().want(exitInterrupted)
	m.policies.Put(m.source, `{"Version":"2012-10-17","Statement":[{"Sid":"ResealFenceother","Effect":"Deny","Principal":"*","Action":"dynamodb:PutItem","Resource":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"x"}}}]}`)
	m.cut().await().want(2).says("another cutover may be under way", "ResealFenceother", "--abort")
}

// --abort puts everything back after a kill at any step before the verdict, if it is asked for in the way of that run.
func TestCutoverAborted(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	for _, step := range []string{"fence", "prove", "drain", "stop", "ready"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, 100, 50)
			m.cut("--abort").await().want(2).says("there is no cutover")
			p := m.cut()
			p.reach(step, p.err.seen(" "+step+": "))
			p.signal(syscall.SIGKILL)
			p.await()
			m.cut("--abort", "--fence", "none").await().want(2).says("fenced by policy", "give the same flags")
			has(t, m.cut("--abort").await().want(0).object(), map[string]any{"verdict": "aborted", "fence": "lifted"})
			m.cleared()
			m.lostNothing()
		})
	}
}

// An engine without policies is refused by name, and served by commands: the writers are refused by the application's own switch.
func TestCutoverByCommand(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	ts := newTables(t, 100)
	m := &migration{tables: ts, folder: t.TempDir()}
	m.startReplicator()
	m.run("seed").want(0)
	m.application = testkit.StartApplication(t, ts.db, ts.db, m.source, m.target, 2, 20, 20)
	if testkit.EngineName() == testkit.Dynoxide {
		o := reseal(t, m.args("cutover", "--replicator-stop-command", "true")...)
		o.want(2).says("knows no resource policies", "--fence command", "GetResourcePolicy")
	}
	// The application has no switch of its own here: it is stopped, which the stream shows.
	if err := m.application.Stop(); err != nil {
		t.Fatal(err)
	}
	stopped := filepath.Join(m.folder, "stopped")
	p := start(t, command{folder: m.folder, args: m.args(
		"cutover", "--fence", "command", "--fence-command", "echo $RESEAL_STEP $RESEAL_SOURCE >fenced", "--unfence-command", "echo unfenced >unfenced",
		"--replicator-stop-command", "touch "+stopped+"; while [ -e "+stopped+" ]; do sleep 0.02; done",
		"--on-ready", "echo $RESEAL_STATE >over", "--quiet", "2s", "--max-fence", "2m", "--watch", "1s", "--output", "json",
	)})
	p.reach("the replicator is stopped", p.err.seen(" stop: "))
	m.replicator.signal(syscall.SIGTERM)
	m.replicator.await()
	for {
		if err := os.Remove(stopped); err == nil {
			break
		}
		select {
		case <-p.ended:
			t.Fatal(p.await())
		case <-time.After(10 * time.Millisecond):
		}
	}
	has(t, p.await().want(0).object(), map[string]any{"verdict": "go", "fence": "permanent"})
	text, err := os.ReadFile(filepath.Join(m.folder, "fenced"))
	if err != nil || string(text) != "fence "+m.source+"\n" {
		t.Errorf("the fence's command saw %q (%v)", text, err)
	}
	m.lostNothing()
}

// The plan has the exact statements, and changes nothing.
func TestCutoverPlan(t *testing.T) {
	t.Parallel()
	m := newMigration(t, 10, 10)
	o := m.cut("--dry-run", "--fence-except", writerARN, "--deny-reads").await().want(0)
	got := o.object()
	has(t, got, map[string]any{"verdict": "plan"})
	statements, _ := got["statements"].(map[string]any)
	before, _ := statements["source, before the verdict"].(map[string]any)
	if before["Effect"] != "Deny" || before["Condition"] == nil || len(statements) != 4 {
		t.Errorf("the plan is %s", o)
	}
	m.cleared()
	if o.exists("reseal-cutover-" + m.source + "-to-" + m.target + ".json") {
		t.Error("it has left a state file")
	}
	m.cut("--fence-except", "arn:aws:iam::123456789012:role/operator").await().want(2).says("--fence-except lets", "run it as somebody else")
	if err := m.application.Stop(); err != nil {
		t.Error(err)
	}
}

// What is denied to the operator is said with the action and what to do: before anything is fenced, or with everything put back.
func TestCutoverDenied(t *testing.T) {
	t.Parallel()
	const message = "User: SECRET is not authorized to perform: dynamodb:%s on resource: arn:aws:dynamodb:us-east-1:123456789012:table/TABLE because no identity-based policy allows it"
	for _, c := range []struct {
		op       string
		onTarget bool
		status   int
	}{
		{"DescribeTable", false, 2},
		{"DescribeTable", true, 2},
		{"GetResourcePolicy", false, 2},
		{"GetResourcePolicy", true, 2},
		{"UpdateItem", false, 2},
		{"UpdateItem", true, 2},
		{"DescribeStream", false, 2},
		{"Scan", false, 3},
		{"Scan", true, 3},
		{"PutResourcePolicy", false, 1},
		{"PutResourcePolicy", true, 1},
	} {
		t.Run(fmt.Sprintf("%s on the target %t", c.op, c.onTarget), func(t *testing.T) {
			t.Parallel()
			ts := newTables(t, 3)
			ts.run("seed").want(0)
			policies := testkit.NewPolicies(t, map[string]string{"test": operatorARN})
			ts.sourceProxy, ts.targetProxy = policies.Proxy(testkit.Engine(t), nil), policies.Proxy(testkit.Engine(t), nil)
			denying := ts.sourceProxy
			if c.onTarget {
				denying = ts.targetProxy
			}
			policies.Deny(denying, c.op, fmt.Sprintf(message, c.op))
			o := ts.run("cutover", "--quiet", "1s", "--max-fence", "26s", "--watch", "0s", "--no-progress", "--replicator-arn", replicatorARN)
			o.want(c.status)
			if !strings.Contains(o.stderr, "dynamodb:"+c.op) && !strings.Contains(o.stderr, c.op+":") || strings.Contains(o.stderr, "SECRET") {
				t.Errorf("want the action %s and no secret: %s", c.op, o)
			}
			for _, table := range []string{ts.source, ts.target} {
				if text := policies.Text(table); text != "" {
					t.Errorf("the policy of %s has %s", table, text)
				}
			}
		})
	}
}

// An operator who is cut off while writers are refused can do nothing, and needn't: the fence ends by itself. One whose credentials have
// expired, and are renewed, puts everything back as soon as they are.
func TestCutoverCutOff(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	for name, c := range map[string]struct {
		response *testkit.Response
		lasts    time.Duration
		cleared  bool
	}{
		"no network":          {&testkit.Response{Cut: true}, time.Hour, false},
		"expired credentials": {testkit.Fail(400, "com.amazon.coral.service#ExpiredTokenException", "expired"), 8 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := newMigration(t, 100, 50)
			p := m.cut("--max-fence", "26s")
			p.reach("the drain", p.err.seen(" drain: "))
			began := time.Now()
			for _, proxy := range []*testkit.Proxy{m.sourceProxy, m.targetProxy} {
				proxy.Use(func(x *testkit.Exchange) *testkit.Response {
					if x.AccessKey() == "OPERATOR" && time.Since(began) < c.lasts {
						return c.response
					}
					return nil
				})
			}
			o := p.await().want(1)
			has(t, o.object(), map[string]any{"verdict": "back"})
			if c.cleared {
				m.cleared()
			} else if !strings.Contains(o.stderr, "ended by itself") || !strings.Contains(o.stderr, "--abort takes it out") {
				t.Errorf("nothing is said of what is left: %s", o)
			}
			m.lostNothing()
			if waited := m.application.Waited(); waited > 32*time.Second {
				t.Errorf("the application waited %s", waited)
			}
		})
	}
}

// A table that was made anew while it was compared, or fenced, is not the one that was proven.
func TestCutoverOfAnotherTable(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	m := newMigration(t, 10, 20)
	p := m.cut("--max-fence", "26s")
	p.reach("the stop", p.err.seen(" stop: "))
	if err := m.application.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := m.db.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &m.target}); err != nil {
		t.Fatal(err)
	}
	testkit.CreateTable(t, m.db, testkit.TableSpec{Name: m.target, Hash: "id:S"})
	has(t, p.await().want(1).object(), map[string]any{"verdict": "back"})
}

// A write that comes to the source after the verdict is told with its key, and what the target has.
func TestCutoverStraggler(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	m := newMigration(t, 100, 20)
	p := m.cut("--on-ready", m.hook(), "--watch", "8s")
	p.reach("it watches", p.err.seen(" watch: "))
	testkit.Put(t, m.db, m.source, testkit.Item("id", "item-00001", "v", "late"))
	testkit.Put(t, m.db, m.source, testkit.Item("id", "nobody knew", "v", 1))
	o := p.await().want(3)
	has(t, o.object(), map[string]any{"verdict": "go", "stragglers": 2.0, "fence": "permanent"})
	for _, want := range []string{`STRAGGLER: a write of {"id":{"S":"item-00001"}}`, "the target has another item", "the target has no item"} {
		if !strings.Contains(o.stderr, want) {
			t.Errorf("no %q in %s", want, o)
		}
	}
	m.cut().await().want(3) // it stays so
	m.lostNothing()
}
