package replicate

import "time"

// What follows are the positions in a checkpoint's shards; checkpoint.go keeps them in a file.

func (c *checkpoint) of(shard string) shardPosition {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Shards[shard]
}

func (c *checkpoint) isDrained(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file.Shards[shard].Drained
}

// known tells whether the shard was begun, or passed.
func (c *checkpoint) known(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, is := c.file.Shards[shard]
	return is
}

// needs tells whether records of the shard that were trimmed would be missed. They would not if nothing of it, nor of its parents,
// was applied yet and they were made before the first run: then the replication starts with the oldest that there is.
func (c *checkpoint) needs(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.continues(c.file.Shards[shard])
}

// continues tells whether what follows in a position's shard, or in its children, must follow without a gap.
func (c *checkpoint) continues(position shardPosition) bool {
	return position.Sequence != "" || position.Start != "" || c.isOld()
}

// isOld tells whether a record that is trimmed by now may have been made since the first run.
func (c *checkpoint) isOld() bool { return c.since(c.file.Started) >= retention }

// begin records that the shard is about to be read, so that a later run misses it if it is gone by then. Where it goes on where its
// parent ended, it is to begin exactly at its start, a sequence number: what was trimmed of it is an error then, while the
// oldest that there is may lie behind a gap.
func (c *checkpoint) begin(shard, parent, start string, latest, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position, begun := c.file.Shards[shard]
	before := c.file.Shards[parent]
	if begun && position.First == "" {
		position.Parent, position.First = parent, start
		c.set(shard, position)
	}
	exact := (before.Drained && c.continues(before)) || (late && c.isOld())
	switch {
	case begun && (position.Sequence != "" || position.Start != "" || position.Latest || !exact):
		return
	case begun: // in a run of the first format
	case before.Drained:
		position = shardPosition{ReadAt: c.now(), AsOf: before.asOf(), Late: late}
	default:
		position = shardPosition{ReadAt: c.now(), AsOf: c.file.Started, Latest: latest, Late: late}
	}
	if exact {
		position.Start = start
	}
	position.Parent, position.First = parent, start
	c.set(shard, position)
}

// advance records that the shard is applied up to a record, which was made at that time, if it tells.
func (c *checkpoint) advance(shard, sequence string, made time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.file.Shards[shard]
	position.Sequence, position.ReadAt = sequence, c.now()
	position.AsOf = made.UTC()
	if made.IsZero() || made.After(position.ReadAt) { // what is not made yet would make the position look younger than it is
		position.AsOf = position.ReadAt
	}
	c.set(shard, position)
}

// foundEmpty records that all reads from the one time to the other found nothing after the shard's position. A few such reads tell
// nothing of what there is: "it might take multiple calls to get to a portion of the shard that contains stream records" (API
// reference, GetRecords).
func (c *checkpoint) foundEmpty(shard string, from, to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.file.Shards[shard]
	if c.since(position.ReadAt) < readAtStep {
		return
	}
	if to.Sub(from) >= tipTime {
		position.AsOf = later(position.asOf(), c.at(from))
	}
	position.ReadAt = c.now()
	c.set(shard, position)
}

// atTip records that there was nothing after the positions of all shards from that time on.
func (c *checkpoint) atTip(since time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, position := range c.file.Shards {
		if !position.Drained {
			position.AsOf, position.ReadAt = later(position.asOf(), c.at(since)), c.now()
			c.set(shard, position)
		}
	}
}

// isRecent tells whether a shard is not drained, or only since a day.
func (c *checkpoint) isRecent(shard string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.file.Shards[shard]
	return !position.Drained || c.since(position.ReadAt) < retention
}

// mayLack tells whether a shard of which nothing is known, and that is gone, may have held records that are needed.
func (c *checkpoint) mayLack() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.isOld()
}

func (c *checkpoint) drained(shard string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.file.Shards[shard]
	position.AsOf = position.asOf()
	position.Drained, position.ReadAt = true, c.now()
	if position.AsOf.IsZero() { // it is passed, not read
		position.AsOf = c.file.Started
	}
	c.set(shard, position)
}

func (c *checkpoint) set(shard string, position shardPosition) {
	c.file.Shards[shard] = position
	c.dirty = true
}

// replay prepares for the first record of a shard that was listed only after shards that follow it were begun: those begin again,
// each with its first record (starts has their sequence numbers). It tells whether there was anything to prepare, which must be
// saved before the record is applied.
func (c *checkpoint) replay(shard string, starts map[string]string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	position := c.file.Shards[shard]
	if !position.Late {
		return false
	}
	position.Late = false
	c.set(shard, position)
	for child, start := range starts {
		if was, begun := c.file.Shards[child]; begun {
			c.set(child, shardPosition{Parent: was.Parent, First: was.First, Start: start, ReadAt: c.now(), AsOf: position.AsOf})
		}
	}
	return true
}

// oldest is the time up to which all is applied: in the shard, or where that isn't known, in all that are not drained.
func (c *checkpoint) oldest(shard string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if position, is := c.file.Shards[shard]; is {
		return position.asOf()
	}
	var oldest, last time.Time
	for _, position := range c.file.Shards {
		last = later(last, position.asOf())
		if at := position.asOf(); !position.Drained && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	switch {
	case !oldest.IsZero():
		return oldest
	case !last.IsZero():
		return last
	}
	return c.file.Started
}

// listing is the shards that an earlier run has begun, as it found them listed. They count as listed, as those of an earlier listing do: an
// answer may have holes, and one that is really gone is found out when it is read.
func (c *checkpoint) listing() listing {
	c.mu.Lock()
	defer c.mu.Unlock()
	shards := newListing()
	for shard, position := range c.file.Shards {
		if position.First != "" {
			shards.put(shard, position.Parent, position.First, position.Drained)
		}
	}
	return shards
}

// missing returns a shard that is not drained, not listed and not being read: it had records that nobody will see again.
func (c *checkpoint) missing(shards listing, readers map[string]*reader) (string, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, position := range c.file.Shards {
		if _, listed := shards.parents[shard]; !listed && !position.Drained && readers[shard] == nil {
			return shard, true
		}
	}
	return "", false
}

// forget drops the drained shards that are gone from the stream, but only long after: if one were listed once more, it would be
// read again from its start, and older items written over newer ones.
func (c *checkpoint) forget(shards listing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for shard, position := range c.file.Shards {
		if _, listed := shards.parents[shard]; !listed && position.Drained && c.since(position.ReadAt) > 2*retention {
			delete(c.file.Shards, shard)
			c.dirty = true
		}
	}
}
