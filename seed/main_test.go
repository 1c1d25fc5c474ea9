package seed_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestMain(m *testing.M) {
	if job := os.Getenv(processVariable); job != "" {
		os.Exit(seedByItself(job))
	}
	os.Exit(testkit.Main(m))
}

type attrs = map[string]types.AttributeValue

// bench is a pair of tables on one engine, with a proxy before each side.
type bench struct {
	t              *testing.T
	db             *dynamodb.Client // to the engine itself
	source, target *testkit.Proxy
	options        seed.Options
}

// newBench makes a source with a stream and the given items, and an empty encrypted target. Both have the key k (S) and,
// optionally, the sort key of the given definition.
func newBench(t *testing.T, items []attrs, sortKey ...string) *bench {
	t.Helper()
	spec := testkit.TableSpec{Hash: "k:S"}
	if len(sortKey) > 0 {
		spec.Range = sortKey[0]
	}
	return benchOf(t, items, spec, spec)
}

// benchOf is newBench with tables of other kinds.
func benchOf(t *testing.T, items []attrs, sourceSpec, targetSpec testkit.TableSpec) *bench {
	t.Helper()
	b := &bench{t: t, db: testkit.Client(testkit.Engine(t))}
	b.source, b.target = testkit.NewProxy(t, testkit.Engine(t)), testkit.NewProxy(t, testkit.Engine(t))
	source, target := testkit.CreateTable(t, b.db, sourceSpec), testkit.CreateTable(t, b.db, targetSpec)
	testkit.Fill(t, b.db, source, items)
	testkit.EnableStream(t, b.db, source, types.StreamViewTypeNewAndOldImages)
	b.options = seed.Options{
		Source: testkit.Client(b.source.URL), SourceTable: source,
		Target: testkit.Client(b.target.URL), TargetTable: target,
		Segments: 4, Checkpoint: filepath.Join(t.TempDir(), "checkpoint.json"),
		RequestTimeout: 2 * time.Second, StreamAge: -1,
	}
	return b
}

// run seeds and expects no error.
func (b *bench) run() seed.Result {
	b.t.Helper()
	result, err := seed.Run(b.t.Context(), b.options)
	if err != nil {
		b.t.Fatalf("seed: %v", err)
	}
	return result
}

// diff is the independent comparison of both tables.
func (b *bench) diff() []string {
	b.t.Helper()
	return testkit.Diff(b.t, b.db, b.options.SourceTable, b.db, b.options.TargetTable)
}

func (b *bench) mustBeEqual() {
	b.t.Helper()
	if lines := b.diff(); lines != nil {
		b.t.Errorf("the tables differ: %q", lines)
	}
}

// numbered makes n items.
func numbered(n int) []attrs {
	items := make([]attrs, n)
	for i := range items {
		items[i] = testkit.Item("k", fmt.Sprintf("key-%05d", i), "v", i)
	}
	return items
}

// interrupted runs the seed until stop is called by a hook, and expects that it ends with the context's error.
func (b *bench) interrupted(hook func(stop func()) testkit.Hook) seed.Result {
	b.t.Helper()
	ctx, stop := context.WithCancel(b.t.Context())
	defer stop()
	b.target.Use(hook(stop))
	result, err := seed.Run(ctx, b.options)
	if !errors.Is(err, context.Canceled) {
		b.t.Fatalf("error %v, want context.Canceled", err)
	}
	b.target.Use(nil)
	return result
}
