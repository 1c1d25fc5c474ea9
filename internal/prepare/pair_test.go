package prepare_test

import (
	"reflect"
	"slices"
	"testing"

	"reseal/internal/prepare"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// pair is a source on an engine, the name of a target that isn't there yet, and a proxy before the engine.
type pair struct {
	t              *testing.T
	db             *dynamodb.Client // to the engine itself
	proxy          *testkit.Proxy
	source, target string
	create         dynamodb.CreateTableInput
}

// newPair makes a source with an index, tags, a time to live, a table class and deletion protection.
func newPair(t *testing.T, change func(*dynamodb.CreateTableInput)) *pair {
	t.Helper()
	url := testkit.Engine(t)
	p := &pair{t: t, db: testkit.Client(url), proxy: testkit.NewProxy(t, url)}
	p.source = testkit.CreateTable(t, p.db, testkit.TableSpec{Hash: "id:S"}) // for its name, which nobody else has
	p.target = p.source + "-target"
	if _, err := p.db.DeleteTable(t.Context(), &dynamodb.DeleteTableInput{TableName: &p.source}); err != nil {
		t.Fatal(err)
	}
	p.create = dynamodb.CreateTableInput{
		TableName: &p.source, BillingMode: types.BillingModePayPerRequest, KeySchema: keys("id", "n"),
		AttributeDefinitions: definitions("id", "S", "n", "N", "x", "B", "y", "S"), TableClass: types.TableClassStandardInfrequentAccess,
		Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("maps")}},
		LocalSecondaryIndexes: []types.LocalSecondaryIndex{{
			IndexName: aws.String("local"), KeySchema: keys("id", "y"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
		}},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String("global"), KeySchema: keys("x"), Projection: &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"b", "a"}},
		}},
	}
	if change != nil {
		change(&p.create)
	}
	p.make(p.create)
	return p
}

// make creates a table with a time to live.
func (p *pair) make(in dynamodb.CreateTableInput) {
	p.t.Helper()
	if _, err := p.db.CreateTable(p.t.Context(), &in); err != nil {
		p.t.Fatal(err)
	}
	p.expire(*in.TableName)
}

func (p *pair) expire(name string) {
	p.t.Helper()
	_, err := p.db.UpdateTimeToLive(p.t.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName: &name, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) apply(key string) (prepare.Applied, error) {
	p.t.Helper()
	db := testkit.Client(p.proxy.URL)
	return prepare.Apply(p.t.Context(), prepare.ApplyOptions{Source: db, SourceTable: p.source, Target: db, TargetTable: p.target, KMSKey: key})
}

func (p *pair) mustApply() prepare.Applied {
	p.t.Helper()
	applied, err := p.apply("")
	if err != nil {
		p.t.Fatal(err)
	}
	return applied
}

func (p *pair) read(name string) prepare.Table {
	p.t.Helper()
	table, err := prepare.Read(p.t.Context(), p.db, nil, "target", name)
	if err != nil {
		p.t.Fatal(err)
	}
	return table
}

// wantTwin expects the target to be as the source, encrypted, and finished.
func (p *pair) wantTwin() {
	p.t.Helper()
	source, target := p.read(p.source), p.read(p.target)
	if view := source.StreamView(); view != types.StreamViewTypeNewAndOldImages {
		p.t.Errorf("the source's stream is %q", view)
	}
	if target.Encryption() != "KMS" || target.StreamARN() != "" {
		p.t.Errorf("target: encryption %s, stream %q", target.Encryption(), target.StreamARN())
	}
	type settings struct {
		Keys                  any
		Local                 []string
		Global                []string
		Class                 types.TableClass
		Protected             bool
		TimeToLive            string
		Recovery              prepare.Recovery
		Tags                  []types.Tag
		Billing               types.BillingMode
		ReadUnits, WriteUnits int64
	}
	of := func(table prepare.Table) settings {
		td := table.Raw
		s := settings{
			Keys: table.Schema, Protected: aws.ToBool(td.DeletionProtectionEnabled), TimeToLive: table.TimeToLive.Value,
			Recovery: table.Recovery.Value, Tags: table.Tags.Value, ReadUnits: *td.ProvisionedThroughput.ReadCapacityUnits, WriteUnits: *td.ProvisionedThroughput.WriteCapacityUnits,
		}
		for _, index := range td.LocalSecondaryIndexes {
			s.Local = append(s.Local, asJSON(p.t, []any{index.IndexName, index.KeySchema, index.Projection}))
		}
		for _, index := range td.GlobalSecondaryIndexes {
			s.Global = append(s.Global, asJSON(p.t, []any{index.IndexName, index.KeySchema, index.Projection}))
		}
		if td.TableClassSummary != nil { // beside the class there is when it was set
			s.Class = td.TableClassSummary.TableClass
		}
		if td.BillingModeSummary != nil {
			s.Billing = td.BillingModeSummary.BillingMode
		}
		slices.Sort(s.Global)
		return s
	}
	if got, want := of(target), of(source); !reflect.DeepEqual(got, want) {
		p.t.Errorf("target is %s, want %s", asJSON(p.t, got), asJSON(p.t, want))
	}
}

// writes are the operations that change something.
var writes = []string{"CreateTable", "UpdateTable", "UpdateTimeToLive", "UpdateContinuousBackups", "TagResource", "UntagResource", "DeleteTable"}

func (p *pair) written() map[string]int {
	counts := map[string]int{}
	for _, op := range writes {
		if n := p.proxy.Count(op); n > 0 {
			counts[op] = n
		}
	}
	return counts
}

func (p *pair) wantWritten(want map[string]int) {
	p.t.Helper()
	if got := p.written(); !reflect.DeepEqual(got, want) {
		p.t.Errorf("it wrote %v, want %v", got, want)
	}
}

// plan makes the template of stage 2.
func (p *pair) plan() (prepare.Planned, error) {
	p.t.Helper()
	db := testkit.Client(p.proxy.URL)
	return prepare.Plan(p.t.Context(), prepare.PlanOptions{Source: db, SourceTable: p.source, Target: db, TargetTable: p.target, TargetName: p.target})
}
