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
// one table still has is no difference. Whether they have is said by the source's rule alone: an item that only the target deletes is one
// that is lost. The zero value knows none.
type expiry struct {
	attributes []string // no expired item is left out without one
	isOwn      bool     // the attribute is the table's own, by the setting
	setting    string   // in words, as it was when the run began
}

// expiryAPI is the DynamoDB call that tells the attribute; *dynamodb.Client has it.
type expiryAPI interface {
	DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error)
}

// expiryOf reads the rule of a table. A table that may not be asked, or does not know the call, has none: then what has expired counts as
// any other item, which can only show more differences.
func expiryOf(ctx context.Context, api any, name string, patience time.Duration) expiry {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	attribute, setting := timeToLive(ctx, api, name)
	e := expiryBy(attribute)
	e.setting, e.isOwn = setting, attribute != ""
	return e
}

// expiryBy is by attributes of these names; "" is none.
func expiryBy(attributes ...string) expiry {
	attributes = slices.DeleteFunc(slices.Clone(attributes), func(name string) bool { return name == "" })
	slices.Sort(attributes)
	return expiry{attributes: slices.Compact(attributes)}
}

// timeToLive reads a table's TTL: the attribute by which it deletes items, "" if it doesn't or can't be asked, and the setting in words.
// A change takes up to an hour to hold (API reference, UpdateTimeToLive). Meanwhile no attribute counts: not yet the new one, and no more the
// old one, since whoever turns TTL off wants the items kept.
func timeToLive(ctx context.Context, client any, name string) (attribute, setting string) {
	api, is := client.(expiryAPI)
	if !is {
		return "", NotChecked
	}
	out, err := api.DescribeTimeToLive(ctx, &dynamodb.DescribeTimeToLiveInput{TableName: &name})
	if err != nil || out.TimeToLiveDescription == nil {
		return "", NotChecked
	}
	attribute = aws.ToString(out.TimeToLiveDescription.AttributeName)
	switch out.TimeToLiveDescription.TimeToLiveStatus {
	case types.TimeToLiveStatusEnabled:
		return attribute, "on, attribute " + attribute
	case types.TimeToLiveStatusEnabling:
		return "", turningOn + ", attribute " + attribute
	case types.TimeToLiveStatusDisabling:
		return "", turningOff
	case types.TimeToLiveStatusDisabled:
		return "", "off"
	}
	return "", NotChecked // no status, or one of a later API: nothing that could be called equal
}

const (
	turningOn  = "being turned on"
	turningOff = "being turned off"
)

// mostExpired is how long ago an item may have expired for DynamoDB still to delete it (developer guide, "Using time to live").
const mostExpired = 5 * 365 * 24 * time.Hour

// expired tells whether DynamoDB may delete the item at this time, by the service's clock.
func (e expiry) expired(it item.Item, now time.Time) bool {
	for _, name := range e.attributes {
		at, is := it.EpochSeconds(name)
		if is && at.Before(now) && now.Sub(at) <= mostExpired {
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
