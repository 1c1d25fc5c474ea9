package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// MaxSize is the largest document in bytes, spaces counted (API Reference, PutResourcePolicy).
const MaxSize = 20 << 10

// Unsupported is what a policy of the service may have and this package does not know.
type Unsupported struct{ What string }

func (u *Unsupported) Error() string { return "policy: not supported by the test kit: " + u.What }

// Document is a policy.
type Document struct {
	statements []statement
}

// statement is one statement; only what is judged by is kept.
type statement struct {
	sid        string
	deny       bool
	principals []string // "*", an account's number, or an ARN
	actions    []string
	resources  []string
	conditions []condition
}

// raw is a statement as it is written.
type raw struct {
	Sid                                  *string
	Effect                               string
	Principal, Action, Resource          json.RawMessage
	NotPrincipal, NotAction, NotResource json.RawMessage
	Condition                            map[string]map[string]json.RawMessage
}

var (
	sidLetters  = regexp.MustCompile(`^[0-9A-Za-z]*$`)
	accountID   = regexp.MustCompile(`^[0-9]{12}$`)
	iamIdentity = regexp.MustCompile(`^arn:aws[a-z-]*:(iam::[0-9]{12}:(root|(role|user)/[^*?]+)|sts::[0-9]{12}:assumed-role/[^*?/]+/[^*?/]+)$`)
)

// Parse reads a document. An error is what the service refuses too, or an *Unsupported.
func Parse(text string) (*Document, error) {
	if len(text) > MaxSize {
		return nil, fmt.Errorf("the policy has %d bytes, more than %d", len(text), MaxSize)
	}
	var in struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := strictly(json.RawMessage(text), &in); err != nil {
		return nil, fmt.Errorf("read policy: %w", err)
	}
	if !slices.Contains([]string{"", "2008-10-17", "2012-10-17"}, in.Version) {
		return nil, fmt.Errorf("there is no version %q of the policy language", in.Version)
	}
	list, err := oneOrMore[raw](in.Statement)
	if err != nil || len(list) == 0 {
		return nil, errors.Join(errors.New("the policy has no statement that can be read"), err)
	}
	d := &Document{}
	sids := map[string]bool{}
	for i, one := range list {
		s, err := one.statement()
		if err != nil {
			return nil, fmt.Errorf("statement %d: %w", i+1, err)
		}
		if s.sid != "" && sids[s.sid] {
			return nil, fmt.Errorf("statement %d: the Sid %q is there twice", i+1, s.sid)
		}
		sids[s.sid] = true
		d.statements = append(d.statements, s)
	}
	return d, nil
}

// strictly reads JSON that may have no other members.
func strictly(data json.RawMessage, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if decoder.More() {
		return errors.New("there is something after the policy's end")
	}
	return nil
}

// oneOrMore reads a value or a list of them.
func oneOrMore[T any](data json.RawMessage) ([]T, error) {
	data = bytes.TrimSpace(data)
	if len(data) == 0 {
		return nil, nil
	}
	if data[0] == '[' {
		var list []T
		return list, strictly(data, &list)
	}
	list := make([]T, 1)
	return list, strictly(data, &list[0])
}

func (r *raw) statement() (statement, error) {
	s := statement{deny: r.Effect == "Deny"}
	if !s.deny && r.Effect != "Allow" {
		return s, fmt.Errorf("there is no effect %q", r.Effect)
	}
	if len(r.NotPrincipal)+len(r.NotAction)+len(r.NotResource) > 0 {
		return s, &Unsupported{"NotPrincipal, NotAction, NotResource"}
	}
	if r.Sid != nil {
		s.sid = *r.Sid
	}
	if !sidLetters.MatchString(s.sid) {
		return s, fmt.Errorf("the Sid %q has other characters than letters and digits", s.sid)
	}
	var err error
	if s.principals, err = principals(r.Principal); err != nil {
		return s, err
	}
	if s.actions, err = texts("Action", r.Action); err != nil {
		return s, err
	}
	for _, action := range s.actions {
		if action != "*" && !strings.HasPrefix(strings.ToLower(action), "dynamodb:") {
			return s, fmt.Errorf("the action %q is not DynamoDB's", action)
		}
	}
	if s.resources, err = texts("Resource", r.Resource); err != nil {
		return s, err
	}
	for operator, keys := range r.Condition {
		for key, values := range keys {
			one, err := newCondition(operator, key, values)
			if err != nil {
				return s, err
			}
			s.conditions = append(s.conditions, one)
		}
	}
	return s, nil
}

// texts reads an element that must have one text or more.
func texts(name string, data json.RawMessage) ([]string, error) {
	list, err := oneOrMore[string](data)
	if err != nil || len(list) == 0 {
		return nil, errors.Join(fmt.Errorf("there is no %s that can be read", name), err)
	}
	return list, nil
}

// principals reads the element Principal.
func principals(data json.RawMessage) ([]string, error) {
	if string(bytes.TrimSpace(data)) == `"*"` {
		return []string{"*"}, nil
	}
	var in map[string]json.RawMessage
	if err := json.Unmarshal(data, &in); err != nil {
		return nil, fmt.Errorf("read Principal: %w", err)
	}
	for kind := range in {
		if kind != "AWS" {
			return nil, &Unsupported{"a Principal of the kind " + kind}
		}
	}
	list, err := texts("Principal", in["AWS"])
	for _, one := range list {
		if one != "*" && !accountID.MatchString(one) && !iamIdentity.MatchString(one) {
			return nil, fmt.Errorf("the principal %q is invalid", one)
		}
	}
	return list, err
}
