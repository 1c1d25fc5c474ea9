package stream

import (
	"errors"
	"fmt"
	"time"

	"reseal/internal/item"

	"github.com/aws/aws-sdk-go-v2/aws"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
)

// Record is one change of one item, as a stream record tells it.
type Record struct {
	Key      item.Key
	Image    item.Item // the item after the change; absent: it was deleted (by the application or by TTL)
	Sequence string    // the record's sequence number
	Made     time.Time // ApproximateCreationDateTime
	Event    string    // INSERT, MODIFY or REMOVE
	Stream   string    // ARN of the stream
	Expired  bool      // the service's time to live deleted it, nobody else
}

// Whom a record names that time to live made (DynamoDB developer guide, "DynamoDB Streams and Time to Live").
const (
	serviceType      = "Service"
	servicePrincipal = "dynamodb.amazonaws.com"
)

// isExpiry tells whether a record of an event was made by time to live, by whom it names.
func isExpiry(event, identity, principal string) bool {
	return event == string(streamtypes.OperationTypeRemove) && identity == serviceType && principal == servicePrincipal
}

// errNoImage is what a record of a KEYS_ONLY or OLD_IMAGE stream gets: the target can't be made from it.
var errNoImage = errors.New("the record has no new image: the stream must be NEW_IMAGE or NEW_AND_OLD_IMAGES")

// errNoSequence is what a record gets that can't be named: no position, and no answer of the Lambda's, can be told by it.
var errNoSequence = errors.New("read stream record: it has no change or no sequence number")

// eventNames are the kinds of change.
var eventNames = []string{string(streamtypes.OperationTypeInsert), string(streamtypes.OperationTypeModify), string(streamtypes.OperationTypeRemove)}

// fromStream reads a record of the DynamoDB Streams API as the SDK has it; pageReader reads it from its bytes.
func fromStream(schema item.Schema, stream string, r streamtypes.Record) (Record, error) {
	if r.Dynamodb == nil || aws.ToString(r.Dynamodb.SequenceNumber) == "" {
		return Record{}, errNoSequence
	}
	record := Record{Sequence: *r.Dynamodb.SequenceNumber, Event: string(r.EventName), Stream: stream}
	if r.Dynamodb.ApproximateCreationDateTime != nil {
		record.Made = *r.Dynamodb.ApproximateCreationDateTime
	}
	if by := r.UserIdentity; by != nil {
		record.Expired = isExpiry(record.Event, aws.ToString(by.Type), aws.ToString(by.PrincipalId))
	}
	keys, err := item.FromStream(r.Dynamodb.Keys)
	if err != nil {
		return record, fmt.Errorf("read stream record's keys: %w", err)
	}
	image, err := item.FromStream(r.Dynamodb.NewImage)
	if err != nil {
		return record, fmt.Errorf("read stream record's new image: %w", err)
	}
	return record, record.fill(schema, keys, image)
}

// fill sets the key and the image according to the kind of event.
func (r *Record) fill(schema item.Schema, keys, image item.Item) error {
	var err error
	if r.Key, err = schema.KeyOf(keys); err != nil {
		return fmt.Errorf("read stream record's keys: %w", err)
	}
	switch r.Event {
	case string(streamtypes.OperationTypeRemove):
		return nil
	case string(streamtypes.OperationTypeInsert), string(streamtypes.OperationTypeModify):
		if image.Absent() {
			return errNoImage
		}
		r.Image = image
		return nil
	default:
		return fmt.Errorf("read stream record: event %q is not known", r.Event)
	}
}
