package torture

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// open returns the SDK's client for a process's way to a table. Its requests are whole HTTP requests, which never leave the process.
func (p *process) open(table *simTable) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String("http://simulated"),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   &door{client{p, table}},
		Retryer:      aws.NopRetryer{},
	})
}

// door takes HTTP requests to a client's table.
type door struct{ client client }

// Do answers one request.
func (d *door) Do(request *http.Request) (*http.Response, error) {
	return serve(d.client.p.w, request, d.answer)
}

// openStreams is open for the source's stream.
func (p *process) openStreams() *dynamodbstreams.Client {
	return dynamodbstreams.New(dynamodbstreams.Options{
		BaseEndpoint: aws.String("http://simulated"),
		Region:       "us-east-1",
		Credentials:  credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient:   &streamsDoor{streams{p}},
		Retryer:      aws.NopRetryer{},
	})
}

// streamsDoor takes HTTP requests to the stream.
type streamsDoor struct{ streams streams }

// Do answers one request.
func (d *streamsDoor) Do(request *http.Request) (*http.Response, error) {
	return serve(d.streams.p.w, request, d.answer)
}

func (d *streamsDoor) answer(ctx context.Context, op string, body []byte) (any, error) {
	switch op {
	case "DescribeStream":
		var in dynamodbstreams.DescribeStreamInput // its fields have the names that the API gives them
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		return d.streams.DescribeStream(ctx, &in)
	case "GetShardIterator":
		var in dynamodbstreams.GetShardIteratorInput
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		return d.streams.GetShardIterator(ctx, &in)
	case "GetRecords":
		var in dynamodbstreams.GetRecordsInput
		if err := json.Unmarshal(body, &in); err != nil {
			return nil, err
		}
		return d.streams.GetRecords(ctx, &in)
	}
	return nil, answerOf(http.StatusBadRequest, &smithy.GenericAPIError{Code: "UnknownOperationException"})
}

// serve has a request answered, as HTTP has it.
func serve(w *simWorld, request *http.Request, answer func(ctx context.Context, op string, body []byte) (any, error)) (*http.Response, error) {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return nil, err
	}
	_, op, _ := strings.Cut(request.Header.Get("X-Amz-Target"), ".")
	out, err := answer(request.Context(), op, body)
	var refusal *smithyhttp.ResponseError
	switch {
	case errors.As(err, &refusal):
		return respond(w, request, refusal.HTTPStatusCode(), errorBody(err))
	case err != nil:
		return nil, err
	}
	return respond(w, request, http.StatusOK, out)
}

func respond(w *simWorld, request *http.Request, status int, body any) (*http.Response, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Request: request, ProtoMajor: 1, ProtoMinor: 1, ContentLength: int64(len(data)),
		Header: http.Header{"Content-Type": {"application/x-amz-json-1.0"}, "Date": {w.serviceTime().UTC().Format(http.TimeFormat)}}, Body: io.NopCloser(bytes.NewReader(data)),
	}, nil
}

func errorBody(err error) map[string]string {
	var api smithy.APIError
	if errors.As(err, &api) && strings.HasPrefix(api.ErrorMessage(), refusedItem) {
		return map[string]string{"__type": "com.amazonaws.dynamodb.v20120810#" + api.ErrorCode(), "message": api.ErrorMessage()}
	}
	if errors.As(err, &api) {
		return map[string]string{"__type": "com.amazonaws.dynamodb.v20120810#" + api.ErrorCode(), "message": errPlanted.Error()}
	}
	return map[string]string{"__type": "com.amazonaws.dynamodb.v20120810#InternalServerError", "message": errPlanted.Error()}
}

// answer reads a request, has it played, and returns what the answer's body is to hold.
func (d *door) answer(ctx context.Context, op string, body []byte) (any, error) {
	switch op {
	case "DescribeTable":
		return map[string]any{"Table": d.client.table.describe(d.client.p.w.streamOf(d.client.table))}, nil
	case "DescribeTimeToLive":
		return d.client.p.w.timeToLive(d.client.table)
	case "Scan":
		return d.scan(ctx, body)
	case "BatchGetItem":
		return d.get(ctx, body)
	case "BatchWriteItem":
		return d.write(ctx, body)
	}
	return nil, answerOf(http.StatusBadRequest, &smithy.GenericAPIError{Code: "UnknownOperationException"})
}

func (d *door) scan(ctx context.Context, body []byte) (any, error) {
	var raw struct {
		TableName              string
		Segment, TotalSegments int32
		Limit                  *int32
		ConsistentRead         bool
		ExclusiveStartKey      json.RawMessage
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	in := &dynamodb.ScanInput{TableName: &raw.TableName, Segment: &raw.Segment, TotalSegments: &raw.TotalSegments, Limit: raw.Limit, ConsistentRead: &raw.ConsistentRead}
	if raw.ExclusiveStartKey != nil {
		var err error
		if in.ExclusiveStartKey, err = attributevalue.UnmarshalMapJSON(raw.ExclusiveStartKey); err != nil {
			return nil, err
		}
	}
	out, err := d.client.Scan(ctx, in)
	if err != nil {
		return nil, err
	}
	answer := map[string]any{"Count": out.Count, "ScannedCount": out.ScannedCount, "ConsumedCapacity": out.ConsumedCapacity, "Items": wireForms(out.Items)}
	if out.LastEvaluatedKey != nil {
		answer["LastEvaluatedKey"] = wireForms([]attrs{out.LastEvaluatedKey})[0]
	}
	return answer, nil
}

func (d *door) get(ctx context.Context, body []byte) (any, error) {
	var raw struct {
		RequestItems map[string]struct {
			ConsistentRead bool
			Keys           []json.RawMessage
		}
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	in := &dynamodb.BatchGetItemInput{RequestItems: map[string]types.KeysAndAttributes{}}
	for table, one := range raw.RequestItems {
		wanted := types.KeysAndAttributes{ConsistentRead: &one.ConsistentRead}
		for _, text := range one.Keys {
			key, err := attributevalue.UnmarshalMapJSON(text)
			if err != nil {
				return nil, err
			}
			wanted.Keys = append(wanted.Keys, key)
		}
		in.RequestItems[table] = wanted
	}
	out, err := d.client.BatchGetItem(ctx, in)
	if err != nil {
		return nil, err
	}
	responses, left := map[string]any{}, map[string]any{}
	for table, items := range out.Responses {
		responses[table] = wireForms(items)
	}
	for table, keys := range out.UnprocessedKeys {
		left[table] = map[string]any{"Keys": wireForms(keys.Keys), "ConsistentRead": keys.ConsistentRead}
	}
	return map[string]any{"Responses": responses, "UnprocessedKeys": left, "ConsumedCapacity": out.ConsumedCapacity}, nil
}

func (d *door) write(ctx context.Context, body []byte) (any, error) {
	var raw struct {
		RequestItems map[string][]struct {
			PutRequest    *struct{ Item json.RawMessage }
			DeleteRequest *struct{ Key json.RawMessage }
		}
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		return nil, err
	}
	in := &dynamodb.BatchWriteItemInput{RequestItems: map[string][]types.WriteRequest{}}
	for table, requests := range raw.RequestItems {
		for _, one := range requests {
			if one.DeleteRequest != nil {
				key, err := attributevalue.UnmarshalMapJSON(one.DeleteRequest.Key)
				if err != nil {
					return nil, err
				}
				in.RequestItems[table] = append(in.RequestItems[table], types.WriteRequest{DeleteRequest: &types.DeleteRequest{Key: key}})
				continue
			}
			item, err := attributevalue.UnmarshalMapJSON(one.PutRequest.Item)
			if err != nil {
				return nil, fmt.Errorf("item to be put: %w", err)
			}
			in.RequestItems[table] = append(in.RequestItems[table], types.WriteRequest{PutRequest: &types.PutRequest{Item: item}})
		}
	}
	out, err := d.client.BatchWriteItem(ctx, in)
	if err != nil {
		return nil, err
	}
	left := map[string]any{}
	for table, requests := range out.UnprocessedItems {
		var list []any
		for _, one := range requests {
			if one.DeleteRequest != nil {
				list = append(list, map[string]any{"DeleteRequest": map[string]any{"Key": wireForms([]attrs{one.DeleteRequest.Key})[0]}})
			} else {
				list = append(list, map[string]any{"PutRequest": map[string]any{"Item": wireForms([]attrs{one.PutRequest.Item})[0]}})
			}
		}
		left[table] = list
	}
	return map[string]any{"UnprocessedItems": left, "ConsumedCapacity": out.ConsumedCapacity}, nil
}

// wireForms is items as DynamoDB JSON.
func wireForms(items []attrs) []map[string]any {
	list := make([]map[string]any, len(items))
	for i, item := range items {
		list[i] = wireItem(item)
	}
	return list
}
