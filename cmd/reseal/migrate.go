package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"reseal/internal/cutover"
	"reseal/internal/prepare"
	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/replicate"
	"reseal/seed"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The stages of a migration that --until names.
const (
	untilSeed    = "seed"
	untilFollow  = "follow"
	untilCutover = "cutover"
)

// Who replicates.
const (
	replicatorOwn    = "own"    // this process
	replicatorLambda = "lambda" // the stack's
)

// migrateFlags are what the command is asked for.
type migrateFlags struct {
	cutoverFlags

	folder, until, replicator string
	key                       string
	writeUnits                unitsFlag

	hasTarget bool // somebody else has made the target
}

func migrateCommand() *cobra.Command {
	f := &migrateFlags{cutoverFlags: cutoverFlags{maxMemory: sizeFlag(256 << 20)}}
	f.makesTarget = true
	cmd := &cobra.Command{
		Use:   "migrate --source S --target T --state DIR",
		Short: "The whole job: make the target, replicate, seed, compare, and cut over",
		Long: `migrate makes the target as "prepare --apply" does, replicates the source's stream to it for as long as it runs, seeds
it, follows both tables until they agree, and cuts over as "cutover" does: writers wait for seconds, and either go over
with proof or go on with the source. Each stage is one of the other commands; their help tells more.

What it has done is in the folder of --state: interrupted, failed or killed, it goes on where it was when you run it
again. Keep the folder from one run to the next, and don't let a day pass between them: the stream keeps 24 hours. If
it came too late, it says so, and the next run starts over.

With --replicator lambda it makes no target and doesn't replicate: it expects those of the stack that "reseal prepare"
prints. Its event source mapping has to be enabled, and not far behind.

Exit status: 0 the writers are on the target (with --until, that stage is done); 1 they stay on the source; 2 refused;
3 failed on the way, or somebody has to decide; 130 interrupted.`,
		Example: `  reseal migrate --source cities --target cities-encrypted --state ./cities-move --until follow
  reseal migrate --source cities --target cities-encrypted --state ./cities-move --on-ready ./switch.sh
  reseal migrate --source cities --target cities-encrypted --state ./cities-move \
    --replicator lambda --on-ready ./switch.sh`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	f.addTo(cmd, func(flags *pflag.FlagSet) {
		text(flags, &f.folder, "state", "folder", "where to keep what was done (required)")
		choice(flags, &f.until, "until", "the last stage to be done", untilCutover, untilFollow, untilSeed)
		choice(flags, &f.replicator, "replicator", "who replicates: this process, or the stack's Lambda", replicatorOwn, replicatorLambda)
		text(flags, &f.key, "kms-key-id", "key", "id, ARN or alias of the KMS key for the target (default: alias/aws/dynamodb)")
		flags.IntVar(&f.segments, "segments", 16, "segments of the parallel Scans, 1 to 1,000,000")
		flags.Var(&f.writeUnits, "write-units", "most write units a second to the target and each index of it")
		f.defineReading(flags)
		flags.BoolVar(&f.eventual, "eventual", false, "compare with eventually consistent reads, at half the units")
		f.defineFence(flags)
		f.defineMoment(flags)
		f.defineDecision(flags)
	})
	return cmd
}

func (f *migrateFlags) check() error {
	switch {
	case f.folder == "":
		return refuse.New("name a folder, which need not exist", "--state is missing: it keeps what was done")
	case f.until != untilCutover && (f.abort || f.finish || f.onReady != "" || f.at != "" || f.postpone != ""):
		return refuse.New("leave --until out, or the others", "--until %s ends before a cutover", f.until)
	}
	return f.cutoverFlags.check()
}

// migrated is the result.
type migrated struct {
	Source         string           `json:"source"`
	Target         string           `json:"target"`
	Stage          string           `json:"stage"` // the last that was begun: "prepare", "seed", "follow" or "cutover"
	Verdict        cutover.Verdict  `json:"verdict"`
	Prepare        *prepare.Applied `json:"prepare"` // null: it was not done in this run
	Seed           *seed.Result     `json:"seed"`    // likewise
	Replicate      replicate.Result `json:"replicate"`
	Cutover        *cutover.Result  `json:"cutover"`
	ElapsedSeconds float64          `json:"elapsed_seconds"`
}

func (f *migrateFlags) run(cmd *cobra.Command) error {
	if err := f.check(); err != nil {
		return err
	}
	source, target, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	info, err := table.Await(cmd.Context(), source.DB, "source", source.Table)
	if err != nil {
		return err
	}
	if err := f.checkSourcePolicy(cmd.Context(), source, info); err != nil {
		return err
	}
	state, err := openMigration(f.folder)
	if err != nil {
		return err
	}
	defer state.close()
	m := &migrating{flags: f, cmd: cmd, source: source, target: target, state: state}
	result, err := m.run(cmd.Context())
	if refuse.Is(err) {
		if m.hasWritten() {
			return errors.New(err.Error()) // no refusal, before which nothing was written
		}
		return err
	}
	result.Source, result.Target = source.Given, target.Given
	printed := f.print(cmd, result, func(out io.Writer) error { return printMigrated(out, result) })
	if err != nil && errors.Is(err, context.Canceled) && onlyCanceled(err) {
		err = &stopped{err: err, done: "the stage " + result.Stage, next: "; run the same command again to go on"}
	}
	return errors.Join(printed, err)
}

func printMigrated(out io.Writer, m migrated) error {
	list := []string{"stage", m.Stage}
	if p := m.Prepare; p != nil {
		list = append(list, "target", p.TargetARN, "key", p.KMSKeyARN)
	}
	if s := m.Seed; s != nil {
		list = append(
			list, "seeded", fmt.Sprintf("%s items in %s (%s rewritten, %s settled)", count(s.ItemsWritten), seconds(s.ElapsedSeconds), count(s.ItemsRewritten), count(s.ItemsSettled)),
			"units of the seed", fmt.Sprintf("%s read, %s written", units(s.ReadUnits), units(s.WriteUnits)),
		)
	}
	r := m.Replicate
	list = append(list, "replicated", fmt.Sprintf("%s records: %s puts, %s deletes, %s coalesced", count(r.Records), count(r.Puts), count(r.Deletes), count(r.Coalesced)),
		"time", seconds(m.ElapsedSeconds))
	err := errors.Join(heading(out, "Migration of %s to %s:", m.Source, m.Target), lines(out, list...))
	if p := m.Prepare; p != nil && len(p.Notes) > 0 {
		err = errors.Join(err, notes(out, p.Notes))
	}
	if m.Cutover == nil {
		return err
	}
	c := *m.Cutover
	c.Source, c.Target = m.Source, m.Target
	if m.Verdict == cutover.VerdictNone {
		return errors.Join(err, heading(out, "Both tables agree, but for what changed in the last seconds. Nothing was fenced."))
	}
	return errors.Join(err, printCutover(out, c))
}
