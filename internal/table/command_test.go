package table_test

import (
	"os/exec"
	"strings"
	"testing"

	"reseal/internal/table"
)

// A shell gives every text back as it was.
func TestQuote(t *testing.T) {
	for _, text := range []string{"cities", "arn:aws:dynamodb:eu-west-1:123456789012:table/a.b-c_d", "my profile", "it's", "$(touch x)", "`id`", "a;b", "*", "ü", "a\"b\\c", ""} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+table.Quote(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q came back as %q, %v", text, out, err)
		}
	}
}

func TestAWSOptions(t *testing.T) {
	const arn = "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/cities"
	aws := table.Way{Side: table.Side{Table: "cities", Profile: "of mine", EndpointURL: "https://vpce-1.example"}}
	local := table.Way{Side: table.Side{Table: "cities", EndpointURL: "http://localhost:8000", Region: "eu-west-1"}, Local: true}
	for _, test := range []struct{ got, want string }{
		{aws.AWSOptions(arn, true), " --region cn-north-1 --profile 'of mine' --endpoint-url https://vpce-1.example"},
		{aws.AWSOptions(arn, false), " --region cn-north-1 --profile 'of mine'"},
		{aws.TableName("cities", arn), arn},
		{local.AWSOptions(arn, true), " --region eu-west-1 --endpoint-url http://localhost:8000"},
		{local.AWSOptions(arn, false), " --region eu-west-1 --endpoint-url http://localhost:8000"},
		{local.TableName("cities", arn), "cities"},
	} {
		if test.got != test.want {
			t.Errorf("%q, want %q", test.got, test.want)
		}
	}
}

func TestJobOptions(t *testing.T) {
	way := func(side table.Side) table.Way { return table.Way{Side: side} }
	for _, test := range []struct {
		source, target table.Side
		want           string
	}{
		{table.Side{Table: "a"}, table.Side{Table: "b"}, " --source a --target b"},
		{table.Side{Table: "a", Region: "r", Profile: "p", EndpointURL: "http://e"}, table.Side{Table: "b", Region: "r", Profile: "q", EndpointURL: "http://e"}, " --source a --target b --region r --source-profile p --target-profile q --endpoint-url http://e"},
		{table.Side{Table: "a", RoleARN: "x"}, table.Side{Table: "b", RoleARN: "x", Region: "t"}, " --source a --target b --target-region t --source-role-arn x --target-role-arn x"},
	} {
		if got := table.JobOptions(way(test.source), way(test.target)); got != test.want {
			t.Errorf("%q, want %q", got, test.want)
		}
		if strings.Contains(table.JobOptions(way(test.source), way(test.target)), "  ") {
			t.Error("a blank too many")
		}
	}
}
