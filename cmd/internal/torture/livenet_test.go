package torture

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/dynamodb/attributevalue"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
)

// hook is the network between a process and one of the tables.
func (p *liveProcess) hook(side string) testkit.Hook {
	return func(x *testkit.Exchange) *testkit.Response {
		if x.Op == "DescribeTable" || x.Op == "DescribeTimeToLive" || x.Op == "DescribeContinuousBackups" || x.Op == "ListTagsOfResource" {
			return nil
		}
		p.mu.Lock()
		if p.dead {
			p.mu.Unlock()
			return &testkit.Response{Cut: true} // a request of the dead one that is still in a buffer
		}
		p.underWay.Add(1)
		p.r.requests.Add(1)
		p.mu.Unlock()
		defer p.underWay.Done()
		defer p.r.requests.Done()
		sent := time.Now()
		what := p.role + " " + x.Op + " " + side
		random := dice(p.r.plan.seed, what, p.r.ordinal(what))
		answer := p.pass(random, x, sent)
		if x.Op == "BatchWriteItem" && !answer.Cut && (answer.Status == 0 || answer.Status == http.StatusOK) {
			p.wrote()
			if p.isDead() {
				return &testkit.Response{Cut: true}
			}
		}
		return answer
	}
}

// pass carries out a request, or doesn't, and returns the answer.
func (p *liveProcess) pass(random *rand.Rand, x *testkit.Exchange, sent time.Time) *testkit.Response {
	name := p.fault(random, x.Op)
	if name != "" {
		p.r.count(name)
	}
	switch name {
	case "throttle":
		return testkit.Throttle(x.Op)
	case "500 before":
		return testkit.Fail(http.StatusInternalServerError, "InternalServerError", "try again")
	case "cut before":
		return &testkit.Response{Cut: true}
	case "denied":
		return testkit.Fail(http.StatusBadRequest, "AccessDeniedException", "no")
	case "500 after":
		p.forward(x, sent)
		return testkit.Fail(http.StatusInternalServerError, "InternalServerError", "try again")
	case "cut after":
		p.forward(x, sent)
		return &testkit.Response{Cut: true}
	case "cut, carried out late":
		p.later(random, x)
		return &testkit.Response{Cut: true}
	case "no answer":
		if p.role == replicator {
			p.forward(x, sent)
		} else {
			p.later(random, x)
		}
		<-x.Ctx.Done()
		return &testkit.Response{Cut: true}
	case "slow":
		most := 500 * time.Millisecond
		if p.r.plan.real {
			most = 5 * time.Second
		}
		p.r.pause(between(random, 0, most))
	case "unprocessed items":
		return p.half(random, x, sent)
	}
	return p.forward(x, sent)
}

// fault draws what becomes of a request; "": nothing in particular.
func (p *liveProcess) fault(random *rand.Rand, op string) string {
	pl := p.r.plan
	isWrite := op == "BatchWriteItem"
	if isWrite && p.role == seeder && pl.lossy && chance(random, 0.25) {
		return oneOf(random, "cut, carried out late", "cut after", "no answer")
	}
	if !chance(random, pl.faults) {
		return ""
	}
	name := oneOf(random, "throttle", "500 before", "500 after", "cut before", "cut after", "slow", "slow", "unprocessed items", "denied", "cut, carried out late", "no answer")
	switch {
	case !isWrite && (name == "unprocessed items" || name == "cut, carried out late" || name == "no answer"),
		name == "cut, carried out late" && p.role == replicator, // the hole that the README tells of
		name == "denied" && p.r.ordinal("denied to "+p.role) >= pl.mostTroubles:
		return "slow"
	}
	return name
}

// forward has the engine carry out the request and returns its answer, where reads that may be stale are.
func (p *liveProcess) forward(x *testkit.Exchange, sent time.Time) *testkit.Response {
	if answer := p.r.serveStream(x); answer != nil {
		return answer
	}
	status, body, err := x.Forward()
	if err != nil {
		return &testkit.Response{Cut: true} // the run is at its end
	}
	if x.Op == "BatchWriteItem" {
		p.judge(x, sent)
	}
	if x.Op == "Scan" && status == http.StatusOK && p.role == seeder {
		body = p.r.past.stale(body, dice(p.r.plan.seed, "stale", p.r.ordinal("stale")), p.r.count)
	}
	return &testkit.Response{Status: status, Body: body}
}

// judge spoils the run if the machine was too slow: a write was carried out when its sender had given it up, where the run takes it
// that it isn't, or after the time that a request may live.
func (p *liveProcess) judge(x *testkit.Exchange, sent time.Time) {
	lives := quickLifetime
	if p.r.plan.real {
		lives = lifetime
	}
	switch {
	case time.Since(sent) > lives:
		p.r.spoil("a request took longer than it may live")
	case p.role == replicator && x.Ctx.Err() != nil && !p.isDead():
		p.r.spoil("the replicator gave up a request that was carried out")
	}
}

// later has the engine carry out the request when its sender has given it up, in the time that it may live.
func (p *liveProcess) later(random *rand.Rand, x *testkit.Exchange) {
	lives := quickLifetime
	if p.r.plan.real {
		lives = lifetime
	}
	sent, after := time.Now(), between(random, 0, lives-time.Second)
	p.r.requests.Add(1)
	time.AfterFunc(after, func() {
		defer p.r.requests.Done()
		if time.Since(sent) > lives-500*time.Millisecond {
			return // the machine is slow; then never
		}
		if _, _, err := x.Forward(); err == nil && time.Since(sent) > lives {
			p.r.spoil("a request took longer than it may live")
		}
	})
}

// half carries out a part of a batch and leaves the rest unprocessed.
func (p *liveProcess) half(random *rand.Rand, x *testkit.Exchange, sent time.Time) *testkit.Response {
	var request struct {
		RequestItems map[string][]json.RawMessage
	}
	if err := json.Unmarshal(x.Body, &request); err != nil {
		p.r.fail("%v", err)
		return nil
	}
	served, left := half(random, request.RequestItems[p.r.target])
	if len(served) > 0 && len(left) > 0 {
		request.RequestItems[p.r.target] = served
		body, err := json.Marshal(request)
		if err != nil {
			p.r.fail("%v", err)
			return nil
		}
		x.Body = body
		if answer := p.forward(x, sent); answer.Cut || answer.Status != http.StatusOK {
			return answer
		}
	} else {
		return p.forward(x, sent)
	}
	body, err := json.Marshal(map[string]any{"UnprocessedItems": map[string]any{p.r.target: left}})
	if err != nil {
		p.r.fail("%v", err)
	}
	return &testkit.Response{Body: body}
}

// past remembers what a table held, for reads that are stale.
type past struct {
	db    *dynamodb.Client
	table string
	spec  testkit.TableSpec

	mu   sync.Mutex
	seen []map[string]json.RawMessage // by the key's text; the last few
}

func newPast(db *dynamodb.Client, table string, spec testkit.TableSpec) *past {
	return &past{db: db, table: table, spec: spec}
}

// follow looks at the table until stop is closed.
func (p *past) follow(ctx context.Context, stop <-chan struct{}) {
	ticker := time.NewTicker(300 * time.Millisecond)
	defer ticker.Stop()
	for {
		if now := p.look(ctx); now != nil {
			p.mu.Lock()
			p.seen = append(p.seen, now)
			p.seen = p.seen[max(0, len(p.seen)-5):]
			p.mu.Unlock()
		}
		select {
		case <-ticker.C:
		case <-stop:
			p.mu.Lock()
			p.seen = nil // from now on nothing is stale
			p.mu.Unlock()
			return
		case <-ctx.Done():
			return
		}
	}
}

func (p *past) look(ctx context.Context) map[string]json.RawMessage {
	out, err := p.db.Scan(ctx, &dynamodb.ScanInput{TableName: &p.table, ConsistentRead: aws.Bool(true)})
	if err != nil {
		return nil // the test is at its end, or there is nothing stale this time
	}
	all := map[string]json.RawMessage{}
	for _, item := range out.Items {
		data, err := attributevalue.MarshalMapJSON(item)
		if err != nil {
			return nil
		}
		all[text(keyOf(p.spec, item))] = data
	}
	return all
}

// stale makes some items of a Scan's answer what they were a while ago, or leaves them out where they were not there.
func (p *past) stale(body []byte, random *rand.Rand, count func(string)) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.seen) == 0 || chance(random, 0.3) {
		return body
	}
	then := p.seen[random.IntN(len(p.seen))]
	var answer map[string]json.RawMessage
	var items []json.RawMessage
	if json.Unmarshal(body, &answer) != nil || json.Unmarshal(answer["Items"], &items) != nil {
		return body
	}
	items = slices.DeleteFunc(items, func(raw json.RawMessage) bool {
		item, err := attributevalue.UnmarshalMapJSON(raw)
		return err != nil || then[text(keyOf(p.spec, item))] == nil
	})
	for i, raw := range items {
		if item, err := attributevalue.UnmarshalMapJSON(raw); err == nil && chance(random, 0.7) {
			items[i] = then[text(keyOf(p.spec, item))]
		}
	}
	list, err := json.Marshal(items)
	if err != nil {
		return body
	}
	n, err := json.Marshal(len(items))
	if err != nil {
		return body
	}
	if answer["Items"], answer["Count"], answer["ScannedCount"] = list, n, n; len(items) == 0 {
		answer["Items"] = []byte("[]")
	}
	changed, err := json.Marshal(answer)
	if err != nil {
		return body
	}
	count("stale read")
	return changed
}
