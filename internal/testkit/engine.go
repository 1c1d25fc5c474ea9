package testkit

import (
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
	"reseal/internal/engine"
)

// region is the one that clients name. The engine takes any.
const region = "us-east-1"

// shared is the engine of this test process.
var shared struct {
	once   sync.Once
	engine *engine.Engine
	err    error
}

// Engine returns the URL of the one engine of this test process, which the first call installs and starts. It
// outlives the test, so tests tell their tables apart by name.
func Engine(t testing.TB) string {
	t.Helper()
	shared.once.Do(func() {
		// Not the test's context: the engine serves the tests after this one too. Main stops it.
		ctx := context.Background()
		var installed engine.Installation
		if installed, shared.err = engine.Install(ctx, os.Stderr); shared.err == nil {
			shared.engine, shared.err = engine.Start(ctx, installed.Binary)
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.engine.URL()
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
func Client(url string) *dynamodb.Client {
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
		Region:       region,
		Credentials:  dummy,
		HTTPClient:   httpClient,
		Retryer:      aws.NopRetryer{},
	})
}
