package prepare_test

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"html"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"reseal/internal/prepare"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	scaling "github.com/aws/aws-sdk-go-v2/service/applicationautoscaling/types"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TestLint has cfn-lint check templates for all sources and of all stages, its warnings and its information included.
func TestLint(t *testing.T) {
	t.Parallel()
	cloud := testkit.NewCloud(t)
	templates := map[string]string{}
	add := func(name string, o prepare.Options) {
		t.Helper()
		text, err := prepare.Template(o)
		if err != nil {
			t.Fatal(err)
		}
		templates[name+".yaml"] = text
	}
	for name, s := range sources() {
		if name == "nasty" {
			continue // it warns of texts such as ${Target} where they are no reference
		}
		table := s.make(t, cloud.URL, name)
		if unchecked := table.Unchecked(); unchecked != nil {
			t.Errorf("%s: not checked: %q", name, unchecked)
		}
		add(name, prepare.Options{Source: table, Target: name + "-target", KMSKey: s.kms})
		if name == "autoscaling" {
			wantScaling(t, table)
			add(name+"-3", prepare.Options{Source: table, Target: "twin", Stage: prepare.StageCutOver})
			add(name+"-4", prepare.Options{Source: table, Target: "twin", Stage: prepare.StageRetire})
		}
	}
	add("back", prepare.Options{Source: described(types.StreamViewTypeNewImage), Target: "twin", KeepBack: true})
	add("back-3", prepare.Options{Source: described(types.StreamViewTypeNewImage), Target: "twin", KeepBack: true, Stage: prepare.StageCutOver})
	add("back-4", prepare.Options{Source: described(types.StreamViewTypeNewImage), Target: "twin", KeepBack: true, Stage: prepare.StageRetire})
	add("no-stream", prepare.Options{Source: described(""), Target: "twin", KMSKey: "alias/mine"})
	add("managed-key", prepare.Options{Source: described(types.StreamViewTypeNewImage), Target: "twin", KMSKey: "alias/aws/dynamodb"})
	if found := testkit.LintTemplates(t, templates); found != "" {
		t.Error(found)
	}
	bad := strings.Replace(templates["hash.yaml"], "TRIM_HORIZON", "SOMEWHERE", 1)
	if found := testkit.LintTemplates(t, map[string]string{"bad.yaml": bad}); !strings.Contains(found, "SOMEWHERE") {
		t.Errorf("of a bad template cfn-lint says %q", found)
	}
}

// wantScaling expects what the source called autoscaling has, as it is read, and in a template.
func wantScaling(t *testing.T, source prepare.Table) {
	t.Helper()
	of := func(index, dimension string, metric scaling.MetricType) prepare.Scalable {
		return prepare.Scalable{Index: index, Dimension: scaling.ScalableDimension(dimension), Min: 5, Max: 500, Policies: []prepare.Policy{
			{Metric: metric, Percent: 62.5, ScaleInCooldown: aws.Int32(60)},
		}}
	}
	read, write := scaling.MetricTypeDynamoDBReadCapacityUtilization, scaling.MetricTypeDynamoDBWriteCapacityUtilization
	want := []prepare.Scalable{
		of("", "dynamodb:table:ReadCapacityUnits", read), of("", "dynamodb:table:WriteCapacityUnits", write),
		of("by-x", "dynamodb:index:WriteCapacityUnits", write),
	}
	if got := asJSON(t, source.Scaling); got != asJSON(t, prepare.Setting[[]prepare.Scalable]{Value: want}) {
		t.Errorf("autoscaling is %s", got)
	}
	_, parsed := template(t, prepare.Options{Source: source})
	for name, dimension := range map[string]string{"TableRead": "dynamodb:table:ReadCapacityUnits", "TableWrite": "dynamodb:table:WriteCapacityUnits", "Index1Write": "dynamodb:index:WriteCapacityUnits"} {
		var id any = testkit.Function{Name: "!Sub", Argument: "table/${Target}"}
		if name == "Index1Write" {
			id = testkit.Function{Name: "!Sub", Argument: []any{"table/${Target}/index/${Index}", map[string]any{"Index": "by-x"}}}
		}
		metric := "DynamoDBReadCapacityUtilization"
		if strings.HasSuffix(name, "Write") {
			metric = "DynamoDBWriteCapacityUtilization"
		}
		wantAt(t, parsed, map[string]any{
			name + "Scaling/DeletionPolicy": "Retain",
			name + "Scaling/Properties": map[string]any{
				"ServiceNamespace": "dynamodb", "ResourceId": id, "ScalableDimension": dimension, "MinCapacity": 5, "MaxCapacity": 500,
			},
			name + "ScalingPolicy/Properties": map[string]any{
				"PolicyName": name + "ScalingPolicy", "PolicyType": "TargetTrackingScaling", "ScalingTargetId": ref(name + "Scaling"),
				"TargetTrackingScalingPolicyConfiguration": map[string]any{
					"TargetValue": 62.5, "PredefinedMetricSpecification": map[string]any{"PredefinedMetricType": metric}, "ScaleInCooldown": 60,
				},
			},
		})
	}
}

// deployed is a stack in the cloud.
type deployed struct {
	t     *testing.T
	cloud *testkit.Cloud
	name  string
}

const formationVersion = "2010-05-15"

// deploy creates the stack.
func (d deployed) deploy(template string) {
	d.t.Helper()
	status, answer := d.cloud.Query("cloudformation", "CreateStack", formationVersion,
		"StackName", d.name, "TemplateBody", template, "Capabilities.member.1", "CAPABILITY_IAM",
		"Parameters.member.1.ParameterKey", "CodeBucket", "Parameters.member.1.ParameterValue", "code",
		"Parameters.member.2.ParameterKey", "CodeKey", "Parameters.member.2.ParameterValue", "replicator-arm64.zip")
	if status != http.StatusOK {
		d.t.Fatalf("create stack: %d %s", status, answer)
	}
	var stacks struct {
		Status string `xml:"DescribeStacksResult>Stacks>member>StackStatus"`
	}
	_, answer = d.cloud.Query("cloudformation", "DescribeStacks", formationVersion, "StackName", d.name)
	if err := xml.Unmarshal([]byte(answer), &stacks); err != nil || stacks.Status != "CREATE_COMPLETE" {
		d.t.Fatalf("the stack is %q: %v: %s", stacks.Status, err, answer)
	}
}

// resources returns the physical ids by logical ones.
func (d deployed) resources() map[string]string {
	d.t.Helper()
	_, answer := d.cloud.Query("cloudformation", "DescribeStackResources", formationVersion, "StackName", d.name)
	var list struct {
		Members []struct {
			Logical  string `xml:"LogicalResourceId"`
			Physical string `xml:"PhysicalResourceId"`
		} `xml:"DescribeStackResourcesResult>StackResources>member"`
	}
	if err := xml.Unmarshal([]byte(answer), &list); err != nil {
		d.t.Fatal(err)
	}
	ids := map[string]string{}
	for _, one := range list.Members {
		ids[one.Logical] = one.Physical
	}
	return ids
}

// TestDeploy deploys the templates to moto, which knows the tables' keys, indexes, capacity and tags, the key, the role, the log group,
// the function and the mapping. The rest of a template (alarms, autoscaling, time to live, recovery, encryption: see
// TestSettings and TestTemplate) it takes without a word.
func TestDeploy(t *testing.T) {
	t.Parallel()
	cloud := testkit.NewCloud(t)
	for _, path := range []string{"/code", "/code/replicator-arm64.zip"} {
		if status, answer := cloud.Send("s3", http.MethodPut, path, "application/zip", ""); status != http.StatusOK {
			t.Fatal(status, answer)
		}
	}
	for name, s := range sources() {
		t.Run(name, func(t *testing.T) {
			source := s.make(t, cloud.URL, name)
			o := prepare.Options{Source: source, Target: name + "-target", KMSKey: s.kms}
			text, err := prepare.Template(o)
			if err != nil {
				t.Fatal(err)
			}
			d := deployed{t, cloud, name}
			d.deploy(text)
			ids := d.resources()
			d.wantTarget(source, ids["Target"], name+"-target")
			d.wantReplicator(source, ids)
			d.wantRole(source, ids, s.kms)

			// The last stage by itself: an update that takes the replicator away fails in moto when it deletes the role.
			o.Stage, o.Target = prepare.StageRetire, name+"-retired"
			if text, err = prepare.Template(o); err != nil {
				t.Fatal(err)
			}
			d.name += "-retired"
			d.deploy(text)
			if ids := d.resources(); ids["Replicator"] != "" || ids["ReplicatorMapping"] != "" || ids["ReplicatorRole"] != "" {
				t.Errorf("in the last stage there are %v", ids)
			}
			d.wantTarget(source, d.resources()["Target"], o.Target)
		})
	}
}

// wantTarget expects the target to be as the source.
func (d deployed) wantTarget(source prepare.Table, id, name string) {
	d.t.Helper()
	target, err := prepare.Read(d.t.Context(), testkit.Client(d.cloud.URL), nil, "target", name)
	if err != nil {
		d.t.Fatal(err)
	}
	if id != name || target.Schema != source.Schema {
		d.t.Errorf("target is %s with %s", id, target.Schema)
	}
	type settings struct {
		Local      []types.LocalSecondaryIndexDescription
		Global     []types.GlobalSecondaryIndexDescription
		Attributes []types.AttributeDefinition
		Capacity   *types.ProvisionedThroughputDescription
		Billing    types.BillingMode
		Tags       []types.Tag
		Protected  bool
	}
	of := func(table prepare.Table) settings {
		td := table.Raw
		for i := range td.GlobalSecondaryIndexes {
			td.GlobalSecondaryIndexes[i].IndexArn = nil
		}
		return settings{
			td.LocalSecondaryIndexes, td.GlobalSecondaryIndexes, td.AttributeDefinitions, td.ProvisionedThroughput, td.BillingModeSummary.BillingMode,
			table.Tags.Value, *td.DeletionProtectionEnabled,
		}
	}
	if got, want := asJSON(d.t, of(target)), asJSON(d.t, of(source)); got != want {
		d.t.Errorf("target is %s, want %s", got, want)
	}
}

func asJSON(t *testing.T, value any) string {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func (d deployed) wantReplicator(source prepare.Table, ids map[string]string) {
	d.t.Helper()
	get := func(path string, out any) {
		d.t.Helper()
		status, answer := d.cloud.Send("lambda", http.MethodGet, "/2015-03-31/"+path, "application/json", "")
		if err := json.Unmarshal([]byte(answer), out); status != http.StatusOK || err != nil {
			d.t.Fatal(status, answer, err)
		}
	}
	type function struct {
		Handler, Runtime, Role string
		MemorySize, Timeout    int
		Environment            struct{ Variables map[string]string }
	}
	var f function
	get("functions/"+ids["Replicator"]+"/configuration", &f)
	want := function{Handler: "bootstrap", Runtime: "provided.al2023", Role: "arn:aws:iam::123456789012:role/" + ids["ReplicatorRole"], MemorySize: 512, Timeout: 60}
	want.Environment.Variables = map[string]string{"RESEAL_TARGET_TABLE": ids["Target"], "RESEAL_ON_POISON": "block"}
	if !reflect.DeepEqual(f, want) {
		d.t.Errorf("function is %+v, want %+v", f, want)
	}
	type mapping struct {
		EventSourceArn, State, StartingPosition                                                                           string
		FunctionResponseTypes                                                                                             []string
		BisectBatchOnFunctionError                                                                                        bool
		BatchSize, MaximumBatchingWindowInSeconds, MaximumRecordAgeInSeconds, MaximumRetryAttempts, ParallelizationFactor int
	}
	var m mapping
	get("event-source-mappings/"+ids["ReplicatorMapping"], &m)
	if want := (mapping{source.StreamARN(), "Enabled", "TRIM_HORIZON", []string{"ReportBatchItemFailures"}, true, 1000, 0, -1, -1, 1}); !reflect.DeepEqual(m, want) {
		d.t.Errorf("mapping is %+v, want %+v", m, want)
	}
}

// wantRole expects the role's policy to name nothing but what it is for.
func (d deployed) wantRole(source prepare.Table, ids map[string]string, key string) {
	d.t.Helper()
	_, answer := d.cloud.Query("iam", "GetRolePolicy", "2010-05-08", "RoleName", ids["ReplicatorRole"], "PolicyName", "replicate")
	const account = ":us-east-1:123456789012:"
	want := []string{
		source.StreamARN(), "arn:aws:dynamodb" + account + "table/" + ids["Target"], "arn:aws:logs" + account + "log-group:" + ids["ReplicatorLogs"],
		cmp.Or(key, "arn:aws:kms"+account+"key/"+ids["TargetKey"]),
	}
	var got []string
	for _, match := range regexp.MustCompile(`'Resource': '([^']*)'`).FindAllStringSubmatch(html.UnescapeString(answer), -1) {
		got = append(got, match[1])
	}
	if !slices.Equal(got, want) {
		d.t.Errorf("the role is for %q, want %q: %s", got, want, answer)
	}
}
