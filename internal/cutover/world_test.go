package cutover

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"

	"reseal/internal/fence"
)

// world is two tables, an application that writes to one of them, and a replicator, in virtual time.
type world struct {
	random  *rand.Rand // guarded by mu, like all that follows
	mu      sync.Mutex
	tables  [2]map[int]int // source and target: the version of each key; 0: none
	records []record       // the source's stream
	applied int            // of them, by the replicator
	acked   map[int]int    // by key, the last version that the application was told to be written
	over    map[int]bool   // the writers that write to the target
	counter int
	written int // to the target, by the application

	policies [2]*policies
	quiet    time.Duration

	denied  map[int]time.Time // since when a writer is denied
	longest time.Duration     // that one was
	verdict func() bool       // there is one

	losses    []string      // acknowledged writes that the target didn't have when its writer went over, or that were written over later
	broken    bool          // the replicator loses a record
	halted    bool          // it stands still
	pace      time.Duration // of a writer: the longest time between two writes
	lateMost  time.Duration
	flights   sync.WaitGroup
	ended     chan struct{}
	delivered int // again, after they were applied
}

type record struct {
	key, version int
	made         time.Time
	visible      time.Time
	expired      bool
}

const (
	sourceTable = 0
	targetTable = 1
	appARN      = "arn:aws:iam::123456789012:role/application"
	ownARN      = "arn:aws:iam::123456789012:role/operator"
	lambdaARN   = "arn:aws:iam::123456789012:role/replicator"
)

func newWorld(seed int64, quiet time.Duration) *world {
	w := &world{
		random: rand.New(rand.NewSource(seed)), tables: [2]map[int]int{{}, {}}, acked: map[int]int{}, over: map[int]bool{}, quiet: quiet,
		denied: map[int]time.Time{}, ended: make(chan struct{}), verdict: func() bool { return false },
	}
	for i := range w.policies {
		w.policies[i] = &policies{world: w}
	}
	return w
}

// between draws a duration.
func (w *world) between(least, most time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.draw(least, most)
}

func (w *world) draw(least, most time.Duration) time.Duration {
	return least + time.Duration(w.random.Int63n(int64(most-least)+1))
}

func (w *world) chance(percent int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.random.Intn(100) < percent
}

// sleep waits, and tells whether the world goes on.
func (w *world) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.ended:
		return false
	}
}

// keysOfWriter is so many that most of them have not changed for long when a cutover begins.
const keysOfWriter = 60

// writer writes to keys of its own, as the application does.
func (w *world) writer(number int) {
	for w.sleep(w.between(20*time.Millisecond, w.pace)) {
		w.mu.Lock()
		key, table := number*keysOfWriter+w.random.Intn(keysOfWriter), sourceTable
		if w.over[number] {
			table = targetTable
		}
		if w.policies[table].denies(time.Now(), "dynamodb:PutItem", appARN) {
			if _, is := w.denied[number]; !is {
				w.denied[number] = time.Now()
			}
			w.noteDenied(number)
			w.mu.Unlock()
			continue
		}
		delete(w.denied, number)
		w.counter++
		version := w.counter
		pause := w.draw(0, 20*time.Millisecond)
		if w.random.Intn(20) == 0 { // it is let through, and carried out a good while later
			pause = w.draw(0, w.quiet*9/10)
		}
		w.mu.Unlock()
		if !w.sleep(pause) {
			return
		}
		w.mu.Lock()
		if table == sourceTable {
			w.putSource(key, version, false)
		} else {
			w.tables[targetTable][key] = version
			w.written++
		}
		w.acked[key] = version
		w.mu.Unlock()
	}
}

// goOver has a writer go over. The world is locked.
func (w *world) goOver(number int) {
	if w.over[number] {
		return
	}
	for key := number * keysOfWriter; key < (number+1)*keysOfWriter; key++ {
		if has := w.tables[targetTable][key]; has != w.acked[key] {
			w.losses = append(w.losses, fmt.Sprintf("a writer finds version %d of key %d on the target, and was told that %d is written", has, key, w.acked[key]))
		}
	}
	w.over[number] = true
	delete(w.denied, number)
}

func (w *world) noteDenied(number int) {
	if since, is := w.denied[number]; is && !w.verdict() {
		w.longest = max(w.longest, time.Since(since))
	}
}

func (w *world) putSource(key, version int, expired bool) {
	if version == 0 {
		delete(w.tables[sourceTable], key)
	} else {
		w.tables[sourceTable][key] = version
	}
	now := time.Now()
	visible := now.Add(w.draw(0, w.quiet*8/10))
	if n := len(w.records); n > 0 && visible.Before(w.records[n-1].visible) {
		visible = w.records[n-1].visible // a shard is in order
	}
	w.records = append(w.records, record{key, version, now, visible, expired})
}

// replicator applies the stream's records in order. Some are applied again, and some late: an attempt that had no answer.
func (w *world) replicator() {
	for w.sleep(w.between(50*time.Millisecond, 600*time.Millisecond)) {
		w.mu.Lock()
		if w.halted || w.applied == len(w.records) || w.records[w.applied].visible.After(time.Now()) {
			w.again()
			w.mu.Unlock()
			continue
		}
		for range 20 {
			if w.applied == len(w.records) || w.records[w.applied].visible.After(time.Now()) {
				break
			}
			r := w.records[w.applied]
			if w.broken && r.version%37 == 0 {
				w.applied++
				continue
			}
			if w.policies[targetTable].denies(time.Now(), "dynamodb:BatchWriteItem", lambdaARN) {
				break
			}
			if w.lateMost > 0 && w.random.Intn(8) == 0 {
				w.late(r, w.draw(0, w.lateMost))
			}
			w.apply(r)
			w.applied++
		}
		w.mu.Unlock()
	}
}

func (w *world) apply(r record) {
	if acked := w.acked[r.key]; w.over[r.key/keysOfWriter] && r.version != acked {
		w.losses = append(w.losses, fmt.Sprintf("version %d was written over version %d of key %d, which was on the target", r.version, acked, r.key))
	}
	if r.version == 0 {
		delete(w.tables[targetTable], r.key)
	} else {
		w.tables[targetTable][r.key] = r.version
	}
}

// late has a request land after a while, unless a policy denies it by then.
func (w *world) late(r record, after time.Duration) {
	w.flights.Go(func() {
		if !w.sleep(after) {
			return
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.policies[targetTable].denies(time.Now(), "dynamodb:BatchWriteItem", lambdaARN) {
			w.apply(r)
		}
	})
}

// again delivers the last records once more, as a stream's consumer may at any time: in their order, to the end.
func (w *world) again() {
	if w.applied == 0 || w.random.Intn(4) > 0 || w.halted {
		return
	}
	w.delivered++
	if w.policies[targetTable].denies(time.Now(), "dynamodb:BatchWriteItem", lambdaARN) {
		return
	}
	for _, r := range w.records[max(0, w.applied-1-w.random.Intn(5)):w.applied] {
		w.apply(r)
	}
}

// expire has the source's time to live delete an item once its writer has gone over, who may have given it another time.
func (w *world) expire(writers int) {
	for w.sleep(w.between(5*time.Second, 20*time.Second)) {
		w.mu.Lock()
		number := w.random.Intn(writers)
		if w.over[number] {
			if key := number * keysOfWriter; w.tables[sourceTable][key] != 0 {
				w.putSource(key, 0, true)
			}
		}
		w.mu.Unlock()
	}
}

// policies is the resource policy of a table: what was put takes effect some time later, and not everywhere at once.
type policies struct {
	world    *world
	text     string
	revision int
	history  []edition
	delay    time.Duration // until it takes effect, the first time; what is put later may take up to three times as long as it takes to prove that
	changed  time.Time     // it can't be changed again for a while
	changes  int           // since there was no policy
	varies   bool          // they do
	flap     time.Duration // for which some requests still meet the old one
	dead     func() bool   // the process that calls is
	faults   int           // percent
}

type edition struct {
	from time.Time
	text string
}

// denies tells of a request now. The world is locked.
func (p *policies) denies(now time.Time, action, principal string) bool {
	text := ""
	for i, e := range p.history {
		switch {
		case now.Before(e.from):
		case now.Before(e.from.Add(p.flap)) && p.world.random.Intn(2) == 0 && i < len(p.history):
		default:
			text = e.text
		}
	}
	if text == "" {
		return false
	}
	var doc struct {
		Statement []struct {
			Sid       string
			Action    []string
			Condition map[string]map[string]any
		}
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		panic(err)
	}
	for _, s := range doc.Statement {
		if matches(s.Action, s.Condition, now, action, principal) {
			return true
		}
	}
	return false
}

func matches(actions []string, conditions map[string]map[string]any, now time.Time, action, principal string) bool {
	if !strings.Contains(strings.Join(actions, " ")+" ", action+" ") {
		return false
	}
	for operator, one := range conditions {
		switch operator {
		case "DateLessThan":
			until, err := time.Parse(time.RFC3339, one["aws:CurrentTime"].(string))
			if err != nil || !now.Before(until) {
				return false
			}
		case "ArnLike":
			if !strings.Contains(fmt.Sprint(one["aws:PrincipalArn"], " "), principal) {
				return false
			}
		default:
			panic("condition " + operator)
		}
	}
	return true
}

// unavailable is an error after which it isn't known what was done.
var errFault = &smithy.GenericAPIError{Code: "InternalServerError", Message: "fault", Fault: smithy.FaultServer}

// errDead ends what a dead process still tries: nothing else is given up at once.
var errDead = fmt.Errorf("the process is dead: %w", fence.ErrUnknown)

// call lets a request through, or not; and afterwards the answer.
func (p *policies) call(ctx context.Context) (done func() error, err error) {
	if p.dead() {
		return nil, errDead
	}
	if !p.world.sleep(p.world.between(10*time.Millisecond, 80*time.Millisecond)) {
		return nil, errFault
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.world.chance(p.faults) {
		return nil, errFault
	}
	return func() error {
		if p.world.chance(p.faults) {
			return errFault
		}
		return nil
	}, nil
}

func (p *policies) GetResourcePolicy(ctx context.Context, _ *dynamodb.GetResourcePolicyInput, _ ...func(*dynamodb.Options)) (*dynamodb.GetResourcePolicyOutput, error) {
	done, err := p.call(ctx)
	if err != nil {
		return nil, err
	}
	p.world.mu.Lock()
	text, revision := p.text, p.revision
	p.world.mu.Unlock()
	if err := done(); err != nil {
		return nil, err
	}
	if text == "" {
		return nil, &types.PolicyNotFoundException{}
	}
	return &dynamodb.GetResourcePolicyOutput{Policy: &text, RevisionId: aws.String(fmt.Sprint(revision))}, nil
}

func (p *policies) PutResourcePolicy(ctx context.Context, in *dynamodb.PutResourcePolicyInput, _ ...func(*dynamodb.Options)) (*dynamodb.PutResourcePolicyOutput, error) {
	err := p.set(ctx, *in.Policy, in.ExpectedRevisionId)
	return &dynamodb.PutResourcePolicyOutput{}, err
}

func (p *policies) DeleteResourcePolicy(ctx context.Context, in *dynamodb.DeleteResourcePolicyInput, _ ...func(*dynamodb.Options)) (*dynamodb.DeleteResourcePolicyOutput, error) {
	err := p.set(ctx, "", in.ExpectedRevisionId)
	return &dynamodb.DeleteResourcePolicyOutput{}, err
}

func (p *policies) set(ctx context.Context, text string, expected *string) error {
	done, err := p.call(ctx)
	if err != nil {
		return err
	}
	p.world.mu.Lock()
	now := fmt.Sprint(p.revision)
	if p.text == "" {
		now = "NO_POLICY"
	}
	if !p.changed.IsZero() && time.Since(p.changed) < 15*time.Second {
		p.world.mu.Unlock()
		return &types.LimitExceededException{}
	}
	if expected == nil || *expected != now {
		p.world.mu.Unlock()
		return &types.PolicyNotFoundException{}
	}
	p.text, p.revision, p.changed = text, p.revision+1, time.Now()
	delay := p.delay
	if p.changes++; p.varies && p.changes > 1 {
		delay = p.world.draw(0, (p.delay+p.world.quiet)*29/10)
	}
	if text == "" {
		p.changes = 0
	}
	from := time.Now().Add(delay)
	if n := len(p.history); n > 0 && from.Before(p.history[n-1].from) {
		from = p.history[n-1].from // they take effect in their order
	}
	p.history = append(p.history, edition{from, text})
	p.world.mu.Unlock()
	return done()
}

// UpdateItem is a probe's: it changes nothing.
func (p *policies) UpdateItem(ctx context.Context, _ *dynamodb.UpdateItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.UpdateItemOutput, error) {
	done, err := p.call(ctx)
	if err != nil {
		return nil, err
	}
	p.world.mu.Lock()
	denied := p.denies(time.Now(), "dynamodb:UpdateItem", ownARN)
	p.world.mu.Unlock()
	if err := done(); err != nil {
		return nil, err
	}
	if denied {
		return nil, &smithy.GenericAPIError{Code: "AccessDeniedException", Message: "with an explicit deny in a resource-based policy"}
	}
	return nil, &types.ConditionalCheckFailedException{}
}
