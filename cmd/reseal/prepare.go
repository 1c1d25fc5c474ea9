package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"reseal/internal/prepare"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func prepareCommand() *cobra.Command {
	j := job{makesTarget: true}
	var key string
	var apply, keepBack bool
	var stage int
	cmd := &cobra.Command{
		Use:   "prepare --source S --target T",
		Short: "Print a stack template with the encrypted target and the replicator, or create the target",
		Long: `prepare reads the live source table and prints a CloudFormation template: the target with the same keys, indexes,
capacity and settings, encrypted with a KMS key; and the replicator (the Lambda) with its event source mapping, a role
that may do exactly what it does, and alarms. Its comments say what to change on the source, how to deploy it, and what
could not be read. Without --kms-key-id the stack makes a key of its own.

With --stage it prints what each stage of a move needs:
  1  the change of the source: its stream
  2  the stack to seed and replicate with (the default)
  3  the stack to cut over with: the target's name is exported, for the stack of the application to import
  4  the stack to retire the replicator with: the target stays

With --apply it makes the target itself, through DynamoDB's API, and enables the source's stream; it waits until both are
ACTIVE. What is done already is left as it is, and a target that is there but differs is refused. Without --kms-key-id
the target gets DynamoDB's own key in the account, alias/aws/dynamodb. It deploys no replicator: run "reseal replicate".`,
		Example: `  reseal prepare --source cities --target cities-encrypted > stack.yaml
  reseal prepare --source cities --target cities-encrypted --kms-key-id alias/cities --stage 3 > stack.yaml
  reseal prepare --source cities --target cities-encrypted --apply`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		isGiven := cmd.Flags().Changed("stage")
		switch {
		case apply && keepBack:
			return refuse.New("leave one of them out: cutover --keep-back enables the target's stream", "--apply deploys no replicator, and --keep-back adds one to a template")
		case apply && isGiven:
			return refuse.New("leave one of them out", "--apply makes the target, and --stage prints a template")
		case stage < prepare.StagePrepare || stage > prepare.StageRetire:
			return refuse.New("give 1, 2, 3 or 4", "--stage is %d", stage)
		}
		source, target, err := j.open(cmd.Context())
		if err != nil {
			return err
		}
		if apply {
			return j.apply(cmd, source, target, key)
		}
		if err := prepare.OneStack(cmd.Context(), source, target); err != nil {
			return err
		}
		scaling, why := prepare.OpenScaling(cmd.Context(), source)
		planned, err := prepare.Plan(cmd.Context(), prepare.PlanOptions{
			Source: source.DB, SourceTable: source.Table, Scaling: scaling, NoScaling: why, Target: target.DB, TargetTable: target.Table,
			TargetName: target.Ref.Name, KMSKey: key, Stage: stage, KeepBack: keepBack, From: source.Way(), To: target.Way(),
		})
		if err != nil {
			return err
		}
		planned.Source, planned.Target = source.Given, target.Given
		return j.print(cmd, planned, func(out io.Writer) error {
			if _, err := io.WriteString(out, planned.Template); err != nil {
				return fmt.Errorf("write template: %w", err)
			}
			return nil
		})
	}
	j.addTo(cmd, func(f *pflag.FlagSet) {
		text(f, &key, "kms-key-id", "key", "id, ARN or alias of the KMS key for the target")
		f.IntVar(&stage, "stage", prepare.StageSeed, "print what this stage of the move needs, 1 to 4")
		f.BoolVar(&keepBack, "keep-back", false, "add a stream of the target, and a replicator to the source that is off until\n\"cutover --keep-back\" turns it on, for a way back")
		f.BoolVar(&apply, "apply", false, "create the target and enable the source's stream, through the API")
	})
	return cmd
}

func (j *job) apply(cmd *cobra.Command, source, target *table.Handle, key string) error {
	scaling, why := prepare.OpenScaling(cmd.Context(), source)
	o := prepare.ApplyOptions{
		Source: source.DB, SourceTable: source.Table, Scaling: scaling, NoScaling: why, Target: target.DB, TargetTable: target.Table, KMSKey: key,
	}
	last := "nothing was done"
	o.Progress = func(step string) {
		last = step
		if !j.noProgress {
			_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "prepare: "+step)
		}
	}
	applied, err := prepare.Apply(cmd.Context(), o)
	switch {
	case refuse.Is(err):
		return err
	case errors.Is(err, context.Canceled):
		return &stopped{err: err, done: last, next: "; run the same command again to go on"}
	case err != nil:
		return fmt.Errorf("%w; run the same command again to go on", err)
	}
	applied.Source, applied.Target = source.Given, target.Given
	return j.print(cmd, applied, func(out io.Writer) error {
		return printApplied(out, applied, table.JobOptions(source.Way(), target.Way()))
	})
}

// printApplied prints what was done. tables are the options of a command for both tables.
func printApplied(out io.Writer, a prepare.Applied, tables string) error {
	did := func(isNew bool, now, before string) string {
		if isNew {
			return now
		}
		return before
	}
	return errors.Join(
		heading(out, "Prepared %s for %s.", a.Target, a.Source),
		lines(
			out,
			"target", a.TargetARN+did(a.TargetCreated, " (created)", " (was there)"),
			"key", a.KMSKeyARN,
			"source's stream", a.StreamARN+did(a.StreamEnabled, " (enabled)", " (was on)"),
			"time", seconds(a.ElapsedSeconds),
		),
		notes(out, a.Notes),
		heading(out, "No replicator is deployed. Run it first, then seed:\n  reseal replicate%s --checkpoint replicate.json\n  reseal seed%s", tables, tables),
	)
}
