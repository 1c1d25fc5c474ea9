package prepare_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"reseal/internal/prepare"
	"reseal/internal/refuse"
	"reseal/internal/table"
)

// twoAccounts has the profiles one, two and same (another name for one), and an STS that knows whose they are, but for that of nobody.
func twoAccounts(t *testing.T) {
	t.Helper()
	sts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for key, account := range map[string]string{"KEYONE": "111122223333", "KEYTWO": "444455556666"} {
			if strings.Contains(r.Header.Get("Authorization"), "Credential="+key+"/") {
				_, _ = fmt.Fprintf(w, `<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult><Account>%s</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`, account)
				return
			}
		}
		w.WriteHeader(http.StatusForbidden)
		_, _ = fmt.Fprint(w, `<ErrorResponse><Error><Code>InvalidClientTokenId</Code><Message>no</Message></Error></ErrorResponse>`)
	}))
	t.Cleanup(sts.Close)
	text := ""
	for profile, key := range map[string]string{"one": "KEYONE", "same": "KEYONE", "two": "KEYTWO", "nobody": "KEYX"} {
		text += fmt.Sprintf("[profile %s]\naws_access_key_id = %s\naws_secret_access_key = x\nregion = eu-west-1\n", profile, key)
	}
	path := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"AWS_CONFIG_FILE": path, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_ENDPOINT_URL_STS": sts.URL, "AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_PROFILE": "", "AWS_REGION": ""} {
		t.Setenv(name, value)
	}
}

func openSide(t *testing.T, name, ref, profile string) *table.Handle {
	t.Helper()
	h, err := table.Side{Name: name, Table: ref, Profile: profile}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func arnIn(account string) string { return "arn:aws:dynamodb:eu-west-1:" + account + ":table/cities" }

// Two names may mean tables of two accounts: no stack joins them, whatever they are called.
func TestOneStack(t *testing.T) {
	twoAccounts(t)
	for name, test := range map[string]struct {
		source, sourceProfile, target, targetProfile string
		says                                         string // "": one stack will do
	}{
		"one profile":                   {"cities", "one", "twin", "one", ""},
		"two names of one account":      {"cities", "one", "twin", "same", ""},
		"two profiles, two accounts":    {"cities", "one", "twin", "two", "account 111122223333 and the target in 444455556666"},
		"an ARN of another account":     {arnIn("444455556666"), "one", "twin", "one", "account 444455556666 and the target in 111122223333"},
		"an ARN of the same account":    {arnIn("111122223333"), "one", "twin", "one", ""},
		"an account that is not known":  {"cities", "one", "twin", "nobody", "not known in which account the target is"},
		"two ARNs need nobody's answer": {arnIn("444455556666"), "nobody", strings.Replace(arnIn("444455556666"), "cities", "twin", 1), "one", ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := prepare.OneStack(t.Context(), openSide(t, "source", test.source, test.sourceProfile), openSide(t, "target", test.target, test.targetProfile))
			switch {
			case test.says == "" && err != nil:
				t.Error(err)
			case test.says != "" && (!refuse.Is(err) || !strings.Contains(err.Error(), test.says)):
				t.Errorf("it says %v, want %q", err, test.says)
			}
		})
	}
}

// Application Auto Scaling knows names only: what it says of a namesake in the caller's account is not the source's.
func TestScalingOfAnotherAccount(t *testing.T) {
	twoAccounts(t)
	for name, test := range map[string]struct{ ref, profile, says string }{
		"one's own by name":   {"cities", "one", ""},
		"one's own by ARN":    {arnIn("111122223333"), "one", ""},
		"another's":           {arnIn("444455556666"), "one", "account 444455556666"},
		"whose, is not known": {arnIn("444455556666"), "nobody", "InvalidClientTokenId"},
	} {
		t.Run(name, func(t *testing.T) {
			client, why := prepare.OpenScaling(t.Context(), openSide(t, "source", test.ref, test.profile))
			if (client == nil) != (test.says != "") || !strings.Contains(why, test.says) {
				t.Errorf("client %v, %q", client != nil, why)
			}
		})
	}
}
