package torture

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"time"

	"reseal/replicate"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// mapping is the service's side of the Lambda: an event source mapping from TRIM_HORIZON on, with ReportBatchItemFailures and no limit
// of retries. It invokes the handler for each shard in order, a shard after its parent, and delivers again what failed; and once in a
// while what did not.
type mapping struct {
	w        *simWorld
	stream   *simStream
	ctx      context.Context // ends when the mapping is deleted
	draining context.Context
}

// deliver has the handler take the stream, by a mapping for each stream that there is one after the other, until draining ends.
func (w *simWorld) deliver(draining context.Context) {
	for {
		ctx, cancel := context.WithCancel(w.ctx)
		m := &mapping{w: w, stream: w.stream(), ctx: ctx, draining: draining}
		w.operator.maps(m.stream, cancel)
		m.run()
		isLast := ctx.Err() == nil
		cancel()
		if isLast || w.ctx.Err() != nil {
			return
		}
		w.operator.awaitStream()
	}
}

// run follows all shards until each is delivered and nothing more is to come.
func (m *mapping) run() {
	var all sync.WaitGroup
	defer all.Wait()
	started, ended := map[string]bool{}, map[string]chan struct{}{"": closed()}
	for m.ctx.Err() == nil {
		draining := m.draining.Err() != nil
		views, _ := m.stream.list(time.Now(), "", 1000)
		for _, view := range views {
			if started[view.id] || !isClosed(ended[view.parent]) {
				continue
			}
			done := make(chan struct{})
			started[view.id], ended[view.id] = true, done
			all.Go(func() {
				m.follow(view.id)
				close(done)
			})
		}
		total, _ := m.stream.counts()
		if draining && len(started) == total {
			return
		}
		time.Sleep(time.Second)
	}
}

func closed() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false // also a nil channel: a shard that isn't begun
	}
}

// follow delivers a shard to its end.
func (m *mapping) follow(shard string) {
	index := 0
	env := &environment{w: m.w, stream: m.stream, name: replicator + " of " + shard, shard: shard}
	for n := 0; m.ctx.Err() == nil; n++ {
		random := dice(m.w.plan.seed, "delivery of "+shard, n)
		draining := m.draining.Err() != nil
		records, ended, err := m.stream.read(shard, index, oneOf(random, 1, 5, 20, 100), time.Now())
		if err != nil {
			m.w.t.Error(err)
			return
		}
		if len(records) > 0 {
			index += env.invoke(records)
			if again := random.IntN(len(records)) + 1; chance(random, m.w.plan.faults) && index >= again {
				index -= again
				m.w.count("batch replayed")
			}
			continue
		}
		if ended {
			return
		}
		if draining {
			time.Sleep(m.w.plan.visible)
			if all, _, err := m.stream.read(shard, index, 1, time.Now()); err == nil && len(all) == 0 {
				return
			}
		}
		time.Sleep(between(random, 0, time.Second))
	}
}

// environment is where the handler runs: a process that can crash.
type environment struct {
	w       *simWorld
	stream  *simStream
	name    string
	shard   string
	p       *process
	handler *replicate.Handler
	crashes int
	blocked int // deliveries in a row that were not done

	hasQueue bool // for what the target refuses
}

// invoke has the handler take records and returns how many of them are done.
func (e *environment) invoke(records []entry[change]) int {
	w := e.w
	random := dice(w.plan.seed, "invocation of "+e.name, w.ordinal("invocation of "+e.name))
	ctx, cancel := context.WithTimeout(w.ctx, 30*time.Second)
	defer cancel()
	if e.p == nil {
		e.p = w.newProcess(replicator, "")
		options := w.handlerOptions()
		e.hasQueue = options.Poison != nil
		var err error
		if e.handler, err = replicate.NewHandler(ctx, e.p.open(w.target), "target", slog.New(slog.NewTextHandler(io.Discard, nil)), options); err != nil {
			w.t.Error(err)
			return 0
		}
	}
	p := e.p
	if e.crashes < w.plan.mostTroubles && chance(random, 0.1) {
		e.crashes++
		if chance(random, 0.5) {
			p.killAfter(1)
		}
		crash := time.AfterFunc(between(random, 0, 2*w.plan.pace), p.kill)
		defer crash.Stop()
	}
	overdue := context.AfterFunc(ctx, p.kill) // the service ends what takes too long
	defer overdue()
	w.takesPage(p, e.shard)
	before, begun := p.sent(), time.Now()
	response, err := e.handler.Handle(ctx, eventOf(records, e.stream.arn))
	if p.isDead() {
		e.p = nil
		w.count("replicate (Lambda) killed")
		return 0
	}
	if err != nil {
		w.t.Errorf("the handler failed: %v", err)
		return 0
	}
	done := len(records)
	for _, failure := range response.BatchItemFailures {
		for i, one := range records {
			if one.sequence == failure.ItemIdentifier {
				done = min(done, i)
			}
		}
		w.count("partial batch response")
	}
	e.judgeDelivery(records, done, time.Since(begun), before, p.sent())
	return done
}

// eventOf is the event for records.
func eventOf(records []entry[change], stream string) []byte {
	all := make([]any, len(records))
	for i, one := range records {
		all[i] = wireRecord(one)
		all[i].(map[string]any)["eventSourceARN"] = stream
	}
	event, err := json.Marshal(map[string]any{"Records": all})
	if err != nil {
		panic(err) // there is nothing in it that can't be written
	}
	return event
}

// wireRecord is a record as JSON. When it was made, the clock of whoever says so may be wrong.
func wireRecord(one entry[change]) map[string]any {
	random := dice(0, one.sequence, 0)
	made := one.visible.Add(between(random, -time.Hour, time.Hour))
	if !one.record.made.IsZero() {
		made = one.record.made.Truncate(time.Second)
	}
	change := map[string]any{
		"SequenceNumber": one.sequence, "Keys": wireItem(one.record.key), "ApproximateCreationDateTime": float64(made.UnixMilli()) / 1000,
	}
	if one.record.item != nil {
		change["NewImage"] = wireItem(one.record.item)
	}
	return map[string]any{"eventID": one.sequence, "eventName": eventName(one.record), "dynamodb": change}
}

func eventName(c change) string {
	if c.item == nil {
		return "REMOVE"
	}
	return "MODIFY"
}

// wireItem is an item as DynamoDB JSON.
func wireItem(item attrs) map[string]any {
	entries := map[string]any{}
	for name, one := range item {
		entries[name] = wireForm(one)
	}
	return entries
}

// wireForm is a value as DynamoDB JSON.
func wireForm(v types.AttributeValue) map[string]any {
	switch v := v.(type) {
	case *types.AttributeValueMemberS:
		return map[string]any{"S": v.Value}
	case *types.AttributeValueMemberN:
		return map[string]any{"N": v.Value}
	case *types.AttributeValueMemberB:
		return map[string]any{"B": base64.StdEncoding.EncodeToString(v.Value)}
	case *types.AttributeValueMemberBOOL:
		return map[string]any{"BOOL": v.Value}
	case *types.AttributeValueMemberNULL:
		return map[string]any{"NULL": true}
	case *types.AttributeValueMemberSS:
		return map[string]any{"SS": v.Value}
	case *types.AttributeValueMemberNS:
		return map[string]any{"NS": v.Value}
	case *types.AttributeValueMemberBS:
		return map[string]any{"BS": v.Value}
	case *types.AttributeValueMemberL:
		list := make([]any, len(v.Value))
		for i, one := range v.Value {
			list[i] = wireForm(one)
		}
		return map[string]any{"L": list}
	case *types.AttributeValueMemberM:
		return map[string]any{"M": wireItem(v.Value)}
	}
	panic("an attribute of no known type")
}
