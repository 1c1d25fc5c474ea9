package seed

import (
	"encoding/json"
	"testing"

	"reseal/internal/batch"
	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// What encodeOpen writes is what package json does.
func TestEncodeOpen(t *testing.T) {
	var keys []item.Key
	for _, text := range []string{"a", `quoted "and" \ more`, "\x00\xff", "é, and a longer one than before"} {
		key, err := fuzzed("").schema.KeyOf(item.Of(map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: text}}))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	for n := range len(keys) + 1 {
		for _, after := range []*item.Key{nil, &keys[1]} {
			open := openSegment{After: []byte{}, Items: 7 * n}
			if after != nil {
				open.After = []byte(after.ID())
			}
			var ops []batch.Op
			for _, key := range keys[:n] {
				ops = append(ops, batch.Op{Key: key})
				open.Writing = append(open.Writing, []byte(key.ID()))
			}
			want, err := json.Marshal(open)
			if err != nil {
				t.Fatal(err)
			}
			if got := encodeOpen(after, 7*n, ops); string(got) != string(want) {
				t.Errorf("%s, want %s", got, want)
			}
		}
	}
}
