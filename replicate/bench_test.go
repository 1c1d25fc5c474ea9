package replicate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"reseal/internal/batch"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// benchRecords are changes of items of about 600 bytes, three in ten of them to 20 hot keys.
func benchRecords(b *testing.B, count int) []Record {
	b.Helper()
	random := rand.New(rand.NewPCG(1, 0))
	records := make([]Record, count)
	for i := range records {
		id := fmt.Sprint("key ", random.IntN(count))
		if random.IntN(10) < 3 {
			id = fmt.Sprint("hot ", random.IntN(20))
		}
		attributes := testkit.Item("id", id, "n", i, "text", strings.Repeat("x", 400), "more", strings.Repeat("y", 150))
		key, err := idSchema.KeyOf(item.Of(attributes))
		if err != nil {
			b.Fatal(err)
		}
		records[i] = Record{Key: key, Image: item.Of(attributes), Sequence: fmt.Sprint(i)}
	}
	return records
}

// measured runs apply for b.N records in batches of the given size, and reports what a record takes.
func measured(b *testing.B, size int, apply func(ctx context.Context, proxy *dynamodb.Client, table string, records []Record)) {
	engine := testkit.Client(testkit.Engine(b))
	table := testkit.CreateTable(b, engine, testkit.TableSpec{Hash: "id:S"})
	requests := &counting{HTTPClient: engine.Options().HTTPClient}
	client := dynamodb.New(engine.Options(), func(o *dynamodb.Options) { o.HTTPClient = requests })
	records := benchRecords(b, size)
	done := 0
	b.ResetTimer()
	start, before := time.Now(), processorTime(b)
	for b.Loop() {
		apply(b.Context(), client, table, records)
		done += size
	}
	count := float64(done)
	b.ReportMetric(0, "ns/op") // an operation is a batch
	b.ReportMetric(count/time.Since(start).Seconds(), "records/s")
	b.ReportMetric((processorTime(b)-before).Seconds()*1e6/count, "cpu-µs/record")
	b.ReportMetric(float64(requests.n.Load())/count, "requests/record")
}

// processorTime is that of this process: the engine is another one.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkApply is what the Lambda and the tailer do.
func BenchmarkApply(b *testing.B) {
	measured(b, 1000, func(ctx context.Context, client *dynamodb.Client, table string, records []Record) {
		w := &batch.Writer{API: client, Table: table, Schema: idSchema, Limiter: capacity.NewLimiter(0)}
		if _, err := Apply(ctx, w, records, nil); err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkUpdateItem is what the recipe's Lambda does: an UpdateItem for each record, attribute by attribute.
func BenchmarkUpdateItem(b *testing.B) {
	measured(b, 1000, func(ctx context.Context, client *dynamodb.Client, table string, records []Record) {
		for _, record := range records {
			names, values, set := map[string]string{}, map[string]types.AttributeValue{}, []string{}
			for name, value := range record.Image.Attributes() {
				if name != "id" {
					names["#"+name], values[":"+name] = name, value
					set = append(set, "#"+name+" = :"+name)
				}
			}
			_, err := client.UpdateItem(ctx, &dynamodb.UpdateItemInput{
				TableName: &table, Key: record.Key.Attributes(), UpdateExpression: aws.String("SET " + strings.Join(set, ", ")),
				ExpressionAttributeNames: names, ExpressionAttributeValues: values,
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

// counting counts the requests that it sends.
type counting struct {
	dynamodb.HTTPClient
	n atomic.Int64
}

func (c *counting) Do(r *http.Request) (*http.Response, error) {
	c.n.Add(1)
	return c.HTTPClient.Do(r)
}
