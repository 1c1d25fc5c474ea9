package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"reseal/verify"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func verifyCommand() *cobra.Command {
	var j job
	var o verify.Options
	var readUnits unitsFlag
	var sample shareFlag
	var ignoreExpired bool
	maxMemory := sizeFlag(256 << 20)
	var reportPath string
	cmd := &cobra.Command{
		Use:   "verify --source S --target T",
		Short: "Compare both tables; exit with 0 only if they hold the same items",
		Long: `verify reads both tables once, compares every item, and looks again at what differs with consistent reads: what a
replication under way repairs within --settle is no difference, a lost update is one. It may run while the application
writes.

Exit status 0: they match. 1: they don't, or an item never stood still. 3: it could not be found out, which is never a
match; a report is then incomplete. 4: nothing differs in a --sample, which says little of the rest.

With --checkpoint an interrupted or failed verification goes on where it was: run the same command again. What had
matched by then is not read again.`,
		Example: `  reseal verify --source cities --target cities-encrypted
  reseal verify --source cities --target cities-encrypted --report differences.jsonl --output json
  reseal verify --source cities --target cities-encrypted --sample 1%
  reseal verify --source cities --target cities-encrypted --repair --dry-run
  reseal verify --source cities --target cities-encrypted --repair`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		source, target, err := j.open(cmd.Context())
		if err != nil {
			return err
		}
		o.Source, o.SourceTable, o.Target, o.TargetTable = source.DB, source.Table, target.DB, target.Table
		o.ReadUnits, o.ReadShare = readUnits.units, readUnits.share
		o.MaxMemory, o.Encryption = int64(maxMemory), j.encryption
		o.Sample, o.KeepExpired = float64(sample), !ignoreExpired
		if sample > 0 && !cmd.Flags().Changed("sample-seed") {
			o.SampleSeed = rand.Uint64N(1_000_000) //nolint:gosec // not a secret; short, to be typed again
		}
		report, err := openReport(reportPath)
		if err != nil {
			return err
		}
		o.Difference = report.write
		progress := newProgress(cmd.ErrOrStderr(), !j.noProgress)
		o.Progress = progress.verify
		result, err := verify.Run(cmd.Context(), o)
		progress.finish()
		if err := report.close(err); err != nil {
			if o.Checkpoint == "" {
				return err
			}
			return stop(err, many(progress.done, "item"), o.Checkpoint, o.Restart)
		}
		result.Source, result.Target = source.Given, target.Given
		if err := j.print(cmd, result, func(out io.Writer) error { return printVerify(out, result) }); err != nil {
			return err
		}
		return notMatched(result)
	}
	j.addTo(cmd, func(f *pflag.FlagSet) {
		f.IntVar(&o.Segments, "segments", 16, "segments of the parallel Scan of each table, 1 to 1,000,000")
		f.Var(&readUnits, "read-units", "most read units a second from each table (default: 80 % of what is provisioned)")
		f.DurationVar(&o.Settle, "settle", 30*time.Second, "how long a difference must last, its source unchanged, to count as one")
		f.Var(&maxMemory, "max-memory", "memory for items that wait for their counterpart; more of them go to files\nin TMPDIR")
		f.BoolVar(&o.Repair, "repair", false, "write the target's differing items as the source has them, and look again")
		f.BoolVar(&o.DryRun, "dry-run", false, "with --repair: write nothing, only count what it would write and delete")
		f.BoolVar(&ignoreExpired, "ignore-expired", true, "leave out items whose time to live has passed: DynamoDB deletes them in each table\nat another time (only where TTL is enabled)")
		f.Var(&sample, "sample", "compare only this part of the tables, such as 1%, for a cheap first look")
		f.Uint64Var(&o.SampleSeed, "sample-seed", 0, "draw the same sample as the run that printed this seed (default: a new one)")
		text(f, &o.Checkpoint, "checkpoint", "file", "where to keep the position, and go on from (default: nowhere)")
		f.BoolVar(&o.Restart, "restart", false, "start over, whatever the checkpoint says")
		text(f, &reportPath, "report", "file", "where to write the differences, a line of JSON each: key, kind, attribute names")
	})
	return cmd
}

// notMatched is the error that stands for the exit status.
func notMatched(r verify.Result) error {
	switch {
	case r.Match:
		return nil
	case r.Sample != nil && r.Sample.Match:
		return errSampleMatched
	case r.Sample != nil:
		return fmt.Errorf("%w: a sample of them doesn't", errDifferent)
	}
	return errDifferent
}

func printVerify(out io.Writer, r verify.Result) error {
	resumed := ""
	if r.Resumed {
		resumed = " (resumed: read units and time are of this run)"
	}
	err := errors.Join(heading(out, "%s%s", verdict(r), resumed), lines(
		out,
		"source", r.Source,
		"target", r.Target+" (encryption: "+r.Encryption+")",
		"source items", count(r.SourceItems),
		"target items", count(r.TargetItems),
		"missing", count(r.Missing),
		"extra", count(r.Extra),
		"different", count(r.Different),
		"still changing", count(r.StillChanging),
		"settled", count(r.Settled)+" (differed at first, replication was under way)",
		"expired", count(r.SourceExpired)+" in the source, "+count(r.TargetExpired)+" in the target (left out)",
		"repaired", count(r.Repaired)+wouldRepair(r),
		"source fingerprint", r.SourceFingerprint,
		"target fingerprint", r.TargetFingerprint,
		"read units", units(r.ReadUnits),
		"time", seconds(r.ElapsedSeconds),
	))
	if len(r.Configuration) == 0 {
		return err
	}
	var settings []string
	for _, s := range r.Configuration {
		settings = append(settings, s.What, "source: "+s.Source+"; target: "+s.Target)
	}
	return errors.Join(
		err,
		heading(out, "Table configuration that differs or was not checked (not part of the verdict):"),
		lines(out, settings...),
	)
}

// wouldRepair tells of a dry run.
func wouldRepair(r verify.Result) string {
	if r.WouldPut+r.WouldDelete == 0 {
		return ""
	}
	return fmt.Sprintf(" (dry run: would write %s and delete %s)", many(r.WouldPut, "item"), count(r.WouldDelete))
}

func verdict(r verify.Result) string {
	of := ""
	if s := r.Sample; s != nil {
		of = fmt.Sprintf("in a sample of %s of %s segments (seed %d)", count(int64(s.Segments)), count(int64(s.TotalSegments)), s.Seed)
		if s.Match {
			return "SAMPLE MATCHED: nothing differs " + of + ". The rest was not compared."
		}
		of = ", " + of
	}
	switch {
	case r.Match && r.Repaired > 0:
		return "MATCH: both tables hold the same items, now that " + count(r.Repaired) + " were repaired."
	case r.Match:
		return "MATCH: both tables hold the same items."
	case r.Missing+r.Extra+r.Different == 0:
		return "NO MATCH: some items never stood still. Verify again when the application writes less."
	default:
		return "NO MATCH: the tables do not hold the same items" + of + "."
	}
}
