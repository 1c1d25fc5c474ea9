package torture

import (
	"maps"
	"slices"
	"time"

	"reseal/verify"
)

// period is a time in which neither table's item of a key was written.
type period struct {
	from, to time.Time
	changed  time.Time // when the source's had been written last; zero: before the run
	equal    bool
}

// periodsOf are those of a key, from the start of the run to a time.
func (w *simWorld) periodsOf(key string, until time.Time) []period {
	writes := map[time.Time]bool{w.start: false}
	for _, tb := range []*simTable{w.target, w.source} {
		for _, at := range tb.writtenAt(key) {
			if at.After(w.start) && at.Before(until) {
				writes[at] = tb == w.source
			}
		}
	}
	var list []period
	changed := time.Time{}
	for _, at := range slices.SortedFunc(maps.Keys(writes), time.Time.Compare) {
		if n := len(list); n > 0 {
			list[n-1].to = at
		}
		if writes[at] {
			changed = at
		}
		equal := text(w.source.itemAt(key, at)) == text(w.target.itemAt(key, at))
		list = append(list, period{from: at, to: until, changed: changed, equal: equal})
	}
	return list
}

// haveDiffered tells whether there was a time, shortly before another, at which a key differed though its source had stood still for the
// settling time.
func (w *simWorld) haveDiffered(key string, until time.Time) bool {
	const back = 5 * time.Minute
	settle := max(w.plan.following.settle, verify.DefaultLifetime)
	return slices.ContainsFunc(w.periodsOf(key, until), func(p period) bool {
		return !p.equal && p.to.Sub(p.changed) >= settle && until.Sub(p.to) <= back
	})
}

// judgeFollowing compares what the verification has told with what there is.
func (w *simWorld) judgeFollowing(when string, result verify.Result, found map[string]string) {
	w.t.Helper()
	want := w.differences()
	since, err := time.Parse(time.RFC3339, result.FollowedSince)
	if err != nil {
		w.t.Errorf("verify --follow%s: followed since %q", when, result.FollowedSince)
	}
	scanned := w.followed.scanned(since.Add(-w.plan.expiry.ahead - 4*time.Second)) // it is said to be two seconds later than it may be
	repairs := w.plan.following.repairs
	known, perhaps := 0, 0
	for key, kind := range want {
		named, must := found[key] != "", w.mustBeNamed(key, scanned)
		switch {
		case named && (must || !repairs): // of whatever kind: that may change without a record
			w.count("difference found in the end")
			known++
		case named: // and perhaps repaired, and spoilt again
			perhaps++
		case must:
			w.t.Errorf("verify --follow%s: %s is %s, and not told; scans from %s on%s", when, key, kind, scanned.Format("04:05.000"), w.history(key))
		default:
			w.count("difference that only a new scan can find")
		}
	}
	for key, kind := range found {
		if want[key] == "" && !repairs {
			w.t.Errorf("verify --follow%s: %s is equal, told as %s%s", when, key, kind, w.history(key))
		}
	}
	if result.Match && known > 0 || !result.Match && known+perhaps == 0 || result.Open > 0 || !result.CaughtUp || result.Unsettled > 0 {
		w.t.Errorf("verify --follow%s says %q, %+v, where %s differ", when, result.Verdict(), result.Following, someOf(want))
	}
	w.tally.add("records followed", int(result.FollowedRecords))
}

// mustBeNamed tells of a key that differs whether the verification must have told it: the stream has touched it since the scans began, or
// they can't but have seen that it differs. It needn't if both tables had agreed for so long since the key's last change that the key was
// closed: what was spoilt only then, by whoever it was, only a new scan finds. Nor if they had agreed while a seed ran, which may bring an item
// to the target before the replicator does, or only when replication was later than any look counts with.
func (w *simWorld) mustBeNamed(key string, scanned time.Time) bool {
	stale := w.plan.lag
	if w.plan.following.consistent {
		stale = 0
	}
	list := w.periodsOf(key, time.Now())
	last := list[len(list)-1]
	differs := last.from
	for i := len(list) - 1; i >= 0 && !list[i].equal; i-- {
		differs = list[i].from
	}
	if last.changed.Before(scanned) {
		return !differs.Add(stale).After(scanned)
	}
	agreed, seeded := time.Time{}, w.followed.seededAt() // since then
	for _, p := range list {
		isLate := p.from.Before(seeded) || p.from.Sub(last.changed) > verify.DefaultLifetime
		if p.equal && isLate && !p.from.Before(last.changed) {
			return false
		}
		switch {
		case p.from.Before(last.changed) || !p.equal:
			agreed = time.Time{}
		case agreed.IsZero():
			agreed = p.from
		}
		if !agreed.IsZero() && p.to.Sub(agreed) >= verify.DefaultLifetime {
			return false
		}
	}
	return true
}

// writtenAt is when a key was written.
func (tb *simTable) writtenAt(key string) []time.Time {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	var times []time.Time
	if r := tb.rows[key]; r != nil {
		for _, v := range r.versions {
			times = append(times, v.from)
		}
	}
	return times
}

// itemAt is item at another time.
func (tb *simTable) itemAt(key string, when time.Time) attrs {
	tb.mu.Lock()
	defer tb.mu.Unlock()
	if r := tb.rows[key]; r != nil {
		return r.at(when)
	}
	return nil
}
