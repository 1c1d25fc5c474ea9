package table_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"reseal/internal/refuse"
	"reseal/internal/table"
)

// plainName is what may stand in a request, a file's name and a message as it is.
var plainName = regexp.MustCompile(`^[a-zA-Z0-9_.-]+$`)

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{
		"", "cities", "../../x", "...", "a/b/c", "my table", "größe", "abc\n", "-rf", "<b>x</b>", "$(id)",
		"arn:aws:dynamodb:eu-west-1:123456789012:table/cities", "arn:aws-cn:dynamodb:cn-north-1:123456789012:table/a.b",
		"arn:aws:dynamodb:eu-west-1:123456789012:table/abc/stream/2026-01-01T00:00:00.000", "arn:aws:dynamodb:a/b:123456789012:table/abc",
		"arn:aws:dynamodb:eu-west-1@example.com/:123456789012:table/abc", "arn:a\nb:dynamodb:x:123456789012:table/../../x", "arn:::::",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := table.ParseRef("--source", s)
		if err != nil {
			if !refuse.Is(err) || ref != (table.Ref{}) {
				t.Fatalf("%q: %+v, error %v", s, ref, err)
			}
			if strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Fatalf("%q: the message has a line break or an escape: %q", s, err)
			}
			return
		}
		if len(ref.Name) < 3 || len(ref.Name) > 255 || !plainName.MatchString(ref.Name) || filepath.Base("x-"+ref.Name) != "x-"+ref.Name {
			t.Fatalf("%q: the name %q", s, ref.Name)
		}
		if ref.ARN == "" {
			if ref != (table.Ref{Name: s}) {
				t.Fatalf("%q: %+v", s, ref)
			}
			return
		}
		head, isWhole := strings.CutSuffix(s, ":dynamodb:"+ref.Region+":"+ref.Account+":table/"+ref.Name)
		partition, isARN := strings.CutPrefix(head, "arn:")
		if ref.ARN != s || !isWhole || !isARN || len(ref.Account) != 12 {
			t.Fatalf("%q: %+v", s, ref)
		}
		// They are parts of a host's name.
		for _, part := range []string{partition, ref.Region, ref.Account} {
			if !plainName.MatchString(part) {
				t.Fatalf("%q has the part %q", s, part)
			}
		}
	})
}
