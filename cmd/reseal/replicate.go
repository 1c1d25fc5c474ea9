package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/replicate"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func replicateCommand() *cobra.Command {
	var j job
	var o replicate.Options
	var onPoison, queue string
	cmd := &cobra.Command{
		Use:   "replicate --source S --target T",
		Short: "Apply the source's stream to the target, until stopped or until it is idle",
		Long: `replicate follows the stream of the source table and writes every change to the target: whole items, in order for each
key, from the oldest record that the stream holds. Start it before seed and let it run until the application writes to
the target. The Lambda (cmd/replicator) does the same as a service.

It ends with --until-idle, or on SIGINT or SIGTERM (exit status 130). With --checkpoint it goes on where it was;
without, it applies the stream from its oldest record again, which is harmless.

An item that the target refuses (for the wrong type of an index key, say) ends it with exit status 3, since going on
would lose that change. With --on-poison dead-letter the record's key goes to an SQS queue instead, and the target
keeps the item's older version, which verify reports.`,
		Example: `  reseal replicate --source cities --target cities-encrypted --checkpoint replicate.json
  reseal replicate --source cities --target cities-encrypted --until-idle 10s --output json`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		source, target, err := j.open(cmd.Context())
		if err != nil {
			return err
		}
		o.Source, o.SourceTable, o.Streams = source.DB, source.Table, source.Streams
		o.Target, o.TargetTable, o.Encryption = target.DB, target.Table, j.encryption
		if o.Poison, err = poison(cmd.Context(), j.side(table.Side{Name: "queue"}), onPoison, queue, target.Table); err != nil {
			return err
		}
		progress := j.progress(cmd, o.Checkpoint)
		o.Progress = progress.replicate
		result, err := replicate.Run(cmd.Context(), o)
		progress.finish()
		switch {
		case errors.Is(err, replicate.ErrTrimmed) || errors.Is(err, replicate.ErrDisabled):
			return err // it says what to do, which isn't to go on
		case errors.Is(err, replicate.ErrPoison):
			return fmt.Errorf("%w; change the item in the source or the target's indexes, or use --on-poison dead-letter", err)
		case err != nil:
			return stop(err, many(result.Records, "record"), o.Checkpoint, o.Restart)
		}
		result.Source, result.Target = source.Given, target.Given
		return j.print(cmd, result, func(out io.Writer) error { return printReplicate(out, result) })
	}
	j.addTo(cmd, func(f *pflag.FlagSet) {
		choice(f, &o.From, "from", "where to start without a checkpoint", replicate.FromTrimHorizon, replicate.FromLatest)
		f.DurationVar(&o.UntilIdle, "until-idle", 0, "end when nothing came for so long, such as 10s (default 0s: never)")
		text(f, &o.Checkpoint, "checkpoint", "file", "where to keep the position (default: nowhere)")
		f.BoolVar(&o.Restart, "restart", false, "start over, whatever the checkpoint says")
		choice(f, &onPoison, "on-poison", "an item that the target refuses: stop there, or hand it on", replicate.OnPoisonBlock, replicate.OnPoisonDeadLetter)
		text(f, &queue, "dead-letter-queue", "arn", "SQS queue for --on-poison dead-letter")
	})
	return cmd
}

// poison opens the dead-letter queue, if there is to be one.
func poison(ctx context.Context, side table.Side, mode, queue, target string) (replicate.Poison, error) {
	switch {
	case mode == replicate.OnPoisonDeadLetter && queue == "":
		return nil, refuse.New("give --dead-letter-queue with the ARN of an SQS queue", "--on-poison dead-letter has no queue")
	case mode != replicate.OnPoisonDeadLetter && queue != "":
		return nil, refuse.New("give --on-poison dead-letter, too, or leave it out", "--dead-letter-queue is of no use with --on-poison %s", mode)
	case mode != replicate.OnPoisonDeadLetter:
		return nil, nil
	}
	q, err := replicate.OpenQueue(ctx, side, queue, target)
	if err != nil {
		return nil, err
	}
	return q.Take, nil
}

func printReplicate(out io.Writer, r replicate.Result) error {
	resumed := ""
	if r.Resumed {
		resumed = " (resumed: the figures are of this run)"
	}
	return errors.Join(heading(out, "Replicated %s to %s%s.", r.Source, r.Target, resumed), lines(
		out,
		"records", count(r.Records),
		"puts", count(r.Puts),
		"deletes", count(r.Deletes),
		"coalesced", count(r.Coalesced)+" (a later record of the same key was at hand)",
		"dead-lettered", count(r.DeadLettered),
		"write units", units(r.WriteUnits),
		"throttled", count(r.Throttled),
		"time", seconds(r.ElapsedSeconds),
	))
}
