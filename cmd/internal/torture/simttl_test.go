package torture

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// expiry is the time to live of both tables: the attribute, or "" where it is off; and how far the service's clock, by which items
// expire, is before the machine's.
type expiry struct {
	source, target string
	ahead          time.Duration
}

// Attributes that hold times.
const (
	expires = "expires"
	other   = "expires2"
)

// addExpiry draws the tables' time to live, and gives items times at which they expire: long ago, soon, or in the time by which the clocks
// differ, in seconds or as something that is no time.
func (pl *plan) addExpiry() {
	random := dice(pl.seed, "expiry", 0)
	pl.expiry = expiry{source: oneOf(random, expires, expires, expires, ""), target: oneOf(random, expires, expires, other, "")}
	pl.expiry.ahead = oneOf[time.Duration](random, -1, 1) * between(random, 10*time.Minute, 3*time.Hour)
	for i, item := range pl.before {
		if item != nil {
			pl.before[i] = pl.withExpiry(random, item)
		}
	}
	for i, c := range pl.changes {
		if c.item != nil {
			pl.changes[i].item = pl.withExpiry(random, c.item)
		}
	}
}

func (pl *plan) withExpiry(random *rand.Rand, item attrs) attrs {
	start := time.Now().Add(pl.expiry.ahead) // the plan is drawn when the run starts
	for _, name := range []string{expires, other} {
		at := start.Add(oneOf(random, -24*time.Hour, between(random, 0, 4*time.Minute), 24*time.Hour, between(random, -3*time.Hour, 3*time.Hour), between(random, -3*time.Hour, 3*time.Hour)))
		item = with(item, name, &types.AttributeValueMemberN{Value: strconv.FormatInt(at.Unix(), 10)})
		switch random.IntN(8) {
		case 0:
			delete(item, name)
		case 1:
			item[name] = &types.AttributeValueMemberS{Value: strconv.FormatInt(at.Unix(), 10)}
		}
	}
	return item
}

// serviceTime is the time by the service's clock.
func (w *simWorld) serviceTime() time.Time { return time.Now().Add(w.plan.expiry.ahead) }

// timeToLive is what DescribeTimeToLive answers.
func (w *simWorld) timeToLive(tb *simTable) (any, error) {
	if w.plan.twist != timeToLive {
		return nil, answerOf(http.StatusBadRequest, &smithy.GenericAPIError{Code: "UnknownOperationException"})
	}
	description := map[string]string{"TimeToLiveStatus": "DISABLED"}
	if name := w.expiryOf(tb); name != "" {
		description = map[string]string{"TimeToLiveStatus": "ENABLED", "AttributeName": name}
	}
	return map[string]any{"TimeToLiveDescription": description}, nil
}

func (w *simWorld) expiryOf(tb *simTable) string {
	if tb == w.source {
		return w.plan.expiry.source
	}
	return w.plan.expiry.target
}

// expiresAt is when the service may delete an item that has the attribute.
func expiresAt(item attrs, attribute string) (at time.Time, is bool) {
	value, isNumber := item[attribute].(*types.AttributeValueMemberN)
	if !isNumber {
		return time.Time{}, false
	}
	seconds, err := strconv.ParseInt(value.Value, 10, 64)
	return time.Unix(seconds, 0), err == nil
}

func (w *simWorld) hasExpired(item attrs, attribute string) bool {
	at, is := expiresAt(item, attribute)
	return is && !at.After(w.serviceTime())
}

// contents is a table's, without what has expired by the source's time to live: the service deletes that at any time, in each table at
// another.
func (w *simWorld) contents(tb *simTable) map[string]string {
	all := tb.contents(time.Now())
	for key := range all {
		if w.plan.expiry.source != "" && w.hasExpired(tb.item(key), w.plan.expiry.source) {
			delete(all, key)
		}
	}
	return all
}

// expiresSince tells whether an item of the key has expired since a time of the service's, so that it may count or not. A Date has seconds.
func (w *simWorld) expiresSince(key string, begun time.Time) bool {
	for _, item := range []attrs{w.source.item(key), w.target.item(key)} {
		at, is := expiresAt(item, w.plan.expiry.source)
		if is && w.plan.expiry.source != "" && at.After(begun.Add(-5*time.Second)) && at.Before(w.serviceTime().Add(5*time.Second)) {
			return true
		}
	}
	return false
}

// mayExpire is expiresSince for any key.
func (w *simWorld) mayExpire(begun time.Time) bool {
	for _, key := range w.plan.keys {
		if w.expiresSince(text(key), begun) {
			return true
		}
	}
	return false
}

// sweptFromTarget tells whether the target's own time to live would delete what the source holds.
func (w *simWorld) sweptFromTarget(key string) bool {
	at, is := expiresAt(w.source.item(key), w.plan.expiry.target)
	return is && w.plan.expiry.target != "" && at.Before(w.serviceTime())
}

// sweep deletes what has expired, in each table at a time of its own, until stop is called.
func (w *simWorld) sweep() (stop func()) {
	var all sync.WaitGroup
	ended := make(chan struct{})
	for _, tb := range []*simTable{w.source, w.target} {
		all.Go(func() {
			for n := 0; ; n++ {
				timer := time.NewTimer(2 * time.Second)
				select {
				case <-timer.C:
				case <-ended:
					timer.Stop()
					return
				}
				w.sweepOnce(tb, dice(w.plan.seed, "sweep of "+tb.name, n))
			}
		})
	}
	return func() {
		close(ended)
		all.Wait()
	}
}

func (w *simWorld) sweepOnce(tb *simTable, random *rand.Rand) {
	attribute, part := w.expiryOf(tb), uint32(random.IntN(8))
	if attribute == "" {
		return
	}
	due := func(key string, item attrs) bool { return placeOf(0, key)%8 == part && w.hasExpired(item, attribute) }
	if tb == w.target {
		w.tally.add("items expired in the target", len(tb.expire(due)))
		return
	}
	for _, key := range w.plan.keys {
		if id := text(key); due(id, tb.item(id)) {
			w.applyIf(change{key: key}, func(was attrs) bool { return was != nil && due(id, was) })
			w.count("item expired in the source")
		}
	}
}
