package capacity

import (
	"math"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Budget is a limit as its user gives it. The zero value leaves it to reseal.
type Budget struct {
	Units float64 // a second
	Share float64 // of what the table has, 0.5 for 50 %; used if Units is 0
}

// Valid tells whether the budget can be held to.
func (b Budget) Valid() bool {
	return b.Units >= 0 && !math.IsInf(b.Units, 0) && b.Share >= 0 && b.Share <= 1
}

const (
	// defaultShare is the part of a provisioned table's units that a job without a limit of its own takes at the most.
	defaultShare = 0.8
	// defaultStart is the part of that with which it begins to read: the application must not feel the start. From there it grows
	// until something is throttled: see adaptive.
	defaultStart = 0.25
	// defaultIncrease is the part that is added each second: all of it is reached after a minute.
	defaultIncrease = 0.0125
)

// What a new table on demand serves at once (DynamoDB developer guide, "Understanding DynamoDB warm throughput in different
// scenarios").
const (
	NewTableReads  = 12_000
	NewTableWrites = 4_000
)

// ReadLimiter is the limiter for reading the table.
func (b Budget) ReadLimiter(td *types.TableDescription) *Limiter {
	return b.limiter(ProvisionedReads(td), WarmReads(td), true)
}

// WriteLimiter is the limiter for writing the table.
func (b Budget) WriteLimiter(td *types.TableDescription) *Limiter {
	return b.limiter(ProvisionedWrites(td), WarmWrites(td), false)
}

// WarmReads is the read units a second that a table on demand serves at once: its warm throughput, or that of a new table, but
// no more than the most that its owner allows.
func WarmReads(td *types.TableDescription) float64 {
	units := float64(NewTableReads)
	if w := td.WarmThroughput; w != nil {
		units = orElse(w.ReadUnitsPerSecond, units)
	}
	if most := td.OnDemandThroughput; most != nil {
		units = min(units, orElse(most.MaxReadRequestUnits, units))
	}
	return units
}

// WarmWrites is the write units a second that a table on demand and each of its indexes serve at once: see WarmReads.
func WarmWrites(td *types.TableDescription) float64 {
	units := float64(NewTableWrites)
	if w := td.WarmThroughput; w != nil {
		units = orElse(w.WriteUnitsPerSecond, units)
	}
	if most := td.OnDemandThroughput; most != nil {
		units = min(units, orElse(most.MaxWriteRequestUnits, units))
	}
	for _, index := range td.GlobalSecondaryIndexes {
		if w := index.WarmThroughput; w != nil {
			units = min(units, orElse(w.WriteUnitsPerSecond, units))
		}
		if most := index.OnDemandThroughput; most != nil {
			units = min(units, orElse(most.MaxWriteRequestUnits, units))
		}
	}
	return units
}

// orElse is the value, or another one where there is none; DynamoDB has 0 or -1 for "none" too.
func orElse(value *int64, otherwise float64) float64 {
	if n := aws.ToInt64(value); n > 0 {
		return float64(n)
	}
	return otherwise
}

// limiter: the user's units; or a share of the table's, at most 80 % if the user gave none; or, for a table on demand, what it serves.
// A share of what a table on demand serves is taken of its warm throughput.
//
// Who reads a table shares it with the application: with the source's now, with the target's after the cutover. Who writes shares it
// with the replicator only, which tries again until it gets through; of a table on demand, that has what it needs of what the seed
// leaves.
func (b Budget) limiter(provisioned, warm float64, reads bool) *Limiter {
	share := b.Share
	switch {
	case b.Units > 0:
		return given(b.Units, reads)
	case provisioned > 0 && share > 0:
		return given(share*provisioned, reads)
	case share > 0:
		return given(share*warm, reads)
	case provisioned > 0 && reads:
		most := defaultShare * provisioned
		l := newLimiter(ByDefault, newAdaptive(defaultStart*most, most, defaultIncrease, true))
		l.shares, l.adapt.back = true, comeBackDefault
		return l
	case provisioned > 0:
		most := defaultShare * provisioned
		return newLimiter(ByDefault, newAdaptive(most, most, 0, true))
	case reads:
		return newLimiter(ByTable, newAdaptive(warm, math.Inf(1), adaptIncrease, true))
	}
	return NewAdaptiveLimiter(warm)
}

// given is a limiter that holds what the user gave. Reads fall when they are throttled. Writes don't: what is throttled is tried again by
// itself, and one hot partition must not slow down what goes to the others.
func given(units float64, reads bool) *Limiter {
	l := NewLimiter(units)
	l.adapt.steady = !reads
	return l
}

// ProvisionedReads is the read units a second of a provisioned table; 0 for a table on demand.
func ProvisionedReads(td *types.TableDescription) float64 {
	if td.ProvisionedThroughput == nil {
		return 0
	}
	return float64(aws.ToInt64(td.ProvisionedThroughput.ReadCapacityUnits))
}

// ProvisionedWrites is the write units a second of a provisioned table; 0 for a table on demand. A put is charged to the table
// and to each index that it touches, and throttled by whichever has the fewest units.
func ProvisionedWrites(td *types.TableDescription) float64 {
	if td.ProvisionedThroughput == nil {
		return 0
	}
	units := float64(aws.ToInt64(td.ProvisionedThroughput.WriteCapacityUnits))
	for _, index := range td.GlobalSecondaryIndexes {
		if p := index.ProvisionedThroughput; p != nil && aws.ToInt64(p.WriteCapacityUnits) > 0 {
			units = min(units, float64(*p.WriteCapacityUnits))
		}
	}
	return units
}
