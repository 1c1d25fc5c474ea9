package testkit

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"reseal/internal/test/policy"
)

// use is an action on a table, or on an index of it.
type use struct {
	action, table, index string // table is a name or an ARN
}

// suffix is what the ARN of the resource has after that of the table.
func (u use) suffix() string {
	if u.index == "" {
		return ""
	}
	return "/index/" + u.index
}

// isDynamoDB tells whether the request is for tables, and not for streams or another service.
func (x *Exchange) isDynamoDB() bool {
	return strings.HasPrefix(x.header.Get("X-Amz-Target"), "DynamoDB_20120810.")
}

// partiQL are the beginnings of the statements, with the table's name and an index's.
var partiQL = map[string]*regexp.Regexp{
	"PartiQLInsert": regexp.MustCompile(`(?is)^\s*INSERT\s+INTO\s+"?([a-z0-9_.-]+)"?`),
	"PartiQLUpdate": regexp.MustCompile(`(?is)^\s*UPDATE\s+"?([a-z0-9_.-]+)"?`),
	"PartiQLDelete": regexp.MustCompile(`(?is)^\s*DELETE\s+FROM\s+"?([a-z0-9_.-]+)"?`),
	"PartiQLSelect": regexp.MustCompile(`(?is)^\s*(?:EXISTS\s*\(\s*)?SELECT\s.*?\sFROM\s+"?([a-z0-9_.-]+?)"?(?:\."([a-z0-9_.-]+)")?(?:\s|$)`),
}

// usesOf are the actions that a request must be allowed to do (Service Authorization Reference, "Actions, resources, and condition keys for
// Amazon DynamoDB"; Developer Guide, "Using IAM with DynamoDB transactions", "IAM security policies with PartiQL"). None: it is for no table.
func usesOf(op string, body []byte) ([]use, error) {
	var in struct {
		TableName, IndexName, ResourceArn, Statement string
		ResourcePolicy                               string
		RequestItems                                 map[string]json.RawMessage
		TransactItems                                []map[string]struct{ TableName string }
		Statements, TransactStatements               []struct{ Statement string }
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	if in.ResourcePolicy != "" {
		return nil, &policy.Unsupported{What: "a table that is made with a policy"}
	}
	var uses []use
	for table := range in.RequestItems {
		uses = append(uses, use{action: op, table: table})
	}
	for _, members := range in.TransactItems {
		for member, one := range members {
			uses = append(uses, use{action: transacted(member), table: one.TableName})
		}
	}
	statements := append(in.Statements, in.TransactStatements...)
	if in.Statement != "" {
		statements = append(statements, struct{ Statement string }{in.Statement})
	}
	for _, one := range statements {
		u, err := partiQLUse(one.Statement)
		if err != nil {
			return nil, err
		}
		uses = append(uses, u)
	}
	for _, table := range []string{in.TableName, in.ResourceArn} {
		if table != "" {
			uses = append(uses, use{action: op, table: table, index: in.IndexName})
		}
	}
	return uses, nil
}

// transacted is the action of a member of a transaction.
func transacted(member string) string {
	if member == "ConditionCheck" {
		return "ConditionCheckItem"
	}
	return member + "Item" // Put, Update, Delete, Get
}

func partiQLUse(statement string) (use, error) {
	for action, pattern := range partiQL {
		if found := pattern.FindStringSubmatch(statement); found != nil {
			return use{action: action, table: found[1], index: strings.Join(found[2:], "")}, nil
		}
	}
	return use{}, &policy.Unsupported{What: fmt.Sprintf("the statement %q", statement)}
}
