package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"reseal/internal/cutover"
	"reseal/internal/refuse"
	"reseal/internal/table"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The ways to refuse writes to the source.
const (
	fencePolicy  = "policy"
	fenceCommand = "command"
	fenceNone    = "none"
)

// cutoverFlags are what the command is asked for.
type cutoverFlags struct {
	job

	fence, fenceCommand, unfenceCommand string
	fenceExcept                         listFlag
	denyReads                           bool
	maxFence, quiet, hold, watch        time.Duration
	replicators                         listFlag
	stopCommand, onReady                string
	keepBack                            bool
	postpone, at, state                 string
	dryRun, abort, finish               bool

	eventual     bool
	checkpoint   string
	segments     int
	readUnits    unitsFlag
	maxMemory    sizeFlag
	strictExcept listFlag

	atTime time.Time // of at

	own *ownReplicator // of this process; nil: another one's

	// Of a caller in this process, in place of flags; nil: there is none.
	gate  cutover.Gate                // refuses writes to the source
	ready func(context.Context) error // has the writers go over
	told  func(string)                // what is going on
}

func cutoverCommand() *cobra.Command {
	f := &cutoverFlags{maxMemory: sizeFlag(256 << 20)}
	cmd := &cobra.Command{
		Use:   "cutover --source S --target T",
		Short: "Take the writers from the source to the target within seconds, with proof, or let them go on",
		Long: `cutover compares both tables, follows the source's stream until they agree but for what changed just now, and then
refuses writes to the source, by a statement in its resource policy that ends by itself after --max-fence. It proves
that writes are refused, reads the stream to its end, stops the replicator by a statement in the target's policy, and
looks again at every key that changed of late. If all agrees and time is left, it holds both statements for --hold,
runs --on-ready, which has the writers go over, and closes the source for good. In any other case it takes both
statements away, and the writers go on with the source: nothing is lost. How long writers wait doesn't depend on the
table's size.

It is one run's work, with its state in --state: after a kill, run the same command again. --abort puts everything
back; --finish closes the source for good when --on-ready has failed and you have taken the writers over yourself.

Commands are run by a shell, with RESEAL_SOURCE, RESEAL_TARGET, RESEAL_STATE and RESEAL_STEP in the environment.
--on-ready may be run more than once.

Exit status: 0 the writers are on the target; 1 they stay on the source; 2 refused, nothing was fenced; 3 somebody has
to decide, or a write came to the source after the fence; 130 interrupted, the fence is lifted.`,
		Example: `  reseal cutover --source cities --target cities-encrypted --dry-run
  reseal cutover --source cities --target cities-encrypted --on-ready ./switch.sh
  reseal cutover --source cities --target cities-encrypted --keep-back --on-ready ./switch.sh --at 2026-12-01T03:00:00Z
  reseal cutover --source cities --target cities-encrypted --fence command --fence-command ./readonly.sh \
    --unfence-command ./readwrite.sh --replicator-stop-command 'kill $(cat tailer.pid)' --on-ready ./switch.sh
  reseal cutover --source cities --target cities-encrypted --abort`,
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return f.run(cmd) }
	f.addTo(cmd, f.define)
	return cmd
}

func (f *cutoverFlags) define(flags *pflag.FlagSet) {
	f.defineFence(flags)
	flags.Var(&f.replicators, "replicator-arn", "ARN of the role or user of a replicator that is no Lambda (can\nbe given again)")
	text(flags, &f.stopCommand, "replicator-stop-command", "command", "ends the replicator")
	f.defineMoment(flags)
	text(flags, &f.state, "state", "file", "where to keep the state (default: ./reseal-cutover-SOURCE-to-TARGET.json)")
	flags.BoolVar(&f.dryRun, "dry-run", false, "check everything and print the plan, with the statements; change nothing")
	f.defineDecision(flags)
	flags.BoolVar(&f.eventual, "eventual", false, "scan with eventually consistent reads, at half the units")
	text(flags, &f.checkpoint, "checkpoint", "file", "that of a verify --follow, to go on from without new scans")
	flags.IntVar(&f.segments, "segments", 16, "segments of the parallel Scan of each table, 1 to 1,000,000")
	f.defineReading(flags)
}

// defineFence is how writes are refused, and for how long.
func (f *cutoverFlags) defineFence(flags *pflag.FlagSet) {
	choice(flags, &f.fence, "fence", "how to refuse writes to the source: by its resource policy, by\nyour own command, or not at all, as the writers have stopped", fencePolicy, fenceCommand, fenceNone)
	text(flags, &f.fenceCommand, "fence-command", "command", "refuses writes, with --fence command")
	text(flags, &f.unfenceCommand, "unfence-command", "command", "lets them through again")
	flags.Var(&f.fenceExcept, "fence-except", "ARN of a role or user that the fence lets through (can be given again)")
	flags.BoolVar(&f.denyReads, "deny-reads", false, "refuse reads of the source, too, once the writers are on the target")
	flags.DurationVar(&f.maxFence, "max-fence", time.Minute, "refuse writes for so long at the most, without a verdict")
	flags.DurationVar(&f.quiet, "quiet", 5*time.Second, "how long nothing may come until that counts as the end: longer\nthan a record, a policy or a request under way may take")
	flags.DurationVar(&f.hold, "hold", time.Hour, "refuse writes for so long after the verdict")
}

// defineMoment is when, and what happens then.
func (f *cutoverFlags) defineMoment(flags *pflag.FlagSet) {
	flags.BoolVar(&f.keepBack, "keep-back", false, "see to it that the target has a stream, which tells what it got\nif --on-ready fails, and which the way back needs")
	text(flags, &f.postpone, "postpone", "file", "don't fence while this file exists")
	text(flags, &f.at, "at", "time", "don't fence before, such as 2026-12-01T03:00:00Z")
	text(flags, &f.onReady, "on-ready", "command", "has the writers go over to the target")
	flags.DurationVar(&f.watch, "watch", 10*time.Minute, "watch the source's stream for so long, for later writes")
}

// defineDecision is what to do after a verdict that somebody has to decide on.
func (f *cutoverFlags) defineDecision(flags *pflag.FlagSet) {
	flags.BoolVar(&f.abort, "abort", false, "put everything back, and tell what the target got since the verdict")
	flags.BoolVar(&f.finish, "finish", false, "go on as if --on-ready had succeeded")
}

// defineReading is how the tables are compared.
func (f *cutoverFlags) defineReading(flags *pflag.FlagSet) {
	flags.Var(&f.readUnits, "read-units", "most read units a second from each table (default: 80 % of what\nis provisioned)")
	flags.Var(&f.maxMemory, "max-memory", "memory for what is compared; more of it goes to files")
	flags.Var(&f.strictExcept, "strict-except", "lines of the configuration that may differ, such as tags")
}

// check refuses what doesn't go together.
func (f *cutoverFlags) check() error {
	isCommand := f.fence == fenceCommand
	switch {
	case isCommand && (f.fenceCommand == "" || f.unfenceCommand == ""):
		return refuse.New("give both", "--fence command needs --fence-command and --unfence-command")
	case !isCommand && (f.fenceCommand != "" || f.unfenceCommand != ""):
		return refuse.New("add --fence command", "--fence-command and --unfence-command are of --fence command")
	case f.fence != fencePolicy && (len(f.fenceExcept) > 0 || f.denyReads):
		return refuse.New("leave them out, or use --fence policy", "--fence-except and --deny-reads are of --fence policy")
	case f.abort && f.finish || f.dryRun && (f.abort || f.finish):
		return refuse.New("leave the others out", "only one of --dry-run, --abort and --finish can be done")
	case f.quiet <= 0 || f.maxFence <= 0 || f.hold <= 0 || f.watch < 0:
		return refuse.New("give durations above 0, such as 10s", "--quiet is %s, --max-fence %s, --hold %s, --watch %s", f.quiet, f.maxFence, f.hold, f.watch)
	case f.hold <= f.maxFence:
		return refuse.New("give a longer --hold, or leave it out", "--hold (%s) is not longer than --max-fence (%s)", f.hold, f.maxFence)
	}
	if least := f.least(); f.maxFence < least {
		return refuse.New(fmt.Sprintf("give --max-fence %s or more, or a shorter --quiet", least), "--max-fence (%s) is too short for a proof", f.maxFence)
	}
	if f.at != "" {
		at, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return refuse.Because(err, "give a time such as 2026-12-01T03:00:00Z", "--at %q is not understood", f.at)
		}
		f.atTime = at
	}
	return f.checkPrincipals()
}

// leastBetween is how long after the fence was put it can be held for longer: a policy is not changed twice within 15 s (see package fence).
const leastBetween = 17 * time.Second

// least is how long the proof takes at the least: quiet for the stream and for each policy, a request's lifetime if the replicator is ended
// by a command, and a third that has to be left.
func (f *cutoverFlags) least() time.Duration {
	needs := f.quiet + 2*time.Second
	if f.fence == fencePolicy {
		needs += f.quiet
	}
	if f.stopsByCommand() {
		needs += requestLifetime
	} else {
		needs += f.quiet
	}
	if f.fence == fencePolicy {
		needs = max(needs, leastBetween)
	}
	return (needs * 3 / 2).Round(time.Second)
}

func (f *cutoverFlags) stopsByCommand() bool { return f.stopCommand != "" && len(f.replicators) == 0 }

// stopsBy is how the replicator is stopped.
func (f *cutoverFlags) stopsBy() string {
	switch {
	case f.own != nil:
		return stopOwn
	case f.stopsByCommand():
		return fenceCommand
	}
	return fencePolicy
}

// stopOwn is how a replicator of this process is stopped: it ends.
const stopOwn = "own"

// statePath is where the state is kept, if nobody says.
func (f *cutoverFlags) statePath() string {
	return cmp.Or(f.state, "reseal-cutover-"+table.FileName(f.source.Table)+"-to-"+table.FileName(f.target.Table)+".json")
}

func (f *cutoverFlags) run(cmd *cobra.Command) (err error) {
	if err := f.check(); err != nil {
		return err
	}
	source, target, err := f.open(cmd.Context())
	if err != nil {
		return err
	}
	store, err := cutover.OpenStore(f.statePath())
	if err != nil {
		return err
	}
	defer store.Close()
	c := &cutting{flags: f, cmd: cmd, source: source, target: target, store: store}
	c.progress = f.progressSaying(cmd, "reseal: stopping; the fence is taken away if it is there; again to stop at once, and it ends by itself")
	defer c.progress.finish()
	if err := c.open(cmd.Context()); err != nil {
		return err
	}
	result, err := c.cut(cmd.Context())
	c.progress.finish()
	if refuse.Is(err) || errors.Is(err, errPlanned) {
		return nilIf(err, errPlanned)
	}
	result.Source, result.Target = source.Given, target.Given
	return errors.Join(f.print(cmd, result, func(out io.Writer) error { return printCutover(out, result) }), notOver(result, err))
}

// errPlanned ends a --dry-run, which has printed its plan.
var errPlanned = errors.New("planned")

func nilIf(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}

// notOver is the error that stands for the exit status.
func notOver(result cutover.Result, err error) error {
	if err != nil && onlyCanceled(err) {
		return &stopped{err: err, done: string(result.Fence) + " fence"}
	}
	return err
}

// cut does what was asked for.
func (c *cutting) cut(ctx context.Context) (cutover.Result, error) {
	options, err := c.options(ctx)
	if err != nil {
		return cutover.Result{}, err
	}
	defer c.back.close()
	switch f := c.flags; {
	case f.dryRun:
		if err := c.preflight(ctx); err != nil {
			return cutover.Result{}, err
		}
		return cutover.Result{}, c.printPlan()
	case f.abort:
		if !c.found {
			return cutover.Result{}, refuse.New("give the --state of the run", "there is no cutover to be put back, by the state file %s", c.store.Path())
		}
		return c.abort(ctx, options)
	case f.finish:
		if !c.found || !c.state.Ready || !c.state.IsUnderWay() {
			return cutover.Result{}, refuse.New("run it without --finish", "no cutover has come to its verdict, by the state file %s", c.store.Path())
		}
		return cutover.Finish(ctx, options)
	}
	result, err := cutover.Run(ctx, options)
	err = errors.Join(err, c.letOut(ctx, result))
	c.sayBack(result)
	return result, err
}

// abort puts everything back but what was ended for good: that is said.
func (c *cutting) abort(ctx context.Context, options cutover.Options) (cutover.Result, error) {
	result, err := cutover.Abort(ctx, options)
	if err == nil && c.state.Hooked {
		for _, one := range c.state.Mappings {
			c.tell(cutover.StepBack, "the event source mapping "+one.UUID+" of "+one.Function+" may be disabled: enable it, or the target falls behind")
		}
	}
	return result, err
}

// newRun returns the ID of a run: letters and digits, as a statement's Sid has to be.
func newRun() (string, error) {
	var random [8]byte
	if _, err := rand.Read(random[:]); err != nil {
		return "", fmt.Errorf("draw ID: %w", err)
	}
	return hex.EncodeToString(random[:]), nil
}

// load takes the state of a run before, if it is of these tables.
func (c *cutting) load(pair table.Pair) error {
	state, found, err := c.store.Load()
	if err != nil {
		return err
	}
	if c.found = found; !found {
		state = cutover.State{Source: pair.Source.Identity(), Target: pair.Target.Identity(), Stream: pair.Source.StreamARN()}
		if state.Run, err = newRun(); err != nil {
			return err
		}
	}
	if state.Source != pair.Source.Identity() || state.Target != pair.Target.Identity() {
		return refuse.New("give another --state, or delete it if nothing of it is in their resource policies",
			"the state file %s is of a cutover from %s to %s", c.store.Path(), state.Source, state.Target)
	}
	how, stop := c.flags.fence, c.flags.stopsBy()
	if found && state.IsUnderWay() && (state.FenceBy != how || (!state.Ready && !c.flags.abort && state.StopBy != stop)) {
		return refuse.New("give the same flags", "the run before fenced by %s and stopped the replicator by %s", state.FenceBy, state.StopBy)
	}
	if !state.IsUnderWay() {
		state.Stream, state.FenceBy, state.StopBy = pair.Source.StreamARN(), how, stop
	}
	c.state, c.pair = state, pair
	return nil
}

// postponed tells whether it is to be waited.
func (f *cutoverFlags) postponed() bool {
	if f.postpone != "" {
		if _, err := os.Stat(f.postpone); err == nil || !errors.Is(err, os.ErrNotExist) {
			return true
		}
	}
	return time.Now().Before(f.atTime)
}
