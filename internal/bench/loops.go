package main

import (
	"context"
	"errors"

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

// plainCopy reads each segment page by page and writes what it reads, 25 items at a time. It loses updates (see DESIGN, section 3).
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

// emptyCalls makes calls that carry next to nothing: what a request costs the SDK at the least.
func emptyCalls(ctx context.Context, j job) error {
	db, err := plainClient(ctx, j.url)
	if err != nil {
		return err
	}
	key := map[string]types.AttributeValue{"k": &types.AttributeValueMemberS{Value: "0000000001"}}
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
