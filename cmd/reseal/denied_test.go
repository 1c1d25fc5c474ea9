package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"reseal/internal/test/contract"
	"reseal/internal/test/testkit"
)

// denials are the actions that a command can't do without, each with the exit status when it is denied: a refusal as long as nothing is
// written.
var denials = []struct {
	args           []string
	source, target map[string]int
}{
	{
		[]string{"seed", "--segments", "2"},
		map[string]int{"DescribeTable": 2, "Scan": 3, "BatchGetItem": 3},
		map[string]int{"DescribeTable": 2, "BatchWriteItem": 3},
	},
	{[]string{"seed", "--dry-run"}, map[string]int{"DescribeTable": 2, "Scan": 3}, map[string]int{"DescribeTable": 2}},
	{
		[]string{"replicate", "--until-idle", "300ms", "--give-up", "1s"},
		map[string]int{"DescribeTable": 2, "DescribeStream": 2, "GetShardIterator": 3, "GetRecords": 3},
		map[string]int{"DescribeTable": 2, "BatchWriteItem": 3},
	},
	{
		[]string{"verify", "--settle", "0s"},
		map[string]int{"DescribeTable": 2, "Scan": 3, "BatchGetItem": 3},
		map[string]int{"DescribeTable": 2, "Scan": 3, "BatchGetItem": 3},
	},
	{[]string{"verify", "--repair", "--settle", "0s"}, nil, map[string]int{"BatchWriteItem": 3}},
	{[]string{"fingerprint"}, map[string]int{"DescribeTable": 2, "Scan": 3}, nil},
	{[]string{"prepare"}, map[string]int{"DescribeTable": 2}, nil},
	{[]string{"prepare", "--apply"}, map[string]int{"DescribeTable": 2}, map[string]int{"DescribeTable": 2}},
}

// Whatever action is denied, by IAM or by KMS, a command says on one line which, of which operation, and what to do; and it leaves the
// target as it was.
func TestDenials(t *testing.T) {
	t.Parallel()
	const tableARN, keyARN = "arn:aws:dynamodb:us-east-1:123456789012:table/TABLE", "arn:aws:kms:us-east-1:123456789012:key/KEY"
	for _, row := range denials {
		for onTarget, actions := range map[bool]map[string]int{false: row.source, true: row.target} {
			for op, status := range actions {
				for _, isKey := range []bool{false, true} {
					action, resource, remedy := "dynamodb:"+op, tableARN, "allow"
					message := "User: SECRET is not authorized to perform: " + action + " on resource: " + tableARN + " because no identity-based policy allows it: SECRET"
					if isKey {
						action, resource, remedy = "kms:Decrypt", keyARN, "in the key's policy"
						message = "KMS key access denied error: com.amazonaws.services.kms.model.AWSKMSException: User: SECRET is not authorized to perform: kms:Decrypt on resource: " + keyARN + " because SECRET"
					}
					side := map[bool]string{false: "source", true: "target"}[onTarget]
					t.Run(strings.Join(row.args, " ")+", "+action+" of "+op+" on the "+side, func(t *testing.T) {
						t.Parallel()
						ts := newTables(t, 5)
						if row.args[0] == "replicate" {
							testkit.Put(t, ts.db, ts.source, testkit.Item("id", "late")) // so that there is a record
						}
						if row.args[0] == "verify" {
							testkit.Put(t, ts.db, ts.target, testkit.Item("id", "extra")) // so that keys are read again
						}
						before := testkit.Contents(t, ts.db, ts.target)
						deny := func(x *testkit.Exchange) *testkit.Response {
							if x.Op == op {
								return testkit.Fail(400, "com.amazon.coral.service#AccessDeniedException", message)
							}
							return nil
						}
						args := append(ts.args(row.args[0]), row.args[1:]...)
						if row.args[0] == "fingerprint" {
							args = []string{"fingerprint", "--table", ts.source, "--endpoint-url", ts.sourceProxy.URL}
						}
						if onTarget {
							ts.targetProxy.Use(deny)
						} else {
							ts.sourceProxy.Use(deny)
						}
						o := start(t, command{args: append(args, "--no-progress")}).await().want(status).says(action, remedy)
						if op != "DescribeTable" {
							o.says(op+": AccessDeniedException", resource)
						}
						if strings.Contains(o.stderr, "SECRET") {
							t.Errorf("it shows what it must not: %s", o)
						}
						if status == 2 {
							o.wroteNothing()
						}
						if after := testkit.Contents(t, ts.db, ts.target); op == "BatchWriteItem" && len(after) != len(before) {
							t.Errorf("%d items, and %d before", len(after), len(before))
						}
					})
				}
			}
		}
	}
}

// ARNs of other accounts, and an endpoint that answers for the caller's own, whatever it is called. The requests reach it by a proxy of
// the environment, so that nothing but its name can tell what it is.
func TestWrongTable(t *testing.T) {
	t.Parallel()
	testkit.BadAnswers(t, "the endpoint answers whatever is asked with a table", contract.Member)
	const endpoint = "http://dynamodb.cn-north-1.amazonaws.com.cn"
	arn := func(account, name string) string {
		return "arn:aws-cn:dynamodb:cn-north-1:" + account + ":table/" + name
	}
	web := testkit.NewProxy(t, "http://127.0.0.1:1")
	web.Use(func(x *testkit.Exchange) *testkit.Response {
		name := "cities"
		if bytes.Contains(x.Body, []byte("copy")) {
			name = "copy"
		}
		return &testkit.Response{Body: []byte(`{"Table":{"TableName":"` + name + `","TableArn":"` + arn("111111111111", name) + `","TableStatus":"ACTIVE",` +
			`"LatestStreamArn":"` + arn("111111111111", name) + `/stream/1","StreamSpecification":{"StreamEnabled":true,"StreamViewType":"NEW_IMAGE"},` +
			`"SSEDescription":{"Status":"ENABLED","SSEType":"KMS"},` +
			`"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}]}}`)}
	})
	const mine, other = "111111111111", "222222222222"
	for name, args := range map[string][]string{
		"source of seed":         {"seed", "--source", arn(other, "cities"), "--target", arn(mine, "copy")},
		"target of seed":         {"seed", "--source", arn(mine, "cities"), "--target", arn(other, "copy")},
		"source of replicate":    {"replicate", "--source", arn(other, "cities"), "--target", arn(mine, "copy")},
		"target of replicate":    {"replicate", "--source", arn(mine, "cities"), "--target", arn(other, "copy")},
		"source of verify":       {"verify", "--source", arn(other, "cities"), "--target", arn(mine, "copy")},
		"target of verify":       {"verify", "--source", arn(mine, "cities"), "--target", arn(other, "copy"), "--repair"},
		"source of prepare":      {"prepare", "--source", arn(other, "cities"), "--target", arn(other, "copy")},
		"source of an apply":     {"prepare", "--source", arn(other, "cities"), "--target", arn(mine, "copy"), "--apply"},
		"target of an apply":     {"prepare", "--source", arn(mine, "cities"), "--target", arn(other, "copy"), "--apply"},
		"table of a fingerprint": {"fingerprint", "--table", arn(other, "cities")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			side, _, _ := strings.Cut(name, " ")
			o := start(t, command{args: append(args, "--endpoint-url", endpoint, "--no-progress"), env: []string{"HTTP_PROXY=" + web.URL, "AWS_REGION"}}).await()
			o.want(2).says("the "+side, "was asked for, but the answer is about "+arn(mine, ""), "check the endpoint URL").wroteNothing()
		})
	}
	t.Cleanup(func() {
		for _, op := range []string{"Scan", "BatchGetItem", "BatchWriteItem", "GetRecords", "CreateTable", "UpdateTable"} {
			if n := web.Count(op); n > 0 {
				t.Errorf("%d requests for %s", n, op)
			}
		}
	})
}

// A table that is being updated, as by autoscaling, is waited for, with a line that says so.
func TestUpdatingTable(t *testing.T) {
	t.Parallel()
	for _, quiet := range []bool{false, true} {
		ts := newTables(t, 0)
		ts.targetProxy.Use(func(x *testkit.Exchange) *testkit.Response {
			if x.Op != "DescribeTable" || ts.targetProxy.Count(x.Op) > 1 {
				return nil
			}
			status, body, err := x.Forward()
			if err != nil {
				return &testkit.Response{Cut: true}
			}
			return &testkit.Response{Status: status, Body: bytes.Replace(body, []byte(`"ACTIVE"`), []byte(`"UPDATING"`), 1)}
		})
		args := []string{"--settle", "0s"}
		if quiet {
			args = append(args, "--no-progress")
		}
		o := ts.run("verify", args...).want(0)
		if told := strings.Contains(o.stderr, "the target table") && strings.Contains(o.stderr, "is UPDATING: waiting until it is ACTIVE, for 10m0s"); told == quiet {
			t.Errorf("quiet %t: %s", quiet, o)
		}
	}
}

// Without a terminal there is nobody to ask for a code.
func TestCodeWithoutTerminal(t *testing.T) {
	t.Parallel()
	config := t.TempDir() + "/config"
	profile := "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n[profile guarded]\nrole_arn = arn:aws:iam::123456789012:role/r\n" +
		"source_profile = base\nmfa_serial = arn:aws:iam::123456789012:mfa/m\n"
	if err := os.WriteFile(config, []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	c := command{
		args: []string{"seed", "--source", "a-source", "--target", "a-target", "--profile", "guarded"},
		env:  []string{"AWS_CONFIG_FILE=" + config, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"},
	}
	start(t, c).await().want(2).says(`profile "guarded" needs the code of an MFA device`, "aws configure export-credentials --profile guarded").wroteNothing()
}

func TestAsk(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if line, err := ask(t.Context(), strings.NewReader(" 123456 \nmore"), &out, "code: "); err != nil || line != "123456" || out.String() != "code: " {
		t.Errorf("%q, %v, %q", line, err, out.String())
	}
	if _, err := ask(t.Context(), strings.NewReader("12"), io.Discard, ""); !errors.Is(err, io.EOF) {
		t.Errorf("an end of input: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	silent, end := io.Pipe()
	defer func() { _ = end.Close() }()
	if _, err := ask(ctx, silent, io.Discard, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
