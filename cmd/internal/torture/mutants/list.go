package main

// mutants are the features of the protocol, in the order of the README's "How it stays exact".
var mutants = []mutant{
	{
		name: "re-check", what: "items are written and not read again", file: "internal/converge/converge.go",
		from: "for round := 0; c.Recheck && len(ops) > 0; round++", to: "for round := 0; false && c.Recheck && len(ops) > 0; round++",
	},
	{
		name: "re-check-deletes", what: "an item that the source has no more is left alone", file: "internal/converge/converge.go",
		from: "if !same {\n\t\t\tchanged", to: "if !same && !current.Absent() {\n\t\t\tchanged",
	},
	{
		name: "consistent-read", what: "the re-check reads eventually consistent", file: "internal/batch/wire.go",
		from: `:{"ConsistentRead":true,"Keys":`, to: `:{"ConsistentRead":false,"Keys":`,
	},
	{
		name: "unprocessed-keys", what: "a key that a read left unprocessed counts as absent", file: "internal/batch/get.go",
		from: "if len(left) == 0 {\n\t\t\tr.learn(", to: "if true || len(left) == 0 {\n\t\t\tr.learn(",
	},
	{
		name: "unprocessed-items", what: "UnprocessedItems count as written", file: "internal/batch/write.go",
		from: "if len(left) > 0 {\n\t\treturn call.Throttled, left, errUnprocessed", to: "if false && len(left) > 0 {\n\t\treturn call.Throttled, left, errUnprocessed",
	},
	{
		name: "uncertain-list", what: "a write whose answer was lost is not kept in mind", file: "internal/batch/write.go",
		from: "uncertain = with(uncertain, pending)", to: "_ = with(nil, pending)",
	},
	{
		name: "uncertain-wait", twist: "late-writes", what: "uncertain keys are settled while a request may still be alive", file: "internal/converge/settler.go",
		from: "s.wait(ctx, last.Add(s.Lifetime))", to: "s.wait(ctx, last)",
	},
	{
		name: "uncertain-in-checkpoint", what: "the uncertain list is not in the checkpoint", file: "seed/encode.go",
		from: "file.Uncertain = make([][]byte, len(uncertain))", to: "uncertain = nil\n\tfile.Uncertain = make([][]byte, len(uncertain))",
	},
	{
		name: "noted-keys", what: "the keys about to be written are not in the checkpoint", file: "seed/checkpoint.go",
		from: "\t\twriting = ops\n", to: "\t\twriting = []batch.Op{}\n",
	},
	{
		name: "contiguous-checkpoint-seed", what: "the seed's position is past a page that is being copied", file: "seed/segment.go",
		from: "r.page(ctx, s, after, ops)", to: "r.page(ctx, s, page.Next, ops)",
	},
	{
		name: "contiguous-checkpoint-tailer", what: "the replicator's position is past records that are being applied", file: "internal/stream/apply.go",
		from: "done, err := t.options.Sink.Apply(", to: "t.position.advance(r.shard, records[len(records)-1].Sequence, records[len(records)-1].Made)\n\tdone, err := t.options.Sink.Apply(",
	},
	{
		name: "lowest-unapplied", what: "the position after a failure is that of the last key that failed, not the first", file: "replicate/apply.go",
		from: "at < a.failedAt {", to: "at > a.failedAt || a.failedAt == len(a.records) {",
	},
	{
		name: "parent-before-child", what: "a shard is read beside its parent", file: "internal/stream/shards.go",
		from: "&& !t.waits(shards, shard) {", to: "&& len(shards.ancestors(shard)) >= 0 {",
	},
	{
		name: "last-record-wins", what: "of several records of a key the first is applied", file: "replicate/apply.go",
		from: "ops[at] = op\n", to: "_ = at\n",
	},
	{
		name: "trim-horizon", what: "a shard is read from LATEST on", file: "internal/stream/reader.go",
		from: "in.ShardIteratorType = types.ShardIteratorTypeTrimHorizon", to: "in.ShardIteratorType = types.ShardIteratorTypeLatest",
	},
	{
		name: "deletes", what: "a delete is not applied", file: "internal/stream/record.go",
		from: "case string(streamtypes.OperationTypeRemove):\n\t\treturn nil", to: "case string(streamtypes.OperationTypeRemove):\n\t\tr.Image = keys\n\t\treturn nil",
	},
	{
		name: "partial-batch-response", twist: "blocked", what: "the handler does not name what it has not applied", file: "replicate/lambda.go",
		from: "return events.DynamoDBEventResponse{BatchItemFailures: []events.DynamoDBBatchItemFailure{{ItemIdentifier: failure.Sequence}}}, nil",
		to:   "return events.DynamoDBEventResponse{}, nil",
	},
	{
		name: "verify-looks-again", what: "verify takes what the scans say for the truth", file: "verify/settle.go",
		from: "sources, err := s.run.source.reader.Read(ctx, keys, batch.Unknown)", to: "sources, err := s.run.target.reader.Read(ctx, keys, batch.Unknown)",
	},
	{
		name: "verify-keeps-what-waits", what: "verify's checkpoint lacks the items that have not matched", file: "verify/checkpointsave.go",
		from: "return writePending(w, id, p)", to: "_, _ = id, p\n\t\treturn nil",
	},
	{
		name: "verify-compares-bodies", what: "verify compares keys only", file: "verify/scan.go",
		from: "digest, err := it.Digest()", to: "digest, err := page.Keys[i].Digest(), error(nil)",
	},
	{
		name: "lost-again", what: "a key that is lost again while it is settled is forgotten", file: "internal/converge/uncertain.go",
		from: "is && !lost.at.After(taken)", to: "is && (true || !lost.at.After(taken))",
		why:  "one loss in twenty runs is lost again and lands after the last change",
		test: "TestSettlerWaitsForLostWrites",
	},
	{
		name: "half-a-page", what: "verify saves its checkpoint after a page that was joined by half", file: "verify/checkpoint.go",
		from: "err := page()\n\tif err != nil {\n\t\tc.stop()\n\t}", to: "err := page()",
		why:  "a checkpoint is seldom saved in the midst of a page",
		test: "TestHalfAPageIsNotSaved",
	},
	{
		name: "seed-stream", twist: "stream-anew", what: "a seed goes on from a checkpoint of another stream", file: "seed/load.go",
		from: "return file.Stream == c.head.Stream && file.Stream != \"\"", to: "return true",
	},
	{
		name: "seed-confirms", twist: "stream-anew", what: "a seed doesn't look at the stream again before it is done", file: "seed/watch.go",
		from: "r.options.Target, r.converge.Recheck)", to: "r.options.Target, false)",
	},
	{
		name: "restart-keeps-keys", twist: "restarts", what: "seed --restart forgets what the killed seed had under way", file: "seed/load.go",
		from: "if err := c.inherit(file); err != nil {\n\t\tif !remade", to: "if err := error(nil); err != nil {\n\t\tif !remade",
	},
	{
		name: "stream-age", what: "the first page is read as soon as the stream is on", file: "seed/load.go",
		from: "if wait <= 0 {", to: "if true || wait <= 0 {",
	},
	{
		name: "resumed-match", twist: "old-checkpoint", what: "a verification that goes on from a checkpoint may say match", file: "verify/gate.go",
		from: "isFresh := r.result.AsOf == \"\"", to: "isFresh := true",
	},
	{
		name: "source-ttl", twist: "time-to-live", what: "items are left out by the target's time to live", file: "verify/verify.go",
		from: "expiryOf(ctx, o.Source, o.SourceTable, ", to: "expiryOf(ctx, o.Target, o.TargetTable, ",
	},
	{
		name: "idle-without-shards", what: "a stream that lists no shard is idle", file: "internal/stream/shards.go",
		from: "len(shards.parents) == 0 || ", to: "",
		why:  "a listing without any shard is rare at the end of a run",
		test: "TestNotIdleBeforeAShardIsListed", tests: "replicate",
	},
	{
		name: "child-from-its-start", twist: "trims", what: "a child shard is read from its oldest record on, whatever was trimmed of it", file: "internal/stream/position.go",
		from: "if exact {", to: "if false && exact {",
	},
	{
		name: "late-parent-halts", twist: "holes", what: "a parent that is listed late is read beside its children", file: "internal/stream/shards.go",
		from: "r.cancel(errHalted)", to: "if true {\n\t\t\tcontinue\n\t\t}\n\t\tr.cancel(errHalted)",
	},
	{
		name: "children-again", twist: "holes", what: "the children of a parent that was listed late are not read again", file: "internal/stream/position.go",
		from: "c.set(child, Position{Parent: was.Parent,", to: "_ = (Position{Parent: was.Parent,",
	},
	{
		name: "replicator-confirms", twist: "stream-anew", what: "an idle replication doesn't look at the stream again", file: "internal/stream/shards.go",
		from: "if err := t.confirm(ctx); err != nil {", to: "if err := ctx.Err(); err != nil {",
		why:  "the listing of shards tells of a disabled stream, too, and of nothing else in the simulation",
		test: "TestTablesThatChange", tests: "replicate",
	},
	{
		name: "blocked-batch-ends", twist: "blocked", what: "what comes after a refused item is written, and then again", file: "replicate/apply.go",
		from: "return fmt.Errorf(\"%w: %w\", ErrPoison, reason)", to: "a.fail([]batch.Op{op}, fmt.Errorf(\"%w: %w\", ErrPoison, reason))\n\t\treturn nil",
	},
	{
		name: "superseded-only", twist: "blocked", what: "a refused item is passed over, though nothing newer is known of it", file: "replicate/sink.go",
		from: "if !superseded {\n\t\t\treturn done, err", to: "if !superseded {\n\t\t\tdone, records = done+1, records[applied+1:]\n\t\t\tcontinue",
	},
	{
		name: "full-collection", twist: "blocked", what: "an item of a full collection is nobody's own fault", file: "internal/call/call.go",
		from: "\t\"ItemCollectionSizeLimitExceededException\": true,\n", to: "",
	},
	{
		name: "service-clock", twist: "time-to-live", what: "items expire by the machine's clock", file: "internal/call/clock.go",
		from: "if c.date.IsZero() {\n\t\treturn moment", to: "if true || c.date.IsZero() {\n\t\treturn moment",
	},
	{
		name: "missing-parent-confirmed", twist: "holes", what: "a parent that one listing lacks counts as gone", file: "internal/stream/shards.go",
		from: "case try < confirmations:", to: "case try < 1:",
		why:  "what is listed late is made up for, by two more rules",
		test: "TestParentThatIsNotListedForAMoment", tests: "replicate",
	},
	{
		name: "checkpoint-lock", twist: "twins", what: "two processes may work with one checkpoint", file: "internal/atomicfile/lock.go",
		from: "if !held {", to: "if false && !held {",
	},
	{
		name: "late-below-drained", twist: "holes", what: "a shard that is listed late below a drained parent counts as one in time", file: "internal/stream/position.go",
		from: "AsOf: before.asOf(), Late: late}", to: "AsOf: before.asOf()}",
	},
	{
		name: "earlier-listings", what: "a resumed replication knows nothing of the shards that were listed before", file: "internal/stream/shards.go",
		from: "shards := t.position.listing()", to: "shards := newListing()",
		why:  "no shard is missing from listings for long enough",
		test: "TestBegunShardThatIsNoLongerListed", tests: "replicate",
	},
	{
		name: "children-again-at-once", what: "what comes after a late shard is read again only if that one holds a record", file: "internal/stream/shards.go",
		from: "if late && t.position.known(parent) {", to: "if false && late && t.position.known(parent) {",
		why:  "a late shard mostly holds records",
		test: "TestLateEmptyShardBelowOneThatIsReadLater", tests: "replicate",
	},
	{
		name: "trimmed-harmless", twist: "trims", what: "no trimmed record is missed", file: "internal/stream/reader.go",
		from: "return isTrimmed(err) && !r.tailer.position.needs(r.shard)", to: "return isTrimmed(err)",
		why:  "the position's age tells of it first",
		test: "TestTrimmed", tests: "replicate",
	},
	{
		name: "checkpoint-age", twist: "trims", what: "a replication goes on from a checkpoint of any age", file: "replicate/checkpoint.go",
		from: "if shard, stale := file.Stale(c.positions.Now()); stale {", to: "if shard, stale := file.Stale(c.positions.Now()); stale && shard == \"\" {",
		why:  "the service tells of what is trimmed, too, but where nothing was read yet",
		test: "TestCheckpointThatDoesNotFit", tests: "replicate",
	},
	{
		name: "young-shard", what: "one answer that there is no such shard is believed", file: "internal/stream/listing.go",
		from: "!isGone(err) || n == confirmations {", to: "true || !isGone(err) || n == confirmations {",
	},
	{
		name: "open-before-scan", kind: following, what: "the stream is opened while the scans go on", file: "verify/follow.go",
		from: "case <-f.tail.Opened():", to: "default:",
	},
	{
		name: "record-during-a-look", what: "a look counts during which a record of its key came", file: "internal/openkeys/look.go",
		from: "if e.records != l.records[i] {", to: "if false && e.records != l.records[i] {",
		why:  "a key with several records is closed later, by as much as replication is late",
		test: "TestALookThatARecordOvertakesShowsNothing",
	},
	{
		name: "closed-for-good", kind: following, what: "a key is closed for good when it agrees, though an older write may still land", file: "internal/openkeys/look.go",
		from: "if began.since(applied) >= s.options.Lifetime {", to: "if true || began.since(applied) >= s.options.Lifetime {",
	},
	{
		name: "opened-again", kind: following, what: "a record of a key that is open already changes nothing", file: "internal/openkeys/set.go",
		from: "number := s.laneOf(lane)\n", to: "number := s.laneOf(lane)\n\tif old := s.entries[id]; old != nil {\n\t\told.records++\n\t\treturn nil\n\t}\n",
	},
	{
		name: "source-first", what: "a look reads the source after the target", file: "verify/follow.go",
		from: "sources, err := r.source.reader.Read(ctx, keys, batch.Unknown)\n\tif err != nil {\n\t\treturn nil, fmt.Errorf(\"read source: %w\", err)\n\t}\n\tnow := r.clock.Now()\n\ttargets, err := r.target.reader.Read(ctx, keys, batch.Unknown)",
		to:   "targets, err := r.target.reader.Read(ctx, keys, batch.Unknown)\n\tif err != nil {\n\t\treturn nil, fmt.Errorf(\"read source: %w\", err)\n\t}\n\tnow := r.clock.Now()\n\tsources, err := r.source.reader.Read(ctx, keys, batch.Unknown)",
		why:  "a key is closed only if no record came since the look began, which holds in either order",
		test: "TestFollowingReadsTheSourceFirst", tests: "cmd/internal/torture",
	},
	{
		name: "several-records-show-nothing", what: "that a key agrees which had several records shows that those before are applied", file: "internal/openkeys/look.go",
		from: "!e.is(probe) || !e.is(single) || e.lane", to: "!e.is(probe) || e.lane",
		why:  "it takes a late write in the seconds between two looks",
		test: "TestAKeyThatGoesBackShowsNothing",
	},
	{
		name: "read-through-all-shards", what: "a shard that is not read yet counts as read", file: "internal/stream/through.go",
		from: "if t.readers[shard] == nil && !t.position.isDrained(shard) {", to: "if false && t.readers[shard] == nil && !t.position.isDrained(shard) {",
		why:  "a shard that is listed is begun at once, or when its parent has ended, which counts too",
		test: "TestReadThrough",
	},
	{
		name: "read-through-children", kind: following, what: "a shard that has ended counts as read, though its children are not listed", file: "internal/stream/through.go",
		from: "if !t.listed.hasChild[shard] || t.listed.at.Before(ended) {", to: "if false && (!t.listed.hasChild[shard] || t.listed.at.Before(ended)) {",
	},
	{
		name: "replicator-not-stopped", what: "the replicator is not stopped before the writers go over", file: "internal/cutover/run.go",
		from: "\tif err := r.options.Target.Close(ctx, Term{Until: r.state.Hold}); err != nil {\n\t\treturn fmt.Errorf(\"stop the replicator: %w\", err)\n\t}\n\tif _, err := r.options.Target.Prove(ctx, r.options.Quiet); err != nil {", to: "\tif err := ctx.Err(); err != nil {",
		why:  cutovers,
		test: "TestRandomCutovers",
	},
	{
		name: "stop-not-proven", what: "nobody proves that the replicator is stopped", file: "internal/cutover/run.go",
		from: "if _, err := r.options.Target.Prove(ctx, r.options.Quiet); err != nil {", to: "if err := ctx.Err(); err != nil {",
		why:  cutovers,
		test: "TestRandomCutovers",
	},
	{
		name: "second-look", what: "there is no look once the replicator is stopped", file: "internal/cutover/run.go",
		from: "\tlooked, err := follower.Look(ctx, r.lookSince())\n\tif err != nil {\n\t\treturn fmt.Errorf(\"look at what", to: "\tlooked, err := Looked{}, ctx.Err()\n\tif err != nil {\n\t\treturn fmt.Errorf(\"look at what",
		why:  cutovers,
		test: "TestRandomCutovers",
	},
	{
		name: "time-left", what: "there is a verdict with less time left than the policy takes", file: "internal/cutover/run.go",
		from: "if left := r.left(); left <= r.reserve() {", to: "if left := r.left(); left <= -time.Hour {",
		why:  cutovers,
		test: "TestTooLittleTime",
	},
	{
		name: "hold-before-hook", what: "the hook is run before the fence is held", file: "internal/cutover/run.go",
		from: "if err := r.options.Source.Close(ctx, Term{Until: until, Verdict: true}); err != nil {", to: "if err := ctx.Err(); err != nil {",
		why:  cutovers,
		test: "TestRandomCutovers",
	},
	{
		name: "verdict-in-file", what: "the hook is run without the verdict in the state file", file: "internal/cutover/state.go",
		from: "func (s *Store) Save(state State) error {\n", to: "func (s *Store) Save(state State) error {\n\tstate.Ready = false\n",
		why:  cutovers,
		test: "TestRandomCutovers",
	},
	{
		name: "fence-ends-by-itself", what: "the fence has no time condition", file: "internal/fence/statement.go",
		from: "if !s.Until.IsZero() {", to: "if false && !s.Until.IsZero() {",
		why:  cutovers,
		test: "TestRandomCutovers", tests: "internal/cutover",
	},
	{
		name: "fence-of-this-run", what: "a fence of an earlier run, which is being taken out, proves this one", file: "internal/cutover/run.go",
		from: "if err := r.proveOpen(ctx); err != nil {", to: "if err := ctx.Err(); err != nil {",
		why:  cutovers,
		test: "TestFenceAfterAFence",
	},
	{
		name: "target-opened-again", what: "the replicator stays stopped when the writers stay", file: "internal/cutover/back.go",
		from: "if r.state.Stopped {\n\t\tboth", to: "if false && r.state.Stopped {\n\t\tboth",
		why:  cutovers,
		test: "TestRandomCutovers",
	},
	{
		name: "denial-comes-and-goes", what: "a fence that comes and goes is proven", file: "internal/fence/probe.go",
		from: "\t\tcase isKnown:\n\t\t\tfirst = time.Time{}", to: "\t\tcase isKnown && false:\n\t\t\tfirst = time.Time{}",
		why:  cutovers,
		test: "TestProve",
	},
	{
		name: "uncertain-policy", what: "what lands late of a change of the policy is left there", file: "internal/fence/policy.go",
		from: "if wait <= 0 {\n\t\t\treturn nil", to: "if wait <= time.Hour {\n\t\t\treturn nil",
		why:  cutovers,
		test: "TestLostAnswers",
	},
	{
		name: "quiet-by-one-read", what: "one read that finds nothing shows that a shard is at its end", file: "internal/stream/reader.go",
		from: "\t\tr.emptyFrom = begun\n", to: "\t\tr.emptyFrom, r.through = begun, begun\n",
		why:  cutovers,
		test: "TestReadsThatFindNothing",
	},
	{
		name: "replicates-after-verdict", what: "a migration that is over replicates again", file: "cmd/reseal/migrate_run.go",
		from: "!isOver && !decides {", to: "(true || !isOver) && !decides {",
		why:  "the torture plays no migrations",
		test: "TestMigrate",
	},
	{
		name: "own-write-in-flight", what: "a replicator is taken for stopped while a write of it may land", file: "cmd/reseal/migrate_replicator.go",
		from: "call.Sleep(ctx, time.Until(late))", to: "call.Sleep(ctx, 0*time.Until(late))",
		why:  "the torture plays no migrations",
		test: "TestOwnReplicatorInAWrite",
	},
	{
		name: "seeded-without-replication", what: "a seed counts though nothing tells that the replication has missed nothing since", file: "cmd/reseal/migrate_state.go",
		from: "if m.Seeded && !m.exists(\"replicate.json\") {", to: "if false && m.Seeded && !m.exists(\"replicate.json\") {",
		why:  "the torture plays no migrations",
		test: "TestMigrateRefusals",
	},
	{
		name: "both-directions", what: "a replication begins while the other direction is on", file: "cmd/reseal/direction.go",
		from: "case errors.Is(err, atomicfile.ErrLocked):", to: "case false && errors.Is(err, atomicfile.ErrLocked):",
		why:  "the torture plays no cutovers",
		test: "TestLockDirection",
	},
	{
		name: "earlier-fence-comes-back", what: "a way back that can't be proven leaves the table open that was left", file: "internal/cutover/gates.go",
		from: "if g.Earlier.Sid != \"\" {\n\t\treturn g.Policy.Restore", to: "if false && g.Earlier.Sid != \"\" {\n\t\treturn g.Policy.Restore",
		why:  "the torture plays no cutovers",
		test: "TestWayBackGoesBack", tests: "cmd/reseal",
	},
	{
		name: "earlier-fence-goes", what: "the writers go back to a table that is still closed to them", file: "internal/cutover/gates.go",
		from: "instead = append(instead, g.Earlier.Sid)", to: "instead = append(instead, \"\")",
		why:  "the torture plays no cutovers",
		test: "TestThereAndBackAndThereAgain", tests: "cmd/reseal",
	},
}

// cutovers is why runs of the torture can't see a feature of a cutover: they play the migration before it. The test plays random cutovers, or one.
const cutovers = "the torture plays migrations; cutovers have a simulation of their own"
