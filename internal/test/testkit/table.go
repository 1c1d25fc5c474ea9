package testkit

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

const (
	// activeTimeout is how long a table may take until it is ACTIVE.
	activeTimeout = 30 * time.Second
	// dropTimeout is how long a table's deletion at the end of a test may take.
	dropTimeout = 10 * time.Second
)

// TableSpec says what a table is like. Only Hash must be given.
type TableSpec struct {
	Name        string               // "": a unique one
	Hash        string               // the partition key's name and type, such as "id:S" or "n:N"
	Range       string               // the sort key's, likewise; "": none
	Index       string               // the partition key of a global secondary index "by-NAME" with all attributes; "": none
	Stream      types.StreamViewType // "": no stream
	Plain       bool                 // not encrypted with a KMS key
	Provisioned [2]int64             // read and write capacity units per second; zero: on demand
}

// CreateTable makes a table, waits until it is ACTIVE, has it dropped when the test ends, and returns its name.
func CreateTable(t testing.TB, c *dynamodb.Client, spec TableSpec) string {
	t.Helper()
	if spec.Name == "" {
		spec.Name = uniqueName(t)
	}
	in := createInput(t, spec)
	if _, err := c.CreateTable(t.Context(), in); err != nil {
		t.Fatalf("create table %s: %v", spec.Name, err)
	}
	t.Cleanup(func() { dropTable(t, c, spec.Name) })
	awaitActive(t, c, spec.Name)
	return spec.Name
}

// EnableStream turns on the stream of a table that has none, waits until the table is ACTIVE again, and returns
// the stream's ARN.
func EnableStream(t testing.TB, c *dynamodb.Client, table string, view types.StreamViewType) string {
	t.Helper()
	_, err := c.UpdateTable(t.Context(), &dynamodb.UpdateTableInput{
		TableName:           &table,
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: view},
	})
	if err != nil {
		t.Fatalf("enable stream of %s: %v", table, err)
	}
	description := awaitActive(t, c, table)
	if description.LatestStreamArn == nil {
		t.Fatalf("enable stream of %s: the table has none afterwards", table)
	}
	return *description.LatestStreamArn
}

// createInput turns a spec into a request.
func createInput(t testing.TB, spec TableSpec) *dynamodb.CreateTableInput {
	t.Helper()
	in := &dynamodb.CreateTableInput{TableName: &spec.Name, BillingMode: types.BillingModePayPerRequest}
	define := func(key string, kind types.KeyType) types.KeySchemaElement {
		name, letter, ok := strings.Cut(key, ":")
		if !ok || name == "" || !slices.Contains([]string{"S", "N", "B"}, letter) {
			t.Fatalf("key %q: want a name and a type, such as \"id:S\"", key)
		}
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{
			AttributeName: &name, AttributeType: types.ScalarAttributeType(letter),
		})
		return types.KeySchemaElement{AttributeName: &name, KeyType: kind}
	}
	in.KeySchema = append(in.KeySchema, define(spec.Hash, types.KeyTypeHash))
	if spec.Range != "" {
		in.KeySchema = append(in.KeySchema, define(spec.Range, types.KeyTypeRange))
	}
	if spec.Index != "" {
		key := define(spec.Index, types.KeyTypeHash)
		in.GlobalSecondaryIndexes = []types.GlobalSecondaryIndex{{
			IndexName:  aws.String("by-" + *key.AttributeName),
			KeySchema:  []types.KeySchemaElement{key},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}}
	}
	if spec.Stream != "" {
		in.StreamSpecification = &types.StreamSpecification{
			StreamEnabled: aws.Bool(true), StreamViewType: spec.Stream,
		}
	}
	if !spec.Plain {
		in.SSESpecification = &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms}
	}
	if spec.Provisioned != [2]int64{} {
		in.BillingMode = types.BillingModeProvisioned
		in.ProvisionedThroughput = &types.ProvisionedThroughput{
			ReadCapacityUnits: &spec.Provisioned[0], WriteCapacityUnits: &spec.Provisioned[1],
		}
	}
	return in
}

// awaitActive polls the table until it is ACTIVE.
func awaitActive(t testing.TB, c *dynamodb.Client, table string) *types.TableDescription {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), activeTimeout)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		out, err := c.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &table})
		if err != nil {
			t.Fatalf("describe table %s: %v", table, err)
		}
		if out.Table.TableStatus == types.TableStatusActive {
			return out.Table
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("table %s isn't ACTIVE after %s, but %s", table, activeTimeout, out.Table.TableStatus)
		}
	}
}

// dropTable deletes a table unless the test has done so. It runs when the test's context has ended.
func dropTable(t testing.TB, c *dynamodb.Client, table string) {
	ctx, cancel := context.WithTimeout(context.Background(), dropTimeout)
	defer cancel()
	_, err := c.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &table})
	if gone := (*types.ResourceNotFoundException)(nil); err != nil && !errors.As(err, &gone) {
		t.Logf("drop table %s: %v", table, err)
	}
}

var (
	tableCount     atomic.Int64
	notInTableName = regexp.MustCompile(`[^a-zA-Z0-9_.-]+`)
)

// uniqueName makes a table name out of the test's, unique even among processes that share an engine: an engine
// may serve old stream records for a table that is made again under the same name.
func uniqueName(t testing.TB) string {
	test := notInTableName.ReplaceAllString(t.Name(), "-")
	return fmt.Sprintf("%s-%d-%08x", test[:min(len(test), 100)], tableCount.Add(1), rand.Uint32())
}
