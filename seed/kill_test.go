package seed_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/seed"
)

// processVariable holds the job of a test binary that is to seed and nothing else.
const processVariable = "RESEAL_SEED_TEST_JOB"

// processJob is what a seed in a process of its own is told.
type processJob struct {
	SourceURL, Source, TargetURL, Target, Checkpoint string
	Recheck                                          string
	Segments                                         int
	RequestTimeout                                   time.Duration
}

// seedByItself carries out the job and returns the exit status.
func seedByItself(text string) int {
	var job processJob
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	result, err := seed.Run(context.Background(), seed.Options{
		Source: testkit.Client(job.SourceURL), SourceTable: job.Source, Target: testkit.Client(job.TargetURL), TargetTable: job.Target,
		Segments: job.Segments, Checkpoint: job.Checkpoint, RequestTimeout: job.RequestTimeout, Recheck: job.Recheck, StreamAge: -1,
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(result.Resumed)
	return 0
}

// victim is a process that is killed when it makes a certain request. Its proxies are its own, so that nothing of it is taken
// for its successor's.
type victim struct {
	b              *bench
	source, target *testkit.Proxy
	recheck        string
	cmd            *exec.Cmd
	out            bytes.Buffer

	mu      sync.Mutex
	left    int  // requests until it is killed; negative: it is spared
	scanned int  // items that its Scans have brought
	landed  bool // it was killed in a write, which landed after its death
}

const killPage = 8 // items of a page

func newVictim(b *bench, requests int) *victim {
	v := &victim{b: b, left: requests, source: testkit.NewProxy(b.t, testkit.Engine(b.t)), target: testkit.NewProxy(b.t, testkit.Engine(b.t))}
	v.source.Use(v.hook)
	v.target.Use(v.hook)
	return v
}

// run runs a seed until its death or its end.
func (v *victim) run(checkpoint string, segments int) {
	v.b.t.Helper()
	self, err := os.Executable()
	if err != nil {
		v.b.t.Fatal(err)
	}
	job, err := json.Marshal(processJob{
		SourceURL: v.source.URL, Source: v.b.options.SourceTable, TargetURL: v.target.URL, Target: v.b.options.TargetTable,
		Checkpoint: checkpoint, Segments: segments, RequestTimeout: 600 * time.Millisecond, Recheck: v.recheck,
	})
	if err != nil {
		v.b.t.Fatal(err)
	}
	v.cmd = exec.CommandContext(v.b.t.Context(), self)
	v.cmd.Env = append(os.Environ(), processVariable+"="+string(job), "GORACE=atexit_sleep_ms=0")
	v.cmd.Stdout, v.cmd.Stderr = &v.out, &v.out
	v.mu.Lock()
	err = v.cmd.Start()
	v.mu.Unlock()
	if err != nil {
		v.b.t.Fatal(err)
	}
	_ = v.cmd.Wait() // ProcessState tells
}

func (v *victim) killed() bool { return v.cmd.ProcessState.Sys().(syscall.WaitStatus).Signaled() }

// end waits for what was under way at the victim's death, and returns how many items its Scans have brought, and whether a write
// landed after its death.
func (v *victim) end() (scanned int, landed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.scanned, v.landed
}

func (v *victim) hook(x *testkit.Exchange) *testkit.Response {
	if x.Op == "DescribeTable" {
		return nil
	}
	v.mu.Lock()
	left := v.left
	if left > 0 {
		v.left--
	}
	if left == 1 {
		v.kill(x)
	}
	v.mu.Unlock()
	if left == 0 || left == 1 {
		return &testkit.Response{Cut: true}
	}
	if x.Op == "Scan" {
		x.Body = limitedTo(killPage, x.Body)
	}
	status, answer, err := x.Forward()
	if err != nil {
		v.b.t.Error(err)
		return &testkit.Response{Cut: true}
	}
	if x.Op == "Scan" && x.Ctx.Err() == nil {
		var page struct{ Count int }
		if err := json.Unmarshal(answer, &page); err != nil {
			v.b.t.Error(err)
		}
		v.mu.Lock()
		v.scanned += page.Count
		v.mu.Unlock()
	}
	return &testkit.Response{Status: status, Body: answer}
}

// limitedTo is a Scan request for so many items.
func limitedTo(items int, body []byte) []byte {
	request := map[string]any{}
	if err := json.Unmarshal(body, &request); err != nil {
		panic(err)
	}
	request["Limit"] = items
	limited, err := json.Marshal(request)
	if err != nil {
		panic(err)
	}
	return limited
}

// kill kills the process. If it is just writing, the application deletes an item of the batch, which the replicator has applied
// when the batch lands; without a re-check the batch lands, and no more, since nobody else writes then.
func (v *victim) kill(x *testkit.Exchange) {
	if err := v.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		v.b.t.Error(err)
	}
	if x.Op != "BatchWriteItem" {
		return
	}
	var in struct {
		RequestItems map[string][]struct {
			PutRequest struct {
				Item struct {
					K struct{ S string } `json:"k"`
				}
			}
		}
	}
	if err := json.Unmarshal(x.Body, &in); err != nil {
		v.b.t.Error(err)
		return
	}
	if v.recheck == seed.RecheckOff {
		if _, _, err := x.Forward(); err != nil {
			v.b.t.Error(err)
		}
		v.landed = true
		return
	}
	gone := testkit.Item("k", in.RequestItems[v.b.options.TargetTable][0].PutRequest.Item.K.S)
	testkit.Delete(v.b.t, v.b.db, v.b.options.SourceTable, gone)
	testkit.Delete(v.b.t, v.b.db, v.b.options.TargetTable, gone)
	if _, _, err := x.Forward(); err != nil {
		v.b.t.Error(err)
	}
	if testkit.Get(v.b.t, v.b.db, v.b.options.TargetTable, gone) == nil {
		v.b.t.Error("the item wasn't brought back: this test forces nothing")
	}
	v.landed = true
}

// A process that is killed again and again, at one request or another, loses nothing, copies at most one page of each segment again
// each time, and leaves nothing behind. It may have read the page after that, too, of which the checkpoint doesn't know yet.
func TestKillNine(t *testing.T) {
	const segments, items = 3, 240
	b := newBench(t, numbered(items))
	folder := t.TempDir()
	kills, scanned, landed := 0, 0, 0
	for _, requests := range []int{1, 9, 14, 20, 17, -1} {
		v := newVictim(b, requests)
		v.run(filepath.Join(folder, "checkpoint.json"), segments)
		more, late := v.end()
		scanned += more
		if late {
			landed++
		}
		if v.killed() {
			kills++
		} else if v.out.String() != "true\n" {
			t.Fatalf("%s: %s", v.cmd.ProcessState, v.out.String())
		}
	}
	b.mustBeEqual()
	t.Logf("killed %d times, %d times in a write; %d items read of %d", kills, landed, scanned, items)
	if most := items + 2*kills*segments*killPage; kills != 5 || scanned > most || scanned < items-landed {
		t.Errorf("killed %d times; %d items read, want at most %d", kills, scanned, most)
	}
	entries, err := os.ReadDir(folder)
	for _, entry := range entries {
		t.Errorf("%s is left (%v)", entry.Name(), err)
	}
}

// Without a re-check the checkpoint is written now and then only: what was copied since is copied again, and nothing is left out.
func TestKillNineWithoutRecheck(t *testing.T) {
	b := newBench(t, numbered(240))
	checkpoint := filepath.Join(t.TempDir(), "checkpoint.json")
	kills := 0
	for _, requests := range []int{1, 9, 14, 20, -1} {
		v := newVictim(b, requests)
		v.recheck = seed.RecheckOff
		v.run(checkpoint, 3)
		if v.killed() {
			kills++
		} else if v.out.String() != "true\n" {
			t.Fatalf("%s: %s", v.cmd.ProcessState, v.out.String())
		}
	}
	if kills != 4 {
		t.Errorf("killed %d times, want 4", kills)
	}
	b.mustBeEqual()
}
