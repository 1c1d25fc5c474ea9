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
// Both hold for a key with a single record since it was opened: both sides had been the same before, and a record is of a change, so the
// target has what the source has only if the record is applied. A key that has several may have gone back to an earlier value (A, B, A),
// and agree before any of them is applied. Such a key is no probe that counts, and that it agreed says something only as long after its
// last record as the shard's last probe took.
//
// What is not seen: a seed that runs beside brings items to the target before the replicator does, and so did the replicator's own writes
// of records from before the stream was opened.
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
