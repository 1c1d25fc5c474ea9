package testkit

import (
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

func TestGuard(t *testing.T) {
	db := Client(Engine(t))
	mine := CreateTable(t, db, TableSpec{Hash: "id:S"})
	other := CreateTable(t, db, TableSpec{Hash: "id:S"})
	stream := EnableStream(t, db, mine, types.StreamViewTypeNewImage)
	Put(t, db, mine, Item("id", "a"))
	g := NewGuard(t, Engine(t), map[string][]string{
		"dynamodb:Scan": {"arn:aws:dynamodb:us-east-1:000000000000:table/" + mine}, "dynamodb:DescribeTable": {"*"},
		"dynamodb:BatchWriteItem": {mine}, "dynamodb:DescribeStream": {stream}, "dynamodb:GetShardIterator": {stream}, "dynamodb:GetRecords": {stream},
	})
	guarded, streams := Client(g.URL), Streams(g.URL)
	write := func(tables ...string) error {
		items := map[string][]types.WriteRequest{}
		for _, name := range tables {
			items[name] = []types.WriteRequest{{PutRequest: &types.PutRequest{Item: Item("id", "b")}}}
		}
		_, err := guarded.BatchWriteItem(t.Context(), &dynamodb.BatchWriteItemInput{RequestItems: items})
		return err
	}
	scan := func(table string) error {
		_, err := guarded.Scan(t.Context(), &dynamodb.ScanInput{TableName: &table})
		return err
	}
	describe := func(table string) error {
		_, err := guarded.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &table})
		return err
	}
	read := func() error {
		shards, err := streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &stream})
		if err != nil {
			return err
		}
		iterator, err := streams.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
			StreamArn: &stream, ShardId: shards.StreamDescription.Shards[0].ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			return err
		}
		for range 2 {
			records, err := streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: iterator.ShardIterator})
			if err != nil {
				return err
			}
			iterator.ShardIterator = records.NextShardIterator
		}
		return nil
	}
	for name, err := range map[string]error{"scan": scan(mine), "describe": describe(other), "write": write(mine), "stream": read()} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := guarded.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: &mine, Item: Item("id", "c")})
	made := "made up"
	_, noIterator := streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: &made})
	for name, err := range map[string]error{"scan": scan(other), "write": write(mine, other), "put": err, "stream": noIterator} {
		if err == nil || !strings.Contains(err.Error(), "AccessDeniedException") {
			t.Errorf("%s: %v, want a denial", name, err)
		}
	}
	denied := g.Denied()
	slices.Sort(denied)
	want := []string{"dynamodb:BatchWriteItem on " + other, "dynamodb:GetRecords on ", "dynamodb:PutItem on " + mine, "dynamodb:Scan on " + other}
	if !slices.Equal(denied, want) || len(ScanAll(t, db, other)) != 0 || len(ScanAll(t, db, mine)) != 2 {
		t.Errorf("denied %q, want %q", denied, want)
	}
}
