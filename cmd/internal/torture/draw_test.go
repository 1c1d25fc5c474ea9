package torture

import (
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"reseal/internal/item/itemtest"
	"reseal/internal/test/testkit"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
)

// attrs is an item, or a key.
type attrs = map[string]types.AttributeValue

// dice returns the random numbers of one decision of a run. They depend on nothing but the run's seed, what is decided, and for
// the how-manieth time, so that they are the same in every replay, in whatever order the decisions come.
func dice(seed uint64, what string, ordinal int) *rand.Rand {
	h := fnv.New64a()
	_, _ = h.Write([]byte(what)) // never fails (hash.Hash)
	return rand.New(rand.NewPCG(seed^h.Sum64(), uint64(ordinal)))
}

// chance tells whether something of the given probability happens.
func chance(random *rand.Rand, probability float64) bool { return random.Float64() < probability }

// between draws a duration.
func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)+1))
}

// oneOf draws an element.
func oneOf[E any](random *rand.Rand, list ...E) E { return list[random.IntN(len(list))] }

// drawSpec draws what both tables are like: their keys, of each of the three types, one or two.
func drawSpec(random *rand.Rand) testkit.TableSpec {
	spec := testkit.TableSpec{Hash: "pk:" + oneOf(random, "S", "N", "B")}
	if chance(random, 0.6) {
		spec.Range = "sk:" + oneOf(random, "S", "N", "B")
	}
	return spec
}

// drawKey returns the i-th key of a table; those of different numbers differ. With a sort key, several share a partition key.
func drawKey(random *rand.Rand, spec testkit.TableSpec, i int) attrs {
	name, kind, _ := strings.Cut(spec.Hash, ":")
	if spec.Range == "" {
		return attrs{name: drawKeyValue(random, kind, i)}
	}
	second, secondKind, _ := strings.Cut(spec.Range, ":")
	return attrs{name: drawKeyValue(random, kind, i/7), second: drawKeyValue(random, secondKind, i)}
}

// drawKeyValue spells a number in one of several ways, none of which changes what it is.
func drawKeyValue(random *rand.Rand, kind string, i int) types.AttributeValue {
	switch kind {
	case "N":
		return &types.AttributeValueMemberN{Value: oneOf(random, strconv.Itoa(i-50), fmt.Sprintf("%d.0", i-50), fmt.Sprintf("%dE0", i-50))}
	case "B":
		return &types.AttributeValueMemberB{Value: []byte{0, byte(i), byte(i >> 8), 0xff}}
	}
	return &types.AttributeValueMemberS{Value: fmt.Sprintf("key \"%d\" é", i)}
}

// drawBodies draws what items hold beside their keys, of all types that there are.
func drawBodies(random *rand.Rand, n int) []attrs {
	bodies := make([]attrs, n)
	for i := range bodies {
		bodies[i] = itemtest.Named(itemtest.Attributes.Example(int(random.Int32())))
	}
	return bodies
}

// change is one write of the application.
type change struct {
	at   time.Duration // after the stream was enabled
	key  attrs
	item attrs // what the table holds then; nil: the item is deleted

	made time.Time // as its record says, by the service's clock; zero: whatever it says
}

// application draws the writes of a live application and keeps what the table holds after them.
type application struct {
	random *rand.Rand
	keys   []attrs // of items that there are at the start, and of more
	bodies []attrs
	table  []attrs // by number of the key; nil: no item
	hot    int     // so many of the first keys are written again and again
}

// next draws a write: a put of few possible items, so that one comes back now and then; an attribute set, counted or removed; or
// a delete. It returns false if nothing changes, of which a stream tells nothing.
func (a *application) next() (c change, changed bool) {
	i := a.random.IntN(len(a.keys))
	if chance(a.random, 0.3) {
		i = a.random.IntN(a.hot)
	}
	was := a.table[i]
	switch n := a.random.IntN(10); {
	case n < 3 && was != nil:
		a.table[i] = nil
	case n < 5 || was == nil:
		a.table[i] = a.fresh(i)
	case n < 8:
		now := maps.Clone(was)
		now[oneOf(a.random, "w0", "w1")] = number(a.random.IntN(4))
		a.table[i] = now
	default:
		now := maps.Clone(was)
		delete(now, oneOf(a.random, "w0", "w1"))
		a.table[i] = now
	}
	return change{key: a.keys[i], item: a.table[i]}, text(was) != text(a.table[i])
}

// fresh is a new item for the i-th key.
func (a *application) fresh(i int) attrs {
	item := maps.Clone(a.bodies[(i+a.random.IntN(2))%len(a.bodies)])
	maps.Copy(item, a.keys[i])
	item["w0"] = number(a.random.IntN(4))
	return item
}

func number(n int) types.AttributeValue { return &types.AttributeValueMemberN{Value: strconv.Itoa(n)} }

// text is an item as text, the same for equal ones; "" for none.
func text(item attrs) string {
	if item == nil {
		return ""
	}
	rendered, err := testkit.Render(item)
	if err != nil {
		panic(err) // the generators make no such value
	}
	return rendered
}

// keyOf takes the key out of an item.
func keyOf(spec testkit.TableSpec, item attrs) attrs {
	key := attrs{}
	for _, attribute := range []string{spec.Hash, spec.Range} {
		if name, _, is := strings.Cut(attribute, ":"); is {
			key[name] = item[name]
		}
	}
	return key
}

// placeOf is where a key lies in a hash space of 32 bits, of which segments and shards are parts. Tables of different salt have
// their items in different orders.
func placeOf(salt uint64, key string) uint32 {
	h := fnv.New64a()
	_, _ = fmt.Fprint(h, salt, key) // never fails (hash.Hash)
	sum := h.Sum64() * 0x9e3779b97f4a7c15
	return uint32(sum >> 32)
}

// loss is something that is changed in the target behind everyone's back.
type loss struct {
	key  attrs
	item attrs // nil: the item is deleted
}

// drawLosses draws changes of a table that holds items, none of which leaves it as it was, of distinct keys: an item goes, one is
// altered in a single place, and a deleted one comes back.
func drawLosses(random *rand.Rand, spec testkit.TableSpec, items, absent []attrs) []loss {
	items = slices.Clone(items)
	random.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
	var losses []loss
	for i, item := range items[:min(len(items), random.IntN(6))] {
		l := loss{key: keyOf(spec, item)}
		if i%2 == 0 {
			l.item = maps.Clone(item)
			l.item[oneOf(random, "w0", "w1", "lost")] = number(7 + random.IntN(3))
		}
		losses = append(losses, l)
	}
	if len(absent) > 0 && (chance(random, 0.7) || len(losses) == 0) {
		l := loss{key: absent[random.IntN(len(absent))]}
		l.item = maps.Clone(l.key)
		l.item["v"] = number(random.IntN(9))
		losses = append(losses, l)
	}
	return losses
}
