package testkit

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"

	"reseal/internal/call"
	"reseal/internal/test/engine"
	"reseal/internal/test/engine/ministack"
)

// Region is the one that clients name. An engine may have other tables in each.
const Region = "us-east-1"

// shared is the engine of this test process.
var shared struct {
	once   sync.Once
	engine *engine.Engine
	err    error
}

// The engines that tests run against. The variable RESEAL_TEST_ENGINE names the one (make test ENGINE=...); dynoxide if it is empty.
const (
	Dynoxide  = "dynoxide"
	MiniStack = "ministack"
)

// EngineName is the name of the engine that tests run against.
func EngineName() string { return cmp.Or(os.Getenv("RESEAL_TEST_ENGINE"), Dynoxide) }

// SkipOn skips a test that the engine of this name can't serve, for the reason given.
func SkipOn(t testing.TB, name, reason string) {
	t.Helper()
	if EngineName() == name {
		t.Skipf("%s: %s", name, reason)
	}
}

// startEngine installs the engine if need be, and starts it.
func startEngine(ctx context.Context) (*engine.Engine, error) {
	switch name := EngineName(); name {
	case Dynoxide:
		installed, err := engine.Install(ctx, os.Stderr)
		if err != nil {
			return nil, err
		}
		return engine.Start(ctx, installed.Binary)
	case MiniStack:
		installed, err := ministack.Install(ctx, os.Stderr)
		if err != nil {
			return nil, err
		}
		return installed.Start(ctx)
	default:
		return nil, fmt.Errorf("the engine %q is not known: use %s or %s", name, Dynoxide, MiniStack)
	}
}

// NewEngine starts another engine, with tables of its own, and returns the URL of a proxy in front of it, as Engine does. It ends with the test.
func NewEngine(t testing.TB) string {
	t.Helper()
	other, err := startEngine(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = other.Stop() })
	return checked(t, other.URL(), EngineName())
}

// Engine returns the URL of a proxy in front of the one engine of this test process, which the first call installs and starts. The
// engine outlives the test, so tests tell their tables apart by name. The proxy is the test's own; it checks requests and answers, and
// fails the test.
func Engine(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		// Not the test's context: the engine serves the tests after this one too. Main stops it.
		shared.engine, shared.err = startEngine(context.Background())
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return checked(t, shared.engine.URL(), EngineName())
}

// Main runs the tests, stops the engine if one was started, and returns the exit status, which isn't zero if
// the engine had ended before.
func Main(m *testing.M) int {
	code := m.Run()
	if shared.engine == nil {
		return code
	}
	if err := shared.engine.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop engine:", err)
		return max(code, 1)
	}
	return code
}

// httpClient serves all clients of a test process. Its transport keeps enough idle connections for tests with
// many requests at a time, and takes no proxy from the environment.
var httpClient = call.WholeAnswers(&http.Client{Transport: &http.Transport{
	MaxIdleConns:        512,
	MaxIdleConnsPerHost: 256,
	IdleConnTimeout:     30 * time.Second,
}})

// dummy are the credentials that every local engine takes.
var dummy = credentials.NewStaticCredentialsProvider("test", "test", "")

// Client returns a client for the engine, or the proxy, at url. It never retries, so that a test sees each
// answer.
func Client(url string) *dynamodb.Client { return ClientIn(url, Region) }

// ClientIn is Client for another Region, in which an engine may have other tables.
func ClientIn(url, region string) *dynamodb.Client {
	return dynamodb.New(dynamodb.Options{
		BaseEndpoint: aws.String(url),
		Region:       region,
		Credentials:  dummy,
		HTTPClient:   httpClient,
		Retryer:      aws.NopRetryer{},
	})
}

// Streams returns a client for the streams of the engine, or the proxy, at url. It never retries.
func Streams(url string) *dynamodbstreams.Client {
	return dynamodbstreams.New(dynamodbstreams.Options{
		BaseEndpoint: aws.String(url),
		Region:       Region,
		Credentials:  dummy,
		HTTPClient:   httpClient,
		Retryer:      aws.NopRetryer{},
	})
}
