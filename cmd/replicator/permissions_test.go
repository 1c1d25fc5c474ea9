package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"reseal/internal/prepare"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TestPermissions runs the real function, and what the service does with the function's role, with what the role of the template allows
// and nothing else. Each permission that is taken away makes it fail.
func TestPermissions(t *testing.T) {
	url := testkit.Engine(t)
	db := testkit.Client(url)
	source, twin := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "id:S"}), target(t)
	other := target(t) // on which nothing is allowed
	testkit.EnableStream(t, db, source, types.StreamViewTypeNewAndOldImages)
	for i := range 300 {
		testkit.Put(t, db, source, testkit.Item("id", fmt.Sprint(i%120), "v", i))
	}
	for i := range 20 {
		testkit.Delete(t, db, source, testkit.Item("id", fmt.Sprint(i)))
	}
	table, err := prepare.Read(t.Context(), db, nil, "source", source)
	if err != nil {
		t.Fatal(err)
	}
	allowed := roleOf(t, table, twin)
	var needed []string
	for action := range allowed {
		if strings.HasPrefix(action, "dynamodb:") && action != "dynamodb:ListStreams" { // which the service wants to be allowed
			needed = append(needed, action)
		}
	}
	slices.Sort(needed)

	guard, err := replicated(t, url, allowed, table.StreamARN(), twin)
	if err != nil || guard.Denied() != nil {
		t.Fatalf("error %v, denied %q", err, guard.Denied())
	}
	for _, line := range testkit.Diff(t, db, source, db, twin) {
		t.Error(line)
	}
	for _, action := range needed {
		less := map[string][]string{}
		for name, resources := range allowed {
			if name != action {
				less[name] = resources
			}
		}
		if guard, err := replicated(t, url, less, table.StreamARN(), twin); err == nil || guard.Denied() == nil {
			t.Errorf("without %s: error %v, denied %q", action, err, guard.Denied())
		}
	}
	if guard, err := replicated(t, url, allowed, table.StreamARN(), other); err == nil || guard.Denied() == nil {
		t.Errorf("to another table: error %v, denied %q", err, guard.Denied())
	}
	want := []string{"dynamodb:BatchWriteItem", "dynamodb:DescribeStream", "dynamodb:DescribeTable", "dynamodb:GetRecords", "dynamodb:GetShardIterator"}
	if !slices.Equal(needed, want) {
		t.Errorf("the role allows %q, want %q", needed, want)
	}
}

// roleOf reads the role's policy from a template: the resources of each action.
func roleOf(t *testing.T, source prepare.Table, target string) map[string][]string {
	t.Helper()
	template, err := prepare.Template(prepare.Options{Source: source, Target: target})
	if err != nil {
		t.Fatal(err)
	}
	policies := testkit.At(testkit.ParseTemplate(t, template), "Resources", "ReplicatorRole", "Properties", "Policies").([]any)
	allowed := map[string][]string{}
	for _, statement := range testkit.At(policies[0], "PolicyDocument", "Statement").([]any) {
		resource := testkit.At(statement, "Resource")
		if resource == (testkit.Function{Name: "!GetAtt", Argument: "Target.Arn"}) {
			resource = "arn:aws:dynamodb:us-east-1:123456789012:table/" + target
		}
		name, is := resource.(string)
		if !is {
			continue // the key and the log group, which no engine has, and the condition for a queue
		}
		for _, action := range testkit.At(statement, "Action").([]any) {
			allowed[action.(string)] = append(allowed[action.(string)], name)
		}
	}
	return allowed
}

// replicated reads the stream as the service does and has the function's process apply it, both through a guard.
func replicated(t *testing.T, url string, allowed map[string][]string, stream, target string) (*testkit.Guard, error) {
	t.Helper()
	guard := testkit.NewGuard(t, url, allowed)
	records, err := readStream(t, guard.URL, stream)
	if err != nil {
		return guard, err
	}
	service := testkit.NewLambda(t)
	service.Start = func() *exec.Cmd {
		return command(t, "RESEAL_TARGET_TABLE="+target, "RESEAL_TARGET_REGION=us-east-1", "RESEAL_TARGET_ENDPOINT_URL="+guard.URL,
			"AWS_LAMBDA_RUNTIME_API="+service.Address)
	}
	defer service.Kill()
	answer, err := service.Invoke(eventOf(t, records))
	if err == nil && !bytes.Equal(answer, []byte(`{"batchItemFailures":null}`)) {
		err = fmt.Errorf("answer %s", answer)
	}
	return guard, err
}

func eventOf(t *testing.T, records []json.RawMessage) []byte {
	t.Helper()
	event, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// readStream returns the records of the stream's first shard. In an answer they have the form in which they get to a function.
func readStream(t *testing.T, url, stream string) ([]json.RawMessage, error) {
	t.Helper()
	var described struct {
		StreamDescription struct{ Shards []struct{ ShardId string } }
	}
	if err := call(t, url, "DescribeStream", map[string]any{"StreamArn": stream}, &described); err != nil {
		return nil, err
	}
	var iterator struct{ ShardIterator string }
	err := call(t, url, "GetShardIterator", map[string]any{
		"StreamArn": stream, "ShardId": described.StreamDescription.Shards[0].ShardId, "ShardIteratorType": "TRIM_HORIZON",
	}, &iterator)
	if err != nil {
		return nil, err
	}
	var all []json.RawMessage
	for {
		var page struct {
			Records           []json.RawMessage
			NextShardIterator string
		}
		if err := call(t, url, "GetRecords", map[string]any{"ShardIterator": iterator.ShardIterator}, &page); err != nil {
			return nil, err
		}
		if len(page.Records) == 0 {
			return all, nil
		}
		all, iterator.ShardIterator = append(all, page.Records...), page.NextShardIterator
	}
}

// call makes a request for DynamoDB Streams.
func call(t *testing.T, url, op string, in, out any) error {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Amz-Target", "DynamoDBStreams_20120810."+op)
	req.Header.Set("Content-Type", "application/x-amz-json-1.0")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=none")
	req.Header.Set("X-Amz-Date", "20260101T000000Z")
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(string(data))
	}
	return json.Unmarshal(data, out)
}
