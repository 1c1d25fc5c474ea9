// Package converge brings items of the target in line with the source while the application writes to the source and a replicator
// applies the source's stream to the target. This is the protocol that keeps a copy of a live table exact.
//
// # The problem
//
// Two programs write to the target. The replicator applies the stream: every record, at least once, the records of one key in their
// order. The seed writes what a Scan of the source returned. A seed that only writes what it read loses data, and nothing tells of it:
//
//   - A lost update: the Scan reads v1, the application writes v2, the replicator applies v2, and then the seed writes v1.
//   - A resurrection: the Scan reads an item, the application deletes it, the replicator deletes it, and then the seed writes it back.
//   - A stale read: an eventually consistent Scan returns a value that is older than one which the replicator has applied.
//
// # The rule
//
// Write, then re-check. After a batch is written, the seed reads the same keys from the source with ConsistentRead. A key whose source
// item equals what was written is done. Any other key is written again, as the source has it now (a delete, if the source has no item),
// and re-checked, until it is stable. See [Converger.Write].
//
// # Why the rule is enough
//
// Take a key k. The seed's last write of k is the value v, at the time tw. Its re-check at tr > tw finds v in the source.
//
//   - A change made at or before tr is in the stream. The last of these changes made v.
//   - A change made after tr is applied by the replicator after tr, and so after tw: over the seed's write.
//
// If the replicator applies any record of k after tw, the last one that it applies is the last change of k, and the target ends as the
// source. If it applies none, no change was made after tr, and the target holds v, which is what the source has.
//
// A key may change all the time and never be found at rest. If two consistent reads, both made after the seed's write was answered, differ,
// then a change lies between them. Its record is applied after the seed's write, and the last record of a key wins. So the key is done.
//
// The rule needs three things:
//
//   - The stream is on, and replication starts at a point, from before the seed started. A stream that was disabled and enabled again is
//     another stream: it lacks what happened between. So a run and its checkpoint belong to the stream's ARN, and both tables
//     are described again before a run says that it is done.
//   - The replicator applies every record, in order for each key, at least once.
//   - Only the replicator and the seed write to the target.
//
// # Writes whose answer was lost
//
// A request that timed out, or whose connection broke, may still be carried out: later than the re-check, and over a newer record. The
// key of such a write is uncertain. It is kept (in the checkpoint, too) until no such request can be alive any more, which is the
// client's time-out and a margin (call.Policy.Lifetime). Then both tables are read with ConsistentRead, and the key is put right by
// the same rule: [Converger.Settle]. A key that is lost again while it is settled stays uncertain. The SDK's own retries are off for
// these requests: a retry that succeeds hides that the first attempt is still on its way.
//
// The replicator has the same hole: it may write only what the stream says, so it has nothing to read again. verify is there for that.
//
// # Kills
//
// A seed that was killed between a write and its re-check may have brought back an item that the application had deleted. The page,
// read again, doesn't contain that item any more. So the keys of a page are in the checkpoint before the first of them is written, and a
// resumed seed settles them as uncertain. Starting over drops positions, never these keys.
package converge
