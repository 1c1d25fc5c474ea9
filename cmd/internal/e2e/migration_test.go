package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"reseal/internal/test/testkit"
	"reseal/internal/test/traffic"
	"reseal/replicate"
	"reseal/seed"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// migration is a source under live writes, its stream, and an encrypted target.
type migration struct {
	t              *testing.T
	db             *dynamodb.Client
	source, target string
	checkpoint     string // of the replication
	keys           []map[string]types.AttributeValue
}

func newMigration(t *testing.T, items int) *migration {
	t.Helper()
	m := &migration{t: t, db: testkit.Client(testkit.Engine(t)), checkpoint: filepath.Join(t.TempDir(), "replicate.json")}
	spec := testkit.TableSpec{Hash: "owner:S", Range: "id:N"}
	m.source, m.target = testkit.CreateTable(t, m.db, spec), testkit.CreateTable(t, m.db, spec)
	all := make([]map[string]types.AttributeValue, items)
	for i := range all {
		all[i] = testkit.Item("owner", fmt.Sprintf("owner %d", i%977), "id", i, "w0", "as loaded", "list", []int{i, i + 1})
		m.keys = append(m.keys, testkit.Item("owner", fmt.Sprintf("owner %d", i%977), "id", i))
	}
	testkit.Fill(t, m.db, m.source, all)
	testkit.EnableStream(t, m.db, m.source, types.StreamViewTypeNewAndOldImages)
	return m
}

func (m *migration) replicate(ctx context.Context, untilIdle time.Duration) (replicate.Result, error) {
	return replicate.Run(ctx, replicate.Options{
		Source: m.db, SourceTable: m.source, Streams: testkit.Streams(testkit.Engine(m.t)), Target: m.db, TargetTable: m.target,
		UntilIdle: untilIdle, Checkpoint: m.checkpoint,
	})
}

func (m *migration) verify() verify.Result {
	m.t.Helper()
	result, err := verify.Run(m.t.Context(), verify.Options{
		Source: m.db, SourceTable: m.source, Target: m.db, TargetTable: m.target,
		Segments: 7, Settle: 0, MaxMemory: 256 << 20,
	})
	if err != nil {
		m.t.Fatalf("verify: %v", err)
	}
	return result
}

// besideReplication runs work while the stream is applied, and ends the replication then.
func (m *migration) besideReplication(work func()) {
	m.t.Helper()
	ctx, stop := context.WithCancel(m.t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := m.replicate(ctx, 0)
		ended <- err
	}()
	work()
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		m.t.Errorf("replicate ended with %v", err)
	}
}

// A live migration of 15,000 items with 150 writes a second of all kinds throughout ends with both tables identical.
func TestLiveMigration(t *testing.T) {
	m := newMigration(t, 15_000)
	writer := traffic.Start(t.Context(), m.db, m.source, traffic.Options{Keys: m.keys, Rate: 150, Hot: 5, Seed: uint64(time.Now().UnixNano())})
	var seeded seed.Result
	m.besideReplication(func() {
		var err error
		seeded, err = seed.Run(t.Context(), seed.Options{
			StreamAge: -1, // a local engine has no reads that are behind
			Source:    m.db, SourceTable: m.source, Target: m.db, TargetTable: m.target,
			Segments: 16, WriteUnits: 4000, Checkpoint: filepath.Join(t.TempDir(), "seed.json"),
		})
		if err != nil {
			t.Fatalf("seed: %v", err)
		}
	})
	written, err := writer.Stop()
	if err != nil {
		t.Fatal(err)
	}
	rest, err := m.replicate(t.Context(), 500*time.Millisecond)
	if err != nil {
		t.Fatalf("drain: %v", err)
	}
	t.Logf("%+v; re-check caught %d; %d records left to drain", written, seeded.ItemsRewritten, rest.Records)
	if written.Updates*written.Removals*written.Deletes*written.Reinserts*written.Hot == 0 {
		t.Errorf("a kind of write is missing: %+v", written)
	}
	if lines := testkit.Diff(t, m.db, m.source, m.db, m.target); lines != nil {
		t.Errorf("the tables differ: %q", lines)
	}
	if r := m.verify(); !r.Match || r.SourceFingerprint != r.TargetFingerprint || r.SourceItems != r.TargetItems {
		t.Errorf("verify: %+v", r)
	}
}
