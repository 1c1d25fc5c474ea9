package verify

import (
	"slices"
	"strings"

	"reseal/internal/table"
)

// The lines of the tables' configuration.
const (
	whatKeys          = "keys"
	whatLocalIndexes  = "local secondary indexes"
	whatGlobalIndexes = "global secondary indexes"
	whatEncryption    = "encryption"
	whatStream        = "stream"
	whatBilling       = "billing"
	whatTableClass    = "table class"
	whatProtection    = "deletion protection"
	whatTimeToLive    = "time to live"
	whatBackups       = "point-in-time recovery"
	whatTags          = "tags"
)

// consequence says what a difference means once the application uses the target.
type consequence struct {
	none  string // the value that stands for having nothing
	gone  string // only the source has it
	added string // only the target has it
	other string // both have it, but not the same
	call  string // that reads it, where it isn't DescribeTable
}

// consequences are those of all lines, in the order of the lines.
var consequences = []struct {
	what string
	consequence
}{
	{whatKeys, consequence{
		other: "Requests that name the source's key attributes fail on the target.",
	}},
	{whatLocalIndexes, consequence{
		none:  "none",
		gone:  "Queries of these indexes fail on the target, and local ones can only be made together with their table.",
		added: "Writes to the target cost more, and the items under one partition key may take 10 GB at the most.",
		other: "Queries of an index that the target lacks fail, those of one with another projection return other attributes; local ones can't be changed later.",
	}},
	{whatGlobalIndexes, consequence{
		none:  "none",
		gone:  "Queries of these indexes fail on the target, until they are added and filled.",
		added: "Writes to the target are charged for these indexes as well, and fail where an attribute doesn't have the index key's type.",
		other: "Queries of an index that the target lacks, or that is CREATING or DELETING, fail; those of one that is backfilling lack items; those of one with another projection or capacity return other attributes, or are throttled.",
	}},
	{whatEncryption, consequence{
		none:  awsOwned,
		gone:  "The target is not under a key of your account: nobody there can audit or withdraw its use.",
		added: "Whoever reads or writes the target must be allowed to use the key, and nobody can while it is disabled.",
		other: "Whoever reads or writes the target must be allowed to use its key, which is not the source's.",
	}},
	{whatStream, consequence{
		none:  "off",
		gone:  "Whatever reads the source's stream (functions, replicas, search indexes) hears nothing of the writes to the target.",
		added: "Nothing breaks: the target's changes can be read by those who may.",
		other: "What reads the stream gets other images of the items than before.",
	}},
	{whatBilling, consequence{
		none:  onDemand,
		gone:  "Each request to the target is paid for by itself: reserved capacity isn't used, and no limit holds the bill.",
		added: "The target throttles what goes beyond these units, which the source serves.",
		other: "The target throttles at other units than the source.",
	}},
	{whatTableClass, consequence{
		other: "Storage and requests have other prices in the target.",
	}},
	{whatProtection, consequence{
		none:  "off",
		gone:  "One DeleteTable, or the end of its stack, deletes the target.",
		added: "The target, and a stack that has it, can't be deleted before the protection is off.",
	}},
	{whatTimeToLive, consequence{
		none:  "off",
		gone:  "Items whose time has passed stay in the target: they are still read, and paid for.",
		added: "The target deletes items whose time has passed, which the source keeps: they count as missing.",
		other: "The target deletes by another attribute: other items, at other times. Those that the source keeps count as missing.",
		call:  "DescribeTimeToLive",
	}},
	{whatBackups, consequence{
		none:  "off",
		gone:  "The target can't be brought back to a moment before a mistake.",
		added: "The target's backups are charged by its size.",
		call:  "DescribeContinuousBackups",
	}},
	{whatTags, consequence{
		other: "Cost reports, and policies that go by tags, treat the target otherwise.",
		call:  "ListTagsOfResource",
	}},
}

// whereTimeToLive is its place among the lines.
var whereTimeToLive = slices.Index(SettingNames(), whatTimeToLive)

// SettingNames are the lines of the configuration, which Options.StrictExcept may name.
func SettingNames() []string {
	names := make([]string, len(consequences))
	for i, c := range consequences {
		names[i] = c.what
	}
	return names
}

// consequenceOf says what it means that the tables have these values; "" if they are equal.
func consequenceOf(what, source, target string) string {
	for _, c := range consequences {
		if c.what != what {
			continue
		}
		switch {
		case source == NotChecked || target == NotChecked:
			return "It is not known whether they are the same: allow dynamodb:" + c.call + ", or compare them yourself."
		case source == target:
			return ""
		case what == whatTimeToLive && (changes(source) || changes(target)):
			return "A change of the time to live takes up to an hour to hold: until then it is not known which items are deleted."
		case target == c.none:
			return c.gone
		case source == c.none:
			return c.added
		}
		return c.other
	}
	return ""
}

// changes tells whether a time to live is being turned on or off.
func changes(setting string) bool {
	return strings.HasPrefix(setting, turningOn) || strings.HasPrefix(setting, turningOff)
}

// settingOf is the line with its consequence.
func (o Options) settingOf(what, source, target string) Setting {
	s := Setting{What: what, Source: source, Target: target, Consequence: consequenceOf(what, source, target)}
	if s.Differs() {
		wanted := what == whatEncryption && source == awsOwned && target != awsOwned && o.Encryption != table.EncryptionAny
		s.Expected = wanted || o.excepts(what)
	}
	return s
}

// excepts tells whether a line is among StrictExcept; hyphens may stand for its spaces.
func (o Options) excepts(what string) bool {
	for _, one := range o.StrictExcept {
		if plainName(one) == plainName(what) {
			return true
		}
	}
	return false
}

func plainName(what string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(what)), "-", " ")
}
