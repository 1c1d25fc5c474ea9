package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"reseal/internal/batch"
	"reseal/internal/item"
	"reseal/internal/openkeys"

	"golang.org/x/sync/errgroup"
)

// follower keeps the verdict true while the application writes.
//
//  1. Open the stream at its end, before the first page of the scans (open). A run that resumes goes on where the earlier one was.
//  2. Read the stream, and look at the keys that it opens, while the scans go on; hand the candidates of the scans to the open keys.
//  3. Go on until there is a reason to end. What is still open then is no match.
//  4. Look at the tables again, as any verification does (run.confirm), and so every minute before.
type follower struct {
	run     *run
	set     *openkeys.Set
	tail    changeReader
	since   atomic.Pointer[time.Time] // from when on each change is followed, by the service's clock; nil: not yet
	scanned chan struct{}             // closed when the scans are done and their candidates open
	resume  *followState              // of the checkpoint; nil: none

	live *Live

	telling   sync.Mutex    // held while counting and reporting
	repairing chan struct{} // holds a value while there is a repair: one at a time, since the converger waits for all its writes
	refused   *refusals     // by the target; nil: nothing is repaired

	mu        sync.Mutex // guards what follows
	scannedAt time.Time
	through   time.Time       // up to when the stream was read at the most, by this machine's clock
	behind    bool            // at the end: the stream was not read as far as it was to be
	last      openkeys.Status // of the end
	end       Following       // likewise
}

func newFollower(r *run) *follower {
	f := &follower{
		run: r, scanned: make(chan struct{}), repairing: make(chan struct{}, 1),
		set: openkeys.New(openkeys.Options{
			Lifetime: r.options.Follow.lifetime(), Settle: r.options.settleFollowed(), MaxMemory: r.options.MaxMemory, Folder: r.options.Folder,
			Keep: r.options.Follow.Keep,
		}),
	}
	f.live = &Live{follower: f}
	return f
}

// compare is run.compare of a verification that follows.
func (f *follower) compare(ctx context.Context) error {
	if f.run.options.Repair && !f.run.options.DryRun {
		f.refused = f.run.takeRefusals()
	}
	group, groupCtx := errgroup.WithContext(ctx)
	following, end := context.WithCancel(groupCtx)
	defer end()
	group.Go(func() error { return endOf(following, f.tail.Run(following, f.page)) })
	group.Go(func() error { return f.set.Run(following, f.work()) })
	group.Go(func() error { return f.run.position.saveRegularly(following) })
	group.Go(func() error { return f.scanWhenOpen(groupCtx) })
	group.Go(func() error {
		defer end()
		return f.watch(groupCtx)
	})
	if err := group.Wait(); err != nil {
		return err
	}
	if err := f.run.confirm(ctx); err != nil {
		return err
	}
	if err := f.note(); err != nil {
		return err
	}
	f.run.result.Warnings = append(f.run.result.Warnings, f.warnings()...)
	f.run.judge(remains{differing: f.last.Differing, open: f.last.Open, behind: f.behind})
	return nil
}

// endOf takes the error of what was ended on purpose for none.
func endOf(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// openWithin is how long a stream may list no shard. One that was just enabled does so for seconds.
const openWithin = 5 * time.Minute

// clockLate is how late the service's clock may be known (see call.Clock): what is followed from a time on is said of none before.
const clockLate = 2 * time.Second

var errNoShards = fmt.Errorf("open stream: it has listed no shard for %s, so nothing can be followed: see what \"aws dynamodbstreams describe-stream\" tells of it, and run this again", openWithin)

// scanWhenOpen scans when each change that is made from then on is followed: what a scan has read before nobody would look at again.
func (f *follower) scanWhenOpen(ctx context.Context) error {
	timer := time.NewTimer(openWithin)
	defer timer.Stop()
	for opened := false; !opened; {
		select {
		case <-f.tail.Opened():
			opened = true
		case <-timer.C:
			if f.tail.Shards() == 0 {
				return errNoShards
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.since.Load() == nil { // nor was it in a run that this one resumes
		since := f.run.clock.Now().Add(clockLate)
		f.since.Store(&since)
	}
	return f.scan(ctx)
}

// scan scans both tables, and opens what did not match.
func (f *follower) scan(ctx context.Context) error {
	r := f.run
	if err := r.scan(ctx); err != nil {
		return err
	}
	close(r.settling)
	err := r.position.handOver(func() error {
		for waiting, err := range r.join.left(r.source.schema) {
			if err != nil {
				return err
			}
			for _, one := range waiting {
				if err := f.set.Candidate(one.key.ID()); err != nil {
					return err
				}
				r.join.forget()
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	f.mu.Lock()
	f.scannedAt = time.Now()
	f.mu.Unlock()
	close(f.scanned)
	if started := r.options.Follow.Started; started != nil {
		return started(f.live)
	}
	return nil
}

// page opens the keys of some records of a shard. Only then the position moves past them.
func (f *follower) page(shard string, records []change) error {
	f.live.note(records)
	for _, record := range records {
		if err := f.set.Record(shard, record.key.ID(), record.made); err != nil {
			return err
		}
		if told := f.run.options.Follow.OnRecord; told != nil {
			told(Changed{Key: record.key, Made: record.made, Expired: record.expired})
		}
	}
	return nil
}

// lookInterval is how often there is a look at whether it is time to end, and tablesInterval at the tables.
const (
	lookInterval   = 200 * time.Millisecond
	tablesInterval = time.Minute
)

// watch returns when there is a reason to end.
func (f *follower) watch(ctx context.Context) error {
	r, o := f.run, f.run.options.Follow
	tables := time.Now()
	defer f.readThrough() // for the end
	for {
		f.readThrough()
		if f.isOver() {
			return nil
		}
		if time.Since(tables) >= tablesInterval {
			err := again(ctx, r.policy, func() error {
				_, err := r.pair.Again(ctx, r.options.Source, r.options.Target, true)
				return err
			})
			if err != nil {
				return err
			}
			tables = time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookInterval):
		case <-o.Stop:
			select {
			case <-f.scanned:
				return nil
			default:
				return fmt.Errorf("scan: %w", context.Canceled) // nothing can be said yet
			}
		}
	}
}

// readThrough takes in how far the stream is read.
func (f *follower) readThrough() {
	through := f.tail.ReadThrough()
	if !through.IsZero() {
		f.set.ReadThrough(through)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if through.After(f.through) {
		f.through = through
	}
	f.behind = time.Since(f.through) > caughtUpWithin
}

// readUpTo is how far the stream is read, by this machine's clock; zero: not known.
func (f *follower) readUpTo() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.through
}

// isOver tells whether the options have it end now.
func (f *follower) isOver() bool {
	f.mu.Lock()
	at, through, behind := f.scannedAt, f.through, f.behind
	f.mu.Unlock()
	o := f.run.options.Follow
	switch {
	case at.IsZero():
		return false
	case o.For > 0 && time.Since(f.run.start) >= o.For:
		return true
	case o.UntilQuiet <= 0:
		return false
	}
	status := f.set.Status()
	quiet := at
	if status.LastRecord.After(quiet) {
		quiet = status.LastRecord
	}
	// That no record came says something only if the stream was read.
	return status.Open == 0 && through.Sub(quiet) >= o.UntilQuiet && !behind
}

// caughtUpWithin is how far behind the end of the stream a follower may be that has caught up.
const caughtUpWithin = 10 * time.Second

func (f *follower) isCaughtUp(status openkeys.Status) bool {
	select {
	case <-f.scanned:
		return !status.Overdue && time.Since(f.readUpTo()) <= caughtUpWithin
	default:
		return false
	}
}

func (f *follower) work() openkeys.Work {
	work := openkeys.Work{Look: f.look, Tell: f.tell}
	if f.run.options.Repair && !f.run.options.DryRun {
		work.Repair = f.repair
	}
	return work
}

// look reads the source first: a target that agrees with it has what the source had.
func (f *follower) look(ctx context.Context, ids []string) ([]openkeys.Pair, error) {
	r := f.run
	keys := make([]item.Key, len(ids))
	for i, id := range ids {
		var err error
		if keys[i], err = r.source.schema.ParseKey(id); err != nil {
			return nil, err
		}
	}
	sources, err := r.source.reader.Read(ctx, keys, batch.Unknown)
	if err != nil {
		return nil, fmt.Errorf("read source: %w", err)
	}
	now := r.clock.Now()
	targets, err := r.target.reader.Read(ctx, keys, batch.Unknown)
	if err != nil {
		return nil, fmt.Errorf("read target: %w", err)
	}
	pairs := make([]openkeys.Pair, len(ids))
	for i := range pairs {
		pairs[i] = openkeys.Pair{Source: r.expiry.without(sources[i], now), Target: r.expiry.without(targets[i], now)}
	}
	return pairs, nil
}

// tell counts and reports what is certain of a key.
func (f *follower) tell(event openkeys.Event) error {
	f.telling.Lock()
	defer f.telling.Unlock()
	r := f.run
	if event.Kind == openkeys.Settled {
		r.result.Settled++
		return nil
	}
	c, err := f.candidate(event)
	if err != nil {
		return err
	}
	d, err := r.difference(c, c.kind(), event.Source, event.Target)
	if err != nil {
		return err
	}
	d.LastChanged = event.Changed
	switch {
	case event.Kind == openkeys.Mended:
		d.Kind, d.SourceValues, d.TargetValues = Mended, nil, nil
		d.FirstSeen, d.LastSeen = time.Now(), time.Now()
		if event.Repaired {
			return nil // which the report has said that it would be
		}
		return r.tell(d)
	case event.Repaired:
		d.Refused = f.refused.why(event.ID)
		return r.recordAgain(d)
	case event.Again:
		r.plan(&d)
		return r.tell(d)
	}
	return r.record(d)
}

// candidate is what an event tells of a key.
func (f *follower) candidate(event openkeys.Event) (*candidate, error) {
	key, err := f.run.source.schema.ParseKey(event.ID)
	if err != nil {
		return nil, err
	}
	c := &candidate{unmatched: unmatched{key: key}, first: event.First, last: event.Last}
	if c.source, err = stateOf(event.Source); err != nil {
		return nil, fmt.Errorf("source item: %w", err)
	}
	if c.target, err = stateOf(event.Target); err != nil {
		return nil, fmt.Errorf("target item: %w", err)
	}
	return c, nil
}

// kind says in what a candidate's sides differ, if they do.
func (c *candidate) kind() Kind {
	switch {
	case c.source == c.target:
		return agrees
	case !c.target.exists:
		return Missing
	case !c.source.exists:
		return Extra
	}
	return Different
}

func (f *follower) repair(ctx context.Context, ids []string) error {
	select {
	case f.repairing <- struct{}{}:
		defer func() { <-f.repairing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	keys := make([]item.Key, len(ids))
	for i, id := range ids {
		var err error
		if keys[i], err = f.run.source.schema.ParseKey(id); err != nil {
			return err
		}
		f.refused.forget(id)
	}
	return f.run.bringInLine(ctx, keys)
}

// note keeps what is true at the end, when nothing is followed any more, and tells of keys that differ and may yet agree.
func (f *follower) note() error {
	s, unsettled := f.set.Status(), int64(0)
	err := f.set.EachDiffering(func(d openkeys.Differing) error {
		unsettled++
		return f.tellUnsettled(d)
	})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = s
	f.end = Following{
		Open: s.Open, OldestOpenSeconds: s.OldestOpen.Seconds(), LookedAt: s.LookedAt, FollowedRecords: s.Records,
		CaughtUp: !s.Overdue && !f.behind, Mended: s.Mended - s.Repaired, Unsettled: unsettled, FollowedUntil: f.serviceTime(f.through),
	}
	if since := f.since.Load(); since != nil {
		f.end.FollowedSince = instant(*since)
	}
	return err
}

// serviceTime is a moment of this machine's by the service's clock; "" for the zero time.
func (f *follower) serviceTime(moment time.Time) string {
	if moment.IsZero() {
		return ""
	}
	return instant(f.run.clock.At(moment))
}

// tellUnsettled reports a key that differed when it was last looked at, and of which it isn't certain that it will.
func (f *follower) tellUnsettled(d openkeys.Differing) error {
	f.telling.Lock()
	defer f.telling.Unlock()
	key, err := f.run.source.schema.ParseKey(d.ID)
	if err != nil {
		return err
	}
	return f.run.tell(Difference{
		Key: key, Kind: Unsettled, SourceDigest: d.Source.String(), TargetDigest: d.Target.String(),
		FirstSeen: d.First, LastSeen: d.Last, LastChanged: d.Changed,
	})
}

// finish puts what was followed into the result. The fingerprints and the counts of items are of the scans.
func (f *follower) finish(result *Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	result.SourceItems = f.run.source.read.Load() - f.run.source.expired.Load()
	result.TargetItems = f.run.target.read.Load() - f.run.target.expired.Load()
	result.SourceFingerprint, result.TargetFingerprint = "", "" // of tables that change there is none
	result.Repaired = f.last.Repaired
	end := f.end
	result.Following = &end
}

func (f *follower) progress() *FollowProgress {
	s, through := f.set.Status(), f.readUpTo()
	p := &FollowProgress{
		Open: s.Open, OldestOpen: s.OldestOpen, Suspect: s.Suspect, Differing: s.Differing, LookedAt: s.LookedAt, Records: s.Records,
		CaughtUp: f.isCaughtUp(s), StreamThrottled: f.tail.Throttled(), Failure: f.tail.Failure(), Opened: f.since.Load() != nil, Unsettled: s.Unsettled,
	}
	p.NoShards = !p.Opened && p.Failure == nil && f.tail.Shards() == 0
	if !through.IsZero() {
		p.Lag = time.Since(through)
	}
	select {
	case <-f.scanned:
		p.Scanned = true
	default:
	}
	return p
}

// warnings tell of a stream that has too many readers.
func (f *follower) warnings() []string {
	if f.tail.Throttled() == 0 {
		return nil
	}
	return []string{ThrottledStream}
}

// ThrottledStream is the warning of a verification whose reads of the stream were throttled.
const ThrottledStream = "The stream's reads are throttled: a shard serves two readers, which are the replicator and this verification. " +
	"If something else reads the stream too, end it, or verify without --follow. This verification reads more slowly now, and leaves the replicator its rate."

// open begins to follow: at the end of the stream, or where the checkpoint says. What changes from then on is not missed.
func (f *follower) open(ctx context.Context) error {
	r := f.run
	var position json.RawMessage
	if r.position.resumed && f.resume != nil {
		since, err := time.Parse(time.RFC3339, f.resume.Since)
		if err != nil {
			return fmt.Errorf("read checkpoint: %w", err)
		}
		f.since.Store(&since)
		position = f.resume.Position
	}
	tail, err := openChanges(ctx, r, position)
	if err != nil {
		return err
	}
	f.tail = tail
	return nil
}
