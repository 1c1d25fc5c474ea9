package testkit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// ClientAs is Client with the access key of a caller: see Policies.
func ClientAs(url, accessKey string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: &url, Region: Region, HTTPClient: httpClient, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(accessKey, "secret", ""),
	})
}

// Application writes to a table, and to another one from the moment on at which it goes over. It remembers each write that it was told to
// be made. A write that is denied is made again, with what it would write by then.
type Application struct {
	sides [2]*dynamodb.Client
	names [2]string

	writers sync.WaitGroup
	cancel  context.CancelFunc

	mu     sync.Mutex
	over   bool
	known  map[string][]string // what each key may hold: the last acknowledged, and what came after it without an answer; "": no item
	writes int
	denied time.Time // since when no write has been let through; zero: one has
	waited time.Duration
	failed error
}

// StartApplication has some writers write to keys of their own, "app-0" and on, at a rate that is theirs together.
func StartApplication(t testing.TB, source, target *dynamodb.Client, sourceTable, targetTable string, writers, keys int, rate float64) *Application {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	a := &Application{sides: [2]*dynamodb.Client{source, target}, names: [2]string{sourceTable, targetTable}, cancel: cancel, known: map[string][]string{}}
	pause := time.Duration(float64(writers) / rate * float64(time.Second))
	for number := range writers {
		a.writers.Go(func() {
			ticker := time.NewTicker(pause)
			defer ticker.Stop()
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-ticker.C:
				}
				key := "app-" + strconv.Itoa(number+writers*rand.IntN(max(1, keys/writers)))
				if err := a.write(ctx, key, strconv.Itoa(number)+"-"+strconv.Itoa(n)); err != nil && ctx.Err() == nil {
					a.fail(err)
					return
				}
			}
		})
	}
	t.Cleanup(func() { _ = a.Stop() })
	return a
}

func (a *Application) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.failed = errors.Join(a.failed, err)
}

// GoOver has it write to the other table from now on.
func (a *Application) GoOver() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}

// Stop ends the writers, and returns what kept one from writing other than a denial.
func (a *Application) Stop() error {
	a.cancel()
	a.writers.Wait()
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.failed
}

// Waited is the longest time in which no write was let through, from the first denied one on; Writes how many were acknowledged.
func (a *Application) Waited() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.waited
}

// Writes is how many writes were acknowledged.
func (a *Application) Writes() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.writes
}

// write puts, updates or deletes an item.
func (a *Application) write(ctx context.Context, key, value string) error {
	a.mu.Lock()
	side := 0
	if a.over {
		side = 1
	}
	a.mu.Unlock()
	if rand.IntN(10) == 0 {
		value = ""
	}
	err := a.send(context.WithoutCancel(ctx), side, key, value)
	var api smithy.APIError
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case err == nil:
		if !a.denied.IsZero() {
			a.waited = max(a.waited, now.Sub(a.denied))
		}
		a.denied = time.Time{}
		a.known[key] = []string{value}
		a.writes++
		return nil
	case errors.As(err, &api) && api.ErrorCode() == "AccessDeniedException":
		if a.denied.IsZero() {
			a.denied = now
		}
		return nil
	case errors.As(err, &api):
		return fmt.Errorf("application: %w", err)
	}
	a.known[key] = append(a.known[key], value) // it may have been made
	return nil
}

func (a *Application) send(ctx context.Context, side int, key, value string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	id := map[string]types.AttributeValue{"id": &types.AttributeValueMemberS{Value: key}}
	written := &types.AttributeValueMemberS{Value: value}
	var err error
	switch {
	case value == "":
		_, err = a.sides[side].DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &a.names[side], Key: id})
	case rand.IntN(2) == 0:
		_, err = a.sides[side].UpdateItem(ctx, &dynamodb.UpdateItemInput{
			TableName: &a.names[side], Key: id, UpdateExpression: aws.String("SET written = :w"),
			ExpressionAttributeValues: map[string]types.AttributeValue{":w": written},
		})
	default:
		id["written"] = written
		_, err = a.sides[side].PutItem(ctx, &dynamodb.PutItemInput{TableName: &a.names[side], Item: id})
	}
	return err
}

// Lost returns the keys of which the table that it writes to has something else than what was written last. Call it after Stop. The client
// must be one whom nothing is denied.
func (a *Application) Lost(t testing.TB, client *dynamodb.Client) []string {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	side := 0
	if a.over {
		side = 1
	}
	found := map[string]string{}
	for _, one := range ScanAll(t, client, a.names[side]) {
		id, is := one["id"].(*types.AttributeValueMemberS)
		written, has := one["written"].(*types.AttributeValueMemberS)
		if is && has {
			found[id.Value] = written.Value
		}
	}
	var list []string
	for key, may := range a.known {
		is := false
		for _, one := range may {
			is = is || one == found[key]
		}
		if !is {
			list = append(list, fmt.Sprintf("%s of %s is %q, and may be %q", key, a.names[side], found[key], may))
		}
	}
	return list
}
