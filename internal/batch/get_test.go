package batch_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/item"
	"reseal/internal/test/testkit"
)

const read = "BatchGetItem"

// readRequest is what matters of a BatchGetItem request.
type readRequest struct {
	RequestItems map[string]struct {
		Keys           []json.RawMessage
		ConsistentRead bool
	}
	ReturnConsumedCapacity string
}

func (k *kit) parse(x *testkit.Exchange) readRequest {
	var request readRequest
	if err := json.Unmarshal(x.Body, &request); err != nil {
		k.Errorf("request %s: %v", x.Body, err)
	}
	return request
}

// partlyRead has the engine read the first n keys of a request and leaves the others unprocessed.
func (k *kit) partlyRead(n int) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		keys := k.parse(x).RequestItems[k.table].Keys
		fields := map[string]json.RawMessage{"Responses": json.RawMessage(`{}`)}
		if n > 0 {
			x.Body = marshal(map[string]any{
				"RequestItems":           map[string]any{k.table: map[string]any{"Keys": keys[:n], "ConsistentRead": true}},
				"ReturnConsumedCapacity": "TOTAL",
			})
			fields = k.forward(x)
		}
		fields["UnprocessedKeys"] = marshal(map[string]any{k.table: map[string]any{"Keys": keys[n:], "ConsistentRead": true}})
		return body(string(marshal(fields)))
	}
}

// fill writes n items and returns their keys, each followed by one that the table has not.
func (k *kit) fill(n int) (items []map[string]types.AttributeValue, keys []item.Key) {
	k.Helper()
	for i := range n {
		op := put(k.T, "id", id(i), "value", i)
		items = append(items, op.Item.Attributes())
		keys = append(keys, op.Key, del(k.T, id(i)+"-absent").Key)
	}
	testkit.Fill(k.T, k.past, k.table, items)
	return items, keys
}

// wantFound compares what was read for the keys with the items, which are those of some of the keys.
func (k *kit) wantFound(keys []item.Key, found []item.Item, items []map[string]types.AttributeValue) {
	k.Helper()
	want := map[item.Key]item.Item{}
	for _, attrs := range items {
		it := item.Of(attrs)
		key, err := schema.KeyOf(it)
		if err != nil {
			k.Fatal(err)
		}
		want[key] = it
	}
	if len(found) != len(keys) {
		k.Fatalf("%d items for %d keys", len(found), len(keys))
	}
	for i, key := range keys {
		if same, err := item.Equal(found[i], want[key]); err != nil || !same {
			k.Errorf("item %q is not as written (error %v)", key.ID(), err)
		}
	}
}

func TestRead(t *testing.T) {
	k := newKit(t)
	items, keys := k.fill(125)
	var mu sync.Mutex
	var sizes []int
	k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		mu.Lock()
		defer mu.Unlock()
		request := k.parse(x)
		part := request.RequestItems[k.table]
		if len(request.RequestItems) != 1 || !part.ConsistentRead || request.ReturnConsumedCapacity != "TOTAL" {
			t.Errorf("request %s", x.Body)
		}
		sizes = append(sizes, len(part.Keys))
		return nil
	})
	found, err := k.reader.Read(t.Context(), keys, 1)
	if err != nil {
		t.Fatal(err)
	}
	k.wantFound(keys, found, items)
	if len(sizes) != 3 || sizes[0] != 100 || sizes[1] != 100 || sizes[2] != 50 {
		t.Errorf("requests for %d keys, want 100, 100, 50", sizes)
	}
	if got := k.reader.Limiter.Used(); got != 250 && !testkit.Has(testkit.ReadUnitsBySize) {
		t.Errorf("%g units, want 250: one for each key, there or not", got)
	}
}

func TestReadNothing(t *testing.T) {
	k := newKit(t)
	found, err := k.reader.Read(t.Context(), nil, 1)
	if err != nil || found == nil || len(found) != 0 {
		t.Errorf("found %v, error %v", found, err)
	}
	k.wantRequests(read, 0)
}

func TestReadAbsent(t *testing.T) {
	k := newKit(t)
	keys := []item.Key{del(t, "a").Key, del(t, "b").Key}
	found, err := k.reader.Read(t.Context(), keys, 1)
	if err != nil {
		t.Fatal(err)
	}
	k.wantFound(keys, found, nil)
}

func TestReadUnprocessedKeys(t *testing.T) {
	k := newKit(t)
	items, keys := k.fill(30)
	// The second answer has no Responses at all.
	k.script(read, k.partlyRead(20), k.partlyRead(0), k.partlyRead(1), k.partlyRead(38))
	found, err := k.reader.Read(t.Context(), keys, 1)
	if err != nil {
		t.Fatal(err)
	}
	k.wantFound(keys, found, items)
	k.wantRequests(read, 5)
	if n := k.reader.Limiter.Throttled(); n != 4 {
		t.Errorf("%d throttled, want 4", n)
	}
}

// An answer that has nothing of the table tells nothing of the keys that it doesn't call unprocessed.
func TestReadUnprocessedKeysWithoutResponses(t *testing.T) {
	k := newKit(t)
	items, keys := k.fill(2)
	k.script(read, answer(body(`{"Responses":{},"UnprocessedKeys":{"t":{"Keys":[{"id":{"S":"`+id(0)+`"}}]}}}`)))
	found, err := k.reader.Read(t.Context(), keys, 1)
	if err != nil {
		t.Fatal(err)
	}
	k.wantFound(keys, found, items)
}

func TestReadPersistentlyUnprocessed(t *testing.T) {
	k := newKit(t)
	k.reader.Policy = impatient
	k.proxy.Use(k.partlyRead(0))
	found, err := k.reader.Read(t.Context(), []item.Key{del(t, "a").Key}, 1)
	if err == nil || !strings.Contains(err.Error(), "throttled") || found != nil {
		t.Errorf("found %v, error %v", found, err)
	}
}

func TestReadRepeats(t *testing.T) {
	k := newKit(t)
	items, keys := k.fill(3)
	k.script(read, answer(testkit.Throttle(read)), answer(cut), answer(testkit.Fail(500, "InternalServerError", "")),
		answer(body(`{"Responses":{`)), answer(testkit.Throttle(read)))
	found, err := k.reader.Read(t.Context(), keys, 1)
	if err != nil {
		t.Fatal(err)
	}
	k.wantFound(keys, found, items)
	k.wantRequests(read, 6)
	if n := k.reader.Limiter.Throttled(); n != 2 {
		t.Errorf("%d throttled, want 2", n)
	}
}

// Anything that isn't a whole answer is an error: "not in the answer" would mean "not in the table" to the caller.
func TestReadBrokenAnswers(t *testing.T) {
	testkit.BadAnswers(t, "they are what is tested", "type", "required")
	k := newKit(t)
	k.reader.Policy = impatient
	for name, text := range map[string]string{
		"nothing":              `{}`,
		"empty":                ``,
		"nothing of the table": `{"Responses":{},"UnprocessedKeys":{}}`,
		"no responses":         `{"UnprocessedKeys":{}}`,
		"null responses":       `{"Responses":null,"UnprocessedKeys":{}}`,
		"null list":            `{"Responses":{"t":null},"UnprocessedKeys":{}}`,
		"no unprocessed keys":  `{"Responses":{"t":[]}}`,
		"broken":               `{"Responses":{"t":[`,
		"not asked for":        `{"Responses":{"t":[{"id":{"S":"a"}},{"id":{"S":"b"}}]},"UnprocessedKeys":{}}`,
		"not a key":            `{"Responses":{"t":[{"id":{"N":"1"}}]},"UnprocessedKeys":{}}`,
		"empty item":           `{"Responses":{"t":[{}]},"UnprocessedKeys":{}}`,
		"null item":            `{"Responses":{"t":[null]},"UnprocessedKeys":{}}`,
		"unprocessed unasked":  `{"Responses":{"t":[]},"UnprocessedKeys":{"t":{"Keys":[{"id":{"S":"b"}}]}}}`,
		"unprocessed lacks":    `{"Responses":{"t":[]},"UnprocessedKeys":{"t":{}}}`,
		"unprocessed null":     `{"Responses":{"t":[]},"UnprocessedKeys":{"t":{"Keys":null}}}`,
		"unprocessed none":     `{"Responses":{"t":[]},"UnprocessedKeys":{"t":{"Keys":[]}}}`,
		"unprocessed in part":  `{"Responses":{"t":[]},"UnprocessedKeys":{"t":{"Keys":[{"id":{"S":"a"}}]},"u":{"Keys":null}}}`,
		"more than an answer":  `{"Responses":{"t":[]},"UnprocessedKeys":{}}}`,
		"unprocessed empty":    `{"Responses":{"t":[]},"UnprocessedKeys":{"t":{"Keys":[{}]}}}`,
	} {
		k.proxy.Use(answer(body(text)))
		if found, err := k.reader.Read(t.Context(), []item.Key{del(t, "a").Key}, 1); err == nil || found != nil {
			t.Errorf("%s: found %v, error %v", name, found, err)
		}
	}
}

func TestReadRefused(t *testing.T) {
	k := newKit(t)
	k.reader.Table = "no-such-table"
	_, err := k.reader.Read(t.Context(), []item.Key{del(t, "a").Key}, 1)
	if missing := (*types.ResourceNotFoundException)(nil); !errors.As(err, &missing) {
		t.Errorf("error %v", err)
	}
	k.wantRequests(read, 1)
}

func TestReadContextEnds(t *testing.T) {
	k := newKit(t)
	_, keys := k.fill(1)
	ctx, cancel := context.WithCancel(t.Context())
	k.script(read, func(x *testkit.Exchange) *testkit.Response {
		cancel()
		<-x.Ctx.Done() // a read isn't waited for
		return cut
	})
	if found, err := k.reader.Read(ctx, keys, 1); !errors.Is(err, context.Canceled) || found != nil {
		t.Errorf("found %v, error %v", found, err)
	}
	k.wantRequests(read, 1)
}
