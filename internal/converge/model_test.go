package converge_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"

	"reseal/internal/batch"
	"reseal/internal/call"
	"reseal/internal/capacity"
	"reseal/internal/converge"
	"reseal/internal/item"
)

// world is a source, its stream, a replicator, a target, and a network that loses answers, all in memory, in which things
// happen at random before and after each request of the seeder. A value is a number; 0 stands for no item.
type world struct {
	*testing.T
	rng    *rand.Rand
	keys   []string
	source map[string]int
	target map[string]int
	stream []record
	next   int              // of the stream, to be applied by the replicator
	held   []func()         // writes whose sender has given up and that have not landed yet
	seen   map[string][]int // every value that a key ever had in the source
	faults bool
	stop   context.CancelFunc // of the seeder
	calls  int                // until it is called; 0: never
}

type record struct {
	key   string
	value int
}

// change is the application's: a put or a delete, with its stream record. Few values, so that some come back.
func (w *world) change() {
	key := w.keys[w.rng.IntN(len(w.keys))]
	value := w.rng.IntN(4)
	if value == w.source[key] {
		return // DynamoDB writes no record either
	}
	w.source[key] = value
	w.seen[key] = append(w.seen[key], value)
	w.stream = append(w.stream, record{key, value})
}

// replicate applies the next records in order; sometimes it starts again further back, as after a crash.
func (w *world) replicate(most int) {
	if w.rng.IntN(8) == 0 {
		w.next -= min(w.next, w.rng.IntN(5))
	}
	for range most {
		if w.next == len(w.stream) {
			return
		}
		r := w.stream[w.next]
		w.target[r.key] = r.value
		w.next++
	}
}

// events lets things happen.
func (w *world) events() {
	for range w.rng.IntN(4) {
		switch w.rng.IntN(5) {
		case 0, 1:
			w.change()
		case 2, 3:
			w.replicate(1 + w.rng.IntN(4))
		case 4:
			if n := len(w.held); n > 0 {
				i := w.rng.IntN(n)
				w.held[i]()
				w.held = append(w.held[:i], w.held[i+1:]...)
			}
		}
	}
}

// landAll has everything land that is still on its way: the time that a request can live has passed.
func (w *world) landAll() {
	for _, land := range w.held {
		land()
	}
	w.held = nil
}

func attributes(key string, value int) map[string]types.AttributeValue {
	return map[string]types.AttributeValue{
		"id":    &types.AttributeValueMemberS{Value: key},
		"value": &types.AttributeValueMemberN{Value: strconv.Itoa(value)},
	}
}

func keyOf(attrs map[string]types.AttributeValue) string {
	return attrs["id"].(*types.AttributeValueMemberS).Value
}

// fault tells whether a request is carried out, now or later, and returns an error of the network or the service.
func (w *world) fault() (now, later bool, err error) {
	if w.calls--; w.calls == 0 {
		w.stop()
	}
	if !w.faults {
		return true, false, nil
	}
	switch w.rng.IntN(11) {
	case 0:
		return true, false, errors.New("cut")
	case 1, 5:
		return false, true, errors.New("cut")
	case 2:
		return false, false, errors.New("cut")
	case 3:
		return false, false, &types.ProvisionedThroughputExceededException{}
	case 4:
		return false, false, &net.OpError{Op: "dial", Err: errors.New("refused")}
	}
	return true, false, nil
}

func (w *world) BatchWriteItem(_ context.Context, in *dynamodb.BatchWriteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
	w.events()
	defer w.events()
	requests := in.RequestItems["target"]
	left := map[string][]types.WriteRequest{}
	if w.faults && w.rng.IntN(6) == 0 {
		n := w.rng.IntN(len(requests))
		left["target"], requests = requests[n:], requests[:n]
	}
	carryOut := func() {
		for _, request := range requests {
			if request.DeleteRequest != nil {
				w.target[keyOf(request.DeleteRequest.Key)] = 0
				continue
			}
			value, err := strconv.Atoi(request.PutRequest.Item["value"].(*types.AttributeValueMemberN).Value)
			if err != nil {
				w.Error(err)
			}
			w.target[keyOf(request.PutRequest.Item)] = value
		}
	}
	now, later, err := w.fault()
	if now {
		carryOut()
	}
	if later {
		w.held = append(w.held, carryOut)
	}
	if err != nil {
		return nil, err
	}
	return &dynamodb.BatchWriteItemOutput{UnprocessedItems: left}, nil
}

// table is one of the two, for reading.
type table struct {
	*world
	name  string
	items map[string]int
}

func (b *table) BatchGetItem(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	b.events()
	defer b.events()
	if _, _, err := b.fault(); err != nil {
		return nil, err
	}
	out := &dynamodb.BatchGetItemOutput{
		Responses:       map[string][]map[string]types.AttributeValue{b.name: {}},
		UnprocessedKeys: map[string]types.KeysAndAttributes{},
	}
	for _, key := range in.RequestItems[b.name].Keys {
		if value := b.items[keyOf(key)]; value != 0 {
			out.Responses[b.name] = append(out.Responses[b.name], attributes(keyOf(key), value))
		}
	}
	return out, nil
}

func newWorld(t *testing.T, seed uint64, faults bool) (*world, *converge.Converger) {
	w := &world{
		T: t, rng: rand.New(rand.NewPCG(seed, 0)), faults: faults,
		source: map[string]int{}, target: map[string]int{}, seen: map[string][]int{},
	}
	for i := range 1 + w.rng.IntN(6) {
		key := fmt.Sprint("k", i)
		w.keys = append(w.keys, key)
		w.source[key] = w.rng.IntN(4) // from before the stream was enabled
		w.seen[key] = []int{w.source[key]}
	}
	for range w.rng.IntN(10) {
		w.change()
		w.replicate(w.rng.IntN(2))
	}
	policy, limiter := call.Policy{}, capacity.NewLimiter(0)
	return w, &converge.Converger{
		Source:  &batch.Reader{API: &table{w, "source", w.source}, Table: "source", Schema: schema, Limiter: limiter, Policy: policy},
		Target:  &batch.Reader{API: &table{w, "target", w.target}, Table: "target", Schema: schema, Limiter: limiter, Policy: policy},
		Writer:  &batch.Writer{API: w, Table: "target", Schema: schema, Limiter: limiter, Policy: policy},
		Recheck: true,
	}
}

// scanned is what an eventually consistent Scan may return of each key: any value that it ever had.
func (w *world) scanned() (ops []batch.Op) {
	for _, key := range w.keys {
		value := w.seen[key][w.rng.IntN(len(w.seen[key]))]
		if w.source[key] != 0 && len(w.seen[key]) == 1 {
			value = w.source[key] // it must not be missing from the Scan if it was there all the time
		}
		if value == 0 {
			continue // not seen by this Scan
		}
		it := item.Of(attributes(key, value))
		k, err := schema.KeyOf(it)
		if err != nil {
			w.Fatal(err)
		}
		ops = append(ops, batch.Op{Key: k, Item: it})
	}
	return ops
}

// differences applies what is left of the stream and counts the keys that differ then.
func (w *world) differences() (n int) {
	for w.next < len(w.stream) {
		w.replicate(len(w.stream))
	}
	for _, key := range w.keys {
		if w.source[key] != w.target[key] {
			n++
		}
	}
	return n
}

// run writes what a Scan may have returned and, if settle is true, settles what is uncertain. The seeder is stopped in its
// n-th request (0: never) and settles as one that is started anew. It returns the differences at the end.
func (w *world) run(c *converge.Converger, settle bool, n int) int {
	ctx, cancel := context.WithCancel(w.Context())
	defer cancel()
	w.stop, w.calls = cancel, n
	uncertain, err := c.Write(ctx, w.scanned())
	if n > 0 && errors.Is(err, context.Canceled) {
		err = nil
	}
	for err == nil && settle && len(uncertain) > 0 {
		w.events()
		w.landAll()
		uncertain, err = c.Settle(w.Context(), uncertain)
	}
	if err != nil {
		w.Fatal(err)
	}
	w.events()
	w.landAll()
	return w.differences()
}

// runs is how many worlds a test tries, each with a number as its seed.
const runs = 1500

// The protocol ends with both tables equal, whatever happens meanwhile.
func TestProtocol(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, rewritten := time.Now(), int64(0)
		for seed := range uint64(runs) {
			w, c := newWorld(t, seed, seed%4 != 0)
			if n := w.run(c, true, 0); n > 0 {
				t.Errorf("seed %d: %d keys differ: source %v, target %v", seed, n, w.source, w.target)
			}
			rewritten += c.Rewritten()
		}
		t.Logf("%d writes were made again; %s of virtual time", rewritten, time.Since(start))
		if rewritten < runs {
			t.Error("hardly anything happened meanwhile")
		}
	})
}

// A seeder that is stopped returns all keys that it hasn't finished.
func TestProtocolStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for seed := range uint64(runs) {
			w, c := newWorld(t, seed, seed%2 != 0)
			if n := w.run(c, true, 1+w.rng.IntN(6)); n > 0 {
				t.Errorf("seed %d: %d keys differ: source %v, target %v", seed, n, w.source, w.target)
			}
		}
	})
}

// Each part of the protocol is needed: the same worlds end with differences without it.
func TestProtocolNeedsItsParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		withoutRecheck, withoutSettle := 0, 0
		for seed := range uint64(runs) {
			w, c := newWorld(t, seed, false)
			c.Recheck = false
			withoutRecheck += w.run(c, true, 0)
			w, c = newWorld(t, seed, true)
			withoutSettle += w.run(c, false, 0)
		}
		t.Logf("differences: %d without the re-check, %d without settling", withoutRecheck, withoutSettle)
		if withoutRecheck == 0 || withoutSettle == 0 {
			t.Error("the worlds test nothing")
		}
	})
}

// grown has items that are larger than those that are written first, and notes how many writes each request has.
type grown struct {
	text   string
	writes []int
}

func (g *grown) BatchGetItem(_ context.Context, in *dynamodb.BatchGetItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchGetItemOutput, error) {
	var items []map[string]types.AttributeValue
	for _, key := range in.RequestItems["source"].Keys {
		items = append(items, map[string]types.AttributeValue{"id": key["id"], "text": &types.AttributeValueMemberS{Value: g.text}})
	}
	return &dynamodb.BatchGetItemOutput{
		Responses:       map[string][]map[string]types.AttributeValue{"source": items},
		UnprocessedKeys: map[string]types.KeysAndAttributes{},
	}, nil
}

func (g *grown) BatchWriteItem(_ context.Context, in *dynamodb.BatchWriteItemInput, _ ...func(*dynamodb.Options)) (*dynamodb.BatchWriteItemOutput, error) {
	g.writes = append(g.writes, len(in.RequestItems["target"]))
	return &dynamodb.BatchWriteItemOutput{UnprocessedItems: map[string][]types.WriteRequest{}}, nil
}

// What was one batch is split when its items have grown too large for one request.
func TestItemsGrow(t *testing.T) {
	g := &grown{text: strings.Repeat("\x01", 399_000)} // 2.4 MB each as JSON
	var ops []batch.Op
	for i := range 10 {
		it := item.Of(attributes(fmt.Sprint("k", i), 1))
		key, err := schema.KeyOf(it)
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, batch.Op{Key: key, Item: it})
	}
	limiter := capacity.NewLimiter(0)
	c := &converge.Converger{
		Source:  &batch.Reader{API: g, Table: "source", Schema: schema, Limiter: limiter},
		Writer:  &batch.Writer{API: g, Table: "target", Schema: schema, Limiter: limiter},
		Recheck: true,
	}
	if _, err := c.Write(t.Context(), ops); err != nil {
		t.Fatal(err)
	}
	if want := []int{10, 6, 4}; !slices.Equal(g.writes, want) {
		t.Errorf("requests with %d writes, want %d", g.writes, want)
	}
}
