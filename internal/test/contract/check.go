package contract

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// checker checks one body against a shape.
type checker struct {
	walker
	call   *Call
	side   Side
	buffer []byte            // for what is decoded
	top    map[string][]byte // the scalars of the outermost structure
	table  string            // under RequestItems: whose keys these are
	found  []attributes      // keys and items
	given  map[string]bool   // the placeholders of expressions
	free   []*names          // to be used again
}

func (c *checker) breaks(rule Rule, format string, args ...any) {
	c.call.report(c.side, c.pathString(), rule, fmt.Sprintf(format, args...))
}

// body checks all of a body.
func (c *checker) body(s *shape, isBody func(*member) bool) {
	if !utf8.Valid(c.data) || !json.Valid(c.data) {
		c.breaks(JSON, "want JSON in UTF-8")
		return
	}
	c.top = map[string][]byte{}
	if s.kind == "structure" {
		c.structure(s, isBody)
		return
	}
	c.check(s)
}

func anywhere(*member) bool { return true }

// check checks the next value, and passes it.
func (c *checker) check(s *shape) {
	switch s.kind {
	case "structure":
		c.structure(s, anywhere)
	case "attribute value":
		c.value(0)
	case "list":
		c.list(s)
	case "map":
		c.mapping(s)
	case "string":
		c.scalar(s, "string")
	case "blob":
		c.scalar(s, "string")
	case "boolean":
		c.scalar(s, "boolean")
	default: // integer, long, float, double, timestamp
		c.scalar(s, "number")
	}
}

// is reports a value of another type than the one wanted, and passes it.
func (c *checker) is(want string) bool {
	if got := c.kind(); got != want {
		c.breaks(Type, "want a %s, got a %s", want, got)
		c.skip()
		return false
	}
	return true
}

func (c *checker) structure(s *shape, counts func(*member) bool) {
	if !c.is("object") {
		return
	}
	c.at++
	outermost := len(c.path) == 0
	var small [64]bool
	seen := small[:]
	if len(s.members) > len(seen) {
		seen = make([]bool, len(s.members))
	}
	for c.next() {
		name := c.member()
		m := s.members[string(name)]
		if m == nil || !counts(m) {
			c.unknown(name, s.name)
			c.skip()
			continue
		}
		c.push(m.name)
		if seen[m.index] {
			c.breaks(Duplicate, "the member is there twice")
		}
		switch c.peek() {
		case 'n': // as good as not there
			if c.side == Request {
				c.breaks(Type, "null is sent")
			}
			c.skip()
		case '{', '[':
			seen[m.index] = true
			c.check(m.shape)
		default:
			seen[m.index] = true
			start := c.at
			c.check(m.shape)
			if outermost {
				c.top[m.name] = c.data[start:c.at]
			}
		}
		c.pop()
	}
	for _, m := range s.required {
		if !seen[m.index] && counts(m) {
			c.push(m.name)
			c.breaks(Required, "%s requires it", s.name)
			c.pop()
		}
	}
	if s.name == "WriteRequest" {
		c.oneRequest(seen)
	}
}

// unknown reports a member that is none. Its name may be an attribute's in a request only, if an item is at the wrong place.
func (c *checker) unknown(name []byte, shape string) {
	is := "?"
	if c.side == Answer {
		is = string(name)
	}
	c.push(is)
	c.breaks(Member, "%s has no such member", shape)
	c.pop()
}

// oneRequest checks a union that the model doesn't call one.
func (c *checker) oneRequest(seen []bool) {
	n := 0
	for _, is := range seen {
		if is {
			n++
		}
	}
	if n != 1 {
		c.breaks(OneValue, "want a put or a delete")
	}
}

func (c *checker) list(s *shape) {
	if !c.is("list") {
		return
	}
	c.at++
	n := 0
	for ; c.next(); n++ {
		c.pushIndex(n)
		c.check(s.list)
		c.pop()
	}
	c.length(s, n)
}

func (c *checker) mapping(s *shape) {
	if s.value.kind == "attribute value" {
		c.attributes(s)
		return
	}
	if !c.is("object") {
		return
	}
	c.at++
	ofTables := len(c.path) == 1 && c.path[0].name == "RequestItems"
	n := 0
	seen := c.names()
	defer c.done(seen)
	for ; c.next(); n++ {
		name := c.member()
		c.push("*")
		if !seen.isNew(name) {
			c.breaks(Duplicate, "the key is there twice")
		}
		c.chars(s.key, name)
		if ofTables {
			c.table = string(name)
		}
		c.note(name)
		c.check(s.value)
		c.pop()
	}
	c.length(s, n)
}

// note notes a placeholder of an expression, if the next value is one's.
func (c *checker) note(name []byte) {
	if len(c.path) == 2 && strings.HasPrefix(c.path[0].name, "ExpressionAttribute") {
		if c.given == nil {
			c.given = map[string]bool{}
		}
		c.given[string(name)] = true
	}
}

// names returns an empty set of names; done takes it back.
func (c *checker) names() *names {
	if n := len(c.free); n > 0 {
		set := c.free[n-1]
		c.free = c.free[:n-1]
		return set
	}
	return &names{}
}

func (c *checker) done(set *names) {
	set.few, set.many = set.few[:0], nil
	c.free = append(c.free, set)
}

// length checks the number of elements, characters or bytes, in requests: the service itself answers with an empty UnprocessedItems,
// where the model wants one element or more.
func (c *checker) length(s *shape, n int) {
	if c.side == Answer {
		return
	}
	if s.min != nil && float64(n) < *s.min {
		c.breaks(Length, "%d, want %.0f or more", n, *s.min)
	}
	if s.max != nil && float64(n) > *s.max {
		c.breaks(Length, "%d, want %.0f or fewer", n, *s.max)
	}
}

func (c *checker) scalar(s *shape, want string) {
	if !c.is(want) {
		return
	}
	switch s.kind {
	case "string":
		c.chars(s, c.text())
	case "blob":
		c.blob(s)
	case "boolean":
		c.literal()
	default:
		c.number(s)
	}
}

// chars checks a string.
func (c *checker) chars(s *shape, text []byte) {
	if s.min != nil || s.max != nil {
		c.length(s, utf8.RuneCount(text))
	}
	if s.enum != nil && !s.enum[string(text)] {
		c.breaks(Enum, "want one of %s", s.name)
	}
	if s.pattern != nil && c.side == Request && !s.pattern.Match(text) {
		c.breaks(Pattern, "want %s", s.pattern)
	}
	if s.name == "TableArn" { // a name too; the model leaves open of which form
		c.tableName(text)
	}
}

func (c *checker) blob(s *shape) {
	n, ok := c.decode(c.text())
	if !ok {
		c.breaks(Type, "want base64")
		return
	}
	c.length(s, n)
}

// decode decodes base64 into the buffer.
func (c *checker) decode(text []byte) (int, bool) {
	if n := base64.StdEncoding.DecodedLen(len(text)); len(c.buffer) < n {
		c.buffer = make([]byte, n)
	}
	if bytes.ContainsAny(text, "\r\n") {
		return 0, false // the package lets them through
	}
	n, err := base64.StdEncoding.Strict().Decode(c.buffer, text)
	return n, err == nil
}

func (c *checker) number(s *shape) {
	literal := c.literal()
	value, err := strconv.ParseFloat(string(literal), 64)
	if err != nil {
		c.breaks(Range, "want a %s", s.kind)
		return
	}
	bits := map[string]int{"integer": 32, "long": 64}[s.kind]
	if bits > 0 {
		if _, err := strconv.ParseInt(string(literal), 10, bits); err != nil && (value != math.Trunc(value) || math.Abs(value) >= math.Pow(2, float64(bits-1))) {
			c.breaks(Type, "want a whole number of %d bits", bits)
		}
	}
	if c.side == Answer {
		return // NumberOfDecreasesToday is 0 mostly, where the model wants 1 or more
	}
	if s.min != nil && value < *s.min {
		c.breaks(Range, "want %v or more", *s.min)
	}
	if s.max != nil && value > *s.max {
		c.breaks(Range, "want %v or less", *s.max)
	}
}
