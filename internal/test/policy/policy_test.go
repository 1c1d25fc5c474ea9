package policy

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const (
	table   = "arn:aws:dynamodb:us-east-1:000000000000:table/orders"
	role    = "arn:aws:iam::000000000000:role/app"
	session = "arn:aws:sts::000000000000:assumed-role/app/i-1"
	user    = "arn:aws:iam::000000000000:user/eva"
	noon    = "2026-01-01T12:00:00Z"
)

// deny is a policy of one statement, a Deny of everything for everybody but for the members that are given.
func deny(members ...string) string {
	statement := map[string]string{"Effect": `"Deny"`, "Principal": `"*"`, "Action": `"dynamodb:*"`, "Resource": `"` + table + `"`}
	for i := 0; i < len(members); i += 2 {
		statement[members[i]] = members[i+1]
	}
	var text []string
	for name, value := range statement {
		text = append(text, fmt.Sprintf("%q: %s", name, value))
	}
	return `{"Version": "2012-10-17", "Statement": [{` + strings.Join(text, ", ") + `}]}`
}

// request is a PutItem at noon of the session of the role, unless something else is given.
func request(t *testing.T, who, action, resource string) *Request {
	t.Helper()
	for of, value := range map[*string]string{&who: session, &action: "dynamodb:PutItem", &resource: table} {
		if *of == "" {
			*of = value
		}
	}
	principal, err := NewPrincipal(who)
	if err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, noon)
	if err != nil {
		t.Fatal(err)
	}
	return &Request{Principal: principal, Action: action, Resource: resource, Time: at}
}

func TestDenies(t *testing.T) {
	for _, c := range []struct {
		what, policy          string
		who, action, resource string
		want                  bool
	}{
		{what: "everything", policy: deny(), want: true},
		{what: "an Allow", policy: deny("Effect", `"Allow"`)},

		{what: "an action", policy: deny("Action", `"dynamodb:PutItem"`), want: true},
		{what: "an action in other letters", policy: deny("Action", `"DynamoDB:putitem"`), want: true},
		{what: "another action", policy: deny("Action", `"dynamodb:UpdateItem"`)},
		{what: "a list of actions", policy: deny("Action", `["dynamodb:UpdateItem", "dynamodb:PutItem"]`), want: true},
		{what: "other actions", policy: deny("Action", `["dynamodb:UpdateItem", "dynamodb:DeleteItem"]`)},
		{what: "actions by wildcard", policy: deny("Action", `"dynamodb:Put*"`), want: true},
		{what: "other actions by wildcard", policy: deny("Action", `"dynamodb:Get*"`)},
		{what: "a wildcard's end", policy: deny("Action", `"dynamodb:*Items"`)},
		{what: "a character's wildcard", policy: deny("Action", `"dynamodb:?utItem"`), want: true},
		{what: "all actions", policy: deny("Action", `"*"`), want: true},

		{what: "a principal's *", policy: deny("Principal", `{"AWS": "*"}`), want: true},
		{what: "the role", policy: deny("Principal", `{"AWS": "`+role+`"}`), want: true},
		{what: "the session", policy: deny("Principal", `{"AWS": "`+session+`"}`), want: true},
		{what: "another session", policy: deny("Principal", `{"AWS": "`+session+`2"}`)},
		{what: "another role", policy: deny("Principal", `{"AWS": "`+role+`2"}`)},
		{what: "a list", policy: deny("Principal", `{"AWS": ["`+user+`", "`+role+`"]}`), want: true},
		{what: "a user", policy: deny("Principal", `{"AWS": "`+user+`"}`), who: user, want: true},
		{what: "the account", policy: deny("Principal", `{"AWS": "000000000000"}`), want: true},
		{what: "the account's root", policy: deny("Principal", `{"AWS": "arn:aws:iam::000000000000:root"}`), want: true},
		{what: "another account", policy: deny("Principal", `{"AWS": "000000000001"}`)},
		{what: "another account's root", policy: deny("Principal", `{"AWS": "arn:aws:iam::000000000001:root"}`)},

		{what: "another table", policy: deny("Resource", `"`+table+`2"`)},
		{what: "tables by wildcard", policy: deny("Resource", `"arn:aws:dynamodb:*:*:table/ord*"`), want: true},
		{what: "the table, asked for an index", policy: deny(), resource: table + "/index/by-n"},
		{what: "the indexes", policy: deny("Resource", `["`+table+`", "`+table+`/index/*"]`), resource: table + "/index/by-n", want: true},
		{what: "the indexes, asked for the table", policy: deny("Resource", `"`+table+`/index/*"`)},
		{what: "all resources", policy: deny("Resource", `"*"`), want: true},
	} {
		judge(t, c.what, c.policy, request(t, c.who, c.action, c.resource), c.want)
	}
}

func judge(t *testing.T, what, text string, r *Request, want bool) {
	t.Helper()
	d, err := Parse(text)
	if err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	if got := d.Denies(r); got != want {
		t.Errorf("%s: denied %t, want %t: %s", what, got, want, text)
	}
}

func TestConditions(t *testing.T) {
	const other = "arn:aws:iam::000000000000:role/other"
	for _, c := range []struct {
		condition string
		want      bool
	}{
		{`"DateLessThan": {"aws:CurrentTime": "2026-01-01T12:00:01Z"}`, true},
		{`"DateLessThan": {"aws:CurrentTime": "` + noon + `"}`, false},
		{`"DateLessThan": {"aws:CurrentTime": "2026-01-01T13:00:01+01:00"}`, true},
		{`"DateLessThan": {"aws:CurrentTime": "1767268801"}`, true},
		{`"DateLessThan": {"aws:CurrentTime": "1767268800"}`, false},
		{`"DateLessThan": {"AWS:currenttime": ["2026-01-01T11:59:59Z", "2026-01-01T12:00:01Z"]}`, true},
		{`"DateLessThanEquals": {"aws:CurrentTime": "` + noon + `"}`, true},
		{`"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T11:59:59Z"}`, true},
		{`"DateGreaterThan": {"aws:CurrentTime": "` + noon + `"}`, false},
		{`"DateGreaterThanEquals": {"aws:CurrentTime": "` + noon + `"}`, true},
		{`"DateEquals": {"aws:CurrentTime": "` + noon + `"}`, true},
		{`"DateNotEquals": {"aws:CurrentTime": "` + noon + `"}`, false},

		{`"ArnEquals": {"aws:PrincipalArn": "` + role + `"}`, true},
		{`"ArnEquals": {"aws:PrincipalArn": "` + session + `"}`, false}, // the key has the role
		{`"ArnEquals": {"aws:PrincipalArn": ["` + other + `", "` + role + `"]}`, true},
		{`"ArnEquals": {"aws:PrincipalArn": "arn:aws:iam::*:role/a*"}`, true},
		{`"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/a??"}`, true},
		{`"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:role/a?"}`, false},
		{`"ArnLike": {"aws:PrincipalArn": "arn:*:*:*:*:role/app"}`, true},
		{`"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*"}`, false}, // a wildcard stays within its part
		{`"ArnLike": {"aws:PrincipalArn": "app"}`, false},            // no ARN
		{`"ArnNotEquals": {"aws:PrincipalArn": "` + role + `"}`, false},
		{`"ArnNotEquals": {"aws:PrincipalArn": "` + other + `"}`, true},
		{`"ArnNotEquals": {"aws:PrincipalArn": ["` + other + `", "` + role + `"]}`, false},
		{`"ArnNotLike": {"aws:PrincipalArn": ["` + other + `", "arn:aws:iam::000000000000:role/ap*"]}`, false},
		{`"ArnNotLike": {"aws:PrincipalArn": ["` + other + `", "arn:aws:iam::000000000001:role/*"]}`, true},

		{`"StringEquals": {"aws:PrincipalArn": "` + role + `"}`, true},
		{`"StringEquals": {"aws:PrincipalArn": "arn:aws:iam::000000000000:role/*"}`, false},
		{`"StringNotEquals": {"aws:PrincipalArn": ["` + other + `", "` + role + `"]}`, false},
		{`"StringNotEquals": {"aws:PrincipalArn": "` + other + `"}`, true},
		{`"StringLike": {"aws:PrincipalArn": "arn:aws:iam::*app"}`, true},
		{`"StringNotLike": {"aws:PrincipalArn": "*:role/app"}`, false},

		// All must hold.
		{`"DateLessThan": {"aws:CurrentTime": "2026-01-01T12:00:01Z"}, "ArnNotEquals": {"aws:PrincipalArn": "` + other + `"}`, true},
		{`"DateLessThan": {"aws:CurrentTime": "2026-01-01T12:00:01Z"}, "ArnNotEquals": {"aws:PrincipalArn": "` + role + `"}`, false},
		{`"DateLessThan": {"aws:CurrentTime": "2026-01-01T11:00:01Z"}, "ArnNotEquals": {"aws:PrincipalArn": "` + other + `"}`, false},
	} {
		judge(t, "condition", deny("Condition", "{"+c.condition+"}"), request(t, "", "", ""), c.want)
	}
}

func TestPrincipal(t *testing.T) {
	for arn, want := range map[string]string{session: role, role: role, user: user, "arn:aws:iam::000000000000:root": "arn:aws:iam::000000000000:root"} {
		if p, err := NewPrincipal(arn); err != nil || p.ARN != want || p.Account != "000000000000" || p.IsRoot() != strings.HasSuffix(arn, "root") {
			t.Errorf("%s: %+v, %v", arn, p, err)
		}
	}
	for _, arn := range []string{"", "eva", "arn:aws:sts::000000000000:assumed-role/app", "arn:aws:iam::0:user/eva", "arn:aws:iam::000000000000:role/*"} {
		if _, err := NewPrincipal(arn); err == nil {
			t.Errorf("%q is taken", arn)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for what, text := range map[string]string{
		"no JSON":           `{`,
		"something after":   deny() + "{}",
		"no statement":      `{"Version": "2012-10-17"}`,
		"an empty list":     `{"Version": "2012-10-17", "Statement": []}`,
		"a version":         `{"Version": "2026-10-17", "Statement": []}`,
		"an effect":         deny("Effect", `"deny"`),
		"no principal":      deny("Principal", `{}`),
		"a principal":       deny("Principal", `{"AWS": "eva"}`),
		"a principal's *":   deny("Principal", `{"AWS": "arn:aws:iam::000000000000:role/*"}`),
		"no action":         deny("Action", `[]`),
		"another's action":  deny("Action", `"s3:PutObject"`),
		"no resource":       deny("Resource", `[]`),
		"an unknown member": deny("Actions", `"dynamodb:*"`),
		"a Sid":             deny("Sid", `"Reseal-Fence"`),
		"a date":            deny("Condition", `{"DateLessThan": {"aws:CurrentTime": "tomorrow"}}`),
		"no value":          deny("Condition", `{"ArnEquals": {"aws:PrincipalArn": []}}`),
		"a Sid twice":       `{"Statement": [` + strings.Repeat(`{"Sid": "a", "Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"},`, 2) + `]}`,
		"too much":          deny("Sid", `"a"`+strings.Repeat(" ", MaxSize)),
	} {
		_, err := Parse(strings.Replace(text, "},]}", "}]}", 1))
		if unsupported := (*Unsupported)(nil); err == nil || errors.As(err, &unsupported) {
			t.Errorf("%s: %v", what, err)
		}
	}
	least := deny("Sid", `"a"`)
	if _, err := Parse(least + strings.Repeat("\n", MaxSize-len(least))); err != nil {
		t.Errorf("a policy of the largest size: %v", err)
	}
}

func TestUnsupported(t *testing.T) {
	for _, text := range []string{
		deny("Condition", `{"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}`),
		deny("Condition", `{"ArnNotEqualsIfExists": {"aws:PrincipalArn": "`+role+`"}}`),
		deny("Condition", `{"StringEquals": {"aws:PrincipalAccount": "000000000000"}}`),
		deny("Condition", `{"DateLessThan": {"aws:PrincipalArn": "`+noon+`"}}`),
		deny("Condition", `{"DateLessThan": {"aws:EpochTime": "1"}}`),
		deny("Principal", `{"Service": "lambda.amazonaws.com"}`),
		deny("NotAction", `"dynamodb:PutItem"`), deny("NotPrincipal", `"*"`), deny("NotResource", `"*"`),
	} {
		_, err := Parse(text)
		if unsupported := (*Unsupported)(nil); !errors.As(err, &unsupported) {
			t.Errorf("%v: %s", err, text)
		}
	}
}
