package replicate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/stream"
	"reseal/internal/table"

	"github.com/aws/aws-lambda-go/events"
)

// HandlerOptions are the settings of a Handler that need not be given.
type HandlerOptions struct {
	Poison  Poison    // for items that the target refuses; nil: they block their shard
	Metrics io.Writer // where a line of CloudWatch's Embedded Metric Format goes for each event; nil: nowhere
}

// Handler applies the events of a Lambda event source mapping with ReportBatchItemFailures. It is safe for concurrent use.
//
// It is a lambda.Handler, to be given to lambda.Start.
type Handler struct {
	applier
	log     *slog.Logger
	metrics metrics
}

// NewHandler describes the target table and returns a handler that writes to it. Keys and items are never logged.
func NewHandler(ctx context.Context, target TargetAPI, targetTable string, log *slog.Logger, options HandlerOptions) (*Handler, error) {
	info, err := table.Describe(ctx, target, "target", targetTable)
	if err != nil {
		return nil, err
	}
	return &Handler{
		log: log, metrics: metrics{out: options.Metrics, table: info.Name},
		applier: applier{
			poison: options.Poison, refusals: &refusals{}, again: true, // an event doesn't tell
			writer: &batch.Writer{API: target, Table: targetTable, Schema: info.Schema, Limiter: capacity.NewLimiter(0), Policy: call.Policy{}},
		},
	}, nil
}

// Invoke is Handle as aws-lambda-go calls it if it is given the Handler: it doesn't look at the event itself then.
func (h *Handler) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	response, err := h.Handle(ctx, event)
	if err != nil {
		return nil, err
	}
	return json.Marshal(response)
}

// Handle applies one event, which is the JSON of an events.DynamoDBEvent. A record that can't be read or written is named in the
// response, so that the service delivers it and those after it again: nothing is skipped. Nothing of the event's memory is in use
// after it has returned.
func (h *Handler) Handle(ctx context.Context, event json.RawMessage) (events.DynamoDBEventResponse, error) {
	found, err := h.read(event)
	records := found.Records
	counts, failure := Counts{}, &Unapplied{} // all of it comes again
	if err == nil {
		counts, failure = h.applyPage(ctx, found)
	} else {
		h.log.ErrorContext(ctx, "event not read", "records", len(records), "error", err)
	}
	left := 0
	if failure != nil {
		left = len(records) - failure.Index
		counts.Records = int64(failure.Index)
	}
	lag, isKnown := lagOf(records, time.Now())
	if metricsErr := h.metrics.write(counts, left, lag, isKnown); metricsErr != nil {
		h.log.ErrorContext(ctx, "metrics not written", "error", metricsErr) // the records are more important
	}
	switch {
	case err != nil:
		return events.DynamoDBEventResponse{}, err // fails the whole batch
	case failure != nil:
		h.log.ErrorContext(
			ctx, "records not applied", "from_sequence_number", failure.Sequence, "records", left,
			"blocked_by_item", errors.Is(failure.Err, ErrPoison), "dead_lettered", counts.DeadLettered, "uncertain_writes", counts.Uncertain, "error", failure.Err,
		)
		return events.DynamoDBEventResponse{BatchItemFailures: []events.DynamoDBBatchItemFailure{{ItemIdentifier: failure.Sequence}}}, nil
	}
	h.log.InfoContext(
		ctx, "records applied", "records", counts.Records, "puts", counts.Puts, "deletes", counts.Deletes,
		"coalesced", counts.Coalesced, "dead_lettered", counts.DeadLettered, "uncertain_writes", counts.Uncertain, "lag_ms", lag.Milliseconds(),
	)
	return events.DynamoDBEventResponse{}, nil
}

// read reads an event. If it can't name the record that can't be read, the event can't be read. With an error the page has the
// records that are known of.
func (h *Handler) read(event json.RawMessage) (stream.Page, error) {
	found, err := stream.ReadPage(h.writer.Schema, "", event)
	if err == nil && found.Unread != nil && found.Unread.Sequence == "" {
		err = found.Unread.Err
	}
	if err != nil {
		return found, fmt.Errorf("read event: %w", err)
	}
	return found, nil
}

// applyPage applies the records up to the first that can't be read, which, or an earlier one that can't be written, is the failure.
func (h *Handler) applyPage(ctx context.Context, found stream.Page) (Counts, *Unapplied) {
	records := found.Records
	if found.Unread != nil {
		records = records[:found.Unread.Index]
	}
	limited, cancel := beforeDeadline(ctx)
	defer cancel()
	counts, err := h.apply(limited, records)
	if failure, failed := failureIn(err); failed {
		return counts, failure
	}
	if found.Unread != nil {
		return counts, (*Unapplied)(found.Unread)
	}
	return counts, nil
}

// lagOf is the age of the event's oldest record, if any tells when it was made.
func lagOf(records []Record, now time.Time) (lag time.Duration, isKnown bool) {
	for _, r := range records {
		if !r.Made.IsZero() {
			lag, isKnown = max(lag, now.Sub(r.Made)), true
		}
	}
	return lag, isKnown
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
