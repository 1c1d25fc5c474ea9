package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"reseal/internal/call"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/arn"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/smithy-go"
)

// DeadLetter is the body of a message, as JSON, about a record that the target refuses. It holds the item's key, to find it in the source by, but no other part of it.
type DeadLetter struct {
	Table    string          `json:"table"`           // the target
	Key      json.RawMessage `json:"key"`             // DynamoDB JSON
	Event    string          `json:"event"`           // INSERT, MODIFY or REMOVE
	Sequence string          `json:"sequence_number"` // of the stream record
	Stream   string          `json:"stream_arn"`
	Made     *time.Time      `json:"made,omitempty"` // ApproximateCreationDateTime
	Code     string          `json:"error_code"`
	Reason   string          `json:"error"` // the service's words, which may quote values of the item
}

// Queue hands records that the target refuses on to an Amazon SQS queue. It is safe for concurrent use.
type Queue struct {
	client *sqs.Client
	url    string
	isFIFO bool
	table  string
}

// OpenQueue finds the queue that the ARN names, with the AWS configuration of side. table is the target's name, for the messages. An ARN
// that isn't one of a queue, and a queue that doesn't exist, are errors that are [ErrRefused].
func OpenQueue(ctx context.Context, side table.Side, queueARN, target string) (*Queue, error) {
	parsed, err := arn.Parse(queueARN)
	if err != nil || parsed.Service != "sqs" || parsed.Region == "" || parsed.AccountID == "" || parsed.Resource == "" {
		return nil, refuse.New("it should look like arn:aws:sqs:eu-west-1:111122223333:queue", "%q is not the ARN of an SQS queue", queueARN)
	}
	cfg, err := side.Config(ctx, parsed.Region)
	if err != nil {
		return nil, err
	}
	q := &Queue{client: sqs.NewFromConfig(cfg), isFIFO: strings.HasSuffix(parsed.Resource, ".fifo"), table: target}
	out, err := q.client.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &parsed.Resource, QueueOwnerAWSAccountId: &parsed.AccountID})
	if err != nil {
		return nil, refuse.Because(err, "check its ARN and the permission sqs:GetQueueUrl", "the queue %s can't be used (%s)", queueARN, err)
	}
	q.url = aws.ToString(out.QueueUrl)
	return q, nil
}

// Take sends the record on: it is a Poison.
func (q *Queue) Take(ctx context.Context, record Record, reason error) error {
	key, err := record.Key.JSON()
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	message := DeadLetter{
		Table: q.table, Key: json.RawMessage(key), Event: record.Event, Sequence: record.Sequence, Stream: record.Stream,
		Code: codeOf(reason), Reason: call.Message(reason),
	}
	if !record.Made.IsZero() {
		made := record.Made.UTC()
		message.Made = &made
	}
	body, err := json.Marshal(message)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	in := &sqs.SendMessageInput{QueueUrl: &q.url, MessageBody: aws.String(string(body))}
	if q.isFIFO {
		in.MessageGroupId, in.MessageDeduplicationId = aws.String("reseal"), &record.Sequence
	}
	if _, err := q.client.SendMessage(ctx, in); err != nil {
		return fmt.Errorf("send message to the dead-letter queue: %w", call.Private(err))
	}
	return nil
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
