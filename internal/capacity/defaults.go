package capacity

import (
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// defaultShare is the part of a provisioned table's units that a job without a limit of its own takes.
const defaultShare = 0.8

// DefaultReadUnits is the limit, in units a second, for reading a table whose user gave none; 0 (none) for a table on demand.
func DefaultReadUnits(td *types.TableDescription) float64 {
	if td.ProvisionedThroughput == nil {
		return 0
	}
	return defaultShare * float64(aws.ToInt64(td.ProvisionedThroughput.ReadCapacityUnits))
}

// DefaultWriteUnits is the limit, in units a second, for writing a table whose user gave none; 0 (none) for a table on demand.
// A put is charged to the table and to each index that it touches, and throttled by whichever has the fewest units.
func DefaultWriteUnits(td *types.TableDescription) float64 {
	if td.ProvisionedThroughput == nil {
		return 0
	}
	units := float64(aws.ToInt64(td.ProvisionedThroughput.WriteCapacityUnits))
	for _, index := range td.GlobalSecondaryIndexes {
		if p := index.ProvisionedThroughput; p != nil && aws.ToInt64(p.WriteCapacityUnits) > 0 {
			units = min(units, float64(*p.WriteCapacityUnits))
		}
	}
	return defaultShare * units
}
