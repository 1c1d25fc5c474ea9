// Package verify compares two tables item by item while the application may go on writing to the source and a replicator
// follows it: two scans, a join by key, and for whatever doesn't match a consistent look at both sides until it does, or
// until it is sure that it never will.
package verify

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/converge"
	"reseal/internal/refuse"
	"reseal/internal/room"
	"reseal/internal/scan"
	"reseal/internal/table"
	"reseal/internal/ticker"
)

// SourceAPI is what a verification asks of the source table's client; *dynamodb.Client has it.
type SourceAPI interface {
	table.DescribeAPI
	scan.API
	batch.ReadAPI
}

// TargetAPI is what a verification asks of the target table's client; *dynamodb.Client has it. It writes with Repair only.
type TargetAPI interface {
	SourceAPI
	batch.WriteAPI
}

// Options says what to compare and how.
type Options struct {
	Source      SourceAPI
	SourceTable string // name or ARN
	Target      TargetAPI
	TargetTable string // name or ARN

	Segments   int           // of the parallel Scan of each table, 1 to 1,000,000
	ReadUnits  float64       // limit for each table, units a second; 0: see ReadShare
	ReadShare  float64       // likewise as a part, up to 1, of what the table has; 0: 0.8 if provisioned, else what it serves
	Settle     time.Duration // how long an item must differ, with its source unchanged, to count as a difference
	MaxMemory  int64         // bytes for items that wait for their counterpart; more of them go to files
	Folder     string        // for those files; "": where the system has temporary files
	Sample     float64       // compare only this part of the segments, above 0 and below 1; 0: all of them
	SampleSeed uint64        // with which they are drawn
	Repair     bool          // bring the target's differing items in line with the source
	DryRun     bool          // with Repair: only count what it would write and delete
	Encryption string        // what the target must have: "kms" (or "") or "any"

	// Follow goes on when the scans are done: see FollowOptions.
	Follow FollowOptions
	// Consistent has the scans read with ConsistentRead, at twice the price: a match then rests on no read that may be behind.
	Consistent bool

	AllowChanging bool     // items that never stand still don't keep the verification from passing
	Strict        bool     // differences of the tables' configuration, and what of it could not be checked, do
	StrictExcept  []string // but for these lines of it (see SettingNames)

	// KeepExpired compares items whose time to live has passed like any others. Otherwise they are left out on both sides, by the
	// source's attribute and the service's clock: DynamoDB deletes them at any time within days, in each table at another. Where the
	// source's time to live is off, changing or can't be read, none is left out.
	KeepExpired bool

	// Checkpoint is a file to keep the state of the scans in, and to resume from if it exists; "": none. A run that resumes finds what
	// differs, and repairs it, but is never a match: see Result.AsOf. Scans that began more than a week ago are refused.
	Checkpoint string
	Restart    bool // start over even if the checkpoint exists

	ShowValues bool // differences come with the items' values

	// Begin is called when all checks are passed, before an item is read, and told whether the run goes on from a checkpoint. An error
	// ends the run. It may be nil.
	Begin      func(resumed bool) error
	Difference func(Difference) error // called for each difference when it is certain, one at a time; an error ends the run; may be nil
	Progress   func(Progress)         // called about once a second and at the end; may be nil

	RequestTimeout time.Duration // of one request; 0: 20 s
}

// Progress is how far a verification has come.
type Progress struct {
	SourceItems, TargetItems       int64 // read by the scans
	SourceExpected, TargetExpected int64 // the tables' ItemCount, up to six hours old; of a sample, its share of it
	Waiting                        int64 // items that have not matched, yet
	Settling                       bool  // the scans are done, the differences are looked at
	ReadUnits                      float64
	ReadLimit                      float64 // units a second that the reads of both tables together are held to at present; 0: none
	Throttled                      int64
	Elapsed                        time.Duration

	Following *FollowProgress // nil: there is no Follow
}

// Result is what a verification found. Counts and fingerprints are of each item as it was last read.
type Result struct {
	Source            string    `json:"source"`
	Target            string    `json:"target"`
	Match             bool      `json:"match"`  // no difference is left, and nothing was still changing; never true of a sample, or with AsOf
	Passed            bool      `json:"passed"` // it matches, also as AllowChanging and Strict have it; likewise never true of these
	Strict            bool      `json:"strict"`
	Sample            *Sample   `json:"sample,omitempty"`
	SourceItems       int64     `json:"source_items"`
	TargetItems       int64     `json:"target_items"`
	Missing           int64     `json:"missing"`        // items that only the source has
	Extra             int64     `json:"extra"`          // items that only the target has
	Different         int64     `json:"different"`      // items that both have, but not the same
	StillChanging     int64     `json:"still_changing"` // items whose source changed so often that nothing can be said of them
	Settled           int64     `json:"settled"`        // items that differed at first and then didn't: replication was under way
	Repaired          int64     `json:"repaired"`       // of the differences above, those that are gone after Repair
	WouldPut          int64     `json:"would_put"`      // items that Repair would write to the target, where DryRun kept it from that
	WouldDelete       int64     `json:"would_delete"`   // and items that it would delete from it
	SourceFingerprint string    `json:"source_fingerprint"`
	TargetFingerprint string    `json:"target_fingerprint"`
	ReadUnits         float64   `json:"read_units"`  // of both tables
	WriteUnits        float64   `json:"write_units"` // of repairs
	Throttled         int64     `json:"throttled"`
	SourceExpired     int64     `json:"source_expired"` // items that were left out, since their time to live had passed
	TargetExpired     int64     `json:"target_expired"`
	ExpiredBy         string    `json:"expired_by"`    // the source's attribute; "" if none was left out by one
	Warnings          []string  `json:"warnings"`      // of a time to live that differs, or could not be read
	Resumed           bool      `json:"resumed"`       // the read units and the time are of this run, everything else of all of them
	Configuration     []Setting `json:"configuration"` // what differs, or could not be checked, beside the items
	Encryption        string    `json:"encryption"`    // of the target: "KMS" or "AWS_OWNED"
	ElapsedSeconds    float64   `json:"elapsed_seconds"`

	Consistent bool `json:"consistent"` // the scans were
	*Following      // nil without Follow

	SourceLimit capacity.Taken `json:"source_limit"` // what the reads of the source were held to
	TargetLimit capacity.Taken `json:"target_limit"` // likewise of the target

	// BeganAt is when the scans began, RFC 3339, UTC, by the source's clock: each item was seen some time after that.
	BeganAt string `json:"began_at"`
	// AsOf is, of a run that went on from a checkpoint, BeganAt: what had matched before this run was not read again, and may have changed
	// since. So it is no match, even if nothing differs. "" otherwise.
	AsOf string `json:"as_of,omitempty"`

	Settings []Setting   `json:"-"` // all lines of the configuration
	Map      *SegmentMap `json:"-"` // where in the tables the items and the differences are
}

const progressInterval = time.Second

// run is one verification.
type run struct {
	options  Options
	pair     table.Pair
	source   *side
	target   *side
	join     *join
	room     *room.Room
	converge *converge.Converger
	writes   *capacity.Limiter
	policy   call.Policy
	start    time.Time
	clock    call.Clock // of the source's service
	began    time.Time  // when the scans began, by that clock; those of the first run, if this one resumes
	expiry   expiry
	segments []int // to be scanned
	total    int   // segments of the Scan
	position *checkpoint
	places   *places
	settling chan struct{} // closed when the scans are done
	follower *follower     // nil without Follow
	result   Result
}

// Run compares the tables. A nil error means that every page of both was read and every question about an item answered;
// whether they match is in the result. It returns an error that is [ErrRefused] if it did nothing.
//
// A match says that each item was the same in both tables when it was read, at about the same time in both and after this run began.
// What becomes of a change made later is up to the replicator, so the verdict that counts is that of a run after the last write. The
// Scans are eventually consistent: a pair that they found equal may have been read from replicas that were both behind.
//
//  1. Scan both tables, segment by segment side by side, and join them by key. What matches leaves the join at once.
//  2. Look at what is left, on both sides with ConsistentRead, until it agrees or has differed for the settling time.
//  3. With Repair, write the differing items as the source has them, and look at them again.
//  4. Describe the tables again: if one, its stream, or the rule by which items expire is another than before, that is an error.
func Run(ctx context.Context, options Options) (Result, error) {
	r, err := prepare(ctx, options)
	if err != nil {
		return Result{}, err
	}
	defer r.position.close()
	defer r.close() // after the checkpoint is saved, which needs the files
	stop := ticker.Report(progressInterval, options.Progress, r.progress)
	err = r.compare(ctx)
	stop()
	if err != nil {
		return Result{}, errors.Join(err, r.position.save(false))
	}
	if r.follower != nil { // what was followed without a gap is as good later as it is now
		return r.finish(), r.position.save(false)
	}
	return r.finish(), r.position.remove()
}

// close removes what is in files beside the checkpoint.
func (r *run) close() {
	r.join.close()
	if r.follower != nil {
		r.follower.set.Close()
	}
}

func prepare(ctx context.Context, o Options) (*run, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	pair, err := table.Preflight(ctx, o.Source, o.SourceTable, o.Target, o.TargetTable, table.Needs{Encryption: o.Encryption, Stream: o.Follow.isOn()})
	if err != nil {
		return nil, err
	}
	policy := call.Policy{Timeout: o.RequestTimeout}
	r := &run{
		options: o, pair: pair, policy: policy, start: time.Now(),
		source:   newSide(o.Source, o.SourceTable, pair.Source, o.budget(), policy),
		target:   newSide(o.Target, o.TargetTable, pair.Target, o.budget(), policy),
		writes:   capacity.Budget{}.WriteLimiter(pair.Target.Raw),
		join:     newJoin(o.MaxMemory, o.Folder),
		room:     room.New(pageMemory),
		settling: make(chan struct{}),
	}
	r.source.scanner.Consistent, r.target.scanner.Consistent = o.Consistent, o.Consistent
	r.converge = &converge.Converger{
		Source: r.source.reader, Target: r.target.reader, Recheck: true,
		Writer: &batch.Writer{API: o.Target, Table: o.TargetTable, Schema: pair.Target.Schema, Limiter: r.writes, Policy: policy},
	}
	r.result = Result{Source: o.SourceTable, Target: o.TargetTable, Strict: o.Strict, Consistent: o.Consistent}
	if o.Follow.isOn() {
		r.follower = newFollower(r)
	}
	r.clock = pair.Source.Clock
	r.began = r.clock.Now()
	if !o.KeepExpired {
		r.expiry = expiryOf(ctx, o.Source, o.SourceTable, policy.AttemptTimeout())
	}
	r.chooseSegments()
	if err := r.begin(ctx); err != nil {
		r.close() // which may have taken over so much that it is in files
		return nil, err
	}
	return r, nil
}

// begin loads the checkpoint and tells the caller that it begins.
func (r *run) begin(ctx context.Context) (err error) {
	if err := ctx.Err(); err != nil { // which reading the time to live doesn't tell
		return fmt.Errorf("read table configuration: %w", err)
	}
	if r.position, err = openCheckpoint(r); err != nil {
		return err
	}
	r.result.Resumed, r.result.BeganAt = r.position.resumed, instant(r.began)
	if r.result.Resumed && r.follower == nil {
		r.result.AsOf = r.result.BeganAt
	}
	if r.follower != nil {
		if err := r.follower.open(ctx); err != nil {
			r.position.close()
			return err
		}
	}
	if r.options.Begin != nil {
		err = r.options.Begin(r.result.Resumed)
	}
	if err != nil {
		r.position.close()
	}
	return err
}

// chooseSegments draws the sample, if there is to be one.
func (r *run) chooseSegments() {
	if r.options.Sample > 0 {
		sample, drawn := draw(r.options.Sample, r.options.SampleSeed, r.options.Segments)
		r.result.Sample, r.segments, r.total = &sample, drawn, sample.TotalSegments
	} else {
		r.segments, r.total = slices.Collect(scan.Spread(r.options.Segments)), r.options.Segments
	}
	r.places = newPlaces(r.segments, r.total)
}

func (o Options) budget() capacity.Budget {
	return capacity.Budget{Units: o.ReadUnits, Share: o.ReadShare}
}

func checkScan(segments int, budget capacity.Budget) error {
	switch {
	case segments < 1 || segments > scan.MaxSegments:
		return refuse.New("give a number from 1 to 1,000,000", "segments is %d", segments)
	case !budget.Valid():
		return refuse.New("give a number above 0, or a percentage up to 100", "read units is %g, or %g %%", budget.Units, 100*budget.Share)
	}
	return nil
}

func (o Options) check() error {
	if err := checkScan(o.Segments, o.budget()); err != nil {
		return err
	}
	switch {
	case o.Settle < 0:
		return refuse.New("give a duration such as 30s", "settle is %s", o.Settle)
	case o.Sample < 0 || o.Sample >= 1 || math.IsNaN(o.Sample):
		return refuse.New("give a percentage above 0 and below 100, such as 1%", "the sample is %g %%", 100*o.Sample)
	case o.DryRun && !o.Repair:
		return refuse.New("give --repair too, or leave it out", "--dry-run shows what --repair would do")
	case o.MaxMemory <= 0:
		return refuse.New("give a size such as 256MiB", "max memory is %d bytes", o.MaxMemory)
	}
	if err := o.Follow.check(o); err != nil {
		return err
	}
	return o.checkStrict()
}

func (r *run) compare(ctx context.Context) error {
	if r.follower != nil {
		return r.follower.compare(ctx)
	}
	if err := r.scan(ctx); err != nil {
		return err
	}
	close(r.settling)
	var left remains
	for waiting, err := range r.join.left(r.source.schema) {
		var still remains
		if err == nil {
			still, err = r.examine(ctx, waiting)
		}
		if err != nil {
			return err
		}
		left.add(still)
	}
	if r.result.Sample != nil && left == (remains{}) && r.source.read.Load() == 0 && r.target.read.Load() == 0 {
		return errEmptySample
	}
	if err := r.confirm(ctx); err != nil {
		return err
	}
	r.judge(left)
	return nil
}

// examine finds out what is true of items that did not match in the scans, and repairs them if that is wanted. It returns what
// then still differs.
func (r *run) examine(ctx context.Context, waiting []unmatched) (left remains, err error) {
	found := settlement{run: r, report: r.record}
	if err := found.settle(ctx, candidatesOf(waiting)); err != nil {
		return remains{}, err
	}
	r.result.Settled += found.settled
	if !r.options.Repair || r.options.DryRun {
		return remainsOf(found.differing), nil
	}
	still, err := r.repair(ctx, found.differing)
	if err != nil {
		return remains{}, err
	}
	r.result.Repaired += int64(len(found.differing) - len(still))
	return remainsOf(still), nil
}

func (r *run) finish() Result {
	result := r.result
	count, sum := r.join.matched()
	result.SourceItems, result.TargetItems = count+r.source.items, count+r.target.items
	result.SourceFingerprint, result.TargetFingerprint = sum.Plus(r.source.sum).String(), sum.Plus(r.target.sum).String()
	result.ReadUnits = r.source.limiter.Used() + r.target.limiter.Used()
	result.WriteUnits = r.writes.Used()
	result.SourceLimit, result.TargetLimit = r.source.limiter.Taken(), r.target.limiter.Taken()
	result.Throttled = r.throttled()
	result.SourceExpired, result.TargetExpired = r.source.expired.Load(), r.target.expired.Load()
	result.ExpiredBy = r.expiry.String()
	result.Map = r.places.show()
	result.ElapsedSeconds = time.Since(r.start).Seconds()
	if r.follower != nil {
		r.follower.finish(&result)
	}
	return result
}

func (r *run) throttled() int64 {
	return r.source.limiter.Throttled() + r.target.limiter.Throttled() + r.writes.Throttled()
}

func (r *run) progress() Progress {
	settling := false
	select {
	case <-r.settling:
		settling = true
	default:
	}
	share := float64(len(r.segments)) / float64(r.total)
	var following *FollowProgress
	if r.follower != nil {
		following = r.follower.progress()
	}
	return Progress{
		Following:   following,
		SourceItems: r.source.read.Load(), TargetItems: r.target.read.Load(),
		SourceExpected: int64(share * float64(r.pair.Source.Items)), TargetExpected: int64(share * float64(r.pair.Target.Items)),
		Waiting: r.join.waiting(), Settling: settling,
		ReadUnits: r.source.limiter.Used() + r.target.limiter.Used(),
		ReadLimit: r.source.limiter.Rate() + r.target.limiter.Rate(),
		Throttled: r.throttled(), Elapsed: time.Since(r.start),
	}
}
