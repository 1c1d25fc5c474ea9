package batch

import (
	"reseal/internal/capacity"
	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// What follows serves clients that aren't the SDK's, with attribute values instead of bytes (see wire.Client).

func writeRequests(pending []Op) []types.WriteRequest {
	requests := make([]types.WriteRequest, 0, len(pending))
	for _, op := range pending {
		if op.Item.Absent() {
			requests = append(requests, types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: op.Key.Attributes()}})
		} else {
			requests = append(requests, types.WriteRequest{PutRequest: &types.PutRequest{Item: op.Item.Attributes()}})
		}
	}
	return requests
}

func convertWritten(out *dynamodb.BatchWriteItemOutput) written {
	answer := written{whole: out.UnprocessedItems != nil, consumed: capacity.Units(out.ConsumedCapacity...)}
	for _, requests := range out.UnprocessedItems {
		for _, request := range requests {
			switch {
			case request.PutRequest != nil:
				answer.left = append(answer.left, item.Of(request.PutRequest.Item))
			case request.DeleteRequest != nil:
				answer.left = append(answer.left, item.Of(request.DeleteRequest.Key))
			default:
				answer.left = append(answer.left, item.Item{})
			}
		}
	}
	return answer
}

func convertRead(out *dynamodb.BatchGetItemOutput) read {
	answer := read{consumed: capacity.Units(out.ConsumedCapacity...)}
	for _, unprocessed := range out.UnprocessedKeys {
		var keys []item.Item
		for _, key := range unprocessed.Keys {
			keys = append(keys, item.Of(key))
		}
		answer.unprocessed(keys)
	}
	for _, items := range out.Responses {
		if items == nil {
			answer.whole = errNoItems
		}
		for _, attrs := range items {
			answer.items = append(answer.items, item.Of(attrs))
		}
	}
	answer.check(out.Responses != nil && out.UnprocessedKeys != nil, len(out.Responses) > 0)
	return answer
}
