package testkit

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// going is an application between two tables, behind a proxy.
type going struct {
	*Application
	proxy          *Proxy
	db             *dynamodb.Client
	source, target string
}

func startGoing(t *testing.T, writers, keys int, hook Hook) *going {
	t.Helper()
	g := &going{proxy: NewProxy(t, Engine(t)), db: Client(Engine(t))}
	g.source, g.target = CreateTable(t, g.db, TableSpec{Hash: "id:S"}), CreateTable(t, g.db, TableSpec{Hash: "id:S"})
	g.proxy.Use(hook)
	c := Client(g.proxy.URL)
	g.Application = StartApplication(t, c, c, g.source, g.target, writers, keys, 200)
	return g
}

// until waits for what must come to be.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s does not come", what)
		}
	}
}

func (g *going) wrote(t *testing.T, more int) {
	t.Helper()
	from := g.Writes()
	until(t, "a write", func() bool { return g.Writes() >= from+more })
}

// mentions is whether a write is for the table.
func mentions(x *Exchange, table string) bool { return strings.Contains(string(x.Body), table) }

func denial() *Response {
	return Fail(http.StatusBadRequest, "com.amazon.coral.service#AccessDeniedException", "denied")
}

// copyOver makes the target what the source is.
func (g *going) copyOver(t *testing.T) {
	t.Helper()
	Fill(t, g.db, g.target, ScanAll(t, g.db, g.source))
}

func TestApplicationFindsLostWrites(t *testing.T) {
	g := startGoing(t, 3, 30, nil)
	g.wrote(t, 60)
	for _, op := range []string{"PutItem", "UpdateItem", "DeleteItem"} {
		until(t, op, func() bool { return g.proxy.Count(op) > 0 })
	}
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	if lost := g.Lost(t, g.db); lost != nil {
		t.Fatalf("lost %q", lost)
	}
	if g.Waited() != 0 {
		t.Errorf("waited %s, but nothing was denied", g.Waited())
	}
	items := ScanAll(t, g.db, g.source)
	key := pick(items[0], []string{"id"})
	one := func(what string) {
		t.Helper()
		if lost := g.Lost(t, g.db); len(lost) != 1 {
			t.Errorf("%s: lost %q", what, lost)
		}
	}
	Delete(t, g.db, g.source, key)
	one("an item that is gone")
	Put(t, g.db, g.source, Item("id", key["id"], "written", "0-older"))
	one("an older value")
	Put(t, g.db, g.source, key)
	one("an item without a value")
	Put(t, g.db, g.source, items[0])
	// A key whose last write was a deletion, which chance need not have left.
	g.known["app-deleted"] = &knownKey{may: []string{""}, writer: g.writers[0]}
	if lost := g.Lost(t, g.db); lost != nil {
		t.Errorf("lost %q", lost)
	}
	Put(t, g.db, g.source, Item("id", "app-deleted", "written", "0-0"))
	one("an item that is back after its deletion")
	Put(t, g.db, g.source, Item("id", "app-deleted"))
	one("an item without a value after its deletion")
}

func TestApplicationWaitsWhileDenied(t *testing.T) {
	var fenced atomic.Pointer[string]
	g := startGoing(t, 2, 20, func(x *Exchange) *Response {
		if table := fenced.Load(); table != nil && mentions(x, *table) {
			return denial()
		}
		return nil
	})
	g.wrote(t, 20)
	fenced.Store(&g.source)
	until(t, "a denial", func() bool { return g.Waited() > 0 })
	until(t, "a wait of each writer", func() bool { each := g.WaitedEach(); return min(each[0], each[1]) > 200*time.Millisecond })
	before := g.Writes()
	g.copyOver(t)
	g.GoOverOne(0)
	g.wrote(t, 10)
	overall := g.Waited()
	until(t, "the other one's wait", func() bool { return g.WaitedEach()[1] > overall+100*time.Millisecond })
	g.GoOver()
	g.wrote(t, 20)
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	each := g.WaitedEach()
	if g.Waited() != overall || each[0] < overall-50*time.Millisecond || each[1] < overall+100*time.Millisecond {
		t.Errorf("waited %s, the writers %s; %s when the first had gone over", g.Waited(), each, overall)
	}
	if lost := g.Lost(t, g.db); lost != nil {
		t.Errorf("lost %q", lost)
	}
	if lost := g.LostOn(t, g.db, g.source); len(lost) == 0 || g.Writes() < before+30 {
		t.Errorf("%d writes after %d, and the source has them all", g.Writes(), before)
	}
}

func TestApplicationGoesOverSlowly(t *testing.T) {
	g := startGoing(t, 2, 20, nil)
	g.wrote(t, 20)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.GoOverSlowly(ctx, time.Hour); err == nil {
		t.Error("it did not end with its context")
	}
	g.wrote(t, 20) // the first writer is over, the other isn't
	sides := func() [2]int { g.mu.Lock(); defer g.mu.Unlock(); return [2]int{g.writers[0].side, g.writers[1].side} }
	if sides() != [2]int{1, 0} {
		t.Errorf("sides %v", sides())
	}
	if err := g.GoOverSlowly(t.Context(), time.Millisecond); err != nil || sides() != [2]int{1, 1} {
		t.Errorf("%v, sides %v", err, sides())
	}
	g.GoBack()
	if sides() != [2]int{} {
		t.Errorf("sides %v", sides())
	}
}

// A write that never ends is waited for by nobody: what lasts counts, also after the end.
func TestApplicationThatIsDeniedForGood(t *testing.T) {
	g := startGoing(t, 1, 5, func(*Exchange) *Response { return denial() })
	until(t, "a wait", func() bool { return g.Waited() > 100*time.Millisecond })
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	if a, b := g.Waited(), g.Waited(); a < 100*time.Millisecond || a != b {
		t.Errorf("waited %s and %s", a, b)
	}
}

// What had no answer may have been made, or not, and may still be made: the key stays as it is.
func TestApplicationWithoutAnswers(t *testing.T) {
	var n atomic.Int64
	g := startGoing(t, 2, 40, func(x *Exchange) *Response {
		switch n.Add(1) % 10 {
		case 0: // made, and no answer
			if _, _, err := x.Forward(); err != nil {
				t.Error(err)
			}
			return &Response{Cut: true}
		case 3: // not made, and no answer
			return &Response{Cut: true}
		case 5:
			return Throttle(x.Op)
		case 7:
			return Fail(http.StatusInternalServerError, "com.amazonaws.dynamodb.v20120810#InternalServerError", "")
		}
		return nil
	})
	until(t, "writes without an answer", func() bool { return g.Unknown() >= 15 })
	if err := g.Stop(); err != nil {
		t.Fatal(err)
	}
	if lost := g.Lost(t, g.db); lost != nil {
		t.Errorf("lost %q", lost)
	}
	if g.Waited() != 0 {
		t.Errorf("waited %s, but nothing was denied", g.Waited())
	}
	for key, is := range g.known {
		if len(is.may) > 2 {
			t.Errorf("%s was written again after a write without an answer: %q", key, is.may)
		}
	}
}

func TestApplicationFails(t *testing.T) {
	g := startGoing(t, 1, 5, func(*Exchange) *Response {
		return Fail(http.StatusBadRequest, "com.amazonaws.dynamodb.v20120810#ResourceNotFoundException", "")
	})
	g.running.Wait()
	if err := g.Stop(); err == nil || !strings.Contains(err.Error(), "ResourceNotFoundException") {
		t.Errorf("error %v", err)
	}
}
