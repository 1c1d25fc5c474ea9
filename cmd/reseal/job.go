package main

import (
	"cmp"
	"context"
	"fmt"
	"os"

	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// job holds the flags that all commands on two tables share.
type job struct {
	source, target table.Side
	both           table.Side // Region, Profile and EndpointURL of both sides
	output         string
	noProgress     bool
	encryption     string
	makesTarget    bool // the command itself decides on the target's encryption
}

// addTo defines the flags, in the order in which help shows them: the tables, what the command has of its own, and how to reach
// the tables.
func (j *job) addTo(cmd *cobra.Command, own func(*pflag.FlagSet)) {
	j.source.Name, j.target.Name = "source", "target"
	sides := []*table.Side{&j.source, &j.target}
	cmd.Args = noArguments
	f := cmd.Flags()
	f.SortFlags = false
	for _, side := range sides {
		text(f, &side.Table, side.Name, "table", fmt.Sprintf("name or ARN of the %s table (required)", side.Name))
	}
	own(f)
	if !j.makesTarget {
		choice(f, &j.encryption, "encryption", "what the target must be encrypted with", table.EncryptionKMS, table.EncryptionAny)
	}
	j.addOutput(f)
	text(f, &j.both.Region, "region", "region", "AWS Region of both tables (default: as for every AWS tool)")
	text(f, &j.both.Profile, "profile", "name", "profile of the shared AWS configuration for both tables")
	text(f, &j.both.EndpointURL, "endpoint-url", "url", "DynamoDB endpoint of both tables, for a local engine or a VPC endpoint")
	for _, side := range sides {
		text(f, &side.Region, side.Name+"-region", "region", fmt.Sprintf("AWS Region of the %s, if not --region", side.Name))
		text(f, &side.Profile, side.Name+"-profile", "name", fmt.Sprintf("profile for the %s, if not --profile", side.Name))
		text(f, &side.RoleARN, side.Name+"-role-arn", "arn", fmt.Sprintf("role to assume for the %s", side.Name))
		text(f, &side.EndpointURL, side.Name+"-endpoint-url", "url", fmt.Sprintf("endpoint of the %s, if not --endpoint-url", side.Name))
	}
}

func (j *job) addOutput(f *pflag.FlagSet) {
	choice(f, &j.output, "output", "format of the result on stdout", "text", "json")
	f.BoolVar(&j.noProgress, "no-progress", false, "no progress on stderr")
}

// open makes the clients of both sides.
func (j *job) open(ctx context.Context) (source, target *table.Handle, err error) {
	if source, err = j.side(j.source).Open(ctx); err != nil {
		return nil, nil, err
	}
	target, err = j.side(j.target).Open(ctx)
	return source, target, err
}

func (j *job) side(side table.Side) table.Side {
	side.Region = cmp.Or(side.Region, j.both.Region)
	side.Profile = cmp.Or(side.Profile, j.both.Profile)
	side.EndpointURL = cmp.Or(side.EndpointURL, j.both.EndpointURL)
	return side
}

// progress is what shows how far the command has come until finish is called, and tells at once that a signal was understood: what is
// under way may take some seconds to end.
func (j *job) progress(cmd *cobra.Command, checkpoint string) *progress {
	return j.progressSaying(cmd, stoppingLine(checkpoint))
}

func (j *job) progressSaying(cmd *cobra.Command, stopping string) *progress {
	p := newProgress(cmd.ErrOrStderr(), !j.noProgress)
	context.AfterFunc(cmd.Context(), func() { p.say(stopping) })
	return p
}

func stoppingLine(checkpoint string) string {
	if checkpoint == "" {
		return "reseal: stopping; again to stop at once"
	}
	return "reseal: stopping, saving the checkpoint; again to stop at once"
}

// stop adds to an error that struck on the way how much was done until then, and how to go on from the checkpoint, if there
// is one.
func stop(err error, done, checkpoint string, restart bool) error {
	if refuse.Is(err) {
		return err
	}
	s := &stopped{err: err, done: done}
	if _, statErr := os.Stat(checkpoint); checkpoint == "" || statErr != nil {
		return s
	}
	how := "run the same command again"
	if restart {
		how += ", but without --restart,"
	}
	s.next = fmt.Sprintf("; %s to go on from the checkpoint %s", how, checkpoint)
	return s
}
