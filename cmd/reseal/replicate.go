package main

import (
	"errors"
	"io"

	"reseal/replicate"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func replicateCommand() *cobra.Command {
	var j job
	var o replicate.Options
	cmd := &cobra.Command{
		Use:   "replicate --source S --target T",
		Short: "Apply the source's stream to the target, until stopped or until it is idle",
		Long: `replicate follows the stream of the source table and writes every change to the target: whole items, in order for each
key, from the oldest record that the stream holds. Start it before seed and let it run until the application writes to
the target. The Lambda (cmd/replicator) does the same as a service.

It ends with --until-idle, or on SIGINT or SIGTERM (exit status 130). With --checkpoint it goes on where it was;
without, it applies the stream from its oldest record again, which is harmless.`,
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
		progress := newProgress(cmd.ErrOrStderr(), !j.noProgress)
		o.Progress = progress.replicate
		result, err := replicate.Run(cmd.Context(), o)
		progress.finish()
		switch {
		case errors.Is(err, replicate.ErrTrimmed) || errors.Is(err, replicate.ErrDisabled):
			return err // it says what to do, which isn't to go on
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
	})
	return cmd
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
		"write units", units(r.WriteUnits),
		"throttled", count(r.Throttled),
		"time", seconds(r.ElapsedSeconds),
	))
}
