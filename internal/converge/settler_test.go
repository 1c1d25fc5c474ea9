package converge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"reseal/internal/batch"
	"reseal/internal/capacity"
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
	s := NewSettler(&Converger{
		Source:  &batch.Reader{API: source, Table: "t", Schema: schema, Limiter: limiter},
		Target:  &batch.Reader{API: target, Table: "t", Schema: schema, Limiter: limiter},
		Writer:  &batch.Writer{API: target, Table: "t", Schema: schema, Limiter: limiter},
		Recheck: true,
	}, NewUncertain())
	add := func(n int) {
		keys := make([]item.Key, n)
		for i := range keys {
			attrs := map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: fmt.Sprint(i)}}
			var err error
			if keys[i], err = schema.KeyOf(item.Of(attrs)); err != nil {
				t.Fatal(err)
			}
		}
		s.Uncertain.Add(keys)
	}
	add(MaxUncertain)
	if err := s.Relieve(t.Context()); err != nil || source.reads != 0 {
		t.Fatalf("%d keys read, though the list isn't full, %v", source.reads, err)
	}
	add(MaxUncertain + 1)
	var group sync.WaitGroup
	for range 32 {
		group.Go(func() {
			if err := s.Relieve(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if source.reads != MaxUncertain+1 || s.Uncertain.Len() != 0 {
		t.Errorf("%d keys read of %d, %d left", source.reads, MaxUncertain+1, s.Uncertain.Len())
	}
	add(MaxUncertain + 1)
	s.one <- struct{}{}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Relieve(ctx); err == nil {
		t.Error("it doesn't wait for the one that settles")
	}
}

// keyNamed is a key of a table with the key k (S).
func keyNamed(t *testing.T, name string) item.Key {
	t.Helper()
	schema := item.Schema{Hash: item.KeyAttribute{Name: "k", Type: types.ScalarAttributeTypeS}}
	key, err := schema.KeyOf(item.Of(map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: name}}))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Keys are settled no sooner than a request's lifetime after the newest of them was lost. One that is lost again meanwhile stays, and is
// settled a lifetime after that; so is one whose settling failed.
func TestSettlerWaitsForLostWrites(t *testing.T) {
	const lifetime = 25 * time.Second
	synctest.Test(t, func(t *testing.T) {
		again, other := keyNamed(t, "again"), keyNamed(t, "other")
		start := time.Now()
		s := NewSettler(&Converger{}, NewUncertain())
		s.Lifetime = lifetime
		var at []time.Duration
		var sizes []int
		failure := errors.New("no answer")
		s.settle = func(_ context.Context, keys []item.Key) ([]item.Key, error) {
			at, sizes = append(at, time.Since(start)), append(sizes, len(keys))
			switch len(at) {
			case 1:
				return keys, failure
			case 2:
				time.Sleep(time.Second)
				s.Uncertain.Add([]item.Key{again}) // by a segment, say
				return nil, nil
			case 3:
				return []item.Key{again}, nil
			}
			return nil, nil
		}
		s.Uncertain.Add([]item.Key{again})
		time.Sleep(time.Second)
		s.Uncertain.Add([]item.Key{other})
		if err := s.All(t.Context()); !errors.Is(err, failure) || s.Uncertain.Len() != 2 || s.Settled() != 0 {
			t.Fatalf("error %v, %d keys left, %d settled", err, s.Uncertain.Len(), s.Settled())
		}
		if err := s.All(t.Context()); err != nil || s.Uncertain.Len() != 0 || s.Settled() != 4 {
			t.Fatalf("error %v, %d keys left, %d settled", err, s.Uncertain.Len(), s.Settled())
		}
		const second = time.Second
		wantAt := []time.Duration{second + lifetime, second + 2*lifetime, 2*second + 3*lifetime, 2*second + 4*lifetime}
		if !slices.Equal(at, wantAt) || !slices.Equal(sizes, []int{2, 2, 1, 1}) {
			t.Errorf("settled %v keys at %s, want at %s", sizes, at, wantAt)
		}
	})
}
