package itemtest

import "github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

// Named gives every attribute, also of the maps in an item, a name that isn't empty: a table takes no others.
func Named(m attrs) attrs {
	named := make(attrs, len(m))
	for name, v := range m {
		named["n"+name] = namedIn(v)
	}
	return named
}

func namedIn(v value) value {
	switch v := v.(type) {
	case *types.AttributeValueMemberM:
		return mapOf(Named(v.Value))
	case *types.AttributeValueMemberL:
		list := make([]value, len(v.Value))
		for i, one := range v.Value {
			list[i] = namedIn(one)
		}
		return listOf(list...)
	}
	return v
}
