package verify

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"reseal/internal/item"
)

// origin says which table an item came from.
type origin uint8

const (
	fromSource origin = iota
	fromTarget
)

func (o origin) String() string {
	if o == fromSource {
		return "source"
	}
	return "target"
}

// join matches the items of both tables by key. A pair with equal digests leaves it at once; what stays is either waiting for
// its counterpart or a candidate for a difference. Its order of arrival and the segments don't matter. It is safe for
// concurrent use.
type join struct {
	shards    [joinShards]joinShard
	seed      maphash.Seed
	maxMemory int64
	memory    atomic.Int64
	count     atomic.Int64
}

// joinShards keeps the scanners of many segments from waiting for one lock.
const joinShards = 64

type joinShard struct {
	mu      sync.Mutex
	waiting map[string]pending // by Key.ID
	matched int64
	sum     item.Sum // of the matched items
}

// pending is an item without a matching counterpart. Its key is not in it: there may be millions, and the map has Key.ID.
type pending struct {
	digest item.Digest // of the side that came first
	from   origin
	both   bool // both sides came, with different digests, or one came twice: only a consistent read tells
}

// pendingBytes is the memory of an item that did not match, beside the bytes of its key: the most that was measured at keys of
// 16 bytes (BenchmarkWaitingMemory), rounded up. It is most as a candidate that differs (264 bytes); a slot of the join takes
// up to 142 of them where the map has just grown, and the key, which is made when the join is drained, 80.
const pendingBytes = 288

func newJoin(maxMemory int64) *join {
	j := &join{seed: maphash.MakeSeed(), maxMemory: maxMemory}
	for i := range j.shards {
		j.shards[i].waiting = map[string]pending{}
	}
	return j
}

// add takes in one scanned item. It fails when the items that wait need more than the memory given: a verdict on a part of
// them would be none.
func (j *join) add(from origin, key item.Key, digest item.Digest) error {
	id := key.ID()
	size := int64(len(id)) + pendingBytes
	shard := &j.shards[maphash.String(j.seed, id)%joinShards]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	other, seen := shard.waiting[id]
	switch {
	case !seen:
		shard.waiting[id] = pending{digest: digest, from: from}
		count := j.count.Add(1)
		if j.memory.Add(size) > j.maxMemory {
			return fmt.Errorf("compare: %d items wait for their counterpart and need more than the max memory of %d bytes: raise --max-memory", count, j.maxMemory)
		}
	case !other.both && other.from != from && other.digest == digest:
		delete(shard.waiting, id)
		shard.matched++
		shard.sum.Add(digest)
		j.count.Add(-1)
		j.memory.Add(-size)
	default:
		other.both = true
		shard.waiting[id] = other
	}
	return nil
}

// waiting is the number of items that have not been matched yet.
func (j *join) waiting() int64 { return j.count.Load() }

// forget takes one of the drained items out of that number.
func (j *join) forget() { j.count.Add(-1) }

// matched returns the number of matched pairs and the sum of their digests.
func (j *join) matched() (int64, item.Sum) {
	var count int64
	var sum item.Sum
	for i := range j.shards {
		shard := &j.shards[i]
		shard.mu.Lock()
		count += shard.matched
		sum.AddSum(shard.sum)
		shard.mu.Unlock()
	}
	return count, sum
}

// drain returns the keys of all items that were not matched and gives back the memory that they took in the join. Nothing can
// be added any more.
func (j *join) drain(schema item.Schema) ([]item.Key, error) {
	keys := make([]item.Key, 0, j.count.Load())
	for i := range j.shards {
		shard := &j.shards[i]
		shard.mu.Lock()
		waiting := shard.waiting
		shard.waiting = nil
		shard.mu.Unlock()
		for id := range waiting {
			key, err := schema.ParseKey(id)
			if err != nil {
				return nil, fmt.Errorf("compare: %w", err)
			}
			keys = append(keys, key)
		}
	}
	return keys, nil
}
