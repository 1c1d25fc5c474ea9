package testkit

import (
	"testing"

	"go.yaml.in/yaml/v3"
)

// Function is a call of one of CloudFormation's functions in a template, such as !Ref Target.
type Function struct {
	Name     string // with the "!"
	Argument any
}

// ParseTemplate reads a CloudFormation template: mappings as map[string]any, sequences as []any, scalars as YAML has them, and
// functions as Function.
func ParseTemplate(t testing.TB, template string) map[string]any {
	t.Helper()
	var node yaml.Node
	if err := yaml.Unmarshal([]byte(template), &node); err != nil {
		t.Fatalf("parse template: %v\n%s", err, template)
	}
	if len(node.Content) != 1 {
		t.Fatalf("the template is no document: %q", template)
	}
	parsed, is := templateValue(t, node.Content[0], true).(map[string]any)
	if !is {
		t.Fatalf("the template is no mapping: %q", template)
	}
	return parsed
}

func templateValue(t testing.TB, node *yaml.Node, byTag bool) any {
	t.Helper()
	if tag := node.ShortTag(); byTag && len(tag) > 1 && tag[1] != '!' {
		return Function{Name: tag, Argument: templateValue(t, node, false)}
	}
	switch node.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for i := 0; i+1 < len(node.Content); i += 2 {
			key := node.Content[i].Value
			if _, twice := out[key]; twice {
				t.Fatalf("the template has %q twice", key)
			}
			out[key] = templateValue(t, node.Content[i+1], true)
		}
		return out
	case yaml.SequenceNode:
		out := []any{}
		for _, one := range node.Content {
			out = append(out, templateValue(t, one, true))
		}
		return out
	}
	if !byTag {
		return node.Value
	}
	var value any
	if err := node.Decode(&value); err != nil {
		t.Fatalf("parse template: %v", err)
	}
	return value
}

// At returns what is at the path in a parsed template; nil if there is nothing.
func At(template any, path ...string) any {
	for _, name := range path {
		mapping, is := template.(map[string]any)
		if !is {
			return nil
		}
		template = mapping[name]
	}
	return template
}
