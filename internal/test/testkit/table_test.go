package testkit

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// describe returns a table's description.
func describe(t *testing.T, c *dynamodb.Client, table string) *types.TableDescription {
	t.Helper()
	out, err := c.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &table})
	if err != nil {
		t.Fatal(err)
	}
	return out.Table
}

func TestEngineIsOne(t *testing.T) {
	if a, b := Engine(t), Engine(t); a != b {
		t.Errorf("two engines: %s and %s", a, b)
	}
}

func TestCreateTable(t *testing.T) {
	c := Client(Engine(t))
	t.Run("least", func(t *testing.T) {
		table := describe(t, c, CreateTable(t, c, TableSpec{Hash: "id:S"}))
		if len(table.KeySchema) != 1 || *table.KeySchema[0].AttributeName != "id" {
			t.Errorf("key %v", table.KeySchema)
		}
		if table.SSEDescription == nil || table.SSEDescription.SSEType != types.SSETypeKms {
			t.Errorf("encryption %+v, want KMS", table.SSEDescription)
		}
		if table.LatestStreamArn != nil {
			t.Error("it has a stream")
		}
		if table.BillingModeSummary == nil ||
			table.BillingModeSummary.BillingMode != types.BillingModePayPerRequest {
			t.Errorf("billing %+v, want on demand", table.BillingModeSummary)
		}
	})
	t.Run("most", func(t *testing.T) {
		name := CreateTable(t, c, TableSpec{
			Name: "abc", Hash: "h:N", Range: "r:B", Stream: types.StreamViewTypeKeysOnly,
			Plain: true, Provisioned: [2]int64{7, 8},
		})
		table := describe(t, c, name)
		if name != "abc" || *table.TableName != "abc" {
			t.Errorf("name %s", name)
		}
		if len(table.KeySchema) != 2 || len(table.AttributeDefinitions) != 2 {
			t.Errorf("key %v", table.KeySchema)
		}
		if table.SSEDescription != nil {
			t.Errorf("encryption %+v, want none", table.SSEDescription)
		}
		if table.LatestStreamArn == nil ||
			table.StreamSpecification.StreamViewType != types.StreamViewTypeKeysOnly {
			t.Errorf("stream %+v", table.StreamSpecification)
		}
		if p := table.ProvisionedThroughput; *p.ReadCapacityUnits != 7 || *p.WriteCapacityUnits != 8 {
			t.Errorf("throughput %+v", p)
		}
	})
}

func TestTablesAreDropped(t *testing.T) {
	c := Client(Engine(t))
	var dropped, kept string
	t.Run("inner", func(t *testing.T) {
		dropped = CreateTable(t, c, TableSpec{Hash: "id:S"})
		gone := CreateTable(t, c, TableSpec{Hash: "id:S"})
		// One that the test drops itself is no trouble.
		if _, err := c.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &gone}); err != nil {
			t.Fatal(err)
		}
	})
	kept = CreateTable(t, c, TableSpec{Hash: "id:S"})
	describe(t, c, kept)
	_, err := c.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &dropped})
	if missing := (*types.ResourceNotFoundException)(nil); !errors.As(err, &missing) {
		t.Errorf("error %v, want ResourceNotFoundException", err)
	}
}

func TestUniqueName(t *testing.T) {
	t.Run("odd name: ä/b c "+strings.Repeat("x", 300), func(t *testing.T) {
		a, b := uniqueName(t), uniqueName(t)
		if a == b || len(a) > 255 || notInTableName.MatchString(a) || !strings.HasPrefix(a, "TestUniqueName-odd") {
			t.Errorf("names %s and %s", a, b)
		}
	})
}

func TestEnableStream(t *testing.T) {
	url := Engine(t)
	c, streams := Client(url), Streams(url)
	table := CreateTable(t, c, TableSpec{Hash: "id:S"})
	Put(t, c, table, Item("id", "before"))
	arn := EnableStream(t, c, table, types.StreamViewTypeNewAndOldImages)
	Put(t, c, table, Item("id", "after"))

	out, err := streams.DescribeStream(t.Context(), &dynamodbstreams.DescribeStreamInput{StreamArn: &arn})
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for _, shard := range out.StreamDescription.Shards {
		iterator, err := streams.GetShardIterator(t.Context(), &dynamodbstreams.GetShardIteratorInput{
			StreamArn: &arn, ShardId: shard.ShardId, ShardIteratorType: streamtypes.ShardIteratorTypeTrimHorizon,
		})
		if err != nil {
			t.Fatal(err)
		}
		records, err := streams.GetRecords(t.Context(), &dynamodbstreams.GetRecordsInput{
			ShardIterator: iterator.ShardIterator,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, record := range records.Records {
			keys = append(keys, record.Dynamodb.Keys["id"].(*streamtypes.AttributeValueMemberS).Value)
		}
	}
	if fmt.Sprint(keys) != "[after]" {
		t.Errorf("records of %v, want one of the item written last", keys)
	}
}

func TestItems(t *testing.T) {
	c := Client(Engine(t))
	table := CreateTable(t, c, TableSpec{Hash: "id:S", Range: "n:N"})
	if items := ScanAll(t, c, table); len(items) != 0 {
		t.Errorf("a new table holds %v", items)
	}
	const count = 1003 // not a multiple of the batch, and more than a megabyte, so that a scan has pages
	var items []map[string]types.AttributeValue
	for i := range count {
		items = append(items, Item("id", "a", "n", i, "pad", strings.Repeat("x", 2000)))
	}
	Fill(t, c, table, items)
	if got := len(ScanAll(t, c, table)); got != count {
		t.Errorf("%d items, want %d", got, count)
	}

	spelling := "1e3"
	if Has(NumberKeysBySpelling) {
		spelling = "1000"
	}
	key := Item("id", "b", "n", &types.AttributeValueMemberN{Value: spelling})
	if item := Get(t, c, table, key); item != nil {
		t.Errorf("before the put: %v", item)
	}
	Put(t, c, table, Item("id", "b", "n", 1000, "blob", []byte{1}, "list", []string{"x"}, "none", nil))
	item := Get(t, c, table, key)
	text, err := render(&types.AttributeValueMemberM{Value: item})
	if err != nil {
		t.Fatal(err)
	}
	if want := `M{"blob":B01 "id":S"b" "list":L[S"x"] "n":N1000 "none":NULL}`; text != want {
		t.Errorf("item %s, want %s", text, want)
	}
	Delete(t, c, table, key)
	Delete(t, c, table, key)
	if item := Get(t, c, table, key); item != nil {
		t.Errorf("after the delete: %v", item)
	}
}

// unmarshallable is a value that attributevalue refuses.
type unmarshallable struct{}

func (unmarshallable) MarshalDynamoDBAttributeValue() (types.AttributeValue, error) {
	return nil, errors.New("planted")
}

func TestItemPanics(t *testing.T) {
	for _, arguments := range [][]any{{"name"}, {1, 2}, {"name", unmarshallable{}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Item(%v) didn't panic", arguments)
				}
			}()
			Item(arguments...)
		}()
	}
}
