package seed_test

import (
	"bytes"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/seed"
)

// The races that lose data, each forced at the one moment where it does its harm. The test plays the application, and the
// replicator too: it brings every change to the target at once. Without the re-check each must end with wrong data (or the test
// would force nothing), with it each must end right.
func TestRaces(t *testing.T) {
	key := testkit.Item("k", "key-00003")
	value := func(v string) attrs { return testkit.Item("k", "key-00003", "v", v) }
	races := map[string]func(b *bench){
		"lost update": func(b *bench) {
			b.beforeFirstWrite(func() {
				testkit.Put(b.t, b.db, b.options.SourceTable, value("newer"))
				testkit.Put(b.t, b.db, b.options.TargetTable, value("newer"))
			})
		},
		"lost update, attribute removed": func(b *bench) {
			b.beforeFirstWrite(func() {
				testkit.Put(b.t, b.db, b.options.SourceTable, key)
				testkit.Put(b.t, b.db, b.options.TargetTable, key)
			})
		},
		"resurrection": func(b *bench) {
			b.beforeFirstWrite(func() {
				testkit.Delete(b.t, b.db, b.options.SourceTable, key)
				testkit.Delete(b.t, b.db, b.options.TargetTable, key)
			})
		},
		"stale read": func(b *bench) {
			testkit.Put(b.t, b.db, b.options.SourceTable, value("fresh"))
			testkit.Put(b.t, b.db, b.options.TargetTable, value("fresh"))
			b.source.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op != "Scan" {
					return nil
				}
				status, body, err := x.Forward()
				if err != nil {
					b.t.Error(err)
				}
				return &testkit.Response{Status: status, Body: bytes.ReplaceAll(body, []byte(`"fresh"`), []byte(`"stale"`))}
			})
		},
		"stale read of an item that is gone": func(b *bench) {
			var old atomic.Pointer[[]byte]
			b.source.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op != "Scan" {
					return nil
				}
				if old.Load() == nil {
					_, body, err := x.Forward()
					if err != nil {
						b.t.Error(err)
					}
					old.Store(&body)
					testkit.Delete(b.t, b.db, b.options.SourceTable, key)
				}
				return &testkit.Response{Status: 200, Body: *old.Load()}
			})
		},
	}
	for name, force := range races {
		for _, recheck := range []string{seed.RecheckAll, seed.RecheckOff} {
			t.Run(name+", recheck "+recheck, func(t *testing.T) {
				b := newBench(t, numbered(10))
				b.options.Segments = 1
				b.options.Recheck = recheck
				force(b)
				r := b.run()
				lines := b.diff()
				if recheck == seed.RecheckOff {
					if lines == nil {
						t.Error("the race did no harm without the re-check: this test forces nothing")
					}
					return
				}
				if lines != nil {
					t.Errorf("the tables differ: %q", lines)
				}
				if r.ItemsRewritten != 1 {
					t.Errorf("%d items rewritten, want 1", r.ItemsRewritten)
				}
			})
		}
	}
}

// beforeFirstWrite holds the first write of the seed back until what is done.
func (b *bench) beforeFirstWrite(what func()) {
	var once sync.Once
	b.target.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			once.Do(what)
		}
		return nil
	})
}

// A key that changes whenever it is looked at doesn't keep the seed from ending, and ends as the replicator leaves it.
func TestHotKey(t *testing.T) {
	b := newBench(t, numbered(10))
	b.options.Segments = 1
	hot := func(n int64) attrs { return testkit.Item("k", "key-00003", "v", fmt.Sprintf("change %d", n)) }
	var changes atomic.Int64
	b.source.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchGetItem" {
			testkit.Put(t, b.db, b.options.SourceTable, hot(changes.Add(1)))
		}
		return nil
	})
	r := b.run()
	if n := r.ItemsRewritten; n != 1 {
		t.Errorf("%d writes for a key that never stands still, want 1", n)
	}
	testkit.Put(t, b.db, b.options.TargetTable, hot(changes.Load())) // the replicator, with the last record of the key
	b.mustBeEqual()
}

// A write whose answer was lost is carried out late: after the re-check, and after the replicator brought a newer value.
func TestLateWrite(t *testing.T) {
	for name, newer := range map[string]func(b *bench){
		"over an update": func(b *bench) {
			for _, table := range []string{b.options.SourceTable, b.options.TargetTable} {
				testkit.Put(b.t, b.db, table, testkit.Item("k", "key-00003", "v", "newer"))
			}
		},
		"over a delete": func(b *bench) {
			for _, table := range []string{b.options.SourceTable, b.options.TargetTable} {
				testkit.Delete(b.t, b.db, table, testkit.Item("k", "key-00003"))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, numbered(10))
			b.options.Segments = 1
			b.options.RequestTimeout = 400 * time.Millisecond
			var late atomic.Pointer[testkit.Exchange]
			b.target.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op == "BatchWriteItem" && late.CompareAndSwap(nil, x) {
					return &testkit.Response{Cut: true}
				}
				return nil
			})
			var once sync.Once
			b.source.Use(func(x *testkit.Exchange) *testkit.Response {
				if x.Op != "BatchGetItem" {
					return nil
				}
				status, body, err := x.Forward()
				once.Do(func() { // the re-check has its answer; now the world goes on
					newer(b)
					if _, _, err := late.Load().Forward(); err != nil {
						t.Error(err)
					}
				})
				if err != nil {
					t.Error(err)
				}
				return &testkit.Response{Status: status, Body: body}
			})
			r := b.run()
			b.mustBeEqual()
			if r.ItemsRewritten != 1 {
				t.Errorf("%d items rewritten, want 1", r.ItemsRewritten)
			}
		})
	}
}
