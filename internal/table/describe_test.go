package table_test

import (
	"context"
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/item"
	"reseal/internal/table"
	"reseal/internal/test/testkit"
)

func TestDescribe(t *testing.T) {
	db := testkit.Client(testkit.Engine(t))
	spec := testkit.TableSpec{Hash: "id:S", Range: "n:N", Stream: types.StreamViewTypeNewImage}
	name := testkit.CreateTable(t, db, spec)
	info, err := table.Describe(t.Context(), db, "source", name)
	if err != nil {
		t.Fatal(err)
	}
	schema := item.Schema{
		Hash:  item.KeyAttribute{Name: "id", Type: types.ScalarAttributeTypeS},
		Range: item.KeyAttribute{Name: "n", Type: types.ScalarAttributeTypeN},
	}
	if info.Side != "source" || info.Name != name || info.Schema != schema || info.Raw == nil {
		t.Errorf("info %+v", info)
	}
	if info.Encryption() != "KMS" || info.StreamView() != types.StreamViewTypeNewImage || info.StreamARN() == "" {
		t.Errorf("encryption %s, stream %s %s", info.Encryption(), info.StreamView(), info.StreamARN())
	}
	identity := info.Identity()
	if identity.ARN != info.ARN || identity.ARN == "" || identity.ID != info.ID {
		t.Errorf("identity %+v", identity)
	}
	if made, err := time.Parse(time.RFC3339, identity.Made); err != nil || time.Since(made).Abs() > time.Hour {
		t.Errorf("made %q, error %v", identity.Made, err)
	}

	plain := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "id:B", Plain: true})
	info, err = table.Describe(t.Context(), db, "target", plain)
	if err != nil {
		t.Fatal(err)
	}
	if info.Encryption() != "AWS_OWNED" || info.StreamView() != "" || info.StreamARN() != "" {
		t.Errorf("encryption %s, stream %s %s", info.Encryption(), info.StreamView(), info.StreamARN())
	}
	if info.Identity() == identity || info.Identity().String() == identity.String() {
		t.Errorf("two tables have the identity %s", identity)
	}
}

func TestDescribeErrors(t *testing.T) {
	url := testkit.Engine(t)
	proxy := testkit.NewProxy(t, url)
	db := testkit.Client(proxy.URL)
	for name, test := range map[string]struct {
		answer *testkit.Response
		says   []string
	}{
		"not found":     {nil, []string{`"no-such-table"`, "does not exist"}},
		"access denied": {testkit.Fail(400, "com.amazon.coral.service#AccessDeniedException", "User: x is not authorized"), []string{"denied", "dynamodb:DescribeTable"}},
		"denied by a policy": {
			testkit.Fail(400, "AccessDeniedException", "User: x is not authorized to perform: dynamodb:DescribeTable on resource: y with an explicit deny in a service control policy"),
			[]string{"denied by a policy", "dynamodb:DescribeTable", "take the denial out"},
		},
		"key denied": {
			testkit.Fail(400, "AccessDeniedException", "KMS key access denied error: com.amazonaws.services.kms.model.AWSKMSException: x is not authorized to perform: kms:Decrypt"),
			[]string{"kms:Decrypt is not allowed", "the key's policy"},
		},
		"bad token": {
			testkit.Fail(400, "com.amazon.coral.service#UnrecognizedClientException", "The security token included in the request is invalid."),
			[]string{"does not accept the credentials", "UnrecognizedClientException"},
		},
		"expired token": {testkit.Fail(400, "com.amazon.coral.service#ExpiredTokenException", ""), []string{"credentials", "ExpiredTokenException"}},
		"bad signature": {testkit.Fail(400, "com.amazon.coral.service#InvalidSignatureException", ""), []string{"credentials", "InvalidSignatureException"}},
		"validation":    {testkit.Fail(400, "ValidationException", "a\nb"), []string{"can't be described", "ValidationException: a b"}},
		"unavailable":   {testkit.Fail(503, "ServiceUnavailable", ""), []string{"can't be described", "ServiceUnavailable"}},
		"cut":           {&testkit.Response{Cut: true}, []string{"can't be reached"}},
		"no DynamoDB":   {&testkit.Response{Body: []byte("<html>")}, []string{"can't be described"}},
		"nothing":       {&testkit.Response{Body: []byte("{}")}, []string{"endpoint URL"}},
		"no keys":       {&testkit.Response{Body: []byte(`{"Table":{"TableName":"x"}}`)}, []string{"endpoint URL", "hash"}},
	} {
		t.Run(name, func(t *testing.T) {
			proxy.Use(func(*testkit.Exchange) *testkit.Response { return test.answer })
			_, err := table.Describe(t.Context(), db, "target", "no-such-table")
			wantRefusal(t, err, append(test.says, "target")...)
		})
	}
}

// A client as Open makes it repeats what may be a passing fault.
func TestDescribeRepeats(t *testing.T) {
	cleanEnvironment(t, keys, secret)
	url := testkit.Engine(t)
	name := testkit.CreateTable(t, testkit.Client(url), testkit.TableSpec{Hash: "id:S"})
	proxy := testkit.NewProxy(t, url)
	proxy.Use(func(x *testkit.Exchange) *testkit.Response {
		if proxy.Count(x.Op) == 1 {
			return testkit.Fail(500, "InternalServerError", "")
		}
		return nil
	})
	h, err := table.Side{Name: "source", Table: name, EndpointURL: proxy.URL}.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Describe(t.Context(), h.DB, "source", h.Table); err != nil {
		t.Error(err)
	}
}

func TestDescribeUnreachable(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = table.Describe(t.Context(), testkit.Client("http://"+address), "source", "some-table")
	wantRefusal(t, err, "source", "can't be reached", "connection refused", address)
	_, err = table.Describe(t.Context(), testkit.Client("http://no-such-host.invalid"), "source", "some-table")
	wantRefusal(t, err, "source", "can't be reached", "no-such-host.invalid")
}

// describer answers DescribeTable.
type describer func(context.Context) (*types.TableDescription, error)

func (d describer) DescribeTable(ctx context.Context, _ *dynamodb.DescribeTableInput, _ ...func(*dynamodb.Options)) (*dynamodb.DescribeTableOutput, error) {
	td, err := d(ctx)
	return &dynamodb.DescribeTableOutput{Table: td}, err
}

func silent(ctx context.Context) (*types.TableDescription, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestDescribeWithoutAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := table.Describe(t.Context(), describer(silent), "source", "some-table")
		wantRefusal(t, err, "source", "can't be reached")
		if d := time.Since(start); d != 30*time.Second {
			t.Errorf("it was given up after %s", d)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = table.Describe(ctx, describer(silent), "source", "some-table")
		if !errors.Is(err, context.DeadlineExceeded) || err.Error() != context.DeadlineExceeded.Error() {
			t.Errorf("the context's end: error %v", err)
		}
	})
}

func TestEncryption(t *testing.T) {
	for name, test := range map[string]struct {
		sse  *types.SSEDescription
		want string
	}{
		"not described": {nil, "AWS_OWNED"},
		"KMS":           {&types.SSEDescription{SSEType: types.SSETypeKms, Status: types.SSEStatusEnabled}, "KMS"},
		"key changing":  {&types.SSEDescription{SSEType: types.SSETypeKms, Status: types.SSEStatusUpdating}, "KMS"},
		"enabling":      {&types.SSEDescription{SSEType: types.SSETypeKms, Status: types.SSEStatusEnabling}, "AWS_OWNED"},
		"disabled":      {&types.SSEDescription{SSEType: types.SSETypeKms, Status: types.SSEStatusDisabled}, "AWS_OWNED"},
		"AES256":        {&types.SSEDescription{SSEType: types.SSETypeAes256, Status: types.SSEStatusEnabled}, "AWS_OWNED"},
	} {
		info := table.Info{Raw: &types.TableDescription{SSEDescription: test.sse}}
		if got := info.Encryption(); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestStream(t *testing.T) {
	// AWS leaves LatestStreamArn in place when a stream is disabled.
	info := table.Info{Raw: &types.TableDescription{LatestStreamArn: aws.String("arn")}}
	if info.StreamARN() != "" || info.StreamView() != "" {
		t.Errorf("a stream that is off: %q, %q", info.StreamARN(), info.StreamView())
	}
	info.Raw.StreamSpecification = &types.StreamSpecification{StreamEnabled: aws.Bool(false), StreamViewType: types.StreamViewTypeNewImage}
	if info.StreamARN() != "" || info.StreamView() != "" {
		t.Errorf("a stream that is off: %q, %q", info.StreamARN(), info.StreamView())
	}
	info.Raw.StreamSpecification.StreamEnabled = aws.Bool(true)
	if info.StreamARN() != "arn" || info.StreamView() != types.StreamViewTypeNewImage {
		t.Errorf("a stream that is on: %q, %q", info.StreamARN(), info.StreamView())
	}
}
