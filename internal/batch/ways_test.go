package batch_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/batch"
	"reseal/internal/item"
	"reseal/internal/item/itemtest"
	"reseal/internal/test/testkit"
)

// other is a client that isn't the SDK's, and so is given attribute values instead of bytes.
type other struct {
	batch.WriteAPI
	batch.ReadAPI
}

// Bytes and attribute values write the same table and read the same items.
func TestBothWaysAreTheSame(t *testing.T) {
	k := newKit(t)
	values := k.writer
	bytes := k.writer.Rejecting(nil)
	bytes.Table = testkit.CreateTable(t, k.past, testkit.TableSpec{Hash: "id:S"})
	through := testkit.Client(k.proxy.URL)
	values.API = other{WriteAPI: through}
	reader := &batch.Reader{API: other{ReadAPI: through}, Table: k.reader.Table, Schema: k.reader.Schema, Limiter: k.reader.Limiter, Policy: k.reader.Policy}

	var ops []batch.Op
	var keys []item.Key
	for i := range 75 {
		attrs := itemtest.Attributes.Example(i + 1)
		delete(attrs, "")
		for name, value := range attrs {
			if !kept(value) {
				delete(attrs, name)
			}
		}
		attrs["id"] = &types.AttributeValueMemberS{Value: fmt.Sprintf("\"%d\\ é", i)}
		it := item.Of(attrs)
		key, err := schema.KeyOf(it)
		if err != nil {
			t.Fatal(err)
		}
		ops, keys = append(ops, batch.Op{Key: key, Item: it}), append(keys, key)
	}
	write := func(ops []batch.Op) {
		t.Helper()
		for _, w := range []*batch.Writer{values, bytes} {
			for _, one := range batch.Split(ops) {
				if _, err := w.Write(t.Context(), one); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, line := range testkit.Diff(t, k.past, values.Table, k.past, bytes.Table) {
			t.Error(line)
		}
	}
	write(ops)
	for i := range ops {
		if rand.IntN(3) == 0 { //nolint:gosec // any third will do
			ops[i].Item = item.Item{}
		}
	}
	write(ops)
	k.wantTable(ops)
	for _, r := range []*batch.Reader{k.reader, reader} {
		found, err := r.Read(t.Context(), keys, 1)
		if err != nil {
			t.Fatal(err)
		}
		for i, op := range ops {
			if same, err := item.Equal(found[i], op.Item); err != nil || !same {
				t.Errorf("item %d: %s, want %s (%v)", i, found[i].JSON(), op.Item.JSON(), err)
			}
		}
	}
}

// kept tells whether DynamoDB takes the value: sets may hold no empty string or binary.
func kept(value types.AttributeValue) bool {
	switch v := value.(type) {
	case *types.AttributeValueMemberSS:
		for _, s := range v.Value {
			if s == "" {
				return false
			}
		}
	case *types.AttributeValueMemberBS:
		for _, b := range v.Value {
			if len(b) == 0 {
				return false
			}
		}
	case *types.AttributeValueMemberL:
		for _, element := range v.Value {
			if !kept(element) {
				return false
			}
		}
	case *types.AttributeValueMemberM:
		for _, element := range v.Value {
			if !kept(element) {
				return false
			}
		}
	}
	return true
}
