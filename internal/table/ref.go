// Package table names tables, opens clients for them, describes them, and checks that a job may run on a pair of them.
package table

import (
	"regexp"
	"strings"

	"reseal/internal/refuse"
)

// Ref is a table as its user names it.
type Ref struct {
	Name    string
	ARN     string // "" where the user gave a name
	Region  string // of the ARN
	Account string // of the ARN
}

// namePattern is the rule for table names (API reference, CreateTable).
var namePattern = regexp.MustCompile(`^` + nameRule + `$`)

// arnPattern is what a table's ARN looks like. Its Region becomes a part of a host's name.
var arnPattern = regexp.MustCompile(`^arn:[a-z0-9-]+:dynamodb:([a-z0-9-]+):([0-9]{12}):table/(` + nameRule + `)$`)

const nameRule = `[a-zA-Z0-9_.-]{3,255}`

// ParseRef reads a table name or ARN (arn:PARTITION:dynamodb:REGION:ACCOUNT:table/NAME). flag is the option that it came with,
// for the error, which is a *refuse.Error.
func ParseRef(flag, s string) (Ref, error) {
	if s == "" {
		return Ref{}, refuse.New("give a table name or ARN", "%s is missing", flag)
	}
	if !strings.HasPrefix(s, "arn:") {
		if !namePattern.MatchString(s) {
			return Ref{}, refuse.New("a name has 3 to 255 of the characters a-z A-Z 0-9 _ . -", "%s %q is not a table name or ARN", flag, s)
		}
		return Ref{Name: s}, nil
	}
	parts := arnPattern.FindStringSubmatch(s)
	if parts == nil {
		return Ref{}, refuse.New("it should look like arn:aws:dynamodb:eu-west-1:123456789012:table/NAME", "%s %q is not a table's ARN", flag, s)
	}
	return Ref{Region: parts[1], Account: parts[2], Name: parts[3], ARN: s}, nil
}

// FileName is a table's name, of a name or an ARN, for a file's name. What no table's name can hold is replaced: the file must be in the
// working folder even if nobody has looked at the name yet.
func FileName(ref string) string {
	return unnamable.ReplaceAllString(ref[strings.LastIndex(ref, "/")+1:], "_")
}

var unnamable = regexp.MustCompile(`[^a-zA-Z0-9_.-]`)
