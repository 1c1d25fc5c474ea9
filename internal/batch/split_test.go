package batch_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/batch"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/test/testkit"
)

func TestSplitByCount(t *testing.T) {
	for n, want := range map[int][]int{0: nil, 1: {1}, 25: {25}, 26: {25, 1}, 50: {25, 25}, 61: {25, 25, 11}} {
		ops := puts(t, n, "v")
		batches := batch.Split(ops)
		var sizes []int
		var keys []item.Key
		for _, one := range batches {
			sizes = append(sizes, len(one))
			keys = append(keys, keysOf(one)...)
		}
		if !slices.Equal(sizes, want) {
			t.Errorf("%d ops: batches of %v, want %v", n, sizes, want)
		}
		if !slices.Equal(keys, keysOf(ops)) {
			t.Errorf("%d ops: the order has changed", n)
		}
	}
}

// blowUp is text that takes 6 bytes in JSON for each of its own.
func blowUp(n int) string { return strings.Repeat("\x01", n) }

// 16 MB is the limit of BatchWriteItem for a request as it is on the wire (API reference).
const requestLimit = 16 << 20

func TestSplitBySize(t *testing.T) {
	testkit.BadRequests(t, "it asks where the engine's limit is", "service", "JSON")
	testkit.SkipIf(t, testkit.LargeRequests)
	k := newKit(t)
	k.writer.Policy.Timeout = 2 * time.Minute
	ops := make([]batch.Op, 25)
	for i := range ops {
		ops[i] = put(t, "id", id(i), "text", blowUp(123_900)) // 743 KB on the wire, of which 22 just fit
	}
	if status := k.post(requestLimit + 1); status != http.StatusRequestEntityTooLarge {
		t.Errorf("status %d for a request over 16 MB: this test tests nothing", status)
	}
	var mu sync.Mutex
	var sizes []int
	k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		mu.Lock()
		defer mu.Unlock()
		if x.Op == write {
			sizes = append(sizes, len(x.Body))
		}
		return nil
	})
	for _, one := range batch.Split(ops) {
		if _, err := k.writer.Write(t.Context(), one); err != nil {
			t.Fatal(err)
		}
	}
	if n := k.count(); n != len(ops) {
		t.Errorf("%d items are in the table, want %d", n, len(ops))
	}
	if len(sizes) != 2 || sizes[0] < requestLimit*96/100 || sizes[0] > requestLimit {
		t.Errorf("requests of %d bytes, want two, the first of nearly %d", sizes, requestLimit)
	}
}

// post sends the engine so many bytes of nothing and returns the status of its answer.
func (k *kit) post(size int) int {
	r, err := http.NewRequestWithContext(k.Context(), http.MethodPost, testkit.Engine(k.T), strings.NewReader(strings.Repeat(" ", size)))
	if err != nil {
		k.Fatal(err)
	}
	r.Header.Set("X-Amz-Target", "DynamoDB_20120810.BatchWriteItem")
	resp, err := http.DefaultClient.Do(r)
	if err != nil { // it may close the connection before it has read all
		return http.StatusRequestEntityTooLarge
	}
	if err := resp.Body.Close(); err != nil {
		k.Error(err)
	}
	return resp.StatusCode
}

// count is the number of items in the table.
func (k *kit) count() (n int) {
	pages := dynamodb.NewScanPaginator(k.past, &dynamodb.ScanInput{TableName: &k.table, Select: types.SelectCount})
	for pages.HasMorePages() {
		page, err := pages.NextPage(k.Context())
		if err != nil {
			k.Fatal(err)
		}
		n += int(page.Count)
	}
	return n
}

// measure is an HTTP client that notes the largest request and answers that all is written.
type measure struct{ largest int64 }

func (m *measure) Do(r *http.Request) (*http.Response, error) {
	m.largest = max(m.largest, r.ContentLength)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"UnprocessedItems":{}}`)),
	}, nil
}

// The requests are measured as the SDK writes them, with the longest of names, and with deletes of the longest of keys.
func TestSplitCountsWhatGoesOverTheWire(t *testing.T) {
	var m measure
	options := testkit.Client("http://127.0.0.1:1").Options()
	options.HTTPClient = &m
	writer := &batch.Writer{
		API:     dynamodb.New(options),
		Table:   "arn:aws:dynamodb:us-gov-west-1:123456789012:table/" + strings.Repeat("t", 255),
		Limiter: capacity.NewLimiter(0),
		Schema: item.Schema{
			Hash:  item.KeyAttribute{Name: strings.Repeat("h", 255), Type: types.ScalarAttributeTypeS},
			Range: item.KeyAttribute{Name: strings.Repeat("r", 255), Type: types.ScalarAttributeTypeB},
		},
	}
	op := func(i, text int) batch.Op {
		attrs := testkit.Item(
			writer.Schema.Hash.Name, blowUp(2000)+id(i),
			writer.Schema.Range.Name, slices.Repeat([]byte{'x'}, 1024),
		)
		key, err := writer.Schema.KeyOf(item.Of(attrs))
		if err != nil {
			t.Fatal(err)
		}
		if text == 0 {
			return batch.Op{Key: key}
		}
		attrs["text"] = &types.AttributeValueMemberS{Value: strings.Repeat("x", text)}
		return batch.Op{Key: key, Item: item.Of(attrs)}
	}
	for _, puts := range []int{19, 12} {
		// The puts are so large that they just fit; the deletes after them don't any more.
		var ops []batch.Op
		for i := range batch.MaxWrites {
			text := 0
			if i < puts {
				text = (requestLimit-70<<10)/puts - 15_000
			}
			ops = append(ops, op(i, text))
		}
		for _, one := range batch.Split(ops) {
			if _, err := writer.Write(t.Context(), one); err != nil {
				t.Fatal(err)
			}
		}
	}
	if m.largest > requestLimit || m.largest < requestLimit*99/100 {
		t.Errorf("the largest request has %d bytes, want nearly %d and not more", m.largest, requestLimit)
	}
}
