package prepare_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"reseal/internal/prepare"
	"reseal/internal/refuse"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestApply(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*dynamodb.CreateTableInput){
		"on demand": nil,
		"provisioned and protected": func(in *dynamodb.CreateTableInput) {
			in.BillingMode, in.ProvisionedThroughput, in.DeletionProtectionEnabled = types.BillingModeProvisioned, throughput(7, 9), aws.Bool(true)
			in.GlobalSecondaryIndexes[0].ProvisionedThroughput = throughput(3, 4)
		},
		"with a stream": func(in *dynamodb.CreateTableInput) {
			in.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, change)
			applied := p.mustApply()
			t.Cleanup(func() { // an engine that protects tables won't drop them
				for _, table := range []string{p.source, p.target} {
					in := &dynamodb.UpdateTableInput{TableName: &table, DeletionProtectionEnabled: aws.Bool(false)}
					if _, err := p.db.UpdateTable(context.WithoutCancel(t.Context()), in); err != nil {
						t.Error(err)
					}
				}
			})
			p.wantTwin()
			hadStream := name == "with a stream"
			want := map[string]int{"CreateTable": 1, "UpdateTimeToLive": 1, "UntagResource": 1, "UpdateTable": 1}
			if hadStream {
				delete(want, "UpdateTable")
			}
			p.wantWritten(want)
			if !applied.TargetCreated || applied.StreamEnabled == hadStream || applied.StreamARN != p.read(p.source).StreamARN() || applied.KMSKeyARN == "" {
				t.Errorf("applied %+v", applied)
			}
			if notes := strings.Join(applied.Notes, "\n"); testkit.Has(testkit.NoBackups) && !strings.Contains(notes, "not checked on the source, so not made: point-in-time recovery (UnknownOperationException") {
				t.Errorf("the notes don't tell what this engine doesn't know: %q", notes)
			}

			again := p.mustApply() // there is nothing left to do
			p.wantWritten(want)
			if again.TargetCreated || again.StreamEnabled || again.StreamARN != applied.StreamARN || again.TargetARN != applied.TargetARN {
				t.Errorf("applied again %+v, after %+v", again, applied)
			}
			p.wantTwin()
		})
	}
}

// TestApplyRecovery has an engine that knows backups, and tags of any text.
func TestApplyRecovery(t *testing.T) {
	t.Parallel()
	cloud := testkit.NewCloud(t)
	s := sources()["nasty"]
	s.pitr = true
	source := s.make(t, cloud.URL, "nasty")
	db := testkit.Client(cloud.URL)
	if _, err := prepare.Apply(t.Context(), prepare.ApplyOptions{Source: db, SourceTable: "nasty", Target: db, TargetTable: "twin"}); err != nil {
		t.Fatal(err)
	}
	target, err := prepare.Read(t.Context(), db, nil, "target", "twin")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := asJSON(t, []any{target.Recovery, target.TimeToLive, target.Tags}), asJSON(t, []any{source.Recovery, source.TimeToLive, source.Tags}); got != want || !source.Recovery.Value.On {
		t.Errorf("target has %s, want %s", got, want)
	}
}

// TestApplyToAnother refuses a target that is there and differs, and leaves everything alone.
func TestApplyToAnother(t *testing.T) {
	t.Parallel()
	encrypted := &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms}
	for name, test := range map[string]struct {
		change func(*dynamodb.CreateTableInput)
		key    string
		says   string
	}{
		"keys": {func(in *dynamodb.CreateTableInput) { in.AttributeDefinitions[1].AttributeType = "S" }, "", "keys"},
		"no local": {func(in *dynamodb.CreateTableInput) {
			in.LocalSecondaryIndexes, in.AttributeDefinitions = nil, in.AttributeDefinitions[:3]
		}, "", "local secondary indexes"},
		"global key": {func(in *dynamodb.CreateTableInput) { in.GlobalSecondaryIndexes[0].KeySchema = keys("x", "y") }, "", "global secondary indexes"},
		"key type":   {func(in *dynamodb.CreateTableInput) { in.AttributeDefinitions[2].AttributeType = "S" }, "", "global secondary indexes"},
		"projection": {func(in *dynamodb.CreateTableInput) {
			in.GlobalSecondaryIndexes[0].Projection.NonKeyAttributes = []string{"a"}
		}, "", "global secondary indexes"},
		"plain":      {func(in *dynamodb.CreateTableInput) { in.SSESpecification = nil }, "", "encryption"},
		"class":      {func(in *dynamodb.CreateTableInput) { in.TableClass = types.TableClassStandard }, "", "table class"},
		"tags":       {func(in *dynamodb.CreateTableInput) { in.Tags = nil }, "", "tags"},
		"protection": {func(in *dynamodb.CreateTableInput) { in.DeletionProtectionEnabled = aws.Bool(true) }, "", "deletion protection"},
		"billing": {func(in *dynamodb.CreateTableInput) {
			in.BillingMode, in.ProvisionedThroughput = types.BillingModeProvisioned, throughput(1, 1)
			in.GlobalSecondaryIndexes[0].ProvisionedThroughput = throughput(1, 1)
		}, "", "billing"},
		"key": {nil, "0123abcd-0000-1111-2222-0123456789ab", "key (wanted: 0123abcd"},
		"ttl": {nil, "", "time to live"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPair(t, nil)
			in := p.create
			in.TableName, in.SSESpecification = &p.target, encrypted
			in.AttributeDefinitions, in.GlobalSecondaryIndexes = slices.Clone(in.AttributeDefinitions), slices.Clone(in.GlobalSecondaryIndexes)
			in.GlobalSecondaryIndexes[0].Projection = &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"b", "a"}}
			if test.change != nil {
				test.change(&in)
			}
			if _, err := p.db.CreateTable(t.Context(), &in); err != nil {
				t.Fatal(err)
			}
			if name != "ttl" {
				p.expire(p.target)
			}
			_, err := p.apply(test.key)
			if !refuse.Is(err) || !strings.Contains(err.Error(), "is there already and differs: "+test.says) || strings.Contains(err.Error(), ";") {
				t.Errorf("error %v, want a refusal for %s alone", err, test.says)
			}
			p.wantWritten(map[string]int{})
			if arn := p.read(p.source).StreamARN(); arn != "" {
				t.Errorf("the source got a stream %s", arn)
			}
		})
	}
}

// TestApplyToATwin takes a target that somebody else has made just so.
func TestApplyToATwin(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	in := p.create
	in.TableName, in.SSESpecification = &p.target, &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms}
	p.make(in)
	applied := p.mustApply()
	p.wantTwin()
	p.wantWritten(map[string]int{"UpdateTable": 1})
	if applied.TargetCreated || !applied.StreamEnabled {
		t.Errorf("applied %+v", applied)
	}
}

func TestApplyRefusals(t *testing.T) {
	t.Parallel()
	for _, view := range []types.StreamViewType{types.StreamViewTypeKeysOnly, types.StreamViewTypeOldImage} {
		p := newPair(t, func(in *dynamodb.CreateTableInput) {
			in.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: view}
		})
		if _, err := p.apply(""); !refuse.Is(err) || !strings.Contains(err.Error(), string(view)) {
			t.Errorf("%s: %v", view, err)
		}
		p.wantWritten(map[string]int{})
	}
	p := newPair(t, nil)
	p.target = p.source
	if _, err := p.apply(""); !refuse.Is(err) || !strings.Contains(err.Error(), "the same table") {
		t.Errorf("same table: %v", err)
	}
	p.target = "x" + p.source
	if _, err := p.apply("no key"); !refuse.Is(err) || !strings.Contains(err.Error(), "--kms-key-id") {
		t.Errorf("no key: %v", err)
	}
	p.wantWritten(map[string]int{})
	// The service refuses the creation: nothing has been written, so this is a refusal, too.
	p.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "CreateTable" {
			return testkit.Fail(400, "AccessDeniedException", "not you")
		}
		return nil
	})
	if _, err := p.apply(""); !refuse.Is(err) || !strings.Contains(err.Error(), "can't be created (AccessDeniedException: not you)") {
		t.Errorf("denied: %v", err)
	}
	p.wantWritten(map[string]int{"CreateTable": 1})
	if arn := p.read(p.source).StreamARN(); arn != "" {
		t.Errorf("the source got a stream %s", arn)
	}
	p.proxy.Use(nil)
	p.source = "no-such"
	if _, err := p.apply(""); !refuse.Is(err) || !strings.Contains(err.Error(), "does not exist") {
		t.Errorf("no source: %v", err)
	}
}

// TestApplyFails lets each request that writes fail, before it is carried out and after. That is no refusal, and the next run ends it.
func TestApplyFails(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"CreateTable", "UpdateTimeToLive", "UntagResource", "UpdateTable"} {
		for _, isCarriedOut := range []bool{false, true} {
			t.Run(fmt.Sprint(op, isCarriedOut), func(t *testing.T) {
				t.Parallel()
				p := newPair(t, nil)
				p.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
					if x.Op != op || p.proxy.Count(op) > 1 {
						return nil
					}
					if isCarriedOut {
						if status, body, err := x.Forward(); err != nil || status != 200 {
							t.Error(status, string(body), err)
						}
					}
					return &testkit.Response{Cut: true}
				})
				if _, err := p.apply(""); err == nil || refuse.Is(err) {
					t.Errorf("error %v, want one that is no refusal", err)
				}
				p.mustApply()
				p.wantTwin()
			})
		}
	}
}

// TestApplyWaits has a target that takes its time to be ACTIVE, and its backups theirs.
func TestApplyWaits(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	var isActive, isRecovering atomic.Bool
	backups := func(status string) *testkit.Response {
		return &testkit.Response{Body: fmt.Appendf(nil, `{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED","PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":%q,"RecoveryPeriodInDays":9}}}`, status)}
	}
	p.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		isTarget := bytes.Contains(x.Body, []byte(p.target))
		switch {
		case x.Op == "DescribeTable" && isTarget && p.proxy.Count("CreateTable") > 0 && !isActive.Load():
			_, body, err := x.Forward()
			if err != nil {
				t.Error(err)
			}
			isActive.Store(true) // the next time
			return &testkit.Response{Body: bytes.Replace(body, []byte(`"TableStatus":"ACTIVE"`), []byte(`"TableStatus":"CREATING"`), 1)}
		case (x.Op == "UpdateTimeToLive" || x.Op == "UpdateContinuousBackups") && !isActive.Load():
			t.Errorf("%s came too early", x.Op)
		case x.Op == "DescribeContinuousBackups" && (!isTarget || isRecovering.Load()):
			return backups("ENABLED")
		case x.Op == "DescribeContinuousBackups":
			return backups("DISABLED")
		case x.Op == "UpdateContinuousBackups" && p.proxy.Count(x.Op) == 1:
			return testkit.Fail(400, "ContinuousBackupsUnavailableException", "Backups are being enabled for the table: twin. Please retry later")
		case x.Op == "UpdateContinuousBackups":
			var in struct {
				PointInTimeRecoverySpecification prepareRecovery
			}
			if err := json.Unmarshal(x.Body, &in); err != nil || in.PointInTimeRecoverySpecification != (prepareRecovery{true, 9}) {
				t.Errorf("recovery: %s, %v", x.Body, err)
			}
			isRecovering.Store(true)
			return backups("ENABLED")
		}
		return nil
	})
	p.mustApply()
	p.proxy.Use(nil)
	p.wantTwin()
	if n := p.proxy.Count("UpdateContinuousBackups"); n != 2 || !isActive.Load() {
		t.Errorf("%d requests for recovery", n)
	}
}

type prepareRecovery struct {
	PointInTimeRecoveryEnabled bool
	RecoveryPeriodInDays       int
}

// TestApplyIsNotBelieved has a service that says yes and does nothing.
func TestApplyIsNotBelieved(t *testing.T) {
	t.Parallel()
	for op, says := range map[string]string{"UpdateTimeToLive": "time to live", "UpdateTable": "stream is not on"} {
		p := newPair(t, nil)
		p.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
			if x.Op == op {
				return &testkit.Response{Body: []byte("{}")}
			}
			return nil
		})
		if _, err := p.apply(""); err == nil || refuse.Is(err) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", op, err)
		}
	}
}

// TestPlan asks for the capacity of a target that is there, and says if it may not.
func TestPlan(t *testing.T) {
	t.Parallel()
	provisioned := func(read int64) func(*dynamodb.CreateTableInput) {
		return func(in *dynamodb.CreateTableInput) {
			in.BillingMode, in.ProvisionedThroughput = types.BillingModeProvisioned, throughput(read, 5)
			in.GlobalSecondaryIndexes[0].ProvisionedThroughput = throughput(read, 5)
		}
	}
	p := newPair(t, provisioned(5))
	db := testkit.Client(p.proxy.URL)
	capacity := func() (units any, notes string) {
		t.Helper()
		planned, err := prepare.Plan(t.Context(), prepare.PlanOptions{Source: p.db, SourceTable: p.source, Target: db, TargetTable: p.target, TargetName: p.target})
		if err != nil {
			t.Fatal(err)
		}
		parsed := testkit.ParseTemplate(t, planned.Template)
		if planned.Stage != prepare.StageSeed || !strings.Contains(planned.Template, planned.Notes[0]) {
			t.Errorf("stage %d, notes %q", planned.Stage, planned.Notes)
		}
		return testkit.At(parsed, "Resources", "Target", "Properties", "ProvisionedThroughput", "ReadCapacityUnits"), strings.Join(planned.Notes, "; ")
	}
	if units, notes := capacity(); units != 5 || strings.Contains(notes, "whether the target is there") {
		t.Errorf("without a target: %v units; %s", units, notes)
	}
	in := p.create
	in.TableName = &p.target
	provisioned(70)(&in)
	p.make(in)
	if units, notes := capacity(); units != 70 || strings.Contains(notes, "whether the target is there") {
		t.Errorf("with a target: %v units; %s", units, notes)
	}
	p.proxy.Use(func(*testkit.Exchange) *testkit.Response {
		return testkit.Fail(400, "AccessDeniedException", "not you")
	})
	if units, notes := capacity(); units != 5 || !strings.Contains(notes, "not checked whether the target is there") {
		t.Errorf("with a target that denies: %v units; %s", units, notes)
	}
}

func TestApplyCancelled(t *testing.T) {
	t.Parallel()
	p := newPair(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	p.proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "DescribeTable" || p.proxy.Count("CreateTable") == 0 {
			return nil
		}
		cancel()
		<-x.Ctx.Done()
		return &testkit.Response{Cut: true}
	})
	db := testkit.Client(p.proxy.URL)
	_, err := prepare.Apply(ctx, prepare.ApplyOptions{Source: db, SourceTable: p.source, Target: db, TargetTable: p.target})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
