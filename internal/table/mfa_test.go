package table_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"reseal/internal/table"
)

const mfaProfile = `[profile base]
aws_access_key_id = a
aws_secret_access_key = b
[profile guarded]
region = eu-west-1
role_arn = arn:aws:iam::123456789012:role/operator
source_profile = base
mfa_serial = arn:aws:iam::123456789012:mfa/someone
`

// guarded has a profile with an mfa_serial, and a token service.
func guarded(t *testing.T) {
	t.Helper()
	url, _ := sts(t, time.Hour)
	if err := os.WriteFile(cleanEnvironment(t, "AWS_ENDPOINT_URL_STS="+url), []byte(mfaProfile), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A code is asked for once for both sides: it is taken once only.
func TestCodeIsAskedFor(t *testing.T) {
	guarded(t)
	var asked []string
	ctx := table.OnAsking(t.Context(), func(_ context.Context, question string) (string, error) {
		asked = append(asked, question)
		return "123456\n", nil
	})
	for _, name := range []string{"source", "target"} {
		h, err := table.Side{Name: name, Table: "abc", Profile: "guarded"}.Open(ctx)
		if err != nil {
			t.Fatal(err)
		}
		got, err := h.DB.Options().Credentials.Retrieve(ctx)
		if err != nil || got.AccessKeyID != "assumed" {
			t.Errorf("key %q, error %v", got.AccessKeyID, err)
		}
	}
	if len(asked) != 1 || !strings.Contains(asked[0], "MFA code for the source") {
		t.Errorf("asked %q", asked)
	}
}

func TestCodeIsNotGiven(t *testing.T) {
	guarded(t)
	_, err := table.Side{Name: "source", Table: "abc", Profile: "guarded"}.Open(t.Context())
	wantRefusal(t, err, `the source's profile "guarded"`, "mfa_serial", "aws configure export-credentials --profile guarded")
	for answer, says := range map[string]string{"": "no code was given", "!": "read: planted"} {
		_, err = table.Side{Name: "source", Table: "abc", Profile: "guarded"}.Open(table.OnAsking(t.Context(), func(context.Context, string) (string, error) {
			if answer == "!" {
				return "", errors.New("read: planted")
			}
			return answer, nil
		}))
		wantRefusal(t, err, "source", says)
	}
	t.Setenv("AWS_PROFILE", "guarded")
	_, err = table.Side{Name: "target", Table: "abc"}.Open(t.Context())
	wantRefusal(t, err, "the profile of the target", "mfa_serial", "aws configure export-credentials --format env")
}
