package table_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/table"
	"reseal/internal/test/testkit"
)

// elsewhere sends all requests to one server, whatever host they are for.
type elsewhere struct{ host string }

func (e elsewhere) Do(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host = "http", e.host
	return http.DefaultClient.Do(r)
}

// answering opens a side whose endpoint, whatever its name, is a server that answers DescribeTable with the given ARN and name.
func answering(t *testing.T, side table.Side, arn, name string) (*dynamodb.Client, string) {
	t.Helper()
	proxy := testkit.NewProxy(t, "http://127.0.0.1:1")
	proxy.Use(func(*testkit.Exchange) *testkit.Response {
		body := `{"Table":{"TableName":"` + name + `","TableArn":"` + arn + `","TableStatus":"ACTIVE",
			"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}]}}`
		return &testkit.Response{Body: []byte(strings.ReplaceAll(body, "\n", ""))}
	})
	cleanEnvironment(t, keys, secret)
	h, err := side.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	return dynamodb.New(h.DB.Options(), func(o *dynamodb.Options) { o.HTTPClient = elsewhere{server.Host} }), h.Table
}

// What is described must be the table that was asked for, whatever the endpoint is called.
func TestDescribesTheTableAskedFor(t *testing.T) {
	const (
		alias  = "https://dynamodb.corp.example"
		local  = "http://localhost:8000"
		other  = "arn:aws:dynamodb:eu-west-1:222222222222:table/abc"
		away   = "arn:aws:dynamodb:us-west-2:123456789012:table/abc"
		china  = "arn:aws-cn:dynamodb:eu-west-1:123456789012:table/abc"
		engine = "arn:aws:dynamodb:ddblocal:000000000000:table/abc"
	)
	for name, test := range map[string]struct {
		given, endpoint string
		arn, name       string // as answered
		says            []string
	}{
		"the same":                        {arn, alias, arn, "abc", nil},
		"the same at AWS":                 {arn, "", arn, "abc", nil},
		"another account":                 {arn, alias, other, "abc", []string{arn, other, "endpoint URL"}},
		"another account at AWS":          {arn, "", other, "abc", []string{arn, other}},
		"another Region":                  {arn, alias, away, "abc", []string{arn, away}},
		"another partition":               {arn, alias, china, "abc", []string{arn, china}},
		"no ARN in the answer":            {arn, alias, "", "abc", []string{arn, "without an ARN"}},
		"an engine for AWS":               {arn, alias, engine, "abc", []string{arn, engine}},
		"another name":                    {arn, alias, arn, "abcd", []string{`"abc"`, `"abcd"`}},
		"name alone":                      {"abc", alias, arn, "abc", nil},
		"name alone, other account":       {"abc", alias, other, "abc", nil}, // the caller's own, whichever that is
		"name alone, another Region":      {"abc", alias, away, "abc", []string{`"abc"`, "eu-west-1", away}},
		"name alone, another name":        {"abc", alias, arn, "abd", []string{`"abc"`, `"abd"`}},
		"name alone, no ARN":              {"abc", alias, "", "abc", []string{`"abc"`, "without an ARN"}},
		"name alone, engine elsewhere":    {"abc", "http://engine:8000", engine, "abc", nil},
		"this machine":                    {arn, local, engine, "abc", nil},
		"this machine, another name":      {arn, local, engine, "abd", []string{`"abc"`, `"abd"`}},
		"this machine, name alone":        {"abc", local, engine, "abc", nil},
		"this machine, name not the same": {"abc", local, engine, "abd", []string{`"abc"`, `"abd"`}},
	} {
		t.Run(name, func(t *testing.T) {
			db, sent := answering(t, table.Side{Name: "source", Table: test.given, Region: "eu-west-1", EndpointURL: test.endpoint}, test.arn, test.name)
			info, err := table.Describe(t.Context(), db, "source", sent)
			if test.says != nil {
				wantRefusal(t, err, append(test.says, "source")...)
				if info.Raw != nil {
					t.Error("a table is returned with an error")
				}
				return
			}
			if err != nil || info.ARN != test.arn {
				t.Errorf("%s, %v", info.ARN, err)
			}
		})
	}
}

// A client of another kind, which doesn't tell where it sends to, must answer for the ARN as well.
func TestDescribesTheARNOfALibrarysUser(t *testing.T) {
	const mine = "arn:aws:dynamodb:eu-west-1:123456789012:table/src"
	if _, err := table.Describe(t.Context(), described("src"), "source", mine); err != nil {
		t.Error(err)
	}
	_, err := table.Describe(t.Context(), described("src"), "source", strings.Replace(mine, "123456789012", "222222222222", 1))
	wantRefusal(t, err, "222222222222", mine)
	_, err = table.Describe(t.Context(), described("src"), "source", mine+"/index/by-a")
	wantRefusal(t, err, "index/by-a", "is not a table's ARN")
}

func TestStreamOfAnotherTable(t *testing.T) {
	const mine = "arn:aws:dynamodb:eu-west-1:123456789012:table/src"
	stream := func(arn string) func(*types.TableDescription) {
		return func(td *types.TableDescription) { td.LatestStreamArn = aws.String(arn) }
	}
	if _, err := table.Describe(context.Background(), described("src", stream(mine+"/stream/2026-01-01T00:00:00.000")), "source", "src"); err != nil {
		t.Error(err)
	}
	_, err := table.Describe(t.Context(), described("src", stream(mine+"2/stream/2026-01-01T00:00:00.000")), "source", "src")
	wantRefusal(t, err, "source", "src2/stream", "not its own")
}

// Only an engine of this machine may serve other services at the same address.
func TestLocalEndpoint(t *testing.T) {
	cleanEnvironment(t, keys, secret)
	for endpoint, isLocal := range map[string]bool{
		"http://localhost:8000": true, "http://LOCALHOST:8000": true, "http://127.0.0.9:80": true, "http://[::1]:1": true, "http://a.localhost": true,
		"": false, "https://dynamodb.cn-north-1.amazonaws.com.cn": false, "https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com": false,
		"https://dynamodb.corp.example": false, "http://localhost.example": false, "http://127.0.0.1.example": false, "http://10.0.0.1:8000": false,
	} {
		h, err := table.Side{Name: "source", Table: "abc", Region: "eu-west-1", EndpointURL: endpoint}.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got := h.LocalEndpoint(); (got != nil) != isLocal || isLocal && *got != endpoint {
			t.Errorf("%s: %v", endpoint, got)
		}
	}
}
