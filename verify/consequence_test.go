package verify

import (
	"strings"
	"testing"
)

// Every line has a sentence for each way to differ, and none where it doesn't.
func TestConsequences(t *testing.T) {
	seen := map[string]string{}
	for _, c := range consequences {
		pairs := [][2]string{{"one", "other"}, {NotChecked, "one"}, {"one", NotChecked}, {NotChecked, NotChecked}}
		if c.none != "" && c.other != "" {
			pairs = append(pairs, [2]string{"one", c.none}, [2]string{c.none, "one"})
		}
		for _, pair := range pairs {
			checked := pair[0] != NotChecked && pair[1] != NotChecked
			if !checked && c.call == "" {
				continue // DescribeTable has it, without which nothing begins
			}
			if checked && c.other == "" && pair[0] != c.none && pair[1] != c.none {
				continue // it is on or off
			}
			text := consequenceOf(c.what, pair[0], pair[1])
			if !strings.HasSuffix(text, ".") || checked && strings.Contains(text, "not known") || !checked && !strings.Contains(text, "dynamodb:"+c.call) {
				t.Errorf("%s, %v: %q", c.what, pair, text)
			}
			if other, twice := seen[text]; twice && other != c.what {
				t.Errorf("%s and %s have the same consequence %q", c.what, other, text)
			}
			seen[text] = c.what
		}
		if text := consequenceOf(c.what, "one", "one"); text != "" {
			t.Errorf("%s: equal, but %q", c.what, text)
		}
	}
	for _, what := range []string{whatProtection, whatBackups} {
		if consequenceOf(what, "on", "off") == "" || consequenceOf(what, "off", "on") == "" {
			t.Errorf("%s: no consequence", what)
		}
	}
}
