package replicate

import (
	"errors"
	"fmt"
	"time"

	"reseal/internal/item"

	"github.com/aws/aws-lambda-go/events"
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
}

// errNoImage is what a record of a KEYS_ONLY or OLD_IMAGE stream gets: the target can't be made from it.
var errNoImage = errors.New("the record has no new image: the stream must be NEW_IMAGE or NEW_AND_OLD_IMAGES")

// fromStream reads a record of the DynamoDB Streams API.
func fromStream(schema item.Schema, stream string, r streamtypes.Record) (Record, error) {
	if r.Dynamodb == nil || aws.ToString(r.Dynamodb.SequenceNumber) == "" {
		return Record{}, errors.New("read stream record: it has no change or no sequence number")
	}
	record := Record{Sequence: *r.Dynamodb.SequenceNumber, Stream: stream}
	if r.Dynamodb.ApproximateCreationDateTime != nil {
		record.Made = *r.Dynamodb.ApproximateCreationDateTime
	}
	keys, err := item.FromStream(r.Dynamodb.Keys)
	if err != nil {
		return record, fmt.Errorf("read stream record's keys: %w", err)
	}
	image, err := item.FromStream(r.Dynamodb.NewImage)
	if err != nil {
		return record, fmt.Errorf("read stream record's new image: %w", err)
	}
	return record, record.fill(schema, string(r.EventName), keys, image)
}

// fromEvent reads a record of a Lambda event.
func fromEvent(schema item.Schema, r events.DynamoDBEventRecord) (Record, error) {
	record := Record{Sequence: r.Change.SequenceNumber, Made: r.Change.ApproximateCreationDateTime.Time, Stream: r.EventSourceArn}
	if record.Sequence == "" {
		return record, errors.New("read stream record: it has no sequence number")
	}
	keys, err := item.FromEvent(r.Change.Keys)
	if err != nil {
		return record, fmt.Errorf("read stream record's keys: %w", err)
	}
	image, err := item.FromEvent(r.Change.NewImage)
	if err != nil {
		return record, fmt.Errorf("read stream record's new image: %w", err)
	}
	return record, record.fill(schema, r.EventName, keys, image)
}

// fill sets the key and the image according to the kind of event.
func (r *Record) fill(schema item.Schema, event string, keys, image item.Item) error {
	r.Event = event
	var err error
	if r.Key, err = schema.KeyOf(keys); err != nil {
		return fmt.Errorf("read stream record's keys: %w", err)
	}
	switch event {
	case string(streamtypes.OperationTypeRemove):
		return nil
	case string(streamtypes.OperationTypeInsert), string(streamtypes.OperationTypeModify):
		if image.Absent() {
			return errNoImage
		}
		r.Image = image
		return nil
	default:
		return fmt.Errorf("read stream record: event %q is not known", event)
	}
}
