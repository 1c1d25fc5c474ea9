// Package cutover takes an application from one table to another: writes are refused for some seconds, in which it is proven that the
// target has all of them, and are let through again on the source if that can't be proven.
//
//  1. Preflight, by the caller.
//  2. Follow the source until both tables agree but for a few keys that changed just now ([Follower]).
//  3. Wait, where that is asked for.
//  4. Close the source ([Gate]) for a short time: whatever becomes of this process, it opens by itself.
//  5. Prove that writes are refused.
//  6. Drain: read the stream until it has been empty for a while, and look until every open key agrees.
//  7. Stop the replicator, by a gate of the target, and prove that, before anybody else writes there: a batch that is delivered again, a
//     request that was on its way, or a removal by time to live would put an old item over a new one. Then look again at all keys that
//     changed since shortly before the fence: nothing can change them any more.
//  8. If there is time enough left: hold the source's gate for as long as the target's, write the verdict down, and only then have the writers go over (the hook).
//     When that has succeeded, close both for good.
//  9. Watch the source's stream for records that should not be there: stragglers.
//
// Each step is in the state file before it is taken. Until the verdict is there, whatever fails opens both gates again, also that of a run
// that was killed: nobody has gone over. From then on some writers may have, and nothing is opened that isn't known to be unused.
//
// The way back is a cutover with the tables' roles swapped. The target is closed then, by the cutover before, to all but its replicator; step 7
// puts the replicator's stop in the place of that ([PolicyGate.Earlier]), and going back puts it back. So the target is opened to the
// writers when the source is proven to be closed to them, and before they are told to go over.
//
// Why a verdict holds. Let D be when the source's refusal was proven. By the assumptions ([Options.Quiet]) no write is carried out after D
// and Quiet, and each record is in the stream Quiet later at the latest; a stream that was read empty for Quiet after D, and a look after
// that, have seen the last of each key, or a straggler shows that an assumption did not hold. Let S be when the replicator's refusal
// was proven: after it nothing is written to the target, so the look after S is of what the writers will find.
package cutover
