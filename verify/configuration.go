package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"reseal/internal/table"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// Setting is a line of the tables' configuration. It says nothing about the items.
type Setting struct {
	What        string `json:"what"`
	Source      string `json:"source"`
	Target      string `json:"target"`
	Consequence string `json:"consequence"` // of the difference, once the application uses the target; "" if there is none
	Expected    bool   `json:"expected"`    // Strict passes the difference: it was asked for (the target's encryption), or is excepted
}

// Differs tells whether the tables differ in the line, or it could not be checked.
func (s Setting) Differs() bool { return s.Source != s.Target || s.Source == NotChecked }

// NotChecked stands for a value that could not be read: the engine doesn't know the call, or the caller may not make it.
const NotChecked = "not checked"

// configurationAPI is what the lines beyond DescribeTable are read with, where the client has it; *dynamodb.Client does.
type configurationAPI interface {
	DescribeContinuousBackups(context.Context, *dynamodb.DescribeContinuousBackupsInput, ...func(*dynamodb.Options)) (*dynamodb.DescribeContinuousBackupsOutput, error)
	ListTagsOfResource(context.Context, *dynamodb.ListTagsOfResourceInput, ...func(*dynamodb.Options)) (*dynamodb.ListTagsOfResourceOutput, error)
}

// line is a setting's name and value.
type line struct{ what, value string }

// configuration returns all lines. Reading those of a table may take patience, the SDK's retries included: they are not what the
// user came for. Its only errors are the context's.
func configuration(ctx context.Context, o Options, pair table.Pair, patience time.Duration) ([]Setting, error) {
	source := settingsOf(ctx, o.Source, o.SourceTable, pair.Source, patience)
	target := settingsOf(ctx, o.Target, o.TargetTable, pair.Target, patience)
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("read table configuration: %w", err)
	}
	settings := make([]Setting, len(source))
	for i, s := range source {
		settings[i] = o.settingOf(s.what, s.value, target[i].value)
	}
	return settings, nil
}

// differing returns the lines that differ or could not be checked.
func differing(settings []Setting) []Setting {
	list := []Setting{}
	for _, s := range settings {
		if s.Differs() {
			list = append(list, s)
		}
	}
	return list
}

// settingsOf returns the same lines for every table.
func settingsOf(ctx context.Context, api any, name string, info table.Info, patience time.Duration) []line {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	td := info.Raw
	class := types.TableClassStandard
	if td.TableClassSummary != nil {
		class = td.TableClassSummary.TableClass
	}
	stream := "off"
	if view := info.StreamView(); view != "" {
		stream = string(view)
	}
	lines := []line{
		{whatKeys, info.Schema.String()},
		{whatLocalIndexes, localIndexes(td)},
		{whatGlobalIndexes, globalIndexes(td, info.Side)},
		{whatEncryption, encryption(info)},
		{whatStream, stream},
		{whatBilling, billing(td.ProvisionedThroughput, td.OnDemandThroughput)},
		{whatTableClass, string(class)},
		{whatProtection, onOff(aws.ToBool(td.DeletionProtectionEnabled))},
	}
	more := []line{{whatTimeToLive, NotChecked}, {whatBackups, NotChecked}, {whatTags, NotChecked}}
	_, more[0].value = timeToLive(ctx, api, name)
	if client, ok := api.(configurationAPI); ok {
		more[1].value = backups(ctx, client, name)
		more[2].value = tags(ctx, client, info.ARN)
	}
	return append(lines, more...)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// awsOwned is the encryption that every table has.
const awsOwned = "AWS_OWNED"

// encryption names the key, too: another key has other users.
func encryption(info table.Info) string {
	kind := info.Encryption()
	if sse := info.Raw.SSEDescription; kind != awsOwned && sse != nil && aws.ToString(sse.KMSMasterKeyArn) != "" {
		return kind + ", key " + aws.ToString(sse.KMSMasterKeyArn)
	}
	return kind
}

const onDemand = "on demand"

func billing(p *types.ProvisionedThroughputDescription, most *types.OnDemandThroughput) string {
	if p != nil && aws.ToInt64(p.ReadCapacityUnits) > 0 {
		return fmt.Sprintf("provisioned, %d read and %d write units", aws.ToInt64(p.ReadCapacityUnits), aws.ToInt64(p.WriteCapacityUnits))
	}
	text := onDemand
	if most != nil {
		text += atMost(most.MaxReadRequestUnits, "read") + atMost(most.MaxWriteRequestUnits, "write")
	}
	return text
}

// atMost is a limit of a table on demand; -1 is none (API reference, OnDemandThroughput).
func atMost(units *int64, of string) string {
	if aws.ToInt64(units) <= 0 {
		return ""
	}
	return fmt.Sprintf(", at most %d %s units", *units, of)
}

func localIndexes(td *types.TableDescription) string {
	var list []string
	for _, index := range td.LocalSecondaryIndexes {
		list = append(list, indexText(td, index.IndexName, index.KeySchema, index.Projection))
	}
	return listText(list)
}

// target is the side of the table whose indexes have to serve.
const target = "target"

func globalIndexes(td *types.TableDescription, side string) string {
	var list []string
	for _, index := range td.GlobalSecondaryIndexes {
		text := indexText(td, index.IndexName, index.KeySchema, index.Projection)
		text += ", " + billing(index.ProvisionedThroughput, index.OnDemandThroughput)
		switch {
		case side == target:
			text += indexState(index)
		case index.IndexStatus == types.IndexStatusDeleting: // the target is to be without it
			continue
		}
		list = append(list, text)
	}
	return listText(list)
}

// indexState tells why queries of an index fail, or lack items; "" if they don't. Of the source it doesn't count: whatever state an index
// is in there, the application will find one in the target that serves or one that doesn't.
func indexState(index types.GlobalSecondaryIndexDescription) string {
	text := ""
	switch index.IndexStatus {
	case "", types.IndexStatusActive, types.IndexStatusUpdating: // UPDATING is of the throughput: it serves
	default:
		text = ", " + string(index.IndexStatus)
	}
	if aws.ToBool(index.Backfilling) {
		text += ", backfilling"
	}
	return text
}

// indexText has the keys' types, too: an item whose attribute has another type than the index's key is refused.
func indexText(td *types.TableDescription, name *string, keys []types.KeySchemaElement, projection *types.Projection) string {
	parts := make([]string, 0, len(keys))
	for _, key := range keys {
		kind := ""
		for _, definition := range td.AttributeDefinitions {
			if aws.ToString(definition.AttributeName) == aws.ToString(key.AttributeName) {
				kind = string(definition.AttributeType)
			}
		}
		parts = append(parts, fmt.Sprintf("%s %s %s", aws.ToString(key.AttributeName), kind, key.KeyType))
	}
	text := aws.ToString(name) + " (" + strings.Join(parts, ", ") + ")"
	if projection != nil {
		text += " " + string(projection.ProjectionType)
		if attributes := slices.Sorted(slices.Values(projection.NonKeyAttributes)); len(attributes) > 0 {
			text += " " + strings.Join(attributes, ",")
		}
	}
	return text
}

func listText(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

func backups(ctx context.Context, api configurationAPI, name string) string {
	out, err := api.DescribeContinuousBackups(ctx, &dynamodb.DescribeContinuousBackupsInput{TableName: &name})
	if err != nil || out.ContinuousBackupsDescription == nil || out.ContinuousBackupsDescription.PointInTimeRecoveryDescription == nil {
		return NotChecked
	}
	switch out.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus {
	case types.PointInTimeRecoveryStatusEnabled:
		return "on"
	case types.PointInTimeRecoveryStatusDisabled:
		return "off"
	}
	return NotChecked
}

// tags leaves out those of AWS (aws:cloudformation:stack-name and the like): nobody else can set them.
func tags(ctx context.Context, api configurationAPI, arn string) string {
	var list []string
	in := &dynamodb.ListTagsOfResourceInput{ResourceArn: &arn}
	for {
		out, err := api.ListTagsOfResource(ctx, in)
		if err != nil {
			return NotChecked
		}
		for _, tag := range out.Tags {
			if key := aws.ToString(tag.Key); !strings.HasPrefix(key, "aws:") {
				list = append(list, key+"="+aws.ToString(tag.Value))
			}
		}
		if in.NextToken = out.NextToken; aws.ToString(in.NextToken) == "" {
			return listText(list)
		}
	}
}
