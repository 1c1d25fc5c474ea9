package testkit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

const (
	// fillBatch is the most items that BatchWriteItem takes.
	fillBatch = 25
	// fillWorkers is how many batches are written at a time.
	fillWorkers = 4
	// fillAttempts is how often a batch is sent as long as some of its items come back unprocessed.
	fillAttempts = 10
)

// Item makes an item, or a key, of alternating attribute names and Go values. A value that is a
// types.AttributeValue is taken as it is; any other goes through attributevalue.Marshal. It panics on an odd
// number of arguments, a name that isn't a string, and a value that can't be marshalled.
func Item(kv ...any) map[string]types.AttributeValue {
	if len(kv)%2 != 0 {
		panic("testkit.Item: a name without a value")
	}
	item := make(map[string]types.AttributeValue, len(kv)/2)
	for pair := range slices.Chunk(kv, 2) {
		name, ok := pair[0].(string)
		if !ok {
			panic(fmt.Sprintf("testkit.Item: name %v isn't a string", pair[0]))
		}
		if value, ok := pair[1].(types.AttributeValue); ok {
			item[name] = value
			continue
		}
		value, err := attributevalue.Marshal(pair[1])
		if err != nil {
			panic(fmt.Sprintf("testkit.Item: %s: %v", name, err))
		}
		item[name] = value
	}
	return item
}

// Fill writes the items, whose keys must differ, in batches, several at a time.
func Fill(t testing.TB, c *dynamodb.Client, table string, items []map[string]types.AttributeValue) {
	t.Helper()
	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(fillWorkers)
	for batch := range slices.Chunk(items, fillBatch) {
		group.Go(func() error { return writeBatch(ctx, c, table, batch) })
	}
	if err := group.Wait(); err != nil {
		t.Fatalf("fill table %s: %v", table, err)
	}
}

// writeBatch puts up to fillBatch items.
func writeBatch(ctx context.Context, c *dynamodb.Client, table string, items []map[string]types.AttributeValue) error {
	var requests []types.WriteRequest
	for _, item := range items {
		requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
	}
	left := map[string][]types.WriteRequest{table: requests}
	for attempt := range fillAttempts {
		out, err := c.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: left})
		if err != nil {
			return err
		}
		if left = out.UnprocessedItems; len(left) == 0 {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond << attempt):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return fmt.Errorf("items are still unprocessed after %d attempts", fillAttempts)
}

// Put writes one item.
func Put(t testing.TB, c *dynamodb.Client, table string, item map[string]types.AttributeValue) {
	t.Helper()
	if _, err := c.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &table, Item: item}); err != nil {
		t.Fatalf("put item into %s: %v", table, err)
	}
}

// Delete deletes one item, which need not exist.
func Delete(t testing.TB, c *dynamodb.Client, table string, key map[string]types.AttributeValue) {
	t.Helper()
	if _, err := c.DeleteItem(t.Context(), &dynamodb.DeleteItemInput{TableName: &table, Key: key}); err != nil {
		t.Fatalf("delete item from %s: %v", table, err)
	}
}

// Get reads one item, consistently. It returns nil if there is none.
func Get(
	t testing.TB, c *dynamodb.Client, table string, key map[string]types.AttributeValue,
) map[string]types.AttributeValue {
	t.Helper()
	out, err := c.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: &table, Key: key, ConsistentRead: aws.Bool(true),
	})
	if err != nil {
		t.Fatalf("get item from %s: %v", table, err)
	}
	return out.Item
}

// ScanAll reads a whole table, consistently, in the engine's order.
func ScanAll(t testing.TB, c *dynamodb.Client, table string) []map[string]types.AttributeValue {
	t.Helper()
	var items []map[string]types.AttributeValue
	pages := dynamodb.NewScanPaginator(c, &dynamodb.ScanInput{TableName: &table, ConsistentRead: aws.Bool(true)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(t.Context())
		if err != nil {
			t.Fatalf("scan table %s: %v", table, err)
		}
		items = append(items, page.Items...)
	}
	return items
}

// pick returns the named attributes of an item.
func pick(item map[string]types.AttributeValue, names []string) map[string]types.AttributeValue {
	picked := maps.Clone(item)
	maps.DeleteFunc(picked, func(name string, _ types.AttributeValue) bool { return !slices.Contains(names, name) })
	return picked
}
