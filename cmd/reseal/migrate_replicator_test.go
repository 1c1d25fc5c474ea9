package main

import (
	"context"
	"errors"
	"testing"
	"time"

	"reseal/internal/table"
	"reseal/internal/test/testkit"
	"reseal/replicate"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
)

// A replicator that ends in the midst of a write is stopped only when that can't be carried out any more; one that has nothing under way
// at once. It can be started again.
func TestOwnReplicatorInAWrite(t *testing.T) {
	t.Parallel()
	ts := newTables(t, 3)
	testkit.Put(t, ts.db, ts.source, testkit.Item("id", "changed", "v", 1))
	streams := dynamodbstreams.New(dynamodbstreams.Options{
		BaseEndpoint: &ts.sourceProxy.URL, Region: testkit.Region, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	ctx, fail := context.WithCancelCause(t.Context())
	defer fail(nil)
	r := &ownReplicator{ctx: ctx, failed: fail}
	r.options = replicate.Options{
		Source: testkit.Client(ts.sourceProxy.URL), SourceTable: ts.source, Streams: streams,
		Target: testkit.Client(ts.targetProxy.URL), TargetTable: ts.target, Progress: r.progress, Encryption: table.EncryptionAny,
	}
	written, held := make(chan struct{}, 10), make(chan struct{}, 100) // requests are repeated
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "BatchWriteItem" {
			return nil
		}
		if _, _, err := x.Forward(); err != nil {
			return &testkit.Response{Cut: true}
		}
		held <- struct{}{}
		<-x.Ctx.Done()
		return &testkit.Response{Cut: true}
	})
	r.start()
	<-held
	r.end() // a request that is under way is let end
	soon, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := r.stop(soon); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it was stopped with a write under way: %v", err)
	}
	if left := time.Until(r.late); left < 10*time.Second || left > time.Minute {
		t.Errorf("the write may land for %s", left)
	}

	polled := make(chan struct{}, 1)
	ts.sourceProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "GetRecords" {
			select {
			case polled <- struct{}{}:
			default:
			}
		}
		return nil
	})
	ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "BatchWriteItem" {
			written <- struct{}{}
		}
		return nil
	})
	r.late = time.Time{} // as if that time had passed
	if err := r.startAgain(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-written
	select {
	case <-polled:
	default:
	}
	<-polled // the stream is read again when what was read before is applied
	if err := r.stop(t.Context()); err != nil || context.Cause(ctx) != nil {
		t.Errorf("%v, %v", err, context.Cause(ctx))
	}
	if item := testkit.Get(t, ts.db, ts.target, testkit.Item("id", "changed")); item == nil {
		t.Error("nothing was applied")
	}
}
