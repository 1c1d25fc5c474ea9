package testkit

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
)

// proxied returns a proxy, a client through it, one past it, and a table.
func proxied(t *testing.T) (p *Proxy, through, past *dynamodb.Client, table string) {
	t.Helper()
	url := Engine(t)
	p = NewProxy(t, url)
	through, past = Client(p.URL), Client(url)
	return p, through, past, CreateTable(t, past, TableSpec{Hash: "id:S"})
}

// put sends a PutItem that may fail.
func put(ctx context.Context, c *dynamodb.Client, table, id string) error {
	_, err := c.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: Item("id", id)})
	return err
}

func TestProxyPassesThrough(t *testing.T) {
	p, through, past, table := proxied(t)
	Put(t, through, table, Item("id", "a", "pad", strings.Repeat("x", 100_000)))
	if Get(t, past, table, Item("id", "a")) == nil {
		t.Error("the put didn't arrive")
	}
	if items := ScanAll(t, through, table); len(items) != 1 {
		t.Errorf("%d items", len(items))
	}
	if _, err := Streams(p.URL).ListStreams(t.Context(), &dynamodbstreams.ListStreamsInput{}); err != nil {
		t.Error(err)
	}
	missing := "no-such-table"
	_, err := through.Scan(t.Context(), &dynamodb.ScanInput{TableName: &missing})
	if notFound := (*types.ResourceNotFoundException)(nil); !errors.As(err, &notFound) {
		t.Errorf("error %v, want ResourceNotFoundException", err)
	}
	for op, want := range map[string]int{"PutItem": 1, "Scan": 2, "ListStreams": 1, "Query": 0} {
		if got := p.Count(op); got != want {
			t.Errorf("%d requests for %s, want %d", got, op, want)
		}
	}
}

func TestProxyKeepsChecksumOfPassedAnswersOnly(t *testing.T) {
	p, _, _, table := proxied(t)
	get := func() *http.Response {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.URL,
			strings.NewReader(`{"TableName":"`+table+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Amz-Target", "DynamoDB_20120810.DescribeTable")
		req.Header.Set("Content-Type", "application/x-amz-json-1.0")
		req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=a/20260101/us-east-1/dynamodb/aws4_request, "+
			"SignedHeaders=host, Signature=b")
		req.Header.Set("X-Amz-Date", "20260101T000000Z")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if err := resp.Body.Close(); err != nil {
			t.Fatal(err)
		}
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("status %s", resp.Status)
		}
		return resp
	}
	if get().Header.Get("X-Amz-Crc32") == "" {
		t.Error("a passed answer has lost its checksum")
	}
	p.Use(func(x *Exchange) *Response {
		_, body, err := x.Forward()
		if err != nil {
			t.Error(err)
		}
		return &Response{Body: body}
	})
	if sum := get().Header.Get("X-Amz-Crc32"); sum != "" {
		t.Errorf("a hook's answer has the checksum %s", sum)
	}
}

func TestProxyThrottles(t *testing.T) {
	p, through, past, table := proxied(t)
	p.Use(func(x *Exchange) *Response {
		if x.Op != "PutItem" {
			return nil
		}
		return Throttle(x.Op)
	})
	err := put(t.Context(), through, table, "a")
	if throttled := (*types.ProvisionedThroughputExceededException)(nil); !errors.As(err, &throttled) {
		t.Errorf("error %v, want ProvisionedThroughputExceededException", err)
	}
	if n := p.Count("PutItem"); n != 1 {
		t.Errorf("%d requests: the client retries", n)
	}
	if items := ScanAll(t, through, table); len(items) != 0 {
		t.Errorf("the put arrived: %v", items)
	}
	p.Use(nil)
	Put(t, through, table, Item("id", "a"))
	if Get(t, past, table, Item("id", "a")) == nil {
		t.Error("the put without a hook didn't arrive")
	}
}

func TestProxyFails(t *testing.T) {
	p, through, _, table := proxied(t)
	p.Use(func(*Exchange) *Response {
		return Fail(http.StatusInternalServerError, "InternalServerError", "planted")
	})
	err := put(t.Context(), through, table, "a")
	failure := (*types.InternalServerError)(nil)
	if !errors.As(err, &failure) || failure.ErrorMessage() != "planted" {
		t.Errorf("error %v, want InternalServerError", err)
	}
}

func TestProxyCuts(t *testing.T) {
	for _, forward := range []bool{false, true} {
		p, through, past, table := proxied(t)
		Put(t, through, table, Item("id", "warm")) // so that the cut hits a connection that has been used
		p.Use(func(x *Exchange) *Response {
			if forward {
				if status, _, err := x.Forward(); status != http.StatusOK || err != nil {
					t.Errorf("forward: %d, %v", status, err)
				}
			}
			return &Response{Cut: true}
		})
		if err := put(t.Context(), through, table, "a"); err == nil {
			t.Error("no error")
		}
		if n := p.Count("PutItem"); n != 2 {
			t.Errorf("%d requests, want 2: somebody retries", n)
		}
		if landed := Get(t, past, table, Item("id", "a")) != nil; landed != forward {
			t.Errorf("forwarded %t, landed %t", forward, landed)
		}
		p.Use(nil)
		Put(t, through, table, Item("id", "b")) // The next connection is a good one.
	}
}

func TestProxyHolds(t *testing.T) {
	p, through, past, table := proxied(t)
	arrived, release := make(chan struct{}), make(chan struct{})
	p.Use(func(x *Exchange) *Response {
		if !bytes.Contains(x.Body, []byte(`"held"`)) {
			return nil
		}
		close(arrived)
		select {
		case <-release:
			return nil
		case <-x.Ctx.Done():
			return &Response{Cut: true}
		}
	})
	result := make(chan error, 1)
	go func() { result <- put(t.Context(), through, table, "held") }()
	<-arrived
	Put(t, through, table, Item("id", "other")) // The others go on meanwhile.
	if Get(t, past, table, Item("id", "held")) != nil {
		t.Error("the held request got through")
	}
	close(release)
	if err := <-result; err != nil {
		t.Error(err)
	}
	if Get(t, past, table, Item("id", "held")) == nil {
		t.Error("the released request didn't arrive")
	}
}

// TestProxyLandsLate plays the write whose answer was lost: the client has given up, and then the write lands.
func TestProxyLandsLate(t *testing.T) {
	p, through, past, table := proxied(t)
	exchanges := make(chan *Exchange, 1)
	p.Use(func(x *Exchange) *Response {
		exchanges <- x
		<-x.Ctx.Done()
		return &Response{Cut: true}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := put(ctx, through, table, "a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	late := <-exchanges
	<-late.Ctx.Done()
	if Get(t, past, table, Item("id", "a")) != nil {
		t.Error("it has landed before it was forwarded")
	}
	for range 2 {
		if status, _, err := late.Forward(); status != http.StatusOK || err != nil {
			t.Errorf("forward: %d, %v", status, err)
		}
	}
	if Get(t, past, table, Item("id", "a")) == nil {
		t.Error("it hasn't landed")
	}
}

func TestProxyModifies(t *testing.T) {
	p, through, past, table := proxied(t)
	p.Use(func(x *Exchange) *Response {
		if x.Op == "PutItem" {
			x.Body = bytes.ReplaceAll(x.Body, []byte(`"sent"`), []byte(`"written instead"`))
			return nil
		}
		status, body, err := x.Forward()
		if err != nil {
			t.Error(err)
		}
		return &Response{Status: status, Body: bytes.ReplaceAll(body, []byte("instead"), []byte("and read"))}
	})
	Put(t, through, table, Item("id", "sent"))
	if Get(t, past, table, Item("id", "written instead")) == nil {
		t.Error("the request wasn't modified")
	}
	items := ScanAll(t, through, table)
	if len(items) != 1 || items[0]["id"].(*types.AttributeValueMemberS).Value != "written and read" {
		t.Errorf("the answer wasn't modified: %v", items)
	}
}

func TestProxyWithoutEngine(t *testing.T) {
	p := NewProxy(t, "http://127.0.0.1:1")
	if err := put(t.Context(), Client(p.URL), "abc", "a"); err == nil {
		t.Error("no error")
	}
}

// TestProxyEndsWithTest checks that a hook that waits for its context doesn't keep a test from ending.
func TestProxyEndsWithTest(t *testing.T) {
	url := Engine(t)
	result := make(chan error, 1)
	t.Run("inner", func(t *testing.T) {
		p := NewProxy(t, url)
		arrived := make(chan struct{})
		p.Use(func(x *Exchange) *Response {
			close(arrived)
			<-x.Ctx.Done()
			return &Response{Cut: true}
		})
		go func() { result <- put(context.Background(), Client(p.URL), "abc", "a") }()
		<-arrived
	})
	if err := <-result; err == nil {
		t.Error("no error")
	}
}

func TestProxyManyAtATime(t *testing.T) {
	p, through, past, table := proxied(t)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if i%10 == 0 {
				p.Use(func(*Exchange) *Response { return nil })
			}
			if err := put(t.Context(), through, table, strings.Repeat("x", i+1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := len(ScanAll(t, past, table)); n != 200 || p.Count("PutItem") != 200 {
		t.Errorf("%d items, %d requests", n, p.Count("PutItem"))
	}
}
