package call

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/aws/smithy-go"
)

// Denial is what a service said when it would not let the caller, or itself on the caller's behalf, do something. It holds nothing of an
// item: of the service's words only an action's name and a resource's ARN are taken.
type Denial struct {
	Operation string // such as "Scan"; "" where it isn't known
	Code      string // the error's, such as "AccessDeniedException"
	Action    string // what was not allowed, such as "dynamodb:Scan" or "kms:Decrypt"; "" where it isn't known
	Resource  string // the ARN of a table, index, stream or key; "" where it isn't said
	Explicit  bool   // a policy denies it, rather than none allowing it
	Key       KeyTrouble
}

// KeyTrouble is what keeps a KMS key from being used.
type KeyTrouble int

const (
	// KeyFine: the key is not the reason.
	KeyFine KeyTrouble = iota
	// KeyDenied: the caller, or DynamoDB on the caller's behalf, may not use it.
	KeyDenied
	// KeyDisabled: it is disabled.
	KeyDisabled
	// KeyUnusable: it is pending deletion, deleted, or has no material.
	KeyUnusable
)

// The beginnings of DynamoDB's messages about KMS keys, which come with the code AccessDeniedException or ValidationException, each
// followed by the words of KMS: "KMS key access denied error: com.amazonaws.services.kms.model.AWSKMSException: User: ... is not
// authorized to perform: kms:Decrypt on resource: ...", "KMS key disabled error: ...DisabledException: ARN is disabled",
// "KMS validation error: ...KMSInvalidStateException: ARN is pending deletion". They are not in the API reference; public reports of
// DynamoDB's answers have them.
var keyMessages = []struct {
	begins  string
	trouble KeyTrouble
}{
	{"KMS key access denied", KeyDenied}, {"KMS key disabled", KeyDisabled}, {"KMS ", KeyUnusable},
}

// keyCodes are the codes with which other services, such as Amazon SQS, say the same.
var keyCodes = regexp.MustCompile(`^(?i:kms\.?(accessdenied|disabled|invalidstate|notfound|optinrequired|invalidkeyusage)(exception)?)$`)

var (
	// deniedAction is in the messages of IAM: "User: ARN is not authorized to perform: ACTION on resource: ARN because ...".
	deniedAction   = regexp.MustCompile(`not authorized to perform: ((?:dynamodb|kms|sqs|application-autoscaling):[A-Z][A-Za-z]{2,40})\b`)
	deniedResource = regexp.MustCompile(`(?:on resource: |Exception: (?:Key ')?)(arn:[a-z-]{3,20}:(?:dynamodb|kms|sqs):[a-z0-9-]{1,30}:[0-9]{12}:` +
		`(?:table/[a-zA-Z0-9_.-]{3,255}(?:/index/[a-zA-Z0-9_.-]{3,255}|/stream/[0-9T:.-]{1,40}|/\*)?|(?:key|alias)/[a-zA-Z0-9/_-]{1,256}))`)
	explicitDeny = regexp.MustCompile(`with an explicit deny`)
)

// DeniedBy tells whether a service would not do it for want of a permission or of the use of a KMS key, and what it said of that.
func DeniedBy(err error) (Denial, bool) {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return Denial{}, false
	}
	message := api.ErrorMessage()
	d := Denial{Code: api.ErrorCode(), Key: keyTrouble(api)}
	if d.Key == KeyFine && d.Code != "AccessDeniedException" && d.Code != "AccessDenied" {
		return Denial{}, false
	}
	var operation *smithy.OperationError
	if errors.As(err, &operation) {
		d.Operation = operation.OperationName
	}
	if found := deniedAction.FindStringSubmatch(message); found != nil {
		d.Action = found[1]
	} else if d.Operation != "" && d.Key == KeyFine && operation.ServiceID != "SQS" {
		d.Action = "dynamodb:" + d.Operation
	}
	if found := deniedResource.FindStringSubmatch(message); found != nil {
		d.Resource = found[1]
	}
	d.Explicit = explicitDeny.MatchString(message)
	return d, true
}

func keyTrouble(api smithy.APIError) KeyTrouble {
	if code := strings.ToLower(api.ErrorCode()); keyCodes.MatchString(code) {
		switch {
		case strings.Contains(code, "denied"):
			return KeyDenied
		case strings.Contains(code, "disabled"):
			return KeyDisabled
		}
		return KeyUnusable
	}
	if code := api.ErrorCode(); code != "AccessDeniedException" && code != "ValidationException" {
		return KeyFine
	}
	for _, known := range keyMessages {
		if strings.HasPrefix(api.ErrorMessage(), known.begins) {
			return known.trouble
		}
	}
	if found := deniedAction.FindStringSubmatch(api.ErrorMessage()); found != nil && strings.HasPrefix(found[1], "kms:") {
		return KeyDenied
	}
	return KeyFine
}

// String says what was denied, on one line.
func (d Denial) String() string {
	if d.Key == KeyDisabled || d.Key == KeyUnusable {
		state := map[KeyTrouble]string{KeyDisabled: "is disabled", KeyUnusable: "can't be used: it is deleted, pending deletion or has no material"}[d.Key]
		return d.keyName() + " " + state
	}
	what := d.Action
	if what == "" && d.Key == KeyDenied {
		what = "the use of " + d.keyName()
	} else if what == "" {
		what = "this"
	}
	if d.Resource != "" && d.Action != "" {
		what += " on " + d.Resource
	}
	if d.Explicit {
		return what + " is denied by a policy"
	}
	return what + " is not allowed"
}

func (d Denial) keyName() string {
	if d.Resource != "" {
		return "the KMS key " + d.Resource
	}
	return "the table's KMS key"
}

// Remedy says what to do about it, on one line.
func (d Denial) Remedy() string {
	switch {
	case d.Key == KeyDisabled:
		return "enable it"
	case d.Key == KeyUnusable:
		return "cancel its deletion or restore its material, or restore the table from a backup with another key"
	case d.Key == KeyDenied:
		return "allow it in the key's policy and in your own, by way of DynamoDB (kms:ViaService), as the README has it"
	case d.Explicit:
		return "take the denial out of that policy: your own, the table's, a VPC endpoint's or the organization's"
	default:
		return "allow it in your policy or the table's, as the README has it"
	}
}

func (d Denial) words() string { return fmt.Sprintf("%s: %s", d, d.Remedy()) }
