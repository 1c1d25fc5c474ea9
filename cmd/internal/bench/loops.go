package main

import (
	"context"
	"errors"
	"reflect"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

// The yardsticks: what one writes with the SDK in ten minutes.

func plainClient(ctx context.Context, url string) (*dynamodb.Client, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithRegion("us-east-1"))
	if err != nil {
		return nil, err
	}
	return dynamodb.NewFromConfig(cfg, func(o *dynamodb.Options) { o.BaseEndpoint = &url }), nil
}

// batchSize is the most that BatchWriteItem takes.
const batchSize = 25

// plainCopy reads each segment page by page and writes what it reads, 25 items at a time. It loses updates (see internal/converge).
func plainCopy(ctx context.Context, j job) error {
	db, err := plainClient(ctx, j.url)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for segment := range j.segments {
		group.Go(func() error { return plainSegment(ctx, db, j, segment) })
	}
	return group.Wait()
}

func plainSegment(ctx context.Context, db *dynamodb.Client, j job, segment int) error {
	pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{
		TableName: &j.source, Segment: aws.Int32(int32(segment)), TotalSegments: aws.Int32(int32(j.segments)),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for start := 0; start < len(page.Items); start += batchSize {
			var requests []types.WriteRequest
			for _, it := range page.Items[start:min(start+batchSize, len(page.Items))] {
				requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: it}})
			}
			for left := map[string][]types.WriteRequest{j.target: requests}; len(left) > 0; {
				out, err := db.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{RequestItems: left})
				if err != nil {
					return err
				}
				left = out.UnprocessedItems
			}
		}
	}
	return nil
}

// keyName is the hash key of the tables.
const keyName = "k"

// emptyCalls makes calls that carry next to nothing: what a request costs the SDK at the least.
func emptyCalls(ctx context.Context, j job) error {
	db, err := plainClient(ctx, j.url)
	if err != nil {
		return err
	}
	key := map[string]types.AttributeValue{keyName: &types.AttributeValueMemberS{Value: "0000000001"}}
	in := &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{j.target: {{DeleteRequest: &types.DeleteRequest{Key: key}}}}}
	group, ctx := errgroup.WithContext(ctx)
	for range j.segments {
		group.Go(func() error {
			for range j.calls / j.segments {
				out, err := db.BatchWriteItem(ctx, in)
				if err != nil {
					return err
				}
				if len(out.UnprocessedItems) > 0 {
					return errors.New("an item was left unprocessed")
				}
			}
			return nil
		})
	}
	return group.Wait()
}

// forEach calls f with each item of a table, one after the other.
func forEach(ctx context.Context, db *dynamodb.Client, name string, f func(map[string]types.AttributeValue) error) error {
	pages := dynamodb.NewScanPaginator(db, &dynamodb.ScanInput{TableName: &name})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, it := range page.Items {
			if err := f(it); err != nil {
				return err
			}
		}
	}
	return nil
}

// putEach copies item by item.
func putEach(ctx context.Context, j job) error {
	db, err := plainClient(ctx, j.url)
	if err != nil {
		return err
	}
	return forEach(ctx, db, j.source, func(it map[string]types.AttributeValue) error {
		_, err := db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &j.target, Item: it})
		return err
	})
}

// getEach looks up each item of the source in the target, and compares the numbers of items, for those that only the target has.
func getEach(ctx context.Context, j job) error {
	db, err := plainClient(ctx, j.url)
	if err != nil {
		return err
	}
	sources, targets := 0, 0
	err = forEach(ctx, db, j.source, func(it map[string]types.AttributeValue) error {
		sources++
		out, err := db.GetItem(ctx, &dynamodb.GetItemInput{
			TableName: &j.target, Key: map[string]types.AttributeValue{keyName: it[keyName]}, ConsistentRead: aws.Bool(true),
		})
		if err == nil && !reflect.DeepEqual(it, out.Item) {
			err = errNoMatch
		}
		return err
	})
	if err != nil {
		return err
	}
	err = forEach(ctx, db, j.target, func(map[string]types.AttributeValue) error {
		targets++
		return nil
	})
	if err == nil && sources != targets {
		err = errNoMatch
	}
	return err
}
