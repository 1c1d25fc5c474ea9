package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/seed"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func seedCommand() *cobra.Command {
	var j job
	var o seed.Options
	var readUnits, writeUnits unitsFlag
	var dryRun bool
	prices := seed.DefaultPrices
	var rejectsPath string
	segments := segmentsFlag(seed.DefaultSegments)
	cmd := &cobra.Command{
		Use:   "seed --source S --target T",
		Short: "Copy the source into the target while the application goes on writing",
		Long: `seed copies the source table into the target with a parallel Scan, and re-checks every item against the source after it
was written, so that no update made meanwhile is lost and no deleted item comes back. Start "reseal replicate" (or its
Lambda) first: it applies the changes that come after the copy of an item.

An interrupted or failed seed goes on where it was: run the same command again. Items that the target already has are
overwritten by the source's; a seed may be repeated. Items that the target refuses (for the wrong type of an index key,
say) are named in the file of --rejects, the rest is copied, and the exit status is 3.`,
		Example: `  reseal seed --source cities --target cities-encrypted
  reseal seed --source cities --target cities-encrypted --segments auto --read-units 50% --write-units 1000
  reseal seed --source cities --target cities-encrypted --dry-run
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
		o.ReadUnits, o.ReadShare = readUnits.units, readUnits.share
		o.WriteUnits, o.WriteShare = writeUnits.units, writeUnits.share
		o.Segments, o.Encryption = int(segments), j.encryption
		if dryRun {
			plan, err := seed.Plan(cmd.Context(), o, prices)
			if err != nil {
				return err
			}
			plan.Source, plan.Target = source.Given, target.Given
			return j.print(cmd, plan, func(out io.Writer) error { return printPlan(out, plan) })
		}
		if o.Checkpoint == "" {
			o.Checkpoint = seed.DefaultCheckpoint(o.SourceTable, o.TargetTable)
		}
		rejects := rejects{path: cmp.Or(rejectsPath, seed.DefaultRejects(o.SourceTable, o.TargetTable))}
		if err := rejects.check(); err != nil {
			return err
		}
		o.Reject = rejects.write
		if source.LocalEndpoint() != nil {
			o.StreamAge = -1 // a local engine has no reads that are behind
		}
		progress := j.progress(cmd, o.Checkpoint)
		o.Progress = progress.seed
		result, err := seed.Run(cmd.Context(), o)
		progress.finish()
		if closeErr := rejects.close(); closeErr != nil {
			err = errors.Join(err, closeErr)
		}
		result.Source, result.Target = source.Given, target.Given
		switch rejected := errors.Is(err, seed.ErrRejected); {
		case err == nil, rejected, errors.Is(err, seed.ErrLeftovers):
			if rejected {
				err = fmt.Errorf("%w; the keys of what was refused, and the reasons, are in %s", err, rejects.path)
			}
			return errors.Join(err, j.print(cmd, result, func(out io.Writer) error { return printSeed(out, result) }))
		case errors.Is(err, table.ErrChanged):
			return err // which says what to do: the checkpoint can't be gone on from
		default:
			return stop(err, progressed(result), o.Checkpoint, o.Restart)
		}
	}
	j.addTo(cmd, func(f *pflag.FlagSet) {
		f.Var(&segments, "segments", "segments of the parallel Scan, 1 to 1,000,000, or auto")
		f.Var(&readUnits, "read-units", "most read units a second from the source, or such as 50% (default: 80% of what is\nprovisioned; on demand, what the table turns out to serve)")
		f.Var(&writeUnits, "write-units", "most write units a second to the target and each index of it (default: likewise)")
		choice(f, &o.Recheck, "recheck", "items to re-check; off is for a source that nobody writes to", seed.RecheckAll, seed.RecheckOff)
		text(f, &o.Checkpoint, "checkpoint", "file", "where to keep the position (default: ./reseal-seed-SOURCE-to-TARGET.json)")
		f.BoolVar(&o.Restart, "restart", false, "copy everything again; of the checkpoint only the writes under way are kept")
		text(f, &rejectsPath, "rejects", "file", "where to name items that the target refuses\n(default: ./reseal-rejects-SOURCE-to-TARGET.jsonl)")
		f.BoolVar(&dryRun, "dry-run", false, "check the tables, read a page of each segment, and estimate units, time and cost")
		price(f, &prices.WriteMillion, "price-write-million", "dollars for a million write units on demand, here of us-east-1")
		price(f, &prices.ReadMillion, "price-read-million", "dollars for a million read units on demand")
		price(f, &prices.WriteUnitHour, "price-write-unit-hour", "dollars for a provisioned write unit for an hour")
		price(f, &prices.ReadUnitHour, "price-read-unit-hour", "dollars for a provisioned read unit for an hour")
	})
	return cmd
}

// progressed tells how far a seed came that ended on the way.
func progressed(r seed.Result) string {
	text := many(r.ItemsDone, "item")
	if r.ItemsUnfinished > 0 {
		text += fmt.Sprintf(" (%s that were begun are read again)", many(r.ItemsUnfinished, "more item"))
	}
	return text
}

func printSeed(out io.Writer, r seed.Result) error {
	resumed := ""
	if r.Resumed {
		resumed = " (resumed: the figures are of this run)"
	}
	if r.Resumed && r.Begun != "" {
		resumed = " (resumed: the figures are of this run; it needs a replication that has missed nothing since " + r.Begun + ")"
	}
	read := count(r.ItemsRead)
	if r.ItemsReread > 0 {
		read += ", up to " + count(r.ItemsReread) + " of them once more"
	}
	settled := count(r.ItemsSettled)
	if r.ItemsSettled > 0 {
		settled += ", for " + units(r.SettleReadUnits) + " read units (writes without an answer, or under way in a run before)"
	}
	return errors.Join(heading(out, "Seeded %s from %s%s.", r.Target, r.Source, resumed), lines(
		out,
		"items read", read,
		"items written", count(r.ItemsWritten),
		"items re-checked", count(r.ItemsRechecked),
		"items re-written", count(r.ItemsRewritten)+" (the source had changed meanwhile)",
		"items settled", settled,
		"items refused", count(r.Rejected),
		"read units", units(r.ReadUnits)+" (at least "+units(r.LeastReadUnits)+" for these items)",
		"write units", units(r.WriteUnits)+" (at least "+units(r.LeastWriteUnits)+")"+indexUnits(r.IndexWriteUnits),
		"read limit", taken(r.ReadLimit),
		"write limit", taken(r.WriteLimit),
		"throttled", count(r.Throttled),
		"time", seconds(r.ElapsedSeconds),
	), notes(out, r.Warnings))
}

// indexUnits tells the part of each index of write units.
func indexUnits(indexes map[string]float64) string {
	text := ""
	for _, name := range slices.Sorted(maps.Keys(indexes)) {
		text += fmt.Sprintf(", %s of them for index %s", units(indexes[name]), name)
	}
	return text
}

func printPlan(out io.Writer, p seed.Estimate) error {
	fits := "yes"
	if !p.FitsStream {
		fits = "no"
	}
	return errors.Join(heading(out, "Seeding %s from %s would take about the following; nothing was written.", p.Target, p.Source), lines(
		out,
		"items", count(p.Items),
		"bytes", count(p.Bytes),
		"sampled", many(p.SampledItems, "item")+" for "+units(p.SampledUnits)+" read units",
		"read units", units(p.ReadUnits),
		"write units", units(p.WriteUnits)+indexUnits(p.IndexWriteUnits),
		"cost on demand", fmt.Sprintf("$%.2f", p.OnDemandDollars),
		"cost provisioned", fmt.Sprintf("$%.2f, if the capacity is used to the full", p.ProvisionedDollars),
		"time", (time.Duration(p.Seconds)*time.Second).String()+", at the limits that hold at the start",
		"within 24 hours", fits,
	), notes(out, p.Notes))
}

// rejects is the file of --rejects. It comes into being with the first item that is refused. What it holds already stays: a
// resumed seed adds to it.
type rejects struct {
	path string
	file *os.File
}

// check refuses a path that can't be written, without writing anything.
func (r *rejects) check() error {
	file, err := os.OpenFile(r.path, os.O_APPEND|os.O_WRONLY, reportMode)
	if err == nil {
		err = file.Close()
	} else if errors.Is(err, fs.ErrNotExist) {
		_, err = os.ReadDir(filepath.Dir(r.path))
	}
	if err != nil {
		return refuse.Because(err, "give another --rejects", "the file for refused items can't be written (%s)", err)
	}
	return nil
}

func (r *rejects) write(reject seed.Reject) error {
	if r.file == nil {
		var err error
		if r.file, err = os.OpenFile(r.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, reportMode); err == nil {
			err = r.file.Chmod(reportMode) // it may be older
		}
		if err != nil {
			return fmt.Errorf("open rejects: %w", err)
		}
	}
	line, err := json.Marshal(reject)
	if err == nil {
		_, err = r.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = r.file.Sync() // before the checkpoint tells that it was refused
	}
	if err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}

func (r *rejects) close() error {
	if r.file == nil {
		return nil
	}
	if err := r.file.Close(); err != nil {
		return fmt.Errorf("write rejects: %w", err)
	}
	return nil
}
