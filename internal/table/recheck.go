package table

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// ErrChanged says that a table, or the source's stream, is no longer the one that the run began with: what the run did or saw is of
// another one. It is in the errors of Pair.Recheck.
var ErrChanged = errors.New("a table changed under the run")

// StartOver is what to do where the stream may lack changes, or no longer has them. A new seed copies what is there, but a delete that
// was never replicated is seen by verify only.
const StartOver = "replicate with --restart, seed again with --restart, and then run verify --repair, since deletes may have been missed"

// Recheck describes both tables again and compares them with what they were when p was made: the tables' identities and, with stream,
// the ARN of the source's stream. A run calls it before it says that it is done. A difference is an error that holds ErrChanged and
// says what to do. No error of it is a *refuse.Error: the run has done something. The context's error comes as it is.
func (p Pair) Recheck(ctx context.Context, source, target DescribeAPI, stream bool) error {
	_, err := p.Again(ctx, source, target, stream)
	return err
}

// Again is Recheck that also returns what both tables are now.
func (p Pair) Again(ctx context.Context, source, target DescribeAPI, stream bool) (now Pair, err error) {
	if now.Source, err = p.Source.Again(ctx, source); err != nil {
		return Pair{}, err
	}
	if now.Target, err = p.Target.Again(ctx, target); err != nil {
		return Pair{}, err
	}
	before, after := p.Source.StreamARN(), now.Source.StreamARN()
	switch {
	case !stream || before == after:
		return now, nil
	case after == "":
		return Pair{}, fmt.Errorf("%w: the stream of %s was disabled, so later changes are not replicated: enable it, %s", ErrChanged, called("source", p.Source.Name), StartOver)
	default:
		return Pair{}, fmt.Errorf("%w: the stream of %s was %s, and is now %s, so changes may not be replicated: %s",
			ErrChanged, called("source", p.Source.Name), before, after, StartOver)
	}
}

// Again describes the table again, as Pair.Recheck does for both.
func (i Info) Again(ctx context.Context, api DescribeAPI) (Info, error) {
	now, err := Describe(ctx, api, i.Side, i.Sent)
	if ctx.Err() != nil {
		return Info{}, ctx.Err()
	}
	if err != nil {
		what := "the " + i.Side + " table"
		if i.Side == OnlyTable {
			what = "the table"
		}
		return Info{}, fmt.Errorf("describe %s again: %s", what, err) // not %w: see Pair.Recheck
	}
	if now.Raw.TableStatus == types.TableStatusDeleting {
		return Info{}, fmt.Errorf("%w: %s is being deleted", ErrChanged, called(now.Side, now.Name))
	}
	if before, after := i.Identity(), now.Identity(); before != after {
		remedy := "" // the checkpoints are kept: that of a seed knows which writes were under way
		if i.Side != OnlyTable {
			remedy = ": " + StartOver
		}
		return Info{}, fmt.Errorf("%w: %s was %s, and is now %s: start all over%s", ErrChanged, called(now.Side, now.Name), before, after, remedy)
	}
	return now, nil
}
