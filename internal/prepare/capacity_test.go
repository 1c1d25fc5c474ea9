package prepare_test

import (
	"fmt"
	"strings"
	"testing"

	"reseal/internal/prepare"
	"reseal/internal/refuse"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// provisioned is a source with provisioned capacity and so many indexes.
func provisioned(indexes int) prepare.Table {
	source := described(types.StreamViewTypeNewImage)
	source.Raw.BillingModeSummary.BillingMode = types.BillingModeProvisioned
	source.Raw.ProvisionedThroughput = &types.ProvisionedThroughputDescription{ReadCapacityUnits: aws.Int64(20), WriteCapacityUnits: aws.Int64(10)}
	for i := range indexes {
		source.Raw.GlobalSecondaryIndexes = append(source.Raw.GlobalSecondaryIndexes, types.GlobalSecondaryIndexDescription{
			IndexName: aws.String(fmt.Sprint("by-", i)), KeySchema: keys("id"), Projection: allProjected, IndexStatus: types.IndexStatusActive,
			ProvisionedThroughput: &types.ProvisionedThroughputDescription{ReadCapacityUnits: aws.Int64(7), WriteCapacityUnits: aws.Int64(6)},
		})
	}
	return source
}

// Limits of a table on demand stay in the description of a table that was one. CreateTable refuses them there.
func TestProvisionedWithLimits(t *testing.T) {
	t.Parallel()
	source := provisioned(1)
	source.Raw.OnDemandThroughput = &types.OnDemandThroughput{MaxReadRequestUnits: aws.Int64(5), MaxWriteRequestUnits: aws.Int64(5)}
	source.Raw.GlobalSecondaryIndexes[0].OnDemandThroughput = source.Raw.OnDemandThroughput
	text, parsed := template(t, prepare.Options{Source: source})
	wantAt(t, parsed, map[string]any{"Target/Properties/OnDemandThroughput": nil, "Target/Properties/ProvisionedThroughput/ReadCapacityUnits": 20})
	if strings.Contains(text, "MaxReadRequestUnits") || !strings.Contains(text, "limits of a table on demand are left out") {
		t.Error("the limits are there, or nothing is said of them")
	}
}

// CloudFormation takes no index without capacity on a provisioned table.
func TestIndexWithoutCapacity(t *testing.T) {
	t.Parallel()
	source := provisioned(1)
	source.Raw.GlobalSecondaryIndexes[0].ProvisionedThroughput = &types.ProvisionedThroughputDescription{ReadCapacityUnits: aws.Int64(0), WriteCapacityUnits: aws.Int64(0)}
	text, parsed := template(t, prepare.Options{Source: source})
	index := testkit.At(parsed["Resources"], "Target", "Properties", "GlobalSecondaryIndexes").([]any)[0]
	if got := testkit.At(index, "ProvisionedThroughput", "WriteCapacityUnits"); got != 10 {
		t.Errorf("the index gets %v", got)
	}
	if !strings.Contains(text, "index by-0 tells no provisioned capacity") {
		t.Error("nothing is said of it")
	}
}

// What is registered for autoscaling is made one after the other.
func TestScalingIsChained(t *testing.T) {
	t.Parallel()
	source := provisioned(3)
	for _, index := range []string{"", "by-0", "by-1", "by-2"} {
		for _, dimension := range []scaling.ScalableDimension{scaling.ScalableDimensionDynamoDBTableReadCapacityUnits, scaling.ScalableDimensionDynamoDBTableWriteCapacityUnits} {
			source.Scaling.Value = append(source.Scaling.Value, prepare.Scalable{
				Index: index, Dimension: dimension, Min: 1, Max: 9, Policies: []prepare.Policy{{Metric: scaling.MetricTypeDynamoDBReadCapacityUtilization, Percent: 70}},
			})
		}
	}
	_, parsed := template(t, prepare.Options{Source: source})
	waiting, first := map[any]int{}, 0
	for name, one := range parsed["Resources"].(map[string]any) {
		if kind, _ := testkit.At(one, "Type").(string); kind != "AWS::ApplicationAutoScaling::ScalableTarget" {
			continue // a policy has a reference to its target
		}
		before := testkit.At(one, "DependsOn")
		if before == nil {
			first++
			continue
		}
		waiting[before]++
		if waiting[before] > 1 || testkit.At(parsed["Resources"], before.(string)) == nil {
			t.Errorf("%s waits for %v, as others do, or which is not there", name, before)
		}
	}
	if first != 1 || len(waiting) != 7 {
		t.Errorf("%d wait for none, %d for another", first, len(waiting))
	}
}

// A template that is too long for a request is deployed by way of a bucket, and one that is too long for that is none.
func TestTemplateSize(t *testing.T) {
	t.Parallel()
	withTags := func(n int) prepare.Table {
		source := described(types.StreamViewTypeNewImage)
		for i := range n {
			source.Tags.Value = append(source.Tags.Value, types.Tag{Key: aws.String(fmt.Sprint("tag-", i)), Value: aws.String(strings.Repeat("x", 200))})
		}
		return source
	}
	small, _ := template(t, prepare.Options{Source: withTags(10)})
	large, _ := template(t, prepare.Options{Source: withTags(400)})
	const by = "--template-file FILE --s3-bucket BUCKET"
	if len(small) >= 51_200 || strings.Contains(small, by) {
		t.Errorf("%d bytes by way of a bucket", len(small))
	}
	if len(large) <= 51_200 || !strings.Contains(large, by) || !strings.Contains(large, "more than the 51200 bytes") {
		t.Errorf("%d bytes in a request", len(large))
	}
	if _, err := prepare.Template(prepare.Options{Source: withTags(5000), Target: "twin"}); !refuse.Is(err) || !strings.Contains(err.Error(), "--apply") {
		t.Errorf("a template of a megabyte: %v", err)
	}
}
