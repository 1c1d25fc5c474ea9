package table_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/refuse"
	"reseal/internal/table"
)

func TestRecheck(t *testing.T) {
	anew := func(td *types.TableDescription) { td.TableId = aws.String("another") }
	silent := describer(func(context.Context) (*types.TableDescription, error) { return nil, errors.New("no route") })
	for name, test := range map[string]struct {
		source, target describer // as they are described again
		stream         bool
		want           string // "": no error
		changed        bool
	}{
		"nothing":                  {described("src"), described("tgt"), true, "", false},
		"another stream":           {described("src", func(td *types.TableDescription) { td.LatestStreamArn = aws.String("arn:other") }), described("tgt"), true, "--restart", true},
		"stream disabled":          {described("src", noStream), described("tgt"), true, "was disabled", true},
		"a stream nobody asks for": {described("src", noStream), described("tgt"), false, "", false},
		"source made anew":         {described("src", anew), described("tgt"), false, "start all over", true},
		"target made anew":         {described("src"), described("tgt", anew), false, `the target table "tgt"`, true},
		"target being deleted":     {described("src"), described("tgt", status(types.TableStatusDeleting)), false, "is being deleted", true},
		"no answer":                {silent, described("tgt"), false, "describe the source table again", false},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := table.Preflight(t.Context(), described("src"), "src", described("tgt"), "tgt", table.Needs{Stream: true})
			if err != nil {
				t.Fatal(err)
			}
			err = pair.Recheck(t.Context(), test.source, test.target, test.stream)
			switch {
			case (err == nil) != (test.want == ""), err != nil && !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v, want one with %q", err, test.want)
			case errors.Is(err, table.ErrChanged) != test.changed, refuse.Is(err):
				t.Errorf("%v: changed %t, refused %t", err, errors.Is(err, table.ErrChanged), refuse.Is(err))
			}
		})
	}
}
