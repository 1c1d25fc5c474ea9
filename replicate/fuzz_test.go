package replicate

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"reseal/internal/call"
	"reseal/internal/refuse"
	"reseal/internal/stream"
	"reseal/internal/table"
)

// FuzzCheckpoint: a file is refused, or taken over with all positions that it has; what is saved then says the same.
func FuzzCheckpoint(f *testing.F) {
	path := filepath.Join(f.TempDir(), "checkpoint.json")
	const head = `{"format":"reseal replicate checkpoint 1","source":{"arn":"s","created":"1"},"target":{"arn":"t","created":"2"},"stream":"x",`
	// In a year that makes no position an old one.
	for _, s := range []string{
		``, `{}`, `null`, head + `"started":"2100-01-01T00:00:00Z","shards":{}}`, head + `"started":"2100-01-01T00:00:00Z","shards":null}`,
		head + `"started":"2100-01-01T00:00:00.5Z","shards":{"shard-1":{"sequence":"100","read_at":"2100-01-01T00:00:00Z"},"shard-2":{"drained":true,"read_at":"2100-01-01T00:00:00Z"}}}`,
		head + `"started":"2100-01-01T00:00:00+01:00","shards":{"":{"sequence":"","read_at":"2100-01-01T00:00:00Z"}}} {}`,
		head + `"started":"2001-01-01T00:00:00Z","shards":{"shard-1":{"sequence":"100","read_at":"2001-01-01T00:00:00Z"}}}`,
	} {
		f.Add([]byte(s))
	}
	fresh := func() *checkpoint {
		return &checkpoint{path: path, dirty: true, file: checkpointFile{
			Format: checkpointFormat, Source: table.Identity{ARN: "s", Made: "1"}, Target: table.Identity{ARN: "t", Made: "2"},
			Stream: "x",
		}, positions: stream.NewPositions(call.Clock{})}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c := fresh()
		if err := c.load(); err != nil {
			if state, _ := c.positions.Take(); !refuse.Is(err) || len(state.Shards) > 0 {
				t.Fatalf("error %v, shards %v", err, state.Shards)
			}
			return
		}
		state, changed := c.positions.Take()
		if !c.resumed || !changed || state.Shards == nil {
			t.Fatalf("taken over: %+v", state)
		}
		c.positions.Changed()
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		again := fresh()
		if err := again.load(); err != nil {
			t.Fatalf("what was saved is refused: %v", err)
		}
		saved, _ := again.positions.Take()
		if !saved.Started.Equal(state.Started) || len(saved.Shards) != len(state.Shards) {
			t.Fatalf("saved %+v, then %+v", state, saved)
		}
		for shard, position := range state.Shards {
			next := saved.Shards[shard]
			if !next.ReadAt.Equal(position.ReadAt) {
				t.Fatalf("shard %q: %+v, then %+v", shard, position, next)
			}
			next.ReadAt = position.ReadAt
			if !reflect.DeepEqual(next, position) {
				t.Fatalf("shard %q: %+v, then %+v", shard, position, next)
			}
		}
	})
}
