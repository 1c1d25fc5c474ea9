package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"reseal/internal/call"
	"reseal/internal/table"
	"reseal/internal/test/engine"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/aws"
	awscredentials "github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/sync/errgroup"
)

// recorded is one request that a seed made.
type recorded struct {
	target string // X-Amz-Target
	body   []byte
}

// recorder is an HTTP client that keeps the requests for data.
type recorder struct {
	client aws.HTTPClient
	mu     sync.Mutex
	list   []recorded
}

func (r *recorder) Do(request *http.Request) (*http.Response, error) {
	target := request.Header.Get("X-Amz-Target")
	if strings.HasSuffix(target, ".Scan") || strings.Contains(target, ".Batch") {
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		r.mu.Lock()
		r.list = append(r.list, recorded{target, body})
		r.mu.Unlock()
		request.Body = io.NopCloser(bytes.NewReader(body))
	}
	return r.client.Do(request)
}

// replay sends the requests, encoded as they are, so many at a time.
func replay(ctx context.Context, url string, list []recorded, atATime int) error {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: atATime, WriteBufferSize: 32 << 10, ReadBufferSize: 16 << 10}}
	defer client.CloseIdleConnections()
	work := make(chan recorded)
	group, ctx := errgroup.WithContext(ctx)
	for range atATime {
		group.Go(func() error {
			for one := range work {
				if err := send(ctx, client, url, one); err != nil {
					return err
				}
			}
			return nil
		})
	}
	group.Go(func() error {
		defer close(work)
		for _, one := range list {
			select {
			case work <- one:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return group.Wait()
}

func send(ctx context.Context, client *http.Client, url string, one recorded) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(one.body))
	if err != nil {
		return err
	}
	request.Header.Set("X-Amz-Target", one.target)
	request.Header.Set("Content-Type", "application/x-amz-json-1.0")
	request.Header.Set("X-Amz-Date", "20260101T000000Z")
	request.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=bench/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none")
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		text, err := io.ReadAll(answer.Body)
		return errors.Join(fmt.Errorf("status %s: %s", answer.Status, text), err, answer.Body.Close())
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return errors.Join(err, answer.Body.Close())
}

// loadGenerators is how many requests the bare load generator has under way; the fastest counts.
var loadGenerators = []int{2, 4, 8, 16}

// ceiling compares the wall time of a seed on a local engine with that of a bare load generator, which sends the same requests to
// the same engine without knowing what they are.
func (s *suite) ceiling(ctx context.Context) error {
	return onEngine(ctx, 20_000, func(c *contest) error { return s.ceilingOf(ctx, c) })
}

func (s *suite) ceilingOf(ctx context.Context, c *contest) error {
	list, err := c.record(ctx)
	if err != nil {
		return fmt.Errorf("record seed: %w", err)
	}
	bare, seeded := time.Duration(0), outcome{}
	for range max(s.rounds, 3) { // in turns, since the machine has its moods
		for _, atATime := range loadGenerators {
			if err := c.emptyTarget(ctx); err != nil {
				return err
			}
			start := time.Now()
			if err := replay(ctx, c.url, list, atATime); err != nil {
				return fmt.Errorf("replay: %w", err)
			}
			if wall := time.Since(start); bare == 0 || wall < bare {
				bare = wall
			}
		}
		if err := c.emptyTarget(ctx); err != nil {
			return err
		}
		one := suite{log: s.log, rounds: 1}
		out, err := one.measure(ctx, "seed", "-url", c.url, "-segments", strconv.Itoa(c.segments()))
		if err != nil {
			return err
		}
		if seeded.WallSeconds == 0 || out.WallSeconds < seeded.WallSeconds {
			seeded = out
		}
	}
	f := figure{Part: "ceiling", What: "bare load generator", Items: c.items, Size: c.size, outcome: outcome{WallSeconds: bare.Seconds()}}
	s.figures = append(s.figures, f)
	s.figures = append(s.figures, figure{
		Part: "ceiling", What: "seed", Items: c.items, Size: c.size, outcome: seeded, WallRatio: seeded.WallSeconds / bare.Seconds(), Of: "bare load generator",
	})
	return nil
}

// onEngine calls f with a source of so many items, on a local engine that it starts.
func onEngine(ctx context.Context, items int, f func(*contest) error) (err error) {
	installed, err := engine.Install(ctx, os.Stderr)
	if err != nil {
		return err
	}
	e, err := engine.Start(ctx, installed.Binary)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, e.Stop()) }()
	c := &contest{
		url: e.URL(), items: items, size: 600,
		db: dynamodb.New(dynamodb.Options{
			BaseEndpoint: aws.String(e.URL()), Region: "us-east-1", HTTPClient: call.WholeAnswers(http.DefaultClient),
			Credentials: awscredentials.NewStaticCredentialsProvider("bench", "bench", ""),
		}),
	}
	if err := c.fill(ctx); err != nil {
		return fmt.Errorf("fill source: %w", err)
	}
	return f(c)
}

// contest is the tables on the local engine.
type contest struct {
	url         string
	db          *dynamodb.Client
	items, size int
}

func (c *contest) segments() int { return 8 }

func (c *contest) create(ctx context.Context, name string) error {
	_, err := c.db.CreateTable(ctx, &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		KeySchema:            []types.KeySchemaElement{{AttributeName: aws.String(keyName), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{{AttributeName: aws.String(keyName), AttributeType: types.ScalarAttributeTypeS}},
	})
	return err
}

func (c *contest) emptyTarget(ctx context.Context) error {
	_, err := c.db.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: aws.String("target")})
	var missing *types.ResourceNotFoundException
	if err != nil && !errors.As(err, &missing) {
		return fmt.Errorf("delete target: %w", err)
	}
	if err := c.create(ctx, "target"); err != nil {
		return fmt.Errorf("create target: %w", err)
	}
	return nil
}

// fill puts items of a canned server into the source, by a seed, and enables its stream, which the seed of the contest wants.
func (c *contest) fill(ctx context.Context) error {
	server, err := startServer(ctx, c.items, c.size, 0)
	if err != nil {
		return err
	}
	if err := c.create(ctx, "source"); err != nil {
		return errors.Join(err, server.stop())
	}
	from, err := table.Side{Name: "source", Table: "source", EndpointURL: server.url}.Open(ctx)
	if err == nil {
		_, err = seed.Run(ctx, seed.Options{
			StreamAge: -1, // a local engine has no reads that are behind
			Source:    from.DB, SourceTable: "source", Target: c.db, TargetTable: "source", Segments: 4, Recheck: seed.RecheckOff, Encryption: table.EncryptionAny,
			WriteUnits: unlimited,
		})
	}
	if err := errors.Join(err, server.stop()); err != nil {
		return err
	}
	_, err = c.db.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName:           aws.String("source"),
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage},
	})
	return err
}

// record returns the requests of a seed, in the order in which it sent them.
func (c *contest) record(ctx context.Context) ([]recorded, error) {
	if err := c.emptyTarget(ctx); err != nil {
		return nil, err
	}
	kept := &recorder{client: call.WholeAnswers(http.DefaultClient)}
	db := dynamodb.New(c.db.Options(), func(o *dynamodb.Options) { o.HTTPClient = kept })
	_, err := seed.Run(ctx, seed.Options{
		StreamAge: -1, // a local engine has no reads that are behind
		Source:    db, SourceTable: "source", Target: db, TargetTable: "target", Segments: c.segments(), Encryption: table.EncryptionAny,
		ReadUnits: unlimited, WriteUnits: unlimited,
	})
	return kept.list, err
}
