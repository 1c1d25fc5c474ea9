package main

import (
	"errors"
	"strings"
	"testing"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// retire lists all that speaks against it on one line, says what it would do, and does it. What the engine doesn't know a proxy answers.
func TestRetire(t *testing.T) {
	t.Parallel()
	url := testkit.Engine(t)
	db := testkit.Client(url)
	name := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "id:S"})
	testkit.Put(t, db, name, testkit.Item("id", "x"))
	out, err := db.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &name})
	if err != nil {
		t.Fatal(err)
	}
	const backupARN = "arn:aws:dynamodb:us-east-1:123456789012:table/t/backup/01489602797149-73d8d5bc"
	details := `{"BackupArn":"` + backupARN + `","BackupName":"reseal-t","BackupStatus":"AVAILABLE","BackupType":"USER","BackupCreationDateTime":1.0}`
	proxy := testkit.NewPolicies(t, nil).Proxy(url, nil)
	proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		body := map[string]string{
			"DescribeKinesisStreamingDestination": `{"TableName":"` + name + `","KinesisDataStreamDestinations":[]}`,
			"CreateBackup":                        `{"BackupDetails":` + details + `}`,
			"DescribeBackup": `{"BackupDescription":{"BackupDetails":` + details + `,"SourceTableDetails":{"TableName":"` + name + `","TableId":"` + *out.Table.TableId +
				`","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"TableCreationDateTime":1.0,"ProvisionedThroughput":{"ReadCapacityUnits":1,"WriteCapacityUnits":1}}}}`,
		}[x.Op]
		if body == "" {
			return nil
		}
		return &testkit.Response{Body: []byte(body)}
	})
	args := []string{"retire", "--source", name, "--endpoint-url", proxy.URL, "--no-progress", "--output", "json", "--unused-for", "0s"}
	reseal(t, args...).want(2).says("(1) it is not fenced", "cut over first, or give --fenced-otherwise")
	args = append(args, "--fenced-otherwise")
	got := reseal(t, args...).want(0).object()
	has(t, got, map[string]any{"applied": false, "deleted": false, "backup_arn": "", "source": name})
	if n := len(testkit.ScanAll(t, db, name)); n != 1 {
		t.Fatalf("%d items", n)
	}
	has(t, reseal(t, append(args, "--apply")...).want(0).object(), map[string]any{"applied": true, "deleted": true, "backup_arn": backupARN})
	var gone *types.ResourceNotFoundException
	if _, err := db.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &name}); !errors.As(err, &gone) {
		t.Errorf("the table is there: %v", err)
	}
	o := reseal(t, args...).want(2)
	if !strings.Contains(o.stderr, "does not exist") {
		t.Error(o)
	}
}
