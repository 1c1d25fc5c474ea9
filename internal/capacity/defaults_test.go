package capacity

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func provisioned(read, write int64) *types.ProvisionedThroughputDescription {
	return &types.ProvisionedThroughputDescription{ReadCapacityUnits: &read, WriteCapacityUnits: &write}
}

func index(throughput *types.ProvisionedThroughputDescription) types.GlobalSecondaryIndexDescription {
	return types.GlobalSecondaryIndexDescription{IndexName: aws.String("i"), ProvisionedThroughput: throughput}
}

func TestDefaults(t *testing.T) {
	for _, test := range []struct {
		name        string
		table       types.TableDescription
		read, write float64
	}{
		{"nothing known", types.TableDescription{}, 0, 0},
		{"on demand", types.TableDescription{ // AWS answers zeros
			BillingModeSummary:     &types.BillingModeSummary{BillingMode: types.BillingModePayPerRequest},
			ProvisionedThroughput:  provisioned(0, 0),
			GlobalSecondaryIndexes: []types.GlobalSecondaryIndexDescription{index(provisioned(0, 0))},
		}, 0, 0},
		{"provisioned", types.TableDescription{ProvisionedThroughput: provisioned(100, 50)}, 80, 40},
		{"least", types.TableDescription{ProvisionedThroughput: provisioned(1, 1)}, 0.8, 0.8},
		{"a tighter index", types.TableDescription{
			ProvisionedThroughput: provisioned(100, 50),
			GlobalSecondaryIndexes: []types.GlobalSecondaryIndexDescription{
				index(provisioned(5, 200)), index(provisioned(5, 10)), index(provisioned(5, 20)),
			},
		}, 80, 8},
		{"an index without figures", types.TableDescription{
			ProvisionedThroughput:  provisioned(100, 50),
			GlobalSecondaryIndexes: []types.GlobalSecondaryIndexDescription{index(nil), index(provisioned(0, 0))},
		}, 80, 40},
	} {
		if got := DefaultReadUnits(&test.table); got != test.read {
			t.Errorf("%s: %g read units, want %g", test.name, got, test.read)
		}
		if got := DefaultWriteUnits(&test.table); got != test.write {
			t.Errorf("%s: %g write units, want %g", test.name, got, test.write)
		}
	}
}
