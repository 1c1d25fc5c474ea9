package torture

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"reseal/replicate"
	"reseal/seed"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
)

// refusing is the attribute of an item that the target refuses, for the reason that is its value.
const refusing = "refused"

// refusedItem begins the service's words for it.
const refusedItem = "one or more items"

// errNotRefused is what the handler has no reason for.
var errNotRefused = errors.New("nothing keeps it from being applied")

// blockItems has some items of the plan refused by the target. A later write of the application puts them right, soon or much later, which
// is added at the end where there is none, unless the replicator hands them on: then some stay. Or the target takes them from some time on,
// as when its index that refused them is gone, and nothing newer ever tells of them: a replicator that waits for that loses nothing.
func (pl *plan) blockItems() {
	random := dice(pl.seed, "blocked items", 0)
	pl.deadLetters = chance(random, 0.4)
	reason := func(item attrs) attrs {
		return with(item, refusing, &types.AttributeValueMemberS{Value: oneOf(random, "ValidationException", "ItemCollectionSizeLimitExceededException")})
	}
	last := map[string]attrs{} // of each key that was refused: what puts it right
	refuse := func(key, item attrs) attrs { last[text(key)] = item; return reason(item) }
	for i := range pl.before {
		if pl.before[i] != nil && chance(random, 0.03) {
			pl.before[i] = refuse(pl.keys[i], pl.before[i])
		}
	}
	for i := range pl.changes {
		c := &pl.changes[i]
		delete(last, text(c.key))
		if c.item != nil && chance(random, 4/float64(len(pl.changes))) {
			c.item = refuse(c.key, c.item)
		}
	}
	end := pl.end()
	if !pl.deadLetters && chance(random, 0.4) {
		pl.asLambda, pl.accepts = false, end+between(random, 0, time.Minute)
		latest := map[string]int{}
		for i, c := range pl.changes {
			latest[text(c.key)] = i
		}
		for _, key := range pl.keys {
			if i, is := latest[text(key)]; is && pl.changes[i].item != nil && !isRefused(pl.changes[i].item) && chance(random, 0.2) {
				pl.changes[i].item = reason(pl.changes[i].item)
			}
		}
		return
	}
	for _, key := range pl.keys {
		if right := last[text(key)]; right != nil && (!pl.deadLetters || chance(random, 0.5)) {
			end += between(random, 0, 4*time.Second)
			pl.changes = append(pl.changes, change{at: end, key: key, item: right})
		}
	}
}

func isRefused(item attrs) bool { return item[refusing] != nil }

// refuses tells whether the target refuses items at a time.
func (w *simWorld) refuses(at time.Time) bool {
	return w.plan.accepts == 0 || at.Before(w.start.Add(w.plan.accepts))
}

// isReplicated tells whether a record tells of the item that a key has in the end, which the target takes.
func (w *simWorld) isReplicated(key string) bool {
	return w.plan.accepts > 0 && slices.ContainsFunc(w.plan.changes, func(c change) bool { return text(c.key) == key })
}

// wasRefused tells whether the source has had an item since then that the target refused.
func (w *simWorld) wasRefused(since time.Time) bool {
	return w.refuses(since) && w.source.had(since, isRefused)
}

// refusalOf is what the target answers to a batch with items that it refuses; nil: it has none.
func (w *simWorld) refusalOf(writes []types.WriteRequest) error {
	if !w.refuses(time.Now()) {
		return nil
	}
	for _, one := range writes {
		if one.PutRequest == nil || !isRefused(one.PutRequest.Item) {
			continue
		}
		code := one.PutRequest.Item[refusing].(*types.AttributeValueMemberS).Value
		return answerOf(http.StatusBadRequest, &smithy.GenericAPIError{Code: code, Message: refusedItem + " are refused"})
	}
	return nil
}

// rejected is told of an item that the target has refused to a seed.
func (w *simWorld) rejected(seed.Reject) error {
	w.count("item refused to a seed")
	return nil
}

// deadLetter takes a record whose item the target refuses.
func (w *simWorld) deadLetter(_ context.Context, record replicate.Record, _ error) error {
	if record.Image.Absent() {
		w.t.Error("a delete was handed on as refused")
	}
	w.count("record handed on")
	return nil
}

// handlerOptions are the Lambda's. A function that an item has blocked for long gets a queue.
func (w *simWorld) handlerOptions() replicate.HandlerOptions {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.plan.deadLetters || w.ordinals["given a queue"] > 0 {
		return replicate.HandlerOptions{Poison: w.deadLetter}
	}
	return replicate.HandlerOptions{}
}

// count of what a process has sent.
type sent struct{ faults, carriedOut int }

func (p *process) sent() sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	return sent{p.faults, p.carriedOut}
}

// met notes a fault that a request has met.
func (p *process) met() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults++
}

// judgeDelivery judges what the handler says of records, of which so many are done. It names what the target refuses, nothing before
// that; and as long as that is the first of them, and no queue takes it, nothing is written, over and over, or back to an older value.
func (e *environment) judgeDelivery(records []entry[change], done int, took time.Duration, before, after sent) {
	w := e.w
	if w.plan.twist != blockedItems || done == len(records) {
		e.blocked = 0
		return
	}
	last := records[done].record
	for _, one := range records[done:] {
		if text(one.record.key) == text(last.key) {
			last = one.record
		}
	}
	isFirst := !slices.ContainsFunc(records[:done], func(one entry[change]) bool { return text(one.record.key) == text(last.key) })
	if !isRefused(last.item) && isFirst && before.faults == after.faults && took < 20*time.Second {
		w.t.Errorf("the handler names record %s: %v", records[done].sequence, errNotRefused)
	}
	if isRefused(last.item) && done == 0 && !e.hasQueue && after.carriedOut > before.carriedOut {
		w.t.Errorf("a delivery that is blocked by its first record wrote %d items", after.carriedOut-before.carriedOut)
	}
	if e.blocked++; isRefused(last.item) && e.blocked > 15 && !w.plan.deadLetters {
		w.count("queue given to a blocked function")
		w.giveQueue()
		e.p = nil
	}
}

func (w *simWorld) giveQueue() { w.ordinal("given a queue") }
