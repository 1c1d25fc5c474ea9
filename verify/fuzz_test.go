package verify

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// FuzzCheckpoint: a file is refused, or taken over with all that it says; what is saved then says the same. With signed, the file
// has the right CRC, as no accident would give it.
func FuzzCheckpoint(f *testing.F) {
	path := filepath.Join(f.TempDir(), "checkpoint")
	head := `{"format":"` + checkpointFormat + `","began":"` + instant(time.Now()) + `","source":{"arn":"s","created":"0001-01-01T00:00:00Z"},"target":{"arn":"t","created":"0001-01-01T00:00:00Z"},"segments":8,"expired_by":"",` +
		`"done":[[0,1]],"open":{"2":{"source":{"after":"AwFr","done":false},"target":{"after":null,"done":true}}},"matched":1,` +
		`"sum":"0000000000000000000000000000000000000000000000000000000000000001","source_read":2,"target_read":1,"source_expired":0,"target_expired":0,` +
		`"source_cells":[2,0,0,0,0,0,0,0],"target_cells":[1,0,0,0,0,0,0,0]}` + "\n"
	record := "\x01" + string(make([]byte, 32)) + "\x03\x03\x01k"
	for _, s := range []string{"", "\n", "{}\n\xff", head + "\xff", head + record + "\xff", head + record + record + "\x03" + record[1:] + "\xff", head + record, head + "\xff\xff"} {
		f.Add([]byte(s), true)
	}
	f.Add(fuzzedFile(f, path), false)
	f.Fuzz(func(t *testing.T, data []byte, signed bool) {
		if signed {
			data = binary.BigEndian.AppendUint32(data[:len(data):len(data)], crc32.ChecksumIEEE(data))
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		c := fuzzed(path)
		defer c.run.join.close()
		if err := c.load(); err != nil {
			if !refuse.Is(err) {
				t.Fatalf("error %v", err)
			}
			return
		}
		line, items, _ := bytes.Cut(data, []byte("\n"))
		var said checkpointHead
		if err := json.Unmarshal(line, &said); err != nil {
			t.Fatalf("what was taken over is no JSON: %v", err)
		}
		saved := c.head()
		if said.Matched < 0 || saved.Matched < said.Matched || saved.SourceRead != said.SourceRead || saved.TargetRead != said.TargetRead || len(saved.Open) != len(said.Open) {
			t.Fatalf("%+v became %+v", said, saved)
		}
		if len(items) > 5 && c.run.join.waiting() == 0 && saved.Matched == said.Matched {
			t.Fatal("the items that wait were forgotten")
		}
		if err := c.save(false); err != nil {
			t.Fatal(err)
		}
		again := fuzzed(path)
		defer again.run.join.close()
		if err := again.load(); err != nil {
			t.Fatalf("what was saved is refused: %v", err)
		}
		if next := again.head(); !reflect.DeepEqual(saved, next) || !reflect.DeepEqual(waitingIn(t, c), waitingIn(t, again)) {
			t.Fatalf("saved %+v, then %+v", saved, next)
		}
	})
}

var fuzzBegan = time.Now()

// fuzzed is the checkpoint of a verification of two tables with the key k (S) in eight segments.
func fuzzed(path string) *checkpoint {
	schema := item.Schema{Hash: item.KeyAttribute{Name: "k", Type: types.ScalarAttributeTypeS}}
	return &checkpoint{path: path, done: make([]bool, 8), active: map[int][2]*cursor{}, run: &run{
		total: 8, places: newPlaces([]int{0, 1, 2, 3, 4, 5, 6, 7}, 8), source: &side{schema: schema}, target: &side{schema: schema}, join: newJoin(1<<20, ""),
		pair:  table.Pair{Source: table.Info{ARN: "s", Raw: &types.TableDescription{}}, Target: table.Info{ARN: "t"}},
		began: fuzzBegan,
	}}
}

// fuzzedFile is what such a checkpoint is saved as, with two items that wait.
func fuzzedFile(f *testing.F, path string) []byte {
	f.Helper()
	c := fuzzed(path)
	c.done[3] = true
	for i, k := range []string{"a", "b"} {
		key, err := c.run.source.schema.KeyOf(item.Of(map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: k}}))
		if err == nil {
			err = c.run.join.add(origin(i), 3, key, key.Digest())
		}
		if err != nil {
			f.Fatal(err)
		}
	}
	if err := c.save(false); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	return data
}

func waitingIn(t *testing.T, c *checkpoint) map[string]pending {
	t.Helper()
	all := map[string]pending{}
	err := c.run.join.each(func(id string, p pending) error {
		all[id] = p
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
