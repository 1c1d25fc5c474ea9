package fence

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"reseal/internal/refuse"
)

// stored is a policy as the API reference has it: changes are on condition, and what was put is read a moment later.
type stored struct {
	mu       sync.Mutex // of what lands late
	text     string
	revision int
	old      func() (string, int) // what Get still answers; nil: what there is
	lose     int                  // so many answers of changes
	land     func(func())         // when a change whose answer is lost lands; nil: at once
	before   func()               // each change
	fail     error                // of each Get
	puts     int
}

var errLost = &smithy.GenericAPIError{Code: "InternalServerError", Fault: smithy.FaultServer}

func (s *stored) GetResourcePolicy(context.Context, *dynamodb.GetResourcePolicyInput, ...func(*dynamodb.Options)) (*dynamodb.GetResourcePolicyOutput, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail != nil {
		return nil, s.fail
	}
	text, revision := s.text, s.revision
	if s.old != nil {
		text, revision = s.old()
	}
	if text == "" {
		return nil, &types.PolicyNotFoundException{}
	}
	return &dynamodb.GetResourcePolicyOutput{Policy: &text, RevisionId: aws.String(strings.Repeat("r", revision+1))}, nil
}

func (s *stored) change(text string, expected *string) error {
	if s.before != nil {
		before := s.before
		s.before = nil
		before()
	}
	attempt := func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		current := strings.Repeat("r", s.revision+1)
		if s.text == "" {
			current = "NO_POLICY"
		}
		if aws.ToString(expected) != current {
			return &types.PolicyNotFoundException{}
		}
		s.text, s.revision = text, s.revision+1
		return nil
	}
	s.puts++
	if s.lose > 0 {
		s.lose--
		if s.land == nil {
			_ = attempt()
		} else {
			s.land(func() { _ = attempt() })
		}
		return errLost
	}
	return attempt()
}

func (s *stored) PutResourcePolicy(_ context.Context, in *dynamodb.PutResourcePolicyInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutResourcePolicyOutput, error) {
	return &dynamodb.PutResourcePolicyOutput{}, s.change(*in.Policy, in.ExpectedRevisionId)
}

func (s *stored) DeleteResourcePolicy(_ context.Context, in *dynamodb.DeleteResourcePolicyInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteResourcePolicyOutput, error) {
	return &dynamodb.DeleteResourcePolicyOutput{}, s.change("", in.ExpectedRevisionId)
}

const testTable = "arn:aws:dynamodb:eu-west-1:123456789012:table/cities"

func testStatement() Statement {
	return Statement{Sid: SidFence + "1", Table: testTable, Until: time.Date(2026, 12, 1, 3, 0, 0, 0, time.UTC)}
}

// What others have in the policy stays, byte for byte, also what they put in meanwhile.
func TestOthersStatementsStay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const one, two = `{"Sid":"One", "Effect":"Allow"}`, `{ "Sid":"Two","Effect":"Deny"}`
		s := &stored{text: `{"Version":"2012-10-17","Id":"mine","Statement":` + one + `}`, revision: 4}
		s.before = func() { // between our reading and our writing
			s.text, s.revision = `{"Version":"2012-10-17","Id":"mine","Statement":[`+one+`,`+two+`]}`, 5
		}
		p := NewPolicy(s, testTable, "1")
		if err := p.Put(t.Context(), testStatement()); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{one, two, `"Sid":"ResealFence1"`, `"Id":"mine"`} {
			if !strings.Contains(s.text, want) {
				t.Errorf("no %s in %s", want, s.text)
			}
		}
		lasting := testStatement()
		lasting.Until = time.Time{}
		if err := p.Put(t.Context(), lasting); err != nil || strings.Count(s.text, "ResealFence1") != 1 || strings.Contains(s.text, "DateLessThan") {
			t.Errorf("the policy is %s (%v)", s.text, err)
		}
		if err := p.Remove(t.Context(), SidFence+"1"); err != nil {
			t.Fatal(err)
		}
		if want := `{"Version":"2012-10-17","Id":"mine","Statement":[` + one + `,` + two + `]}`; s.text != want {
			t.Errorf("the policy is %s, want %s", s.text, want)
		}
	})
}

// Where there was no policy there is none afterwards.
func TestNoPolicyIsLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stored{}
		p := NewPolicy(s, testTable, "1")
		if err := p.Put(t.Context(), testStatement()); err != nil || s.text == "" {
			t.Fatal(err)
		}
		found, err := p.Found(t.Context())
		if err != nil || len(found) != 1 || found[0].Sid != SidFence+"1" || !found[0].Until.Equal(testStatement().Until) {
			t.Errorf("found %v (%v)", found, err)
		}
		if err := p.Remove(t.Context(), SidFence+"1"); err != nil || s.text != "" {
			t.Errorf("the policy is %q (%v)", s.text, err)
		}
	})
}

// A change that had no answer, and was made, is not made twice; one that lands later doesn't survive Remove.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stored{lose: 1}
		p := NewPolicy(s, testTable, "1")
		if err := p.Put(t.Context(), testStatement()); err != nil || s.puts != 1 {
			t.Errorf("%d changes (%v)", s.puts, err)
		}
		if err := p.Remove(t.Context(), SidFence+"1"); err != nil {
			t.Fatal(err)
		}

		landing := make(chan struct{})
		s = &stored{lose: 1, land: func(do func()) {
			go func() {
				defer close(landing)
				time.Sleep(5 * time.Second)
				do()
			}()
		}}
		p = NewPolicy(s, testTable, "1")
		limited, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := p.Put(limited, testStatement()); err == nil {
			t.Fatal("a put without an answer succeeded")
		}
		if err := p.Remove(t.Context(), SidFence+"1"); err != nil {
			t.Fatal(err)
		}
		<-landing
		if s.text != "" {
			t.Errorf("what landed late is left: %s", s.text)
		}
	})
}

// What has to be taken out is, also by one whose credentials have expired meanwhile; a table that is gone has none.
func TestRemoveGoesOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stored{}
		p := NewPolicy(s, testTable, "1")
		if err := p.Put(t.Context(), testStatement()); err != nil {
			t.Fatal(err)
		}
		s.fail = &smithy.GenericAPIError{Code: "ExpiredTokenException"}
		time.AfterFunc(20*time.Second, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.fail = nil
		})
		if err := p.Remove(t.Context(), SidFence+"1"); err != nil || s.text != "" {
			t.Errorf("the policy is %q (%v)", s.text, err)
		}
		s.fail = &types.ResourceNotFoundException{}
		if err := p.Remove(t.Context(), SidFence+"1"); err != nil {
			t.Errorf("of a table that is gone: %v", err)
		}
		if err := p.Put(t.Context(), testStatement()); err == nil {
			t.Error("put into a table that is gone")
		}
	})
}

// A policy that is read as it was before doesn't make a change twice, or in vain: it is on the condition of its revision.
func TestOldPolicyIsRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &stored{text: `{"Version":"2012-10-17","Statement":[{"Sid":"Mine"}]}`, revision: 2}
		start := time.Now()
		s.old = func() (string, int) {
			if time.Since(start) < 3*time.Second {
				return `{"Version":"2012-10-17","Statement":[]}`, 1
			}
			return s.text, s.revision
		}
		if err := NewPolicy(s, testTable, "1").Put(t.Context(), testStatement()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(s.text, `"Mine"`) {
			t.Errorf("the newer statement is gone: %s", s.text)
		}
	})
}

// What can't be done says so at once.
func TestRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		long := &stored{text: `{"Version":"2012-10-17","Statement":[{"Sid":"` + strings.Repeat("x", MostBytes-300) + `"}]}`}
		other := &stored{text: `{"Version":"2012-10-17","Statement":[{"Sid":"ResealStopother"}]}`}
		over := &stored{text: `{"Version":"2012-10-17","Statement":[{"Sid":"ResealFenceother","Condition":{"DateLessThan":{"aws:CurrentTime":"1999-01-01T00:00:00Z"}}}]}`}
		for name, c := range map[string]struct {
			stored *stored
			want   error
		}{"too long": {long, ErrTooLong}, "another run": {other, ErrOtherRun}, "another run's, which is over": {over, nil}} {
			p := NewPolicy(c.stored, testTable, "1")
			if err := p.Fits(t.Context(), testStatement()); !errors.Is(err, c.want) {
				t.Errorf("%s: %v", name, err)
			}
			before := c.stored.text
			if err := p.Put(t.Context(), testStatement()); !errors.Is(err, c.want) || (c.want != nil && c.stored.text != before) {
				t.Errorf("%s: %v, policy %s", name, err, c.stored.text)
			}
		}
	})
}

// The statement is what the design says: whom it denies what, and until when.
func TestStatement(t *testing.T) {
	t.Parallel()
	s := testStatement()
	s.Except = []string{"arn:aws:iam::123456789012:role/reverse"}
	text, err := s.JSON()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Sid":"ResealFence1","Effect":"Deny","Principal":"*","Action":["dynamodb:PutItem","dynamodb:UpdateItem","dynamodb:DeleteItem","dynamodb:BatchWriteItem",` +
		`"dynamodb:ConditionCheckItem","dynamodb:PartiQLInsert","dynamodb:PartiQLUpdate","dynamodb:PartiQLDelete"],"Resource":"` + testTable + `",` +
		`"Condition":{"ArnNotLike":{"aws:PrincipalArn":["arn:aws:iam::123456789012:role/reverse"]},"DateLessThan":{"aws:CurrentTime":"2026-12-01T03:00:00Z"}}}`
	if string(text) != want {
		t.Errorf("the statement is\n%s, want\n%s", text, want)
	}
	reads := Statement{Sid: SidFence + "1", Table: testTable, Reads: true}
	if text, err = reads.JSON(); err != nil || !strings.Contains(string(text), "dynamodb:Query") || !strings.Contains(string(text), "/index/*") || strings.Contains(string(text), `"Condition":`) {
		t.Errorf("the statement is %s (%v)", text, err)
	}
	if !same(json.RawMessage(`{"a":["x"],"b":1}`), json.RawMessage(`{"b":1,"a":"x"}`)) || same(json.RawMessage(`{"a":["x"]}`), json.RawMessage(`{"a":["x","y"]}`)) {
		t.Error("statements are not compared by what they say")
	}
}

// Whom a caller's ARN stands for.
func TestPrincipals(t *testing.T) {
	t.Parallel()
	const session = "arn:aws:sts::123456789012:assumed-role/operator/me"
	for principal, is := range map[string]bool{
		"arn:aws:iam::123456789012:role/operator": true, "arn:aws:iam::123456789012:role/some/path/operator": true,
		"arn:aws:iam::123456789012:role/other": false, "arn:aws:iam::999999999999:role/operator": false, "arn:aws:iam::123456789012:user/operator": false,
	} {
		if Among(session, []string{principal}) != is {
			t.Errorf("%s among %s: want %t", session, principal, is)
		}
	}
	if got := Patterns("arn:aws:iam::123456789012:user/me"); len(got) != 1 || got[0] != "arn:aws:iam::123456789012:user/me" {
		t.Errorf("a user is %q", got)
	}
	for arn, fine := range map[string]bool{
		"arn:aws:iam::123456789012:role/x": true, "arn:aws-cn:iam::123456789012:user/a/b": true, "arn:aws:iam::123456789012:role/*": false,
		"arn:aws:iam::123456789012:root": false, session: false, "me": false,
	} {
		if err := CheckPrincipal("--x", arn); (err == nil) != fine || err != nil && !refuse.Is(err) {
			t.Errorf("%s: %v", arn, err)
		}
	}
}

// The statement of a cutover that is over lets reseal in, gives way to another one in one change, and comes back as it was.
func TestEarlierStatement(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const role, mine = "arn:aws:iam::123456789012:role/back", "arn:aws:iam::123456789012:role/reseal"
		text, err := Statement{Sid: SidFence + "old", Table: testTable, Except: []string{role}}.JSON()
		if err != nil {
			t.Fatal(err)
		}
		s := &stored{text: `{"Version":"2012-10-17","Statement":[` + string(text) + `]}`, revision: 4}
		if err := NewPolicy(s, testTable, "1").Put(t.Context(), testStatement()); !errors.Is(err, ErrOtherRun) {
			t.Errorf("by a run that knows nothing of it: %v", err)
		}
		p := NewPolicy(s, testTable, "1", "old")
		found, err := p.Found(t.Context())
		if err != nil || len(found) != 1 || !slices.Equal(found[0].Except, []string{role}) || !found[0].Until.IsZero() {
			t.Fatalf("found %+v (%v)", found, err)
		}
		let, err := found[0].Letting(mine, role)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Replace(t.Context(), Found{Sid: found[0].Sid, Text: let}); err != nil || !strings.Contains(s.text, `["`+role+`","`+mine+`"]`) || strings.Count(s.text, "Sid") != 1 {
			t.Errorf("the policy is %s (%v)", s.text, err)
		}
		changes := s.revision
		if err := p.Put(t.Context(), testStatement(), found[0].Sid); err != nil || strings.Contains(s.text, "old") || !strings.Contains(s.text, "ResealFence1") || s.revision != changes+1 {
			t.Errorf("the policy is %s, after %d changes (%v)", s.text, s.revision-changes, err)
		}
		if err := p.Restore(t.Context(), found[0], SidFence+"1"); err != nil || s.text != `{"Version":"2012-10-17","Statement":[`+string(text)+`]}` {
			t.Errorf("the policy is %s (%v)", s.text, err)
		}
		if err := p.Restore(t.Context(), found[0], SidFence+"1"); err != nil || s.revision != changes+2 {
			t.Errorf("once more: %d changes (%v)", s.revision-changes, err)
		}
	})
}
