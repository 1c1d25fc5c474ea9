package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"reseal/internal/cutover"
	"reseal/internal/table"

	"github.com/aws/aws-lambda-go/lambda"
)

// oneDirection is a handler that does nothing while a function replicates the other way round: both at once would write older items over newer
// ones, without end. Lambda delivers what it refuses again.
type oneDirection struct {
	handler lambda.Handler
	api     cutover.LambdaAPI
	db      table.DescribeAPI
	target  string // name or ARN
	log     *slog.Logger

	mu      sync.Mutex // guards what follows
	checked time.Time
	err     error // of that check
}

var errBothDirections = errors.New("the other direction is on")

// checkInterval is for how long a check holds.
const checkInterval = time.Minute

// Invoke is the handler's, unless the other direction is on.
func (o *oneDirection) Invoke(ctx context.Context, event []byte) ([]byte, error) {
	if err := o.check(ctx, event); err != nil {
		o.log.Error("nothing is applied", "error", err)
		return nil, err
	}
	return o.handler.Invoke(ctx, event)
}

func (o *oneDirection) check(ctx context.Context, event []byte) error {
	var page struct {
		Records []struct {
			EventSourceArn string `json:"eventSourceARN"` //nolint:tagliatelle // as Lambda has it
		}
	}
	if json.Unmarshal(event, &page) != nil || len(page.Records) == 0 {
		return nil // the handler's own to refuse
	}
	source, _, _ := strings.Cut(page.Records[0].EventSourceArn, "/stream/")
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.checked.IsZero() && time.Since(o.checked) < checkInterval {
		return o.err
	}
	on, err := o.other(ctx, source)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil: // to stop for it would lose more than it could save
		o.log.Warn("not checked: whether the other direction is on", "error", err)
		o.err = nil
	case len(on) > 0:
		o.err = fmt.Errorf("%w: the event source mapping %s of %s replicates from the target to the source; disable one of them", errBothDirections, on[0].UUID, on[0].Function)
	default:
		o.err = nil
	}
	o.checked = time.Now()
	return o.err
}

// other returns the mappings of the target's stream to functions that write to the source.
func (o *oneDirection) other(ctx context.Context, source string) ([]cutover.Mapping, error) {
	target, err := table.Describe(ctx, o.db, "target", o.target)
	if err != nil || target.StreamARN() == "" {
		return nil, err
	}
	_, name, _ := strings.Cut(source, ":table/")
	on, _, err := cutover.Mappings(ctx, o.api, target.StreamARN(), table.Info{ARN: source, Name: name})
	return on, err
}
