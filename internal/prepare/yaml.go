package prepare

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The names of attributes and indexes, and tags, are anybody's text. It gets into a template only through text, as a quoted scalar
// which YAML's own library writes, and into Fn::Sub only as a variable's value; and into comments only through comment.

// field is an entry of a mapping. Without a value there is none.
type field struct {
	key     string
	value   *yaml.Node
	comment string // lines before it
}

func object(fields ...field) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fields {
		if f.value == nil {
			continue
		}
		node.Content = append(node.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: f.key, HeadComment: f.comment}, f.value)
	}
	return node
}

// list is a sequence; nil without elements.
func list(elements ...*yaml.Node) *yaml.Node {
	if len(elements) == 0 {
		return nil
	}
	return &yaml.Node{Kind: yaml.SequenceNode, Content: elements}
}

// words is a sequence of constants.
func words(all ...string) *yaml.Node {
	nodes := make([]*yaml.Node, len(all))
	for i, one := range all {
		nodes[i] = word(one)
	}
	return list(nodes...)
}

// word is a constant of the program or of an API, such as PAY_PER_REQUEST.
func word(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// text is a string that may hold anything.
func text(s string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s, Style: yaml.DoubleQuotedStyle}
}

func number(n int64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(n, 10)}
}

func decimal(x float64) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: strconv.FormatFloat(x, 'f', -1, 64)}
}

func truth(b bool) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(b)}
}

// function is a CloudFormation function of one argument, such as !Ref Target.
func function(name, argument string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: name, Value: argument, Style: yaml.TaggedStyle}
}

func ref(name string) *yaml.Node { return function("!Ref", name) }

func attribute(of string) *yaml.Node { return function("!GetAtt", of) }

// sub must get constants only.
func sub(constant string) *yaml.Node { return function("!Sub", constant) }

// subWith is sub with a variable of any text.
func subWith(constant, variable, value string) *yaml.Node {
	return tagged("!Sub", word(constant), object(field{key: variable, value: text(value)}))
}

// when is a value that holds under a condition, and is left out otherwise.
func when(condition string, value *yaml.Node) *yaml.Node {
	return tagged("!If", word(condition), value, ref("AWS::NoValue"))
}

func tagged(name string, arguments ...*yaml.Node) *yaml.Node {
	node := list(arguments...)
	node.Tag, node.Style = name, yaml.TaggedStyle
	return node
}

// comment makes a comment of lines, whatever is in them: a line break or a control character in a line becomes a space.
func comment(lines ...string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(strings.TrimRight("# "+printable(line), " "))
	}
	return b.String()
}

// printable replaces what could end a line, or a terminal's good behaviour.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return ' '
	}, s)
}

// render writes the document, with a blank line between its sections and between resources.
func render(head string, document *yaml.Node) (string, error) {
	out := head + "\n"
	for i := 0; i+1 < len(document.Content); i += 2 {
		key, value := document.Content[i], document.Content[i+1]
		parts := []*yaml.Node{value}
		if key.Value == "Resources" {
			parts = nil
			for j := 0; j+1 < len(value.Content); j += 2 {
				parts = append(parts, &yaml.Node{Kind: yaml.MappingNode, Content: value.Content[j : j+2]})
			}
		}
		for j, part := range parts {
			text, err := encode(&yaml.Node{Kind: yaml.MappingNode, Content: []*yaml.Node{key, part}})
			if err != nil {
				return "", err
			}
			if j > 0 {
				_, text, _ = strings.Cut(text, "\n") // the key is there already
			}
			out += "\n" + text
		}
	}
	return out, nil
}

func encode(node *yaml.Node) (string, error) {
	var out strings.Builder
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := errors.Join(encoder.Encode(node), encoder.Close()); err != nil {
		return "", fmt.Errorf("write template: %w", err)
	}
	return out.String(), nil
}
