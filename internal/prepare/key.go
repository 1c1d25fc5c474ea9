package prepare

import (
	"regexp"
	"strings"

	"reseal/internal/refuse"

	"go.yaml.in/yaml/v3"
)

// managedKey is the alias of the key that DynamoDB makes in an account and manages itself.
const managedKey = "alias/aws/dynamodb"

// keyPattern is how a KMS key may be named: by id, by alias, or by the ARN of either (KMS API reference, "KeyId").
var keyPattern = regexp.MustCompile(`^(arn:aws[a-z-]*:kms:([a-z0-9-]+):[0-9]{12}:)?(key/)?(alias/[a-zA-Z0-9/_-]{1,250}|(mrk-)?[0-9a-f-]{8,64})$`)

// kmsKey is the key of the target.
type kmsKey struct {
	given string // what was given; "": a new one
}

// newKey reads the option --kms-key-id. Its error is a *refuse.Error.
func newKey(given string) (kmsKey, error) {
	malformed := refuse.New("give the key's id or ARN, or alias/NAME", "--kms-key-id %q is not a KMS key", given)
	if given == "" {
		return kmsKey{}, nil
	}
	parts := keyPattern.FindStringSubmatch(given)
	if parts == nil {
		return kmsKey{}, malformed
	}
	isARN, hasKey, isAlias := parts[1] != "", parts[3] != "", strings.HasPrefix(parts[4], "alias/")
	if hasKey == isAlias && (isARN || hasKey) { // key/alias/x, an ARN of neither, key/x without an ARN
		return kmsKey{}, malformed
	}
	if hasKey && !isARN {
		return kmsKey{}, malformed
	}
	return kmsKey{given: given}, nil
}

func (k kmsKey) isNew() bool { return k.given == "" }

// isManaged tells whether it is DynamoDB's own key in the account, which every caller of DynamoDB may use.
func (k kmsKey) isManaged() bool {
	return k.given == managedKey || strings.HasSuffix(k.given, ":"+managedKey)
}

// alias is the alias by which the key was given, if it was.
func (k kmsKey) alias() string {
	if i := strings.Index(k.given, "alias/"); i >= 0 {
		return k.given[i:]
	}
	return ""
}

// specification is the table's SSESpecification.
func (k kmsKey) specification() *yaml.Node {
	var id *yaml.Node
	switch {
	case k.isNew():
		id = attribute("TargetKey.Arn")
	case !k.isManaged(): // "provide this parameter only if the key is different from the default key" (CreateTable)
		id = text(k.given)
	}
	return object(field{key: "SSEEnabled", value: truth(true)}, field{key: "SSEType", value: word("KMS")}, field{key: "KMSMasterKeyId", value: id})
}

// keyUse are the KMS actions that a caller needs who reads and writes a table with a customer managed key (DynamoDB developer guide,
// "DynamoDB encryption at rest", less the grant that only the table's creator makes).
var keyUse = []string{"kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey*", "kms:ReEncrypt*"}

// statement allows a role to use the key, through DynamoDB only; nil where no permission is needed.
func (k kmsKey) statement() *yaml.Node {
	through := field{key: "StringEquals", value: object(field{key: "kms:ViaService", value: sub("dynamodb.${AWS::Region}.${AWS::URLSuffix}")})}
	var resource *yaml.Node
	var byAlias field
	switch alias := k.alias(); {
	case k.isManaged():
		return nil
	case k.isNew():
		resource = attribute("TargetKey.Arn")
	case alias != "": // an alias can't be a resource of a policy
		resource = sub("arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/*")
		byAlias = field{key: "ForAnyValue:StringEquals", value: object(field{key: "kms:ResourceAliases", value: text(alias)})}
	case strings.HasPrefix(k.given, "arn:"):
		resource = text(k.given)
	default: // an id, of hexadecimal digits and dashes
		resource = sub("arn:${AWS::Partition}:kms:${AWS::Region}:${AWS::AccountId}:key/" + k.given)
	}
	return allow("UseTargetKey", resource, object(through, byAlias), keyUse...)
}

// resource is the new key.
func (k kmsKey) resource() *yaml.Node {
	root := object(
		field{key: "Sid", value: word("AccountDecidesByIAM")},
		field{key: "Effect", value: word("Allow")},
		field{key: "Principal", value: object(field{key: "AWS", value: sub("arn:${AWS::Partition}:iam::${AWS::AccountId}:root")})},
		field{key: "Action", value: word("kms:*")},
		field{key: "Resource", value: text("*")},
	)
	look := object(
		field{key: "Sid", value: word("DynamoDBLooksAtTheKey")},
		field{key: "Effect", value: word("Allow")},
		field{key: "Principal", value: object(field{key: "Service", value: word("dynamodb.amazonaws.com")})},
		field{key: "Action", value: words("kms:Describe*", "kms:Get*", "kms:List*")},
		field{key: "Resource", value: text("*")},
	)
	return retained("AWS::KMS::Key", object(
		field{key: "Description", value: ref("AWS::StackName")},
		field{key: "EnableKeyRotation", value: truth(true)},
		field{key: "KeyPolicy", value: policy(root, look)},
	))
}

// allow is a statement of a policy. An empty condition is left out.
func allow(sid string, resource, condition *yaml.Node, actions ...string) *yaml.Node {
	if len(condition.Content) == 0 {
		condition = nil
	}
	return object(
		field{key: "Sid", value: word(sid)},
		field{key: "Effect", value: word("Allow")},
		field{key: "Action", value: words(actions...)},
		field{key: "Resource", value: resource},
		field{key: "Condition", value: condition},
	)
}

// policy is a policy of those statements that aren't nil.
func policy(statements ...*yaml.Node) *yaml.Node {
	var given []*yaml.Node
	for _, one := range statements {
		if one != nil {
			given = append(given, one)
		}
	}
	return object(field{key: "Version", value: text("2012-10-17")}, field{key: "Statement", value: list(given...)})
}

// retained is a resource that outlives the stack: data, the key that reads it, and what keeps it fast.
func retained(kind string, properties *yaml.Node) *yaml.Node {
	return whenDeleted("Retain", kind, properties)
}

// after is retained, and made after another resource; "": after none.
func after(kind string, properties *yaml.Node, other string) *yaml.Node {
	node := retained(kind, properties)
	if other != "" {
		node.Content = append(node.Content, object(field{key: "DependsOn", value: word(other)}).Content...)
	}
	return node
}

// whenDeleted is a resource of which it is said what happens to it when the stack no longer has it.
func whenDeleted(what, kind string, properties *yaml.Node) *yaml.Node {
	return object(
		field{key: "Type", value: word(kind)},
		field{key: "DeletionPolicy", value: word(what)},
		field{key: "UpdateReplacePolicy", value: word(what)},
		field{key: "Properties", value: properties},
	)
}

// resource is one that goes with the stack.
func resource(kind string, properties *yaml.Node) *yaml.Node {
	return object(field{key: "Type", value: word(kind)}, field{key: "Properties", value: properties})
}
