package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/atomicfile"
	"reseal/internal/call"
	"reseal/internal/cutover"
	"reseal/internal/fence"
	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/seed"
	"reseal/verify"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// preflight is all that can be checked before. It writes nothing. Its errors are *refuse.Error, but for the context's own.
func (c *cutting) preflight(ctx context.Context) error {
	for _, check := range []func(context.Context) error{c.checkTables, c.checkSeed, c.checkFence, c.checkStop} {
		if err := check(ctx); err != nil {
			return err
		}
	}
	return nil
}

// checkTables is verify's gate.
func (c *cutting) checkTables(ctx context.Context) error {
	counts, pair, err := verify.Against(ctx, c.comparing())
	if err != nil {
		return err
	}
	if n := len(pair.Source.Raw.Replicas); n > 0 {
		return refuse.New("take the replicas away first: each has writers of its own, which no fence of this table stops",
			"the source table %q is a global table with %d replicas", pair.Source.Name, n)
	}
	return against(counts)
}

// checkSeed refuses while a seed of this folder is under way: it writes to the target, too.
func (c *cutting) checkSeed(context.Context) error {
	path := seed.DefaultCheckpoint(c.flags.source.Table, c.flags.target.Table)
	lock, err := atomicfile.Acquire(path)
	switch {
	case errors.Is(err, atomicfile.ErrLocked):
		return refuse.New("wait until it is done", "a seed of these tables is under way (%s)", path)
	case err != nil:
		return refuse.Because(err, "check the working folder", "it can't be told whether a seed is under way (%s)", err)
	}
	lock.Release()
	return nil
}

// checkFence makes sure that the source's policy has room, and that the probe is not denied by something else.
func (c *cutting) checkFence(ctx context.Context) error {
	if c.gate == nil {
		return nil
	}
	return c.checkGate(ctx, "source", "--fence command", c.gate)
}

func (c *cutting) checkStop(ctx context.Context) error {
	if c.hold == nil {
		return nil
	}
	return c.checkGate(ctx, "target", "--replicator-stop-command", c.hold)
}

// checkPolicies makes sure that both policies can be changed, as far as can be told long before: nobody should learn that after a seed.
func (c *cutting) checkPolicies(ctx context.Context) error {
	if c.gate != nil {
		if err := c.checkPolicy(ctx, "source", "--fence command", c.gate); err != nil {
			return err
		}
	}
	if c.hold != nil {
		return c.checkPolicy(ctx, "target", "--replicator-stop-command", c.hold)
	}
	return nil
}

// checkPolicy makes sure that a policy has room, and no statement of somebody else's cutover.
func (c *cutting) checkPolicy(ctx context.Context, side, instead string, gate *cutover.PolicyGate) error {
	temporary := gate.Temporary
	temporary.Until = time.Now()
	for _, statement := range []fence.Statement{gate.Lasting, temporary} {
		err := gate.Policy.Fits(ctx, statement)
		denial, isDenied := call.DeniedBy(err)
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fence.ErrUnknown):
			return refuse.Because(err, "use "+instead, "the %s's endpoint knows no resource policies, by which writes are refused (GetResourcePolicy)", side)
		case errors.Is(err, fence.ErrOtherRun):
			return refuse.Because(err, "end that one with --abort and its --state, or take the statement out if it has none", "another cutover may be under way: %s", err)
		case errors.Is(err, fence.ErrTooLong):
			return refuse.Because(err, "shorten it, or use "+instead, "the %s's resource policy has no room: %s", side, err)
		case isDenied:
			return refuse.Because(err, denial.Remedy(), "the %s's resource policy can't be read: %s", side, denial)
		default:
			return refuse.Because(err, "try again", "the %s's resource policy can't be read (%s)", side, call.Message(err))
		}
	}
	return nil
}

func (c *cutting) checkGate(ctx context.Context, side, instead string, gate *cutover.PolicyGate) error {
	if err := c.checkPolicy(ctx, side, instead, gate); err != nil {
		return err
	}
	if gate.Earlier.Sid != "" {
		return nil // it denies the probe, until reseal is let in: see letIn
	}
	denied, err := gate.Probe.Denied(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return refuse.Because(err, "try again", "a probe of the %s failed (%s)", side, call.Message(err))
	case denied:
		return refuse.New("allow dynamodb:UpdateItem on it: the probe changes nothing, and shows when a policy denies it",
			"UpdateItem of the %s is denied already, so nothing would show when the fence takes effect", side)
	}
	return nil
}

// enableStream sees to it that the target has a stream.
func (c *cutting) enableStream(ctx context.Context) error {
	if c.pair.Target.StreamARN() != "" {
		return nil
	}
	c.tell(cutover.StepFollow, "enabling the target's stream")
	_, err := c.target.DB.UpdateTable(ctx, &dynamodb.UpdateTableInput{
		TableName:           &c.target.Table,
		StreamSpecification: &types.StreamSpecification{StreamEnabled: aws.Bool(true), StreamViewType: types.StreamViewTypeNewAndOldImages},
	})
	if err != nil {
		return fmt.Errorf("enable the target's stream: %w", err)
	}
	c.pair.Target, err = table.Await(ctx, c.target.DB, "target", c.target.Table)
	return err
}
