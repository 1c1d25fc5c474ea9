package verify_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"reseal/internal/refuse"
	"reseal/internal/test/testkit"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// backups is the line about backups where each side may be asked or not, and neither has any; a zero one where there is no such line.
func backups(source, target bool) verify.Setting {
	text := func(asked bool) string {
		if asked && !testkit.Has(testkit.NoBackups) {
			return "off"
		}
		return "not checked"
	}
	line := verify.Setting{What: "point-in-time recovery", Source: text(source), Target: text(target)}
	if line.Source == "off" && line.Target == "off" {
		return verify.Setting{}
	}
	return line
}

// configured verifies two tables that hold the same items and expects these lines of configuration; zero ones don't count.
func (ts *tables) configured(want ...verify.Setting) {
	ts.t.Helper()
	want = slices.DeleteFunc(want, func(line verify.Setting) bool { return line == verify.Setting{} })
	result, _ := ts.verify(func(o *verify.Options) { o.Encryption, o.RequestTimeout = "any", time.Second })
	if !result.Match {
		ts.t.Errorf("configuration made the verdict: %+v", result)
	}
	var got []verify.Setting
	for _, s := range result.Configuration {
		if s.Consequence == "" {
			ts.t.Errorf("%s has no consequence", s.What)
		}
		source, _, _ := strings.Cut(s.Source, ", key arn:")
		target, _, _ := strings.Cut(s.Target, ", key arn:")
		if s.What == "encryption" && source == target {
			continue // the engine makes a key for each table; TestEncryptionKeys has them
		}
		if s.What == "encryption" {
			s.Source, s.Target = source, target
		}
		got = append(got, verify.Setting{What: s.What, Source: s.Source, Target: s.Target})
	}
	if !slices.Equal(got, want) {
		ts.t.Errorf("configuration %+v, want %+v", got, want)
	}
	ts.allSettings(result)
}

// allSettings expects every line of the configuration beside the list of those that differ, in the same order.
func (ts *tables) allSettings(result verify.Result) {
	ts.t.Helper()
	var names []string
	var differ []verify.Setting
	for _, s := range result.Settings {
		names = append(names, s.What)
		if s.Differs() {
			differ = append(differ, s)
		} else if s.Consequence != "" || s.Expected {
			ts.t.Errorf("a line that doesn't differ: %+v", s)
		}
	}
	if !slices.Equal(names, verify.SettingNames()) || !slices.Equal(differ, result.Configuration) {
		ts.t.Errorf("all settings %+v, those that differ %+v", result.Settings, result.Configuration)
	}
}

func TestDifferingConfigurationIsListed(t *testing.T) {
	t.Parallel()
	ts := tablesOf(t,
		testkit.TableSpec{Hash: "id:S", Plain: true, Stream: types.StreamViewTypeNewAndOldImages, Provisioned: [2]int64{500, 400}},
		testkit.TableSpec{Hash: "id:S"})
	protect(t, ts.engine, ts.source)
	_, err := ts.engine.UpdateTimeToLive(t.Context(), &dynamodb.UpdateTimeToLiveInput{
		TableName:               &ts.source,
		TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: aws.String("expires"), Enabled: aws.Bool(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	out, err := ts.engine.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &ts.source})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ts.engine.TagResource(t.Context(), &dynamodb.TagResourceInput{
		ResourceArn: out.Table.TableArn, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("data")}, {Key: aws.String("cost"), Value: aws.String("1")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ts.configured(
		verify.Setting{What: "encryption", Source: "AWS_OWNED", Target: "KMS"},
		verify.Setting{What: "stream", Source: "NEW_AND_OLD_IMAGES", Target: "off"},
		verify.Setting{What: "billing", Source: "provisioned, 500 read and 400 write units", Target: "on demand"},
		verify.Setting{What: "deletion protection", Source: "on", Target: "off"},
		verify.Setting{What: "time to live", Source: "on, attribute expires", Target: "off"},
		backups(true, true),
		verify.Setting{What: "tags", Source: "cost=1; team=data", Target: "none"},
	)
}

// protect turns on the table's deletion protection until the test ends.
func protect(t *testing.T, c *dynamodb.Client, table string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	set := func(on bool) error {
		_, err := c.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: &table, DeletionProtectionEnabled: &on})
		return err
	}
	if err := set(true); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set(false); err != nil {
			t.Error(err)
		}
	})
}

// indexed makes a table with a global index on the attribute "at" of the given type, and perhaps a local one.
func indexed(t *testing.T, c *dynamodb.Client, kind types.ScalarAttributeType, local bool) string {
	t.Helper()
	name := fmt.Sprintf("indexed-%s-%s-%v-%d", strings.ReplaceAll(t.Name(), "/", "-"), kind, local, time.Now().UnixNano())
	key := func(attribute string, role types.KeyType) types.KeySchemaElement {
		return types.KeySchemaElement{AttributeName: &attribute, KeyType: role}
	}
	in := &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{key("id", types.KeyTypeHash), key("n", types.KeyTypeRange)},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("id"), AttributeType: "S"},
			{AttributeName: aws.String("n"), AttributeType: "N"},
			{AttributeName: aws.String("at"), AttributeType: kind},
		},
		GlobalSecondaryIndexes: []types.GlobalSecondaryIndex{{
			IndexName: aws.String("byTime"), KeySchema: []types.KeySchemaElement{key("at", types.KeyTypeHash)},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeInclude, NonKeyAttributes: []string{"z", "a"}},
		}},
	}
	if local {
		in.LocalSecondaryIndexes = []types.LocalSecondaryIndex{{
			IndexName: aws.String("mine"), KeySchema: []types.KeySchemaElement{key("id", types.KeyTypeHash), key("at", types.KeyTypeRange)},
			Projection: &types.Projection{ProjectionType: types.ProjectionTypeAll},
		}}
	}
	if _, err := c.CreateTable(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := c.DeleteTable(context.WithoutCancel(t.Context()), &dynamodb.DeleteTableInput{TableName: &name}); err != nil {
			t.Error(err)
		}
	})
	return name
}

func TestDifferingIndexesAreListed(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	text, number := indexed(t, ts.engine, "S", true), indexed(t, ts.engine, "N", false)
	ts.source, ts.target = text, number
	ts.configured(
		verify.Setting{What: "local secondary indexes", Source: "mine (id S HASH, at S RANGE) ALL", Target: "none"},
		verify.Setting{
			What:   "global secondary indexes",
			Source: "byTime (at S HASH) INCLUDE a,z, on demand", Target: "byTime (at N HASH) INCLUDE a,z, on demand",
		},
		backups(true, true),
	)
	ts.source = indexed(t, ts.engine, "N", false)
	ts.configured(backups(true, true))
}

// What an index of the target can't serve yet, or no more, differs; one that is on its way out of the source is not expected.
func TestIndexState(t *testing.T) {
	t.Parallel()
	ts := newTables(t, testkit.TableSpec{Hash: "id:S"})
	ts.source, ts.target = indexed(t, ts.engine, "S", false), indexed(t, ts.engine, "S", false)
	state := func(fields object) testkit.Hook {
		return describing(func(table object) {
			for name, value := range fields {
				table["GlobalSecondaryIndexes"].([]any)[0].(object)[name] = value
			}
		})
	}
	const text = "byTime (at S HASH) INCLUDE a,z, on demand"
	for name, one := range map[string]struct {
		source, target object
		want           verify.Setting
	}{
		"served":                         {object{}, object{"IndexStatus": "UPDATING"}, verify.Setting{}},
		"being made":                     {object{}, object{"IndexStatus": "CREATING"}, verify.Setting{Source: text, Target: text + ", CREATING"}},
		"being made in both":             {object{"IndexStatus": "CREATING"}, object{"IndexStatus": "CREATING"}, verify.Setting{Source: text, Target: text + ", CREATING"}},
		"backfilling":                    {object{}, object{"IndexStatus": "CREATING", "Backfilling": true}, verify.Setting{Source: text, Target: text + ", CREATING, backfilling"}},
		"still backfilling":              {object{}, object{"Backfilling": true}, verify.Setting{Source: text, Target: text + ", backfilling"}},
		"being deleted":                  {object{}, object{"IndexStatus": "DELETING"}, verify.Setting{Source: text, Target: text + ", DELETING"}},
		"being made in the source":       {object{"IndexStatus": "CREATING", "Backfilling": true}, object{}, verify.Setting{}},
		"being deleted in the source":    {object{"IndexStatus": "DELETING"}, object{}, verify.Setting{Source: "none", Target: text}},
		"deleted there, and not in here": {object{"IndexStatus": "DELETING"}, object{"IndexStatus": "DELETING"}, verify.Setting{Source: "none", Target: text + ", DELETING"}},
	} {
		ts.sourceProxy.Use(state(one.source))
		ts.targetProxy.Use(state(one.target))
		result, _ := ts.verify(func(o *verify.Options) {
			o.Encryption, o.Strict, o.StrictExcept = "any", true, []string{"encryption", "point-in-time-recovery"}
		})
		one.want.What = "global secondary indexes"
		got := line(t, result, one.want.What)
		if differs := one.want.Source != ""; got.Differs() != differs || result.Passed == differs || !result.Match || differs && (got.Source != one.want.Source || got.Target != one.want.Target) {
			t.Errorf("%s: %+v, passed %t, configuration %+v", name, got, result.Passed, result.Configuration)
		}
	}
}

func TestConfigurationThatCanNotBeRead(t *testing.T) {
	t.Parallel()
	testkit.BadAnswers(t, "a status that is not known yet", "enum")
	ts := numbered(t, 2)
	refused := func(x *testkit.Exchange) *testkit.Response {
		switch x.Op {
		case "DescribeTimeToLive", "DescribeContinuousBackups", "ListTagsOfResource":
			return denied()
		}
		return nil
	}
	unchecked := func(source, target [2]string, backups verify.Setting) []verify.Setting {
		return []verify.Setting{
			{What: "time to live", Source: source[0], Target: target[0]}, backups, {What: "tags", Source: source[1], Target: target[1]},
		}
	}
	no, read := [2]string{"not checked", "not checked"}, [2]string{"off", "none"}
	ts.targetProxy.Use(refused)
	ts.configured(unchecked(read, no, backups(true, false))...)
	ts.sourceProxy.Use(refused)
	ts.configured(unchecked(no, no, backups(false, false))...)
	ts.targetProxy.Use(nil)
	ts.configured(unchecked(no, read, backups(false, true))...)

	// Answers that don't tell, or don't come.
	ts.sourceProxy.Use(nil)
	for name, hook := range map[string]testkit.Hook{
		"empty": func(x *testkit.Exchange) *testkit.Response {
			if x.Op == "DescribeTimeToLive" {
				return &testkit.Response{Body: []byte(`{}`)}
			}
			return nil
		},
		"unknown status": func(x *testkit.Exchange) *testkit.Response {
			if x.Op == "DescribeTimeToLive" {
				return &testkit.Response{Body: []byte(`{"TimeToLiveDescription":{"TimeToLiveStatus":"PERHAPS"}}`)}
			}
			return nil
		},
	} {
		t.Log(name)
		ts.sourceProxy.Use(hook)
		ts.targetProxy.Use(hook)
		ts.configured(verify.Setting{What: "time to live", Source: "not checked", Target: "not checked"}, backups(true, true))
	}
	ts.targetProxy.Use(nil)
	ts.sourceProxy.Use(on("DescribeTimeToLive", func(_ int, x *testkit.Exchange) *testkit.Response { <-x.Ctx.Done(); return nil }))
	ts.configured(unchecked(no, read, backups(false, true))...)
}

// TestBackups serves what this engine can't.
func TestBackups(t *testing.T) {
	t.Parallel()
	testkit.BadAnswers(t, "a status that is not known yet", "enum")
	ts := numbered(t, 2)
	recovery := func(status string) testkit.Hook {
		return on("DescribeContinuousBackups", func(int, *testkit.Exchange) *testkit.Response {
			return &testkit.Response{Body: fmt.Appendf(nil, `{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED",
				"PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":"%s"}}}`, status)}
		})
	}
	for _, one := range []struct{ source, target, sourceText, targetText string }{
		{"ENABLED", "DISABLED", "on", "off"},
		{"DISABLED", "ENABLED", "off", "on"},
		{"", "DISABLED", "not checked", "off"},
		{"NEW", "NEW", "not checked", "not checked"},
	} {
		ts.sourceProxy.Use(recovery(one.source))
		ts.targetProxy.Use(recovery(one.target))
		ts.configured(verify.Setting{What: "point-in-time recovery", Source: one.sourceText, Target: one.targetText})
	}
	ts.sourceProxy.Use(recovery("ENABLED"))
	ts.targetProxy.Use(recovery("ENABLED"))
	ts.configured()
}

// TestTags reads all pages of them, in any order, and leaves out those that only AWS can set.
func TestTags(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 2)
	pages := func(bodies ...string) testkit.Hook {
		return on("ListTagsOfResource", func(n int, _ *testkit.Exchange) *testkit.Response {
			return &testkit.Response{Body: []byte(bodies[(n-1)%len(bodies)])}
		})
	}
	ts.sourceProxy.Use(pages(
		`{"Tags":[{"Key":"b","Value":"2"},{"Key":"aws:cloudformation:stack-name","Value":"s"}],"NextToken":"more"}`,
		`{"Tags":[{"Key":"a","Value":"1"}],"NextToken":""}`))
	ts.targetProxy.Use(pages(`{"Tags":[{"Key":"a","Value":"1"},{"Key":"b","Value":"2"}]}`))
	ts.configured(backups(true, true))
	ts.targetProxy.Use(pages(`{"Tags":[{"Key":"a","Value":"1"}]}`))
	ts.configured(backups(true, true), verify.Setting{What: "tags", Source: "a=1; b=2", Target: "a=1"})
}

// describing changes what DescribeTable answers.
func describing(f func(table object)) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op != "DescribeTable" {
			return nil
		}
		return answer(x, func(body []byte) []byte { return change(body, func(o object) { f(o["Table"].(object)) }) })
	}
}

func encryptedBy(key string) testkit.Hook {
	return describing(func(table object) { table["SSEDescription"].(object)["KMSMasterKeyArn"] = key })
}

// line is one of the settings of a result.
func line(t *testing.T, result verify.Result, what string) verify.Setting {
	t.Helper()
	for _, s := range result.Settings {
		if s.What == what {
			return s
		}
	}
	t.Fatalf("no line %q", what)
	return verify.Setting{}
}

func TestEncryptionKeys(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 2)
	ts.sourceProxy.Use(encryptedBy("arn:aws:kms:eu-west-1:111122223333:key/one"))
	ts.targetProxy.Use(encryptedBy("arn:aws:kms:eu-west-1:111122223333:key/other"))
	result, _ := ts.verify()
	want := verify.Setting{
		What: "encryption", Source: "KMS, key arn:aws:kms:eu-west-1:111122223333:key/one", Target: "KMS, key arn:aws:kms:eu-west-1:111122223333:key/other",
		Consequence: "Whoever reads or writes the target must be allowed to use its key, which is not the source's.",
	}
	if got := line(t, result, "encryption"); got != want {
		t.Errorf("%+v", got)
	}
	ts.targetProxy.Use(encryptedBy("arn:aws:kms:eu-west-1:111122223333:key/one"))
	result, _ = ts.verify()
	if got := line(t, result, "encryption"); got.Differs() {
		t.Errorf("%+v", got)
	}
}

// A table on demand may have a limit, which throttles as provisioned units do.
func TestLimitOnDemand(t *testing.T) {
	t.Parallel()
	ts := numbered(t, 2)
	limited := func(read, write int) testkit.Hook {
		return describing(func(table object) {
			table["OnDemandThroughput"] = object{"MaxReadRequestUnits": read, "MaxWriteRequestUnits": write}
		})
	}
	ts.sourceProxy.Use(limited(-1, -1))
	ts.targetProxy.Use(limited(10, -1))
	ts.configured(verify.Setting{What: "billing", Source: "on demand", Target: "on demand, at most 10 read units"}, backups(true, true))
	ts.targetProxy.Use(limited(-1, -1))
	ts.configured(backups(true, true))
}

// Strict makes every difference of the configuration count, and whatever could not be checked, but for what was asked for and what is
// excepted. The items match all the while.
func TestStrict(t *testing.T) {
	t.Parallel()
	ts := tablesOf(t, testkit.TableSpec{Hash: "id:S", Plain: true}, testkit.TableSpec{Hash: "id:S"})
	recovery := on("DescribeContinuousBackups", func(int, *testkit.Exchange) *testkit.Response {
		return &testkit.Response{Body: []byte(`{"ContinuousBackupsDescription":{"ContinuousBackupsStatus":"ENABLED",
			"PointInTimeRecoveryDescription":{"PointInTimeRecoveryStatus":"ENABLED"}}}`)}
	})
	strict := func(except ...string) option {
		return func(o *verify.Options) { o.Strict, o.StrictExcept = true, except }
	}
	check := func(name string, passed bool, verdict string, change ...option) {
		t.Helper()
		result, _ := ts.verify(change...)
		if result.Passed != passed || !result.Match || result.Verdict() != verdict {
			t.Errorf("%s: passed %t, match %t, %q", name, result.Passed, result.Match, result.Verdict())
		}
	}
	const match = "MATCH: both tables hold the same items."
	const one = "NO MATCH: the items are the same, but 1 of the table configuration's lines differ or were not checked."
	check("not strict", true, match)
	denied := on("DescribeContinuousBackups", func(int, *testkit.Exchange) *testkit.Response {
		return testkit.Fail(400, "AccessDeniedException", "no")
	})
	ts.sourceProxy.Use(denied)
	ts.targetProxy.Use(denied)
	check("backups not checked", false, one, strict())
	check("excepted", true, match, strict("point-in-time-recovery"))
	ts.sourceProxy.Use(recovery)
	check("backups not checked in the target", false, one, strict())
	ts.targetProxy.Use(recovery)
	check("all checked, encryption was asked for", true, match, strict())
	check("encryption was not asked for", false, one, strict(), func(o *verify.Options) { o.Encryption = "any" })
	protect(t, ts.engine, ts.source)
	check("protection", false, one, strict())
	check("another is excepted", false, one, strict("tags"))
	check("excepted, in other words", true, match, strict("stream", " Deletion protection"))
	ts.putSource("id", "a", "v", 1)
	result, _ := ts.verify(strict())
	want := "NO MATCH: the tables do not hold the same items, and 1 of the table configuration's lines differ or were not checked."
	if result.Passed || result.Match || result.Verdict() != want {
		t.Errorf("%+v, %q", verdictOf(result), result.Verdict())
	}
	for _, change := range []option{strict("tag"), func(o *verify.Options) { o.StrictExcept = []string{"tags"} }} {
		if _, err := verify.Run(t.Context(), ts.options(change)); !refuse.Is(err) || !strings.Contains(err.Error(), "--strict") {
			t.Errorf("%v", err)
		}
	}
}
