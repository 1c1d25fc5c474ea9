package prepare

import (
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// line is a setting in words, to compare and to show. An unknown one is equal to none.
type line struct {
	what, value string
	isUnknown   bool
}

// lines describe what a target must have of its source. The provisioned capacity is not among it: autoscaling moves it.
func (t Table) lines() []line {
	td := t.Raw
	mode := "on demand" + t.limits(td.OnDemandThroughput)
	if t.isProvisioned() {
		mode = "provisioned"
	}
	var local, global []string
	for _, index := range td.LocalSecondaryIndexes {
		local = append(local, indexText(td, index.IndexName, index.KeySchema, index.Projection))
	}
	for _, index := range td.GlobalSecondaryIndexes {
		global = append(global, indexText(td, index.IndexName, index.KeySchema, index.Projection)+t.limits(index.OnDemandThroughput))
	}
	recovery := fmt.Sprintf("on %t", t.Recovery.Value.On)
	if days := t.Recovery.Value.Days; days > 0 {
		recovery += fmt.Sprintf(", %d days", days)
	}
	return []line{
		{what: "keys", value: t.Schema.String()},
		{what: "local secondary indexes", value: sorted(local)},
		{what: "global secondary indexes", value: sorted(global)},
		{what: "billing", value: mode},
		{what: "table class", value: string(t.class())},
		{what: "deletion protection", value: fmt.Sprintf("on %t", aws.ToBool(td.DeletionProtectionEnabled))},
		{what: "time to live", value: fmt.Sprintf("%q", t.TimeToLive.Value), isUnknown: t.TimeToLive.Unknown != ""},
		{what: "point-in-time recovery", value: recovery, isUnknown: t.Recovery.Unknown != ""},
		{what: "tags", value: sorted(tagTexts(t.Tags.Value)), isUnknown: t.Tags.Unknown != ""},
	}
}

// limits are those of a table on demand: on a provisioned one they have no effect.
func (t Table) limits(o *types.OnDemandThroughput) string {
	if o == nil || t.isProvisioned() || aws.ToInt64(o.MaxReadRequestUnits) <= 0 && aws.ToInt64(o.MaxWriteRequestUnits) <= 0 {
		return ""
	}
	return fmt.Sprintf(", at most %d read and %d write units", aws.ToInt64(o.MaxReadRequestUnits), aws.ToInt64(o.MaxWriteRequestUnits))
}

// indexText has the keys' types, too: an item whose attribute has another type is refused by the index. And it says of each attribute
// to which key it belongs: a key may have several (API reference, GlobalSecondaryIndex: up to four each).
func indexText(td *types.TableDescription, name *string, keys []types.KeySchemaElement, p *types.Projection) string {
	text := aws.ToString(name)
	for _, key := range keys {
		for _, d := range td.AttributeDefinitions {
			if aws.ToString(d.AttributeName) == aws.ToString(key.AttributeName) {
				text += fmt.Sprintf(" %s %q:%s", key.KeyType, aws.ToString(key.AttributeName), d.AttributeType)
			}
		}
	}
	if p == nil {
		return text
	}
	for _, attribute := range slices.Sorted(slices.Values(p.NonKeyAttributes)) {
		text += fmt.Sprintf(" +%q", attribute)
	}
	return text + " " + string(p.ProjectionType)
}

func tagTexts(tags []types.Tag) []string {
	var list []string
	for _, tag := range tags {
		if aws.ToString(tag.Key) != unfinishedTag {
			list = append(list, fmt.Sprintf("%q=%q", aws.ToString(tag.Key), aws.ToString(tag.Value)))
		}
	}
	return list
}

func sorted(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	slices.Sort(list)
	return strings.Join(list, "; ")
}

// compare tells in what the target is not as the source and the key say, and what could not be compared. Of an unfinished target
// only what CreateTable sets counts.
func (k kmsKey) compare(source, target Table, isUnfinished bool) (differences, unchecked []string) {
	theirs := target.lines()
	for i, want := range source.lines() {
		got := theirs[i]
		switch {
		case want.isUnknown: // Notes tells of it
		case got.isUnknown:
			unchecked = append(unchecked, "not checked on the target: "+want.what)
		case want.value == got.value:
		case isUnfinished && (want.what == "time to live" || want.what == "point-in-time recovery"):
		default:
			differences = append(differences, fmt.Sprintf("%s (source: %s, target: %s)", want.what, want.value, got.value))
		}
	}
	switch has := keyARN(target); {
	case target.Encryption() != "KMS":
		differences = append(differences, "encryption (the target has no KMS key)")
	case k.isNew() || k.isManaged():
	case k.alias() != "":
		unchecked = append(unchecked, "not checked on the target: whether its key "+has+" is "+k.given)
	case has != k.given && !strings.HasSuffix(has, ":key/"+k.given):
		differences = append(differences, fmt.Sprintf("key (wanted: %s, target: %s)", k.given, has))
	}
	return differences, unchecked
}

func keyARN(t Table) string {
	if t.Raw.SSEDescription == nil {
		return ""
	}
	return aws.ToString(t.Raw.SSEDescription.KMSMasterKeyArn)
}
