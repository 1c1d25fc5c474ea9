package prepare_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"reseal/internal/item"
	"reseal/internal/prepare"
	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/applicationautoscaling"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"pgregory.net/rapid"
)

const (
	sourceARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/cities"
	streamARN = sourceARN + "/stream/2026-01-01T00:00:00.000"
)

// described is a source with a stream, as a live table would be read.
func described(view types.StreamViewType) prepare.Table {
	td := &types.TableDescription{
		TableName: aws.String("cities"), TableArn: aws.String(sourceARN), TableStatus: types.TableStatusActive,
		KeySchema: keys("id"), AttributeDefinitions: definitions("id", "S"),
		BillingModeSummary: &types.BillingModeSummary{BillingMode: types.BillingModePayPerRequest},
	}
	if view != "" {
		td.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: view}
		td.LatestStreamArn = aws.String(streamARN)
	}
	schema := item.Schema{Hash: item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS}}
	return prepare.Table{Info: table.Info{Side: "source", Name: "cities", ARN: sourceARN, Schema: schema, Raw: td}}
}

// template makes a template that must be one.
func template(t testing.TB, o prepare.Options) (text string, parsed map[string]any) {
	t.Helper()
	o.Target = "twin"
	text, err := prepare.Template(o)
	if err != nil {
		t.Fatal(err)
	}
	return text, testkit.ParseTemplate(t, text)
}

// wantAt expects values at paths, "/"-separated, under the template's resources.
func wantAt(t *testing.T, parsed map[string]any, wants map[string]any) {
	t.Helper()
	for path, want := range wants {
		if got := testkit.At(parsed["Resources"], strings.Split(path, "/")...); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %#v, want %#v", path, got, want)
		}
	}
}

func ref(name string) any { return testkit.Function{Name: "!Ref", Argument: name} }

func attribute(name string) any { return testkit.Function{Name: "!GetAtt", Argument: name} }

// TestTemplate has what a template must hold for any source.
func TestTemplate(t *testing.T) {
	t.Parallel()
	text, parsed := template(t, prepare.Options{Source: described(types.StreamViewTypeNewImage)})
	wantAt(t, parsed, map[string]any{
		"Target/Type":                             "AWS::DynamoDB::Table",
		"Target/DeletionPolicy":                   "Retain",
		"Target/UpdateReplacePolicy":              "Retain",
		"Target/Properties/TableName":             "twin",
		"Target/Properties/BillingMode":           "PAY_PER_REQUEST",
		"Target/Properties/ProvisionedThroughput": nil,
		"Target/Properties/StreamSpecification":   nil,
		"Target/Properties/SSESpecification":      map[string]any{"SSEEnabled": true, "SSEType": "KMS", "KMSMasterKeyId": attribute("TargetKey.Arn")},
		"TargetKey/DeletionPolicy":                "Retain",
		"TargetKey/UpdateReplacePolicy":           "Retain",
		"TargetKey/Properties/EnableKeyRotation":  true,
		"Replicator/Properties/Runtime":           "provided.al2023",
		"Replicator/Properties/Architectures":     []any{"arm64"},
		"Replicator/Properties/Code":              map[string]any{"S3Bucket": ref("CodeBucket"), "S3Key": ref("CodeKey")},
		"Replicator/Properties/LoggingConfig":     map[string]any{"LogGroup": ref("ReplicatorLogs")},
		"ReplicatorMapping/Properties": map[string]any{
			"FunctionName": attribute("Replicator.Arn"), "EventSourceArn": streamARN, "StartingPosition": "TRIM_HORIZON",
			"FunctionResponseTypes": []any{"ReportBatchItemFailures"}, "BisectBatchOnFunctionError": true,
			"MaximumRetryAttempts": -1, "MaximumRecordAgeInSeconds": -1, "BatchSize": ref("BatchSize"),
			"MaximumBatchingWindowInSeconds": ref("BatchingWindowSeconds"), "ParallelizationFactor": ref("ParallelizationFactor"),
			"MetricsConfig": map[string]any{"Metrics": []any{"EventCount"}},
		},
		"NotPollingAlarm/Properties/MetricName":         "PolledEventCount",
		"NotPollingAlarm/Properties/TreatMissingData":   "breaching",
		"NotPollingAlarm/Properties/ComparisonOperator": "LessThanThreshold",
		"NotPollingAlarm/Properties/Threshold":          0,
		"NotPollingAlarm/Properties/Dimensions":         []any{map[string]any{"Name": "EventSourceMappingUUID", "Value": ref("ReplicatorMapping")}},
		"DeadLetteredAlarm/Properties/MetricName":       "DeadLettered",
		"DeadLetteredAlarm/Properties/Namespace":        "reseal",
		"IteratorAgeAlarm/Properties/MetricName":        "IteratorAge",
		"IteratorAgeAlarm/Properties/Threshold":         ref("IteratorAgeAlarmMilliseconds"),
		"ErrorsAlarm/Properties/MetricName":             "Errors",
		"NotAppliedAlarm/Properties/Namespace":          "reseal", // as the replicator's metrics have it
		"NotAppliedAlarm/Properties/MetricName":         "Failures",
	})
	if hours := testkit.At(parsed, "Parameters", "IteratorAgeAlarmMilliseconds", "Default"); hours != 6*60*60*1000 {
		t.Errorf("the alarm's threshold is %v", hours)
	}
	if strings.Contains(text, "SourceStreamArn") {
		t.Error("the stream's ARN is a parameter, although it is known")
	}
}

// TestRole has every permission of the replicator, and on what it is.
func TestRole(t *testing.T) {
	t.Parallel()
	source := described(types.StreamViewTypeNewImage)
	source.Raw.SSEDescription = &types.SSEDescription{SSEType: types.SSETypeKms, Status: types.SSEStatusEnabled, KMSMasterKeyArn: aws.String("arn:aws:kms:eu-west-1:111122223333:key/of-source")}
	through := map[string]any{"StringEquals": map[string]any{"kms:ViaService": testkit.Function{Name: "!Sub", Argument: "dynamodb.${AWS::Region}.${AWS::URLSuffix}"}}}
	use := []any{"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"}
	statement := func(sid string, resource any, actions ...any) map[string]any {
		return map[string]any{"Sid": sid, "Effect": "Allow", "Resource": resource, "Action": actions}
	}
	withKey := func(resource any, more map[string]any) map[string]any {
		s := statement("UseTargetKey", resource, use...)
		condition := map[string]any{"StringEquals": through["StringEquals"]}
		for name, value := range more {
			condition[name] = value
		}
		s["Condition"] = condition
		return s
	}
	ofSource := statement("ReadWithSourceKey", "arn:aws:kms:eu-west-1:111122223333:key/of-source", "kms:Decrypt", "kms:DescribeKey")
	ofSource["Condition"] = through
	keyOf := func(id string) any {
		return testkit.Function{Name: "!Sub", Argument: "arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/" + id}
	}
	const keyARN = "arn:aws:kms:eu-west-1:111122223333:key/0123abcd-0000-1111-2222-0123456789ab"
	for key, forKey := range map[string]any{
		"":                                     withKey(attribute("TargetKey.Arn"), nil),
		keyARN:                                 withKey(keyARN, nil),
		"0123abcd-0000-1111-2222-0123456789ab": withKey(keyOf("0123abcd-0000-1111-2222-0123456789ab"), nil),
		"alias/mine":                           withKey(keyOf("*"), map[string]any{"ForAnyValue:StringEquals": map[string]any{"kms:ResourceAliases": "alias/mine"}}),
		"alias/aws/dynamodb":                   nil,
	} {
		_, parsed := template(t, prepare.Options{Source: source, KMSKey: key})
		want := []any{
			statement("ReadStream", streamARN, "dynamodb:DescribeStream", "dynamodb:GetRecords", "dynamodb:GetShardIterator", "dynamodb:ListStreams"),
			statement("WriteTarget", attribute("Target.Arn"), "dynamodb:BatchWriteItem", "dynamodb:DescribeTable"),
			statement("WriteLog", attribute("ReplicatorLogs.Arn"), "logs:CreateLogStream", "logs:PutLogEvents"),
		}
		if forKey != nil {
			want = append(want, forKey)
		}
		want = append(want, ofSource, testkit.Function{Name: "!If", Argument: []any{
			"HasDeadLetterQueue", statement("HandOn", ref("DeadLetterQueueArn"), "sqs:GetQueueUrl", "sqs:SendMessage"), ref("AWS::NoValue"),
		}})
		forQueue := statement("UseQueueKey", ref("DeadLetterQueueKeyArn"), "kms:Decrypt", "kms:GenerateDataKey")
		forQueue["Condition"] = map[string]any{"StringEquals": map[string]any{"kms:ViaService": testkit.Function{Name: "!Sub", Argument: "sqs.${AWS::Region}.${AWS::URLSuffix}"}}}
		want = append(want, testkit.Function{Name: "!If", Argument: []any{"HasDeadLetterQueueKey", forQueue, ref("AWS::NoValue")}})
		policies, _ := testkit.At(parsed, "Resources", "ReplicatorRole", "Properties", "Policies").([]any)
		if len(policies) != 1 || !reflect.DeepEqual(testkit.At(policies[0], "PolicyDocument", "Statement"), want) {
			t.Errorf("key %q: policies %v, want %v", key, policies, want)
		}
		id := testkit.At(parsed, "Resources", "Target", "Properties", "SSESpecification", "KMSMasterKeyId")
		switch {
		case key == "" && id != attribute("TargetKey.Arn"), key == "alias/aws/dynamodb" && id != nil, key != "" && key != "alias/aws/dynamodb" && id != key:
			t.Errorf("key %q: the target's is %v", key, id)
		}
		if hasOwn := testkit.At(parsed, "Resources", "TargetKey") != nil; hasOwn != (key == "") {
			t.Errorf("key %q: the stack makes one: %t", key, hasOwn)
		}
	}
}

// TestSettings has what a source may have beyond its keys.
func TestSettings(t *testing.T) {
	t.Parallel()
	source := described(types.StreamViewTypeNewImage)
	source.Raw.TableClassSummary = &types.TableClassSummary{TableClass: types.TableClassStandardInfrequentAccess}
	source.Raw.DeletionProtectionEnabled = aws.Bool(true)
	source.Raw.OnDemandThroughput = &types.OnDemandThroughput{MaxReadRequestUnits: aws.Int64(-1), MaxWriteRequestUnits: aws.Int64(70)}
	source.TimeToLive.Value = "expires"
	source.Recovery.Value = prepare.Recovery{On: true, Days: 7}
	source.Tags.Value = []types.Tag{{Key: aws.String("team"), Value: aws.String("maps")}}
	_, parsed := template(t, prepare.Options{Source: source})
	wantAt(t, parsed, map[string]any{
		"Target/Properties/TableClass":                       "STANDARD_INFREQUENT_ACCESS",
		"Target/Properties/DeletionProtectionEnabled":        true,
		"Target/Properties/OnDemandThroughput":               map[string]any{"MaxWriteRequestUnits": 70},
		"Target/Properties/TimeToLiveSpecification":          map[string]any{"AttributeName": "expires", "Enabled": true},
		"Target/Properties/PointInTimeRecoverySpecification": map[string]any{"PointInTimeRecoveryEnabled": true, "RecoveryPeriodInDays": 7},
		"Target/Properties/Tags":                             []any{map[string]any{"Key": "team", "Value": "maps"}},
	})

	denied := "AccessDeniedException: no"
	source.TimeToLive, source.Recovery = prepare.Setting[string]{Unknown: denied}, prepare.Setting[prepare.Recovery]{Unknown: denied}
	source.Tags, source.Scaling.Unknown = prepare.Setting[[]types.Tag]{Unknown: denied}, denied
	text, parsed := template(t, prepare.Options{Source: source})
	wantAt(t, parsed, map[string]any{
		"Target/Properties/TimeToLiveSpecification": nil, "Target/Properties/PointInTimeRecoverySpecification": nil, "Target/Properties/Tags": nil,
	})
	for _, what := range []string{"Time to live", "Point-in-time recovery", "Tags", "Autoscaling"} {
		if words := "# " + what + " not checked (" + denied + "): set it here"; !strings.Contains(text, words) {
			t.Errorf("it doesn't say %q", words)
		}
		if words := "so not made: " + strings.ToLower(what) + " (" + denied + ")"; !strings.Contains(text, words) {
			t.Errorf("it doesn't say %q", words)
		}
	}
}

// TestProvisioned takes the capacity of a target that is there: deploying again must not take away what its autoscaling has given.
func TestProvisioned(t *testing.T) {
	t.Parallel()
	source := described(types.StreamViewTypeNewImage)
	source.Raw.BillingModeSummary = nil // it has always been provisioned
	have := func(read, write int64) *types.ProvisionedThroughputDescription {
		return &types.ProvisionedThroughputDescription{ReadCapacityUnits: &read, WriteCapacityUnits: &write}
	}
	index := func(p *types.ProvisionedThroughputDescription) []types.GlobalSecondaryIndexDescription {
		return []types.GlobalSecondaryIndexDescription{{IndexName: aws.String("x"), KeySchema: keys("id"), Projection: allProjected, ProvisionedThroughput: p}}
	}
	source.Raw.ProvisionedThroughput, source.Raw.GlobalSecondaryIndexes = have(5, 6), index(have(7, 8))
	live := &types.TableDescription{ProvisionedThroughput: have(500, 600), GlobalSecondaryIndexes: index(have(700, 800))}
	for want, target := range map[[4]int]*types.TableDescription{{5, 6, 7, 8}: nil, {500, 600, 700, 800}: live} {
		_, parsed := template(t, prepare.Options{Source: source, Live: target})
		properties := testkit.At(parsed, "Resources", "Target", "Properties")
		indexes, _ := testkit.At(properties, "GlobalSecondaryIndexes").([]any)
		table, first := testkit.At(properties, "ProvisionedThroughput"), testkit.At(indexes[0], "ProvisionedThroughput")
		got := [4]any{
			testkit.At(table, "ReadCapacityUnits"), testkit.At(table, "WriteCapacityUnits"),
			testkit.At(first, "ReadCapacityUnits"), testkit.At(first, "WriteCapacityUnits"),
		}
		if got != [4]any{want[0], want[1], want[2], want[3]} || testkit.At(properties, "BillingMode") != "PROVISIONED" {
			t.Errorf("capacity %v, want %v", got, want)
		}
	}
}

// TestStages has what differs from stage to stage.
func TestStages(t *testing.T) {
	t.Parallel()
	source := described(types.StreamViewTypeNewImage)
	for stage, test := range map[int]struct{ hasReplicator, isExported bool }{2: {true, false}, 3: {true, true}, 4: {false, true}} {
		text, parsed := template(t, prepare.Options{Source: source, Stage: stage})
		if !strings.Contains(text, fmt.Sprintf("# Stage %d (", stage)) {
			t.Errorf("stage %d isn't named", stage)
		}
		for _, name := range []string{"Replicator", "ReplicatorMapping", "ReplicatorRole", "ReplicatorLogs", "IteratorAgeAlarm", "NotPollingAlarm", "ErrorsAlarm", "NotAppliedAlarm", "DeadLetteredAlarm"} {
			if has := testkit.At(parsed, "Resources", name) != nil; has != test.hasReplicator {
				t.Errorf("stage %d has %s: %t", stage, name, has)
			}
		}
		if export := testkit.At(parsed, "Outputs", "TargetTableName", "Export"); (export != nil) != test.isExported {
			t.Errorf("stage %d: export %v", stage, export)
		}
		wantAt(t, parsed, map[string]any{"Target/Properties/TableName": "twin", "TargetKey/Type": "AWS::KMS::Key"})
	}
	_, err := prepare.Template(prepare.Options{Source: source, Target: "twin", Stage: 5})
	if !refuse.Is(err) {
		t.Errorf("stage 5: %v", err)
	}
}

// TestChangeOfSource has stage 1, and where stage 2 gets the stream from.
func TestChangeOfSource(t *testing.T) {
	t.Parallel()
	const enable = "--stream-specification StreamEnabled=true,StreamViewType=NEW_AND_OLD_IMAGES"
	for view, test := range map[types.StreamViewType]struct {
		words   []string
		changes bool
	}{
		"":                                    {[]string{"has no stream", enable}, true},
		types.StreamViewTypeNewImage:          {[]string{"Nothing is to be changed", "NEW_IMAGE"}, false},
		types.StreamViewTypeNewAndOldImages:   {[]string{"Nothing is to be changed", "NEW_AND_OLD_IMAGES"}, false},
		types.StreamViewTypeKeysOnly:          {[]string{"KEYS_ONLY and has no new images", "StreamEnabled=false", enable}, true},
		types.StreamViewTypeOldImage:          {[]string{"OLD_IMAGE and has no new images", "StreamEnabled=false", enable}, true},
		types.StreamViewType("SOMETHING_NEW"): {[]string{"SOMETHING_NEW and has no new images", enable}, true},
	} {
		change, err := prepare.Template(prepare.Options{Source: described(view), Target: "twin", Stage: prepare.StagePrepare})
		if err != nil {
			t.Fatal(err)
		}
		text, parsed := template(t, prepare.Options{Source: described(view)})
		for _, words := range test.words {
			if !strings.Contains(change, words) || !strings.Contains(text, words) {
				t.Errorf("%s: it doesn't say %q: %s", view, words, change)
			}
		}
		var want, param any = streamARN, nil
		if test.changes {
			want, param = ref("SourceStreamArn"), "String"
			got := testkit.At(testkit.ParseTemplate(t, change), "StreamSpecification", "StreamViewType")
			if got != "NEW_AND_OLD_IMAGES" {
				t.Errorf("%s: the change is %v", view, got)
			}
		}
		wantAt(t, parsed, map[string]any{"ReplicatorMapping/Properties/EventSourceArn": want})
		if got := testkit.At(parsed, "Parameters", "SourceStreamArn", "Type"); got != param {
			t.Errorf("%s: the parameter is %v", view, got)
		}
	}
}

// TestAnyText puts any text where a table's owner can: it must come back as that text, and change nothing else.
func TestAnyText(t *testing.T) {
	t.Parallel()
	plainText, plain := withText(t, "plain")
	check := func(fatalf func(string, ...any), s string) {
		text, parsed := withText(t, s)
		if !reflect.DeepEqual(replaced(parsed, s), replaced(plain, "plain")) {
			fatalf("%q changes the template: %s", s, text)
		}
		if comments(text) != comments(plainText) {
			fatalf("%q changes the comments: %s", s, text)
		}
	}
	for _, s := range nasty {
		check(t.Fatalf, s)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.StringN(2, 40, 200), rapid.StringMatching(`[!$&*#:{}'"\\\[\]<>|%@,? \n\r\t\x00-]{1,12}[a-z]{0,3}[!${}:#\n]{0,3}`)).Draw(t, "text")
		if strings.Contains(s, "{{resolve:") || strings.Contains(plainText, s) { // such as HASH, which is elsewhere, too
			t.Skip()
		}
		check(t.Fatalf, s)
	})
}

// withText makes a template of a source that has the text in all places.
func withText(t testing.TB, s string) (string, map[string]any) {
	source := described(types.StreamViewTypeNewImage)
	source.Raw.AttributeDefinitions = definitions(s, "S")
	source.Raw.KeySchema = keys(s)
	source.Raw.LocalSecondaryIndexes = []types.LocalSecondaryIndexDescription{{
		IndexName: &s, KeySchema: keys(s), Projection: &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{s}},
	}}
	source.Raw.GlobalSecondaryIndexes = []types.GlobalSecondaryIndexDescription{{IndexName: &s, KeySchema: keys(s), Projection: allProjected}}
	source.TimeToLive.Value = s
	source.Tags.Value = []types.Tag{{Key: &s, Value: &s}}
	source.Scaling.Value = []prepare.Scalable{{Index: s, Dimension: "dynamodb:index:ReadCapacityUnits", Min: 1, Max: 2}}
	return template(t, prepare.Options{Source: source})
}

// replaced is the value with another text in the place of one.
func replaced(value any, s string) any {
	switch v := value.(type) {
	case string:
		if v == s {
			return "\x00the text"
		}
	case map[string]any:
		out := map[string]any{}
		for name, one := range v {
			out[name] = replaced(one, s)
		}
		return out
	case []any:
		var out []any
		for _, one := range v {
			out = append(out, replaced(one, s))
		}
		return out
	case testkit.Function:
		return testkit.Function{Name: v.Name, Argument: replaced(v.Argument, s)}
	}
	return value
}

// comments are the lines that are comments.
func comments(text string) string {
	var out []string
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			out = append(out, line)
		}
	}
	return strings.Join(out, "")
}

// TestTextInComments has text from services, which ends up in comments.
func TestTextInComments(t *testing.T) {
	t.Parallel()
	for _, s := range append(nasty, "\r\nOutputs:\n", "\x1b[2J\x00\u0085\u2028Resources: {}") {
		source := described(types.StreamViewTypeNewImage)
		source.Tags.Unknown, source.Scaling.Unknown = s, s
		source.Scaling.Value = []prepare.Scalable{{Index: s, Dimension: "dynamodb:index:ReadCapacityUnits", Left: []string{s}}}
		source.Raw.GlobalSecondaryIndexes = []types.GlobalSecondaryIndexDescription{{IndexName: aws.String("by-x"), KeySchema: keys("id"), Projection: allProjected}}
		text, parsed := template(t, prepare.Options{Source: source})
		if len(parsed) != 6 || strings.ContainsAny(text, "\x1b\x00\r") {
			t.Errorf("%q: sections %v: %s", s, len(parsed), text)
		}
		resources, _ := parsed["Resources"].(map[string]any)
		if len(resources) != 12 {
			t.Errorf("%q: %d resources", s, len(resources))
		}
	}
}

// TestDynamicReference has text that CloudFormation would put a secret in the place of.
func TestDynamicReference(t *testing.T) {
	t.Parallel()
	const dynamic = "{{resolve:secretsmanager:x}}"
	source := described(types.StreamViewTypeNewImage)
	source.Tags.Value = []types.Tag{{Key: aws.String("t"), Value: aws.String("a" + dynamic)}, {Key: aws.String("u"), Value: aws.String("v")}}
	text, parsed := template(t, prepare.Options{Source: source})
	wantAt(t, parsed, map[string]any{"Target/Properties/Tags": []any{map[string]any{"Key": "u", "Value": "v"}}})
	if !strings.Contains(text, `tag "t" is left out`) || strings.Contains(text, "{{resolve:") {
		t.Error(text)
	}
	for name, change := range map[string]func(*prepare.Table){
		"key":          func(s *prepare.Table) { s.Raw.AttributeDefinitions = definitions(dynamic, "S") },
		"time to live": func(s *prepare.Table) { s.TimeToLive.Value = dynamic },
		"projection": func(s *prepare.Table) {
			s.Raw.LocalSecondaryIndexes = []types.LocalSecondaryIndexDescription{{
				IndexName: aws.String("x"), KeySchema: keys("id"), Projection: &types.Projection{NonKeyAttributes: []string{dynamic}},
			}}
		},
	} {
		source := described(types.StreamViewTypeNewImage)
		change(&source)
		if _, err := prepare.Template(prepare.Options{Source: source, Target: "twin"}); !refuse.Is(err) || !strings.Contains(err.Error(), "--apply") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	const uuid = "0123abcd-0000-1111-2222-0123456789ab"
	for key, isKey := range map[string]bool{
		uuid: true, "mrk-0123456789abcdef0123456789abcdef": true, "alias/x": true, "alias/aws/dynamodb": true,
		"arn:aws:kms:eu-west-1:111122223333:key/" + uuid: true, "arn:aws-cn:kms:cn-north-1:111122223333:alias/x": true,
		"x": false, "key/" + uuid: false, "key/alias/x": false, "arn:aws:kms:eu-west-1:111122223333:" + uuid: false,
		"arn:aws:kms:eu-west-1:111122223333:key/alias/x": false, "arn:aws:kms:eu-west-1:1:key/" + uuid: false, "alias/": false,
		uuid + "\n": false, "alias/${AWS::Region}": false, "alias/*": false,
	} {
		_, err := prepare.Template(prepare.Options{Source: described(types.StreamViewTypeNewImage), Target: "twin", KMSKey: key})
		if (err == nil) != isKey || err != nil && !refuse.Is(err) {
			t.Errorf("key %q: %v", key, err)
		}
	}
}

// denying refuses all but DescribeTable.
type denying struct{ prepare.ReadAPI }

var errDenied = errors.New("denied:\nnot for you")

func (denying) DescribeTimeToLive(context.Context, *dynamodb.DescribeTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeTimeToLiveOutput, error) {
	return nil, errDenied
}

func (denying) DescribeContinuousBackups(context.Context, *dynamodb.DescribeContinuousBackupsInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeContinuousBackupsOutput, error) {
	return nil, errDenied
}

func (denying) ListTagsOfResource(context.Context, *dynamodb.ListTagsOfResourceInput, ...func(*dynamodb.Options)) (*dynamodb.ListTagsOfResourceOutput, error) {
	return nil, errDenied
}

type denyingScaling struct{ prepare.ScalingAPI }

func (denyingScaling) DescribeScalableTargets(context.Context, *applicationautoscaling.DescribeScalableTargetsInput, ...func(*applicationautoscaling.Options)) (*applicationautoscaling.DescribeScalableTargetsOutput, error) {
	return nil, errDenied
}

func TestReadDenied(t *testing.T) {
	t.Parallel()
	db := testkit.Client(testkit.Engine(t))
	name := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "id:S"})
	read, err := prepare.Read(t.Context(), denying{db}, denyingScaling{}, "source", name)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"time to live (denied: not for you)", "point-in-time recovery (denied: not for you)", "tags (denied: not for you)"}
	if got := read.Unchecked(); !reflect.DeepEqual(got, want) { // on demand, nothing is scaled
		t.Errorf("not checked: %q, want %q", got, want)
	}
	if _, err := prepare.Read(t.Context(), db, nil, "source", "no-such"); !refuse.Is(err) {
		t.Errorf("no table: %v", err)
	}
}

// TestKeepBack has the replicator of the other direction, off, and a stream for it. Without the option there is nothing of it.
func TestKeepBack(t *testing.T) {
	t.Parallel()
	source := described(types.StreamViewTypeNewImage)
	source.Raw.SSEDescription = &types.SSEDescription{KMSMasterKeyArn: aws.String("arn:aws:kms:eu-west-1:111122223333:key/source")}
	_, parsed := template(t, prepare.Options{Source: source, KeepBack: true})
	wantAt(t, parsed, map[string]any{
		"Target/Properties/StreamSpecification":                              map[string]any{"StreamViewType": "NEW_AND_OLD_IMAGES"},
		"BackMapping/Properties/Enabled":                                     false,
		"BackMapping/Properties/EventSourceArn":                              attribute("Target.StreamArn"),
		"BackMapping/Properties/FunctionName":                                attribute("Back.Arn"),
		"Back/Properties/Role":                                               attribute("BackRole.Arn"),
		"Back/Properties/Environment/Variables/RESEAL_TARGET_TABLE":          sourceARN,
		"Back/Properties/Environment/Variables/RESEAL_OTHER_DIRECTION":       "refuse",
		"Replicator/Properties/Environment/Variables/RESEAL_OTHER_DIRECTION": "refuse",
		"ReplicatorMapping/Properties/Enabled":                               nil,
	})
	statements, _ := testkit.At(parsed["Resources"], "BackRole", "Properties", "Policies").([]any)
	allowed := fmt.Sprint(statements)
	for _, want := range []string{"WriteSource", sourceARN, "dynamodb:BatchWriteItem", "key/source", "kms:GenerateDataKey", "lambda:ListEventSourceMappings"} {
		if !strings.Contains(allowed, want) {
			t.Errorf("the role has no %s: %s", want, allowed)
		}
	}
	for _, o := range []prepare.Options{{Source: source}, {Source: source, KeepBack: true, Stage: prepare.StageRetire}} {
		_, parsed := template(t, o)
		wantAt(t, parsed, map[string]any{"Back": nil, "BackMapping": nil, "BackRole": nil})
	}
}
