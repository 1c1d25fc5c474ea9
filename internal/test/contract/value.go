package contract

import (
	"bytes"
	"slices"
	"strconv"
	"unicode/utf8"
)

// valueTypes are the types of attribute values (Amazon DynamoDB API Reference, AttributeValue).
var valueTypes = []string{"S", "N", "B", "SS", "NS", "BS", "M", "L", "NULL", "BOOL"}

// Limits of items (Amazon DynamoDB Developer Guide, "Quotas in Amazon DynamoDB").
const (
	maxItem         = 400 << 10
	maxDepth        = 32
	maxName         = 64<<10 - 1
	maxPartitionKey = 2048
	maxSortKey      = 1024
)

// attributes are a key or an item.
type attributes struct {
	role  string // name of the member that it is in; of a list, the list's
	table string // "": the request's TableName
	path  []step
	list  []attribute
}

type attribute struct {
	name, kind string
	text       []byte // of S and N: the text; of B: the bytes
}

// roles are the members whose attributes are compared with the table's key.
var roles = []string{"Item", "Key", "Keys", "ExclusiveStartKey", "LastEvaluatedKey"}

// role is what the attributes at the path are.
func (c *checker) role() string {
	i := len(c.path) - 1
	for i > 0 && c.path[i].index >= 0 {
		i--
	}
	if i < 0 || !slices.Contains(roles, c.path[i].name) {
		return ""
	}
	return c.path[i].name
}

// attributes checks a map of attribute values: an item, a key, or values of expressions.
func (c *checker) attributes(s *shape) {
	if !c.is("object") {
		return
	}
	c.at++
	role := c.role()
	out := attributes{role: role, table: c.table}
	total, n := 0, 0
	seen := c.names()
	defer c.done(seen)
	for ; c.next(); n++ {
		name := c.member()
		c.push("*")
		if !seen.isNew(name) {
			c.breaks(Duplicate, "the attribute is there twice")
		}
		c.chars(s.key, name)
		c.note(name)
		if len(name) > maxName {
			c.breaks(Length, "%d bytes, want %d or fewer", len(name), maxName)
		}
		kind, size, text := c.value(0)
		total += len(name) + size
		if role != "" {
			if kind == "B" {
				text = bytes.Clone(text) // it is in the buffer
			}
			out.list = append(out.list, attribute{string(name), kind, text})
		}
		c.pop()
	}
	c.length(s, n)
	if c.side == Request && role == "Item" && total > maxItem {
		c.breaks(ItemSize, "%d bytes, want %d or fewer", total, maxItem)
	}
	if role != "" {
		out.path = slices.Clone(c.path)
		c.found = append(c.found, out)
	}
}

// value checks an attribute value, and returns its type and its size in bytes (Developer Guide, "DynamoDB item sizes and formats").
// The text, of S, N and B, is only good until the next call.
func (c *checker) value(depth int) (kind string, size int, text []byte) {
	if !c.is("object") {
		return "", 0, nil
	}
	if depth > maxDepth {
		c.breaks(Depth, "more than %d levels", maxDepth)
	}
	c.at++
	n := 0
	for c.next() {
		name := c.member()
		n++
		i := slices.Index(valueTypes, string(name))
		if i < 0 {
			c.push("?")
			c.breaks(Member, "an attribute value has no such type")
			c.skip()
			c.pop()
			continue
		}
		kind = valueTypes[i]
		c.push(kind)
		size, text = c.typed(kind, depth)
		c.pop()
	}
	if n != 1 {
		c.breaks(OneValue, "an attribute value has %d types, want one", n)
	}
	return kind, size, text
}

func (c *checker) typed(kind string, depth int) (size int, text []byte) {
	switch kind {
	case "S", "N", "B":
		if c.is("string") {
			text, size = c.plain(kind)
		}
	case "SS", "NS", "BS":
		size = c.set(kind[:1])
	case "M":
		size = 3
		if c.is("object") {
			size += c.inner(depth)
		}
	case "L":
		size = 3
		if !c.is("list") {
			break
		}
		c.at++
		for i := 0; c.next(); i++ {
			c.pushIndex(i)
			_, one, _ := c.value(depth + 1)
			size += one + 1
			c.pop()
		}
	case "NULL":
		size = 1
		if c.is("boolean") && string(c.literal()) != "true" && c.side == Request {
			c.breaks(Type, "a null is true")
		}
	case "BOOL":
		size = 1
		if c.is("boolean") {
			c.literal()
		}
	}
	return size, text
}

// inner checks the elements of a map, and returns their size.
func (c *checker) inner(depth int) (size int) {
	c.at++
	seen := c.names()
	defer c.done(seen)
	for c.next() {
		name := c.member()
		c.push("*")
		if !seen.isNew(name) {
			c.breaks(Duplicate, "the element is there twice")
		}
		_, one, _ := c.value(depth + 1)
		size += len(name) + one + 1
		c.pop()
	}
	return size
}

// plain checks a string, number or binary value, and returns it and its size.
func (c *checker) plain(kind string) (text []byte, size int) {
	text = c.text()
	switch kind {
	case "N":
		digits, ok := number(text)
		if !ok {
			c.breaks(Number, "want 38 digits at the most, and from 1E-130 to 9.9999999999999999999999999999999999999E+125")
		}
		return text, (digits+1)/2 + 1
	case "B":
		n, ok := c.decode(text)
		if !ok {
			c.breaks(Type, "want base64")
		}
		return c.buffer[:n], n
	}
	if !utf8.Valid(text) {
		c.breaks(JSON, "want UTF-8")
	}
	return text, len(text)
}

func (c *checker) set(kind string) (size int) {
	if !c.is("list") {
		return 0
	}
	c.at++
	seen := c.names()
	defer c.done(seen)
	n := 0
	for ; c.next(); n++ {
		c.pushIndex(n)
		if c.is("string") {
			text, one := c.plain(kind)
			size += one
			switch kind {
			case "N":
				text = []byte(canonical(text))
			case "B":
				text = bytes.Clone(text) // it is in the buffer
			}
			if !seen.isNew(text) {
				c.breaks(Set, "the element is there twice")
			}
		}
		c.pop()
	}
	if n == 0 {
		c.breaks(Set, "it is empty")
	}
	return size
}

// Limits of numbers (Developer Guide, "Supported data types and naming rules in Amazon DynamoDB").
const (
	maxDigits  = 38
	leastPower = -130
	mostPower  = 125
	longest    = 1000 // no number needs such a text
)

// parts takes a number's text apart: its significant digits, without zeros before and after, and the power of ten of the first.
func parts(text []byte) (negative bool, digits []byte, power int, ok bool) {
	if len(text) == 0 || len(text) > longest {
		return false, nil, 0, false
	}
	i := 0
	if text[0] == '-' || text[0] == '+' {
		negative = text[0] == '-'
		i++
	}
	point, any := -1, false
	for ; i < len(text); i++ {
		b := text[i]
		switch {
		case b >= '0' && b <= '9':
			digits, any = append(digits, b), true
			continue
		case b == '.' && point < 0:
			point = len(digits)
			continue
		}
		break
	}
	if !any {
		return false, nil, 0, false
	}
	if point < 0 {
		point = len(digits)
	}
	exponent, ok := exponent(text[i:])
	if !ok {
		return false, nil, 0, false
	}
	before := len(digits)
	digits = bytes.TrimLeft(digits, "0")
	power = point - 1 - (before - len(digits)) + exponent
	return negative, bytes.TrimRight(digits, "0"), power, true
}

// exponent reads what is after a number's digits.
func exponent(text []byte) (value int, ok bool) {
	if len(text) == 0 {
		return 0, true
	}
	if text[0] != 'e' && text[0] != 'E' {
		return 0, false
	}
	text = text[1:]
	sign := 1
	if len(text) > 0 && (text[0] == '-' || text[0] == '+') {
		if text[0] == '-' {
			sign = -1
		}
		text = text[1:]
	}
	if len(text) == 0 || len(text) > 6 {
		return 0, false
	}
	for _, b := range text {
		if b < '0' || b > '9' {
			return 0, false
		}
		value = value*10 + int(b-'0')
	}
	return sign * value, true
}

// number returns how many significant digits a number has, and whether DynamoDB takes it.
func number(text []byte) (digits int, ok bool) {
	_, significant, power, ok := parts(text)
	if !ok || len(significant) == 0 {
		return 0, ok
	}
	return len(significant), len(significant) <= maxDigits && power >= leastPower && power <= mostPower
}

// canonical is the same for two texts of one number.
func canonical(text []byte) string {
	negative, digits, power, ok := parts(text)
	switch {
	case !ok:
		return string(text)
	case len(digits) == 0:
		return "0"
	}
	sign := ""
	if negative {
		sign = "-"
	}
	return sign + string(digits) + "E" + strconv.Itoa(power)
}
