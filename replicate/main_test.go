package replicate

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// TestMain lets more tests run at a time than there are processors, since most of them wait for a stream to be idle.
func TestMain(m *testing.M) {
	flag.Parse()
	if flag.Lookup("test.fuzz").Value.String() == "" { // where it is the number of processes
		if err := flag.Set("test.parallel", "12"); err != nil {
			panic(err)
		}
	}
	os.Exit(testkit.Main(m))
}

const (
	testIdle = 400 * time.Millisecond
	testPoll = 20 * time.Millisecond
	// longIdle is for tests in which a pause of the machine must not be taken for an idle stream.
	longIdle = 2 * time.Second
)

// fixture is two tables in one engine, a stream on the first, and a proxy between them and what is tested.
type fixture struct {
	t      *testing.T
	db     *dynamodb.Client // past the proxy
	proxy  *testkit.Proxy
	source string
	target string
	arn    string // of the stream
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return fixtureOf(t, testkit.TableSpec{Hash: "id:S"}, types.StreamViewTypeNewImage)
}

func fixtureOf(t *testing.T, keys testkit.TableSpec, view types.StreamViewType) *fixture {
	t.Helper()
	url := testkit.Engine(t)
	f := &fixture{t: t, db: testkit.Client(url), proxy: testkit.NewProxy(t, url)}
	f.source = testkit.CreateTable(t, f.db, keys)
	f.target = testkit.CreateTable(t, f.db, keys)
	f.arn = testkit.EnableStream(t, f.db, f.source, view)
	return f
}

func (f *fixture) options() Options {
	through := testkit.Client(f.proxy.URL)
	return Options{
		Source: through, SourceTable: f.source, Streams: testkit.Streams(f.proxy.URL), Target: through, TargetTable: f.target,
		UntilIdle: testIdle, PollInterval: testPoll, GiveUp: time.Nanosecond, // what fails ends it, but in tests of that
	}
}

// withCheckpoint is options with a checkpoint in a new folder.
func (f *fixture) withCheckpoint() Options {
	f.t.Helper()
	o := f.options()
	o.Checkpoint = filepath.Join(f.t.TempDir(), "checkpoint.json")
	return o
}

// limited ends long before go test does, so that a test that hangs says where.
func limited(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// run replicates until the stream is idle.
func (f *fixture) run(o Options) Result {
	f.t.Helper()
	result, err := Run(limited(f.t), o)
	if err != nil {
		f.t.Fatalf("Run: %v", err)
	}
	return result
}

// background starts Run; what it returns is had from the returned function, which waits for it.
func (f *fixture) background(ctx context.Context, o Options) (wait func() (Result, error)) {
	type outcome struct {
		result Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := Run(ctx, o)
		done <- outcome{result, err}
	}()
	return func() (Result, error) {
		out := <-done
		return out.result, out.err
	}
}

// wantSame checks that the target holds what the source holds.
func (f *fixture) wantSame() {
	f.t.Helper()
	for _, line := range testkit.Diff(f.t, f.db, f.source, f.db, f.target) {
		f.t.Error(line)
	}
}

func (f *fixture) put(kv ...any) {
	f.t.Helper()
	testkit.Put(f.t, f.db, f.source, testkit.Item(kv...))
}

func (f *fixture) del(id string) {
	f.t.Helper()
	testkit.Delete(f.t, f.db, f.source, testkit.Item("id", id))
}

// wantTarget checks the attribute v of an item in the target; "": there is no such item.
func (f *fixture) wantTarget(id, v string) {
	f.t.Helper()
	if got := f.valueInTarget(id); got != v {
		f.t.Errorf("item %s in target: v is %q, want %q", id, got, v)
	}
}

func (f *fixture) valueInTarget(id string) string {
	f.t.Helper()
	item := testkit.Get(f.t, f.db, f.target, testkit.Item("id", id))
	if v, is := item["v"].(*types.AttributeValueMemberS); is {
		return v.Value
	}
	return ""
}

func wantIs(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error is %v, want %v", err, target)
	}
}

// until polls until the condition holds; false: the context ended before. It may be called from any goroutine.
func until(ctx context.Context, condition func() bool) bool {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !condition() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// eventually is until that ends the test if it is in vain.
func eventually(ctx context.Context, t *testing.T, what string, condition func() bool) {
	t.Helper()
	if !until(ctx, condition) {
		t.Fatalf("%s didn't happen", what)
	}
}

// errorCode is the service's error code in err; "": none.
func errorCode(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
