package contract

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// walker goes through JSON that is known to be well-formed, once, without building anything.
type walker struct {
	data []byte
	at   int
	path []step
}

// step is one level of a path.
type step struct {
	name  string
	index int // of a list's element; less than 0: name counts
}

func (w *walker) push(name string) { w.path = append(w.path, step{name, -1}) }
func (w *walker) pushIndex(i int)  { w.path = append(w.path, step{"", i}) }
func (w *walker) pop()             { w.path = w.path[:len(w.path)-1] }

func (w *walker) pathString() string { return pathString(w.path) }

func pathString(path []step) string {
	var text strings.Builder
	for _, one := range path {
		if one.index >= 0 {
			text.WriteString("[" + strconv.Itoa(one.index) + "]")
			continue
		}
		if text.Len() > 0 {
			text.WriteByte('.')
		}
		text.WriteString(one.name)
	}
	return text.String()
}

// peek skips white space and returns the byte after it.
func (w *walker) peek() byte {
	for w.at < len(w.data) {
		switch b := w.data[w.at]; b {
		case ' ', '\t', '\n', '\r':
			w.at++
		default:
			return b
		}
	}
	return 0
}

// next tells whether an object or a list, of which the opening bracket is passed, has another element, and passes the comma.
func (w *walker) next() bool {
	switch w.peek() {
	case ',':
		w.at++
		w.peek()
		return true
	case '}', ']', 0:
		w.at++
		return false
	}
	return true
}

// member passes a member's name and the colon. The result is good as long as the data.
func (w *walker) member() []byte {
	name := w.text()
	w.peek()
	w.at++
	w.peek()
	return name
}

// text passes a string and returns it.
func (w *walker) text() []byte {
	w.peek()
	start := w.at
	w.at++
	escaped := false
	for {
		i := bytes.IndexByte(w.data[w.at:], '"')
		if !escaped {
			escaped = bytes.IndexByte(w.data[w.at:w.at+i], '\\') >= 0
		}
		w.at += i + 1
		if !escaped || !oddBackslashes(w.data[start+1:w.at-1]) {
			break
		}
	}
	if !escaped {
		return w.data[start+1 : w.at-1]
	}
	var decoded string
	_ = json.Unmarshal(w.data[start:w.at], &decoded) // it is well-formed
	return []byte(decoded)
}

// oddBackslashes tells whether the quotation mark after it is escaped.
func oddBackslashes(before []byte) bool {
	n := len(before) - len(bytes.TrimRight(before, `\`))
	return n%2 == 1
}

// literal passes a number, true, false or null and returns it.
func (w *walker) literal() []byte {
	w.peek()
	start := w.at
	for w.at < len(w.data) && strings.IndexByte(" \t\r\n,]}", w.data[w.at]) < 0 {
		w.at++
	}
	return w.data[start:w.at]
}

// skip passes a value and returns it.
func (w *walker) skip() []byte {
	opening := w.peek()
	start := w.at
	switch opening {
	case '"':
		w.text()
	case '{', '[':
		w.at++
		for w.next() {
			if opening == '{' {
				w.member()
			}
			w.skip()
		}
	default:
		w.literal()
	}
	return w.data[start:w.at]
}

// kind names the type of the next value.
func (w *walker) kind() string {
	switch w.peek() {
	case '"':
		return "string"
	case '{':
		return "object"
	case '[':
		return "list"
	case 't', 'f':
		return "boolean"
	case 'n':
		return "null"
	}
	return "number"
}

// names are the names of one object's members.
type names struct {
	few  [][]byte
	many map[string]bool
}

// isNew adds a name and tells whether it wasn't there.
func (n *names) isNew(name []byte) bool {
	if n.many != nil {
		is := n.many[string(name)]
		n.many[string(name)] = true
		return !is
	}
	for _, one := range n.few {
		if bytes.Equal(one, name) {
			return false
		}
	}
	if n.few = append(n.few, name); len(n.few) > 16 {
		n.many = map[string]bool{}
		for _, one := range n.few {
			n.many[string(one)] = true
		}
	}
	return true
}
