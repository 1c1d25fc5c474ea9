package jsonwalk_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"reseal/internal/jsonwalk"
)

// Fields and Elements find the same as encoding/json does, and values come as they are written.
func TestWalk(t *testing.T) {
	text := []byte(` { "a" : 1 , "b\u0022":[true,null ,{"x":"}]"}], "c":{} ,"d":"\\\"" } `)
	r := jsonwalk.Reader{Data: text}
	var names []string
	var values []string
	if err := r.Fields(func(name string) error {
		value, err := r.Value()
		names, values = append(names, name), append(values, string(value))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, []string{"a", `b"`, "c", "d"}) || !slices.Equal(values, []string{"1", `[true,null ,{"x":"}]"}]`, "{}", `"\\\""`}) {
		t.Errorf("%q %q", names, values)
	}
	r = jsonwalk.Reader{Data: []byte(values[1])}
	var elements int
	if err := r.Elements(func() error { elements++; return r.Skip() }); err != nil || elements != 3 || r.Peek() != 0 {
		t.Errorf("%d elements, %v", elements, err)
	}
	r = jsonwalk.Reader{Data: []byte(" null,")}
	if !r.Null() || r.Null() || r.Peek() != ',' {
		t.Error("null is taken once")
	}
}

func TestMalformed(t *testing.T) {
	for _, text := range []string{``, `{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1 "b":2}`, `{,}`, `{1:2}`, `"`, `"\`, `]`, `,`, `:`, `{"a":}`} {
		r := jsonwalk.Reader{Data: []byte(text)}
		if err := r.Fields(func(string) error { return r.Skip() }); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
}

// What is skipped is not taken on trust: a bracket of another kind would end it elsewhere.
func TestSkipMalformed(t *testing.T) {
	for _, text := range []string{
		``, `{]`, `[}`, `{"a":[}]`, `{"a":[}}`, `[{]}`, `[1,]`, `[,]`, `[,1]`, `[1 2]`, `["a":1]`, `{"a" 1}`, `{"a",1}`, `{"a":1,}`, `{"a":1 "b":2}`, `{1:2}`,
		`{"a"}`, `{"a":}`, `[`, `{`, `[1`, `["a`, `}`, `,`, `:`, `x`, `+1`, `[[[1]]`, `{"a":{"b":[1,{"c":2}}]}`,
	} {
		r := jsonwalk.Reader{Data: []byte(text)}
		if err := r.Skip(); err == nil {
			t.Errorf("%s: no error", text)
		}
	}
	deep := strings.Repeat(`[{"a":`, 1000) + "1" + strings.Repeat("}]", 1000)
	r := jsonwalk.Reader{Data: []byte(deep + ",")}
	if err := r.Skip(); err != nil || r.At != len(deep) {
		t.Errorf("%d, %v", r.At, err)
	}
	r = jsonwalk.Reader{Data: []byte(deep[:len(deep)-2] + "]}")}
	if r.Skip() == nil {
		t.Error("brackets of another kind at the end of many")
	}
}

// FuzzSkip: where JSON ends, Skip ends.
func FuzzSkip(f *testing.F) {
	for _, text := range []string{`{"a":[1,2,{"b":"\"}"}]}`, `-1e5`, `"x"`, `null`, `[[],[[]]]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if !json.Valid(text) {
			return
		}
		r := jsonwalk.Reader{Data: append(bytes.Clone(text), ",1"...)}
		value, err := r.Value()
		if err != nil || !bytes.Equal(value, bytes.TrimSpace(text)) {
			t.Fatalf("%q: %q, %v", text, value, err)
		}
	})
}

// FuzzText: strings mean what they mean to encoding/json, and what AppendQuoted writes, both read as what it was.
func FuzzText(f *testing.F) {
	for _, text := range []string{"", "a\"\\/\b\f\n\r\t\x00\x1f", "\u2028é日\U0001f600", `\u00e9\ud83d\ude00\ud800\udc00x\udc00`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := jsonwalk.Reader{Data: jsonwalk.AppendQuoted(nil, text)}
		if got := plain(t, &r); got != text || r.Peek() != 0 {
			t.Fatalf("%q: %q", text, got)
		}
		spelled := []byte(`"` + text + `"`)
		var want string
		if json.Unmarshal(spelled, &want) != nil || !json.Valid(spelled) {
			return
		}
		r = jsonwalk.Reader{Data: spelled}
		if got := plain(t, &r); string([]rune(got)) != want { // package json makes U+FFFD of what isn't UTF-8
			t.Fatalf("%s: %q, want %q", spelled, got, want)
		}
	})
}

func plain(t *testing.T, r *jsonwalk.Reader) string {
	t.Helper()
	raw, escaped, err := r.Text()
	if err != nil {
		t.Fatal(err)
	}
	text, _, err := jsonwalk.Plain(raw, escaped, nil)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// Reading in place allocates nothing, however long the text; nor does writing to memory that is large enough.
func TestAllocatesNothing(t *testing.T) {
	raw, scratch := []byte(`"Sant Juli\u00e0 \"q\""`), make([]byte, 0, 100)
	for what, do := range map[string]func() error{
		"Skip": func() error { return skip() },
		"Value": func() error {
			r := jsonwalk.Reader{Data: benchText}
			_, err := r.Value()
			return err
		},
		"Elements": func() error {
			r := jsonwalk.Reader{Data: []byte(`[1,"2",{"three":3}]`)}
			return r.Elements(r.Skip)
		},
		"Text and Plain": func() error {
			r := jsonwalk.Reader{Data: raw}
			text, escaped, err := r.Text()
			if err == nil {
				_, scratch, err = jsonwalk.Plain(text, escaped, scratch)
			}
			return err
		},
		"AppendQuoted": func() error {
			scratch = jsonwalk.AppendQuoted(scratch[:0], "Sant Julià\n")
			return nil
		},
	} {
		if err := do(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n := testing.AllocsPerRun(100, func() { _ = do() }); n > 0 {
			t.Errorf("%s: %.0f allocations", what, n)
		}
	}
}
