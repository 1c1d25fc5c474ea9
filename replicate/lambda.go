package replicate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/table"

	"github.com/aws/aws-lambda-go/events"
	"github.com/aws/smithy-go"
)

// Handler applies the events of a Lambda event source mapping with ReportBatchItemFailures. It is safe for concurrent use.
type Handler struct {
	writer *batch.Writer
	log    *slog.Logger
}

// NewHandler describes the target table and returns a handler that writes to it. Keys and items are never logged.
func NewHandler(ctx context.Context, target TargetAPI, targetTable string, log *slog.Logger) (*Handler, error) {
	info, err := table.Describe(ctx, target, "target", targetTable)
	if err != nil {
		return nil, err
	}
	return &Handler{
		log:    log,
		writer: &batch.Writer{API: target, Table: targetTable, Schema: info.Schema, Limiter: capacity.NewLimiter(0), Policy: call.Policy{}},
	}, nil
}

// Handle applies one event. A record that can't be read or written is named in the response, so that the service delivers it
// and those after it again: nothing is skipped.
func (h *Handler) Handle(ctx context.Context, event events.DynamoDBEvent) (events.DynamoDBEventResponse, error) {
	records := make([]Record, 0, len(event.Records))
	var unread *Unapplied
	for i, raw := range event.Records {
		record, err := fromEvent(h.writer.Schema, raw)
		if err != nil {
			if raw.Change.SequenceNumber == "" {
				return events.DynamoDBEventResponse{}, fmt.Errorf("read event: %w", err) // fails the whole batch
			}
			unread = &Unapplied{Index: i, Sequence: raw.Change.SequenceNumber, Err: err}
			break
		}
		records = append(records, record)
	}
	limited, cancel := beforeDeadline(ctx)
	defer cancel()
	counts, err := Apply(limited, h.writer, records)
	failure, failed := failureIn(err)
	if !failed {
		failure = unread
	}
	var response events.DynamoDBEventResponse
	if failure != nil {
		h.log.ErrorContext(ctx, "records not applied", "from_sequence_number", failure.Sequence, "records", len(event.Records)-failure.Index, "error", withoutData(failure.Err))
		response.BatchItemFailures = []events.DynamoDBBatchItemFailure{{ItemIdentifier: failure.Sequence}}
		return response, nil
	}
	h.log.InfoContext(ctx, "records applied", "records", counts.Records, "puts", counts.Puts, "deletes", counts.Deletes, "coalesced", counts.Coalesced)
	return response, nil
}

// beforeDeadline ends the context early enough for the answer: the service takes no answer at all for a failure of the whole event.
func beforeDeadline(ctx context.Context) (context.Context, context.CancelFunc) {
	const most = 2 * time.Second
	deadline, is := ctx.Deadline()
	if !is {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(most, time.Until(deadline)/4)))
}

// withoutData tells what went wrong in words that hold no keys and no values: DynamoDB quotes some in its messages, so of its
// own errors only the code is told.
func withoutData(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return err.Error()
}
