package table_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"

	"reseal/internal/table"
	"reseal/internal/test/testkit"
)

const (
	arn  = "arn:aws:dynamodb:eu-west-1:123456789012:table/abc"
	keys = "AWS_ACCESS_KEY_ID=a"
	// secret goes with keys.
	secret = "AWS_SECRET_ACCESS_KEY=b"
)

func TestOpen(t *testing.T) {
	const (
		local = "http://127.0.0.1:8000"
		other = "http://localhost:9000"
		vpc   = "https://vpce-1.dynamodb.eu-west-1.vpce.amazonaws.com"
		alias = "https://dynamodb.corp.example"
		china = "https://dynamodb.cn-north-1.amazonaws.com.cn"
		upper = "https://DYNAMODB.EU-WEST-1.AMAZONAWS.COM"
	)
	for name, test := range map[string]struct {
		environment []string
		side        table.Side
		table       string
		region      string
		db, streams string // endpoints; "": AWS's own
	}{
		"Region of the environment": {
			[]string{"AWS_REGION=us-west-2"}, table.Side{Table: "abc"}, "abc", "us-west-2", "", "",
		},
		"Region given": {
			[]string{"AWS_REGION=us-west-2"}, table.Side{Table: "abc", Region: "eu-central-1"}, "abc", "eu-central-1", "", "",
		},
		"Region of the ARN": {
			[]string{"AWS_REGION=us-west-2"}, table.Side{Table: arn}, arn, "eu-west-1", "", "",
		},
		"Region of the ARN given too": {
			nil, table.Side{Table: arn, Region: "eu-west-1"}, arn, "eu-west-1", "", "",
		},
		"local endpoint": {
			nil, table.Side{Table: "abc", EndpointURL: local}, "abc", "us-east-1", local, local,
		},
		"local endpoint and ARN": {
			[]string{"AWS_REGION=us-west-2"}, table.Side{Table: arn, EndpointURL: local}, "abc", "eu-west-1", local, local,
		},
		"local endpoint, and ARN of another Region": {
			nil, table.Side{Table: arn, Region: "us-west-2", EndpointURL: local}, "abc", "us-west-2", local, local,
		},
		"VPC endpoint": {
			[]string{"AWS_REGION=us-west-2"}, table.Side{Table: arn, EndpointURL: vpc}, arn, "eu-west-1", vpc, "",
		},
		// No spelling of a host makes it a local engine: an ARN is sent as one, and streams are read at their own hosts.
		"alias of a private endpoint": {
			nil, table.Side{Table: arn, EndpointURL: alias}, arn, "eu-west-1", alias, "",
		},
		"endpoint of another partition": {
			nil,
			table.Side{Table: "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/abc", EndpointURL: china},
			"arn:aws-cn:dynamodb:cn-north-1:123456789012:table/abc", "cn-north-1", china, "",
		},
		"endpoint in upper case": {
			nil, table.Side{Table: arn, EndpointURL: upper}, arn, "eu-west-1", upper, "",
		},
		"alias of the environment": {
			[]string{"AWS_ENDPOINT_URL_DYNAMODB=" + alias}, table.Side{Table: arn}, arn, "eu-west-1", alias, "",
		},
		"alias, and an endpoint of the streams": {
			[]string{"AWS_ENDPOINT_URL_DYNAMODB_STREAMS=" + vpc}, table.Side{Table: arn, EndpointURL: alias}, arn, "eu-west-1", alias, vpc,
		},
		"engine of another machine": {
			nil, table.Side{Table: "abc", EndpointURL: "http://engine:8000"}, "abc", "us-east-1", "http://engine:8000", "",
		},
		"engine by other names of this machine": {
			nil, table.Side{Table: arn, EndpointURL: "http://[::1]:8000"}, "abc", "eu-west-1", "http://[::1]:8000", "http://[::1]:8000",
		},
		"endpoint of the environment": {
			[]string{"AWS_REGION=us-west-2", "AWS_ENDPOINT_URL_DYNAMODB=" + local}, table.Side{Table: "abc"}, "abc", "us-west-2", local, local,
		},
		"endpoint of the environment and ARN": {
			[]string{"AWS_ENDPOINT_URL_DYNAMODB=" + local}, table.Side{Table: arn}, "abc", "eu-west-1", local, local,
		},
		"VPC endpoint of the environment": {
			[]string{"AWS_REGION=us-west-2", "AWS_ENDPOINT_URL_DYNAMODB=" + vpc}, table.Side{Table: "abc"}, "abc", "us-west-2", vpc, "",
		},
		"both endpoints of the environment": {
			[]string{"AWS_REGION=us-west-2", "AWS_ENDPOINT_URL_DYNAMODB=" + local, "AWS_ENDPOINT_URL_DYNAMODB_STREAMS=" + other},
			table.Side{Table: "abc"},
			"abc", "us-west-2", local, other,
		},
		"endpoint given before the environment": {
			[]string{"AWS_ENDPOINT_URL_DYNAMODB=" + other}, table.Side{Table: "abc", EndpointURL: local}, "abc", "us-east-1", local, local,
		},
		"endpoint given before the one of all services": {
			[]string{"AWS_ENDPOINT_URL=" + other}, table.Side{Table: "abc", EndpointURL: local}, "abc", "us-east-1", local, local,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cleanEnvironment(t, append(test.environment, keys, secret)...)
			test.side.Name = "source"
			h, err := test.side.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if h.Table != test.table || h.Given != test.side.Table {
				t.Errorf("table %q, given as %q", h.Table, h.Given)
			}
			db, streams := h.DB.Options(), h.Streams.Options()
			if db.Region != test.region || streams.Region != test.region {
				t.Errorf("Regions %q and %q, want %q", db.Region, streams.Region, test.region)
			}
			if got := aws.ToString(db.BaseEndpoint); got != test.db {
				t.Errorf("endpoint %q, want %q", got, test.db)
			}
			if got := aws.ToString(streams.BaseEndpoint); got != test.streams {
				t.Errorf("endpoint of the streams %q, want %q", got, test.streams)
			}
		})
	}
}

func TestOpenReachesEngine(t *testing.T) {
	cleanEnvironment(t, keys, secret)
	url := testkit.Engine(t)
	name := testkit.CreateTable(t, testkit.Client(url), testkit.TableSpec{Hash: "id:S", Stream: "NEW_IMAGE"})
	h, err := table.Side{Name: "source", Table: name, EndpointURL: url}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	info, err := table.Describe(t.Context(), h.DB, "source", h.Table)
	if err != nil {
		t.Fatal(err)
	}
	out, err := h.Streams.ListStreams(t.Context(), &dynamodbstreams.ListStreamsInput{TableName: &name})
	if err != nil || len(out.Streams) != 1 || *out.Streams[0].StreamArn != info.StreamARN() {
		t.Errorf("streams %v, error %v, want %s", out, err, info.StreamARN())
	}
}

func TestOpenRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		environment []string
		side        table.Side
		says        []string
	}{
		"no table":       {nil, table.Side{}, []string{"--source is missing"}},
		"no table name":  {nil, table.Side{Table: "a b"}, []string{"--source", "a b"}},
		"no Region":      {nil, table.Side{Table: "abc"}, []string{"Region", "AWS_REGION", "--source-region"}},
		"another Region": {nil, table.Side{Table: arn, Region: "us-west-2"}, []string{"--source", "eu-west-1", "us-west-2"}},
		"another Region, alias": {
			nil, table.Side{Table: arn, Region: "us-west-2", EndpointURL: "https://dynamodb.corp.example"}, []string{"--source", "eu-west-1", "us-west-2"},
		},
		"endpoint without scheme": {
			nil, table.Side{Table: "abc", EndpointURL: "localhost:8000"}, []string{"localhost:8000", "http://localhost:8000"},
		},
		"endpoint without host":          {nil, table.Side{Table: "abc", EndpointURL: "http://"}, []string{"http://"}},
		"endpoint of another scheme":     {nil, table.Side{Table: "abc", EndpointURL: "ftp://localhost"}, []string{"ftp://localhost"}},
		"endpoint that is no URL":        {nil, table.Side{Table: "abc", EndpointURL: "http://a b:x"}, []string{"source"}},
		"missing profile":                {nil, table.Side{Table: "abc", Profile: "nobody"}, []string{"source", `"nobody"`, "does not exist"}},
		"certificates that aren't there": {[]string{"AWS_CA_BUNDLE=/no/such/file"}, table.Side{Table: "abc"}, []string{"source", "/no/such/file"}},
	} {
		t.Run(name, func(t *testing.T) {
			cleanEnvironment(t, append(test.environment, keys, secret)...)
			test.side.Name = "source"
			_, err := test.side.Open(t.Context())
			wantRefusal(t, err, test.says...)
		})
	}
}

func TestOpenWithoutCredentials(t *testing.T) {
	cleanEnvironment(t)
	for _, side := range []table.Side{
		{Name: "target", Table: "abc", Region: "us-east-1"},
		{Name: "target", Table: "abc", EndpointURL: "http://127.0.0.1:8000"},
	} {
		start := time.Now()
		_, err := side.Open(t.Context())
		wantRefusal(t, err, "no AWS credentials", "target", "--target-profile", "AWS_ACCESS_KEY_ID")
		if d := time.Since(start); d > 5*time.Second {
			t.Errorf("it took %s to find out", d)
		}
	}
}

// Credentials that are configured and can't be had are another matter than none.
func TestOpenWithBrokenCredentials(t *testing.T) {
	configFile := cleanEnvironment(t)
	if err := os.WriteFile(configFile, []byte("[profile broken]\nregion = us-east-1\ncredential_process = false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := table.Side{Name: "source", Table: "abc", Profile: "broken"}.Open(t.Context())
	wantRefusal(t, err, "credentials of the source", "exit status 1")
}

func TestOpenProfile(t *testing.T) {
	configFile := cleanEnvironment(t)
	if err := os.WriteFile(configFile, []byte("[profile good]\nregion = ap-south-1\naws_access_key_id = fromprofile\naws_secret_access_key = b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := table.Side{Name: "source", Table: "abc", Profile: "good"}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, err := h.DB.Options().Credentials.Retrieve(t.Context())
	if err != nil || got.AccessKeyID != "fromprofile" || h.DB.Options().Region != "ap-south-1" {
		t.Errorf("key %q, Region %q, error %v", got.AccessKeyID, h.DB.Options().Region, err)
	}
}

func TestOpenContextEnded(t *testing.T) {
	cleanEnvironment(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := table.Side{Name: "source", Table: "abc", Region: "us-east-1"}.Open(ctx)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// sts serves AssumeRole: credentials that last for the given time, or a refusal for 0. It counts the requests.
func sts(t *testing.T, lasting time.Duration) (url string, requests *atomic.Int64) {
	t.Helper()
	requests = new(atomic.Int64)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		requests.Add(1)
		if lasting == 0 {
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `<ErrorResponse><Error><Code>AccessDenied</Code><Message>not
				you</Message></Error></ErrorResponse>`)
			return
		}
		_, _ = fmt.Fprintf(w, `<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>assumed</AccessKeyId>
			<SecretAccessKey>b</SecretAccessKey><SessionToken>c</SessionToken><Expiration>%s</Expiration>
			</Credentials></AssumeRoleResult></AssumeRoleResponse>`, time.Now().Add(lasting).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(server.Close)
	return server.URL, requests
}

// Credentials are renewed before they end: a request with ended ones is refused and not repeated.
func TestOpenRole(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/reseal"
	for lasting, want := range map[time.Duration]int64{time.Hour: 1, 30 * time.Second: 4} {
		url, requests := sts(t, lasting)
		cleanEnvironment(t, keys, secret, "AWS_ENDPOINT_URL_STS="+url)
		h, err := table.Side{Name: "target", Table: arn, RoleARN: role}.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			got, err := h.DB.Options().Credentials.Retrieve(t.Context())
			if err != nil || got.AccessKeyID != "assumed" {
				t.Errorf("key %q, error %v", got.AccessKeyID, err)
			}
		}
		if n := requests.Load(); n != want {
			t.Errorf("credentials that last for %s: %d requests, want %d", lasting, n, want)
		}
	}
	url, _ := sts(t, 0)
	cleanEnvironment(t, keys, secret, "AWS_ENDPOINT_URL_STS="+url)
	_, err := table.Side{Name: "target", Table: arn, RoleARN: role}.Open(t.Context())
	wantRefusal(t, err, "target", role, "AccessDenied: not you")
}
