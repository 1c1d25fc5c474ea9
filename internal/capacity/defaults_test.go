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
		{"nothing known", types.TableDescription{}, NewTableReads, NewTableWrites},
		{"on demand", types.TableDescription{ // AWS answers zeros
			BillingModeSummary:     &types.BillingModeSummary{BillingMode: types.BillingModePayPerRequest},
			ProvisionedThroughput:  provisioned(0, 0),
			GlobalSecondaryIndexes: []types.GlobalSecondaryIndexDescription{index(provisioned(0, 0))},
		}, NewTableReads, NewTableWrites},
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
		reads, writes := Budget{}.ReadLimiter(&test.table), Budget{}.WriteLimiter(&test.table)
		if reads.Limit() != test.read || writes.Limit() != test.write {
			t.Errorf("%s: %g read and %g write units, want %g and %g", test.name, reads.Limit(), writes.Limit(), test.read, test.write)
		}
		by, start := ByDefault, test.read/4 // an application reads the table, too: it must not feel the start
		if test.table.ProvisionedThroughput == nil || *test.table.ProvisionedThroughput.ReadCapacityUnits == 0 {
			by, start = ByTable, test.read
		}
		if reads.Taken().By != by || writes.Taken().By != by || reads.Rate() != start || writes.Rate() != test.write {
			t.Errorf("%s: %+v at %g, %+v at %g", test.name, reads.Taken(), reads.Rate(), writes.Taken(), writes.Rate())
		}
	}
}

func TestBudget(t *testing.T) {
	given := types.TableDescription{ProvisionedThroughput: provisioned(100, 50)}
	most := types.TableDescription{
		OnDemandThroughput: &types.OnDemandThroughput{MaxReadRequestUnits: aws.Int64(500), MaxWriteRequestUnits: aws.Int64(-1)},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndexDescription{
			{WarmThroughput: &types.GlobalSecondaryIndexWarmThroughputDescription{WriteUnitsPerSecond: aws.Int64(3000)}},
			{OnDemandThroughput: &types.OnDemandThroughput{MaxReadRequestUnits: aws.Int64(1), MaxWriteRequestUnits: aws.Int64(200)}},
		},
	}
	warm := types.TableDescription{WarmThroughput: &types.TableWarmThroughputDescription{ReadUnitsPerSecond: aws.Int64(20_000), WriteUnitsPerSecond: aws.Int64(9000)}}
	for _, test := range []struct {
		name        string
		budget      Budget
		table       types.TableDescription
		read, write float64
	}{
		{"units", Budget{Units: 7}, given, 7, 7},
		{"units before share", Budget{Units: 7, Share: 0.1}, given, 7, 7},
		{"share", Budget{Share: 0.5}, given, 50, 25},
		{"all", Budget{Share: 1}, given, 100, 50},
		{"share on demand", Budget{Share: 0.5}, types.TableDescription{}, 6000, 2000},
		{"warm", Budget{}, warm, 20_000, 9000},
		{"the most allowed", Budget{}, most, 500, 200},
		{"share of the most allowed", Budget{Share: 0.5}, most, 250, 100},
		{"share of warm", Budget{Share: 0.1}, warm, 2000, 900},
	} {
		if reads, writes := test.budget.ReadLimiter(&test.table).Rate(), test.budget.WriteLimiter(&test.table).Rate(); reads != test.read || writes != test.write {
			t.Errorf("%s: %g and %g units, want %g and %g", test.name, reads, writes, test.read, test.write)
		}
	}
}
