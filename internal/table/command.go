package table

import (
	"regexp"
	"strings"
)

// harmless is text that a shell takes as it is.
var harmless = regexp.MustCompile(`^[A-Za-z0-9_./:=@%+,-]+$`)

// Quote makes the text one word for a shell (POSIX, "Single-Quotes").
func Quote(s string) string {
	if harmless.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// option is an option of a command with its value, after a blank; "" without a value.
func option(name, value string) string {
	if value == "" {
		return ""
	}
	return " --" + name + " " + Quote(value)
}

// AWSOptions are the options of the aws command for the table's account and Region, each after a blank. The Region is that of the
// table's ARN, so that the command doesn't depend on where it is run; on a local engine, whose ARNs may name any Region, it is what
// was given. The endpoint is of DynamoDB; a command of another service gets it from a local engine only, which may serve that, too.
// The aws command has no option for a role: see Side.RoleARN.
func (w Way) AWSOptions(arn string, ofDynamoDB bool) string {
	region := w.Region
	if ref, err := ParseRef("", arn); err == nil && !w.Local {
		region = ref.Region
	}
	options := option("region", region) + option("profile", w.Profile)
	if ofDynamoDB || w.Local {
		options += option("endpoint-url", w.EndpointURL)
	}
	return options
}

// TableName is what the aws command is to call the table: by its ARN, which can mean no other table; a local engine knows names only.
func (w Way) TableName(name, arn string) string {
	if w.Local || arn == "" {
		return Quote(name)
	}
	return Quote(arn)
}

// Way is how the user had a table reached, for commands that are printed.
type Way struct {
	Side
	Local bool // it is on a local engine
}

// Way returns how the table is reached.
func (h *Handle) Way() Way { return Way{Side: h.Side, Local: h.LocalEndpoint() != nil} }

// JobOptions are the options of a reseal command for both tables, each after a blank: what the user gave, all of it.
func JobOptions(source, target Way) string {
	options := option("source", source.Table) + option("target", target.Table)
	for _, one := range []struct{ name, source, target string }{
		{"region", source.Region, target.Region},
		{"profile", source.Profile, target.Profile},
		{"endpoint-url", source.EndpointURL, target.EndpointURL},
		{"role-arn", source.RoleARN, target.RoleARN},
	} {
		if one.source == one.target && one.name != "role-arn" {
			options += option(one.name, one.source)
			continue
		}
		options += option("source-"+one.name, one.source) + option("target-"+one.name, one.target)
	}
	return options
}

// OneOptions are the options of a reseal command for one table, each after a blank: what the user gave, all of it. side is the option of the
// table, such as "source".
func OneOptions(side string, of Way) string {
	return option(side, of.Table) + option("region", of.Region) + option("profile", of.Profile) + option("endpoint-url", of.EndpointURL) + option("role-arn", of.RoleARN)
}
