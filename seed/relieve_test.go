package seed

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"reseal/internal/batch"
	"reseal/internal/capacity"
	"reseal/internal/converge"
	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// emptyTable has nothing, and counts the keys that it is asked for.
type emptyTable struct {
	batch.WriteAPI
	mu    sync.Mutex
	reads int
}

func (e *emptyTable) BatchGetItem(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.reads += len(in.RequestItems["t"].Keys)
	return &dynamodb.BatchGetItemOutput{
		Responses: map[string][]map[string]types.AttributeValue{"t": {}}, UnprocessedKeys: map[string]types.KeysAndAttributes{},
	}, nil
}

// However many segments find that there are too many uncertain keys, one of them settles them, and each once: a key that two settle
// at a time may be taken off the list by the one while the other has it half way.
func TestUncertainKeysAreSettledOnce(t *testing.T) {
	schema := item.Schema{Hash: item.KeyAttribute{Name: "k", Type: types.ScalarAttributeTypeS}}
	source, target := &emptyTable{}, &emptyTable{}
	limiter := capacity.NewLimiter(0)
	r := &run{lost: newLedger(), reads: limiter, settling: limiter, relieving: make(chan struct{}, 1), converge: &converge.Converger{
		Source:  &batch.Reader{API: source, Table: "t", Schema: schema, Limiter: limiter},
		Target:  &batch.Reader{API: target, Table: "t", Schema: schema, Limiter: limiter},
		Writer:  &batch.Writer{API: target, Table: "t", Schema: schema, Limiter: limiter},
		Recheck: true,
	}}
	add := func(n int) {
		keys := make([]item.Key, n)
		for i := range keys {
			attrs := map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: fmt.Sprint(i)}}
			var err error
			if keys[i], err = schema.KeyOf(item.Of(attrs)); err != nil {
				t.Fatal(err)
			}
		}
		r.lost.add(keys)
	}
	add(maxLost)
	if err := r.relieve(t.Context()); err != nil || source.reads != 0 {
		t.Fatalf("%d keys read, though the list isn't full, %v", source.reads, err)
	}
	add(maxLost + 1)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if err := r.relieve(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if source.reads != maxLost+1 || r.lost.len() != 0 {
		t.Errorf("%d keys read of %d, %d left", source.reads, maxLost+1, r.lost.len())
	}
	add(maxLost + 1)
	r.relieving <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.relieve(ctx); err == nil {
		t.Error("it doesn't wait for the one that settles")
	}
}
