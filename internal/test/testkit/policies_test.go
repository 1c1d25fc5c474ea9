package testkit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

const account = "arn:aws:iam::000000000000:"

// playedCallers are those of these tests, by access key.
var playedCallers = map[string]string{
	"operator": account + "user/operator", "app": "arn:aws:sts::000000000000:assumed-role/app/one",
	"app2": "arn:aws:sts::000000000000:assumed-role/app/two", "outside": account + "role/outside", "root": account + "root",
}

// played is a table behind policies, with a clock that only the test moves.
type played struct {
	*Policies
	t          *testing.T
	front      *Proxy
	table, arn string

	mu  sync.Mutex
	now time.Time
}

func play(t *testing.T) *played {
	t.Helper()
	p := &played{t: t, Policies: NewPolicies(t, playedCallers), now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)}
	p.SetClock(func() time.Time { p.mu.Lock(); defer p.mu.Unlock(); return p.now })
	db := Client(Engine(t))
	p.table = CreateTable(t, db, TableSpec{Hash: "id:S", Index: "n:N"})
	p.front = p.Proxy(Engine(t), nil)
	out, err := db.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: &p.table})
	if err != nil {
		t.Fatal(err)
	}
	p.arn = *out.Table.TableArn
	return p
}

func (p *played) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

// put attaches a policy; expected "" is none.
func (p *played) put(policy, expected string) (string, error) {
	in := &dynamodb.PutResourcePolicyInput{ResourceArn: &p.arn, Policy: &policy}
	if expected != "" {
		in.ExpectedRevisionId = &expected
	}
	out, err := ClientAs(p.front.URL, "operator").PutResourcePolicy(p.t.Context(), in)
	if err != nil {
		return "", err
	}
	return *out.RevisionId, nil
}

// mustPut attaches a policy of one statement that denies the actions to all but the operator.
func (p *played) mustPut(actions string) string {
	p.t.Helper()
	id, err := p.put(fence(p.arn, actions), "")
	if err != nil {
		p.t.Fatal(err)
	}
	return id
}

func fence(arn, actions string) string {
	return fmt.Sprintf(`{"Statement":{"Effect":"Deny","Principal":"*","Action":[%s],"Resource":["%s","%[2]s/index/*"],`+
		`"Condition":{"ArnNotEquals":{"aws:PrincipalArn":"%suser/operator"}}}}`, actions, arn, account)
}

// denied puts an item and tells whether that was denied.
func (p *played) denied(key string) bool {
	p.t.Helper()
	_, err := ClientAs(p.front.URL, key).PutItem(p.t.Context(), &dynamodb.PutItemInput{TableName: &p.table, Item: Item("id", "a", "n", 1)})
	if err != nil && code(err) != "AccessDeniedException" {
		p.t.Fatal(err)
	}
	return err != nil
}

// code is that of the service's error; "" is none.
func code(err error) string {
	if api := smithy.APIError(nil); errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func wantCode(t *testing.T, what string, err error, want string) {
	t.Helper()
	if code(err) != want || want != "" && err == nil {
		t.Errorf("%s: %v, want %s", what, err, want)
	}
}

func TestPolicyCalls(t *testing.T) {
	p := play(t)
	operator := ClientAs(p.front.URL, "operator")
	get := func() (string, string, error) {
		out, err := operator.GetResourcePolicy(t.Context(), &dynamodb.GetResourcePolicyInput{ResourceArn: &p.arn})
		if err != nil {
			return "", "", err
		}
		return *out.Policy, *out.RevisionId, nil
	}
	remove := func(expected *string) (*string, error) {
		out, err := operator.DeleteResourcePolicy(t.Context(), &dynamodb.DeleteResourcePolicyInput{ResourceArn: &p.arn, ExpectedRevisionId: expected})
		if err != nil {
			return nil, err
		}
		return out.RevisionId, nil
	}
	one, two := fence(p.arn, `"dynamodb:PutItem"`), fence(p.arn, `"dynamodb:DeleteItem"`)

	_, _, err := get()
	wantCode(t, "get without a policy", err, "PolicyNotFoundException")
	_, err = p.put(one, "1")
	wantCode(t, "put for a revision that isn't there", err, "PolicyNotFoundException")
	if id, err := remove(nil); err != nil || id != nil {
		t.Errorf("remove without a policy: %v, %v", id, err)
	}
	_, err = remove(aws.String("1"))
	wantCode(t, "remove a revision that isn't there", err, "PolicyNotFoundException")

	first, err := p.put(one, "NO_POLICY")
	wantCode(t, "put the first", err, "")
	_, err = p.put(two, "NO_POLICY")
	wantCode(t, "put as the first, but there is one", err, "PolicyNotFoundException")
	if again, err := p.put(one, ""); err != nil || again != first {
		t.Errorf("put the same again: %s, %v, want %s", again, err, first)
	}
	second, err := p.put(two, first)
	wantCode(t, "put the second", err, "")
	_, err = p.put(one, first)
	wantCode(t, "put for the revision before", err, "PolicyNotFoundException")
	if text, id, err := get(); err != nil || text != two || id != second || id == first {
		t.Errorf("get: %s %s, %v", text, id, err)
	}
	_, err = remove(&first)
	wantCode(t, "remove the revision before", err, "PolicyNotFoundException")
	if id, err := remove(&second); err != nil || id == nil || *id != second {
		t.Errorf("remove: %v, %v", id, err)
	}
	_, _, err = get()
	wantCode(t, "get after the removal", err, "PolicyNotFoundException")

	missing := p.arn + "-not"
	_, err = operator.GetResourcePolicy(t.Context(), &dynamodb.GetResourcePolicyInput{ResourceArn: &missing})
	wantCode(t, "get of no table", err, "ResourceNotFoundException")
	_, err = operator.PutResourcePolicy(t.Context(), &dynamodb.PutResourcePolicyInput{ResourceArn: &missing, Policy: &one})
	wantCode(t, "put to no table", err, "ResourceNotFoundException")
	_, err = p.put(one+strings.Repeat(" ", 20<<10-len(one)), "")
	wantCode(t, "20 KB", err, "")
	_, err = p.put(one+strings.Repeat(" ", 20<<10-len(one)+1), "")
	wantCode(t, "over 20 KB", err, "ValidationException")
}

func TestPolicyLocksOut(t *testing.T) {
	p := play(t)
	all := fmt.Sprintf(`{"Statement":{"Effect":"Deny","Principal":"*","Action":"dynamodb:*","Resource":"%s"}}`, p.arn)
	_, err := p.put(all, "")
	wantCode(t, "not confirmed", err, "ValidationException")
	operator, root := ClientAs(p.front.URL, "operator"), ClientAs(p.front.URL, "root")
	_, err = operator.PutResourcePolicy(t.Context(), &dynamodb.PutResourcePolicyInput{ResourceArn: &p.arn, Policy: &all, ConfirmRemoveSelfResourceAccess: true})
	wantCode(t, "confirmed", err, "")
	_, err = p.put(fence(p.arn, `"dynamodb:PutItem"`), "")
	wantCode(t, "locked out", err, "AccessDeniedException")
	_, err = root.GetResourcePolicy(t.Context(), &dynamodb.GetResourcePolicyInput{ResourceArn: &p.arn})
	wantCode(t, "the root gets", err, "AccessDeniedException")
	_, err = root.DeleteResourcePolicy(t.Context(), &dynamodb.DeleteResourcePolicyInput{ResourceArn: &p.arn})
	wantCode(t, "the root removes", err, "")
	p.mustPut(`"dynamodb:PutItem"`)
}

func TestPolicyBlocksUpdates(t *testing.T) {
	p := play(t)
	p.SetTimes(PolicyTimes{Block: UpdateBlock})
	p.mustPut(`"dynamodb:PutItem"`)
	second := fence(p.arn, `"dynamodb:DeleteItem"`)
	p.pass(UpdateBlock - time.Second)
	_, err := p.put(second, "")
	wantCode(t, "too soon", err, "LimitExceededException")
	_, err = ClientAs(p.front.URL, "operator").DeleteResourcePolicy(t.Context(), &dynamodb.DeleteResourcePolicyInput{ResourceArn: &p.arn})
	wantCode(t, "removed too soon", err, "LimitExceededException")
	p.pass(time.Second)
	p.SetTimes(PolicyTimes{Block: UpdateBlock, BlockError: "ResourceInUseException"})
	_, err = p.put(second, "")
	wantCode(t, "late enough", err, "")
	_, err = p.put(fence(p.arn, `"dynamodb:PutItem"`), "")
	wantCode(t, "too soon, another error", err, "ResourceInUseException")
}

func TestPolicyIsEnforced(t *testing.T) {
	p := play(t)
	app := ClientAs(p.front.URL, "app")
	statement := func(text string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := app.ExecuteStatement(ctx, &dynamodb.ExecuteStatementInput{Statement: &text})
			return err
		}
	}
	key, item := Item("id", "a"), Item("id", "a", "n", 1)
	transact := func(one types.TransactWriteItem) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := app.TransactWriteItems(ctx, &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{one}})
			return err
		}
	}
	for _, c := range []struct {
		action string
		do     func(context.Context) error
	}{
		{"PutItem", func(ctx context.Context) error {
			_, err := app.PutItem(ctx, &dynamodb.PutItemInput{TableName: &p.arn, Item: item}) // by its ARN
			return err
		}},
		{"UpdateItem", func(ctx context.Context) error {
			_, err := app.UpdateItem(ctx, &dynamodb.UpdateItemInput{TableName: &p.table, Key: key})
			return err
		}},
		{"DeleteItem", func(ctx context.Context) error {
			_, err := app.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &p.table, Key: key})
			return err
		}},
		{"BatchWriteItem", func(ctx context.Context) error {
			_, err := app.BatchWriteItem(ctx, &dynamodb.BatchWriteItemInput{
				RequestItems: map[string][]types.WriteRequest{p.table: {{PutRequest: &types.PutRequest{Item: item}}}},
			})
			return err
		}},
		{"PutItem", transact(types.TransactWriteItem{Put: &types.Put{TableName: &p.table, Item: item}})},
		{"DeleteItem", transact(types.TransactWriteItem{Delete: &types.Delete{TableName: &p.table, Key: key}})},
		{"UpdateItem", transact(types.TransactWriteItem{Update: &types.Update{TableName: &p.table, Key: key, UpdateExpression: aws.String("REMOVE w")}})},
		{"ConditionCheckItem", transact(types.TransactWriteItem{
			ConditionCheck: &types.ConditionCheck{TableName: &p.table, Key: key, ConditionExpression: aws.String("attribute_exists(id)")},
		})},
		{"Query", func(ctx context.Context) error {
			_, err := app.Query(ctx, &dynamodb.QueryInput{
				TableName: &p.table, IndexName: aws.String("by-n"), KeyConditionExpression: aws.String("n = :n"),
				ExpressionAttributeValues: map[string]types.AttributeValue{":n": &types.AttributeValueMemberN{Value: "1"}},
			})
			return err
		}},
		{"PartiQLInsert", statement(fmt.Sprintf(`INSERT INTO "%s" VALUE {'id': 'b'}`, p.table))},
		{"PartiQLUpdate", statement(fmt.Sprintf(`UPDATE "%s" SET w = 'x' WHERE id = 'b'`, p.table))},
		{"PartiQLSelect", statement(fmt.Sprintf(`SELECT * FROM "%s" WHERE id = 'b'`, p.table))},
		{"PartiQLDelete", statement(fmt.Sprintf(`DELETE FROM "%s" WHERE id = 'b'`, p.table))},
		{"PartiQLDelete", func(ctx context.Context) error {
			_, err := app.BatchExecuteStatement(ctx, &dynamodb.BatchExecuteStatementInput{
				Statements: []types.BatchStatementRequest{{Statement: aws.String(fmt.Sprintf(`DELETE FROM "%s" WHERE id = 'b'`, p.table))}},
			})
			return err
		}},
		{"PartiQLUpdate", func(ctx context.Context) error {
			_, err := app.ExecuteTransaction(ctx, &dynamodb.ExecuteTransactionInput{
				TransactStatements: []types.ParameterizedStatement{{Statement: aws.String(fmt.Sprintf(`UPDATE "%s" SET w = 'x' WHERE id = 'a'`, p.table))}},
			})
			return err
		}},
	} {
		Put(t, Client(Engine(t)), p.table, item)
		p.mustPut(`"dynamodb:` + c.action + `"`)
		before := len(p.Denials())
		err := c.do(t.Context())
		if code(err) != "AccessDeniedException" || !strings.Contains(err.Error(), "with an explicit deny in a resource-based policy") {
			t.Errorf("%s: %v", c.action, err)
		}
		if denied := p.Denials()[before:]; len(denied) != 1 || denied[0].Action != "dynamodb:"+c.action || denied[0].Caller != playedCallers["app"] {
			t.Errorf("%s: denied %v", c.action, denied)
		}
		p.mustPut(`"dynamodb:DescribeTable"`)
		if err := c.do(t.Context()); code(err) == "AccessDeniedException" {
			t.Errorf("%s is denied though only another action is", c.action)
		}
	}
	p.mustPut(`"dynamodb:*"`)
	if p.denied("operator") || !p.denied("app") || !p.denied("app2") {
		t.Errorf("the operator is denied, or others aren't: %v", p.Denials())
	}
}

// The table's policy is also that of its indexes, which have ARNs of their own.
func TestPolicyOfIndexes(t *testing.T) {
	p := play(t)
	scan := func(index string) bool {
		in := &dynamodb.ScanInput{TableName: &p.table}
		if index != "" {
			in.IndexName = &index
		}
		_, err := ClientAs(p.front.URL, "app").Scan(t.Context(), in)
		if err != nil && code(err) != "AccessDeniedException" {
			t.Fatal(err)
		}
		return err != nil
	}
	for resource, want := range map[string][2]bool{
		p.arn: {true, false}, p.arn + "/index/*": {false, true}, p.arn + "/index/by-n": {false, true}, p.arn + "/index/by-m": {}, p.arn + "*": {true, true},
	} {
		p.Put(p.table, fmt.Sprintf(`{"Statement":{"Effect":"Deny","Principal":"*","Action":"dynamodb:Scan","Resource":"%s"}}`, resource))
		if got := [2]bool{scan(""), scan("by-n")}; got != want {
			t.Errorf("%s: denied of the table and of the index: %v, want %v", resource, got, want)
		}
	}
}
