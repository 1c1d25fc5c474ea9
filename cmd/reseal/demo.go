package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"reseal/cmd/internal/demo"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/spf13/cobra"
)

func demoCommand() *cobra.Command {
	j := job{}
	var o demo.Options
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Play the whole job on a local engine, with real data and live writes",
		Long: `demo creates a table of cities on a local engine (installed with npm at the first run), starts an application that
writes to it all through the run, and moves it into a KMS-encrypted table: replicate, seed, verify. Beside it, it makes
the same copy without the re-check, to show what that loses. It ends with a verified match, or with exit status 1. It
needs no AWS account.`,
		Example: `  reseal demo
  reseal demo --items 100000
  reseal demo --endpoint-url http://localhost:8000`,
		Args: noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.Keep && o.EndpointURL == "" {
			return refuse.New("give the engine's --endpoint-url too", "--keep is of no use with the local engine, which ends with the demo")
		}
		start := time.Now()
		o.Log = cmd.ErrOrStderr()
		o.Step = func(what string) {
			if !j.noProgress {
				_, _ = fmt.Fprintf(o.Log, "%5.1fs  %s\n", time.Since(start).Seconds(), what)
			}
		}
		story, err := demo.Run(cmd.Context(), o)
		if ctx := cmd.Context(); o.EndpointURL == "" && ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return ctx.Err() // the local engine ends with ctx, and its tables with it: that they can't be deleted any more is no news
		}
		if err != nil {
			return err
		}
		result := demoResult{Story: story, Match: story.Match(), ElapsedSeconds: story.Elapsed.Seconds()}
		if err := j.print(cmd, result, func(out io.Writer) error { return printStory(out, story) }); err != nil {
			return err
		}
		if !result.Match {
			return errDifferent
		}
		return nil
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&o.Items, "items", 20_000, "cities to load, at most 171,075")
	f.IntVar(&o.Segments, "segments", 16, "segments of seed and verify, 1 to 1,000,000")
	text(f, &o.EndpointURL, "endpoint-url", "url", "an engine that is running already, instead of the local one")
	f.BoolVar(&o.Keep, "keep", false, "leave the tables on the engine of --endpoint-url")
	j.addOutput(f)
	return cmd
}

// demoResult is the story as JSON, with what it leaves out.
type demoResult struct {
	demo.Story
	Match          bool    `json:"match"`
	ElapsedSeconds float64 `json:"elapsed_seconds"`
}

func printStory(out io.Writer, s demo.Story) error {
	verdict := "VERIFIED MATCH"
	if !s.Match() {
		verdict = "NO MATCH"
	}
	encryption := "KMS-encrypted"
	if s.Encryption == table.EncryptionAny {
		encryption = "not encrypted, as this engine knows no KMS"
	}
	w, r := s.Writes, s.Replication
	return errors.Join(heading(out, "%s: %s moved into %s (%s) in %.0f s, while the application went on writing.",
		verdict, demo.SourceTable, demo.TargetTable, encryption, s.Elapsed.Seconds()), lines(
		out,
		"loaded", count(int64(s.Items))+" items",
		"application", fmt.Sprintf("%s writes: %s updates, %s removed attributes, %s deletes, %s re-inserts, %s to hot keys",
			number(w.Total()), number(w.Updates), number(w.Removals), number(w.Deletes), number(w.Reinserts), number(w.Hot)),
		"replicated", fmt.Sprintf("%s changes: %s puts, %s deletes, %s coalesced", count(r.Records), count(r.Puts), count(r.Deletes), count(r.Coalesced)),
		"seeded", fmt.Sprintf("%s items in %s, %s throttled", count(s.Seed.ItemsWritten), seconds(s.Seed.ElapsedSeconds), count(s.Seed.Throttled)),
		"re-check caught", count(s.Seed.ItemsRewritten)+" changes made between an item's Scan and its write",
		"a naive copy", fmt.Sprintf("had %s lost updates, %s resurrected and %s missing items (same run, no re-check)",
			count(s.Naive.Different), count(s.Naive.Extra), count(s.Naive.Missing)),
		"verified live", fmt.Sprintf("%s missing, %s extra, %s different; %s settled, %s never stood still",
			count(s.Live.Missing), count(s.Live.Extra), count(s.Live.Different), count(s.Live.Settled), count(s.Live.StillChanging)),
		"units spent", fmt.Sprintf("seed %s read, %s written; replicate %s written; verify %s read",
			units(s.Seed.ReadUnits), units(s.Seed.WriteUnits), units(r.WriteUnits), units(s.Live.ReadUnits+s.Final.ReadUnits)),
		"source fingerprint", fmt.Sprintf("%s (%s items)", s.Final.SourceFingerprint, count(s.Final.SourceItems)),
		"target fingerprint", fmt.Sprintf("%s (%s items)", s.Final.TargetFingerprint, count(s.Final.TargetItems)),
	))
}

func number(n int) string { return count(int64(n)) }
