package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"reseal/internal/cutover"
	"reseal/internal/fence"
	"reseal/internal/prepare"
	"reseal/internal/refuse"
	"reseal/internal/table"
	"reseal/replicate"
	"reseal/seed"

	"github.com/spf13/cobra"
)

// migrating is a migration under way.
type migrating struct {
	flags          *migrateFlags
	cmd            *cobra.Command
	source, target *table.Handle
	state          *migrationFolder
	own            *ownReplicator
	way            direction
	result         migrated
}

// run does the stages that are still to be done. The replication of this process ends with it.
func (m *migrating) run(ctx context.Context) (migrated, error) {
	start := time.Now()
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	m.own = m.replicator(running, fail)
	err := m.stages(running)
	m.own.end()
	m.way.close()
	if cause := context.Cause(running); ctx.Err() == nil && cause != nil {
		err = errors.Join(cause, notCanceled(err)) // the replication's: the rest followed from it
	}
	if errors.Is(err, replicate.ErrTrimmed) || errors.Is(err, replicate.ErrDisabled) {
		m.state.Anew = true
		err = errors.Join(fmt.Errorf("the replication has missed changes, and the next run starts over (%w)", err), m.state.save())
	}
	m.result.Replicate = m.own.result()
	m.result.Replicate.Source, m.result.Replicate.Target = m.source.Given, m.target.Given
	m.result.ElapsedSeconds = time.Since(start).Seconds()
	return m.result, err
}

// hasWritten tells whether this run has written anything but its own files.
func (m *migrating) hasWritten() bool {
	p := m.result.Prepare
	return m.result.Seed != nil || m.result.Replicate.Records > 0 || p != nil && (p.TargetCreated || p.StreamEnabled)
}

// checkSourcePolicy makes sure that the source knows policies, if one is to be its fence: before anything is made.
func (f *migrateFlags) checkSourcePolicy(ctx context.Context, source *table.Handle, info table.Info) error {
	if f.until != untilCutover || f.fence != fencePolicy {
		return nil
	}
	c := &cutting{flags: &f.cutoverFlags, source: source, pair: table.Pair{Source: info}}
	if _, err := c.sourceGate(ctx); err != nil {
		return err
	}
	err := c.checkPolicy(ctx, "source", "--fence command", c.gate)
	if errors.Is(err, fence.ErrOtherRun) {
		return nil // it may be that of the run before: see checkCutover
	}
	return err
}

// notCanceled leaves out an error that says nothing but that the context ended.
func notCanceled(err error) error {
	if err != nil && onlyCanceled(err) {
		return nil
	}
	return err
}

// replicator is that of this process. With the stack's Lambda, and where only a decision is carried out, it never starts.
func (m *migrating) replicator(ctx context.Context, fail context.CancelCauseFunc) *ownReplicator {
	f := m.flags
	if f.replicator == replicatorLambda || f.abort || f.finish {
		ended, end := context.WithCancel(ctx)
		end()
		ctx = ended
	}
	r := &ownReplicator{ctx: ctx, failed: fail}
	r.options = replicate.Options{
		Source: m.source.DB, SourceTable: m.source.Table, Streams: m.source.Streams, Target: m.target.DB, TargetTable: m.target.Table,
		Checkpoint: m.state.path("replicate.json"), Progress: r.progress, Encryption: f.encryption,
	}
	if f.replicator == replicatorOwn {
		f.own = r
	}
	return r
}

// stages are those that are still to be done, in their order.
func (m *migrating) stages(ctx context.Context) error {
	if err := m.prepare(ctx); err != nil {
		return err
	}
	store, err := cutover.OpenStore(m.state.path("cutover.json"))
	if err != nil {
		return err
	}
	defer store.Close()
	m.flags.checkpoint = m.state.path("follow.json")
	c := &cutting{flags: &m.flags.cutoverFlags, cmd: m.cmd, source: m.source, target: m.target, store: store}
	if err := c.open(ctx); err != nil {
		return err
	}
	if err := m.state.belongs(c.pair); err != nil {
		return err
	}
	decides := m.flags.abort || m.flags.finish
	if isOver := c.state.Ready && c.state.IsUnderWay(); !isOver && !decides { // after the verdict nobody replicates any more
		if err := m.checkCutover(ctx, c); err != nil {
			return err
		}
		if err := m.copy(ctx, c); err != nil || m.flags.until == untilSeed {
			return err
		}
	}
	return m.cutover(ctx, c)
}

// checkCutover refuses what would be refused after the seed.
func (m *migrating) checkCutover(ctx context.Context, c *cutting) error {
	if m.flags.until != untilCutover || c.state.IsUnderWay() {
		return nil
	}
	if _, err := c.options(ctx); err != nil {
		return err
	}
	return c.checkPolicies(ctx)
}

// prepare makes the target, unless it is known to be made.
func (m *migrating) prepare(ctx context.Context) error {
	m.result.Stage = "prepare"
	if m.flags.hasTarget || m.flags.replicator == replicatorLambda || m.state.Target.ARN != "" || m.flags.abort || m.flags.finish {
		return nil
	}
	scaling, why := prepare.OpenScaling(ctx, m.source)
	applied, err := prepare.Apply(ctx, prepare.ApplyOptions{
		Source: m.source.DB, SourceTable: m.source.Table, Scaling: scaling, NoScaling: why, Target: m.target.DB, TargetTable: m.target.Table,
		KMSKey: m.flags.key, Progress: m.tell,
	})
	if err != nil {
		return err
	}
	applied.Source, applied.Target = m.source.Given, m.target.Given
	m.result.Prepare = &applied
	return nil
}

// tell says what is done.
func (m *migrating) tell(what string) {
	if m.flags.told != nil {
		m.flags.told(what)
		return
	}
	if !m.flags.noProgress {
		_, _ = fmt.Fprintln(m.cmd.ErrOrStderr(), "migrate: "+harmless(what)) // a terminal that is gone is no reason to stop
	}
}

// copy replicates, and seeds if that isn't done.
func (m *migrating) copy(ctx context.Context, c *cutting) error {
	if m.state.Anew {
		m.tell("starting over: the replication may have missed changes")
		m.state.Seeded, m.own.options.Restart = false, true
		if err := errors.Join(m.state.forgetComparison(true), m.state.save()); err != nil {
			return err
		}
	}
	if m.flags.replicator == replicatorLambda {
		if err := m.checkLambda(ctx, c); err != nil {
			return err
		}
	}
	if m.flags.own != nil {
		way, err := takeDirection(ctx, m.source, m.target, m.cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		m.way = way
		m.tell("replicating")
	}
	m.own.start()
	if m.state.Seeded {
		return nil
	}
	m.result.Stage = untilSeed
	m.tell("seeding, beside the replication")
	return m.seed(ctx)
}

// checkLambda refuses unless the stack's Lambda replicates, and isn't far behind.
func (m *migrating) checkLambda(ctx context.Context, c *cutting) error {
	if err := c.findReplicators(ctx); err != nil {
		return err
	}
	if len(c.state.Mappings) == 0 {
		return refuse.New("deploy the stack of \"reseal prepare\", with its mapping enabled, or leave --replicator out",
			"no Lambda reads the stream of %q and writes to %q", c.pair.Source.Name, c.pair.Target.Name)
	}
	for _, one := range c.state.Mappings {
		age, known, err := iteratorAge(ctx, m.source, one.Function)
		switch {
		case err != nil && ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			m.tell("not checked: how far behind " + one.Function + " is (" + err.Error() + ")")
		case !known:
			m.tell("how far behind " + one.Function + " is nothing tells: it had no batch of late")
		case age > mostBehind:
			return refuse.New("wait until it has caught up", "%s is %s behind", one.Function, age.Round(time.Second))
		}
	}
	return nil
}

// seed copies the table.
func (m *migrating) seed(ctx context.Context) error {
	f := m.flags
	rejects := rejects{path: m.state.path("rejects.jsonl")}
	if err := rejects.check(); err != nil {
		return err
	}
	progress := f.progress(m.cmd, m.state.path("seed.json"))
	progress.beside, progress.later = m.beside(), 1 // the comparison reads each table as the seed reads the source
	o := seed.Options{
		Source: m.source.DB, SourceTable: m.source.Table, Target: m.target.DB, TargetTable: m.target.Table, Segments: f.segments,
		ReadUnits: f.readUnits.units, ReadShare: f.readUnits.share, WriteUnits: f.writeUnits.units, WriteShare: f.writeUnits.share,
		Checkpoint: m.state.path("seed.json"), Restart: m.state.Anew, Reject: rejects.write, Progress: progress.seed,
		Encryption: f.encryption,
	}
	if m.source.LocalEndpoint() != nil {
		o.StreamAge = -1 // a local engine has no reads that are behind
	}
	result, err := seed.Run(ctx, o)
	progress.finish()
	err = errors.Join(err, rejects.close())
	result.Source, result.Target = m.source.Given, m.target.Given
	m.result.Seed = &result
	switch {
	case err == nil:
	case errors.Is(err, seed.ErrRejected):
		err = fmt.Errorf("%w; the keys of what was refused, and the reasons, are in %s: once they are put right in the source, run the same command again", err, rejects.path)
	case errors.Is(err, seed.ErrLeftovers):
		err = fmt.Errorf("%w; then run the same command again", err)
	default:
		return err
	}
	m.state.Seeded, m.state.Anew = true, false // what is left to be done the comparison finds, and says
	return errors.Join(err, m.state.save())
}

// beside says how far behind the replication of this process is.
func (m *migrating) beside() func() string {
	if m.flags.replicator == replicatorLambda {
		return nil
	}
	return m.own.says
}

// cutover compares, and cuts over unless that is not to be done.
func (m *migrating) cutover(ctx context.Context, c *cutting) error {
	m.result.Stage = m.flags.until
	if err := m.state.forgetComparison(false); err != nil {
		return err
	}
	c.progress = m.flags.progressSaying(m.cmd, "reseal: stopping; the fence is taken away if it is there; again to stop at once, and it ends by itself")
	c.progress.beside = m.beside()
	defer c.progress.finish()
	c.only = m.flags.until == untilFollow
	result, err := c.cut(ctx)
	c.progress.finish()
	m.result.Verdict = result.Verdict
	if refuse.Is(err) && len(result.Steps) == 0 {
		return err
	}
	m.result.Cutover = &result
	if errors.Is(err, cutover.ErrBack) { // what it had found may be put right by now
		err = errors.Join(err, m.state.forgetComparison(true))
	}
	return err
}
