package prepare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"reseal/internal/call"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// SourceAPI is what Apply asks of the source's client; *dynamodb.Client has it.
type SourceAPI interface {
	ReadAPI
	UpdateTable(context.Context, *dynamodb.UpdateTableInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTableOutput, error)
}

// TargetAPI is what Apply asks of the target's client; *dynamodb.Client has it.
type TargetAPI interface {
	ReadAPI
	CreateTable(context.Context, *dynamodb.CreateTableInput, ...func(*dynamodb.Options)) (*dynamodb.CreateTableOutput, error)
	UpdateTimeToLive(context.Context, *dynamodb.UpdateTimeToLiveInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateTimeToLiveOutput, error)
	UpdateContinuousBackups(context.Context, *dynamodb.UpdateContinuousBackupsInput, ...func(*dynamodb.Options)) (*dynamodb.UpdateContinuousBackupsOutput, error)
	UntagResource(context.Context, *dynamodb.UntagResourceInput, ...func(*dynamodb.Options)) (*dynamodb.UntagResourceOutput, error)
}

// ApplyOptions say which tables to prepare.
type ApplyOptions struct {
	Source      SourceAPI
	SourceTable string     // name or ARN
	Scaling     ScalingAPI // of the source, for Applied.Notes; may be nil
	NoScaling   string     // why Scaling is nil
	Target      TargetAPI
	TargetTable string            // name or ARN
	KMSKey      string            // the target's key: id, ARN or alias; "": DynamoDB's own in the account (alias/aws/dynamodb)
	Progress    func(step string) // called before each step; may be nil
}

// Applied is what Apply did, and found done.
type Applied struct {
	Source         string   `json:"source"`
	Target         string   `json:"target"`
	StreamARN      string   `json:"stream_arn"`
	StreamEnabled  bool     `json:"stream_enabled"` // by this run
	TargetARN      string   `json:"target_arn"`
	TargetCreated  bool     `json:"target_created"` // by this run
	KMSKeyARN      string   `json:"kms_key_arn"`
	Notes          []string `json:"notes"` // what the target has not of the source, and what was not checked
	ElapsedSeconds float64  `json:"elapsed_seconds"`
}

// unfinishedTag is on a target that Apply has created until it has all of its settings: CreateTable doesn't take them all, and without
// the tag, one that is half done could not be told from somebody else's.
const unfinishedTag = "reseal:unfinished"

const (
	activePatience  = 30 * time.Minute
	backupsPatience = 10 * time.Minute
	poll            = time.Second
)

// Apply makes the target, encrypted and with the source's keys, indexes and settings, and enables the source's stream:
//
//  1. Look at both tables. A source whose stream has no new images, and a target that is there but differs, are refused.
//  2. Create the target if it is missing, wait until it is ACTIVE, and give it what CreateTable can't.
//  3. Enable the source's stream if it has none, and wait until it is ACTIVE.
//  4. Look at the target again: only what is seen there is called done.
//
// It may be repeated: what is done already is left as it is. It returns a *refuse.Error if nothing was written, and another error if
// it failed on the way.
func Apply(ctx context.Context, o ApplyOptions) (Applied, error) {
	a := applying{ApplyOptions: o, start: time.Now()}
	if a.Progress == nil {
		a.Progress = func(string) {}
	}
	if err := a.look(ctx); err != nil {
		return Applied{}, err
	}
	if err := a.makeTarget(ctx); err != nil {
		return Applied{}, err
	}
	if err := a.enableStream(ctx); err != nil {
		return Applied{}, err
	}
	return a.result(ctx)
}

// applying is one Apply.
type applying struct {
	ApplyOptions
	key     kmsKey
	source  Table
	target  *Table // nil: there is none yet
	start   time.Time
	created bool
	enabled bool
}

func (a *applying) look(ctx context.Context) (err error) {
	if a.key, err = newKey(a.KMSKey); err != nil {
		return err
	}
	if a.source, err = Read(ctx, a.Source, a.Scaling, "source", a.SourceTable); err != nil {
		return err
	}
	a.source.whyNoScaling(a.NoScaling)
	if status := a.source.Raw.TableStatus; status == types.TableStatusCreating {
		return refuse.New("wait until it is ACTIVE", "the source table %q is %s", a.source.Name, status)
	}
	if view := a.source.StreamView(); view != "" && !a.source.hasNewImages() {
		return refuse.New("disable it, when its readers don't need it any more, and run this again",
			"the stream of the source table %q is %s and has no new images", a.source.Name, view)
	}
	target, err := Read(ctx, a.Target, nil, "target", a.TargetTable)
	if missing := (*types.ResourceNotFoundException)(nil); errors.As(err, &missing) {
		return nil
	}
	if err != nil {
		return err
	}
	if target.ARN == a.source.ARN && target.ID == a.source.ID {
		return refuse.New("give another --target", "source and target are the same table %q", a.source.Name)
	}
	if target.Deleting != nil {
		return refuse.New("wait until it is gone, and run this again", "the index %s of the target table %q is being deleted", strings.Join(target.Deleting, ", "), target.Name)
	}
	if differences, _ := a.key.compare(a.source, target, isUnfinished(target)); differences != nil {
		return refuse.New("give another --target, or change or delete it yourself", "the target table %q is there already and differs: %s", target.Name, strings.Join(differences, "; "))
	}
	a.target = &target
	return nil
}

func isUnfinished(t Table) bool {
	return slices.ContainsFunc(t.Tags.Value, func(tag types.Tag) bool { return aws.ToString(tag.Key) == unfinishedTag })
}

func (a *applying) makeTarget(ctx context.Context) error {
	if a.target == nil {
		a.Progress("creating the target")
		if _, err := a.Target.CreateTable(ctx, a.createInput()); err != nil {
			// A target that is in use may be ours: the SDK repeats a request whose answer was lost.
			inUse := (*types.ResourceInUseException)(nil)
			if call.Classify(err) == call.Refused && !errors.As(err, &inUse) {
				return refuse.Because(err, "see the message", "the target table %q can't be created (%s)", a.TargetTable, call.Message(err))
			}
			return fmt.Errorf("create target: %w", err)
		}
		a.created = true
	}
	a.Progress("waiting until the target is ACTIVE")
	if err := active(ctx, a.Target, a.TargetTable); err != nil {
		return fmt.Errorf("wait for target: %w", err)
	}
	if err := a.awaitIndexes(ctx); err != nil {
		return err
	}
	if isUnfinished := a.created && a.hasMore() || a.target != nil && isUnfinished(*a.target); !isUnfinished {
		return nil
	}
	a.Progress("giving the target its settings")
	return a.finish(ctx)
}

// hasMore tells whether the target needs more than CreateTable gives.
func (a *applying) hasMore() bool {
	return a.source.TimeToLive.Value != "" || a.source.Recovery.Value.On
}

// finish gives the target what CreateTable can't, and takes the tag away.
func (a *applying) finish(ctx context.Context) error {
	now, err := readAgain(ctx, a.Target, "target", a.TargetTable)
	if err != nil {
		return fmt.Errorf("describe target: %w", err)
	}
	if name := a.source.TimeToLive.Value; name != "" && now.TimeToLive.Value != name {
		_, err := a.Target.UpdateTimeToLive(ctx, &dynamodb.UpdateTimeToLiveInput{
			TableName: &a.TargetTable, TimeToLiveSpecification: &types.TimeToLiveSpecification{AttributeName: &name, Enabled: aws.Bool(true)},
		})
		if err != nil {
			return fmt.Errorf("enable time to live of target: %w", err)
		}
	}
	if want := a.source.Recovery.Value; want.On && now.Recovery.Value != want {
		if err := a.enableRecovery(ctx, want); err != nil {
			return fmt.Errorf("enable point-in-time recovery of target: %w", err)
		}
	}
	if _, err := a.Target.UntagResource(ctx, &dynamodb.UntagResourceInput{ResourceArn: &now.ARN, TagKeys: []string{unfinishedTag}}); err != nil {
		return fmt.Errorf("take the tag %s from target: %w", unfinishedTag, err)
	}
	return nil
}

// enableRecovery waits as long as DynamoDB says that the backups of the new table aren't available yet.
func (a *applying) enableRecovery(ctx context.Context, want Recovery) error {
	spec := &types.PointInTimeRecoverySpecification{PointInTimeRecoveryEnabled: aws.Bool(true)}
	if want.Days > 0 {
		spec.RecoveryPeriodInDays = &want.Days
	}
	limited, cancel := context.WithTimeout(ctx, backupsPatience)
	defer cancel()
	for {
		_, err := a.Target.UpdateContinuousBackups(limited, &dynamodb.UpdateContinuousBackupsInput{TableName: &a.TargetTable, PointInTimeRecoverySpecification: spec})
		if unavailable := (*types.ContinuousBackupsUnavailableException)(nil); !errors.As(err, &unavailable) {
			return err
		}
		select {
		case <-time.After(poll):
		case <-limited.Done():
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		}
	}
}

func (a *applying) enableStream(ctx context.Context) error {
	a.Progress("waiting until the source is ACTIVE")
	if err := active(ctx, a.Source, a.SourceTable); err != nil {
		return fmt.Errorf("wait for source: %w", err)
	}
	if a.source.StreamARN() != "" {
		return nil
	}
	a.Progress("enabling the source's stream")
	_, err := a.Source.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName:           &a.SourceTable,
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages},
	})
	if err != nil {
		return fmt.Errorf("enable stream of source: %w", err)
	}
	a.enabled = true
	if err := active(ctx, a.Source, a.SourceTable); err != nil {
		return fmt.Errorf("wait for source: %w", err)
	}
	return nil
}

// active waits until the table is ACTIVE.
func active(ctx context.Context, api dynamodb.DescribeTableAPIClient, name string) error {
	waiter := dynamodb.NewTableExistsWaiter(api, func(o *dynamodb.TableExistsWaiterOptions) { o.MinDelay, o.MaxDelay = poll, poll })
	return waiter.Wait(ctx, &dynamodb.DescribeTableInput{TableName: &name}, activePatience)
}

// awaitIndexes waits until all of the target's indexes are ACTIVE. A table that is ACTIVE itself may have some that are being made: they
// serve no query, and what can't be in them is only found while they are filled.
func (a *applying) awaitIndexes(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, activePatience)
	defer cancel()
	told := ""
	for {
		info, err := table.Describe(ctx, a.Target, "target", a.TargetTable)
		if err != nil {
			return fmt.Errorf("wait for target's indexes: %s", err) // no refusal any more
		}
		unfinished := Table{Info: info}.unfinishedIndexes()
		if unfinished == nil {
			return nil
		}
		if said := strings.Join(unfinished, "; "); said != told {
			a.Progress("waiting until the target's indexes are ACTIVE: " + said)
			told = said
		}
		if err := call.Sleep(limited, poll); err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("the target's indexes are not ACTIVE after %s (%s)", activePatience, told)
		}
	}
}

// result describes both tables as they are now, and fails if they aren't as they should be.
func (a *applying) result(ctx context.Context) (Applied, error) {
	source, err := readAgain(ctx, a.Source, "source", a.SourceTable)
	if err != nil {
		return Applied{}, fmt.Errorf("describe source: %w", err)
	}
	target, err := readAgain(ctx, a.Target, "target", a.TargetTable)
	if err != nil {
		return Applied{}, fmt.Errorf("describe target: %w", err)
	}
	if source.StreamARN() == "" {
		return Applied{}, errors.New("the source's stream is not on, although DynamoDB has enabled it")
	}
	differences, unchecked := a.key.compare(a.source, target, false)
	if unfinished := target.unfinishedIndexes(); unfinished != nil {
		differences = append(differences, "indexes ("+strings.Join(unfinished, "; ")+")")
	}
	if differences != nil {
		return Applied{}, fmt.Errorf("the target was made, but differs: %s", strings.Join(differences, "; "))
	}
	return Applied{
		Source: a.SourceTable, Target: a.TargetTable, StreamARN: source.StreamARN(), StreamEnabled: a.enabled,
		TargetARN: target.ARN, TargetCreated: a.created, KMSKeyARN: keyARN(target),
		Notes: append(unchecked, Notes(a.source, false)...), ElapsedSeconds: time.Since(a.start).Seconds(),
	}, nil
}

// readAgain is Read when something has been written: its errors are no refusals any more.
func readAgain(ctx context.Context, api ReadAPI, side, name string) (Table, error) {
	t, err := Read(ctx, api, nil, side, name)
	if refuse.Is(err) {
		err = errors.New(err.Error())
	}
	return t, err
}

// createInput is the target's CreateTable.
func (a *applying) createInput() *dynamodb.CreateTableInput {
	td := a.source.Raw
	in := &dynamodb.CreateTableInput{
		TableName: &a.TargetTable, AttributeDefinitions: td.AttributeDefinitions, KeySchema: td.KeySchema, BillingMode: types.BillingModePayPerRequest,
		TableClass: a.source.class(), DeletionProtectionEnabled: td.DeletionProtectionEnabled, Tags: slices.Clone(a.source.Tags.Value),
		SSESpecification: &types.SSESpecification{Enabled: aws.Bool(true), SSEType: types.SSETypeKms},
	}
	if !a.key.isNew() && !a.key.isManaged() {
		in.SSESpecification.KMSMasterKeyId = &a.key.given
	}
	if a.hasMore() {
		in.Tags = append(in.Tags, types.Tag{Key: aws.String(unfinishedTag), Value: &a.source.Name})
	}
	if a.source.isProvisioned() {
		in.BillingMode, in.ProvisionedThroughput = types.BillingModeProvisioned, units(td.ProvisionedThroughput)
	} else {
		in.OnDemandThroughput = td.OnDemandThroughput
	}
	for _, index := range td.LocalSecondaryIndexes {
		in.LocalSecondaryIndexes = append(in.LocalSecondaryIndexes, types.LocalSecondaryIndex{
			IndexName: index.IndexName, KeySchema: index.KeySchema, Projection: index.Projection,
		})
	}
	for _, index := range td.GlobalSecondaryIndexes {
		one := types.GlobalSecondaryIndex{IndexName: index.IndexName, KeySchema: index.KeySchema, Projection: index.Projection}
		if a.source.isProvisioned() {
			one.ProvisionedThroughput = cmp.Or(units(index.ProvisionedThroughput), units(td.ProvisionedThroughput)) // see Notes
		} else {
			one.OnDemandThroughput = index.OnDemandThroughput
		}
		in.GlobalSecondaryIndexes = append(in.GlobalSecondaryIndexes, one)
	}
	return in
}

func units(p *types.ProvisionedThroughputDescription) *types.ProvisionedThroughput {
	if p == nil || aws.ToInt64(p.ReadCapacityUnits) == 0 {
		return nil
	}
	return &types.ProvisionedThroughput{ReadCapacityUnits: p.ReadCapacityUnits, WriteCapacityUnits: p.WriteCapacityUnits}
}
