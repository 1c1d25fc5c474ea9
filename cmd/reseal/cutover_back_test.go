package main

import (
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"reseal/internal/test/testkit"
)

const backARN = "arn:aws:iam::123456789012:role/back"

// reversed is the migration with its tables' roles swapped.
func (m *migration) reversed() *migration {
	tables := *m.tables
	tables.source, tables.target = m.target, m.source
	tables.sourceProxy, tables.targetProxy = m.targetProxy, m.sourceProxy
	back := *m
	back.tables = &tables
	return &back
}

// replicateAs starts a tailer as a user of its own.
func (m *migration) replicateAs(key string, more ...string) *process {
	return start(m.t, command{
		args: m.args("replicate", append([]string{"--no-progress", "--give-up", "5m", "--encryption", "any"}, more...)...), env: []string{"AWS_ACCESS_KEY_ID=" + key},
	})
}

// cutTo is a cutover of the way back, or forth again, which has to be done.
func (m *migration) cutTo(replicator, except, hook string) map[string]any {
	m.t.Helper()
	o := m.cut("--keep-back", "--encryption", "any", "--strict-except", "encryption", "--replicator-arn", replicator, "--fence-except", except, "--on-ready", hook).await().want(0)
	got := o.object()
	has(m.t, got, map[string]any{"verdict": "go", "fence": "permanent", "stragglers": 0.0})
	if !strings.Contains(o.stderr, "for a way back, replicate from the target to the source") {
		m.t.Errorf("it doesn't say how to keep the way back: %s", o)
	}
	return got
}

// A live application goes over, back, and over again, each time within seconds, and nothing that was acknowledged is lost.
func TestThereAndBackAndThereAgain(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	m := newMigration(t, 200, 50)
	back := m.reversed()
	stop := func(p *process) {
		p.signal(syscall.SIGTERM)
		p.await().want(exitInterrupted)
	}

	m.cutTo(replicatorARN, backARN, m.hookBy("1", m.application.GoOver))
	// As long as one direction is on, the other one is refused.
	back.replicateAs("BACK", "--until-idle", "1s").await().want(2).says("the other direction is on", "end it first")
	stop(m.replicator)
	replicates := make(chan struct{})
	begun := sync.OnceFunc(func() { close(replicates) })
	m.policies.Admitted(func(caller string, x *testkit.Exchange) {
		if caller == backARN && x.Op == "BatchWriteItem" {
			begun()
		}
	})
	returning := back.replicateAs("BACK")
	returning.reach("it replicates", replicates)
	m.replicateAs("REPLICATOR", "--until-idle", "1s").await().want(2).says("the other direction is on")

	back.cutTo(backARN, replicatorARN, m.hookBy("2", m.application.GoBack))
	if text := m.policies.Text(m.source); strings.Contains(text, "ResealFence") || !strings.Contains(text, "ResealStop") {
		t.Errorf("the policy of the table that is in use again: %s", text)
	}
	if text := m.policies.Text(m.target); !strings.Contains(text, "ResealFence") || strings.Contains(text, "ResealStop") {
		t.Errorf("the policy of the table that was left: %s", text)
	}
	stop(returning)
	m.replicator = m.replicateAs("REPLICATOR")

	m.cutTo(replicatorARN, backARN, m.hookBy("3", m.application.GoOver))
	m.lostNothing()
	if waited := m.application.Waited(); waited > 40*time.Second {
		t.Errorf("the application waited %s", waited)
	}
	t.Logf("waited %s at the most", m.application.Waited())
}

// A way back that can't be proven leaves the table that was left as it was: closed for good, but for who replicates to it.
func TestWayBackGoesBack(t *testing.T) {
	t.Parallel()
	testkit.SkipIf(t, testkit.Slow)
	m := newMigration(t, 50, 30)
	m.cutTo(replicatorARN, backARN, m.hookBy("1", m.application.GoOver))
	was := m.policies.Text(m.source)
	m.replicator.signal(syscall.SIGTERM)
	m.replicator.await()
	back := m.reversed()
	returning := back.replicateAs("BACK")
	flags := []string{"--keep-back", "--encryption", "any", "--strict-except", "encryption", "--fence-except", replicatorARN}

	// Who replicates is not whom the fence lets through, and nothing else shows whose it is: it is somebody else's.
	m.policies.Put(m.target, `{"Version":"2012-10-17","Statement":[{"Sid":"Mine","Effect":"Allow","Principal":"*","Action":"dynamodb:GetItem","Resource":"*"}]}`)
	back.cut(append(flags, "--replicator-arn", writerARN)...).await().want(2).says("another cutover may be under way", "ResealFence")
	flags = append(flags, "--replicator-arn", backARN)

	// After the stop, by a hook that fails; and before it, killed, and ended by a signal.
	has(t, back.cut(append(flags, "--on-ready", "exit 7")...).await().want(1).object(), map[string]any{"verdict": "back", "fence": "lifted"})
	if now := m.policies.Text(m.source); now != was {
		t.Errorf("the policy is\n%s, and was\n%s", now, was)
	}
	returning.signal(syscall.SIGTERM) // a process of a test may take a minute and a half
	returning.await()
	returning = back.replicateAs("BACK")
	p := back.cut(flags...)
	p.reach("it stops the replicator", p.err.seen(" stop: "))
	p.signal(syscall.SIGKILL)
	p.await()
	p = back.cut(append(flags, "--postpone", back.folder)...)
	p.reach("it waits", p.err.seen("waiting, as asked for"))
	p.signal(syscall.SIGTERM)
	p.await().want(exitInterrupted)
	if now := m.policies.Text(m.source); now != was {
		t.Errorf("the policy is\n%s, and was\n%s", now, was)
	}
	returning.signal(syscall.SIGTERM)
	returning.await()
	m.lostNothing()
}
