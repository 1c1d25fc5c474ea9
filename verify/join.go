package verify

import (
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
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
// its counterpart or a candidate for a difference. Its order of arrival and the segments don't matter. When what waits takes more
// memory than there is, all of it goes to the disk, and is joined there in the end. It is safe for concurrent use.
type join struct {
	shards    [joinShards]joinShard
	seed      maphash.Seed
	maxMemory int64
	memory    atomic.Int64
	count     atomic.Int64

	spilling sync.Mutex // of what follows
	folder   string     // for files; "": the system's for temporary ones
	disk     *spill     // nil: nothing was spilled
	late     joinShard  // what was matched when the files were joined
}

// joinShards keeps the scanners of many segments from waiting for one lock.
const joinShards = 64

type joinShard struct {
	mu      sync.Mutex
	waiting waiting
	matched int64
	sum     item.Sum // of the matched items
}

// pending is an item without a matching counterpart.
type pending struct {
	digest item.Digest // of the side that came first
	at     seen
	from   origin
	both   bool // both sides came, with different digests, or one came twice: only a consistent read tells
}

// pendingBytes is the memory of an item that did not match, beside the bytes of its key: the most that was measured at keys of
// 16 bytes (BenchmarkWaitingMemory), rounded up. It is most as a candidate that differs (217 bytes); a place in the join takes
// up to 125 of them where a map has just grown, and what is made of it when the join is drained, 32.
const pendingBytes = 224

// memoryOf is the memory, in bytes, that an item with this Key.ID takes while it waits, or is a candidate.
func memoryOf(id string) int64 { return int64(len(id)) + pendingBytes }

// newJoin returns a join that takes maxMemory bytes, and then a file in the folder ("": where the system has temporary files).
func newJoin(maxMemory int64, folder string) *join {
	return &join{seed: maphash.MakeSeed(), maxMemory: maxMemory, folder: folder}
}

// add takes in one scanned item. It fails only if it had to use the disk.
func (j *join) add(from origin, segment int, key item.Key, digest item.Digest) error {
	return j.put(key.ID(), pending{digest: digest, at: seenIn(from, segment), from: from})
}

func (j *join) put(id string, p pending) error {
	hash := maphash.String(j.seed, id)
	switch j.shards[hash%joinShards].put(hash, id, p) {
	case matched:
		j.count.Add(-1)
		j.memory.Add(-memoryOf(id))
	case waits:
		j.count.Add(1)
		if j.memory.Add(memoryOf(id)) > j.maxMemory {
			return j.makeRoom()
		}
	}
	return nil
}

// The outcomes of joinShard.put.
type outcome int

const (
	waits   outcome = iota // for its counterpart
	matched                // the counterpart, which had been waiting
	differs                // from what was there already
)

func (s *joinShard) put(hash uint64, id string, p pending) outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	other, place, before := s.waiting.find(hash, id)
	switch {
	case other == nil:
		s.waiting.add(hash, id, p)
		return waits
	case !other.both && !p.both && other.from != p.from && other.digest == p.digest:
		s.waiting.remove(hash, other, place, before)
		s.matched++
		s.sum.Add(p.digest)
		return matched
	}
	other.both = true
	other.at = other.at.with(p.at)
	return differs
}

// take empties the shard of what waits.
func (s *joinShard) take() waiting {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.waiting
	s.waiting = waiting{}
	return taken
}

// makeRoom moves all that waits to the disk, unless another goroutine has just done it. Those that come meanwhile wait here too.
func (j *join) makeRoom() error {
	j.spilling.Lock()
	defer j.spilling.Unlock()
	if j.memory.Load() <= j.maxMemory {
		return nil
	}
	return j.spillAll()
}

// spillAll is to be called with spilling held.
func (j *join) spillAll() error {
	if j.disk == nil {
		j.disk = newSpill(j.folder)
	}
	for i := range j.shards {
		taken := j.shards[i].take()
		err := taken.each(func(id string, p pending) error {
			j.memory.Add(-memoryOf(id))
			return j.disk.write(id, p)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// waiting is the number of items that have not been matched yet.
func (j *join) waiting() int64 { return j.count.Load() }

// forget takes one of the items that were left out of that number.
func (j *join) forget() { j.count.Add(-1) }

// matched returns the number of matched pairs and the sum of their digests.
func (j *join) matched() (int64, item.Sum) {
	count, sum := j.late.matched, j.late.sum
	for i := range j.shards {
		shard := &j.shards[i]
		shard.mu.Lock()
		count += shard.matched
		sum.AddSum(shard.sum)
		shard.mu.Unlock()
	}
	return count, sum
}

// each calls visit for each item that waits, without taking it out. Nothing may be added meanwhile.
func (j *join) each(visit func(id string, p pending) error) error {
	j.spilling.Lock()
	defer j.spilling.Unlock()
	for i := range j.shards {
		if err := j.shards[i].waiting.each(visit); err != nil {
			return err
		}
	}
	if j.disk == nil {
		return nil
	}
	for i := range j.disk.parts {
		if err := j.disk.parts[i].read(visit); err != nil {
			return err
		}
	}
	return nil
}

// errStop ends a walk over what is left, which its consumer no longer wants.
var errStop = errors.New("no more is wanted")

// unmatched is an item that the join could not match.
type unmatched struct {
	key item.Key
	at  seen
}

// left yields all items that were not matched, in portions that take no more than the memory given (with one item at the least),
// and gives back what they took in the join. Nothing can be added any more. An error is the last thing it yields.
func (j *join) left(schema item.Schema) iter.Seq2[[]unmatched, error] {
	return func(yield func([]unmatched, error) bool) {
		var list []unmatched
		memory := int64(0)
		err := j.walk(func(id string, p pending) error {
			key, err := schema.ParseKey(id)
			if err != nil {
				return fmt.Errorf("compare: %w", err)
			}
			list = append(list, unmatched{key, p.at})
			if memory += memoryOf(id); memory < j.portion() {
				return nil
			}
			portion := list
			list, memory = nil, 0
			if !yield(portion, nil) {
				return errStop
			}
			return nil
		})
		switch {
		case errors.Is(err, errStop):
		case err != nil:
			yield(nil, err)
		case len(list) > 0:
			yield(list, nil)
		}
	}
}

// portion is the memory for the candidates of one settlement. Once there are files, the other half is for joining them.
func (j *join) portion() int64 {
	if j.disk == nil {
		return 2 * j.maxMemory // it was all in memory, and is now twice for a moment at the most
	}
	return j.maxMemory / 2
}

// walk calls visit for each item that is left. If that comes to its end, the join is empty.
func (j *join) walk(visit func(id string, p pending) error) error {
	j.spilling.Lock()
	defer j.spilling.Unlock()
	if j.disk == nil {
		for i := range j.shards {
			taken := j.shards[i].take()
			if err := taken.each(visit); err != nil {
				return err
			}
		}
		return nil
	}
	disk := j.disk
	defer disk.close()
	if err := j.spillAll(); err != nil {
		return err
	}
	if err := j.resolve(disk, 0, visit); err != nil {
		return err
	}
	j.disk = newSpill(j.folder)
	return nil
}

// maxDepth bounds how often a part of the files is divided again, each time by spillParts; a part of no more than that many items
// isn't.
const maxDepth = 6

// resolve joins the spilled items, one part after the other. A part that is too large for the memory is divided first.
func (j *join) resolve(s *spill, depth int, visit func(id string, p pending) error) error {
	for i := range s.parts {
		part := &s.parts[i]
		var err error
		if part.memory > j.maxMemory/2 && part.count > spillParts && depth < maxDepth {
			err = j.divide(part, depth, visit)
		} else {
			err = j.resolvePart(part, visit)
		}
		if err != nil {
			return err
		}
		part.close()
	}
	return nil
}

func (j *join) divide(part *spillPart, depth int, visit func(id string, p pending) error) error {
	finer := newSpill(j.folder)
	defer finer.close()
	if err := part.read(finer.write); err != nil {
		return err
	}
	part.close()
	return j.resolve(finer, depth+1, visit)
}

func (j *join) resolvePart(part *spillPart, visit func(id string, p pending) error) error {
	var shard joinShard
	err := part.read(func(id string, p pending) error {
		switch shard.put(maphash.String(j.seed, id), id, p) {
		case matched:
			j.count.Add(-2)
		case differs:
			j.count.Add(-1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	j.late.matched += shard.matched
	j.late.sum.AddSum(shard.sum)
	return shard.waiting.each(visit)
}

// close removes the files, if there are any.
func (j *join) close() {
	j.spilling.Lock()
	defer j.spilling.Unlock()
	if j.disk != nil {
		j.disk.close()
	}
}
