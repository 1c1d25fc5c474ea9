package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"reseal/cmd/internal/demo"
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
writes to it, and moves it into a KMS-encrypted table as "reseal migrate" does: replicate, seed, follow, cut over. The
application goes over within seconds, and is asked in the end whether it has lost a write. Beside it, demo makes the
same copy without the re-check, to show what that loses. It ends with a verified match, or with exit status 1. It needs
no AWS account.`,
		Example: `  reseal demo
  reseal demo --items 100000
  reseal demo --keep
  reseal demo --endpoint-url http://localhost:8000`,
		Args: noArguments,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		start := time.Now()
		o.Log = cmd.ErrOrStderr()
		o.Step = func(what string) {
			if !j.noProgress {
				_, _ = fmt.Fprintf(o.Log, "%5.1fs  %s\n", time.Since(start).Seconds(), harmless(what))
			}
		}
		o.Migrate = func(ctx context.Context, m demo.Move) (demo.Moved, error) { return migrateDemo(ctx, cmd, m) }
		kept := false
		o.Kept = func(ctx context.Context, url string, story demo.Story) error {
			kept = true
			err := errors.Join(j.printDemo(cmd, story), j.printTry(cmd, url))
			<-ctx.Done()
			return err
		}
		story, err := demo.Run(cmd.Context(), o)
		if ctx := cmd.Context(); !kept && o.EndpointURL == "" && ctx.Err() != nil && errors.Is(err, context.Canceled) {
			return ctx.Err() // the local engine ends with ctx, and its tables with it: that they can't be deleted any more is no news
		}
		if err == nil && !kept {
			err = j.printDemo(cmd, story)
		}
		if err == nil && !story.Match() {
			err = errDifferent
		}
		return err
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.IntVar(&o.Items, "items", 20_000, "cities to load, at most 171,075")
	f.IntVar(&o.Segments, "segments", 16, "segments of seed and verify, 1 to 1,000,000")
	text(f, &o.EndpointURL, "endpoint-url", "url", "an engine that is running already, instead of the local one")
	f.BoolVar(&o.Keep, "keep", false, "leave the tables; the local engine runs on until ^C, to play with")
	j.addOutput(f)
	return cmd
}

// migrateDemo is "reseal migrate" on the demo's engine, with its application's own switch in place of a policy.
func migrateDemo(ctx context.Context, cmd *cobra.Command, m demo.Move) (demo.Moved, error) {
	side := func(side, name string) *table.Handle {
		return &table.Handle{DB: m.DB, Streams: m.Streams, Table: name, Given: name, Side: table.Side{Name: side}}
	}
	f := &migrateFlags{until: untilCutover, replicator: replicatorOwn, hasTarget: m.HasTarget}
	f.noProgress, f.encryption, f.segments, f.writeUnits, f.maxMemory = true, m.Encryption, m.Segments, unitsFlag{units: m.WriteUnits}, 256<<20
	f.fence, f.gate, f.ready, f.told = fenceCommand, m.Gate, m.Ready, m.Tell
	f.quiet, f.maxFence, f.hold, f.watch = demoQuiet, time.Minute, time.Hour, demoQuiet
	state, err := openMigration(m.Folder)
	if err != nil {
		return demo.Moved{}, err
	}
	defer state.close()
	moving := &migrating{flags: f, cmd: cmd, source: side("source", demo.SourceTable), target: side("target", demo.TargetTable), state: state}
	done, err := moving.run(ctx)
	moved := demo.Moved{Replicate: done.Replicate}
	if done.Seed != nil {
		moved.Seed = *done.Seed
	}
	if done.Cutover != nil {
		moved.Cutover = *done.Cutover
	}
	return moved, err
}

// demoQuiet is long enough for a local engine, in whose stream a record is at once.
const demoQuiet = time.Second

func (j *job) printDemo(cmd *cobra.Command, story demo.Story) error {
	result := demoResult{Story: story, Match: story.Match(), ElapsedSeconds: story.Elapsed.Seconds()}
	return j.print(cmd, result, func(out io.Writer) error { return printStory(out, story) })
}

// printTry says what to do with an engine that runs on.
func (j *job) printTry(cmd *cobra.Command, url string) error {
	_, err := fmt.Fprintf(cmd.ErrOrStderr(), `
The engine runs on at %[1]s until you press ^C, with the tables %[2]s (closed by the demo's switch alone), %[3]s and %[4]s.
In another terminal:
  export AWS_ENDPOINT_URL_DYNAMODB=%[1]s AWS_ENDPOINT_URL_DYNAMODB_STREAMS=%[1]s AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=demo AWS_SECRET_ACCESS_KEY=demo
  reseal fingerprint --table %[3]s
  reseal verify --source %[3]s --target %[4]s --settle 1s --report differences.jsonl
  reseal verify --source %[3]s --target %[4]s --settle 1s --repair
  reseal migrate --source %[3]s --target cities-again --state ./again --fence none --quiet 1s --watch 1s
`, url, demo.SourceTable, demo.TargetTable, demo.NaiveTable)
	if err != nil {
		return fmt.Errorf("write what to try: %w", err)
	}
	return nil
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
	w, r, c := s.Writes, s.Replication, s.Cutover
	lost := "none of them lost"
	if s.Lost > 0 {
		lost = fmt.Sprintf("%s items are NOT as they left them", number(s.Lost))
	}
	comparing := s.Final.ElapsedSeconds
	return errors.Join(heading(out, "%s: %s moved into %s (%s) in %.0f s, and the application went over.",
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
		"cut over", fmt.Sprintf("writes waited %s, %s of it for a comparison of all items, which the proof doesn't need", seconds(c.RefusedSeconds), seconds(comparing)),
		"without it", fmt.Sprintf("writers wait as long as a comparison takes: for a table a thousand times as large %s, beside the same %s",
			(time.Duration(comparing*1000)*time.Second).Round(time.Second), seconds(max(0, c.RefusedSeconds-comparing))),
		"on the target", fmt.Sprintf("%s writes; of all that were acknowledged, %s", number(s.After), lost),
		"units spent", fmt.Sprintf("seed %s read, %s written; replicate %s written", units(s.Seed.ReadUnits), units(s.Seed.WriteUnits), units(r.WriteUnits)),
		"source fingerprint", fmt.Sprintf("%s (%s items)", s.Final.SourceFingerprint, count(s.Final.SourceItems)),
		"target fingerprint", fmt.Sprintf("%s (%s items)", s.Final.TargetFingerprint, count(s.Final.TargetItems)),
	))
}

func number(n int) string { return count(int64(n)) }
