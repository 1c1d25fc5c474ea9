package demo

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/item"
	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/internal/test/engine"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

// The key of the tables: cities of one country that share their name are told apart by where they are.
const (
	hashName  = "country"
	rangeName = "place"
)

// activeTimeout is how long a table may take to become ACTIVE.
const activeTimeout = 2 * time.Minute

// createTables makes the tables. It refuses to touch tables that exist.
func (d *demo) createTables(ctx context.Context) error {
	for _, name := range []string{SourceTable, TargetTable, NaiveTable} {
		_, err := d.db.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &name})
		var missing *types.ResourceNotFoundException
		switch {
		case errors.As(err, &missing):
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return refuse.Because(err, "check --endpoint-url", "the engine does not answer (%s)", err)
		default:
			return refuse.New("delete it, or use another engine", "the engine has a table %q already", name)
		}
	}
	encrypted := &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms}
	for name, sse := range map[string]*types.SSESpecification{SourceTable: nil, NaiveTable: encrypted} {
		if err := d.createTable(ctx, name, sse); err != nil {
			return err
		}
	}
	var err error
	if d.required, err = d.encryption(ctx); err != nil || d.required == table.EncryptionKMS {
		return err // the migration makes the target
	}
	return d.createTable(ctx, TargetTable, encrypted)
}

func (d *demo) createTable(ctx context.Context, name string, sse *types.SSESpecification) error {
	_, err := d.db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName:   &name,
		BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String(hashName), KeyType: types.KeyTypeHash},
			{AttributeName: aws.String(rangeName), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String(hashName), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String(rangeName), AttributeType: types.ScalarAttributeTypeS},
		},
		SSESpecification: sse,
	})
	if err != nil {
		return fmt.Errorf("create table %s: %w", name, err)
	}
	return d.awaitActive(ctx, name)
}

func (d *demo) awaitActive(ctx context.Context, name string) error {
	waiter := dynamodb.NewTableExistsWaiter(d.db)
	if err := waiter.Wait(ctx, &dynamodb.DescribeTableInput{TableName: &name}, activeTimeout); err != nil {
		return fmt.Errorf("wait for table %s: %w", name, err)
	}
	return nil
}

// dropTables deletes the tables, also after an interruption: they are this run's.
func (d *demo) dropTables(ctx context.Context) error {
	if d.Keep {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	var errs []error
	for _, name := range []string{SourceTable, TargetTable, NaiveTable} {
		_, err := d.db.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &name})
		if missing := (*types.ResourceNotFoundException)(nil); err != nil && !errors.As(err, &missing) { // it was not made yet
			errs = append(errs, fmt.Errorf("delete table %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// enableStream comes after the load, as in a migration of a table that has had no stream.
func (d *demo) enableStream(ctx context.Context) error {
	_, err := d.db.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName:           aws.String(SourceTable),
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages},
	})
	if err != nil {
		return fmt.Errorf("enable stream: %w", err)
	}
	return d.awaitActive(ctx, SourceTable)
}

// encryption is what to require of the target: KMS where the engine knows it.
func (d *demo) encryption(ctx context.Context) (string, error) {
	info, err := table.Describe(ctx, d.db, "target", NaiveTable)
	if err != nil {
		return "", err
	}
	if info.Encryption() == "KMS" {
		return table.EncryptionKMS, nil
	}
	return table.EncryptionAny, nil
}

// load writes the cities to the source and returns their keys.
func (d *demo) load(ctx context.Context, cities []engine.City) ([]map[string]types.AttributeValue, error) {
	info, err := table.Describe(ctx, d.db, "source", SourceTable)
	if err != nil {
		return nil, err
	}
	writer := &batch.Writer{API: d.db, Table: SourceTable, Schema: info.Schema, Limiter: capacity.NewLimiter(0), Policy: call.Policy{}}
	keys := make([]map[string]types.AttributeValue, len(cities))
	ops := make([]batch.Op, len(cities))
	for i, city := range cities {
		it := item.Of(cityItem(city))
		key, err := info.Schema.KeyOf(it)
		if err != nil {
			return nil, err
		}
		keys[i], ops[i] = key.Attributes(), batch.Op{Key: key, Item: it}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for _, one := range batch.Split(ops) {
		group.Go(func() error {
			_, err := writer.Write(ctx, one)
			return err
		})
	}
	return keys, group.Wait()
}

func cityItem(c engine.City) map[string]types.AttributeValue {
	text := func(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }
	attrs := map[string]types.AttributeValue{
		hashName:  text(c.Country),
		rangeName: text(c.Name + "#" + c.Lat + "," + c.Lng),
		"name":    text(c.Name),
		"admin1":  text(c.Admin1),
		"position": &types.AttributeValueMemberM{Value: map[string]types.AttributeValue{
			"lat": &types.AttributeValueMemberN{Value: c.Lat},
			"lng": &types.AttributeValueMemberN{Value: c.Lng},
		}},
	}
	if c.Admin2 != "" {
		attrs["admin2"] = text(c.Admin2)
	}
	return attrs
}
