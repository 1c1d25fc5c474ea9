package stream

import (
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
)

// BenchmarkPage is what the reading of a record takes: from its bytes, by the SDK's client, and by aws-lambda-go.
func BenchmarkPage(b *testing.B) {
	const count = 1000
	records := make([]string, count)
	for i := range records {
		records[i] = fmt.Sprintf(`{"eventID":"%032d","eventName":"MODIFY","eventVersion":"1.1","eventSource":"aws:dynamodb","awsRegion":"us-east-1","dynamodb":{
"ApproximateCreationDateTime":1700000000,"Keys":{"id":{"S":"key %d"}},"NewImage":{"id":{"S":"key %d"},"n":{"N":"%d"},"text":{"S":"%s"},"tags":{"SS":["a","b"]},
"map":{"M":{"more":{"S":"%s"},"yes":{"BOOL":true}}}},"SequenceNumber":"%027d","SizeBytes":600,"StreamViewType":"NEW_IMAGE"},"eventSourceARN":"%s"}`,
			i, i, i, i, strings.Repeat("x", 400), strings.Repeat("y", 120), i, "arn:aws:dynamodb:us-east-1:123456789012:table/source/stream/2026-01-01T00:00:00.000")
	}
	text := []byte(`{"Records":[` + strings.Join(records, ",") + `]}`)
	for name, read := range map[string]func() (Page, error){
		"bytes": func() (Page, error) { return ReadPage(idSchema, "", text) },
		"event": func() (Page, error) { return pageOfEvent(text) },
		"SDK": func() (Page, error) {
			out, err := streamsAnswering(text).GetRecords(b.Context(), &dynamodbstreams.GetRecordsInput{ShardIterator: aws.String("i")})
			if err != nil {
				return Page{}, err
			}
			return ConvertPage(idSchema, "", out), nil
		},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if found, err := read(); err != nil || found.Unread != nil || len(found.Records) != count {
					b.Fatal(len(found.Records), err, found.Unread)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/count, "ns/record")
		})
	}
}
