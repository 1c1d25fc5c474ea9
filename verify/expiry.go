package verify

import (
	"context"
	"slices"
	"strings"
	"time"

	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// expiry tells which items have expired: DynamoDB deletes them at a time of its own, in each table another, so that one that only
// one table still has is no difference. The zero value knows none.
type expiry struct {
	attributes []string // of either table; no expired item is left out without one
}

// expiryAPI is the DynamoDB call that tells the attribute; *dynamodb.Client has it.
type expiryAPI interface {
	DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
}

// expiryOf reads the attributes from both tables. A table that may not be asked, or does not know the call, has none: then what
// has expired counts as any other item, which can only show more differences.
func expiryOf(ctx context.Context, o Options, patience time.Duration) expiry {
	if o.KeepExpired {
		return expiry{}
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	source, _ := timeToLive(ctx, o.Source, o.SourceTable)
	target, _ := timeToLive(ctx, o.Target, o.TargetTable)
	return expiryBy(source, target)
}

// expiryBy is by attributes of these names; "" is none.
func expiryBy(attributes ...string) expiry {
	attributes = slices.DeleteFunc(slices.Clone(attributes), func(name string) bool { return name == "" })
	slices.Sort(attributes)
	return expiry{attributes: slices.Compact(attributes)}
}

// timeToLive reads a table's TTL: its attribute, "" if it is off or can't be asked for, and the setting in words.
func timeToLive(ctx context.Context, client any, name string) (attribute, setting string) {
	api, is := client.(expiryAPI)
	if !is {
		return "", NotChecked
	}
	out, err := api.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &name})
	if err != nil || out.TimeToLiveDescription == nil {
		return "", NotChecked
	}
	switch out.TimeToLiveDescription.TimeToLiveStatus {
	case types.TimeToLiveStatusEnabled, types.TimeToLiveStatusEnabling:
		attribute = aws.ToString(out.TimeToLiveDescription.AttributeName)
		return attribute, "on, attribute " + attribute
	case types.TimeToLiveStatusDisabled, types.TimeToLiveStatusDisabling:
		return "", "off"
	}
	return "", NotChecked // no status, or one of a later API: nothing that could be called equal
}

// mostExpired is how long ago an item may have expired for DynamoDB still to delete it (developer guide, "Using time to live").
const mostExpired = 5 * 365 * 24 * time.Hour

// expired tells whether DynamoDB may delete the item at this time.
func (e expiry) expired(it item.Item, now time.Time) bool {
	for _, name := range e.attributes {
		at, is := it.EpochSeconds(name)
		if is && !at.After(now) && now.Sub(at) <= mostExpired {
			return true
		}
	}
	return false
}

// without returns the item, or none if it has expired.
func (e expiry) without(it item.Item, now time.Time) item.Item {
	if e.expired(it, now) {
		return item.Item{}
	}
	return it
}

func (e expiry) String() string { return strings.Join(e.attributes, ",") }
