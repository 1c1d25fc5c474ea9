package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"reseal/internal/call"
	"reseal/internal/cutover"
	"reseal/internal/fence"
	"reseal/internal/refuse"
	"reseal/internal/table"
)

// The way back is a cutover with the tables' roles swapped. The one before has closed the present target for good, but for the principals
// that replicate to it, and keeps the replicator of that time from the present source:
//
//  1. Before anything is fenced, that statement of the target is made to let reseal through, too, whose probe could prove nothing otherwise.
//  2. The replicator is stopped by a statement that takes its place, in one change of the policy: a second one would have to wait for 15 s.
//     From then on the target is open to all but the replicator, and the writers are still kept from the source.
//  3. If the cutover goes back, the statement of before is put back, likewise.
//  4. When the source is closed for good, what kept the replicator of before from it goes.

// findEarlier notes the statement by which a cutover the other way round has closed the target for good. Whose it is shows the source's
// policy, or that it lets through who replicates now; one that is neither is somebody else's.
func (c *cutting) findEarlier(ctx context.Context) error {
	if c.state.IsUnderWay() {
		return c.keepEarlier()
	}
	c.state.Earlier = nil
	found, err := fence.NewPolicy(c.target.DB, c.pair.Target.ARN, c.state.Run).Found(ctx)
	if err != nil {
		return ctx.Err() // there are no policies, or the preflight tells why they can't be read
	}
	for _, f := range found {
		run, is := strings.CutPrefix(f.Sid, fence.SidFence)
		if !is || run == c.state.Run || !f.Until.IsZero() {
			continue
		}
		if ours, err := c.isOtherWay(ctx, run, f); err != nil || !ours {
			return err
		}
		c.earlier, c.earlierRun, c.state.Earlier = f, run, f.Text
		return nil
	}
	return nil
}

// forget begins anew if the state is of a cutover that is over, and that a way back has undone since: the target is closed for good, by another
// run, and the source is not any more. That somebody has taken the fence away alone is no reason: the writers are on the target.
func (c *cutting) forget(ctx context.Context) error {
	if !c.found || !c.state.Watched || c.state.FenceBy != fencePolicy || c.flags.abort || c.flags.finish {
		return nil
	}
	isMine := func(f fence.Found) bool { return f.Sid == fence.SidFence+c.state.Run }
	isBack := func(f fence.Found) bool {
		return strings.HasPrefix(f.Sid, fence.SidFence) && !isMine(f) && f.Until.IsZero()
	}
	source, err := fence.NewPolicy(c.source.DB, c.pair.Source.ARN, c.state.Run).Found(ctx)
	if err != nil || slices.ContainsFunc(source, isMine) {
		return ctx.Err() // what the state says is all that is known
	}
	target, err := fence.NewPolicy(c.target.DB, c.pair.Target.ARN, c.state.Run).Found(ctx)
	if err != nil || !slices.ContainsFunc(target, isBack) {
		return ctx.Err()
	}
	run, err := newRun()
	if err != nil {
		return err
	}
	c.found = false
	c.state = cutover.State{
		Run: run, Source: c.pair.Source.Identity(), Target: c.pair.Target.Identity(), Stream: c.pair.Source.StreamARN(), FenceBy: c.flags.fence, StopBy: c.flags.stopsBy(),
	}
	return nil
}

func (c *cutting) isOtherWay(ctx context.Context, run string, f fence.Found) (bool, error) {
	for _, one := range c.state.Replicators {
		for _, let := range f.Except {
			if one == let {
				return true, nil
			}
		}
	}
	found, err := fence.NewPolicy(c.source.DB, c.pair.Source.ARN, c.state.Run).Found(ctx)
	if err != nil {
		return false, ctx.Err()
	}
	for _, stop := range found {
		if stop.Sid == fence.SidStop+run && stop.Until.IsZero() {
			return true, nil
		}
	}
	return false, nil
}

// keepEarlier takes the statement from the state of a run before.
func (c *cutting) keepEarlier() error {
	if len(c.state.Earlier) == 0 {
		return nil
	}
	var text bytes.Buffer // the file has it with indents
	err := json.Compact(&text, c.state.Earlier)
	var f fence.Found
	if err == nil {
		f, err = fence.Read(text.Bytes())
	}
	if err != nil {
		return refuse.Because(err, "look what it is", "the state file %s has no statement where it should", c.store.Path())
	}
	c.earlier, c.earlierRun = f, strings.TrimPrefix(f.Sid, fence.SidFence)
	return nil
}

// earlierRuns are the runs whose statements may be there.
func (c *cutting) earlierRuns() []string {
	if c.earlierRun == "" {
		return nil
	}
	return []string{c.earlierRun}
}

// letIn has the target's fence let reseal's probe through, and returns when the policy can be changed again.
func (c *cutting) letIn(ctx context.Context) error {
	if c.hold == nil || c.earlier.Sid == "" {
		return nil
	}
	caller, err := c.target.CallerARN(ctx)
	if err != nil {
		return fmt.Errorf("ask who reseal is: %w", err)
	}
	text, err := c.earlier.Letting(fence.Patterns(caller)...)
	if err != nil {
		return err
	}
	c.tell(cutover.StepFollow, "the target is closed for good by the cutover the other way round: letting reseal's probe through")
	if err := c.stop.Replace(ctx, fence.Found{Sid: c.earlier.Sid, Text: text}); err != nil {
		return err
	}
	return call.Sleep(ctx, fence.BlockedFor)
}

// letOut takes that back, if the cutover has ended before the statement was needed.
func (c *cutting) letOut(ctx context.Context, result cutover.Result) error {
	if c.hold == nil || c.earlier.Sid == "" || result.Ready {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	if err := c.stop.Restore(ctx, c.earlier); err != nil {
		return fmt.Errorf("put back the statement that closes the target: %w", err)
	}
	return nil
}

// findBack notes the mappings for the replication the other way round. One that is on is a refusal: both at once would write older items over
// newer ones.
func (c *cutting) findBack(ctx context.Context) error {
	stream := c.pair.Target.StreamARN()
	if c.state.IsUnderWay() || stream == "" || !c.asksLambda(stream) {
		return nil
	}
	c.state.Back = nil
	on, off, err := otherDirection(ctx, c.lambda, stream, c.pair.Source)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		c.notes = append(c.notes, "not checked: whether something replicates from the target to the source ("+call.Message(err)+")")
	case len(on) > 0:
		return isOn(on[0])
	case c.flags.keepBack:
		c.state.Back = off
	}
	return nil
}

// asksLambda tells whether there may be Lambdas that read a stream: the local engine's streams are none that Lambda could read.
func (c *cutting) asksLambda(stream string) bool {
	return c.source.LocalEndpoint() == nil || awsStream.MatchString(stream)
}

// sayBack tells how to keep the source for a way back, where that isn't done by itself.
func (c *cutting) sayBack(result cutover.Result) {
	if !c.flags.keepBack || result.Verdict != cutover.VerdictGo || len(c.state.Back) > 0 {
		return
	}
	c.tell(cutover.StepKeepBack, "for a way back, replicate from the target to the source, as a principal of --fence-except: reseal replicate"+
		table.JobOptions(c.target.Way(), c.source.Way())+" --encryption any --checkpoint replicate-back.json")
}

// startBack has the replication the other way round begun.
func (c *cutting) startBack() func(context.Context) error {
	if !c.flags.keepBack || len(c.state.Back) == 0 {
		return nil
	}
	return func(ctx context.Context) error { return cutover.Enable(ctx, c.lambda, c.state.Back) }
}

var errOn = errors.New("the other direction is on")

// isOn refuses while the other direction is.
func isOn(one cutover.Mapping) error {
	return refuse.Because(errOn, "disable it first: both at once would write older items over newer ones",
		"the other direction is on: the event source mapping %s of %s replicates from the target to the source", one.UUID, one.Function)
}
