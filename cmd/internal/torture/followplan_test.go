package torture

import (
	"math/rand/v2"
	"slices"
	"time"
)

// follower is the role of the verification that follows.
const follower = "verify --follow"

// following is what the seed of a run decides beforehand in which a verification follows the stream.
type following struct {
	start      time.Duration // of the verification
	end        time.Duration // of the application
	consistent bool
	repairs    bool
	settle     time.Duration
	maxMemory  int64
	openPace   time.Duration // that its requests for iterators take on each way, at the most
	lookPace   time.Duration // that its reads of keys take on each way, at the most
	applyPace  time.Duration // likewise the replicator's writes
	dropped    map[string]bool
	late       map[string]lateWrite
	crowded    time.Time // until then others read the stream, so that half of the reads are throttled
	wholePages bool      // GetRecords gives all that there is
	coda       bool      // when all is quiet, the shards split, and changes follow that nobody replicates
}

// lateWrite is an older value that gets to the target after a newer one: of a write whose answer was lost, or of a batch that was
// delivered again in part.
type lateWrite struct {
	after time.Duration
	item  attrs // nil: none
}

// id is a change, or a write: of a key, and what there is then.
func id(key, item attrs) string { return text(key) + "\n" + text(item) }

// newFollowingPlan draws a plan of a run in which a verification follows: the application writes on for minutes after it has begun.
func newFollowingPlan(number uint64) *plan {
	pl := drawPlan(number)
	random := dice(number, "following", 0)
	pl.hole, pl.expiry.ahead = chance(random, 0.3), oneOf[time.Duration](random, 0, -1, 1)*between(random, time.Minute, 3*time.Hour)
	f := &following{
		consistent: chance(random, 0.5), repairs: chance(random, 0.15), settle: oneOf[time.Duration](random, 5, 30, 30, 30, 45) * time.Second,
		maxMemory: oneOf[int64](random, 1<<15, 1<<20), lookPace: oneOf[time.Duration](random, 0, 0, 2, 5) * time.Second,
		applyPace: oneOf[time.Duration](random, 0, 0, 3, 8) * time.Second, openPace: oneOf[time.Duration](random, 0, 9) * time.Second,
		dropped: map[string]bool{}, late: map[string]lateWrite{}, coda: chance(random, 0.8),
	}
	if pl.asLambda {
		f.applyPace = min(f.applyPace, 3*time.Second) // an invocation has 30 s
	}
	f.start = between(random, 0, oneOf(random, 5*time.Second, pl.end()+30*time.Second))
	f.end = max(pl.end(), f.start) + between(random, 20*time.Second, 2*time.Minute)
	pl.writeOn(random, f)
	for range random.IntN(6) {
		pl.splits = append(pl.splits, between(random, 0, f.end))
	}
	slices.Sort(pl.splits)
	pl.following = f
	f.drawLosses(random, pl.changes)
	return pl
}

// writeOn has the application write until the end: to all items, to some of them again half a minute later, when the verification looks at
// them, or to many at once. Right when the verification starts it writes to items that it leaves alone from then on.
func (pl *plan) writeOn(random *rand.Rand, f *following) {
	table := map[string]attrs{}
	for i, key := range pl.keys {
		table[text(key)] = pl.before[i]
	}
	for _, c := range pl.changes {
		table[text(c.key)] = c.item
	}
	for range oneOf(random, 0, 0, 200) {
		pl.keys, pl.before = append(pl.keys, drawKey(random, pl.spec, len(pl.keys))), append(pl.before, nil)
	}
	var moments []change
	alone := map[int]bool{}
	for range random.IntN(20) {
		i := random.IntN(len(pl.keys))
		alone[i] = true
		moments = append(moments, change{at: f.start + pl.lag + between(random, 0, 10*time.Second), key: pl.keys[i]})
	}
	pause := oneOf[time.Duration](random, 50, 200, 1000, 4000) * time.Millisecond
	for at := pl.end(); at < f.end; at += between(random, 0, 2*pause) {
		i := random.IntN(len(pl.keys))
		if at >= f.start && alone[i] {
			continue
		}
		moments = append(moments, change{at: at, key: pl.keys[i]})
		if again := at + between(random, 26*time.Second, 38*time.Second); chance(random, 0.3) && again < f.end {
			moments = append(moments, change{at: again, key: pl.keys[i]})
		}
	}
	isAlone := func(key attrs) bool {
		for i := range alone {
			if text(pl.keys[i]) == text(key) {
				return true
			}
		}
		return false
	}
	slices.SortStableFunc(moments, func(a, b change) int { return int(a.at - b.at) })
	for i, c := range moments {
		if table[text(c.key)] == nil || !chance(random, 0.3) {
			c.item = with(c.key, "n", number(i)) // each once, so that its writes can be told
		}
		table[text(c.key)] = c.item
		pl.changes = append(pl.changes, c)
		if isAlone(c.key) && chance(random, 0.3) {
			f.dropped[id(c.key, c.item)] = true
		}
	}
	slices.SortStableFunc(pl.changes, func(a, b change) int { return int(a.at - b.at) })
}

// drawLosses chooses changes that the replicator drops, and some after which an older value gets to the target late: of all of them, and of
// the last ones of their keys, which nothing mends.
func (f *following) drawLosses(random *rand.Rand, changes []change) {
	before, last := map[string]attrs{}, map[string]int{}
	for i, c := range changes {
		last[text(c.key)] = i
	}
	drop, late := oneOf(random, 0, 0.02, 0.1), oneOf(random, 0, 0.02, 0.1)
	for i, c := range changes {
		key := text(c.key)
		more := 1.0
		if last[key] == i {
			more = 4
		}
		switch {
		case c.at < f.start:
		case chance(random, more*drop):
			f.dropped[id(c.key, c.item)] = true
		case chance(random, more*late):
			f.late[id(c.key, c.item)] = lateWrite{after: between(random, 0, 24*time.Second), item: before[key]}
		}
		before[key] = c.item
	}
}

// pace is how long a request takes, at the most, to get there; 0: as any other.
func (f *following) pace(role, op string) time.Duration {
	switch {
	case f == nil:
		return 0
	case role == follower && (op == "BatchGetItem source" || op == "BatchGetItem target"):
		return f.lookPace
	case role == follower && op == "GetShardIterator":
		return f.openPace
	case role == replicator && op == "BatchWriteItem":
		return f.applyPace
	}
	return 0
}
