package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/verify"
	"reseal/verify/report"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func verifyCommand() *cobra.Command {
	var j job
	var o verify.Options
	var readUnits unitsFlag
	var sample shareFlag
	var ignoreExpired bool
	var follow followFlags
	maxMemory := sizeFlag(256 << 20)
	var reportPaths, strictExcept listFlag
	cmd := &cobra.Command{
		Use:   "verify --source S --target T",
		Short: "Compare both tables; exit with 0 only if they hold the same items",
		Long: `verify reads both tables once, compares every item, and looks again at what differs with consistent reads: what a
replication under way repairs within --settle is no difference, a lost update is one. It may run while the application
writes.

Exit status 0: they match. 1: they don't, or an item never stood still (see --allow-changing), or their configuration
differs (see --strict). 3: it could not be found out, which is never a match; a report is then incomplete. 4: nothing
differs in a --sample, which says little of the rest.

With --checkpoint an interrupted or failed verification goes on where it was: run the same command again. What had
matched by then is not read again, so that run finds differences, and repairs them, but is never a match: it ends with
1, and the next one starts from the beginning. For the gate, give --restart, or no --checkpoint.

With --follow it reads the source's stream too, from before the scans on, and looks at each key that changes, on both
sides, until they agree for good: half a minute after its last change, when no request of the replicator can be under
way any more. It ends with --until-quiet, after --for, or on SIGINT or SIGTERM, with a verdict of that moment: 0 if no
key is open and nothing differs. With --checkpoint it goes on from there without scans, and may match.`,
		Example: `  reseal verify --source cities --target cities-encrypted
  reseal verify --source cities --target cities-encrypted --report differences.jsonl --output json
  reseal verify --source cities --target cities-encrypted --report page.html --show-values
  reseal verify --source cities --target cities-encrypted --strict --strict-except stream,tags
  reseal verify --source cities --target cities-encrypted --follow --consistent --until-quiet 10s
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
		o.StrictExcept = strictExcept.split()
		if o.ShowValues && len(reportPaths) == 0 {
			return refuse.New("give --report too, or leave it out", "--show-values puts values into a report")
		}
		ctx, begun, err := follow.apply(cmd.Context(), &o, source)
		if err != nil {
			return err
		}
		written, err := openReports(reportPaths, o.Repair && !o.DryRun, report.PageHead{Source: source.Given, Target: target.Given, Started: time.Now()})
		if err != nil {
			return err
		}
		o.Difference, written.follows = written.write, follow.on
		o.Begin = func(resumed bool) error {
			begun()
			return written.begin(resumed)
		}
		progress := j.progressSaying(cmd, follow.stopping(o.Checkpoint))
		o.Progress = func(now verify.Progress) {
			written.show()
			progress.verify(now)
		}
		result, err := verify.Run(ctx, o)
		progress.finish()
		result.Source, result.Target = source.Given, target.Given
		if err := written.close(result, err); err != nil {
			if o.Checkpoint == "" || errors.Is(err, table.ErrChanged) { // of other tables nobody can go on
				return err
			}
			return stopVerify(err, many(progress.done, "item"), o)
		}
		if err := j.print(cmd, result, func(out io.Writer) error { return printVerify(out, result) }); err != nil {
			return err
		}
		return notMatched(result)
	}
	j.addTo(cmd, func(f *pflag.FlagSet) {
		f.IntVar(&o.Segments, "segments", 16, "segments of the parallel Scan of each table, 1 to 1,000,000")
		f.Var(&readUnits, "read-units", "most read units a second from each table (default: 80 % of what is provisioned)")
		f.DurationVar(&o.Settle, "settle", 30*time.Second, "how long a difference must last, its source unchanged, to count as one (with\n--follow at least 30s, as long as a replicator's request may live)")
		f.Var(&maxMemory, "max-memory", "memory for items that wait for their counterpart; more of them go to files\nin TMPDIR")
		f.BoolVar(&o.Consistent, "consistent", false, "scan with consistent reads: a match rests on no read that may be stale, at twice the\nread units")
		follow.addTo(f)
		f.BoolVar(&o.Repair, "repair", false, "write the target's differing items as the source has them, and look again")
		f.BoolVar(&o.DryRun, "dry-run", false, "with --repair: write nothing, only count what it would write and delete")
		f.BoolVar(&ignoreExpired, "ignore-expired", true, "leave out items whose time to live has passed, by the source's attribute (only where\nTTL is enabled on it): each table deletes them at another time")
		f.Var(&sample, "sample", "compare only this part of the tables, such as 1%, for a cheap first look")
		f.Uint64Var(&o.SampleSeed, "sample-seed", 0, "draw the same sample as the run that printed this seed (default: a new one)")
		text(f, &o.Checkpoint, "checkpoint", "file", "where to keep the position, and go on from (default: nowhere)")
		f.BoolVar(&o.Restart, "restart", false, "start over, whatever the checkpoint says: what goes on from one is never a match")
		f.BoolVar(&o.AllowChanging, "allow-changing", false, "exit with 0 also if items that never stand still are all that is left")
		f.BoolVar(&o.Strict, "strict", false, "what differs in the tables' configuration, or could not be checked, counts too")
		f.Var(&strictExcept, "strict-except", "lines of the configuration that --strict passes, such as stream,tags")
		f.Var(&reportPaths, "report", "file for the differences: a line of JSON each, or one page to read if it ends in\n.html (can be given twice)")
		f.BoolVar(&o.ShowValues, "show-values", false, "put the values of what differs into the report, not only the attributes' names")
	})
	return cmd
}

// stopVerify is stop, and says what a run that goes on is worth.
func stopVerify(err error, done string, o verify.Options) error {
	err = stop(err, done, o.Checkpoint, o.Restart)
	if s := (*stopped)(nil); o.Follow.Streams == nil && errors.As(err, &s) && s.next != "" {
		s.next += ", which can't end as a match, or with --restart to start over"
	}
	return err
}

// outdatedError is errDifferent of a run that found nothing that differs, but rests on what another one had read.
type outdatedError struct{ asOf string }

func (e outdatedError) Error() string {
	return "the tables are not known to match: nothing differs as of " + e.asOf + ", before this run; run it again, from the beginning"
}

func (outdatedError) Is(target error) bool { return target == errDifferent }

// notMatched is the error that stands for the exit status.
func notMatched(r verify.Result) error {
	switch {
	case r.Passed:
		return nil
	case r.AsOf != "" && r.Differing() == 0:
		return outdatedError{r.AsOf}
	case r.Following != nil && r.Differing() == 0 && !r.Match:
		return openError{r.Open}
	case r.Sample != nil && r.Sample.Passed:
		return errSampleMatched
	case r.Match || r.Sample != nil && r.Sample.Match:
		return fmt.Errorf("%w: their items do, their configuration doesn't", errDifferent)
	case r.Sample != nil:
		return fmt.Errorf("%w: a sample of them doesn't", errDifferent)
	}
	return errDifferent
}

func printVerify(out io.Writer, r verify.Result) error {
	resumed, began := "", " (each item was read after that: a later change is not in the verdict)"
	if r.Resumed {
		resumed, began = " (resumed: read units and time are of this run)", " (before this run)"
	}
	if r.Following != nil {
		began = strings.Replace(began, ": a later change is not in the verdict", ", and again after each change", 1)
	}
	said := heading(out, "%s%s", r.Verdict(), resumed)
	for _, warning := range r.Warnings {
		said = errors.Join(said, heading(out, "WARNING: %s", harmless(warning)))
	}
	list := []string{
		"source", r.Source,
		"target", r.Target + " (encryption: " + r.Encryption + ")",
		"source items", count(r.SourceItems),
		"target items", count(r.TargetItems),
		"missing", count(r.Missing),
		"extra", count(r.Extra),
		"different", count(r.Different),
		"still changing", count(r.StillChanging),
		"settled", count(r.Settled) + " (differed at first, replication was under way)",
		"expired", count(r.SourceExpired) + " in the source, " + count(r.TargetExpired) + " in the target (left out, " + expiredBy(r.ExpiredBy) + ")",
		"repaired", count(r.Repaired) + wouldRepair(r),
		"source fingerprint", cmp.Or(r.SourceFingerprint, "none: of a table that changes there is none"),
		"target fingerprint", cmp.Or(r.TargetFingerprint, "none, likewise"),
		"scans began", r.BeganAt + began,
		"scans read", consistency(r.Consistent),
		"read units", units(r.ReadUnits),
		"source limit", taken(r.SourceLimit),
		"target limit", taken(r.TargetLimit),
		"time", seconds(r.ElapsedSeconds),
	}
	return errors.Join(said, lines(out, append(list, followed(r)...)...), printConfiguration(out, r))
}

func consistency(consistent bool) string {
	if consistent {
		return "consistently, at twice the units"
	}
	return "eventually consistently (a match may rest on two reads that were stale alike; see --consistent)"
}

// printConfiguration tells in what the tables differ beside their items, and what comes of it.
func printConfiguration(out io.Writer, r verify.Result) error {
	if len(r.Configuration) == 0 {
		return nil
	}
	title := "Table configuration that differs or was not checked (not part of the verdict without --strict):"
	if r.Strict {
		title = "Table configuration that differs or was not checked:"
	}
	var settings []string
	for _, s := range r.Configuration {
		consequence := s.Consequence
		if s.Expected && r.Strict {
			consequence += " (Expected: --strict passes it.)"
		}
		settings = append(settings, s.What, "source: "+s.Source, "", "target: "+s.Target, "", consequence)
	}
	return errors.Join(heading(out, "%s", title), lines(out, settings...))
}

func expiredBy(attribute string) string {
	if attribute == "" {
		return "by no attribute"
	}
	return "by the source's attribute " + attribute
}

// wouldRepair tells of a dry run.
func wouldRepair(r verify.Result) string {
	if r.WouldPut+r.WouldDelete == 0 {
		return ""
	}
	return fmt.Sprintf(" (dry run: would write %s and delete %s)", many(r.WouldPut, "item"), count(r.WouldDelete))
}
