package table_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/call"
	"reseal/internal/table"
	"reseal/internal/test/testkit"
)

// open returns the client that Open makes for an endpoint.
func open(t *testing.T, url string) *dynamodb.Client {
	t.Helper()
	h, err := table.Side{Name: "target", Table: "some-table", EndpointURL: url}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h.DB
}

// A write that the client gives up while it is on its way must not go on being sent: it would land whenever the network lets
// it. Here the receiver takes only a few bytes at first, so most of the request is with the sender's kernel.
func TestGivenUpRequestIsNotSentOn(t *testing.T) {
	for _, mode := range []string{"", "standard"} { // in this mode, the SDK changes the HTTP client
		t.Run("defaults mode "+mode, func(t *testing.T) {
			cleanEnvironment(t, keys, secret, "AWS_DEFAULTS_MODE="+mode)
			small := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
				var failed error
				err := c.Control(func(fd uintptr) { failed = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096) })
				if err != nil {
					return err
				}
				return failed
			}}
			listener, err := small.Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = listener.Close() }()

			const size = 40_000
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			sent := false
			ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(info httptrace.WroteRequestInfo) {
				sent = info.Err == nil
				cancel()
			}})
			_, err = open(t, "http://"+listener.Addr().String()).PutItem(ctx, &dynamodb.PutItemInput{
				TableName: aws.String("some-table"), Item: testkit.Item("id", strings.Repeat("x", size)),
			}, call.Once)
			if call.Classify(err) != call.Unknown || !sent {
				t.Fatalf("error %v, the request is with the kernel: %t", err, sent)
			}
			conn, err := listener.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			got, err := io.ReadAll(conn)
			if err == nil || len(got) >= size {
				t.Errorf("%d bytes arrived after the client gave up, error %v, want a reset", len(got), err)
			}
		})
	}
}

// Connections are kept for as many requests as are in flight at a time.
func TestConnectionsAreKept(t *testing.T) {
	cleanEnvironment(t, keys, secret)
	const flight = 64
	var made atomic.Int64
	var waiting sync.WaitGroup // until all requests of a wave are in
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		waiting.Done()
		waiting.Wait()
		_, _ = w.Write([]byte(`{"UnprocessedItems":{}}`))
	}))
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			made.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	db := open(t, server.URL)
	for range 4 {
		waiting.Add(flight)
		var wave sync.WaitGroup
		for range flight {
			wave.Go(func() {
				_, err := db.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{
					RequestItems: map[string][]types.WriteRequest{"some-table": {{DeleteRequest: &types.DeleteRequest{Key: testkit.Item("id", "a")}}}},
				})
				if err != nil {
					t.Error(err)
				}
			})
		}
		wave.Wait()
	}
	// Some more, because a connection may come free only just after its request has returned.
	if n := made.Load(); n > 2*flight {
		t.Errorf("%d connections for 4 times %d requests at a time", n, flight)
	}
}
