// Package openkeys keeps the keys that changed on the source and of which nobody knows yet that the target has the change for good: the
// open keys. A stream record opens its key, or opens it again; so does a candidate of the scans. [Set.Run] looks at open keys on both
// sides, in batches, until they may be closed or are known to differ.
//
// # When a key is closed
//
// A key is closed by a look that sees both sides agree, if no record of it came since the look began, and if the look began one lifetime
// of the replicator's requests, or more, after its last record was applied: until then an older write whose answer was lost may still
// land. When that was, nobody tells us. Two things show that it was before a moment:
//
//   - an earlier look, after the last record, that saw the key agree, and no look since that saw it differ;
//   - a probe. The records of a shard are applied in their order, so a key with a later record of the same shard that agrees shows that
//     those before it are applied. A few of the newest keys of each shard are looked at early for that (lane.go). Thanks to them one late
//     look is enough for all others, which makes it two read units for a record of a key that was not changed again.
//
// What neither shows: a key that went back to an earlier value (A, B, A) while the replicator had still all of it to do agrees before it
// is done. So a probe counts only if no other probe of the shard, with an earlier record, is seen to differ in the same look.
//
// # When a key differs
//
// A key that differs is looked at again, less and less often. It is a difference when its source was the same, without a record, for the
// settling time: between two looks, or since its last record if the stream is known to have been read past the first of two looks that
// saw the same on both sides. It is told once. A difference stays in the set: it is looked at now and then, and told as mended when it
// agrees.
//
// # Memory
//
// Each open key has an entry in memory. When they need more than Options.MaxMemory, those that are not due are written to a file, in the
// order in which they are due, and read back when they are. A record of a key that is in a file makes a second entry in memory, which is
// one with it again when the older one is read back; until then the key counts twice.
package openkeys
