package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"reseal/internal/test/testkit"
)

// asMain makes the test binary be the replicator.
const asMain = "RESEAL_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	os.Exit(testkit.Main(m))
}

// command runs the replicator with these environment variables and nothing else.
func command(t *testing.T, env ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, self)
	home := t.TempDir()
	cmd.Env = append([]string{
		asMain + "=1", "HOME=" + home, "AWS_EC2_METADATA_DISABLED=true", "AWS_ACCESS_KEY_ID=test", "AWS_SECRET_ACCESS_KEY=test",
	}, env...)
	return cmd
}

func TestStartErrors(t *testing.T) {
	for _, test := range []struct {
		name  string
		env   []string
		words string
	}{
		{"nothing", nil, "RESEAL_TARGET_TABLE is not set"},
		{"not a table", []string{"RESEAL_TARGET_TABLE=a b", "RESEAL_TARGET_REGION=eu-west-1"}, "is not a table name or ARN"},
		{"no Region", []string{"RESEAL_TARGET_TABLE=target"}, "no AWS Region is known"},
		{"no such table", []string{"RESEAL_TARGET_TABLE=nosuch", "RESEAL_TARGET_ENDPOINT_URL=" + testkit.Engine(t)}, "does not exist"},
		{"unknown mode", []string{"RESEAL_TARGET_TABLE=target", "RESEAL_TARGET_REGION=eu-west-1", "RESEAL_ON_POISON=drop"}, "use block or dead-letter"},
		{"no queue", []string{"RESEAL_TARGET_TABLE=target", "RESEAL_TARGET_REGION=eu-west-1", "RESEAL_ON_POISON=dead-letter"}, "RESEAL_ON_POISON dead-letter has no queue"},
		{"queue of no use", []string{"RESEAL_TARGET_TABLE=target", "RESEAL_TARGET_REGION=eu-west-1", "RESEAL_DEAD_LETTER_QUEUE_ARN=x"}, "RESEAL_ON_POISON isn't"},
		{
			"not a queue",
			[]string{"RESEAL_TARGET_TABLE=target", "RESEAL_TARGET_REGION=eu-west-1", "RESEAL_ON_POISON=dead-letter", "RESEAL_DEAD_LETTER_QUEUE_ARN=x"},
			"is not the ARN of an SQS queue",
		},
		{"not Lambda", nil, "AWS_LAMBDA_RUNTIME_API"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.name == "not Lambda" {
				test.env = []string{"RESEAL_TARGET_TABLE=" + target(t), "RESEAL_TARGET_ENDPOINT_URL=" + testkit.Engine(t)}
			}
			cmd := command(t, test.env...)
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			var exit *exec.ExitError
			if err := cmd.Run(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
				t.Errorf("it ended with %v, want status 1", err)
			}
			if n := strings.Count(stderr.String(), "\n"); n != 1 || !strings.Contains(stderr.String(), test.words) || stdout.Len() != 0 {
				t.Errorf("it said %q and %q, want one line with %q", stdout.String(), stderr.String(), test.words)
			}
		})
	}
}

func target(t *testing.T) string {
	t.Helper()
	return testkit.CreateTable(t, testkit.Client(testkit.Engine(t)), testkit.TableSpec{Hash: "id:S"})
}

func TestOneEvent(t *testing.T) {
	table := target(t)
	event := `{"Records":[
		{"eventName":"INSERT","dynamodb":{"SequenceNumber":"1","Keys":{"id":{"S":"a"}},"NewImage":{"id":{"S":"a"},"n":{"N":"9007199254740993"}}}},
		{"eventName":"MODIFY","dynamodb":{"SequenceNumber":"2","Keys":{"id":{"S":"b"}}}}]}`
	service := testkit.NewLambda(t)
	var stdout, stderr bytes.Buffer
	service.Start = func() *exec.Cmd {
		cmd := command(t, "RESEAL_TARGET_TABLE="+table, "RESEAL_TARGET_REGION="+testkit.Region, "RESEAL_TARGET_ENDPOINT_URL="+testkit.Engine(t),
			"AWS_LAMBDA_RUNTIME_API="+service.Address)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		return cmd
	}
	answer, err := service.Invoke([]byte(event))
	if want := `{"batchItemFailures":[{"itemIdentifier":"2"}]}`; err != nil || string(answer) != want {
		t.Fatalf("answer is %s, %v, want %s; %s", answer, err, want, &stderr)
	}
	service.Kill()
	var line, metrics map[string]any
	if err := json.Unmarshal(stderr.Bytes(), &line); err != nil || line["from_sequence_number"] != "2" {
		t.Errorf("log is %s (%v)", &stderr, err)
	}
	if err := json.Unmarshal(stdout.Bytes(), &metrics); err != nil || metrics["Failures"] != 1.0 || metrics["TargetTable"] != table {
		t.Errorf("metrics are %s (%v)", &stdout, err)
	}
	if got := testkit.Get(t, testkit.Client(testkit.Engine(t)), table, testkit.Item("id", "a")); len(got) != 2 {
		t.Errorf("item is %v", got)
	}
}
