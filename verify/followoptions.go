package verify

import (
	"time"

	"reseal/internal/refuse"
)

// FollowOptions have a verification read the source's stream, from before its scans on, and look at each key that changes: what it says
// at its end is then of that moment, not of the scans.
type FollowOptions struct {
	Streams    StreamsAPI      // the source's streams client; nil: no Follow
	UntilQuiet time.Duration   // end when no key was open, and no record came, for so long; 0: not for that
	For        time.Duration   // end after so long, and the scans; 0: not for that
	Stop       <-chan struct{} // end, with a verdict, when it is closed and the scans are done; before they are it is an interruption. May be nil
	// Started is called once, when both tables are scanned, with what tells and looks while the verification goes on; an error ends it. It
	// may be nil.
	Started func(*Live) error
	// OnRecord is called for each record, by one goroutine for each shard; it may be nil.
	OnRecord func(Changed)
	// Keep is for how long Live.LookNow knows a key that was closed; 0: not at all.
	Keep time.Duration
	// Lifetime is how long a request of the replicator may still be carried out when it had no answer; 0: 30 s.
	Lifetime time.Duration
}

// DefaultLifetime is longer than a request of reseal's replicator may be alive: 20 s, and a quarter more for what is on its way.
const DefaultLifetime = 30 * time.Second

func (f FollowOptions) isOn() bool { return f.Streams != nil }

func (f FollowOptions) lifetime() time.Duration {
	if f.Lifetime > 0 {
		return f.Lifetime
	}
	return DefaultLifetime
}

// settleFollowed is how long a key must differ to be a difference. Before the lifetime has passed since its last change, the replicator's
// request may still be carried out that brings it.
func (o Options) settleFollowed() time.Duration { return max(o.Settle, o.Follow.lifetime()) }

func (f FollowOptions) check(o Options) error {
	switch {
	case min(f.UntilQuiet, f.For, f.Lifetime, f.Keep) < 0:
		return refuse.New("give durations such as 10s", "until-quiet is %s, for is %s, the replicator's request lifetime is %s", f.UntilQuiet, f.For, f.Lifetime)
	case !f.isOn() && (f.UntilQuiet > 0 || f.For > 0 || f.Lifetime > 0):
		return refuse.New("give --follow too, or leave them out", "--until-quiet and --for are of --follow")
	case f.isOn() && o.Sample > 0:
		return refuse.New("leave out one of them", "--follow says of all items that they agree, --sample looks at some")
	}
	return nil
}

// Following is what a verification with Follow found beyond the scans.
type Following struct {
	Open              int64   `json:"open"`                // keys that changed and of which it isn't known whether they agree for good
	OldestOpenSeconds float64 `json:"oldest_open_seconds"` // since the last change of one of them was seen, the longest
	LookedAt          int64   `json:"looked_at"`           // keys that were read on both sides, each time that they were
	FollowedRecords   int64   `json:"followed_records"`    // of the stream
	// CaughtUp tells that the stream was read to its end, and that each key was closed, or told as a difference, whose last record is older
	// than the request lifetime and ten seconds.
	CaughtUp bool `json:"caught_up"`
	// Unsettled are the open keys that differed when they were last looked at: their last change is younger than the request lifetime, or
	// the settling time, so replication may be under way. They are told as differences of that kind, and counted in Open.
	Unsettled int64 `json:"unsettled"`
	Mended    int64 `json:"mended"` // differences that were told, and agreed later by themselves
	// FollowedSince is from when on each change was followed, without a gap, in this run and in those that it resumes: RFC 3339, UTC.
	FollowedSince string `json:"followed_since"`
	// FollowedUntil is when the stream was last known to be read to its end: what was changed until then is in the verdict.
	FollowedUntil string `json:"followed_until"`
}

// FollowProgress is how far a verification with Follow has come.
type FollowProgress struct {
	Opened          bool // the stream: each change from then on is followed
	NoShards        bool // the stream lists none, and it isn't opened before it does
	Scanned         bool // both tables
	Open            int64
	OldestOpen      time.Duration
	Suspect         int64 // of the open keys, those that may be differences: found by the scans, or seen to differ for ten seconds
	Unsettled       int64 // of the open keys: they differed when they were last looked at
	Differing       int64 // differences that were told, and are there
	LookedAt        int64
	Records         int64
	Lag             time.Duration // since the moment up to which the stream was read; 0: none is known yet
	CaughtUp        bool
	StreamThrottled int64 // reads of the stream
	Failure         error // what fails in reading it, again and again; nil: nothing
}
