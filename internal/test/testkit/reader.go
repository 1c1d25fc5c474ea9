package testkit

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Reading is an application that reads a table, one item with each request.
type Reading struct {
	all, throttled atomic.Int64
	stop           func()
}

// StartReading has an application read the keys, so many times a second, at random times and each without regard to the others. Its
// requests are of one unit each, aren't repeated, and go through the client given, which is to be that of a metered Proxy.
func StartReading(t testing.TB, c *dynamodb.Client, table string, perSecond float64, keys []map[string]types.AttributeValue) *Reading {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &Reading{}
	var group sync.WaitGroup
	r.stop = sync.OnceFunc(func() { cancel(); group.Wait() })
	t.Cleanup(r.stop)
	random := rand.New(rand.NewPCG(5, 6))
	group.Go(func() {
		for due := time.Now(); ; {
			due = due.Add(time.Duration(random.ExpFloat64() / perSecond * float64(time.Second)))
			timer := time.NewTimer(time.Until(due))
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
			key := keys[random.IntN(len(keys))]
			group.Go(func() { r.one(ctx, t, c, table, key) })
		}
	})
	return r
}

func (r *Reading) one(ctx context.Context, t testing.TB, c *dynamodb.Client, table string, key map[string]types.AttributeValue) {
	_, err := c.BatchGetItem(ctx, &dynamodb.BatchGetItemInput{
		RequestItems: map[string]types.KeysAndAttributes{
			table: {Keys: []map[string]types.AttributeValue{key}, ConsistentRead: aws.Bool(true)},
		},
		ReturnConsumedCapacity: types.ReturnConsumedCapacityTotal,
	}, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	var throttled *types.ProvisionedThroughputExceededException
	switch {
	case ctx.Err() != nil:
		return
	case errors.As(err, &throttled):
		r.throttled.Add(1)
	case err != nil:
		t.Errorf("application: %v", err)
	}
	r.all.Add(1)
}

// Stop ends the application, waits until it has, and returns how many requests it made, and how many of them were throttled.
func (r *Reading) Stop() (all, throttled int64) {
	r.stop()
	return r.all.Load(), r.throttled.Load()
}
