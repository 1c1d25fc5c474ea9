package scan_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/scan"
	"reseal/internal/test/testkit"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// newScanner makes a table with the items and a scanner that reads it through a proxy.
func newScanner(t *testing.T, hash, sort string, items []map[string]types.AttributeValue) (*testkit.Proxy, *scan.Scanner) {
	t.Helper()
	url := testkit.Engine(t)
	proxy, db := testkit.NewProxy(t, url), testkit.Client(url)
	table := testkit.CreateTable(t, db, testkit.TableSpec{Hash: hash, Range: sort})
	testkit.Fill(t, db, table, items)
	out, err := db.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		t.Fatal(err)
	}
	schema, err := item.SchemaOf(out.Table)
	if err != nil {
		t.Fatal(err)
	}
	return proxy, &scan.Scanner{
		API: testkit.Client(proxy.URL), Table: table, Schema: schema,
		Limiter: capacity.NewLimiter(0), Policy: call.Policy{Timeout: 30 * time.Second},
	}
}

// readAll reads all pages of all segments and returns the items by key, and the number of pages.
func readAll(t *testing.T, s *scan.Scanner, segments int) (items map[item.Key]item.Item, pages int) {
	t.Helper()
	items = map[item.Key]item.Item{}
	for segment := range segments {
		var after *item.Key
		for {
			page, err := s.Page(t.Context(), segment, segments, after)
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, it := range page.Items {
				key, err := s.Schema.KeyOf(it)
				if err != nil {
					t.Fatal(err)
				}
				if _, twice := items[key]; twice {
					t.Errorf("%d segments: an item came twice", segments)
				}
				items[key] = it
			}
			if after = page.Next; after == nil {
				break
			}
		}
	}
	return items, pages
}

// wantItems compares what was read with what was written.
func wantItems(t *testing.T, s *scan.Scanner, got map[item.Key]item.Item, want []map[string]types.AttributeValue) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%d items, want %d", len(got), len(want))
	}
	for _, attrs := range want {
		it := item.Of(attrs)
		key, err := s.Schema.KeyOf(it)
		if err != nil {
			t.Fatal(err)
		}
		if same, err := item.Equal(got[key], it); err != nil || !same {
			t.Errorf("item %q is not as written (error %v)", key.ID(), err)
		}
	}
}

func TestPagesAndSegments(t *testing.T) {
	var items []map[string]types.AttributeValue
	for i := range 55 {
		items = append(items, testkit.Item("id", fmt.Sprintf("item-%d", i), "i", i, "text", strings.Repeat("x", 100_000)))
	}
	proxy, s := newScanner(t, "id:S", "", items)
	for _, segments := range []int{1, 7, 100} {
		s.Limiter = capacity.NewLimiter(0)
		before := proxy.Count("Scan")
		got, pages := readAll(t, s, segments)
		wantItems(t, s, got, items)
		if pages < max(segments, 6) { // 5.5 MB, and a page has 1 MB at the most
			t.Errorf("%d segments: %d pages", segments, pages)
		}
		if n := proxy.Count("Scan") - before; n != pages {
			t.Errorf("%d segments: %d requests for %d pages", segments, n, pages)
		}
		// Half a unit for each 4 KB of a page, rounded up: 12.2 to 12.5 for each item, and at least half a unit for each page.
		if used := s.Limiter.Used(); !testkit.Has(testkit.ReadUnitsBySize) && (used < 55*12.2 || used > 55*12.5+0.5*float64(pages)) {
			t.Errorf("%d segments: %g units", segments, used)
		}
	}
}

func TestEmptyTable(t *testing.T) {
	_, s := newScanner(t, "id:S", "", nil)
	for _, segments := range []int{1, 3} {
		if got, pages := readAll(t, s, segments); len(got) != 0 || pages != segments {
			t.Errorf("%d items, %d pages", len(got), pages)
		}
	}
}

// limited has each page hold at most n items.
func limited(t *testing.T, n int) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		var request map[string]json.RawMessage
		if err := json.Unmarshal(x.Body, &request); err != nil {
			t.Errorf("request %s: %v", x.Body, err)
		}
		request["Limit"] = json.RawMessage(fmt.Sprint(n))
		x.Body, _ = json.Marshal(request)
		return nil
	}
}

// The next page starts after any type of key.
func TestNextPageByKeyType(t *testing.T) {
	number := func(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }
	values := map[string][]any{
		"S": {"", "a", "\x00", "\"\\/<>&", "Zürich", "日本", "\U0001F600", strings.Repeat("k", 1024)},
		"N": {
			number("0"), number("-1"), number("1.50"), number("12345678901234567890123456789012345678"), number("1E125"),
			number("-9.9999999999999999999999999999999999999E125"), number("1E-130"), number("9007199254740993"),
		},
		"B": {[]byte{}, []byte{0}, []byte("a"), []byte{0xff, 0xfe}, []byte("\x80="), []byte{0, 0}, []byte{1, 2, 3, 4, 5}, make([]byte, 1024)},
	}
	for hash, hashes := range values {
		t.Run(hash, func(t *testing.T) {
			if hash == "N" {
				testkit.SkipIf(t, testkit.NumberKeysBySpelling)
			}
			var items []map[string]types.AttributeValue
			for i, value := range hashes {
				if i > 0 || hash == "N" { // a hash key must not be empty
					items = append(items, testkit.Item("h", value))
				}
			}
			proxy, s := newScanner(t, "h:"+hash, "", items)
			proxy.Use(limited(t, 1))
			got, pages := readAll(t, s, 2)
			wantItems(t, s, got, items)
			if pages < len(items) {
				t.Errorf("%d pages for %d items", pages, len(items))
			}
		})
		for sort, sorts := range values {
			t.Run(hash+sort, func(t *testing.T) {
				if hash == "N" || sort == "N" {
					testkit.SkipIf(t, testkit.NumberKeysBySpelling)
				}
				var items []map[string]types.AttributeValue
				for _, value := range sorts {
					items = append(items, testkit.Item("h", hashes[1], "r", value), testkit.Item("h", hashes[2], "r", value))
				}
				if sort != "N" {
					items = items[2:] // nor does the engine take an empty sort key
				}
				proxy, s := newScanner(t, "h:"+hash, "r:"+sort, items)
				proxy.Use(limited(t, 3))
				got, _ := readAll(t, s, 1)
				wantItems(t, s, got, items)
			})
		}
	}
}

// impatient gives up at the second failure in a row.
var impatient = call.Policy{Timeout: 30 * time.Second, GiveUp: 1, GiveUpSlowed: 1}

// An answer that isn't whole must not pass for an empty segment, or a shorter one.
func TestBrokenAnswers(t *testing.T) {
	testkit.BadAnswers(t, "they are what is tested", "key", "key only")
	proxy, s := newScanner(t, "id:S", "", nil)
	s.Policy = impatient
	for name, text := range map[string]string{
		"nothing":              `{}`,
		"empty":                ``,
		"no items":             `{"Count":0,"ScannedCount":0}`,
		"null items":           `{"Items":null,"Count":0}`,
		"only a key":           `{"LastEvaluatedKey":{"id":{"S":"a"}}}`,
		"too few items":        `{"Items":[{"id":{"S":"a"}}],"Count":2,"ScannedCount":2}`,
		"too many items":       `{"Items":[{"id":{"S":"a"}}],"Count":0,"ScannedCount":1}`,
		"items without count":  `{"Items":[{"id":{"S":"a"}}]}`,
		"broken":               `{"Items":[{"id":{"S":"a"}}`,
		"no key":               `{"Items":[],"Count":0,"LastEvaluatedKey":{"other":{"S":"a"}}}`,
		"key of another type":  `{"Items":[],"Count":0,"LastEvaluatedKey":{"id":{"N":"1"}}}`,
		"key where it started": `{"Items":[],"Count":0,"LastEvaluatedKey":{"id":{"S":"start"}}}`,
	} {
		proxy.Use(func(*testkit.Exchange) *testkit.Response { return &testkit.Response{Body: []byte(text)} })
		start, err := s.Schema.KeyOf(item.Of(testkit.Item("id", "start")))
		if err != nil {
			t.Fatal(err)
		}
		if page, err := s.Page(t.Context(), 3, 8, &start); err == nil || !strings.Contains(err.Error(), "segment 3 of 8") {
			t.Errorf("%s: page %v, error %v", name, page, err)
		}
	}
	// An empty page that isn't the last one is whole.
	proxy.Use(func(*testkit.Exchange) *testkit.Response {
		return &testkit.Response{Body: []byte(`{"Items":[],"Count":0,"LastEvaluatedKey":{"id":{"S":"a"}}}`)}
	})
	if page, err := s.Page(t.Context(), 0, 1, nil); err != nil || len(page.Items) != 0 || page.Next == nil {
		t.Errorf("page %v, error %v", page, err)
	}
}

func TestPageRepeats(t *testing.T) {
	items := []map[string]types.AttributeValue{testkit.Item("id", "a")}
	proxy, s := newScanner(t, "id:S", "", items)
	answers := []*testkit.Response{
		testkit.Throttle("Scan"),
		{Cut: true},
		testkit.Fail(500, "InternalServerError", ""),
		{Body: []byte(`{"Items":[`)},
		testkit.Throttle("Scan"),
	}
	var n atomic.Int64
	proxy.Use(func(*testkit.Exchange) *testkit.Response {
		if i := int(n.Add(1)) - 1; i < len(answers) {
			return answers[i]
		}
		return nil
	})
	got, pages := readAll(t, s, 1)
	wantItems(t, s, got, items)
	if pages != 1 || proxy.Count("Scan") != 6 || s.Limiter.Throttled() != 2 {
		t.Errorf("%d pages, %d requests, %d throttled, want 1, 6, 2", pages, proxy.Count("Scan"), s.Limiter.Throttled())
	}
}

func TestPageGivesUp(t *testing.T) {
	proxy, s := newScanner(t, "id:S", "", nil)
	s.Policy = impatient
	proxy.Use(func(x *testkit.Exchange) *testkit.Response { return testkit.Throttle(x.Op) })
	_, err := s.Page(t.Context(), 0, 1, nil)
	if throttled := (*types.ProvisionedThroughputExceededException)(nil); !errors.As(err, &throttled) {
		t.Errorf("error %v", err)
	}
}

func TestPageRefused(t *testing.T) {
	testkit.BadRequests(t, "the engine is to refuse it", "segment")
	proxy, s := newScanner(t, "id:S", "", nil)
	_, err := s.Page(t.Context(), 8, 8, nil)
	if err == nil || !strings.Contains(err.Error(), "ValidationException") || proxy.Count("Scan") != 1 {
		t.Errorf("%d requests, error %v", proxy.Count("Scan"), err)
	}
}

func TestPageContextEnds(t *testing.T) {
	proxy, s := newScanner(t, "id:S", "", nil)
	ctx, cancel := context.WithCancel(t.Context())
	proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		cancel()
		<-x.Ctx.Done()
		return &testkit.Response{Cut: true}
	})
	if _, err := s.Page(ctx, 0, 1, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// A page reserves what the last one cost.
func TestPageReservesCostOfLast(t *testing.T) {
	var items []map[string]types.AttributeValue
	for i := range 20 {
		items = append(items, testkit.Item("id", fmt.Sprint(i), "text", strings.Repeat("x", 4000)))
	}
	proxy, s := newScanner(t, "id:S", "", items)
	proxy.Use(limited(t, 10))           // 40 KB, so 5 units
	s.Limiter = capacity.NewLimiter(40) // a burst of 4 units
	start := time.Now()
	page, err := s.Page(t.Context(), 0, 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Page(t.Context(), 0, 1, page.Next); err != nil {
		t.Fatal(err)
	}
	// 5 units for the first, which reserved less; 5 for the second before it was sent; 4 of them were there.
	if d := time.Since(start); d < 145*time.Millisecond {
		t.Errorf("10 units at 40 a second took %s, want at least 150ms", d)
	}
}
