package seed_test

import (
	"path/filepath"
	"strings"
	"testing"

	"reseal/seed"
)

// Whatever tables are called, the files that are named after them are in the working folder.
func TestDefaultPaths(t *testing.T) {
	for name, want := range map[string]string{
		"cities": "cities", "arn:aws:dynamodb:eu-west-1:123456789012:table/cities": "cities", "../../x": "x", "/etc/passwd": "passwd",
		"..": "..", "a/": "", `..\..\x`: ".._.._x", "\x00": "_", "a\nb": "a_b", "$(id)": "__id_", "<b>": "_b_", "größe": "gr__e", "C:x": "C_x",
	} {
		for _, path := range []string{seed.DefaultCheckpoint(name, "t"), seed.DefaultCheckpoint("t", name), seed.DefaultRejects(name, "t"), seed.DefaultRejects("t", name)} {
			if filepath.Base(path) != path || !filepath.IsLocal(path) || !strings.Contains(path, want) {
				t.Errorf("%q: %q", name, path)
			}
		}
		if path := seed.DefaultCheckpoint(name, "t"); path != "reseal-seed-"+want+"-to-t.json" {
			t.Errorf("%q: %q", name, path)
		}
	}
}
