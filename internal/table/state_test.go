package table_test

import (
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/table"
)

// Every status that the API reference knows has a remedy of its own: waiting is one for those that pass by themselves only.
func TestStates(t *testing.T) {
	const key, backup = "arn:aws:kms:eu-west-1:123456789012:key/k", "arn:aws:dynamodb:eu-west-1:123456789012:table/src/backup/b"
	more := map[types.TableStatus]func(*types.TableDescription){
		types.TableStatusUpdating: func(td *types.TableDescription) {
			td.GlobalSecondaryIndexes = []types.GlobalSecondaryIndexDescription{
				{IndexName: aws.String("by-a"), IndexStatus: types.IndexStatusActive}, {IndexName: aws.String("by-b"), IndexStatus: types.IndexStatusCreating},
			}
		},
		types.TableStatusInaccessibleEncryptionCredentials: func(td *types.TableDescription) {
			td.SSEDescription.KMSMasterKeyArn = aws.String(key)
			td.SSEDescription.InaccessibleEncryptionDateTime = aws.Time(time.Unix(1_700_000_000, 0))
		},
		types.TableStatusArchived: func(td *types.TableDescription) {
			td.ArchivalSummary = &types.ArchivalSummary{ArchivalReason: aws.String("INACCESSIBLE_ENCRYPTION_CREDENTIALS"), ArchivalBackupArn: aws.String(backup)}
		},
	}
	says := map[types.TableStatus][]string{
		types.TableStatusCreating:                          {"wait until it is ACTIVE"},
		types.TableStatusUpdating:                          {"its index by-b is CREATING", "wait until it is ACTIVE"},
		types.TableStatusDeleting:                          {"give another table"},
		types.TableStatusInaccessibleEncryptionCredentials: {"since 2023-11-14T22:13:20Z", key, "enable it", "seven days"},
		types.TableStatusArchiving:                         {"wait until it is ARCHIVED", "restore the backup"},
		types.TableStatusArchived:                          {"(INACCESSIBLE_ENCRYPTION_CREDENTIALS)", backup, "restore"},
		types.TableStatusReplicationNotAuthorized:          {"resource policy"},
		"SOMETHING_NEW":                                    {"SOMETHING_NEW", "API reference"},
		"":                                                 {"no status"},
	}
	for _, known := range types.TableStatus("").Values() {
		if says[known] == nil && known != types.TableStatusActive {
			t.Errorf("no words for %s", known)
		}
	}
	for state, words := range says {
		for _, full := range []bool{false, true} {
			change := func(td *types.TableDescription) {
				td.TableStatus = state
				if full && more[state] != nil {
					more[state](td)
				}
			}
			if !full && more[state] != nil {
				words = nil // they are in what is not described here
			}
			info, err := table.Describe(t.Context(), described("src", change), "source", "src")
			if err != nil {
				t.Fatal(err)
			}
			err = info.CheckActive()
			wantRefusal(t, err, append([]string{"source", string(state)}, words...)...)
			passes := state == types.TableStatusUpdating || state == types.TableStatusCreating
			if waits := strings.Contains(err.Error(), "until it is ACTIVE"); waits != passes {
				t.Errorf("%s: %v", state, err)
			}
			if err := info.CheckState(); (err == nil) != passes {
				t.Errorf("%s: CheckState says %v", state, err)
			}
		}
	}
	info, err := table.Describe(t.Context(), described("src"), "source", "src")
	if err != nil || info.CheckActive() != nil || info.CheckState() != nil {
		t.Errorf("an ACTIVE table: %v, %v, %v", err, info.CheckActive(), info.CheckState())
	}
}
