// Package jsonwalk reads JSON text in place, without making anything of it: for answers of megabytes of which only parts are wanted,
// and those as the bytes that they came in.
package jsonwalk

import (
	"bytes"
	"errors"
	"unicode/utf16"
	"unicode/utf8"
)

// Reader walks a text from the byte At. It checks the brackets, commas and colons that it passes, but not that strings are free of
// control characters and valid UTF-8.
type Reader struct {
	Data []byte
	At   int
}

// ErrSyntax doesn't say where or what: the text is somebody's data.
var ErrSyntax = errors.New("malformed JSON")

// Peek skips white space and returns the byte after it, which is not taken; 0 at the end.
func (r *Reader) Peek() byte {
	for ; r.At < len(r.Data); r.At++ {
		switch c := r.Data[r.At]; c {
		case ' ', '\n', '\r', '\t':
		default:
			return c
		}
	}
	return 0
}

// End tells whether nothing but white space is left.
func (r *Reader) End() error {
	if r.Peek(); r.At < len(r.Data) {
		return ErrSyntax
	}
	return nil
}

// Take takes the byte c, and white space before it.
func (r *Reader) Take(c byte) error {
	if r.Peek() != c {
		return ErrSyntax
	}
	r.At++
	return nil
}

// Next tells whether there is another element in a list or map of which count were read, and takes the comma before it, or the
// closing bracket.
func (r *Reader) Next(closing byte, count int) (bool, error) {
	switch c := r.Peek(); {
	case c == closing:
		r.At++
		return false, nil
	case count == 0:
		return true, nil
	case c == ',':
		r.At++
		return true, nil
	}
	return false, ErrSyntax
}

// Text takes a string and returns what is between its quotes, as it is written; escaped: there are escapes in it.
func (r *Reader) Text() (raw []byte, escaped bool, err error) {
	if err := r.Take('"'); err != nil {
		return nil, false, err
	}
	rest := r.Data[r.At:]
	end := bytes.IndexByte(rest, '"')
	if end < 0 {
		return nil, false, ErrSyntax
	}
	if bytes.IndexByte(rest[:end], '\\') < 0 {
		r.At += end + 1
		return rest[:end], false, nil
	}
	for i := 0; i < len(rest); i++ {
		switch rest[i] {
		case '\\':
			i++
		case '"':
			r.At += i + 1
			return rest[:i], true, nil
		}
	}
	return nil, false, ErrSyntax
}

// PlainText takes a string and returns what it stands for.
func (r *Reader) PlainText() (string, error) {
	raw, escaped, err := r.Text()
	if err != nil || !escaped {
		return string(raw), err
	}
	text, err := Unescape(nil, raw)
	return string(text), err
}

// Name takes the name of a map's entry and the colon after it.
func (r *Reader) Name() (raw []byte, escaped bool, err error) {
	if raw, escaped, err = r.Text(); err != nil {
		return nil, false, err
	}
	return raw, escaped, r.Take(':')
}

// Boolean takes true or false.
func (r *Reader) Boolean() (bool, error) {
	r.Peek()
	switch rest := r.Data[r.At:]; {
	case bytes.HasPrefix(rest, []byte("true")):
		r.At += len("true")
		return true, nil
	case bytes.HasPrefix(rest, []byte("false")):
		r.At += len("false")
		return false, nil
	}
	return false, ErrSyntax
}

// Skip takes one value, whatever it is. Of numbers and words only the first byte is looked at.
func (r *Reader) Skip() error {
	var room [64]byte
	closing := room[:0] // the brackets to come, innermost last
	for {
		var err error
		if closing, err = r.begin(closing); err != nil {
			return err
		}
		if closing, err = r.finish(closing); err != nil || len(closing) == 0 {
			return err
		}
	}
}

// begin takes a value up to the first one in it that holds none, and adds the brackets that it opens.
func (r *Reader) begin(closing []byte) ([]byte, error) {
	for {
		switch c := r.Peek(); c {
		case '"':
			_, _, err := r.Text()
			return closing, err
		case '{':
			r.At++
			closing = append(closing, '}')
			if r.Peek() == '}' {
				return closing, nil
			}
			if _, _, err := r.Name(); err != nil {
				return closing, err
			}
		case '[':
			r.At++
			closing = append(closing, ']')
			if r.Peek() == ']' {
				return closing, nil
			}
		case '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 't', 'f', 'n':
			r.word()
			return closing, nil
		default:
			return closing, ErrSyntax
		}
	}
}

// finish takes the brackets after a value, and then, unless that was the last one, the comma and the name before the next value.
func (r *Reader) finish(closing []byte) ([]byte, error) {
	for last := len(closing) - 1; last >= 0; last-- {
		switch r.Peek() {
		case closing[last]:
			r.At++
			closing = closing[:last]
			continue
		case ',':
			r.At++
			if closing[last] == '}' {
				_, _, err := r.Name()
				return closing, err
			}
			return closing, nil
		}
		return closing, ErrSyntax
	}
	return closing, nil
}

// word takes a number, true, false or null.
func (r *Reader) word() {
	for ; r.At < len(r.Data); r.At++ {
		switch r.Data[r.At] {
		case ' ', '\n', '\r', '\t', ',', ':', '"', '{', '}', '[', ']':
			return
		}
	}
}

// Value takes one value and returns it as it is written.
func (r *Reader) Value() ([]byte, error) {
	r.Peek()
	start := r.At
	err := r.Skip()
	return r.Data[start:r.At:r.At], err
}

// Fields is Entries with a name that may be kept.
func (r *Reader) Fields(visit func(name string) error) error {
	return r.Entries(func(name []byte) error { return visit(string(name)) })
}

// Entries calls visit for each entry of an object. It is given the entry's name, which is not to be kept, and must take its value.
func (r *Reader) Entries(visit func(name []byte) error) error {
	if err := r.Take('{'); err != nil {
		return err
	}
	for count := 0; ; count++ {
		more, err := r.Next('}', count)
		if err != nil || !more {
			return err
		}
		raw, escaped, err := r.Name()
		if err != nil {
			return err
		}
		if raw, _, err = Plain(raw, escaped, nil); err != nil {
			return err
		}
		if err := visit(raw); err != nil {
			return err
		}
	}
}

// Elements calls visit for each element of an array, which it must take.
func (r *Reader) Elements(visit func() error) error {
	if err := r.Take('['); err != nil {
		return err
	}
	for count := 0; ; count++ {
		more, err := r.Next(']', count)
		if err != nil || !more {
			return err
		}
		if err := visit(); err != nil {
			return err
		}
	}
}

// Null takes null, if that is the value, and tells whether it was.
func (r *Reader) Null() bool {
	r.Peek()
	if bytes.HasPrefix(r.Data[r.At:], []byte("null")) {
		r.At += len("null")
		return true
	}
	return false
}

// Plain returns the string that raw stands for. Where it is escaped, it is written to the scratch, which is returned for the next
// use.
func Plain(raw []byte, escaped bool, scratch []byte) (text, grown []byte, err error) {
	if !escaped {
		return raw, scratch, nil
	}
	grown, err = Unescape(scratch[:0], raw)
	return grown, grown, err
}

// Unescape appends what a JSON string stands for (RFC 8259, section 7). Half of a surrogate pair becomes U+FFFD, as in package
// encoding/json.
func Unescape(dst, raw []byte) ([]byte, error) {
	for {
		i := bytes.IndexByte(raw, '\\')
		if i < 0 {
			return append(dst, raw...), nil
		}
		dst = append(dst, raw[:i]...)
		if i+1 == len(raw) {
			return nil, ErrSyntax
		}
		c := raw[i+1]
		raw = raw[i+2:]
		switch c {
		case '"', '\\', '/':
			dst = append(dst, c)
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			char, ok := hex4(raw)
			if !ok {
				return nil, ErrSyntax
			}
			raw = raw[4:]
			if utf16.IsSurrogate(char) {
				char, raw = pair(char, raw)
			}
			dst = utf8.AppendRune(dst, char)
		default:
			return nil, ErrSyntax
		}
	}
}

// pair joins the first half of a surrogate pair with the second, which raw should begin with, and returns what follows.
func pair(first rune, raw []byte) (rune, []byte) {
	if len(raw) >= 6 && raw[0] == '\\' && raw[1] == 'u' {
		if second, ok := hex4(raw[2:]); ok {
			if char := utf16.DecodeRune(first, second); char != utf8.RuneError {
				return char, raw[6:]
			}
		}
	}
	return utf8.RuneError, raw
}

func hex4(raw []byte) (rune, bool) {
	if len(raw) < 4 {
		return 0, false
	}
	char := rune(0)
	for _, c := range raw[:4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		char = char<<4 | rune(c)
	}
	return char, true
}

// AppendQuoted appends s as a JSON string. Bytes that aren't UTF-8 stay as they are.
func AppendQuoted[T string | []byte](dst []byte, s T) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		}
	}
	return append(append(dst, s[start:]...), '"')
}
