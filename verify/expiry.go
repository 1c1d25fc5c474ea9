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
	var e expiry
	if o.KeepExpired {
		return e
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for _, side := range []struct {
		api  any
		name string
	}{{o.Source, o.SourceTable}, {o.Target, o.TargetTable}} {
		api, is := side.api.(expiryAPI)
		if !is {
			continue
		}
		out, err := api.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &side.name})
		if err != nil || out.TimeToLiveDescription == nil {
			continue
		}
		name := aws.ToString(out.TimeToLiveDescription.AttributeName)
		status := out.TimeToLiveDescription.TimeToLiveStatus
		if name != "" && (status == types.TimeToLiveStatusEnabled || status == types.TimeToLiveStatusEnabling) {
			e.attributes = append(e.attributes, name)
		}
	}
	slices.Sort(e.attributes)
	e.attributes = slices.Compact(e.attributes)
	return e
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
