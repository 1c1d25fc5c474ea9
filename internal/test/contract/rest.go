package contract

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

func inBody(m *member) bool { return m.location == "" }

func elsewhere(m *member) bool { return m.location != "" }

// query checks a form as the query protocol makes it of a structure (Smithy, "AWS query protocol"), by way of JSON.
func (c *Call) query(body []byte) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		c.report(Request, "", Service, "want a form")
		return
	}
	root := &node{}
	for name, values := range form {
		if name == "Action" || name == "Version" {
			continue
		}
		root.put(strings.Split(name, "."), values[0])
		if len(values) > 1 {
			c.report(Request, "", Duplicate, "a parameter is there twice")
		}
	}
	shape := c.op.input
	if shape == nil {
		shape = &shape0
	}
	k := &checker{walker: walker{data: root.json(shape)}, call: c, side: Request}
	k.body(shape, anywhere)
}

// node is a part of a form: a value, or parts.
type node struct {
	value string
	parts map[string]*node
}

func (n *node) put(path []string, value string) {
	if len(path) == 0 {
		n.value = value
		return
	}
	if n.parts == nil {
		n.parts = map[string]*node{}
	}
	if n.parts[path[0]] == nil {
		n.parts[path[0]] = &node{}
	}
	n.parts[path[0]].put(path[1:], value)
}

// json turns a part of a form into the JSON that it would be.
func (n *node) json(s *shape) []byte {
	switch s.kind {
	case "structure":
		out := map[string]json.RawMessage{}
		for name, part := range n.parts {
			shape := &shape{kind: "string"} // of what is not a member
			if m := s.members[name]; m != nil {
				shape = m.shape
			}
			out[name] = part.json(shape)
		}
		return marshal(out)
	case "list":
		out := []json.RawMessage{}
		for _, part := range n.numbered(s, "member") {
			out = append(out, part.json(s.list))
		}
		return marshal(out)
	case "map":
		out := map[string]json.RawMessage{}
		for _, part := range n.numbered(s, "entry") {
			if key, value := part.parts["key"], part.parts["value"]; key != nil && value != nil {
				out[key.value] = value.json(s.value)
			}
		}
		return marshal(out)
	}
	return scalarJSON(s, n.value)
}

// numbered returns the parts 1, 2 and so on.
func (n *node) numbered(s *shape, level string) (list []*node) {
	if !s.flat && n.parts[level] != nil {
		n = n.parts[level]
	}
	for i := 1; n.parts[strconv.Itoa(i)] != nil; i++ {
		list = append(list, n.parts[strconv.Itoa(i)])
	}
	return list
}

var isNumber = regexp.MustCompile(`\A-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?\z`)

// scalarJSON turns a text into the JSON of a shape, or into a string if it is no such thing.
func scalarJSON(s *shape, text string) []byte {
	switch s.kind {
	case "integer", "long", "float", "double":
		if isNumber.MatchString(text) {
			return []byte(text)
		}
	case "timestamp":
		return []byte("0") // its format is not checked
	case "boolean":
		if text == "true" || text == "false" {
			return []byte(text)
		}
	}
	return marshal(text)
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // strings, and what has been marshalled
	}
	return data
}

// route finds the operation of a request: the one with the most of its own in it.
func (s *service) route(method string, uri *url.URL, header http.Header) (name string) {
	best := -1
	for _, op := range s.operations {
		path, query, _ := strings.Cut(op.uri, "?")
		if op.method != method || uriPattern(path).FindString(uri.EscapedPath()) == "" {
			continue
		}
		fixed, _ := url.ParseQuery(query) // of the model
		fits := op.input == nil || !slices.ContainsFunc(op.input.required, func(m *member) bool {
			return m.location == "querystring" && !uri.Query().Has(m.wire) || m.location == "header" && header.Get(m.wire) == ""
		})
		for key, values := range fixed {
			got, is := uri.Query()[key]
			fits = fits && is && (values[0] == "" || slices.Contains(got, values[0]))
		}
		own := len(label.ReplaceAllString(op.uri, ""))
		if op.input != nil {
			own += len(op.input.required) // among them what is in the query and the headers
		}
		if fits && own > best {
			best, name = own, op.name
		}
	}
	return name
}

var label = regexp.MustCompile(`\{[A-Za-z]+\+?\}`)

// uriPattern makes an expression of a URI's path with labels.
func uriPattern(path string) *regexp.Regexp {
	var text strings.Builder
	at := 0
	for _, place := range label.FindAllStringIndex(path, -1) {
		text.WriteString(regexp.QuoteMeta(path[at:place[0]]))
		name, greedy := strings.CutSuffix(path[place[0]+1:place[1]-1], "+")
		if greedy {
			text.WriteString("(?P<" + name + ">.+)")
		} else {
			text.WriteString("(?P<" + name + ">[^/]+)")
		}
		at = place[1]
	}
	return regexp.MustCompile(`\A` + text.String() + regexp.QuoteMeta(strings.TrimSuffix(path[at:], "/")) + `/?\z`)
}

// rest checks what a URI and the headers have, and a body of JSON.
func (c *Call) rest(uri *url.URL, header http.Header, body []byte) {
	s := c.op.input
	if s == nil {
		return
	}
	k := &checker{walker: walker{data: c.bound(s, uri, header)}, call: c, side: Request}
	k.body(s, elsewhere)
	if c.protocol != "rest-json" || s.payload != "" {
		return // XML and payloads are not read
	}
	if len(body) == 0 {
		body = []byte("{}")
	}
	k = &checker{walker: walker{data: body}, call: c, side: Request}
	k.body(s, inBody)
}

// bound makes a structure of what is in the URI and the headers.
func (c *Call) bound(s *shape, uri *url.URL, header http.Header) []byte {
	out := map[string]json.RawMessage{}
	path, query, _ := strings.Cut(c.op.uri, "?")
	fixed, _ := url.ParseQuery(query) // of the model
	pattern := uriPattern(path)
	match := pattern.FindStringSubmatch(uri.EscapedPath())
	for i, name := range pattern.SubexpNames() {
		if name != "" && i < len(match) {
			text, _ := url.PathUnescape(match[i]) // the URL has been parsed
			out[name] = scalarJSON(s.of("uri", name), text)
		}
	}
	for name, values := range uri.Query() {
		if _, is := fixed[name]; is {
			continue
		}
		of := s.of("querystring", name)
		if of.kind == "list" || of.kind == "map" {
			continue // each has a way of its own
		}
		out[name] = scalarJSON(of, values[0])
	}
	for _, m := range s.members {
		if value := header.Get(m.wire); m.location == "header" && value != "" {
			out[m.wire] = scalarJSON(m.shape, value)
		}
	}
	return marshal(out)
}

// of returns the shape of a member.
func (s *shape) of(location, wire string) *shape {
	if m := s.members[wire]; m != nil && m.location == location {
		return m.shape
	}
	return &shape{kind: "string"}
}
