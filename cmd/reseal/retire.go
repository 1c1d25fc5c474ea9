package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/retire"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	"github.com/spf13/cobra"
)

func retireCommand() *cobra.Command {
	var side table.Side
	var j job
	var o retire.Options
	var apply bool
	cmd := &cobra.Command{
		Use:   "retire --source S",
		Short: "Delete the source when nobody uses it any more, after a backup",
		Long: `retire looks whether anybody may still use a table, and lists what speaks against deleting it: that it is not fenced
(see cutover), a change in its stream, reads or writes that CloudWatch knows of, of its indexes too, within
--unused-for, a consumer of its stream, replicas, deletion protection, and whatever could not be found out. If there is
anything, its exit status is 2, and nothing is done.

Without --apply it then says what it would do. With --apply it takes a backup, waits until that can be restored, and
deletes the table. What both cost a month is told (prices of us-east-1).`,
		Example: `  reseal retire --source cities
  reseal retire --source cities --apply --disable-deletion-protection`,
	}
	cmd.Args = noArguments
	f := cmd.Flags()
	f.SortFlags = false
	side.Name = "source"
	text(f, &side.Table, "source", "table", "name or ARN of the table to be deleted (required)")
	f.DurationVar(&o.UnusedFor, "unused-for", 24*time.Hour, "for how long nobody may have used it; 0s: don't look")
	f.BoolVar(&o.Unfenced, "fenced-otherwise", false, "nobody can write to it, though no statement in its policy says so")
	f.BoolVar(&apply, "apply", false, "do it")
	f.BoolVar(&o.Unprotect, "disable-deletion-protection", false, "with --apply: take its deletion protection off")
	f.BoolVar(&o.NoBackup, "no-backup", false, "with --apply: take no backup")
	j.addOutput(f)
	text(f, &side.Region, "region", "region", "AWS Region of the table (default: as for every AWS tool)")
	text(f, &side.Profile, "profile", "name", "profile of the shared AWS configuration")
	text(f, &side.RoleARN, "role-arn", "arn", "role to assume")
	text(f, &side.EndpointURL, "endpoint-url", "url", "DynamoDB endpoint, for a local engine or a VPC endpoint")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.UnusedFor < 0 {
			return refuse.New("give a duration such as 24h", "--unused-for is %s", o.UnusedFor)
		}
		h, err := side.Open(cmd.Context())
		if err != nil {
			return err
		}
		if o.Table, err = table.Await(cmd.Context(), h.DB, side.Name, h.Table); err != nil {
			return err
		}
		o.API, o.Streams = h.DB, h.Streams
		o.CloudWatch = cloudwatch.NewFromConfig(h.Config, func(o *cloudwatch.Options) {
			if o.BaseEndpoint == nil {
				o.BaseEndpoint = h.LocalEndpoint()
			}
		})
		o.Lambda = lambda.NewFromConfig(h.Config, func(o *lambda.Options) {
			if o.BaseEndpoint == nil {
				o.BaseEndpoint = h.LocalEndpoint()
			}
		})
		progress := j.progress(cmd, "")
		defer progress.finish()
		o.Tell = func(what string) {
			if !j.noProgress {
				progress.note("retire: " + harmless(what))
			}
		}
		against, err := retire.Check(cmd.Context(), o)
		if err != nil {
			return err
		}
		if len(against) > 0 {
			return refuse.New("see each of them", "%q can't be retired: %s", o.Table.Name, inOneLine(against))
		}
		result := retire.Result{Source: h.Given, Applied: apply, Would: retire.Plan(o), Bytes: o.Table.Bytes}
		result.KeepDollars, result.BackupDollars = retire.Costs(o.Table)
		if apply {
			err = retire.Do(cmd.Context(), o, &result)
		}
		progress.finish()
		if err != nil && result.BackupARN != "" {
			err = fmt.Errorf("%w (the backup %s is there)", err, result.BackupARN)
		}
		if err != nil {
			return err
		}
		return j.print(cmd, result, func(out io.Writer) error { return printRetire(out, result) })
	}
	return cmd
}

// inOneLine numbers what there is, on one line.
func inOneLine(list []string) string {
	var b strings.Builder
	for i, one := range list {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "(%d) %s", i+1, one)
	}
	return b.String()
}

func printRetire(out io.Writer, r retire.Result) error {
	title := "Nothing speaks against retiring %s. Nothing was done; with --apply this is:"
	if r.Applied {
		title = "%s is deleted. This was done:"
	}
	return errors.Join(heading(out, title, r.Source), notes(out, r.Would), lines(
		out,
		"backup", r.BackupARN,
		"size", fmt.Sprintf("%s bytes, as of some hours ago", count(r.Bytes)),
		"it costs", fmt.Sprintf("$%.2f a month (us-east-1)", r.KeepDollars),
		"a backup costs", fmt.Sprintf("$%.2f a month", r.BackupDollars),
	))
}
