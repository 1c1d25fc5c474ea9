package item

import (
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// KeyAttribute is an attribute of a table's primary key.
type KeyAttribute struct {
	Name string
	Type types.ScalarAttributeType
}

// Schema is a table's primary key. Range.Name is empty if the table has none.
type Schema struct {
	Hash  KeyAttribute
	Range KeyAttribute
}

// SchemaOf reads the primary key from DescribeTable's answer. A missing hash
// attribute, a repeated role and an attribute without a type S, N or B are
// errors.
func SchemaOf(td *types.TableDescription) (Schema, error) {
	if td == nil {
		return Schema{}, errors.New("read key schema: no table description")
	}
	var s Schema
	for _, element := range td.KeySchema {
		var role *KeyAttribute
		switch element.KeyType {
		case types.KeyTypeHash:
			role = &s.Hash
		case types.KeyTypeRange:
			role = &s.Range
		default:
			return Schema{}, fmt.Errorf("read key schema: unknown key type %q", element.KeyType)
		}
		if role.Name != "" {
			return Schema{}, fmt.Errorf("read key schema: more than one %s attribute", element.KeyType)
		}
		name := aws.ToString(element.AttributeName)
		kind, err := typeOf(td.AttributeDefinitions, name)
		if err != nil {
			return Schema{}, fmt.Errorf("read key schema: %w", err)
		}
		*role = KeyAttribute{Name: name, Type: kind}
	}
	if s.Hash.Name == "" {
		return Schema{}, errors.New("read key schema: no hash attribute")
	}
	return s, nil
}

func typeOf(definitions []types.AttributeDefinition, name string) (types.ScalarAttributeType, error) {
	for _, definition := range definitions {
		if name == "" || aws.ToString(definition.AttributeName) != name {
			continue
		}
		if _, err := keyTag(definition.AttributeType); err != nil {
			return "", fmt.Errorf("attribute %q: %w", name, err)
		}
		return definition.AttributeType, nil
	}
	return "", fmt.Errorf("attribute %q is not defined", name)
}

// keyTag is the tag of a key attribute's type in the canonical encoding.
func keyTag(kind types.ScalarAttributeType) (byte, error) {
	switch kind {
	case types.ScalarAttributeTypeS:
		return tagString, nil
	case types.ScalarAttributeTypeN:
		return tagNumber, nil
	case types.ScalarAttributeTypeB:
		return tagBinary, nil
	default:
		return 0, fmt.Errorf("unsupported key type %q", kind)
	}
}

// String describes the key for people: "country (S, hash), place (S, range)".
func (s Schema) String() string {
	text := fmt.Sprintf("%s (%s, hash)", s.Hash.Name, s.Hash.Type)
	if s.Range.Name != "" {
		text += fmt.Sprintf(", %s (%s, range)", s.Range.Name, s.Range.Type)
	}
	return text
}

// attributes returns the key attributes, hash first.
func (s Schema) attributes() []KeyAttribute {
	if s.Range.Name == "" {
		return []KeyAttribute{s.Hash}
	}
	return []KeyAttribute{s.Hash, s.Range}
}
