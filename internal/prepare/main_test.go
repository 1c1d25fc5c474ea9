package prepare_test

import (
	"fmt"
	"os"
	"testing"

	"reseal/internal/prepare"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestMain(m *testing.M) { os.Exit(testkit.Main(m)) }

// scalingClient is one for Application Auto Scaling at url.
func scalingClient(url string) *applicationautoscaling.Client {
	return applicationautoscaling.New(applicationautoscaling.Options{
		BaseEndpoint: &url, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""), Retryer: aws.NopRetryer{},
	})
}

func definitions(pairs ...string) []types.AttributeDefinition {
	var list []types.AttributeDefinition
	for i := 0; i < len(pairs); i += 2 {
		list = append(list, types.AttributeDefinition{AttributeName: &pairs[i], AttributeType: types.ScalarAttributeType(pairs[i+1])})
	}
	return list
}

// keys are a hash key and perhaps a range key.
func keys(names ...string) []types.KeySchemaElement {
	list := []types.KeySchemaElement{{AttributeName: &names[0], KeyType: types.KeyTypeHash}}
	if len(names) > 1 {
		list = append(list, types.KeySchemaElement{AttributeName: &names[1], KeyType: types.KeyTypeRange})
	}
	return list
}

func throughput(read, write int64) *types.ProvisionedThroughput {
	return &types.ProvisionedThroughput{ReadCapacityUnits: &read, WriteCapacityUnits: &write}
}

var allProjected = &types.Projection{ProjectionType: types.ProjectionTypeAll}

// nasty are texts that would change a template if they got into it other than as text.
var nasty = []string{
	`a "b" 'c': d # e`, "two\nlines: [x]\n  - y", "!Ref Target", "${AWS::Region} ${Target}", "{{x}} %s \\ \t", "yes", "1e3", "~", "- é \u2028",
}

// source is a table to prepare a move for.
type source struct {
	create dynamodb.CreateTableInput
	scaled []string // resource and dimension of each capacity that is scaled automatically
	ttl    string
	pitr   bool
	kms    string
}

// sources are tables of many shapes. Each has a stream.
func sources() map[string]source {
	onDemand := types.BillingModePayPerRequest
	many := dynamodb.CreateTableInput{
		BillingMode: onDemand, KeySchema: keys("id", "at"), AttributeDefinitions: definitions("id", "S", "at", "N"),
	}
	for i := range 5 {
		name := fmt.Sprintf("g%d", i)
		many.AttributeDefinitions = append(many.AttributeDefinitions, definitions(name, "SNB"[i%3:i%3+1])...)
		index := types.GlobalSecondaryIndex{IndexName: aws.String("by-" + name), KeySchema: keys(name), Projection: allProjected}
		if i == 1 {
			index.KeySchema = keys(name, "at")
			index.Projection = &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"x", "y: z"}}
		}
		many.GlobalSecondaryIndexes = append(many.GlobalSecondaryIndexes, index)
	}
	for i := range 2 {
		name := fmt.Sprintf("l%d", i)
		many.AttributeDefinitions = append(many.AttributeDefinitions, definitions(name, "N")...)
		many.LocalSecondaryIndexes = append(many.LocalSecondaryIndexes, types.LocalSecondaryIndex{
			IndexName: aws.String("local-" + name), KeySchema: keys("id", name), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		})
	}
	var tags []types.Tag
	for i, text := range nasty {
		tags = append(tags, types.Tag{Key: aws.String(fmt.Sprintf("%d %s", i, text)), Value: &text})
	}
	return map[string]source{
		"hash": {create: dynamodb.CreateTableInput{BillingMode: onDemand, KeySchema: keys("id"), AttributeDefinitions: definitions("id", "S")}},
		"hash-and-range": {create: dynamodb.CreateTableInput{
			BillingMode: onDemand, KeySchema: keys("id", "n"), AttributeDefinitions: definitions("id", "B", "n", "N"),
		}},
		"indexes": {create: many},
		"autoscaling": {
			create: dynamodb.CreateTableInput{
				BillingMode: types.BillingModeProvisioned, ProvisionedThroughput: throughput(20, 10),
				KeySchema: keys("id"), AttributeDefinitions: definitions("id", "S", "x", "S"),
				GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
					IndexName: aws.String("by-x"), KeySchema: keys("x"), Projection: allProjected, ProvisionedThroughput: throughput(7, 6),
				}},
			},
			scaled: []string{"", "dynamodb:table:ReadCapacityUnits", "", "dynamodb:table:WriteCapacityUnits", "/index/by-x", "dynamodb:index:WriteCapacityUnits"},
		},
		"time-to-live": {
			create: dynamodb.CreateTableInput{
				BillingMode: onDemand, KeySchema: keys("id"), AttributeDefinitions: definitions("id", "S"), DeletionProtectionEnabled: aws.Bool(true),
				TableClass: types.TableClassStandardInfrequentAccess, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("maps")}},
			},
			ttl: "expires", pitr: true,
		},
		"nasty": {
			create: dynamodb.CreateTableInput{BillingMode: onDemand, KeySchema: keys("#id: x", nasty[1]), AttributeDefinitions: definitions("#id: x", "S", nasty[1], "S"), Tags: tags},
			ttl:    nasty[3],
		},
		"customer-key": {
			create: dynamodb.CreateTableInput{BillingMode: onDemand, KeySchema: keys("id"), AttributeDefinitions: definitions("id", "S")},
			kms:    "arn:aws:kms:us-east-1:123456789012:key/0123abcd-0000-1111-2222-0123456789ab",
		},
	}
}

// make creates the table in the cloud.
func (s source) make(t *testing.T, url, name string) prepare.Table {
	t.Helper()
	db, in := testkit.Client(url), s.create
	in.TableName = &name
	in.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages}
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(db.CreateTable(t.Context(), &in))
	if s.ttl != "" {
		must(db.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{
			TableName: &name, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &s.ttl, Enabled: aws.Bool(true)},
		}))
	}
	if s.pitr {
		must(db.UpdateContinuousBackups(t.Context(), &dynamodb.UpdateContinuousBackupsInput{
			TableName: &name, PointInTimeRecoverySpecification: &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)},
		}))
	}
	auto := scalingClient(url)
	for i := 0; i < len(s.scaled); i += 2 {
		resource, dimension := "table/"+name+s.scaled[i], scaling.ScalableDimension(s.scaled[i+1])
		must(auto.RegisterScalableTarget(t.Context(), &applicationautoscaling.RegisterScalableTargetInput{
			ServiceNamespace: scaling.ServiceNamespaceDynamodb, ResourceId: &resource, ScalableDimension: dimension, MinCapacity: aws.Int32(5), MaxCapacity: aws.Int32(500),
		}))
		metric := scaling.MetricTypeDynamoDBWriteCapacityUtilization
		if i == 0 {
			metric = scaling.MetricTypeDynamoDBReadCapacityUtilization
		}
		must(auto.PutScalingPolicy(t.Context(), &applicationautoscaling.PutScalingPolicyInput{
			PolicyName: aws.String("track"), ServiceNamespace: scaling.ServiceNamespaceDynamodb, ResourceId: &resource, ScalableDimension: dimension,
			PolicyType: scaling.PolicyTypeTargetTrackingScaling,
			TargetTrackingScalingPolicyConfiguration: &scaling.TargetTrackingScalingPolicyConfiguration{
				TargetValue: aws.Float64(62.5), ScaleInCooldown: aws.Int32(60),
				PredefinedMetricSpecification: &scaling.PredefinedMetricSpecification{PredefinedMetricType: metric},
			},
		}))
	}
	table, err := prepare.Read(t.Context(), db, auto, "source", name)
	if err != nil {
		t.Fatal(err)
	}
	return table
}
