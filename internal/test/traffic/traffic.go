// Package traffic makes the writes of a live application: the demo runs it beside a migration, and so do the tests.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"golang.org/x/time/rate"
)

// Options says what a Writer writes, and how fast. Keys and Rate must be given.
type Options struct {
	// Keys are the keys, key attributes only, of the items to be changed, which must exist.
	Keys []map[string]types.AttributeValue
	// Rate is the number of writes per second.
	Rate float64
	// Workers is how many writes may be under way at a time; zero means 8.
	Workers int
	// Seed makes the choice of writes repeatable: fully so with one worker, else but for their order.
	Seed uint64
	// Hot is how many of the keys, the first ones, are written again and again, and never deleted; zero means 3,
	// or fewer where there are few keys.
	Hot int
	// Attributes are the names of those that are set to random text and removed, none of which may be part of a
	// key; nil means w0, w1, w2 and w3.
	Attributes []string
}

// Counts is how many writes of each kind have succeeded.
type Counts struct {
	Updates   int // UpdateItem that sets an attribute
	Removals  int // UpdateItem that removes an attribute, which the item may not have
	Deletes   int // DeleteItem of an item that exists
	Reinserts int // PutItem of an item that was deleted before, with other attributes
	Hot       int // UpdateItem that adds one to the attribute "hits" of one of the hot items
}

// Total returns the number of all writes.
func (c Counts) Total() int { return c.Updates + c.Removals + c.Deletes + c.Reinserts + c.Hot }

// kind is what a write does.
type kind int

const (
	update kind = iota
	remove
	del
	reinsert
	hot
)

// write is one write, chosen but not done yet.
type write struct {
	kind      kind
	key       int // an index into the keys
	attribute string
	text      string // for update and reinsert
}

// Writer keeps changing the items of a table, as a live application does. It can be paused, and go over to another table; and it remembers
// what was acknowledged to it.
//
// It knows which of its items exist. A key is with one worker at a time, hot ones excepted, so that no update
// overtakes a delete and brings the item back behind the Writer's back.
type Writer struct {
	client  *dynamodb.Client
	opts    Options
	limiter *rate.Limiter
	ctx     context.Context    // of the requests: the caller's
	next    context.Context    // of the wait for the next write: ended by Stop and by a failure
	cancel  context.CancelFunc // ends next
	workers sync.WaitGroup

	gate  sync.RWMutex // held by each write, and by who has it paused; guards what follows
	table string

	mu      sync.Mutex
	known   map[int]*known // by key: what it holds by what was acknowledged
	random  *rand.Rand
	live    []int // keys of items that exist and that no worker has, hot ones excepted
	deleted []int // keys of items that don't exist and that no worker has
	counts  Counts
	err     error // of the first write that failed
}

// Start begins to write. Writing ends when Stop is called, which must happen, when ctx ends, or when a
// write fails. Options that can't work are reported by Stop.
func Start(ctx context.Context, c *dynamodb.Client, table string, opts Options) *Writer {
	if opts.Workers <= 0 {
		opts.Workers = 8
	}
	if opts.Hot <= 0 {
		opts.Hot = 3
	}
	opts.Hot = min(opts.Hot, len(opts.Keys))
	if opts.Attributes == nil {
		opts.Attributes = []string{"w0", "w1", "w2", "w3"}
	}
	w := &Writer{
		client: c,
		table:  table,
		opts:   opts,
		known:  map[int]*known{},
		// What was held up for 50 ms is caught up with, so that the rate is kept on a busy machine.
		limiter: rate.NewLimiter(rate.Limit(opts.Rate), max(1, int(opts.Rate/20))),
		ctx:     ctx,
		random:  rand.New(rand.NewPCG(opts.Seed, 0)),
	}
	w.next, w.cancel = context.WithCancel(ctx)
	for i := opts.Hot; i < len(opts.Keys); i++ {
		w.live = append(w.live, i)
	}
	if len(opts.Keys) == 0 || opts.Rate <= 0 {
		w.err = errors.New("start writer: no keys or no rate")
		w.cancel()
		return w
	}
	for range opts.Workers {
		w.workers.Go(w.work)
	}
	return w
}

// Counts returns what has been written so far.
func (w *Writer) Counts() Counts {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts
}

// Done is closed when the Writer writes no more: it was stopped, its context ended, or a write failed.
func (w *Writer) Done() <-chan struct{} { return w.next.Done() }

// Stop lets the writes that are under way finish, and returns what has been written and the error of the first
// write that failed. A write that was cut off because the context of Start ended is neither. It may be
// called more than once.
func (w *Writer) Stop() (Counts, error) {
	w.cancel()
	w.workers.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts, w.err
}

// work writes until there is a reason to stop.
func (w *Writer) work() {
	for w.limiter.Wait(w.next) == nil {
		w.gate.RLock()
		chosen := w.choose()
		err := w.do(chosen)
		w.settle(chosen, err)
		w.gate.RUnlock()
	}
}

// choose picks a write, and takes its key, unless it is a hot one, away from the other workers.
func (w *Writer) choose() write {
	w.mu.Lock()
	defer w.mu.Unlock()
	chosen := write{
		attribute: w.opts.Attributes[w.random.IntN(len(w.opts.Attributes))],
		text:      strconv.FormatUint(w.random.Uint64(), 36) + strings.Repeat("x", w.random.IntN(100)),
	}
	switch n := w.random.IntN(100); {
	case n < 40:
		chosen.kind = update
	case n < 55:
		chosen.kind = remove
	case n < 65:
		chosen.kind = del
	case n < 75:
		chosen.kind = reinsert
	default:
		chosen.kind = hot
	}
	// Deletes and re-inserts are as likely, which alone would let the number of deleted items wander anywhere.
	if chosen.kind == del && len(w.deleted) > len(w.opts.Keys)/4 {
		chosen.kind = reinsert
	}
	if chosen.kind == reinsert && len(w.deleted) == 0 {
		chosen.kind = update
	}
	if chosen.kind != reinsert && len(w.live) == 0 {
		chosen.kind = hot
	}
	switch chosen.kind {
	case hot:
		chosen.key = w.random.IntN(w.opts.Hot)
	case reinsert:
		chosen.key = take(w.random, &w.deleted)
	default:
		chosen.key = take(w.random, &w.live)
	}
	return chosen
}

// take removes a random element from a list.
func take(random *rand.Rand, list *[]int) int {
	l := *list
	i, last := random.IntN(len(l)), len(l)-1
	taken := l[i]
	l[i] = l[last]
	*list = l[:last]
	return taken
}

// do sends the request.
func (w *Writer) do(chosen write) error {
	key := w.opts.Keys[chosen.key]
	if chosen.kind == del {
		_, err := w.client.DeleteItem(w.ctx, &dynamodb.DeleteItemInput{TableName: &w.table, Key: key})
		return err
	}
	if chosen.kind == reinsert {
		item := map[string]types.AttributeValue{chosen.attribute: &types.AttributeValueMemberS{Value: chosen.text}}
		for name, value := range key {
			item[name] = value
		}
		_, err := w.client.PutItem(w.ctx, &dynamodb.PutItemInput{TableName: &w.table, Item: item})
		return err
	}
	in := &dynamodb.UpdateItemInput{
		TableName:                &w.table,
		Key:                      key,
		ExpressionAttributeNames: map[string]string{"#a": chosen.attribute},
	}
	switch chosen.kind {
	case update:
		in.UpdateExpression = aws.String("SET #a = :v")
		in.ExpressionAttributeValues = map[string]types.AttributeValue{":v": &types.AttributeValueMemberS{Value: chosen.text}}
	case remove:
		in.UpdateExpression = aws.String("REMOVE #a")
	case hot:
		in.UpdateExpression = aws.String("ADD #a :v")
		in.ExpressionAttributeNames["#a"] = "hits"
		in.ExpressionAttributeValues = map[string]types.AttributeValue{":v": &types.AttributeValueMemberN{Value: "1"}}
	}
	_, err := w.client.UpdateItem(w.ctx, in)
	return err
}

// settle books a write that is done and gives its key back, or stops the writer if it failed.
func (w *Writer) settle(chosen write, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		if w.err == nil && w.ctx.Err() == nil {
			w.err = fmt.Errorf("write to table %s: %w", w.table, err)
		}
		w.cancel()
		return
	}
	w.remember(chosen)
	switch chosen.kind {
	case update:
		w.counts.Updates++
		w.live = append(w.live, chosen.key)
	case remove:
		w.counts.Removals++
		w.live = append(w.live, chosen.key)
	case del:
		w.counts.Deletes++
		w.deleted = append(w.deleted, chosen.key)
	case reinsert:
		w.counts.Reinserts++
		w.live = append(w.live, chosen.key)
	case hot:
		w.counts.Hot++
	}
}
