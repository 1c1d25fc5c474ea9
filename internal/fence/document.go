package fence

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// MostBytes is how long a policy may be ("20 KB", "DynamoDB counts whitespaces": API reference, PutResourcePolicy).
const MostBytes = 20 << 10

// document is a policy. What is not ours stays as it came, byte for byte.
type document struct {
	fields     map[string]json.RawMessage // but for Statement
	statements []json.RawMessage
}

// parse reads a policy; "" is none.
func parse(policy string) (document, error) {
	d := document{fields: map[string]json.RawMessage{}}
	if policy == "" {
		d.fields["Version"] = json.RawMessage(`"2012-10-17"`)
		return d, nil
	}
	if err := json.Unmarshal([]byte(policy), &d.fields); err != nil {
		return document{}, fmt.Errorf("read resource policy: %w", err)
	}
	list := bytes.TrimSpace(d.fields["Statement"])
	delete(d.fields, "Statement")
	switch {
	case len(list) == 0:
	case list[0] == '{': // a policy of one statement may have it without a list
		d.statements = []json.RawMessage{list}
	default:
		if err := json.Unmarshal(list, &d.statements); err != nil {
			return document{}, fmt.Errorf("read resource policy: its statements: %w", err)
		}
	}
	return d, nil
}

// ours is what is read of a statement of reseal's.
type ours struct {
	Sid       string
	Condition struct {
		DateLessThan map[string]string
		ArnNotLike   map[string]list
	}
}

// list is one text, or several.
type list []string

func (l *list) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		*l = make(list, 1)
		return json.Unmarshal(text, &(*l)[0])
	}
	return json.Unmarshal(text, (*[]string)(l))
}

// Read reads a statement of reseal's.
func Read(statement json.RawMessage) (Found, error) { return read(statement) }

// read returns the Sid of a statement, and until when it is applied: zero, if it is for good.
func read(statement json.RawMessage) (Found, error) {
	var sid struct{ Sid string }
	if err := json.Unmarshal(statement, &sid); err != nil {
		return Found{}, fmt.Errorf("read resource policy: a statement: %w", err)
	}
	if !IsOurs(sid.Sid) {
		return Found{Sid: sid.Sid}, nil
	}
	var o ours
	if err := json.Unmarshal(statement, &o); err != nil {
		return Found{}, fmt.Errorf("read resource policy: statement %s: %w", sid.Sid, err)
	}
	f := Found{Sid: o.Sid, Except: o.Condition.ArnNotLike["aws:PrincipalArn"], Text: statement}
	if until := o.Condition.DateLessThan["aws:CurrentTime"]; until != "" {
		var err error
		if f.Until, err = time.Parse(time.RFC3339, until); err != nil {
			return Found{}, fmt.Errorf("read resource policy: statement %s: %w", sid.Sid, err)
		}
	}
	return f, nil
}

// Found is a statement of reseal's that a policy has.
type Found struct {
	Sid    string
	Until  time.Time       // zero: it is for good
	Except []string        // whom it is not for
	Text   json.RawMessage // all of it
}

// Letting is the statement with more principals that it is not for.
func (f Found) Letting(more ...string) (json.RawMessage, error) {
	var fields map[string]any
	if err := json.Unmarshal(f.Text, &fields); err != nil {
		return nil, fmt.Errorf("read statement %s: %w", f.Sid, err)
	}
	conditions, is := fields["Condition"].(map[string]any)
	if !is {
		conditions = map[string]any{}
	}
	except := slices.Clone(f.Except)
	for _, one := range more {
		if !slices.Contains(except, one) {
			except = append(except, one)
		}
	}
	conditions["ArnNotLike"] = map[string]any{"aws:PrincipalArn": except}
	fields["Condition"] = conditions
	text, err := json.Marshal(fields)
	if err != nil {
		return nil, fmt.Errorf("write statement %s: %w", f.Sid, err)
	}
	return text, nil
}

// found returns the statements that are reseal's.
func (d document) found() ([]Found, error) {
	var list []Found
	for _, statement := range d.statements {
		f, err := read(statement)
		if err != nil {
			return nil, err
		}
		if IsOurs(f.Sid) {
			list = append(list, f)
		}
	}
	return list, nil
}

// without takes out the statements with some Sids.
func (d document) without(sids ...string) (document, error) {
	kept := document{fields: d.fields}
	for _, statement := range d.statements {
		f, err := read(statement)
		if err != nil {
			return document{}, err
		}
		if !slices.Contains(sids, f.Sid) {
			kept.statements = append(kept.statements, statement)
		}
	}
	return kept, nil
}

// with has a statement instead of those with some Sids.
func (d document) with(statement json.RawMessage, sids ...string) (document, error) {
	d, err := d.without(sids...)
	if err != nil {
		return document{}, err
	}
	d.statements = append(d.statements, statement)
	return d, nil
}

// String is the policy; "" if it has no statement, which is none.
func (d document) String() string {
	if len(d.statements) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteByte('{')
	for _, name := range []string{"Version", "Id"} {
		if value, is := d.fields[name]; is {
			fmt.Fprintf(&b, "%q:%s,", name, value)
		}
	}
	b.WriteString(`"Statement":[`)
	for i, statement := range d.statements {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(statement)
	}
	b.WriteString("]}")
	return b.String()
}

// same tells whether two statements say the same, however they are spelt: the service may give a policy back in other words.
func same(a, b json.RawMessage) bool {
	var one, other any
	if json.Unmarshal(a, &one) != nil || json.Unmarshal(b, &other) != nil {
		return false
	}
	return fmt.Sprint(normal(one)) == fmt.Sprint(normal(other))
}

// normal has a list of one value as that value, as policies may.
func normal(value any) any {
	switch v := value.(type) {
	case []any:
		if len(v) == 1 {
			return normal(v[0])
		}
		list := make([]any, len(v))
		for i := range v {
			list[i] = normal(v[i])
		}
		return list
	case map[string]any:
		fields := map[string]any{}
		for name, one := range v {
			fields[name] = normal(one)
		}
		return fields
	}
	return value
}
