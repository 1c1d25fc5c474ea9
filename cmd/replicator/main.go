// Command replicator is the Lambda function that applies the source table's stream to the target table. Its event source
// mapping must have ReportBatchItemFailures among its FunctionResponseTypes.
//
// Environment variables:
//
//	RESEAL_TARGET_TABLE         the target table's name or ARN; required
//	RESEAL_TARGET_REGION        its Region, if not the function's own or the ARN's
//	RESEAL_TARGET_ROLE_ARN      a role to assume for it, as for a table in another account
//	RESEAL_TARGET_ENDPOINT_URL  where to reach it, if not at its Region's endpoint
//	RESEAL_ON_POISON            what becomes of a record whose item the target refuses: block (the default; its shard waits) or
//	                            dead-letter (it goes to a queue, and the target keeps the item's older version or none)
//	RESEAL_DEAD_LETTER_QUEUE_ARN  the SQS queue for dead-letter
//	RESEAL_OTHER_DIRECTION      refuse: apply nothing while an event source mapping from the target's stream to the source is on
//
// It logs JSON to standard error, without keys and without items, and writes a line of CloudWatch's Embedded Metric Format to
// standard output for each event.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"reseal/cmd/internal/poison"
	"reseal/internal/table"
	"reseal/replicate"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"
	service "github.com/aws/aws-sdk-go-v2/service/lambda"
)

func main() {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	handler, err := open(context.Background(), log)
	if err != nil {
		log.Error("replicator can't start", "error", err)
		os.Exit(1)
	}
	lambda.Start(handler)
}

func open(ctx context.Context, log *slog.Logger) (lambda.Handler, error) {
	side := table.Side{
		Name:        "target",
		Table:       os.Getenv("RESEAL_TARGET_TABLE"),
		Region:      os.Getenv("RESEAL_TARGET_REGION"),
		RoleARN:     os.Getenv("RESEAL_TARGET_ROLE_ARN"),
		EndpointURL: os.Getenv("RESEAL_TARGET_ENDPOINT_URL"),
	}
	if side.Table == "" {
		return nil, errors.New("RESEAL_TARGET_TABLE is not set: give the target table's name or ARN")
	}
	target, err := side.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open target (RESEAL_TARGET_*): %w", err)
	}
	options := replicate.HandlerOptions{Metrics: os.Stdout}
	onPoison := poison.Settings{
		Mode: os.Getenv("RESEAL_ON_POISON"), ModeName: "RESEAL_ON_POISON",
		Queue: os.Getenv("RESEAL_DEAD_LETTER_QUEUE_ARN"), QueueName: "RESEAL_DEAD_LETTER_QUEUE_ARN",
	}
	if options.Poison, err = onPoison.Open(ctx, table.Side{Name: "dead-letter queue"}, target.Table); err != nil { // with the function's own role
		return nil, err
	}
	handler, err := replicate.NewHandler(ctx, target.DB, target.Table, log, options)
	if err != nil {
		return nil, err
	}
	switch mode := os.Getenv("RESEAL_OTHER_DIRECTION"); mode {
	case "":
		return handler, nil
	case "refuse":
		own, err := config.LoadDefaultConfig(ctx) // the function's role, also where another one is assumed for the table
		if err != nil {
			return nil, fmt.Errorf("load configuration: %w", err)
		}
		return &oneDirection{handler: handler, api: service.NewFromConfig(own), db: target.DB, target: target.Table, log: log}, nil
	default:
		return nil, fmt.Errorf("RESEAL_OTHER_DIRECTION is %q: use refuse, or leave it out", mode)
	}
}
