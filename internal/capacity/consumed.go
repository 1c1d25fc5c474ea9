package capacity

import (
	"maps"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Consumed is the capacity units that requests consumed.
type Consumed struct {
	Units    float64            // of the table and all indexes: what is paid for
	Limiting float64            // of the table or of the one global index that took the most: what throttling goes by
	Indexes  map[string]float64 // of each index that took any
}

// Of is a cost that is all the table's.
func Of(units float64) Consumed { return Consumed{Units: units, Limiting: units} }

// Units reads the ConsumedCapacity entries of an answer. A global secondary index has units of its own; a local one takes those
// of its table (DynamoDB developer guide, "Local secondary indexes", provisioned throughput considerations).
func Units(entries ...types.ConsumedCapacity) Consumed {
	var sum Consumed
	for _, entry := range entries {
		one := Consumed{Units: aws.ToFloat64(entry.CapacityUnits)}
		table := one.Units
		if entry.Table != nil {
			table = aws.ToFloat64(entry.Table.CapacityUnits)
		}
		for name, index := range entry.LocalSecondaryIndexes {
			table += one.count(name, index)
		}
		one.Limiting = table
		for name, index := range entry.GlobalSecondaryIndexes {
			one.Limiting = max(one.Limiting, one.count(name, index))
		}
		sum.add(one)
	}
	return sum
}

// count notes and returns the units of one index.
func (c *Consumed) count(name string, index types.Capacity) float64 {
	units := aws.ToFloat64(index.CapacityUnits)
	if c.Indexes == nil {
		c.Indexes = map[string]float64{}
	}
	c.Indexes[name] += units
	return units
}

func (c *Consumed) add(o Consumed) {
	c.Units += o.Units
	c.Limiting += o.Limiting
	for name, units := range o.Indexes {
		if c.Indexes == nil {
			c.Indexes = map[string]float64{}
		}
		c.Indexes[name] += units
	}
}

func (c *Consumed) copyIndexes() map[string]float64 { return maps.Clone(c.Indexes) }
