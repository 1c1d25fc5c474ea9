package table_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/table"
	"reseal/internal/test/testkit"
)

// described is a table that passes all checks, with changes.
func described(name string, changes ...func(*types.TableDescription)) describer {
	td := &types.TableDescription{
		TableName:        aws.String(name),
		TableArn:         aws.String("arn:aws:dynamodb:eu-west-1:123456789012:table/" + name),
		TableId:          aws.String("id-of-" + name),
		TableStatus:      types.TableStatusActive,
		CreationDateTime: aws.Time(time.Unix(1_700_000_000, 0)),
		KeySchema: []types.KeySchemaElement{
			{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}, {AttributeName: aws.String("n"), KeyType: types.KeyTypeRange},
		},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("id"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("n"), AttributeType: types.ScalarAttributeTypeN},
		},
		SSEDescription:      &types.SSEDescription{SSEType: types.SSETypeKms, Status: types.SSEStatusEnabled},
		LatestStreamArn:     aws.String("arn:stream"),
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages},
	}
	for _, change := range changes {
		change(td)
	}
	return func(context.Context) (*types.TableDescription, error) { return td, nil }
}

func status(s types.TableStatus) func(*types.TableDescription) {
	return func(td *types.TableDescription) { td.TableStatus = s }
}

func view(v types.StreamViewType) func(*types.TableDescription) {
	return func(td *types.TableDescription) { td.StreamSpecification.StreamViewType = v }
}

func noStream(td *types.TableDescription)     { td.StreamSpecification = nil }
func noEncryption(td *types.TableDescription) { td.SSEDescription = nil }

// inNoTime runs a test on a clock that doesn't wait.
func inNoTime(test func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) { synctest.Test(t, test) }
}

func TestPreflight(t *testing.T) {
	for name, test := range map[string]struct {
		source, target describer
		needs          table.Needs
		says           []string // nil: it passes
	}{
		"all is well":           {described("src"), described("tgt"), table.Needs{Stream: true, Encryption: "kms"}, nil},
		"the stream has enough": {described("src", view(types.StreamViewTypeNewImage)), described("tgt"), table.Needs{Stream: true}, nil},
		"unknown need": {
			described("src"), described("tgt"), table.Needs{Encryption: "aes"}, []string{"--encryption", `"aes"`, "kms or any"},
		},
		"one table": {described("src"), described("src"), table.Needs{}, []string{"same table", `"src"`, "--target"}},
		"one name on two engines": {
			described("src"), described("src", func(td *types.TableDescription) { td.TableId = aws.String("other") }), table.Needs{}, nil,
		},
		"source being created": {described("src", status(types.TableStatusCreating)), described("tgt"), table.Needs{}, []string{"source", "CREATING", "ACTIVE"}},
		"source being changed": {described("src", status(types.TableStatusUpdating)), described("tgt"), table.Needs{}, []string{"source", "still UPDATING after 10m", "ACTIVE"}},
		"target being deleted": {described("src"), described("tgt", status(types.TableStatusDeleting)), table.Needs{}, []string{"target", "DELETING"}},
		"target without its key": {
			described("src"), described("tgt", status(types.TableStatusInaccessibleEncryptionCredentials)),
			table.Needs{},
			[]string{"target", "INACCESSIBLE_ENCRYPTION_CREDENTIALS"},
		},
		"another key name": {
			described("src"), described("tgt", func(td *types.TableDescription) {
				td.KeySchema[0].AttributeName, td.AttributeDefinitions[0].AttributeName = aws.String("ID"), aws.String("ID")
			}), table.Needs{}, []string{"id (S, hash), n (N, range)", "ID (S, hash), n (N, range)"},
		},
		"another key type": {
			described("src"), described("tgt", func(td *types.TableDescription) {
				td.AttributeDefinitions[1].AttributeType = types.ScalarAttributeTypeS
			}), table.Needs{}, []string{"n (N, range)", "n (S, range)"},
		},
		"no sort key": {
			described("src"), described("tgt", func(td *types.TableDescription) { td.KeySchema = td.KeySchema[:1] }),
			table.Needs{},
			[]string{"n (N, range)", "target has id (S, hash)"},
		},
		"no stream":            {described("src", noStream), described("tgt"), table.Needs{Stream: true}, []string{"source", "no stream", "update-table"}},
		"no stream needed":     {described("src", noStream), described("tgt", noStream), table.Needs{}, nil},
		"keys only":            {described("src", view(types.StreamViewTypeKeysOnly)), described("tgt"), table.Needs{Stream: true}, []string{"KEYS_ONLY", "NEW_IMAGE"}},
		"old images":           {described("src", view(types.StreamViewTypeOldImage)), described("tgt"), table.Needs{Stream: true}, []string{"OLD_IMAGE", "NEW_AND_OLD_IMAGES"}},
		"stream of the target": {described("src"), described("tgt", noStream), table.Needs{Stream: true}, nil},
		"not encrypted":        {described("src"), described("tgt", noEncryption), table.Needs{}, []string{"target", "KMS", "--encryption any"}},
		"not encrypted, kms":   {described("src"), described("tgt", noEncryption), table.Needs{Encryption: "kms"}, []string{"target", "KMS"}},
		"any encryption":       {described("src"), described("tgt", noEncryption), table.Needs{Encryption: "any"}, nil},
		"source not encrypted": {described("src", noEncryption), described("tgt"), table.Needs{}, nil},
	} {
		t.Run(name, inNoTime(func(t *testing.T) {
			target, err := test.target(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			pair, err := table.Preflight(t.Context(), test.source, "src", test.target, *target.TableName, test.needs)
			if test.says != nil {
				wantRefusal(t, err, test.says...)
				if pair.Source.Raw != nil || pair.Target.Raw != nil {
					t.Error("a pair is returned with an error")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if pair.Source.Side != "source" || pair.Target.Side != "target" || pair.Source.Raw == nil || pair.Target.Raw == nil {
				t.Errorf("pair %+v", pair)
			}
		}))
	}
}

func TestPreflightOnEngine(t *testing.T) {
	db := testkit.Client(testkit.Engine(t))
	source := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "id:S", Plain: true, Stream: types.StreamViewTypeNewAndOldImages})
	target := testkit.CreateTable(t, db, testkit.TableSpec{Hash: "id:S"})
	if _, err := table.Preflight(t.Context(), db, source, db, target, table.Needs{Stream: true}); err != nil {
		t.Error(err)
	}
	_, err := table.Preflight(t.Context(), db, target, db, source, table.Needs{Stream: true})
	wantRefusal(t, err, "no stream")
	_, err = table.Preflight(t.Context(), db, source, db, source, table.Needs{Stream: true})
	wantRefusal(t, err, "same table")
	_, err = table.Preflight(t.Context(), db, "no-such-source", db, target, table.Needs{})
	wantRefusal(t, err, "source", "no-such-source")
	_, err = table.Preflight(t.Context(), db, source, db, "no-such-target", table.Needs{})
	wantRefusal(t, err, "target", "no-such-target")
}

func TestPreflightContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := table.Preflight(ctx, describer(silent), "src", described("tgt"), "tgt", table.Needs{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
