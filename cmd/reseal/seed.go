package main

import (
	"errors"
	"io"

	"reseal/seed"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func seedCommand() *cobra.Command {
	var j job
	var o seed.Options
	var readUnits, writeUnits unitsFlag
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "seed --source S --target T",
		Short: "Copy the source into the target while the application goes on writing",
		Long: `seed copies the source table into the target with a parallel Scan, and re-checks every item against the source after it
was written, so that no update made meanwhile is lost and no deleted item comes back. Start "reseal replicate" (or its
Lambda) first: it applies the changes that come after the copy of an item.

An interrupted or failed seed goes on where it was: run the same command again. Items that the target already has are
overwritten by the source's; a seed may be repeated. Tables on demand are used as fast as they go, unless --read-units
and --write-units say otherwise.`,
		Example: `  reseal seed --source cities --target cities-encrypted
  reseal seed --source cities --target cities-encrypted --segments 64 --read-units 2000 --write-units 1000
  reseal seed --source arn:aws:dynamodb:eu-west-1:111122223333:table/cities \
              --source-role-arn arn:aws:iam::111122223333:role/reader \
              --target cities --target-region eu-central-1 --output json`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		source, target, err := j.open(cmd.Context())
		if err != nil {
			return err
		}
		o.Source, o.SourceTable, o.Target, o.TargetTable = source.DB, source.Table, target.DB, target.Table
		o.ReadUnits, o.WriteUnits, o.Encryption = float64(readUnits), float64(writeUnits), j.encryption
		if dryRun {
			plan, err := seed.Plan(cmd.Context(), o)
			if err != nil {
				return err
			}
			plan.Source, plan.Target = source.Given, target.Given
			return j.print(cmd, plan, func(out io.Writer) error { return printPlan(out, plan) })
		}
		if o.Checkpoint == "" {
			o.Checkpoint = seed.DefaultCheckpoint(o.SourceTable, o.TargetTable)
		}
		progress := newProgress(cmd.ErrOrStderr(), !j.noProgress)
		o.Progress = progress.seed
		result, err := seed.Run(cmd.Context(), o)
		progress.finish()
		if err != nil {
			return stop(err, many(result.ItemsWritten, "item"), o.Checkpoint, o.Restart)
		}
		result.Source, result.Target = source.Given, target.Given
		return j.print(cmd, result, func(out io.Writer) error { return printSeed(out, result) })
	}
	j.addTo(cmd, func(f *pflag.FlagSet) {
		f.IntVar(&o.Segments, "segments", 16, "segments of the parallel Scan, 1 to 1,000,000")
		f.Var(&readUnits, "read-units", "most read units a second from the source (default: 80 % of what is provisioned)")
		f.Var(&writeUnits, "write-units", "most write units a second to the target (default: likewise)")
		choice(f, &o.Recheck, "recheck", "items to re-check; off is for a source that nobody writes to", seed.RecheckAll, seed.RecheckOff)
		text(f, &o.Checkpoint, "checkpoint", "file", "where to keep the position (default: ./reseal-seed-SOURCE-to-TARGET.json)")
		f.BoolVar(&o.Restart, "restart", false, "start over, whatever the checkpoint says")
		f.BoolVar(&dryRun, "dry-run", false, "check the tables and say what would be read and written")
	})
	return cmd
}

func printSeed(out io.Writer, r seed.Result) error {
	resumed := ""
	if r.Resumed {
		resumed = " (resumed: the figures are of this run)"
	}
	return errors.Join(heading(out, "Seeded %s from %s%s.", r.Target, r.Source, resumed), lines(
		out,
		"items read", count(r.ItemsRead),
		"items written", count(r.ItemsWritten),
		"items re-checked", count(r.ItemsRechecked),
		"items re-written", count(r.ItemsRewritten)+" (the source had changed meanwhile)",
		"read units", units(r.ReadUnits),
		"write units", units(r.WriteUnits),
		"throttled", count(r.Throttled),
		"time", seconds(r.ElapsedSeconds),
	))
}

func printPlan(out io.Writer, p seed.Estimate) error {
	return errors.Join(heading(out, "Seeding %s from %s would take about the following; nothing was written.", p.Target, p.Source), lines(
		out,
		"items", count(p.Items),
		"bytes", count(p.Bytes),
		"read units", units(p.ReadUnits),
		"write units", units(p.WriteUnits),
	), notes(out, p.Notes))
}
