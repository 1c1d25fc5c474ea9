package table

import (
	"fmt"
	"strings"
	"time"

	"reseal/internal/refuse"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// passes tells whether a status ends in ACTIVE by itself. An UPDATING table serves reads and writes, but a stream that is being enabled
// may not hold every change yet, and a CREATING one serves nothing (API reference, TableDescription).
func passes(status types.TableStatus) bool {
	return status == types.TableStatusUpdating || status == types.TableStatusCreating
}

// CheckState refuses a table whose status keeps it from being used and doesn't pass by itself, each with what to do about it. It lets an
// ACTIVE table pass, and one that is CREATING or UPDATING. Its error is a *refuse.Error.
func (i Info) CheckState() error {
	if i.Raw.TableStatus == types.TableStatusActive || passes(i.Raw.TableStatus) {
		return nil
	}
	return refuse.New(i.stateRemedy(), "%s is %s", called(i.Side, i.Name), i.stateWords())
}

// CheckActive refuses a table that isn't ACTIVE. See Await, which waits for what passes by itself. Its error is a *refuse.Error.
func (i Info) CheckActive() error {
	if passes(i.Raw.TableStatus) {
		return refuse.New("wait until it is ACTIVE", "%s is %s", called(i.Side, i.Name), i.stateWords())
	}
	return i.CheckState()
}

// stateWords is the table's status, with what is known of its reason.
func (i Info) stateWords() string {
	status := string(i.Raw.TableStatus)
	switch i.Raw.TableStatus {
	case types.TableStatusUpdating:
		if doing := i.doing(); doing != "" {
			return status + " (" + doing + ")"
		}
	case types.TableStatusInaccessibleEncryptionCredentials:
		if sse := i.Raw.SSEDescription; sse != nil && sse.InaccessibleEncryptionDateTime != nil {
			return status + " since " + sse.InaccessibleEncryptionDateTime.UTC().Format(time.RFC3339)
		}
	case types.TableStatusArchived:
		if a := i.Raw.ArchivalSummary; a != nil && aws.ToString(a.ArchivalReason) != "" {
			return fmt.Sprintf("%s (%s)", status, aws.ToString(a.ArchivalReason))
		}
	case "":
		return "in no status that is known"
	}
	return status
}

// doing is what an UPDATING table is being changed in, as far as its description has it.
func (i Info) doing() string {
	var list []string
	for _, index := range i.Raw.GlobalSecondaryIndexes {
		if status := index.IndexStatus; status != "" && status != types.IndexStatusActive {
			list = append(list, fmt.Sprintf("its index %s is %s", aws.ToString(index.IndexName), status))
		}
	}
	return strings.Join(list, ", ")
}

// stateRemedy says how a table comes out of its status. Sources: API reference, TableDescription (TableStatus, ArchivalSummary) and
// SSEDescription; developer guide, "DynamoDB encryption at rest usage notes" and "DynamoDB global tables security".
func (i Info) stateRemedy() string {
	switch i.Raw.TableStatus {
	case types.TableStatusDeleting:
		return "give another table, this one is going away"
	case types.TableStatusInaccessibleEncryptionCredentials:
		return "give DynamoDB the use of " + i.key() + " again: enable it, cancel its deletion, or put its policy and grants right; " +
			"after seven days without it DynamoDB archives the table"
	case types.TableStatusArchiving:
		return "its key was out of DynamoDB's reach for seven days: wait until it is ARCHIVED, and restore the backup that DynamoDB makes of it"
	case types.TableStatusArchived:
		backup := "the backup that DynamoDB made of it"
		if a := i.Raw.ArchivalSummary; a != nil && aws.ToString(a.ArchivalBackupArn) != "" {
			backup = "the backup " + aws.ToString(a.ArchivalBackupArn)
		}
		return "it serves nothing any more: make its KMS key usable again and restore " + backup + " to a new table"
	case types.TableStatusReplicationNotAuthorized:
		return "let the replication of its global table pass again (the table's resource policy and the service-linked role); " +
			"a replica that stays like this is cut off after some hours"
	default:
		return "see TableStatus in the DynamoDB API reference"
	}
}

// key names the KMS key of the table.
func (i Info) key() string {
	if sse := i.Raw.SSEDescription; sse != nil && aws.ToString(sse.KMSMasterKeyArn) != "" {
		return "the KMS key " + aws.ToString(sse.KMSMasterKeyArn)
	}
	return "the table's KMS key"
}
