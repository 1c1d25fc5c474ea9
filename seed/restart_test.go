package seed_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// killedInWrite leaves the bench with the checkpoint of a seed that was killed in its first write. The application has deleted one of the
// items, and so has the replicator, before the write landed: the item is back on the target.
func killedInWrite(t *testing.T, b *bench) (gone attrs) {
	t.Helper()
	b.options.Segments = 1
	b.options.RequestTimeout = 400 * time.Millisecond
	gone = testkit.Item("k", "key-00003")
	killed := filepath.Join(t.TempDir(), "as killed.json")
	b.interrupted(func(stop func()) testkit.Hook {
		return func(x *testkit.Exchange) *testkit.Response {
			if x.Op != "BatchWriteItem" {
				return nil
			}
			testkit.Delete(t, b.db, b.options.SourceTable, gone)
			testkit.Delete(t, b.db, b.options.TargetTable, gone)
			if _, _, err := x.Forward(); err != nil {
				t.Error(err)
			}
			data, err := readFile(b.options.Checkpoint)
			if err == nil {
				err = os.WriteFile(killed, data, 0o600)
			}
			if err != nil {
				t.Error(err)
			}
			stop()
			<-x.Ctx.Done()
			return &testkit.Response{Cut: true}
		}
	})
	if testkit.Get(t, b.db, b.options.TargetTable, gone) == nil {
		t.Fatal("the item wasn't brought back: this test forces nothing")
	}
	b.options.Checkpoint = killed
	return gone
}

// Starting over drops the positions of a killed seed, and not the writes that it had under way: they may have brought back an item that
// no Scan of the source sees any more. That holds also if it is stopped and started over again.
func TestRestartAfterKill(t *testing.T) {
	for name, again := range map[string]bool{"once": false, "twice": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, numbered(10))
			killedInWrite(t, b)
			b.options.Restart = true
			if again {
				b.interrupted(stopAt(1))
			}
			r := b.run()
			if r.Resumed || r.ItemsRead != 9 || r.ItemsSettled < 10 || r.SettleReadUnits < 10 && !testkit.Has(testkit.ReadUnitsBySize) {
				t.Errorf("started over: %+v", r)
			}
			b.mustBeEqual()
		})
	}
}

// With other segments or another re-check the refusal's advice is to start over: that is as safe.
func TestRestartAsAdvised(t *testing.T) {
	for name, change := range map[string]func(o *seed.Options){
		"segments": func(o *seed.Options) { o.Segments = 3 },
		"recheck":  func(o *seed.Options) { o.Recheck = seed.RecheckOff },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, numbered(10))
			killedInWrite(t, b)
			change(&b.options)
			b.refused("use --restart to start over")
			b.options.Restart = true
			b.run()
			b.mustBeEqual()
		})
	}
}

// A target that was made anew under its name may still get a write that was under way, and nothing else of the one before.
func TestRestartIntoTargetMadeAnew(t *testing.T) {
	b := newBench(t, numbered(10))
	gone := killedInWrite(t, b)
	if _, err := b.db.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &b.options.TargetTable}); err != nil {
		t.Fatal(err)
	}
	spec := testkit.CreateTable(t, b.db, testkit.TableSpec{Hash: "k:S"}) // for its description
	out, err := b.db.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &spec})
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.db.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &b.options.TargetTable, KeySchema: out.Table.KeySchema, AttributeDefinitions: out.Table.AttributeDefinitions,
		BillingMode: "PAY_PER_REQUEST",
	})
	if err == nil {
		err = dynamodb.NewTableExistsWaiter(b.db).Wait(t.Context(), &dynamodb.DescribeTableInput{TableName: &b.options.TargetTable}, time.Minute)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.options.Encryption = "any"
	b.refused("its target is", "use --restart to start over")
	data, err := readFile(b.options.Checkpoint)
	if err != nil {
		t.Fatal(err)
	}
	data = editedCheckpoint(t, data, func(file map[string]any) { file["doubts"] = []string{"deletes"} }) // which are of the old target
	if err := os.WriteFile(b.options.Checkpoint, data, 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Put(t, b.db, b.options.TargetTable, gone) // the write lands
	b.options.Restart = true
	b.run()
	b.mustBeEqual()
}

// Nobody knows which writes were under way when a seed was killed whose checkpoint is damaged. They end before anything is copied, so
// that none lands on a newer item, and what they brought back is left to verify.
func TestRestartWithDamagedCheckpoint(t *testing.T) {
	b := newBench(t, numbered(10))
	gone := killedInWrite(t, b)
	data, err := readFile(b.options.Checkpoint)
	if err == nil {
		err = os.WriteFile(b.options.Checkpoint, data[:len(data)-5], 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	b.refused("is damaged", "or use --restart and then verify --repair")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	b.options.Restart = true
	if _, err := seed.Run(ctx, b.options); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	b.options.Restart = false // stopped while it waited, it waits again
	b.waitsFirst(func() {
		result, err := seed.Run(t.Context(), b.options)
		if !errors.Is(err, seed.ErrLeftovers) || !strings.Contains(err.Error(), "its writes under way are not known") || result.ItemsRead != 9 {
			t.Errorf("error %v, %+v", err, result)
		}
	})
	b.mustHaveLeft(text(gone["k"]))
}

// waitsFirst expects that what reads nothing of the source for a request's lifetime.
func (b *bench) waitsFirst(what func()) {
	b.t.Helper()
	var scanned atomic.Int64 // how long after the start, in nanoseconds
	start := time.Now()
	b.source.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "Scan" {
			scanned.CompareAndSwap(0, int64(time.Since(start)))
		}
		return nil
	})
	what()
	b.source.Use(nil)
	if after := time.Duration(scanned.Load()); after < 500*time.Millisecond {
		b.t.Errorf("scanned after %s, while a request may be alive for 500 ms", after)
	}
}

// A seed without a re-check doesn't note what it writes, since nobody writes to the source then.
func TestRestartAfterSeedWithoutRecheck(t *testing.T) {
	b := newBench(t, large(60))
	b.options.Segments, b.options.Recheck, b.options.RequestTimeout = 1, seed.RecheckOff, 400*time.Millisecond
	b.interrupted(stopAt(30))
	gone := text(testkit.ScanAll(t, b.db, b.options.TargetTable)[0]["k"])
	testkit.Delete(t, b.db, b.options.SourceTable, testkit.Item("k", gone))
	b.options.Recheck = seed.RecheckAll
	b.refused("its recheck is off", "use --restart to start over")
	b.waitsFirst(func() { b.startOver(59) })
	b.mustHaveLeft(gone)
}

// A key whose write is lost once more while it is settled isn't settled: that write, too, may land late, over something newer.
func TestLostAgainWhileSettled(t *testing.T) {
	b := newBench(t, numbered(10))
	b.options.Segments = 1
	b.options.RequestTimeout = 400 * time.Millisecond
	key := testkit.Item("k", "key-00003")
	everywhere := func(value string) {
		for _, table := range []string{b.options.SourceTable, b.options.TargetTable} {
			testkit.Put(t, b.db, table, testkit.Item("k", "key-00003", "v", value))
		}
	}
	// The writes whose answers are lost: the first one, and the one that settles its key.
	var mu sync.Mutex
	var lost []*testkit.Exchange
	cut := true
	b.target.Use(func(x *testkit.Exchange) *testkit.Response {
		mu.Lock()
		defer mu.Unlock()
		if x.Op != "BatchWriteItem" || !cut {
			return nil
		}
		cut = false
		lost = append(lost, x)
		return &testkit.Response{Cut: true}
	})
	rechecks := 0
	b.source.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchGetItem" {
			return nil
		}
		status, body, err := x.Forward()
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		switch rechecks++; rechecks {
		case 1: // the re-check of the copy: the first lost write lands over something newer, and the next write will be lost, too
			everywhere("newer")
			if _, _, err := lost[0].Forward(); err != nil {
				t.Error(err)
			}
			cut = true
		case 3: // the re-check of the settling: the second one lands over something newer still
			if len(lost) != 2 {
				t.Fatalf("%d writes were lost: this test forces nothing", len(lost))
			}
			testkit.Delete(t, b.db, b.options.SourceTable, key)
			testkit.Delete(t, b.db, b.options.TargetTable, key)
			if _, _, err := lost[1].Forward(); err != nil {
				t.Error(err)
			}
		}
		return &testkit.Response{Status: status, Body: body}
	})
	b.run()
	b.mustBeEqual()
	if rechecks < 4 {
		t.Errorf("%d reads of the source", rechecks)
	}
}
