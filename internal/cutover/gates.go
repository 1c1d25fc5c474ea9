package cutover

import (
	"context"
	"fmt"
	"time"

	"reseal/internal/call"
	"reseal/internal/fence"
)

// PolicyGate is a statement in a table's resource policy.
type PolicyGate struct {
	Policy *fence.Policy
	Probe  fence.Probe
	// Temporary is the statement until the verdict, which denies the probe, too; and Lasting the one from then on. Close sets their Until.
	Temporary, Lasting fence.Statement
	// Earlier is the statement by which an earlier cutover, from this table to the other one, has closed this one for good. Close takes it
	// out, in one change with the new one, and Open puts it back. Its Sid is "" where there is none.
	Earlier fence.Found
	// Over are the Sids of statements of an earlier cutover that Close takes out when it closes for good: they are of no use then.
	Over []string
}

// Close puts the statement. For good, it also waits until the policy is read back with it.
func (g *PolicyGate) Close(ctx context.Context, term Term) error {
	s := g.Temporary
	if term.Verdict {
		s = g.Lasting
	}
	s.Until = term.Until
	var instead []string
	if g.Earlier.Sid != "" {
		instead = append(instead, g.Earlier.Sid)
	}
	if term.Until.IsZero() {
		instead = append(instead, g.Over...)
	}
	if err := g.Policy.Put(ctx, s, instead...); err != nil {
		return err
	}
	if !term.Until.IsZero() {
		return nil
	}
	for {
		now, closed, err := g.IsClosed(ctx)
		if err == nil && closed && now.IsZero() {
			return nil
		}
		if slept := call.Sleep(ctx, pollInterval); slept != nil {
			return fmt.Errorf("read the policy back: %w", slept)
		}
	}
}

// Prove probes.
func (g *PolicyGate) Prove(ctx context.Context, quiet time.Duration) (time.Time, error) {
	return g.Probe.Prove(ctx, quiet)
}

// ProveOpen probes.
func (g *PolicyGate) ProveOpen(ctx context.Context, quiet time.Duration) error {
	return g.Probe.ProveOpen(ctx, quiet)
}

// Open takes the statement out.
func (g *PolicyGate) Open(ctx context.Context) error {
	if g.Earlier.Sid != "" {
		return g.Policy.Restore(ctx, g.Earlier, g.Temporary.Sid)
	}
	return g.Policy.Remove(ctx, g.Temporary.Sid)
}

// IsClosed looks for the statement.
func (g *PolicyGate) IsClosed(ctx context.Context) (time.Time, bool, error) {
	found, err := g.Policy.Found(ctx)
	if err != nil {
		return time.Time{}, false, err
	}
	for _, f := range found {
		if f.Sid == g.Temporary.Sid {
			return f.Until, true, nil
		}
	}
	return time.Time{}, false, nil
}

// Expires tells that AWS doesn't apply the statement after its time.
func (g *PolicyGate) Expires() bool { return true }

// CommandGate is a command of the user's that refuses writes in a way of its own, or none, where the user says that there are none. A
// command is not run again for another time: it lasts until it is undone.
type CommandGate struct {
	Shut  func(context.Context) error // nil: it is shut already
	Undo  func(context.Context) error // nil: there is nothing to undo, or nobody can
	Pause time.Duration               // until what was under way before it can't be carried out any more; 0: Quiet sees to that

	shut bool
}

// Close runs the command the first time.
func (g *CommandGate) Close(ctx context.Context, _ Term) error {
	if g.shut || g.Shut == nil {
		return nil
	}
	if err := g.Shut(ctx); err != nil {
		return err
	}
	g.shut = true
	return nil
}

// Prove can't: nothing is known of what the command does. That the stream is silent shows it.
func (g *CommandGate) Prove(ctx context.Context, _ time.Duration) (time.Time, error) {
	return time.Time{}, call.Sleep(ctx, g.Pause)
}

// ProveOpen can't, and need not: a command takes no effect later, as far as is known.
func (g *CommandGate) ProveOpen(context.Context, time.Duration) error { return nil }

// Open runs the other command, also if the first one failed: it may have done a part.
func (g *CommandGate) Open(ctx context.Context) error {
	if g.Undo == nil {
		return nil
	}
	if err := g.Undo(ctx); err != nil {
		return err
	}
	g.shut = false
	return nil
}

// IsClosed takes the command's word: it lasts until it is undone.
func (g *CommandGate) IsClosed(context.Context) (time.Time, bool, error) {
	g.shut = true // by a run before
	return time.Time{}, true, nil
}

// Expires tells that it lasts.
func (g *CommandGate) Expires() bool { return false }
