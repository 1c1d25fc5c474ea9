package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"reseal/internal/table"
	"reseal/internal/test/testkit"
	"reseal/seed"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Tables of one name in two places are two tables; each side has its own endpoint, Region and role.
func TestAcrossAccounts(t *testing.T) {
	const hereRegion, thereRegion = "eu-west-1", "us-west-2"
	there := testkit.NewEngine(t) // another account, as far as reseal can tell
	here, thereDB := testkit.ClientIn(testkit.Engine(t), hereRegion), testkit.ClientIn(there, thereRegion)
	name := testkit.CreateTable(t, here, testkit.TableSpec{Hash: "k:S"})
	testkit.CreateTable(t, thereDB, testkit.TableSpec{Name: name, Hash: "k:S"})
	var items []map[string]types.AttributeValue
	for i := range 300 {
		items = append(items, testkit.Item("k", fmt.Sprint(i), "v", i))
	}
	testkit.Fill(t, here, name, items)
	testkit.EnableStream(t, here, name, types.StreamViewTypeNewAndOldImages)

	sts := assumeRoles(t)
	source := table.Side{Name: "source", Table: name, Region: hereRegion, RoleARN: "arn:aws:iam::111111111111:role/reader", EndpointURL: testkit.Engine(t)}
	target := table.Side{Name: "target", Table: name, Region: thereRegion, RoleARN: "arn:aws:iam::222222222222:role/writer", EndpointURL: there}
	from, err := source.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	to, err := target.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for want, side := range map[string]*table.Handle{source.RoleARN: from, target.RoleARN: to} {
		credentials, err := side.DB.Options().Credentials.Retrieve(t.Context())
		if err != nil || credentials.AccessKeyID != sts.keyOf(want) {
			t.Errorf("credentials %q, want those of %s: %v", credentials.AccessKeyID, want, err)
		}
	}
	if from.DB.Options().Region != hereRegion || to.DB.Options().Region != thereRegion {
		t.Errorf("Regions %s and %s", from.DB.Options().Region, to.DB.Options().Region)
	}

	_, err = seed.Run(t.Context(), seed.Options{
		StreamAge: -1, // a local engine has no reads that are behind
		Source:    from.DB, SourceTable: from.Table, Target: to.DB, TargetTable: to.Table, Segments: seed.DefaultSegments,
	})
	if err != nil {
		t.Fatalf("seed: %v", err)
	}
	if lines := testkit.Diff(t, here, name, thereDB, name); lines != nil {
		t.Errorf("the tables differ: %q", lines)
	}
	result, err := verify.Run(t.Context(), verify.Options{
		Source: from.DB, SourceTable: from.Table, Target: to.DB, TargetTable: to.Table, Segments: 3, MaxMemory: 1 << 20,
	})
	if err != nil || !result.Match || result.TargetItems != 300 {
		t.Errorf("verify: %+v, %v", result, err)
	}
}

// roles is a token service that hands out an access key for each role.
type roles struct {
	mu   sync.Mutex
	keys map[string]string
}

func (r *roles) keyOf(role string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys[role]
}

func assumeRoles(t *testing.T) *roles {
	t.Helper()
	r := &roles{keys: map[string]string{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		role := request.FormValue("RoleArn")
		r.mu.Lock()
		r.keys[role] = fmt.Sprintf("ASIAROLE%d", len(r.keys))
		key := r.keys[role]
		r.mu.Unlock()
		_, _ = fmt.Fprintf(w, `<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>`+
			`<AccessKeyId>%s</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>token</SessionToken><Expiration>%s</Expiration>`+
			`</Credentials></AssumeRoleResult></AssumeRoleResponse>`, key, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ENDPOINT_URL_STS": server.URL, "AWS_ACCESS_KEY_ID": "own", "AWS_SECRET_ACCESS_KEY": "own", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	return r
}
