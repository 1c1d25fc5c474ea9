package call_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"reseal/internal/call"
	"reseal/internal/test/contract"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

func TestPrivate(t *testing.T) {
	testkit.BadAnswers(t, "a code that a later service may have", contract.Exception)
	const secret = "TOP-SECRET"
	proxy := testkit.NewProxy(t, testkit.Engine(t))
	for _, code := range []string{"ValidationException", "AccessDeniedException", "ResourceNotFoundException", "SomethingNewException"} {
		proxy.Use(func(*testkit.Exchange) *testkit.Response { return testkit.Fail(400, "x#"+code, secret) })
		_, err := testkit.Client(proxy.URL).Scan(t.Context(), &dynamodb.ScanInput{TableName: new("t-table")})
		if err == nil || !strings.Contains(err.Error(), secret) {
			t.Fatalf("error %v: this test tests nothing", err)
		}
		private := fmt.Errorf("read it: %w", call.Private(err))
		if text := private.Error(); strings.Contains(text, secret) || !strings.HasPrefix(text, "read it: Scan: "+code+" (") {
			t.Errorf("words %q", text)
		}
		if got := call.Message(private); got != code+": "+secret {
			t.Errorf("message %q", got)
		}
		if call.Classify(private) != call.Refused || call.ItemRefused(private) != (code == "ValidationException") {
			t.Errorf("%s: %v", code, call.Classify(private))
		}
		if missing := (*types.ResourceNotFoundException)(nil); errors.As(private, &missing) != (code == "ResourceNotFoundException") {
			t.Errorf("%s is found as %v", code, missing)
		}
	}
	planted := errors.New("planted")
	if got := call.Private(planted); got != planted { //nolint:errorlint // it must be the same
		t.Errorf("an error of another kind became %v", got)
	}
	if err := call.Private(nil); err != nil {
		t.Errorf("nothing became %v", err)
	}
}
