package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"time"

	"reseal/internal/call"
	"reseal/internal/cutover"
	"reseal/internal/fence"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/spf13/cobra"
)

// requestLifetime is how long a request of a replicator's may be alive when that has been ended.
var requestLifetime = call.Policy{}.Lifetime()

// cutting is a cutover as the command does it.
type cutting struct {
	flags          *cutoverFlags
	cmd            *cobra.Command
	source, target *table.Handle
	store          *cutover.Store
	progress       *progress

	pair   table.Pair
	state  cutover.State
	found  bool     // the state: of a run before
	notes  []string // for the plan
	only   bool     // compare, and end when the source could be closed
	lambda cutover.LambdaAPI
	back   written // what the target gets, with --keep-back

	earlier    fence.Found // by which a cutover the other way round has closed the target; its Sid is "" where there is none
	earlierRun string      // whose it was

	fence, stop *fence.Policy       // nil: not by policy
	gate, hold  *cutover.PolicyGate // likewise
}

// checkPrincipals refuses what is no role or user.
func (f *cutoverFlags) checkPrincipals() error {
	for flag, list := range map[string][]string{"--fence-except": f.fenceExcept, "--replicator-arn": f.replicators} {
		for _, one := range list {
			if err := fence.CheckPrincipal(flag, one); err != nil {
				return err
			}
		}
	}
	return nil
}

// open describes both tables and takes the state of a run before.
func (c *cutting) open(ctx context.Context) error {
	source, err := table.Await(ctx, c.source.DB, "source", c.source.Table)
	if err != nil {
		return err
	}
	target, err := table.Await(ctx, c.target.DB, "target", c.target.Table)
	if err != nil {
		return err
	}
	c.lambda = openLambda(c.source)
	if err := c.load(table.Pair{Source: source, Target: target}); err != nil {
		return err
	}
	return c.forget(ctx)
}

// options is the cutover in cutover's words.
func (c *cutting) options(ctx context.Context) (cutover.Options, error) {
	f := c.flags
	if !c.state.Ready && !f.abort { // who replicates after that is not who did before
		for _, find := range []func(context.Context) error{c.findReplicators, c.findBack} {
			if err := find(ctx); err != nil {
				return cutover.Options{}, err
			}
		}
	}
	if err := c.findEarlier(ctx); err != nil {
		return cutover.Options{}, err
	}
	source, err := c.sourceGate(ctx)
	if err != nil {
		return cutover.Options{}, err
	}
	target, err := c.targetGate(ctx)
	if err != nil {
		return cutover.Options{}, err
	}
	o := cutover.Options{ // the state has who replicates by now
		Store: c.store, State: c.state, Source: source, Target: target,
		Follow: c.follow, Preflight: c.preflight, Tell: c.tell, Watch: c.watch, Postponed: f.postponed,
		OnlyFollow: c.only, MaxFence: f.maxFence, Hold: f.hold, Quiet: f.quiet, Watched: f.watch, Lifetime: followLifetime, Now: c.now,
	}
	if o.OnReady = f.ready; f.onReady != "" {
		o.OnReady = c.hook("--on-ready", f.onReady, cutover.StepHook)
	}
	if f.keepBack {
		c.back.cutting = c
		o.MarkBack, o.Written = c.back.mark, c.back.count
	}
	o.StartBack = c.startBack()
	switch {
	case len(c.state.Mappings) > 0:
		o.Disable = func(ctx context.Context) error { return cutover.Disable(ctx, c.lambda, c.state.Mappings) }
	case f.stopCommand != "" && !f.stopsByCommand():
		o.Disable = c.hook("--replicator-stop-command", f.stopCommand, cutover.StepPermanent)
	}
	return o, nil
}

// now is the service's time.
func (c *cutting) now() time.Time {
	if c.fence != nil {
		return c.fence.Now()
	}
	return c.pair.Source.Clock.Now()
}

// hook runs a command of the user's.
func (c *cutting) hook(flag, command string, step cutover.Step) func(context.Context) error {
	h := cutover.Hook{Flag: flag, Command: command, Output: c.cmd.ErrOrStderr(), Environ: []string{
		"RESEAL_SOURCE=" + c.source.Given, "RESEAL_TARGET=" + c.target.Given, "RESEAL_STATE=" + c.store.Path(), "RESEAL_STEP=" + string(step),
	}}
	return h.Run
}

// sourceGate is what refuses writes to the source.
func (c *cutting) sourceGate(ctx context.Context) (cutover.Gate, error) {
	f := c.flags
	if f.gate != nil {
		return f.gate, nil
	}
	switch f.fence {
	case fenceCommand:
		return &cutover.CommandGate{
			Shut: c.hook("--fence-command", f.fenceCommand, cutover.StepFence), Undo: c.hook("--unfence-command", f.unfenceCommand, cutover.StepBack),
		}, nil
	case fenceNone:
		return &cutover.CommandGate{}, nil
	}
	if len(f.fenceExcept) > 0 {
		caller, err := c.source.CallerARN(ctx)
		switch {
		case err != nil:
			return nil, refuse.Because(err, "check the credentials, or leave --fence-except out", "it can't be told whether the fence would let reseal through, too (%s)", err)
		case fence.Among(caller, f.fenceExcept):
			return nil, refuse.New("run it as somebody else", "--fence-except lets %s through, as whom reseal has to prove the fence", caller)
		}
	}
	except := append([]string{}, f.fenceExcept...)
	for _, one := range c.state.Back {
		except = append(except, one.Role)
	}
	temporary := fence.Statement{Sid: fence.SidFence + c.state.Run, Table: c.pair.Source.ARN, Except: except}
	lasting := temporary
	lasting.Reads = f.denyReads
	c.fence = fence.NewPolicy(c.source.DB, c.pair.Source.ARN, c.state.Run, c.earlierRuns()...)
	c.gate = &cutover.PolicyGate{
		Policy: c.fence, Probe: fence.Probe{API: c.source.DB, Table: c.source.Table, Schema: c.pair.Source.Schema},
		Temporary: temporary, Lasting: lasting,
	}
	if c.earlierRun != "" {
		c.gate.Over = []string{fence.SidStop + c.earlierRun}
	}
	return c.gate, nil
}

// targetGate is what keeps the replicator from the target.
func (c *cutting) targetGate(ctx context.Context) (cutover.Gate, error) {
	f := c.flags
	if c.earlier.Sid != "" && (f.own != nil || len(c.state.Replicators) == 0) {
		return nil, refuse.New("give --replicator-arn: the statement that closes the target is replaced by one against that principal",
			"the target is closed for good by its policy, and the replicator would not be stopped by that")
	}
	if f.own != nil {
		return c.ownStop()
	}
	if principals := c.state.Replicators; len(principals) > 0 {
		return c.policyStop(ctx, principals)
	}
	if f.stopCommand == "" && !c.state.Ready && !f.abort {
		return nil, refuse.New("give --replicator-arn, the role or user of a tailer, or --replicator-stop-command",
			"it is not known who replicates: no Lambda reads the stream of %q and writes to %q", c.pair.Source.Name, c.pair.Target.Name)
	}
	gate := &cutover.CommandGate{Undo: c.sayStopped, Pause: requestLifetime}
	if f.stopCommand != "" {
		gate.Shut = c.hook("--replicator-stop-command", f.stopCommand, cutover.StepStop)
	}
	return gate, nil
}

// ownStop is targetGate where this process replicates.
func (c *cutting) ownStop() (cutover.Gate, error) {
	if len(c.state.Mappings) > 0 {
		return nil, refuse.New("give --replicator lambda, or disable its event source mapping", "a Lambda replicates these tables already: %s", c.state.Mappings[0].Function)
	}
	return &cutover.CommandGate{Shut: c.flags.own.stop, Undo: c.flags.own.startAgain}, nil
}

// policyStop is targetGate by the target's policy.
func (c *cutting) policyStop(ctx context.Context, principals []string) (cutover.Gate, error) {
	caller, err := c.target.CallerARN(ctx)
	if err != nil {
		return nil, refuse.Because(err, "check the credentials and the network", "it can't be told as whom reseal is to prove that the replicator is stopped (%s)", err)
	}
	lasting := fence.Statement{Sid: fence.SidStop + c.state.Run, Table: c.pair.Target.ARN, Only: principals}
	temporary := lasting // the application may be the same user as reseal, so from the verdict on it is of the replicator alone
	temporary.Only = append(append([]string{}, principals...), fence.Patterns(caller)...)
	c.stop = fence.NewPolicy(c.target.DB, c.pair.Target.ARN, c.state.Run, c.earlierRuns()...)
	c.hold = &cutover.PolicyGate{
		Policy: c.stop, Probe: fence.Probe{API: c.target.DB, Table: c.target.Table, Schema: c.pair.Target.Schema},
		Temporary: temporary, Lasting: lasting, Earlier: c.earlier,
	}
	return c.hold, nil
}

// sayStopped reminds of a replicator that nobody has started again.
func (c *cutting) sayStopped(context.Context) error {
	if c.flags.stopCommand != "" {
		c.tell(cutover.StepBack, "the replicator was ended by --replicator-stop-command: start it again, or the target falls behind")
	}
	return nil
}

// awsStream is a stream's ARN in a Region as AWS names them.
var awsStream = regexp.MustCompile(`^arn:aws[a-z-]*:dynamodb:[a-z]{2,4}(-[a-z]+)+-[0-9]:[0-9]{12}:table/`)

// findReplicators notes who writes to the target for the replication: the Lambdas that AWS Lambda tells of, and who was named.
func (c *cutting) findReplicators(ctx context.Context) error {
	if c.pair.Source.StreamARN() == "" {
		return refuse.New("enable it, replicate and seed again", "the source table %q has no stream", c.pair.Source.Name)
	}
	const patience = 20 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	named := len(c.flags.replicators) > 0 || c.flags.stopCommand != "" || c.flags.own != nil
	if c.source.LocalEndpoint() != nil && !awsStream.MatchString(c.state.Stream) {
		c.state.Replicators = append([]string{}, c.flags.replicators...)
		return nil // the local engine's streams are none that Lambda could read
	}
	mappings, others, err := cutover.Mappings(ctx, c.lambda, c.state.Stream, c.pair.Target)
	switch {
	case err == nil:
	case named || c.source.LocalEndpoint() != nil: // a local engine may have no Lambdas
		c.notes = append(c.notes, "not checked: which Lambdas read the source's stream ("+call.Message(err)+")")
	default:
		return refuse.Because(err, "allow lambda:ListEventSourceMappings and lambda:GetFunctionConfiguration, or give --replicator-arn",
			"it can't be asked which Lambdas read the source's stream (%s)", call.Message(err))
	}
	for _, other := range others {
		c.notes = append(c.notes, "reads the source's stream, too, and goes on doing so: "+other)
	}
	c.state.Mappings, c.state.Replicators = mappings, append([]string{}, c.flags.replicators...)
	for _, one := range mappings {
		c.state.Replicators = append(c.state.Replicators, one.Role)
	}
	return nil
}

// tell says what is going on.
func (c *cutting) tell(step cutover.Step, what string) {
	if c.flags.told != nil {
		c.flags.told(what)
		return
	}
	if c.flags.noProgress && step != cutover.StepWatch && step != cutover.StepBack {
		return
	}
	c.progress.note(fmt.Sprintf("cutover: %s %s: %s", time.Now().UTC().Format(time.TimeOnly), step, harmless(what)))
}

// printPlan is the result of a --dry-run.
func (c *cutting) printPlan() error {
	plan, err := c.plan()
	if err != nil {
		return err
	}
	c.progress.finish()
	err = c.flags.print(c.cmd, plan, func(out io.Writer) error { return plan.print(out) })
	return errors.Join(err, errPlanned)
}
