package call_test

import (
	"strings"
	"testing"

	"reseal/internal/call"
	"reseal/internal/test/contract"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// Denials, in DynamoDB's own words, are told from one another, and nothing else of those words is shown.
func TestDenials(t *testing.T) {
	testkit.BadAnswers(t, "codes that other operations, or a later service, may have", contract.Exception)
	const (
		user  = "User: arn:aws:sts::123456789012:assumed-role/PRINCIPAL/session is not authorized to perform: "
		tbl   = "arn:aws:dynamodb:eu-west-1:123456789012:table/cities"
		key   = "arn:aws:kms:eu-west-1:123456789012:key/5b40e09a-d91a-4e01-8216-4ddfbfa9362a"
		model = "com.amazonaws.services.kms.model."
		tail  = " (Service: AWSKMS; Status Code: 400; Request ID: SECRET; Proxy: null)"
	)
	for name, test := range map[string]struct {
		code, message string
		want          call.Denial
		says          string
	}{
		"no policy": {
			"AccessDeniedException", user + "dynamodb:Scan on resource: " + tbl + " because no identity-based policy allows the dynamodb:Scan action",
			call.Denial{Action: "dynamodb:Scan", Resource: tbl},
			"dynamodb:Scan on " + tbl + " is not allowed: allow it",
		},
		"index": {
			"AccessDeniedException", user + "dynamodb:Query on resource: " + tbl + "/index/by-a",
			call.Denial{Action: "dynamodb:Query", Resource: tbl + "/index/by-a"},
			"by-a is not allowed",
		},
		"explicit": {
			"AccessDeniedException", user + "dynamodb:Scan on resource: " + tbl + " with an explicit deny in a VPC endpoint policy",
			call.Denial{Action: "dynamodb:Scan", Resource: tbl, Explicit: true},
			"is denied by a policy: take the denial out",
		},
		"no words": {"AccessDeniedException", "SECRET", call.Denial{Action: "dynamodb:Scan"}, "dynamodb:Scan is not allowed: allow it"},
		"words, but none of IAM's": {
			"AccessDeniedException", "not authorized to perform: secret:SECRET on resource: SECRET", call.Denial{Action: "dynamodb:Scan"}, "dynamodb:Scan is not allowed",
		},
		"key denied": {
			"AccessDeniedException", "KMS key access denied error: " + model + "AWSKMSException: " + user + "kms:Decrypt on resource: " + key + " because no" + tail,
			call.Denial{Action: "kms:Decrypt", Resource: key, Key: call.KeyDenied},
			"kms:Decrypt on " + key + " is not allowed: allow it in the key's policy",
		},
		"key denied, old words": {
			"AccessDeniedException", "KMS key access denied error: " + model + "AWSKMSException: The ciphertext refers to a customer master key that does not exist" + tail,
			call.Denial{Key: call.KeyDenied},
			"the use of the table's KMS key is not allowed: allow it in the key's policy",
		},
		"key denied, bare": {
			"AccessDeniedException", user + "kms:GenerateDataKey on resource: " + key,
			call.Denial{Action: "kms:GenerateDataKey", Resource: key, Key: call.KeyDenied},
			"in the key's policy",
		},
		"key disabled": {
			"ValidationException", "KMS key disabled error: " + model + "DisabledException: " + key + " is disabled." + tail,
			call.Denial{Resource: key, Key: call.KeyDisabled},
			"the KMS key " + key + " is disabled: enable it",
		},
		"key pending deletion": {
			"ValidationException", "KMS validation error: " + model + "KMSInvalidStateException: " + key + " is pending deletion." + tail,
			call.Denial{Resource: key, Key: call.KeyUnusable},
			"can't be used: it is deleted, pending deletion",
		},
		"key deleted": {
			"ValidationException", "KMS validation error: " + model + "NotFoundException: Key '" + key + "' does not exist" + tail,
			call.Denial{Resource: key, Key: call.KeyUnusable},
			"can't be used",
		},
		"queue's key": {"KMS.AccessDeniedException", "SECRET", call.Denial{Key: call.KeyDenied}, "in the key's policy"},
	} {
		t.Run(name, func(t *testing.T) {
			err := scanFailing(t, test.code, test.message)
			test.want.Code, test.want.Operation = test.code, "Scan"
			if got, is := call.DeniedBy(err); !is || got != test.want {
				t.Errorf("%+v, %t, want %+v", got, is, test.want)
			}
			text := call.Private(err).Error()
			if !strings.HasPrefix(text, "Scan: "+test.code+" (") || !strings.Contains(text, test.says) {
				t.Errorf("%q doesn't say %q", text, test.says)
			}
			if strings.Contains(text, "SECRET") || strings.Contains(text, "PRINCIPAL") {
				t.Errorf("%q shows what it must not", text)
			}
			if call.ItemRefused(err) {
				t.Error("it is taken for an item's fault")
			}
		})
	}
	for code, message := range map[string]string{
		"ValidationException": "One or more parameter values were invalid: Type mismatch for Index Key KMS key disabled error",
		"ResourceInUse":       "KMS key disabled error",
	} {
		if got, is := call.DeniedBy(scanFailing(t, code, message)); is {
			t.Errorf("%s is taken for %+v", code, got)
		}
	}
	if _, is := call.DeniedBy(nil); is {
		t.Error("no error is a denial")
	}
}

func scanFailing(t *testing.T, code, message string) error {
	t.Helper()
	proxy := testkit.NewProxy(t, "http://127.0.0.1:1")
	proxy.Use(func(*testkit.Exchange) *testkit.Response { return testkit.Fail(400, "x#"+code, message) })
	_, err := testkit.Client(proxy.URL).Scan(t.Context(), &dynamodb.ScanInput{TableName: new("t-table")})
	if err == nil {
		t.Fatal("no error")
	}
	return err
}
