package retire

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudwatch"
	cwtypes "github.com/aws/aws-sdk-go-v2/service/cloudwatch/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodbstreams"
	streamtypes "github.com/aws/aws-sdk-go-v2/service/dynamodbstreams/types"
	"github.com/aws/aws-sdk-go-v2/service/lambda"
	lambdatypes "github.com/aws/aws-sdk-go-v2/service/lambda/types"
	"github.com/aws/smithy-go"

	"reseal/internal/item"
	"reseal/internal/table"
)

// TestMain has the machine be in another time zone: what is compared must not depend on it.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("test", 5*3600)
	os.Exit(m.Run())
}

const tableARN = "arn:aws:dynamodb:eu-west-1:123456789012:table/cities"

// account is a table that nobody uses, and all that knows of it, as the services answer for it.
type account struct {
	policy     string
	policyErr  error
	mappings   []lambdatypes.EventSourceMappingConfiguration
	lambdaErr  error
	kinesis    types.DestinationStatus
	kinesisErr error
	record     time.Time // of the stream's only one; zero: it has none
	expired    bool      // the record is a removal by time to live
	use        map[string]map[time.Time]float64
	watchErr   error
	backups    []types.BackupStatus // that DescribeBackup tells, one after the other
	backupOf   string
	again      types.TableDescription // what is described later
	did        []string
	gone       bool
}

func (a *account) DescribeTable(context.Context, *dynamodb.DescribeTableInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	if a.gone {
		return nil, &types.ResourceNotFoundException{}
	}
	description := a.again
	return &dynamodb.DescribeTableOutput{Table: &description}, nil
}

func (a *account) GetResourcePolicy(context.Context, *dynamodb.GetResourcePolicyInput, ...func(*dynamodb.Options)) (*dynamodb.GetResourcePolicyOutput, error) {
	if a.policyErr != nil {
		return nil, a.policyErr
	}
	return &dynamodb.GetResourcePolicyOutput{Policy: &a.policy}, nil
}

func (a *account) PutResourcePolicy(context.Context, *dynamodb.PutResourcePolicyInput, ...func(*dynamodb.Options)) (*dynamodb.PutResourcePolicyOutput, error) {
	return nil, errors.New("a policy is put")
}

func (a *account) DeleteResourcePolicy(context.Context, *dynamodb.DeleteResourcePolicyInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteResourcePolicyOutput, error) {
	return nil, errors.New("a policy is deleted")
}

func (a *account) DescribeKinesisStreamingDestination(context.Context, *dynamodb.DescribeKinesisStreamingDestinationInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeKinesisStreamingDestinationOutput, error) {
	out := &dynamodb.DescribeKinesisStreamingDestinationOutput{}
	if a.kinesis != "" {
		out.KinesisDataStreamDestinations = []types.KinesisDataStreamDestination{{StreamArn: aws.String("arn:kinesis"), DestinationStatus: a.kinesis}}
	}
	return out, a.kinesisErr
}

func (a *account) CreateBackup(context.Context, *dynamodb.CreateBackupInput, ...func(*dynamodb.Options)) (*dynamodb.CreateBackupOutput, error) {
	a.did = append(a.did, "create backup")
	return &dynamodb.CreateBackupOutput{BackupDetails: &types.BackupDetails{BackupArn: aws.String("arn:backup")}}, nil
}

func (a *account) DescribeBackup(context.Context, *dynamodb.DescribeBackupInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeBackupOutput, error) {
	status := a.backups[0]
	if len(a.backups) > 1 {
		a.backups = a.backups[1:]
	}
	a.did = append(a.did, string(status))
	return &dynamodb.DescribeBackupOutput{BackupDescription: &types.BackupDescription{
		BackupDetails: &types.BackupDetails{BackupStatus: status}, SourceTableDetails: &types.SourceTableDetails{TableId: &a.backupOf},
	}}, nil
}

func (a *account) UpdateTable(_ context.Context, in *dynamodb.UpdateTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error) {
	a.did = append(a.did, "take protection off")
	a.again.DeletionProtectionEnabled = in.DeletionProtectionEnabled
	return &dynamodb.UpdateTableOutput{}, nil
}

func (a *account) DeleteTable(context.Context, *dynamodb.DeleteTableInput, ...func(*dynamodb.Options)) (*dynamodb.DeleteTableOutput, error) {
	a.did = append(a.did, "delete")
	a.gone = true
	return &dynamodb.DeleteTableOutput{}, nil
}

func (a *account) ListEventSourceMappings(context.Context, *lambda.ListEventSourceMappingsInput, ...func(*lambda.Options)) (*lambda.ListEventSourceMappingsOutput, error) {
	return &lambda.ListEventSourceMappingsOutput{EventSourceMappings: a.mappings}, a.lambdaErr
}

func (a *account) GetMetricData(_ context.Context, in *cloudwatch.GetMetricDataInput, _ ...func(*cloudwatch.Options)) (*cloudwatch.GetMetricDataOutput, error) {
	if a.watchErr != nil {
		return nil, a.watchErr
	}
	m := in.MetricDataQueries[0].MetricStat.Metric
	name := *m.MetricName
	for _, dimension := range m.Dimensions[1:] {
		name += " " + *dimension.Value
	}
	result := cwtypes.MetricDataResult{StatusCode: cwtypes.StatusCodeComplete}
	for at, units := range a.use[name] {
		if !at.Before(*in.StartTime) && at.Before(*in.EndTime) {
			result.Timestamps, result.Values = append(result.Timestamps, at), append(result.Values, units)
		}
	}
	return &cloudwatch.GetMetricDataOutput{MetricDataResults: []cwtypes.MetricDataResult{result}}, nil
}

func (a *account) DescribeStream(context.Context, *dynamodbstreams.DescribeStreamInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.DescribeStreamOutput, error) {
	return &dynamodbstreams.DescribeStreamOutput{StreamDescription: &streamtypes.StreamDescription{Shards: []streamtypes.Shard{{
		ShardId: aws.String("shardId-1"), SequenceNumberRange: &streamtypes.SequenceNumberRange{StartingSequenceNumber: aws.String("1")},
	}}}}, nil
}

func (a *account) GetShardIterator(context.Context, *dynamodbstreams.GetShardIteratorInput, ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetShardIteratorOutput, error) {
	return &dynamodbstreams.GetShardIteratorOutput{ShardIterator: aws.String("first")}, nil
}

func (a *account) GetRecords(_ context.Context, in *dynamodbstreams.GetRecordsInput, _ ...func(*dynamodbstreams.Options)) (*dynamodbstreams.GetRecordsOutput, error) {
	out := &dynamodbstreams.GetRecordsOutput{Records: []streamtypes.Record{}, NextShardIterator: aws.String("next")}
	if *in.ShardIterator != "first" || a.record.IsZero() {
		return out, nil
	}
	id := map[string]streamtypes.AttributeValue{"id": &streamtypes.AttributeValueMemberS{Value: "x"}}
	record := streamtypes.Record{EventName: streamtypes.OperationTypeRemove, Dynamodb: &streamtypes.StreamRecord{
		SequenceNumber: aws.String("2"), ApproximateCreationDateTime: &a.record, Keys: id,
	}}
	if a.expired {
		record.UserIdentity = &streamtypes.Identity{Type: aws.String("Service"), PrincipalId: aws.String("dynamodb.amazonaws.com")}
	}
	out.Records = append(out.Records, record)
	return out, nil
}

// unused returns an account whose table can be retired, and the options for that.
func unused() (*account, Options) {
	now := time.Now()
	a := &account{
		policy:  `{"Statement":[{"Sid":"ResealFence1","Effect":"Deny"}]}`,
		record:  now.Add(-25 * time.Hour),
		use:     map[string]map[time.Time]float64{"ConsumedReadCapacityUnits": {now.Add(-30 * time.Hour): 5}, "ConsumedWriteCapacityUnits by-name": {now.Add(-5 * time.Hour): 0}},
		backups: []types.BackupStatus{types.BackupStatusCreating, types.BackupStatusAvailable}, backupOf: "id-1",
	}
	made := now.Add(-1000 * time.Hour)
	a.again = types.TableDescription{
		TableName: aws.String("cities"), TableArn: aws.String(tableARN), TableId: aws.String("id-1"), TableStatus: types.TableStatusActive, CreationDateTime: &made,
		KeySchema:              []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions:   []types.AttributeDefinition{{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS}},
		StreamSpecification:    &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewImage},
		LatestStreamArn:        aws.String(tableARN + "/stream/2026"),
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndexDescription{{IndexName: aws.String("by-name")}},
	}
	raw := a.again
	return a, Options{
		API: a, Streams: a, CloudWatch: a, Lambda: a, UnusedFor: 24 * time.Hour,
		Table: table.Info{
			Side: "source", Name: "cities", Sent: tableARN, ARN: tableARN, ID: "id-1", Made: made, Raw: &raw,
			Schema: item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}},
		},
	}
}

// Each reason not to delete a table is told, by itself and beside others; and what is none isn't.
func TestCheck(t *testing.T) {
	t.Parallel()
	denied := &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "User: x is not authorized to perform: dynamodb:GetResourcePolicy on resource: " + tableARN}
	for name, c := range map[string]struct {
		spoil func(a *account, o *Options)
		want  []string // a part of each reason
	}{
		"nothing":  {func(*account, *Options) {}, nil},
		"no fence": {func(a *account, _ *Options) { a.policyErr = &types.PolicyNotFoundException{} }, []string{"not fenced"}},
		"a fence for a time": {func(a *account, _ *Options) {
			a.policy = `{"Statement":[{"Sid":"ResealFence1","Effect":"Deny","Condition":{"DateLessThan":{"aws:CurrentTime":"2999-01-01T00:00:00Z"}}}]}`
		}, []string{"not fenced"}},
		"the replicator's stop": {func(a *account, _ *Options) { a.policy = `{"Statement":[{"Sid":"ResealStop1"}]}` }, []string{"not fenced"}},
		"fenced otherwise": {func(a *account, o *Options) {
			a.policyErr, o.Unfenced = &types.PolicyNotFoundException{}, true
		}, nil},
		"policy denied": {func(a *account, _ *Options) { a.policyErr = denied }, []string{"dynamodb:GetResourcePolicy"}},
		"replicas":      {func(_ *account, o *Options) { o.Table.Raw.Replicas = make([]types.ReplicaDescription, 2) }, []string{"2 replicas"}},
		"protection":    {func(_ *account, o *Options) { o.Table.Raw.DeletionProtectionEnabled = aws.Bool(true) }, []string{"--disable-deletion-protection"}},
		"protection waived": {func(_ *account, o *Options) {
			o.Table.Raw.DeletionProtectionEnabled, o.Unprotect = aws.Bool(true), true
		}, nil},
		"a consumer": {func(a *account, _ *Options) {
			a.mappings = []lambdatypes.EventSourceMappingConfiguration{{FunctionArn: aws.String("f"), State: aws.String("Enabled")}, {FunctionArn: aws.String("g"), State: aws.String("Disabled")}}
		}, []string{"the Lambda f reads its stream"}},
		"consumers unknown":         {func(a *account, _ *Options) { a.lambdaErr = errors.New("no network") }, []string{"not known"}},
		"Kinesis":                   {func(a *account, _ *Options) { a.kinesis = types.DestinationStatusActive }, []string{"Kinesis stream arn:kinesis"}},
		"Kinesis, disabled":         {func(a *account, _ *Options) { a.kinesis = types.DestinationStatusDisabled }, nil},
		"Kinesis unknown":           {func(a *account, _ *Options) { a.kinesisErr = errors.New("no network") }, []string{"not known"}},
		"a record":                  {func(a *account, _ *Options) { a.record = time.Now().Add(-23 * time.Hour) }, []string{"written to at"}},
		"a removal by time to live": {func(a *account, _ *Options) { a.record, a.expired = time.Now().Add(-time.Hour), true }, nil},
		"a read":                    {func(a *account, _ *Options) { a.use["ConsumedReadCapacityUnits"][time.Now().Add(-2*time.Hour)] = 3 }, []string{"CloudWatch has reads of it (3 units"}},
		"a write of an index": {func(a *account, _ *Options) {
			a.use["ConsumedWriteCapacityUnits by-name"][time.Now().Add(-2*time.Hour)] = 1
		}, []string{"writes of its index by-name"}},
		"nothing known":     {func(a *account, _ *Options) { a.use = nil }, []string{"another account or Region"}},
		"CloudWatch denied": {func(a *account, _ *Options) { a.watchErr = errors.New("denied") }, []string{"reads are not known"}},
		"not looked at":     {func(a *account, o *Options) { a.use, a.record, o.UnusedFor = nil, time.Now(), 0 }, nil},
		"several": {func(a *account, o *Options) {
			a.policyErr, a.record, o.Table.Raw.DeletionProtectionEnabled = &types.PolicyNotFoundException{}, time.Now(), aws.Bool(true)
		}, []string{"--disable-deletion-protection", "not fenced", "written to at"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, o := unused()
				c.spoil(a, &o)
				got, err := Check(t.Context(), o)
				if err != nil || len(got) != len(c.want) {
					t.Fatalf("%q, want parts %q (%v)", got, c.want, err)
				}
				for i := range got {
					if !strings.Contains(got[i], c.want[i]) {
						t.Errorf("%q has no %q", got[i], c.want[i])
					}
				}
				if len(a.did) > 0 {
					t.Errorf("it did %q", a.did)
				}
			})
		})
	}
}

// The table is deleted when its backup can be restored, and only the one that was looked at.
func TestDo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(a *account, o *Options)
		did    []string
		err    error
	}{
		"all":       {func(*account, *Options) {}, []string{"create backup", "CREATING", "AVAILABLE", "delete"}, nil},
		"no backup": {func(_ *account, o *Options) { o.NoBackup = true }, []string{"delete"}, nil},
		"protected": {func(a *account, o *Options) {
			a.again.DeletionProtectionEnabled, o.Unprotect = aws.Bool(true), true
		}, []string{"create backup", "CREATING", "AVAILABLE", "take protection off", "delete"}, nil},
		"protected meanwhile":   {func(a *account, _ *Options) { a.again.DeletionProtectionEnabled = aws.Bool(true) }, []string{"create backup", "CREATING", "AVAILABLE"}, table.ErrChanged},
		"made anew meanwhile":   {func(a *account, _ *Options) { a.again.TableId = aws.String("id-2") }, []string{"create backup", "CREATING", "AVAILABLE"}, table.ErrChanged},
		"a backup of another":   {func(a *account, _ *Options) { a.backupOf = "id-2" }, []string{"create backup", "CREATING", "AVAILABLE"}, table.ErrChanged},
		"a backup that is gone": {func(a *account, _ *Options) { a.backups = []types.BackupStatus{types.BackupStatusDeleted} }, []string{"create backup", "DELETED"}, errAny},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a, o := unused()
				c.change(a, &o)
				var r Result
				err := Do(t.Context(), o, &r)
				if !slices.Equal(a.did, c.did) || (err == nil) != (c.err == nil) || (c.err != nil && c.err != errAny && !errors.Is(err, c.err)) || r.Deleted != (err == nil) {
					t.Errorf("it did %q, want %q (%v); %+v", a.did, c.did, err, r)
				}
			})
		})
	}
}

var errAny = errors.New("any")

// What a table costs: its storage, that of its indexes, and what is provisioned.
func TestCosts(t *testing.T) {
	t.Parallel()
	units := &types.ProvisionedThroughputDescription{ReadCapacityUnits: aws.Int64(100), WriteCapacityUnits: aws.Int64(10)}
	keep, backup := Costs(table.Info{Bytes: 4 << 30, Raw: &types.TableDescription{
		ProvisionedThroughput: units, GlobalSecondaryIndexes: []types.GlobalSecondaryIndexDescription{{IndexSizeBytes: aws.Int64(1 << 30)}},
	}})
	if want := 1.25 + 730*(100*0.00013+10*0.00065); keep < want-0.001 || keep > want+0.001 || backup < 0.399 || backup > 0.401 {
		t.Errorf("$%g, want $%g; backup $%g, want $0.4", keep, want, backup)
	}
}
