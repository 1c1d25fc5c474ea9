package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// TestMain lets this program be its own child, as the benchmark is.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == childArgument {
		if err := child(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// withContest calls f with a small contest.
func withContest(t *testing.T, f func(s *suite, c *contest)) {
	t.Helper()
	for name, value := range credentials {
		t.Setenv(name, value)
	}
	err := onEngine(t.Context(), 300, func(c *contest) error {
		f(&suite{log: io.Discard, rounds: 1}, c)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Every peer makes a copy, by reseal's own verify, and has its figures beside reseal's.
func TestPeers(t *testing.T) {
	withContest(t, func(s *suite, c *contest) {
		list, err := s.addDynamodump(t.Context(), c, s.own(c))
		if err == nil {
			err = s.compete(t.Context(), c, list)
		}
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, f := range s.figures {
			got = append(got, f.What+" of "+f.Of)
			if f.Part != "peers" || f.Items != 300 || f.WallSeconds <= 0 || f.ProcessorSeconds <= 0 || f.PeakBytes <= 0 {
				t.Errorf("not measured: %+v", f)
			}
			if (f.Of == "") != (f.Ratio == 0) || (f.Of == "") != (f.WallRatio == 0) {
				t.Errorf("ratios: %+v", f)
			}
		}
		const want = "seed of |seed, no recheck of seed|plain, Go's GOGC of seed|put each of seed|dynamodump, backup and restore of seed" +
			"|verify of |get each of verify|dynamodump, two backups and a script of verify"
		if strings.Join(got, "|") != want || len(s.notes) != 1 || s.notes[0] != dynamodumpNote {
			t.Errorf("figures %s, notes %q", strings.Join(got, "|"), s.notes)
		}
	})
}

// A copy that isn't one ends the benchmark, whatever it took. A comparison that is wrong about equal tables has no figure; one that
// fails ends the benchmark.
func TestPeersThatFail(t *testing.T) {
	withContest(t, func(s *suite, c *contest) {
		both := job{url: c.url, source: "source", target: "target", segments: c.segments()}
		exact := work{"exact", func(ctx context.Context) (outcome, error) { return outcome{WallSeconds: 1}, plainCopy(ctx, both) }}
		careless := work{"careless", func(ctx context.Context) (outcome, error) {
			return outcome{WallSeconds: 1}, errors.Join(plainCopy(ctx, both), c.put(ctx, "target", map[string]string{keyName: "0000000007"}))
		}}
		compares := func(err error) work {
			return work{"comparison", func(context.Context) (outcome, error) { return outcome{WallSeconds: 1}, err }}
		}
		broken := errors.New("broken")
		for name, test := range map[string]struct {
			peer        peer
			want        error
			in          string // the error
			figures     int
			comparisons string // note
		}{
			"no copy":       {peer: peer{copy: careless}, want: errNoMatch, in: "check the copy of careless"},
			"no comparison": {peer: peer{exact, compares(errNoComparison)}, figures: 1, comparisons: "none: comparison: "},
			"broken":        {peer: peer{exact, compares(broken)}, want: broken, in: "comparison: broken"},
			"good":          {peer: peer{exact, compares(nil)}, figures: 2},
		} {
			s.figures, s.notes = nil, nil
			err := s.compete(t.Context(), c, []peer{test.peer})
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.in) {
				t.Errorf("%s: error %v", name, err)
			}
			if notes := strings.Join(s.notes, ""); len(s.figures) != test.figures || (notes == "") != (test.comparisons == "") || !strings.HasPrefix(notes, test.comparisons) {
				t.Errorf("%s: figures %v, notes %q", name, s.figures, s.notes)
			}
		}
	})
}

// The comparisons of the peers do compare: what is measured is not a loop that takes anything for equal.
func TestComparisons(t *testing.T) {
	withContest(t, func(s *suite, c *contest) {
		ctx := t.Context()
		tool, err := newDynamodump(ctx, c)
		if err != nil {
			t.Fatal(err)
		}
		both := job{url: c.url, source: "source", target: "target", segments: c.segments()}
		for name, change := range map[string]func() error{
			"nothing": func() error { return nil },
			"changed": func() error { return c.put(ctx, "target", map[string]string{keyName: "0000000007", "name": "changed"}) },
			"extra":   func() error { return c.put(ctx, "target", map[string]string{keyName: "more"}) },
			"missing": func() error {
				_, err := c.db.DeleteItem(ctx, &dynamodb.DeleteItemInput{
					TableName: aws.String("target"), Key: map[string]types.AttributeValue{keyName: &types.AttributeValueMemberS{Value: "0000000007"}},
				})
				return err
			},
		} {
			if err := c.emptyTarget(ctx); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(plainCopy(ctx, both), change()); err != nil {
				t.Fatal(err)
			}
			_, dumped := tool.compare(ctx)
			for what, err := range map[string]error{"get each": getEach(ctx, both), "verify": verifyTables(ctx, both), "dynamodump": dumped} {
				if found := errors.Is(err, errNoMatch) || errors.Is(err, errNoComparison); found != (name != "nothing") || !found && err != nil {
					t.Errorf("%s, with one item of the target %s: %v", what, name, err)
				}
			}
		}
		tool.items++
		if _, err := tool.compare(ctx); err == nil || errors.Is(err, errNoComparison) {
			t.Errorf("a backup of one item too few: %v", err)
		}
	})
}

// Without Python the part goes on without dynamodump, and says why. A part that is stopped doesn't.
func TestPeersWithoutPython(t *testing.T) {
	t.Setenv("PATH", "")
	var s suite
	c := &contest{url: "http://127.0.0.1:1"}
	list, err := s.addDynamodump(t.Context(), c, s.own(c))
	if err != nil || len(list) != len(s.own(c)) {
		t.Errorf("%d peers, error %v", len(list), err)
	}
	if len(s.notes) != 1 || !strings.HasPrefix(s.notes[0], "dynamodump was left out: install dynamodump: python3 not found") {
		t.Errorf("notes %q", s.notes)
	}
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.addDynamodump(stopped, c, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped: error %v", err)
	}
}

// put writes an item of strings.
func (c *contest) put(ctx context.Context, table string, attributes map[string]string) error {
	it := map[string]types.AttributeValue{}
	for name, text := range attributes {
		it[name] = &types.AttributeValueMemberS{Value: text}
	}
	_, err := c.db.PutItem(ctx, &dynamodb.PutItemInput{TableName: &table, Item: it})
	return err
}
