package batch_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/batch"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/test/testkit"
)

const write = "BatchWriteItem"

// partly has the engine carry out the first n writes of a request and leaves the others unprocessed.
func (k *kit) partly(n int) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		var request map[string]json.RawMessage
		var writes map[string][]json.RawMessage
		if json.Unmarshal(x.Body, &request) != nil || json.Unmarshal(request["RequestItems"], &writes) != nil {
			k.Errorf("request %s", x.Body)
			return cut
		}
		list := writes[k.table]
		fields := map[string]json.RawMessage{}
		if n > 0 {
			request["RequestItems"] = marshal(map[string]any{k.table: list[:n]})
			x.Body = marshal(request)
			fields = k.forward(x)
		}
		fields["UnprocessedItems"] = marshal(map[string]any{k.table: list[n:]})
		return body(string(marshal(fields)))
	}
}

func TestWrite(t *testing.T) {
	k := newKit(t)
	testkit.Fill(t, k.past, k.table, []map[string]types.AttributeValue{
		testkit.Item("id", "gone", "x", 1), testkit.Item("id", id(0), "old", true),
	})
	ops := append(puts(t, 23, strings.Repeat("v", 3000)), del(t, "gone"), del(t, "never-was"))
	uncertain, err := k.writer.Write(t.Context(), ops)
	if err != nil || uncertain != nil {
		t.Fatalf("error %v, uncertain %v", err, uncertain)
	}
	k.wantTable(ops)
	k.wantRequests(write, 1)
	if got := k.writer.Limiter.Used(); got != 23*3+2 {
		t.Errorf("%g units, want 3 for each put and 1 for each delete", got)
	}
}

func TestWriteNothing(t *testing.T) {
	k := newKit(t)
	if uncertain, err := k.writer.Write(t.Context(), nil); err != nil || uncertain != nil {
		t.Errorf("error %v, uncertain %v", err, uncertain)
	}
	k.wantRequests(write, 0)
}

func TestWriteRefusesDuplicates(t *testing.T) {
	k := newKit(t)
	if _, err := k.writer.Write(t.Context(), append(puts(t, 2, "v"), del(t, id(1)))); err == nil {
		t.Error("no error")
	}
	k.wantRequests(write, 0)
}

func TestWriteUnprocessedItems(t *testing.T) {
	k := newKit(t)
	ops := append(puts(t, 20, "v"), del(t, "x"), del(t, "y"))
	k.script(write, k.partly(9), k.partly(0), k.partly(3), k.partly(9))
	uncertain, err := k.writer.Write(t.Context(), ops)
	if err != nil || uncertain != nil {
		t.Fatalf("error %v, uncertain %v", err, uncertain)
	}
	k.wantTable(ops)
	k.wantRequests(write, 5)
	if n := k.writer.Limiter.Throttled(); n != 4 {
		t.Errorf("%d throttled, want 4", n)
	}
	if got := k.writer.Limiter.Used(); got != 22 {
		t.Errorf("%g units, want 22: one for each", got)
	}
}

func TestWriteThrottled(t *testing.T) {
	k := newKit(t)
	ops := puts(t, 3, "v")
	k.script(write, answer(testkit.Throttle(write)), answer(testkit.Fail(400, "ThrottlingException", "")))
	uncertain, err := k.writer.Write(t.Context(), ops)
	if err != nil || uncertain != nil {
		t.Fatalf("error %v, uncertain %v", err, uncertain)
	}
	k.wantTable(ops)
	k.wantRequests(write, 3)
	if n := k.writer.Limiter.Throttled(); n != 2 {
		t.Errorf("%d throttled, want 2", n)
	}
}

// An attempt whose outcome isn't known makes all keys in it uncertain, although a later one succeeds.
func TestWriteUnknownOutcome(t *testing.T) {
	for name, lose := range map[string]func(*kit) testkit.Hook{
		"cut before it is applied": func(*kit) testkit.Hook { return answer(cut) },
		"cut after it is applied": func(k *kit) testkit.Hook {
			return func(x *testkit.Exchange) *testkit.Response { k.forward(x); return cut }
		},
		"500":                 func(*kit) testkit.Hook { return answer(testkit.Fail(500, "InternalServerError", "")) },
		"503":                 func(*kit) testkit.Hook { return answer(testkit.Fail(503, "ServiceUnavailable", "")) },
		"broken answer":       func(*kit) testkit.Hook { return answer(body(`{"UnprocessedItems":{`)) },
		"empty answer":        func(*kit) testkit.Hook { return answer(body(``)) },
		"answer of nothing":   func(*kit) testkit.Hook { return answer(body(`{}`)) },
		"answer without list": func(*kit) testkit.Hook { return answer(body(`{"ConsumedCapacity":[]}`)) },
		"answer of null":      func(*kit) testkit.Hook { return answer(body(`{"UnprocessedItems":null}`)) },
		"time-out": func(*kit) testkit.Hook {
			return func(x *testkit.Exchange) *testkit.Response { <-x.Ctx.Done(); return cut }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			if name == "time-out" {
				k.writer.Policy.Timeout = 2 * time.Second // of the second attempt, too
			}
			ops := append(puts(t, 7, "v"), del(t, "x"))
			k.script(write, lose(k))
			uncertain, err := k.writer.Write(t.Context(), ops)
			if err != nil {
				t.Fatal(err)
			}
			k.wantKeys("uncertain", uncertain, keysOf(ops))
			k.wantTable(ops)
			k.wantRequests(write, 2)
		})
	}
}

// Only the keys that were in the lost attempt are uncertain.
func TestWriteUnknownOutcomeOfRest(t *testing.T) {
	k := newKit(t)
	ops := puts(t, 10, "v")
	var lost []string
	k.script(write, k.partly(6), func(x *testkit.Exchange) *testkit.Response {
		for i := range ops {
			if strings.Contains(string(x.Body), id(i)) {
				lost = append(lost, id(i))
			}
		}
		return cut
	})
	uncertain, err := k.writer.Write(t.Context(), ops)
	if err != nil {
		t.Fatal(err)
	}
	var want []item.Key
	for _, id := range lost {
		want = append(want, del(t, id).Key)
	}
	if len(want) != 4 {
		t.Fatalf("%d keys in the second attempt, want 4", len(want))
	}
	k.wantKeys("uncertain", uncertain, want)
	k.wantTable(ops)
}

func TestWriteGivesUp(t *testing.T) {
	testkit.BadAnswers(t, "an item that is no write", "one value")
	for name, test := range map[string]struct {
		answer    *testkit.Response
		uncertain bool
	}{
		"unknown":                {cut, true},
		"not whole":              {body(`{}`), true},
		"throttled":              {testkit.Throttle(write), false},
		"key not in the request": {body(`{"UnprocessedItems":{"t":[{"DeleteRequest":{"Key":{"id":{"S":"other"}}}}]}}`), true},
		"key not a key":          {body(`{"UnprocessedItems":{"t":[{"PutRequest":{"Item":{"id":{"N":"1"}}}}]}}`), true},
		"no write":               {body(`{"UnprocessedItems":{"t":[{}]}}`), true},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.writer.Policy = impatient
			k.proxy.Use(answer(test.answer))
			ops := puts(t, 3, "v")
			uncertain, err := k.writer.Write(t.Context(), ops)
			if err == nil || !strings.Contains(err.Error(), "gave up") {
				t.Errorf("error %v", err)
			}
			if test.uncertain {
				k.wantKeys("uncertain", uncertain, keysOf(ops))
			} else {
				k.wantKeys("uncertain", uncertain, nil)
			}
			k.wantRequests(write, 2)
		})
	}
}

func TestWritePersistentlyUnprocessed(t *testing.T) {
	k := newKit(t)
	k.writer.Policy = impatient
	k.proxy.Use(k.partly(0))
	uncertain, err := k.writer.Write(t.Context(), puts(t, 3, "v"))
	if err == nil || !strings.Contains(err.Error(), "throttled") || uncertain != nil {
		t.Errorf("error %v, uncertain %v", err, uncertain)
	}
}

func TestWriteRefused(t *testing.T) {
	testkit.BadRequests(t, "the engine is to refuse it", "key")
	k := newKit(t)
	bad := put(t, "id", "a")
	bad.Item = item.Of(testkit.Item("id", 5))
	uncertain, err := k.writer.Write(t.Context(), []batch.Op{bad, put(t, "id", "b")})
	if err == nil || !strings.Contains(err.Error(), "ValidationException") || uncertain != nil {
		t.Errorf("error %v, uncertain %v", err, uncertain)
	}
	k.wantRequests(write, 1)
	k.wantTable(nil)
}

// dialer returns a client whose first dials go to a port where nobody listens.
func dialer(url string, failures int64) *dynamodb.Client {
	var dials atomic.Int64
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		if dials.Add(1) <= failures {
			address = "127.0.0.1:1"
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}
	options := testkit.Client(url).Options()
	options.HTTPClient = &http.Client{Transport: transport}
	return dynamodb.New(options)
}

func TestWriteWithoutConnection(t *testing.T) {
	k := newKit(t)
	ops := puts(t, 3, "v")
	k.writer.API = dialer(k.proxy.URL, 2)
	uncertain, err := k.writer.Write(t.Context(), ops)
	if err != nil || uncertain != nil {
		t.Errorf("back after two attempts: error %v, uncertain %v", err, uncertain)
	}
	k.wantTable(ops)
	k.wantRequests(write, 1)

	k.writer.API, k.writer.Policy = dialer(k.proxy.URL, 1000), impatient
	uncertain, err = k.writer.Write(t.Context(), ops)
	if err == nil || !strings.Contains(err.Error(), "connection refused") || uncertain != nil {
		t.Errorf("never back: error %v, uncertain %v", err, uncertain)
	}
}

// A request that has been sent is waited for although the context has ended.
func TestWriteContextEndsInRequest(t *testing.T) {
	for name, test := range map[string]struct {
		then func(*kit) testkit.Hook
		err  error
	}{
		"all written":       {func(*kit) testkit.Hook { return func(*testkit.Exchange) *testkit.Response { return nil } }, nil},
		"partly written":    {func(k *kit) testkit.Hook { return k.partly(2) }, context.Canceled},
		"throttled":         {func(*kit) testkit.Hook { return answer(testkit.Throttle(write)) }, context.Canceled},
		"outcome not known": {func(*kit) testkit.Hook { return answer(cut) }, context.Canceled},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ops := puts(t, 5, "v")
			then := test.then(k)
			k.script(write, func(x *testkit.Exchange) *testkit.Response {
				cancel()
				select {
				case <-x.Ctx.Done():
					t.Error("the request was given up")
				case <-time.After(20 * time.Millisecond): // not awaited for anything: a chance to fail
				}
				return then(x)
			})
			uncertain, err := k.writer.Write(ctx, ops)
			if !errors.Is(err, test.err) {
				t.Errorf("error %v, want %v", err, test.err)
			}
			if name == "outcome not known" {
				k.wantKeys("uncertain", uncertain, keysOf(ops))
			} else {
				k.wantKeys("uncertain", uncertain, nil)
			}
			if test.err == nil {
				k.wantTable(ops)
			}
			k.wantRequests(write, 1)
		})
	}
}

func TestWriteContextEnded(t *testing.T) {
	k := newKit(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	uncertain, err := k.writer.Write(ctx, puts(t, 5, "v"))
	if !errors.Is(err, context.Canceled) || uncertain != nil {
		t.Errorf("error %v, uncertain %v", err, uncertain)
	}
	k.wantRequests(write, 0)
}

// The time-out bounds how long a request is waited for, with and without a context that has ended.
func TestWriteTimeOut(t *testing.T) {
	k := newKit(t)
	k.writer.Policy.Timeout = 50 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	k.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		cancel()
		<-x.Ctx.Done() // for ever, if the client never gives up
		return cut
	})
	ops := puts(t, 2, "v")
	uncertain, err := k.writer.Write(ctx, ops)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	k.wantKeys("uncertain", uncertain, keysOf(ops))
}

// What may have been written is counted as if it had been.
func TestWriteUnitsOfLostAttempt(t *testing.T) {
	k := newKit(t)
	k.script(write, answer(cut), answer(testkit.Throttle(write)))
	if _, err := k.writer.Write(t.Context(), puts(t, 4, "v")); err != nil {
		t.Fatal(err)
	}
	if got := k.writer.Limiter.Used(); got != 8 {
		t.Errorf("%g units, want 4 for the lost attempt and 4 for the last", got)
	}
}

func TestWriteConcurrently(t *testing.T) {
	k := newKit(t)
	k.writer.Limiter = capacity.NewLimiter(5000)
	k.proxy.Use(func() testkit.Hook {
		var n atomic.Int64
		return func(x *testkit.Exchange) *testkit.Response {
			switch n.Add(1) % 5 {
			case 1:
				return testkit.Throttle(x.Op)
			case 3:
				return cut
			}
			return nil
		}
	}())
	var all []batch.Op
	var group sync.WaitGroup
	for g := range 6 {
		ops := puts(t, 10, "v")
		for i := range ops {
			ops[i] = put(t, "id", fmt.Sprintf("%d-%d", g, i))
		}
		all = append(all, ops...)
		group.Go(func() {
			if _, err := k.writer.Write(t.Context(), ops); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	k.proxy.Use(nil)
	k.wantTable(all)
}
