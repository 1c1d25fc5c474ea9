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

// anew is what to do then. The checkpoints are kept: that of a seed knows which writes were under way.
const anew = "replicate with --restart, seed again with --restart, and then verify --repair, since deletes may have been missed"

// Recheck describes both tables again and compares them with what they were when p was made: the tables' identities and, with stream,
// the ARN of the source's stream. A run calls it before it says that it is done. A difference is an error that holds ErrChanged and
// says what to do. No error of it is a *refuse.Error: the run has done something. The context's error comes as it is.
func (p Pair) Recheck(ctx context.Context, source, target DescribeAPI, stream bool) error {
	now := Pair{}
	for _, one := range []struct {
		api    DescribeAPI
		before Info
		now    *Info
	}{{source, p.Source, &now.Source}, {target, p.Target, &now.Target}} {
		info, err := Describe(ctx, one.api, one.before.Side, one.before.Sent)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("describe the %s table again: %s", one.before.Side, err) // not %w: see above
		}
		if info.Raw.TableStatus == types.TableStatusDeleting {
			return fmt.Errorf("%w: %s is being deleted", ErrChanged, called(info.Side, info.Name))
		}
		if before, after := one.before.Identity(), info.Identity(); before != after {
			return fmt.Errorf("%w: %s was %s, and is now %s: start all over: %s", ErrChanged, called(info.Side, info.Name), before, after, anew)
		}
		*one.now = info
	}
	before, after := p.Source.StreamARN(), now.Source.StreamARN()
	switch {
	case !stream || before == after:
		return nil
	case after == "":
		return fmt.Errorf("%w: the stream of %s was disabled, so later changes are not replicated: enable it, %s",
			ErrChanged, called("source", p.Source.Name), anew)
	default:
		return fmt.Errorf("%w: the stream of %s was %s, and is now %s, so changes may not be replicated: %s",
			ErrChanged, called("source", p.Source.Name), before, after, anew)
	}
}
