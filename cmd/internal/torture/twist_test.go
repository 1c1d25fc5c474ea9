package torture

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// twist is what happens in a simulated run beside what happens in all of them. Half of the runs have one.
type twist string

// The twists. What each does is told where it is done.
const (
	none          twist = ""
	streamAnew    twist = "stream-anew"    // the stream is disabled, and enabled again: another one
	timeToLive    twist = "time-to-live"   // items expire, by a clock that isn't the machine's, in each table at another time
	oldCheckpoint twist = "old-checkpoint" // a verification goes on after the tables have changed
	restarts      twist = "restarts"       // --restart after a kill
	trims         twist = "trims"          // the replicator is down for hours, again and again
	listingHoles  twist = "holes"          // shards are missing from listings
	blockedItems  twist = "blocked"        // the target refuses items for what they hold, until they are put right
	twins         twist = "twins"          // a second process is started with the same checkpoint
	lostAgain     twist = "lost-again"     // writes that settle lost ones are lost, too, while the application goes on
	lateWrites    twist = "late-writes"    // writes are lost, and carried out when the application has ended
)

var allTwists = []twist{streamAnew, timeToLive, oldCheckpoint, restarts, trims, listingHoles, blockedItems, twins, lostAgain, lateWrites}

// drawTwist draws the twist, or takes the one that the environment names ("none" for none), and changes the plan for it.
func (pl *plan) drawTwist() {
	random := dice(pl.seed, "twist", 0)
	if chance(random, 0.5) {
		pl.twist = oneOf(random, allTwists...)
	}
	switch named := twist(os.Getenv("RESEAL_TORTURE_TWIST")); {
	case named == "none":
		pl.twist = none
	case named != none && !slices.Contains(allTwists, named):
		panic("RESEAL_TORTURE_TWIST names no twist") // nobody should believe that it was played
	case named != none:
		pl.twist = named
	}
	if pl.twist != none {
		pl.hole = false // what is lost is lost by the twist
	}
	switch pl.twist {
	case streamAnew:
		pl.mostTroubles = max(3, pl.mostTroubles)
	case restarts:
		pl.mostTroubles, pl.lossy = 6, chance(random, 0.7)
	case trims, listingHoles, twins:
		pl.asLambda = false // its mapping is the service's
		pl.seedWaits = pl.twist == trims && chance(random, 0.5)
		for range 4 { // without shards that end, a listing has nothing to leave out
			if pl.twist == listingHoles {
				pl.splits = append(pl.splits, between(random, 0, pl.end()))
			}
		}
		slices.Sort(pl.splits)
	case blockedItems:
		pl.blockItems()
	case timeToLive:
		pl.addExpiry()
	case lostAgain: // as long as the seed settles
		again := dice(pl.seed, "lost again", 0)
		pl.loseWrites(again, between(again, 25*time.Second, 75*time.Second))
	case lateWrites: // as long as the seed copies, and a little longer
		late := dice(pl.seed, "late writes", 0)
		pl.loseWrites(late, between(late, 5*time.Second, 30*time.Second))
	case none, oldCheckpoint:
	}
}

// twisted begins what goes on beside the processes, and returns what ends it.
func (w *simWorld) twisted(all *sync.WaitGroup) (stop func()) {
	switch w.plan.twist {
	case streamAnew:
		all.Go(w.makeStreamAnew)
	case timeToLive:
		return w.sweep()
	default:
	}
	return func() {}
}

// end is when the application has stopped, after the start.
func (pl *plan) end() time.Duration {
	if len(pl.changes) == 0 {
		return 0
	}
	return pl.changes[len(pl.changes)-1].at
}

// with is an item with one more attribute, or another value of it.
func with(item attrs, name string, value types.AttributeValue) attrs {
	changed := maps.Clone(item)
	changed[name] = value
	return changed
}

// mayDiffer tells whether an item that differs in the end is no fault, but still to be found by verify.
func (w *simWorld) mayDiffer(key, kind string) bool {
	switch w.plan.twist {
	case streamAnew:
		return w.operator.isUntold(kind)
	case timeToLive:
		return kind == "missing" && w.sweptFromTarget(key)
	case blockedItems:
		return isRefused(w.source.item(key)) && !w.isReplicated(key)
	default:
		return false
	}
}

// setDrained says that replication is to come to its end.
func (w *simWorld) setDrained() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.drained = true
}

// change draws a change of a key of the plan's, beside those of the plan.
func (w *simWorld) change(random interface{ IntN(int) int }, n int) change {
	i := random.IntN(len(w.plan.keys))
	key := w.plan.keys[i]
	was := w.source.get(key, time.Now())
	switch {
	case was != nil && random.IntN(3) == 0:
		return change{key: key}
	case was == nil:
		was = key
	}
	return change{key: key, item: with(was, "more", &types.AttributeValueMemberN{Value: strconv.Itoa(n)})}
}

// loseWrites has the application write few items until it ends, and many answers lost. After that no later change puts right what a late
// write has spoilt.
func (pl *plan) loseWrites(random *rand.Rand, end time.Duration) {
	pl.lossy, pl.mostTroubles, pl.pace, pl.writePace = true, 0, 20*time.Millisecond, 20*time.Millisecond
	pl.keys, pl.before = pl.keys[:min(12, len(pl.keys))], pl.before[:min(12, len(pl.keys))]
	pl.changes = slices.DeleteFunc(pl.changes, func(c change) bool {
		return c.at > end || !slices.ContainsFunc(pl.keys, func(key attrs) bool { return text(key) == text(c.key) })
	})
	for at := pl.end(); at < end; at += between(random, 0, 2*time.Second) {
		i := random.IntN(len(pl.keys))
		c := change{at: at, key: pl.keys[i]}
		if chance(random, 0.6) {
			c.item = with(c.key, "more", number(len(pl.changes)))
		}
		pl.changes = append(pl.changes, c)
	}
}
