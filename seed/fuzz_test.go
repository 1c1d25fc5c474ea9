package seed

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"reseal/internal/converge"
	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/scan"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// FuzzCheckpoint: a file is refused, or taken over with all that it says. What is saved then says the same, so nothing is
// forgotten however often a seed is stopped.
func FuzzCheckpoint(f *testing.F) {
	path := filepath.Join(f.TempDir(), "checkpoint.json")
	for _, s := range []string{
		``, `{}`, `[]`, `{"format":"reseal seed checkpoint 2"}`,
		`{"format":"reseal seed checkpoint 2","source":{"arn":"s","created":"1"},"target":{"arn":"t","created":"2"},"segments":8,"recheck":"all","done":[],"open":{},"rejected":[],"uncertain":[],"request_lifetime_ns":25000000000}`,
		`{"format":"reseal seed checkpoint 2","source":{"arn":"s","created":"1"},"target":{"arn":"t","created":"2"},"segments":8,"recheck":"all",` +
			`"done":[[0,1],[7,7]],"open":{"2":{"after":"AwFr","writing":["AwFr","AwJrMQ=="]},"3":{"after":null,"writing":[]}},"rejected":["AwFr"],"uncertain":["AwFr"],"request_lifetime_ns":1}`,
		`{"format":"reseal seed checkpoint 2","source":{"arn":"s","created":"1"},"target":{"arn":"t","created":"2"},"segments":8,"recheck":"all","done":[[2,1],[-1,9]],"open":{"9":{}},"rejected":[""],"uncertain":["/w=="]}]`,
	} {
		f.Add([]byte(s))
		f.Add([]byte(strings.ReplaceAll(strings.TrimSuffix(s, "]"), olderFormat, checkpointFormat)))
	}
	f.Add([]byte(`{"format":"` + checkpointFormat + `","source":{"arn":"s","created":"1"},"target":{"arn":"t","created":"2"},"stream":"stream","segments":8,"recheck":"all",` +
		`"items":7,"open":{"2":{"after":"AwFr","items":2,"writing":["AwFr","AwJrMQ=="]}},"uncertain":["AwFr"],"doubts":["deletes"],"hold":true,"request_lifetime_ns":1}`))
	f.Add(fuzzedFile(f, "k", "k1"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if bytes.Contains(data, []byte(checkpointFormat)) && bytes.HasSuffix(data, []byte("}")) && !bytes.Contains(data, []byte(sumField)) {
			data = appendSum(bytes.Clone(data)) // or nothing but the sum would be looked at
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c := fuzzed(path)
		if err := c.load(false, true); err != nil {
			if !refuse.Is(err) {
				t.Fatalf("error %v", err)
			}
			return
		}
		var said checkpointFile
		if err := json.Unmarshal(data, &said); err != nil {
			t.Fatalf("what was taken over is no JSON: %v", err)
		}
		saved := resaved(t, c)
		if !reflect.DeepEqual(scan.Ranges(c.done), saved.Done) || saved.Lifetime < said.Lifetime {
			t.Fatalf("done %v, lifetime %s; saved %+v", scan.Ranges(c.done), said.Lifetime, saved)
		}
		for _, id := range said.Rejected {
			if !c.rejected[string(id)] {
				t.Fatalf("rejected key %x was forgotten", id)
			}
		}
		for _, r := range said.Done {
			for segment := r[0]; segment <= r[1]; segment++ {
				if !c.isDone(segment) {
					t.Fatalf("segment %d is not done", segment)
				}
			}
		}
		uncertain := said.Uncertain
		for segment, raw := range said.Open {
			var open openSegment
			if err := json.Unmarshal(raw, &open); err != nil {
				t.Fatal(err)
			}
			uncertain = append(uncertain, open.Writing...)
			after, err := c.start(segment)
			if err != nil || (after == nil) != (len(open.After) == 0) || after != nil && after.ID() != string(open.After) {
				t.Fatalf("segment %d starts after %v, %v", segment, after, err)
			}
		}
		anew := fuzzed(path)
		if err := anew.load(true, true); err != nil {
			t.Fatalf("what can be gone on from can't be started over: %v", err)
		}
		for _, id := range uncertain {
			kept := slices.Contains(c.lost.IDs(), string(id))
			if keptAnew := slices.Contains(anew.lost.IDs(), string(id)); !kept || !keptAnew {
				t.Fatalf("key %x was forgotten", id)
			}
		}
		if slices.Contains(anew.done, true) || len(anew.open) > 0 || anew.resumed || !slices.Equal(anew.head.Doubts, c.head.Doubts) || anew.head.Hold != c.head.Hold {
			t.Fatalf("started over with %+v", anew.head)
		}
		if err := c.save(); err != nil {
			t.Fatal(err)
		}
		again := fuzzed(path)
		if err := again.load(false, true); err != nil {
			t.Fatalf("what was saved is refused: %v", err)
		}
		if next := resaved(t, again); !reflect.DeepEqual(saved, next) {
			t.Fatalf("saved %+v, then %+v", saved, next)
		}
	})
}

// fuzzed is the checkpoint of a job of eight segments between two tables with the key k (S).
func fuzzed(path string) *checkpoint {
	return &checkpoint{
		path: path, lost: converge.NewUncertain(), done: make([]bool, 8), open: map[int]json.RawMessage{}, rejected: map[string]bool{},
		schema: item.Schema{Hash: item.KeyAttribute{Name: "k", Type: types.ScalarAttributeTypeS}},
		head: checkpointFile{
			Format: checkpointFormat, Source: table.Identity{ARN: "s", Made: "1"}, Target: table.Identity{ARN: "t", Made: "2"},
			Segments: 8, Recheck: RecheckAll, Stream: "stream",
		},
	}
}

// fuzzedFile is what such a checkpoint is saved as, with keys in it.
func fuzzedFile(f *testing.F, keys ...string) []byte {
	f.Helper()
	c := fuzzed("")
	for _, k := range keys {
		key, err := c.schema.KeyOf(item.Of(map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: k}}))
		if err != nil {
			f.Fatal(err)
		}
		c.lost.Add([]item.Key{key})
		raw, err := json.Marshal(openSegment{After: []byte(key.ID()), Writing: [][]byte{[]byte(key.ID())}})
		if err != nil {
			f.Fatal(err)
		}
		c.open[len(c.open)] = raw
	}
	c.markDone(5)
	data, _, err := c.encode()
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// resaved is what the checkpoint would be saved as.
func resaved(t *testing.T, c *checkpoint) checkpointFile {
	t.Helper()
	data, _, err := c.encode()
	if err != nil {
		t.Fatal(err)
	}
	var file checkpointFile
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for segment, raw := range file.Open {
		var compact bytes.Buffer
		if err := json.Compact(&compact, raw); err != nil {
			t.Fatal(err)
		}
		file.Open[segment] = compact.Bytes()
	}
	return file
}
