package contract

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
)

// kit is a contract of which every violation is kept.
type kit struct {
	*testing.T
	contract *Contract
	found    []Violation
}

// installed are the models, for all tests.
var installed = sync.OnceValues(func() (*Models, error) { return Install(context.Background(), os.Stderr) })

func newKit(t *testing.T) *kit {
	t.Helper()
	models, err := installed()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return &kit{T: t, contract: New(models, &Tables{})}
}

func (k *kit) report(v Violation) { k.found = append(k.found, v) }

const authorization = "AWS4-HMAC-SHA256 Credential=test/20260101/%s/%s/aws4_request, SignedHeaders=host, Signature=none"

// send sends the request of a JSON protocol.
func (k *kit) send(target, body string) *Call { return k.sendTo("us-east-1", target, body) }

func (k *kit) sendTo(region, target, body string) *Call {
	header := http.Header{}
	header.Set("X-Amz-Target", target)
	header.Set("Content-Type", "application/x-amz-json-1.0")
	header.Set("Authorization", fmt.Sprintf(authorization, region, "dynamodb"))
	return k.contract.Request(http.MethodPost, &url.URL{Path: "/"}, header, []byte(body), k.report)
}

// want compares the violations with the one that is wanted; with no rule, with none.
func (k *kit) want(side Side, path string, rule Rule) {
	k.Helper()
	if rule == "" {
		if len(k.found) > 0 {
			k.Errorf("nothing is wrong, but found: %v", k.found)
		}
		return
	}
	if len(k.found) != 1 || k.found[0].Path != path || k.found[0].Rule != rule || k.found[0].Side != side {
		k.Errorf("found %v, want %s at %q", k.found, rule, path)
	}
	for _, v := range k.found {
		if strings.Contains(v.String(), secret) {
			k.Errorf("%s: it holds what is in an item", v)
		}
	}
}

const secret = "hush"

// learn lets the contract know the table "orders" with the key a (S), b (N) and an index's c (B).
func (k *kit) learn() {
	call := k.send("DynamoDB_20120810.DescribeTable", `{"TableName":"orders"}`)
	call.Answer(200, []byte(`{"Table":{"TableName":"orders","TableStatus":"ACTIVE","KeySchema":[{"AttributeName":"b","KeyType":"RANGE"},
		{"AttributeName":"a","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"a","AttributeType":"S"},
		{"AttributeName":"b","AttributeType":"N"},{"AttributeName":"c","AttributeType":"B"}]}}`))
}

const (
	ddb     = "DynamoDB_20120810."
	streams = "DynamoDBStreams_20120810."
)

// put is a PutItem with one more attribute.
func put(value string) string {
	return `{"TableName":"orders","Item":{"a":{"S":"hush"},"b":{"N":"1"},"v":` + value + `}}`
}

func get(key string) string { return `{"TableName":"orders","Key":` + key + `}` }

// repeated joins n texts, in which %d is their number.
func repeated(n int, text string) string {
	var all []string
	for i := range n {
		all = append(all, strings.ReplaceAll(text, "%d", fmt.Sprint(i)))
	}
	return strings.Join(all, ",")
}

// nested is a value with so many lists around it.
func nested(n int) string {
	return strings.Repeat(`{"L":[`, n) + `{"S":"hush"}` + strings.Repeat(`]}`, n)
}

func text(n int) string { return strings.Repeat("x", n) }

func blob(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

type requestCase struct {
	op, right, wrong string
	path             string // of the wrong one's violation
}

func requests() map[Rule][]requestCase {
	return map[Rule][]requestCase{
		JSON: {
			{ddb + "GetItem", get(`{"a":{"S":"hush"},"b":{"N":"1"}}`), get(`{"a":{"S":"hush"},"b":{"N":"1"}`), ""},
			{ddb + "GetItem", get(`{"a":{"S":"hüsh"},"b":{"N":"1"}}`), get("{\"a\":{\"S\":\"h\xffsh\"},\"b\":{\"N\":\"1\"}}"), ""},
		},
		Member: {
			{ddb + "DescribeTable", `{"TableName":"orders"}`, `{"TableName":"orders","tableName":"hush"}`, "?"},
			{ddb + "PutItem", put(`{"S":"hush"}`), put(`{"s":"hush"}`), "Item.*.?"},
			{streams + "DescribeStream", `{"StreamArn":"` + text(40) + `"}`, `{"StreamArn":"` + text(40) + `","TableName":"orders"}`, "?"},
		},
		Duplicate: {
			{ddb + "DescribeTable", `{"TableName":"orders"}`, `{"TableName":"orders","TableName":"orders"}`, "TableName"},
			{ddb + "PutItem", put(`{"M":{"x":{"S":"hush"},"y":{"S":"hush"}}}`), put(`{"M":{"x":{"S":"hush"},"x":{"S":"hush"}}}`), "Item.*.M.*"},
			{ddb + "PutItem", put(`{"M":{` + repeated(20, `"%d":{"S":""}`) + `}}`), put(`{"M":{` + repeated(20, `"%d":{"S":""}`) + `,"0":{"S":"hush"}}}`), "Item.*.M.*"},
			{ddb + "PutItem", put(`{"S":""},"w":{"S":""}`), put(`{"S":""},"v":{"S":""}`), "Item.*"},
			{
				ddb + "BatchGetItem", `{"RequestItems":{"orders":{"Keys":[{"a":{"S":"x"},"b":{"N":"1"}}]},"other":{"Keys":[{"a":{"S":"x"}}]}}}`,
				`{"RequestItems":{"other":{"Keys":[{"a":{"S":"y"}}]},"other":{"Keys":[{"a":{"S":"x"}}]}}}`, "RequestItems.*",
			},
		},
		Type: {
			{ddb + "Scan", `{"TableName":"orders","Limit":1}`, `{"TableName":"orders","Limit":"1"}`, "Limit"},
			{ddb + "Scan", `{"TableName":"orders","Limit":10}`, `{"TableName":"orders","Limit":1.5}`, "Limit"},
			{ddb + "Scan", `{"TableName":"orders","ConsistentRead":true}`, `{"TableName":"orders","ConsistentRead":null}`, "ConsistentRead"},
			{ddb + "PutItem", put(`{"N":"1"}`), put(`{"N":1}`), "Item.*.N"},
			{ddb + "PutItem", put(`{"B":"aHVzaA=="}`), put(`{"B":"aHVzaA"}`), "Item.*.B"},
			{ddb + "PutItem", put(`{"BOOL":false}`), put(`{"BOOL":"false"}`), "Item.*.BOOL"},
			{ddb + "PutItem", put(`{"NULL":true}`), put(`{"NULL":false}`), "Item.*.NULL"},
			{ddb + "PutItem", put(`{"SS":["hush"]}`), put(`{"SS":"hush"}`), "Item.*.SS"},
			{ddb + "PutItem", put(`{"L":[]}`), put(`{"L":{}}`), "Item.*.L"},
			{ddb + "PutItem", put(`{"M":{}}`), put(`{"M":[]}`), "Item.*.M"},
			{"TrentService.Encrypt", `{"KeyId":"k","Plaintext":"aHVzaA=="}`, `{"KeyId":"k","Plaintext":"hush!"}`, "Plaintext"},
		},
		Required: {
			{ddb + "Scan", `{"TableName":"orders"}`, `{}`, "TableName"},
			{ddb + "CreateTable", `{"TableName":"orders","KeySchema":[{"AttributeName":"a","KeyType":"HASH"}]}`, `{"TableName":"orders","KeySchema":[{"AttributeName":"a"}]}`, "KeySchema[0].KeyType"},
			{"TrentService.DescribeKey", `{"KeyId":"k"}`, `{}`, "KeyId"},
		},
		Length: {
			{ddb + "BatchGetItem", `{"RequestItems":{"orders":{"Keys":[{"a":{"S":"x"},"b":{"N":"1"}}]}}}`, `{"RequestItems":{"orders":{"Keys":[]}}}`, "RequestItems.*.Keys"},
			{ddb + "BatchWriteItem", `{"RequestItems":{"orders":[` + repeated(25, `{"DeleteRequest":{"Key":{"a":{"S":"x"},"b":{"N":"%d"}}}}`) + `]}}`, `{"RequestItems":{}}`, "RequestItems"},
			{ddb + "ListTables", `{"ExclusiveStartTableName":"orders"}`, `{"ExclusiveStartTableName":"or"}`, "ExclusiveStartTableName"},
			{streams + "GetRecords", `{"ShardIterator":"i"}`, `{"ShardIterator":""}`, "ShardIterator"},
			{"TrentService.Encrypt", `{"KeyId":"k","Plaintext":"` + blob(4096) + `"}`, `{"KeyId":"k","Plaintext":"` + blob(4097) + `"}`, "Plaintext"},
		},
		Range: {
			{ddb + "Scan", `{"TableName":"orders","Limit":1}`, `{"TableName":"orders","Limit":0}`, "Limit"},
			{ddb + "Scan", `{"TableName":"orders","Segment":0,"TotalSegments":1000000}`, `{"TableName":"orders","Segment":0,"TotalSegments":1000001}`, "TotalSegments"},
		},
		Pattern: {
			{ddb + "CreateBackup", `{"TableName":"orders","BackupName":"or-1"}`, `{"TableName":"orders","BackupName":"or/1"}`, "BackupName"},
			{ddb + "ListTables", `{"ExclusiveStartTableName":"orders"}`, `{"ExclusiveStartTableName":"orders\n"}`, "ExclusiveStartTableName"},
			{"AnyScaleFrontendService.DescribeScalableTargets", `{"ServiceNamespace":"dynamodb","ResourceIds":["table/😀"]}`, `{"ServiceNamespace":"dynamodb","ResourceIds":["table/\u0000"]}`, "ResourceIds[0]"},
		},
		Enum: {
			{ddb + "Scan", `{"TableName":"orders","ReturnConsumedCapacity":"TOTAL"}`, `{"TableName":"orders","ReturnConsumedCapacity":"total"}`, "ReturnConsumedCapacity"},
			{streams + "GetShardIterator", iterator("TRIM_HORIZON"), iterator("OLDEST"), "ShardIteratorType"},
		},
		RequestSize: {
			{ddb + "ListTables", `{}` + strings.Repeat(" ", 16<<20-2), `{}` + strings.Repeat(" ", 16<<20-1), ""},
		},
		BatchCount: {
			{ddb + "BatchGetItem", gets(50, 50), gets(50, 51), ""},
			{ddb + "BatchWriteItem", deletes(12, 13), deletes(13, 13), ""},
		},
		UniqueKeys: {
			{ddb + "BatchGetItem", two(`{"a":{"S":"x"},"b":{"N":"1"}}`, `{"a":{"S":"x"},"b":{"N":"10"}}`), two(`{"a":{"S":"x"},"b":{"N":"1"}}`, `{"b":{"N":"1.0"},"a":{"S":"\u0078"}}`), "RequestItems.*.Keys[1]"},
			{ddb + "BatchGetItem", strings.ReplaceAll(two(`{"k":{"S":"x"}}`, `{"k":{"S":"y"}}`), "orders", "unknown"), strings.ReplaceAll(two(`{"k":{"S":"x"}}`, `{"k":{"S":"x"}}`), "orders", "unknown"), "RequestItems.*.Keys[1]"},
			{ddb + "BatchWriteItem", writes(`"x"`, `"y"`), writes(`"x"`, `"x"`), "RequestItems.*[1].DeleteRequest.Key"},
		},
		ItemSize: {
			// a 1 hush 4, b 1 and 2, v 1: 9 bytes beside the value.
			{ddb + "PutItem", put(`{"S":"` + text(400<<10-9) + `"}`), put(`{"S":"` + text(400<<10-8) + `"}`), "Item"},
			{ddb + "PutItem", put(`{"B":"` + blob(400<<10-9) + `"}`), put(`{"B":"` + blob(400<<10-8) + `"}`), "Item"},
			{ddb + "PutItem", put(`{"M":{"n":{"S":"` + text(400<<10-14) + `"}}}`), put(`{"M":{"n":{"S":"` + text(400<<10-13) + `"}}}`), "Item"},
			{ddb + "PutItem", put(`{"L":[{"NULL":true},{"BOOL":true},{"S":"` + text(400<<10-17) + `"}]}`), put(`{"L":[{"NULL":true},{"BOOL":true},{"S":"` + text(400<<10-16) + `"}]}`), "Item"},
			{ddb + "PutItem", put(`{"SS":["` + text(400<<10-12) + `","abc"]}`), put(`{"SS":["` + text(400<<10-12) + `","abcd"]}`), "Item"},
		},
		OneValue: {
			{ddb + "PutItem", put(`{"S":"hush"}`), put(`{"S":"hush","N":"1"}`), "Item.*"},
			{ddb + "PutItem", put(`{"S":"hush"}`), put(`{}`), "Item.*"},
			{ddb + "BatchWriteItem", writes(`"x"`, `"y"`), `{"RequestItems":{"orders":[{}]}}`, "RequestItems.*[0]"},
		},
		Number: {
			{ddb + "PutItem", put(`{"N":"` + strings.Repeat("9", 38) + `000"}`), put(`{"N":"` + strings.Repeat("9", 39) + `"}`), "Item.*.N"},
			{ddb + "PutItem", put(`{"N":"9.9E125"}`), put(`{"N":"1E126"}`), "Item.*.N"},
			{ddb + "PutItem", put(`{"N":"-1E-130"}`), put(`{"N":"-9.9E-131"}`), "Item.*.N"},
			{ddb + "PutItem", put(`{"N":".5"}`), put(`{"N":"."}`), "Item.*.N"},
			{ddb + "PutItem", put(`{"N":"0E500"}`), put(`{"N":"0x5"}`), "Item.*.N"},
			{ddb + "PutItem", put(`{"NS":["1e+2"]}`), put(`{"NS":["1e"]}`), "Item.*.NS[0]"},
			{ddb + "PutItem", put(`{"N":"1"}`), put(`{"N":" 1"}`), "Item.*.N"},
		},
		Set: {
			{ddb + "PutItem", put(`{"SS":[""]}`), put(`{"SS":[]}`), "Item.*.SS"},
			{ddb + "PutItem", put(`{"SS":["a","b"]}`), put(`{"SS":["a","b","\u0061"]}`), "Item.*.SS[2]"},
			{ddb + "PutItem", put(`{"NS":["1","10"]}`), put(`{"NS":["10","1E1"]}`), "Item.*.NS[1]"},
			{ddb + "PutItem", put(`{"BS":["AA==","AQ=="]}`), put(`{"BS":["AA==","AA=="]}`), "Item.*.BS[1]"},
		},
		Depth: {
			{ddb + "PutItem", put(nested(32)), put(nested(33)), "Item.*" + strings.Repeat(".L[0]", 33)},
		},
		Key: {
			{ddb + "PutItem", put(`{"S":"hush"}`), `{"TableName":"orders","Item":{"a":{"S":"hush"}}}`, "Item"},
			{ddb + "GetItem", get(`{"a":{"S":"x"},"b":{"N":"1"}}`), get(`{"a":{"S":"x"},"b":{"S":"1"}}`), "Key"},
			{
				ddb + "DeleteItem", strings.Replace(get(`{"a":{"S":"x"},"b":{"N":"1"}}`), "orders", "arn:aws:dynamodb:us-east-1:000000000000:table/orders", 1),
				strings.Replace(get(`{"b":{"N":"1"}}`), "orders", "arn:aws:dynamodb:us-east-1:000000000000:table/orders", 1), "Key",
			},
		},
		KeyOnly: {
			{ddb + "GetItem", get(`{"a":{"S":"x"},"b":{"N":"1"}}`), get(`{"a":{"S":"x"},"b":{"N":"1"},"c":{"B":"AA=="}}`), "Key"},
			{ddb + "Scan", scan(0, 1, `"b":{"N":"1"}`), scan(0, 1, `"b":{"N":"1"},"c":{"B":"AA=="}`), "ExclusiveStartKey"},
			{
				ddb + "Query", `{"TableName":"orders","IndexName":"by-c","ExclusiveStartKey":{"a":{"S":"x"},"b":{"N":"1"},"c":{"B":"AA=="}}}`,
				`{"TableName":"orders","IndexName":"by-c","ExclusiveStartKey":{"a":{"S":"x"},"b":{"N":"1"},"d":{"B":"AA=="}}}`, "ExclusiveStartKey",
			},
		},
		KeySize: {
			{ddb + "GetItem", get(`{"a":{"S":"` + text(2048) + `"},"b":{"N":"1"}}`), get(`{"a":{"S":"` + text(2049) + `"},"b":{"N":"1"}}`), "Key"},
			{ddb + "PutItem", put(`{"S":""}`), `{"TableName":"orders","Item":{"a":{"S":""},"b":{"N":"1"}}}`, "Item"},
		},
		Segment: {
			{ddb + "Scan", `{"TableName":"orders","Segment":1,"TotalSegments":2}`, `{"TableName":"orders","Segment":2,"TotalSegments":2}`, ""},
			{ddb + "Scan", `{"TableName":"orders"}`, `{"TableName":"orders","Segment":0}`, ""},
			{ddb + "Scan", `{"TableName":"orders"}`, `{"TableName":"orders","TotalSegments":2}`, ""},
		},
		StartKey: {
			{ddb + "Scan", scan(3, 4, `"b":{"N":"7"}`), scan(2, 4, `"b":{"N":"7"}`), "ExclusiveStartKey"},
			{ddb + "Scan", scan(1, 2, `"b":{"N":"7"}`), scan(0, 4, `"b":{"N":"7.0"}`), "ExclusiveStartKey"},
		},
		TableName: {
			{ddb + "Scan", `{"TableName":"ord"}`, `{"TableName":"or"}`, "TableName"},
			{ddb + "Scan", `{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/orders"}`, `{"TableName":"` + text(256) + `"}`, "TableName"},
			{ddb + "BatchGetItem", `{"RequestItems":{"ord":{"Keys":[{"a":{"S":"x"}}]}}}`, `{"RequestItems":{"or":{"Keys":[{"a":{"S":"x"}}]}}}`, "RequestItems.*"},
		},
		RecordLimit: {
			{streams + "GetRecords", `{"ShardIterator":"i","Limit":1000}`, `{"ShardIterator":"i","Limit":1001}`, ""},
		},
		Expression: {
			{
				ddb + "Scan", `{"TableName":"orders","FilterExpression":"#n = :v","ExpressionAttributeNames":{"#n":"x"},"ExpressionAttributeValues":{":v":{"S":"hush"}}}`,
				`{"TableName":"orders","FilterExpression":"#n = :v","ExpressionAttributeNames":{"#n":"x"}}`, "",
			},
			{
				ddb + "Scan", `{"TableName":"orders","ProjectionExpression":"#n","ExpressionAttributeNames":{"#n":"x"}}`,
				`{"TableName":"orders","ProjectionExpression":"n","ExpressionAttributeNames":{"#n":"x"}}`, "",
			},
			{ddb + "Scan", `{"TableName":"orders","ProjectionExpression":"` + text(4096) + `"}`, `{"TableName":"orders","ProjectionExpression":"` + text(4097) + `"}`, ""},
		},
		Service: {
			{ddb + "Scan", `{"TableName":"orders"}`, "", ""}, // the wrong one is in TestProtocols
		},
	}
}

func iterator(kind string) string {
	return `{"StreamArn":"` + text(40) + `","ShardId":"` + text(40) + `","ShardIteratorType":"` + kind + `"}`
}

func gets(n, m int) string {
	keys := func(n int) string { return `{"Keys":[` + repeated(n, `{"a":{"S":"x"},"b":{"N":"%d"}}`) + `]}` }
	return `{"RequestItems":{"orders":` + keys(n) + `,"others":` + keys(m) + `}}`
}

func deletes(n, m int) string {
	keys := func(n int) string {
		return `[` + repeated(n, `{"DeleteRequest":{"Key":{"a":{"S":"x"},"b":{"N":"%d"}}}}`) + `]`
	}
	return `{"RequestItems":{"orders":` + keys(n) + `,"others":` + keys(m) + `}}`
}

func two(one, other string) string {
	return `{"RequestItems":{"orders":{"Keys":[` + one + `,` + other + `]}}}`
}

func writes(one, other string) string {
	return `{"RequestItems":{"orders":[{"PutRequest":{"Item":{"a":{"S":` + one + `},"b":{"N":"1"},"v":{"S":"hush"}}}},
		{"DeleteRequest":{"Key":{"a":{"S":` + other + `},"b":{"N":"1"}}}}]}}`
}

func scan(segment, total int, sort string) string {
	return fmt.Sprintf(`{"TableName":"orders","Segment":%d,"TotalSegments":%d,"ExclusiveStartKey":{"a":{"S":"hush"},%s}}`, segment, total, sort)
}

// TestRequests has a right request and a wrong one for each rule, so that a rule that is left out is missed.
func TestRequests(t *testing.T) {
	all := requests()
	for rule, cases := range all {
		for i, test := range cases {
			t.Run(fmt.Sprintf("%s %d", rule, i), func(t *testing.T) {
				k := newKit(t)
				k.learn()
				// A page of the segment 3 of 4 has ended at this key.
				k.send(ddb+"Scan", `{"TableName":"orders","Segment":3,"TotalSegments":4}`).
					Answer(200, []byte(`{"Items":[],"Count":0,"LastEvaluatedKey":{"a":{"S":"hush"},"b":{"N":"7"}}}`))
				k.send(test.op, test.right)
				k.want(Request, "", "")
				if test.wrong != "" {
					k.send(test.op, test.wrong)
					k.want(Request, test.path, rule)
				}
			})
		}
	}
	for _, rule := range Rules {
		if len(all[rule]) == 0 && rule != Exception {
			t.Errorf("the rule %q has no request", rule)
		}
	}
}

// TestSortKeySize is apart, since the sort key of the other tests is a number.
func TestSortKeySize(t *testing.T) {
	k := newKit(t)
	k.send(ddb+"DescribeTable", `{"TableName":"orders"}`).Answer(200, []byte(`{"Table":{"TableName":"orders","KeySchema":[
		{"AttributeName":"a","KeyType":"HASH"},{"AttributeName":"b","KeyType":"RANGE"}],"AttributeDefinitions":[
		{"AttributeName":"a","AttributeType":"S"},{"AttributeName":"b","AttributeType":"B"}]}}`))
	k.send(ddb+"GetItem", get(`{"a":{"S":"x"},"b":{"B":"`+blob(1024)+`"}}`))
	k.want(Request, "", "")
	k.send(ddb+"GetItem", get(`{"a":{"S":"x"},"b":{"B":"`+blob(1025)+`"}}`))
	k.want(Request, "Key", KeySize)
}

// TestAnswers has right and wrong answers. What a model says of lengths and ranges the service itself doesn't keep to.
func TestAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		op, request, answer string
		status              int
		path                string
		rule                Rule
	}{
		"right":               {ddb + "Scan", `{"TableName":"orders"}`, `{"Items":[{"v":{"S":"hush"}}],"Count":1,"LastEvaluatedKey":{"a":{"S":"x"},"b":{"N":"1"}}}`, 200, "", ""},
		"nothing unprocessed": {ddb + "BatchWriteItem", writes(`"x"`, `"y"`), `{"UnprocessedItems":{}}`, 200, "", ""},
		"no decreases":        {ddb + "DescribeTable", `{"TableName":"orders"}`, `{"Table":{"ProvisionedThroughput":{"NumberOfDecreasesToday":0}}}`, 200, "", ""},
		"null":                {ddb + "Scan", `{"TableName":"orders"}`, `{"Items":[],"LastEvaluatedKey":null}`, 200, "", ""},
		"type":                {ddb + "Scan", `{"TableName":"orders"}`, `{"Items":[],"Count":"hush"}`, 200, "Count", Type},
		"member":              {ddb + "Scan", `{"TableName":"orders"}`, `{"Items":[],"Counts":1}`, 200, "Counts", Member},
		"enum":                {ddb + "DescribeTable", `{"TableName":"orders"}`, `{"Table":{"TableStatus":"hush"}}`, 200, "Table.TableStatus", Enum},
		"required":            {"AnyScaleFrontendService.DescribeScalableTargets", `{"ServiceNamespace":"dynamodb"}`, `{"ScalableTargets":[{}]}`, 200, "", Required},
		"value":               {streams + "GetRecords", `{"ShardIterator":"i"}`, `{"Records":[{"dynamodb":{"NewImage":{"v":{"N":"hush"}}}}]}`, 200, "Records[0].dynamodb.NewImage.*.N", Number},
		"no JSON":             {ddb + "Scan", `{"TableName":"orders"}`, `{"Items":["hush"`, 200, "", JSON},
		"position":            {ddb + "Scan", `{"TableName":"orders"}`, `{"Items":[],"LastEvaluatedKey":{"a":{"S":"hush"}}}`, 200, "LastEvaluatedKey", Key},
		"error":               {ddb + "Scan", `{"TableName":"orders"}`, `{"__type":"com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException","message":"hush"}`, 400, "", ""},
		"common error":        {ddb + "Scan", `{"TableName":"orders"}`, `{"__type":"com.amazon.coral.validate#ValidationException","message":"hush"}`, 400, "", ""},
		"no error":            {ddb + "Scan", `{"TableName":"orders"}`, `{"message":"hush"}`, 400, "", Exception},
		"another's error":     {streams + "GetRecords", `{"ShardIterator":"i"}`, `{"__type":"ProvisionedThroughputExceededException"}`, 400, "", Exception},
		"error, no JSON":      {ddb + "Scan", `{"TableName":"orders"}`, `hush`, 400, "", JSON},
		"gateway":             {ddb + "Scan", `{"TableName":"orders"}`, `<html>`, 503, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			k.learn()
			k.send(test.op, test.request).Answer(test.status, []byte(test.answer))
			if test.rule == Required { // of many members
				if len(k.found) == 0 || k.found[0].Rule != Required || k.found[0].Side != Answer {
					t.Errorf("found %v", k.found)
				}
				return
			}
			k.want(Answer, test.path, test.rule)
		})
	}
}

// TestProtocols has the ways in which an operation is named, and what is read of each.
func TestProtocols(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for name, test := range map[string]struct {
		service, method, uri, target, kind, body string
		operation, path                          string
		rule                                     Rule
	}{
		"JSON":              {"kms", "POST", "/", "TrentService.DescribeKey", "application/x-amz-json-1.1", `{"KeyId":"k"}`, "DescribeKey", "", ""},
		"states":            {"states", "POST", "/", "AWSStepFunctions.DescribeExecution", "application/x-amz-json-1.0", `{}`, "DescribeExecution", "executionArn", Required},
		"sqs":               {"sqs", "POST", "/", "AmazonSQS.SendMessage", "application/x-amz-json-1.0", `{"QueueUrl":"q"}`, "SendMessage", "MessageBody", Required},
		"another's":         {"dynamodb", "POST", "/", "DynamoDB_20120810.GetRecords", "application/x-amz-json-1.0", `{}`, "", "", Service},
		"content":           {"dynamodb", "POST", "/", "DynamoDB_20120810.ListTables", "text/plain", `{}`, "ListTables", "Content-Type", Service},
		"query":             {"sts", "POST", "/", "", form, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=reseal&DurationSeconds=900", "AssumeRole", "", ""},
		"query, range":      {"sts", "POST", "/", "", form, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=reseal&DurationSeconds=899", "AssumeRole", "DurationSeconds", Range},
		"query, type":       {"sts", "POST", "/", "", form, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=reseal&DurationSeconds=hush", "AssumeRole", "DurationSeconds", Type},
		"query, pattern":    {"sts", "POST", "/", "", form, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=re/seal", "AssumeRole", "RoleSessionName", Pattern},
		"query, list":       {"sts", "POST", "/", "", form, "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::000000000000:role/r&RoleSessionName=reseal&Tags.member.1.Key=k", "AssumeRole", "Tags[0].Value", Required},
		"query, member":     {"sts", "POST", "/", "", form, "Action=GetCallerIdentity&Version=2011-06-15&RoleArn=hush", "GetCallerIdentity", "?", Member},
		"query, twice":      {"sts", "POST", "/", "", form, "Action=GetAccessKeyInfo&Version=2011-06-15&AccessKeyId=AKIAIOSFODNN7EXAMPLE&AccessKeyId=AKIAIOSFODNN7EXAMPLE", "GetAccessKeyInfo", "", Duplicate},
		"query, action":     {"sts", "POST", "/", "", form, "Action=AssumeRoles&Version=2011-06-15", "", "", Service},
		"cloudwatch, form":  {"monitoring", "POST", "/", "", form, "Action=PutMetricData&Version=2010-08-01&Namespace=" + text(256), "PutMetricData", "Namespace", Length},
		"cloudwatch, JSON":  {"monitoring", "POST", "/", "GraniteServiceVersion20100801.PutMetricData", "application/x-amz-json-1.0", `{}`, "PutMetricData", "Namespace", Required},
		"cloudwatch, CBOR":  {"monitoring", "POST", "/service/GraniteServiceVersion20100801/operation/PutMetricData", "", "application/cbor", "\xa0", "PutMetricData", "", ""},
		"lambda":            {"lambda", "GET", "/2015-03-31/functions/f/configuration", "", "", "", "GetFunctionConfiguration", "", ""},
		"lambda, query":     {"lambda", "GET", "/2015-03-31/event-source-mappings/?MaxItems=0", "", "", "", "ListEventSourceMappings", "MaxItems", Range},
		"lambda, parameter": {"lambda", "GET", "/2015-03-31/event-source-mappings/?Most=1", "", "", "", "ListEventSourceMappings", "?", Member},
		"lambda, URI":       {"lambda", "GET", "/2015-03-31/functions/a%20b", "", "", "", "GetFunction", "FunctionName", Pattern},
		"lambda, body":      {"lambda", "PUT", "/2015-03-31/event-source-mappings/00000000-0000-0000-0000-000000000000/", "", "application/json", `{"BatchSize":10001}`, "UpdateEventSourceMapping", "BatchSize", Range},
		"lambda, nothing":   {"lambda", "PATCH", "/nothing", "", "", "", "", "", Service},
		"s3":                {"s3", "GET", "/bucket/a/b?versionId=1", "", "", "", "GetObject", "", ""},
		"s3, query":         {"s3", "GET", "/bucket?list-type=2&max-keys=many", "", "", "", "ListObjectsV2", "MaxKeys", Type},
		"unknown":           {"cloudformation", "POST", "/", "", form, "Action=DescribeStacks&Version=2010-05-15", "", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t)
			uri, err := url.Parse("http://localhost" + test.uri)
			if err != nil {
				t.Fatal(err)
			}
			header := http.Header{}
			for name, value := range map[string]string{"X-Amz-Target": test.target, "Content-Type": test.kind, "Authorization": fmt.Sprintf(authorization, "us-east-1", test.service)} {
				if value != "" {
					header.Set(name, value)
				}
			}
			call := k.contract.Request(test.method, uri, header, []byte(test.body), k.report)
			if call.Operation() != test.operation {
				t.Errorf("operation %q, want %q", call.Operation(), test.operation)
			}
			k.want(Request, test.path, test.rule)
		})
	}
}

// TestTablesAreForgotten has a table that is made anew with another key, and one of the same name in another Region.
func TestTablesAreForgotten(t *testing.T) {
	k := newKit(t)
	k.learn()
	k.send(ddb+"DeleteTable", `{"TableName":"orders"}`).Answer(200, []byte(`{"TableDescription":{"TableName":"orders","KeySchema":[{"AttributeName":"a","KeyType":"HASH"}]}}`))
	k.send(ddb+"GetItem", get(`{"k":{"S":"x"}}`))
	k.learn()
	k.sendTo("eu-west-1", ddb+"GetItem", get(`{"k":{"S":"x"}}`))
	k.send(ddb+"CreateTable", `{"TableName":"orders"}`).Answer(200, []byte(`{"TableDescription":{"TableName":"orders",
		"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}],"AttributeDefinitions":[{"AttributeName":"k","AttributeType":"S"}]}}`))
	k.send(ddb+"GetItem", get(`{"k":{"S":"x"}}`))
	k.want(Request, "", "")
	k.send(ddb+"GetItem", get(`{"a":{"S":"x"}}`))
	if len(k.found) == 0 {
		t.Error("the key of the new table isn't known")
	}
}

// TestUncheckedPatterns lists the patterns that Go's regular expressions don't have.
func TestUncheckedPatterns(t *testing.T) {
	k := newKit(t)
	got := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(services)) {
		s, err := k.contract.models.service(name)
		if err != nil {
			t.Fatal(err)
		}
		if len(s.unchecked) > 0 {
			got[name] = s.unchecked
		}
	}
	want := map[string][]string{ // look-ahead and look-behind
		"application-autoscaling": {"ScheduledActionName"},
		"lambda":                  {"Alias", "CollectionName", "FunctionUrlFunctionName", "FunctionUrlQualifier", "S3Bucket"},
		"stepfunctions":           {"CharacterRestrictedName"},
	}
	if !maps.EqualFunc(got, want, slices.Equal) {
		t.Errorf("unchecked are %v, want %v", got, want)
	}
}

// TestViolationsAreFew: a body that is all wrong is not reported a thousand times.
func TestViolationsAreFew(t *testing.T) {
	k := newKit(t)
	k.send(ddb+"PutItem", `{"TableName":"orders","Item":{`+repeated(1000, `"%d":{"N":"hush"}`)+`}}`)
	if len(k.found) != mostReported {
		t.Errorf("%d are reported, want %d", len(k.found), mostReported)
	}
}
