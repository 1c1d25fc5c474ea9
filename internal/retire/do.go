package retire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/call"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Plan is what Do does, in words.
func Plan(o Options) []string {
	var list []string
	if !o.NoBackup {
		list = append(list, "take a backup of it, and wait until that is AVAILABLE")
	}
	if aws.ToBool(o.Table.Raw.DeletionProtectionEnabled) {
		list = append(list, "take its deletion protection off")
	}
	return append(list, "delete it, with its items and its stream")
}

// Do backs the table up, takes its protection off and deletes it. Check must have found nothing against that. What was done is in the result,
// also with an error.
func Do(ctx context.Context, o Options, result *Result) error {
	if !o.NoBackup {
		o.tell("taking a backup")
		arn, err := backup(ctx, o)
		if err != nil {
			return err
		}
		result.BackupARN = arn
	}
	now, err := o.Table.Again(ctx, o.API) // a backup may take long
	if err != nil {
		return err
	}
	if aws.ToBool(now.Raw.DeletionProtectionEnabled) {
		if !o.Unprotect {
			return fmt.Errorf("%w: it is protected against deletion by now", table.ErrChanged)
		}
		o.tell("taking the deletion protection off")
		_, err := o.API.UpdateTable(ctx, &dynamodb.UpdateTableInput{TableName: &o.Table.Sent, DeletionProtectionEnabled: aws.Bool(false)})
		if err != nil {
			return fmt.Errorf("take deletion protection off: %w", call.Private(err))
		}
		if _, err := table.Await(ctx, o.API, o.Table.Side, o.Table.Sent); err != nil {
			return fmt.Errorf("take deletion protection off: %s", err) // not %w: something was done
		}
		if _, err := o.Table.Again(ctx, o.API); err != nil {
			return err
		}
	}
	o.tell("deleting the table")
	if _, err := o.API.DeleteTable(ctx, &dynamodb.DeleteTableInput{TableName: &o.Table.Sent}); err != nil {
		return fmt.Errorf("delete table: %w", call.Private(err))
	}
	if err := awaitGone(ctx, o); err != nil {
		return err
	}
	result.Deleted = true
	return nil
}

func (o Options) tell(what string) {
	if o.Tell != nil {
		o.Tell(what)
	}
}

const waitInterval = 2 * time.Second

// backup makes an on-demand backup, and returns its ARN when it can be restored.
func backup(ctx context.Context, o Options) (string, error) {
	name := "reseal-" + o.Table.Name
	if len(name) > 240 {
		name = name[:240]
	}
	name += "-" + time.Now().UTC().Format("20060102T150405Z")
	made, err := o.API.CreateBackup(ctx, &dynamodb.CreateBackupInput{TableName: &o.Table.Sent, BackupName: &name})
	if err != nil {
		return "", fmt.Errorf("create backup: %w", call.Private(err))
	}
	if made.BackupDetails == nil || aws.ToString(made.BackupDetails.BackupArn) == "" {
		return "", errors.New("create backup: the answer has no ARN")
	}
	arn := made.BackupDetails.BackupArn
	for {
		out, err := o.API.DescribeBackup(ctx, &dynamodb.DescribeBackupInput{BackupArn: arn})
		switch {
		case err != nil:
			return "", fmt.Errorf("describe backup %s: %w", *arn, call.Private(err))
		case out.BackupDescription == nil || out.BackupDescription.BackupDetails == nil:
			return "", fmt.Errorf("describe backup %s: the answer has no details", *arn)
		}
		switch status := out.BackupDescription.BackupDetails.BackupStatus; status {
		case types.BackupStatusAvailable:
			return *arn, isOf(out.BackupDescription.SourceTableDetails, o.Table)
		case types.BackupStatusDeleted:
			return "", fmt.Errorf("the backup %s was deleted meanwhile", *arn)
		}
		if err := call.Sleep(ctx, waitInterval); err != nil {
			return "", fmt.Errorf("wait for backup %s: %w", *arn, err)
		}
	}
}

// isOf makes sure that a backup is of the table, where it tells.
func isOf(details *types.SourceTableDetails, info table.Info) error {
	if details == nil || details.TableId == nil || info.ID == "" || *details.TableId == info.ID {
		return nil
	}
	return fmt.Errorf("%w: the backup is of another table of that name", table.ErrChanged)
}

// awaitGone waits until there is no such table any more.
func awaitGone(ctx context.Context, o Options) error {
	for {
		_, err := o.API.DescribeTable(ctx, &dynamodb.DescribeTableInput{TableName: &o.Table.Sent})
		var gone *types.ResourceNotFoundException
		if errors.As(err, &gone) {
			return nil
		}
		if slept := call.Sleep(ctx, waitInterval); slept != nil {
			return fmt.Errorf("wait until the table is deleted: %w", errors.Join(slept, err))
		}
	}
}
