package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"reseal/cmd/internal/poison"
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

Failures that may pass (denials, throttling, no network) are gone through: they are told on stderr while they last, and
end it with exit status 3 only when --give-up has passed.

An item that the target refuses (for the wrong type of an index key, say) ends it with exit status 3, since going on
would lose that change, unless the stream holds a later change of the item that the target takes. With --on-poison
dead-letter the record's key goes to an SQS queue instead, and the target keeps the item's older version, which
verify reports.`,
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
		handOn := poison.Settings{Mode: onPoison, ModeName: "--on-poison", Queue: queue, QueueName: "--dead-letter-queue"}
		if o.Poison, err = handOn.Open(cmd.Context(), j.side(table.Side{Name: "queue"}), target.Table); err != nil {
			return err
		}
		if err := o.Check(); err != nil {
			return err
		}
		way, err := takeDirection(cmd.Context(), source, target, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		defer way.close()
		progress := j.progress(cmd, o.Checkpoint)
		trouble := troubles{out: cmd.ErrOrStderr()}
		o.Progress = func(p replicate.Progress) {
			if trouble.isDue(p) {
				progress.finish() // clears a bar
				trouble.tell(p)
			}
			progress.replicate(p)
		}
		result, err := replicate.Run(cmd.Context(), o)
		progress.finish()
		switch {
		case errors.Is(err, replicate.ErrTrimmed) || errors.Is(err, replicate.ErrDisabled):
			return err // it says what to do, which isn't to go on
		case errors.Is(err, replicate.ErrPoison):
			return fmt.Errorf("%w; change the item in the source or the target's indexes and run it again, or use --on-poison dead-letter", err)
		case errors.Is(err, replicate.ErrRefusesAll) || errors.Is(err, table.ErrChanged):
			return err // likewise
		case err != nil:
			return stop(err, many(result.Records, "record"), o.Checkpoint, o.Restart)
		}
		result.Source, result.Target = source.Given, target.Given
		return j.print(cmd, result, func(out io.Writer) error { return printReplicate(out, result) })
	}
	j.addTo(cmd, func(f *pflag.FlagSet) {
		choice(f, &o.From, "from", "where to start without a checkpoint", replicate.FromTrimHorizon, replicate.FromLatest)
		f.DurationVar(&o.UntilIdle, "until-idle", 0, "end when nothing came for so long, such as 10s (default 0s: never)")
		f.DurationVar(&o.GiveUp, "give-up", 0, "end after so long of failures without any success\n(default 0s: an hour before the stream drops what is next; with --until-idle 1m)")
		text(f, &o.Checkpoint, "checkpoint", "file", "where to keep the position (default: nowhere)")
		f.BoolVar(&o.Restart, "restart", false, "start over, whatever the checkpoint says")
		choice(f, &onPoison, "on-poison", "an item that the target refuses: stop there, or hand it on", replicate.OnPoisonBlock, replicate.OnPoisonDeadLetter)
		text(f, &queue, "dead-letter-queue", "arn", "SQS queue for --on-poison dead-letter")
	})
	return cmd
}

// troubles tells what fails for long, with --no-progress too: nobody else would, until it is too late.
type troubles struct {
	out  io.Writer
	told time.Duration // how long it had failed when that was told last
}

const (
	troubleFirst = 10 * time.Second
	troubleAgain = time.Minute
)

// isDue tells whether there is something to tell.
func (t *troubles) isDue(p replicate.Progress) bool {
	if p.Failure == nil || p.Failing < t.told {
		t.told = 0
	}
	return p.Failure != nil && p.Failing >= troubleFirst && (t.told == 0 || p.Failing-t.told >= troubleAgain)
}

func (t *troubles) tell(p replicate.Progress) {
	t.told = p.Failing
	line := fmt.Sprintf("replicate: failing for %s, lag %s: %v", p.Failing.Round(time.Second), p.Lag.Round(time.Second), p.Failure)
	if p.GiveUpIn > 0 {
		line += fmt.Sprintf("; gives up in %s", p.GiveUpIn.Round(time.Second))
	}
	_, _ = fmt.Fprintln(t.out, line) // a terminal that is gone is no reason to stop
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
		"uncertain", count(r.Uncertain)+" (writes without an answer, repeated)",
		"throttled", count(r.Throttled),
		"time", seconds(r.ElapsedSeconds),
	))
}
