package table_test

import (
	"strings"
	"testing"

	"reseal/internal/table"
)

func TestParseRef(t *testing.T) {
	const account = "123456789012"
	for text, want := range map[string]table.Ref{
		"abc":                    {Name: "abc"},
		"My_Table-1.new":         {Name: "My_Table-1.new"},
		"...":                    {Name: "..."},
		strings.Repeat("n", 255): {Name: strings.Repeat("n", 255)},
		"table":                  {Name: "table"},
		"arn":                    {Name: "arn"},
		"arn:aws:dynamodb:eu-west-1:123456789012:table/abc":                         {Name: "abc", Region: "eu-west-1", Account: account},
		"arn:aws-cn:dynamodb:cn-north-1:123456789012:table/a.b":                     {Name: "a.b", Region: "cn-north-1", Account: account},
		"arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/a-b":              {Name: "a-b", Region: "us-gov-west-1", Account: account},
		"arn:aws-iso:dynamodb:us-iso-east-1:123456789012:table/abc":                 {Name: "abc", Region: "us-iso-east-1", Account: account},
		"arn:aws-eusc:dynamodb:eusc-de-east-1:123456789012:table/abc":               {Name: "abc", Region: "eusc-de-east-1", Account: account},
		"arn:aws:dynamodb:ddblocal:000000000000:table/abc":                          {Name: "abc", Region: "ddblocal", Account: "000000000000"},
		"arn:aws:dynamodb:us-east-1:123456789012:table/" + strings.Repeat("n", 255): {Name: strings.Repeat("n", 255), Region: "us-east-1", Account: account},
	} {
		if strings.HasPrefix(text, "arn:") {
			want.ARN = text
		}
		if got, err := table.ParseRef("--source", text); err != nil || got != want {
			t.Errorf("%s: %+v, error %v", text, got, err)
		}
	}
}

func TestParseRefMalformed(t *testing.T) {
	for name, text := range map[string]string{
		"empty":             "",
		"two characters":    "ab",
		"too long":          strings.Repeat("n", 256),
		"space":             "my table",
		"slash":             "table/abc",
		"line break":        "abc\n",
		"not ASCII":         "größe",
		"URL":               "http://localhost:8000",
		"upper case ARN":    "ARN:aws:dynamodb:eu-west-1:123456789012:table/abc",
		"stream":            "arn:aws:dynamodb:eu-west-1:123456789012:table/abc/stream/2026-01-01T00:00:00.000",
		"index":             "arn:aws:dynamodb:eu-west-1:123456789012:table/abc/index/by-date",
		"backup":            "arn:aws:dynamodb:eu-west-1:123456789012:table/abc/backup/01489602797149-73d8d5bc",
		"global table":      "arn:aws:dynamodb::123456789012:global-table/abc",
		"other service":     "arn:aws:s3:eu-west-1:123456789012:table/abc",
		"other resource":    "arn:aws:dynamodb:eu-west-1:123456789012:import/abc",
		"a host in it":      "arn:aws:dynamodb:eu-west-1@example.com/:123456789012:table/abc",
		"no partition":      "arn::dynamodb:eu-west-1:123456789012:table/abc",
		"no Region":         "arn:aws:dynamodb::123456789012:table/abc",
		"no account":        "arn:aws:dynamodb:eu-west-1::table/abc",
		"short account":     "arn:aws:dynamodb:eu-west-1:12345678901:table/abc",
		"long account":      "arn:aws:dynamodb:eu-west-1:1234567890123:table/abc",
		"letters in it":     "arn:aws:dynamodb:eu-west-1:12345678901x:table/abc",
		"empty name":        "arn:aws:dynamodb:eu-west-1:123456789012:table/",
		"two-character ARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/ab",
		"no name":           "arn:aws:dynamodb:eu-west-1:123456789012:table",
		"cut":               "arn:aws:dynamodb",
		"only the start":    "arn:",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := table.ParseRef("--source", text)
			wantRefusal(t, err, "--source")
		})
	}
}
