package fence

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// The beginnings of the Sids of reseal's statements. What follows is the ID of the run whose they are.
const (
	SidFence = "ResealFence" // refuses writes to a source
	SidStop  = "ResealStop"  // refuses a replicator's writes to a target
)

// IsOurs tells whether a Sid is of a statement of reseal's, of whatever run.
func IsOurs(sid string) bool {
	return strings.HasPrefix(sid, SidFence) || strings.HasPrefix(sid, SidStop)
}

// Writes are the actions by which items of a table are written. Transactions are authorized by those of their operations, with
// ConditionCheckItem; statements of PartiQL by actions of their own (DynamoDB developer guide, "Using IAM policy conditions" and "IAM
// security policies with PartiQL").
var Writes = []string{
	"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:BatchWriteItem", "dynamodb:ConditionCheckItem",
	"dynamodb:PartiQLInsert", "dynamodb:PartiQLUpdate", "dynamodb:PartiQLDelete",
}

// Reads are the actions by which items of a table, or of its indexes, are read.
var Reads = []string{"dynamodb:GetItem", "dynamodb:BatchGetItem", "dynamodb:Query", "dynamodb:Scan", "dynamodb:PartiQLSelect"}

// Statement is a denial in a table's resource-based policy.
type Statement struct {
	Sid   string
	Table string // its ARN
	// Reads denies them, too.
	Reads bool
	// Except are the principals that it is not for, by ARN; and Only those that it is for: nobody else. A pattern may have wildcards.
	Except, Only []string
	// Until is the time, by AWS's clock, from which on it is not applied any more, in whole seconds; zero: it is for good.
	Until time.Time
}

// JSON is the statement as a policy has it.
//
// Negated conditions hold where the key is missing (IAM user guide, "Condition operators"), so a caller without a principal's ARN is denied
// by Except.
func (s Statement) JSON() (json.RawMessage, error) {
	actions, resources := Writes, any(s.Table)
	if s.Reads {
		actions, resources = append(append([]string{}, Writes...), Reads...), []string{s.Table, s.Table + "/index/*"}
	}
	conditions := map[string]map[string]any{}
	if !s.Until.IsZero() {
		conditions["DateLessThan"] = map[string]any{"aws:CurrentTime": s.Until.UTC().Format(time.RFC3339)}
	}
	if len(s.Except) > 0 {
		conditions["ArnNotLike"] = map[string]any{"aws:PrincipalArn": s.Except}
	}
	if len(s.Only) > 0 {
		conditions["ArnLike"] = map[string]any{"aws:PrincipalArn": s.Only}
	}
	text, err := json.Marshal(struct {
		Sid, Effect, Principal string
		Action                 []string
		Resource               any
		Condition              map[string]map[string]any `json:",omitempty"`
	}{s.Sid, "Deny", "*", actions, resources, conditions})
	if err != nil {
		return nil, fmt.Errorf("write policy statement: %w", err)
	}
	return text, nil
}
