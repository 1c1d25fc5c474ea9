package fence

import (
	"regexp"
	"slices"
	"strings"

	"reseal/internal/refuse"
)

// principalPattern is the ARN of a role or user (IAM user guide, "IAM ARNs"). One with a wildcard would let through, or stop, whom nobody
// thought of.
var principalPattern = regexp.MustCompile(`^arn:[a-z0-9-]+:iam::[0-9]{12}:(role|user)/[\x21-\x7e]*[A-Za-z0-9+=,.@_-]$`)

// CheckPrincipal refuses what is not the ARN of a role or user. flag is the option that it came with.
func CheckPrincipal(flag, arn string) error {
	if !principalPattern.MatchString(arn) || strings.ContainsAny(arn, "*?") {
		return refuse.New("give a role or user, such as arn:aws:iam::123456789012:role/NAME, without wildcards", "%s %q is not the ARN of one", flag, arn)
	}
	return nil
}

// sessionPattern is the ARN of a role's session.
var sessionPattern = regexp.MustCompile(`^arn:([a-z0-9-]+):sts::([0-9]{12}):assumed-role/([^/]+)/`)

// Patterns are what aws:PrincipalArn is like for a caller whose ARN STS tells. Of a role's session that is the role, whose path the
// session's ARN doesn't tell (IAM user guide, "aws:PrincipalArn").
func Patterns(caller string) []string {
	if role := sessionPattern.FindStringSubmatch(caller); role != nil {
		prefix := "arn:" + role[1] + ":iam::" + role[2] + ":role/"
		return []string{prefix + role[3], prefix + "*/" + role[3]}
	}
	return []string{caller}
}

// Among tells whether a caller, by the ARN that STS tells, is one of some principals.
func Among(caller string, principals []string) bool {
	role := sessionPattern.FindStringSubmatch(caller)
	return slices.ContainsFunc(principals, func(one string) bool {
		if role == nil {
			return one == caller
		}
		prefix, name := "arn:"+role[1]+":iam::"+role[2]+":role/", one[strings.LastIndex(one, "/")+1:]
		return strings.HasPrefix(one, prefix) && name == role[3]
	})
}
