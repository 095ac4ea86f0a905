/** Planted bugs of everything behind the write-ahead log: upload, metadata, recovery, reading, deleting. See mutants.ts. */
import type { Mutant } from './mutants.ts';

export const storageMutants: readonly Mutant[] = [
  // ── Upload ───────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'a commit is left out of the upload that frees it',
    file: 'ownership/upload-coordinator.js',
    find: 'this.collect(index, cut.sequence, closing?.streams ?? [])',
    replace: 'this.collect(index, Math.max(0, cut.sequence - 1), closing?.streams ?? [])',
  },
  {
    name: 'a log that is deleted while a delta is collected is uploaded all the same',
    file: 'log/delta-collection.js',
    find: `        if (this.#deps.find(log) !== log)
            return done;`,
    replace: '',
    judge: 'test/unit/log/delta-collection.test.ts',
  },
  {
    name: 'parts of a delta behind the first are not uploaded',
    file: 'ownership/upload-coordinator.js',
    find: 'states.push(...part.states);',
    replace: '',
    judge: 'test/unit/ownership/upload-coordinator.test.ts',
  },
  {
    name: 'an upload begins after uploads have stopped',
    file: 'ownership/upload-coordinator.js',
    find: `            if (this.stopped)
                return;
            this.estimate(load);`,
    replace: '            this.estimate(load);',
    judge: 'test/unit/ownership/upload-coordinator.test.ts',
  },
  {
    name: 'streams are closed without their states',
    file: 'ownership/upload-coordinator.js',
    find: 'closing?.changes(ends, stored.states, cut)',
    replace: 'closing?.changes(ends, new Map(), cut)',
    judge: 'test/unit/ownership/upload-coordinator.test.ts',
  },
  {
    name: 'what a peer asks for is appended after a stop has waited for the log',
    file: 'log/log-manager.js',
    find: `            if (log.writeError === 0)
                log.writeError = ErrorCode.NOT_LEADER_OR_FOLLOWER;`,
    replace: '',
    judge: 'test/unit/log/partition-log.test.ts',
  },
  {
    name: 'time asleep does not count for a broker that is alone',
    file: 'shard/alone-watch.js',
    find: 'lease.holds(clock.boottime())',
    replace: 'lease.holds(clock.monotonic())',
    judge: 'test/unit/shard/alone-watch.test.ts',
  },
  {
    name: 'a file is told of whose directory could not be fsynced',
    file: 'store/file-store.js',
    find: 'if (!this.#doubtful.has(key) && !this.#publishing.has(key))',
    replace: 'if (!this.#publishing.has(key))',
    judge: 'test/storage/store-file.test.ts',
  },
  {
    name: 'a late sign of a former owner of an object WAL is believed',
    file: 'stream/wal/sign-of-life.js',
    find: ' && sign.epoch >= epoch)',
    replace: ')',
    judge: 'test/unit/stream/wal/sign-of-life.test.ts',
  },
  {
    name: 'the WAL is trimmed before the metadata name the objects',
    file: 'ownership/upload-coordinator.js',
    find: 'const collected = await this.collect(index, cut.sequence, closing?.streams ?? []);',
    replace:
      'const collected = await this.collect(index, cut.sequence, closing?.streams ?? []); this.trims[index].due(cut, 0);',
  },
  {
    name: 'batches may be evicted before their objects are named',
    file: 'ownership/upload-coordinator.js',
    find: '        const stored = await this.store(collected);',
    replace:
      '        await Promise.all(shards.map((shard, i) => shard.uploaded(index, collected[i].end))); const stored = await this.store(collected);',
    judge: 'test/storage/broker/uploads.test.ts',
  },
  {
    name: 'object ids are granted without being recorded',
    file: 'metadata/id-blocks.js',
    find: "await metadata.commit([{ type: 'idBlock', kind, first, next: first + count }]);",
    replace: '',
  },
  {
    name: 'a part of a multipart upload is left out',
    file: 'stream/upload/upload-object.js',
    find: 'await upload.uploadPart(number, part.body);',
    replace: 'if (number !== 2) await upload.uploadPart(number, part.body);',
  },
  {
    name: 'an object states one offset less than it holds',
    file: 'stream/upload/object-builder.js',
    find: 'ranges.push({ topicId, partition, baseOffset, endOffset, maxTimestamp, bytes });',
    replace:
      'ranges.push({ topicId, partition, baseOffset, endOffset: endOffset - 1, maxTimestamp, bytes });',
  },
  {
    name: 'the index loses its last entry',
    file: 'stream/objects/object-index.js',
    find: 'view.setUint32(at + 12, stream.entryCount, true);',
    replace: 'view.setUint32(at + 12, stream.entryCount - 1, true);',
  },
  // ── Metadata ─────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'a number that is taken counts as written',
    file: 'store/object-sequenced-log.js',
    find: `            const outcome = await this.#put('data', number, this.#epoch, nonce, payload);
            if (outcome === null)
                return this.#took(number);
            let found`,
    replace: `            const outcome = await this.#put('data', number, this.#epoch, nonce, payload);
            if (outcome === null || hasCode(outcome, 'STORE_EXISTS'))
                return this.#took(number);
            let found`,
    judge: 'test/unit/store/object-sequenced-log.test.ts',
  },
  {
    name: 'a seal is overlooked by its own writer',
    file: 'store/object-sequenced-log.js',
    find: `            if (found !== null && found.epoch >= this.#epoch)
                throw this.#fence(found);
            if (found !== null) {`,
    replace: '            if (found !== null) {',
    judge: 'test/unit/store/object-sequenced-log.test.ts',
  },
  {
    name: 'seals are trimmed away',
    file: 'store/sequenced-trim.js',
    find: ' && info.size > sequencedHeaderBytes)',
    replace: ')',
    judge: 'test/unit/store/object-sequenced-log.test.ts',
  },
  {
    name: 'the entry behind a snapshot is skipped',
    file: 'metadata/metadata-journal.js',
    find: 'this.#readNext = snapshot === null ? 0 : snapshot.number + 1;',
    replace: 'this.#readNext = snapshot === null ? 0 : snapshot.number + 2;',
  },
  {
    name: 'a metadata change is answered before it is stored',
    file: 'metadata/embedded-metadata-store.js',
    find: 'await this.#journal.append(batch.payload);',
    replace: 'this.#journal.append(batch.payload).catch(() => { });',
  },
  {
    name: 'DeleteRecords is answered and not recorded',
    file: 'cluster/topic-admin.js',
    find: "this.#commitWithDrops({ type: 'logStart', topicId, partition, startOffset }, (drops) => drops.references.orphanedByLogStart([move]), settled));",
    replace: 'Promise.resolve(done));',
  },
  {
    name: 'a broker that was registered anew commits',
    file: 'metadata/conditions.js',
    find: 'if (registered?.epoch === epoch && !fenced)',
    replace: 'if (registered !== null && !fenced)',
    judge: 'test/unit/metadata/metadata-contract.test.ts',
  },
  {
    name: 'a fenced broker commits',
    file: 'metadata/conditions.js',
    find: 'if (registered?.epoch === epoch && !fenced)',
    replace: 'if (registered?.epoch === epoch)',
    judge: 'test/unit/metadata/several-brokers.test.ts',
  },
  {
    name: 'a log is taken from a broker that is not fenced',
    file: 'metadata/conditions.js',
    find: 'node !== recorded.node && !this.#isGone(recorded.node)',
    replace: 'node !== recorded.node && false',
    judge: 'test/unit/metadata/several-brokers.test.ts',
  },
  {
    name: 'a broker uploads from a log that another has claimed',
    file: 'metadata/conditions.js',
    find: 'if (author !== null && wal.node !== author.node)',
    replace: 'if (false)',
    judge: 'test/unit/metadata/several-brokers.test.ts',
  },
  {
    name: 'a broker closes a stream in a log that another has claimed',
    file: 'metadata/conditions.js',
    find: 'this.#checkOwner(key, leader.wal, author);',
    replace: '',
    judge: 'test/unit/metadata/several-brokers.test.ts',
  },
  {
    name: 'a log is recorded empty under an open stream',
    file: 'metadata/conditions.js',
    find: 'this.#checkLeft(logId);',
    replace: '',
    judge: 'test/unit/metadata/several-brokers.test.ts',
  },
  {
    name: 'a stream that somebody serves is opened',
    file: 'metadata/conditions.js',
    find: "if (leader?.state === 'open')",
    replace: 'if (false)',
    judge: 'test/unit/metadata/metadata-contract.test.ts',
  },
  {
    name: 'objects of live peers are taken for orphans',
    file: 'upkeep/orphan-sweep.js',
    find: 'Number.parseInt(objectId, 16) >= round.idFloor)',
    replace: 'false)',
    judge: 'test/unit/upkeep/orphan-sweep.test.ts',
  },
  {
    name: "a peer's manifest, not committed yet, is taken for an orphan",
    file: 'upkeep/orphan-sweep.js',
    find: 'Math.min(olderThan, lifeMs)',
    replace: 'olderThan',
    judge: 'test/unit/upkeep/orphan-sweep.test.ts',
  },
  {
    name: "retention moves the log start of another broker's stream",
    file: 'upkeep/retention.js',
    find: '!scope.mine(topic.topicId, partition.partition)',
    replace: 'false',
    judge: 'test/unit/upkeep/scope.test.ts',
  },
  // ── Recovery ─────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "an epoch's start is taken for the committed end",
    file: 'metadata/committed-end.js',
    find: 'return Math.max(partition.startOffset, partition.manifest?.endOffset ?? 0, last?.endOffset ?? 0);',
    replace:
      'return Math.max(partition.startOffset, partition.manifest?.endOffset ?? 0, last?.endOffset ?? 0, partition.epochs.at(-1)?.startOffset ?? 0);',
  },
  {
    name: 'the log start is not applied',
    file: 'ownership/ownership.js',
    find: `                startOffset,
                endOffset: committedEnd(partition),`,
    replace: `                startOffset: 0,
                endOffset: committedEnd(partition),`,
  },
  {
    name: "producers' windows are not restored",
    file: 'log/log-manager.js',
    find: `        for (const producer of spec.producers)
            log.producers.take(producer);`,
    replace: '',
  },
  {
    name: 'the state object is forgotten at close',
    file: 'ownership/close-changes.js',
    find: "const stateObject = stateObjects.get(streamKey(topicId, partition)) ?? '';",
    replace: "const stateObject = '';",
  },
  {
    name: 'a closed partition ends one offset early',
    file: 'ownership/close-changes.js',
    find: 'endOffset: heldEnd, stateObject',
    replace: 'endOffset: Math.max(0, heldEnd - 1), stateObject',
  },
  {
    name: 'the leader epoch stays',
    file: 'ownership/ownership.js',
    find: 'const next = nextLeaderEpoch(metadata.image, partition);',
    replace: 'const next = nextLeaderEpoch(metadata.image, partition) - 1;',
  },
  {
    name: 'a drain goes on behind a gap',
    file: 'volumes/recovery-plan.js',
    find: 'if (base > end && !(salvaged && partition.wal === logId)) {',
    replace: 'if (false) {',
    judge: 'test/unit/volumes/recovery-plan.test.ts',
  },
  {
    name: 'a drain takes what an epoch has behind the end at which it was closed',
    file: 'volumes/recovery-plan.js',
    find: 'if (closedBelow(epochs, batches.leaderEpoch(i), base))',
    replace: 'if (false)',
    judge: 'test/unit/volumes/drain.test.ts',
  },
  {
    name: 'a drain forgets the producers of streams that it closes',
    file: 'volumes/drain.js',
    find: 'if (producers.length === 0)',
    replace: 'if (true)',
    judge: 'test/unit/volumes/drain.test.ts',
  },
  {
    name: 'a drain drops what metadata that may be old do not know',
    file: 'volumes/drain.js',
    find: 'if (plan.unknown.size > 0) {',
    replace: 'if (false) {',
    judge: 'test/unit/volumes/drain.test.ts',
  },
  // ── Opens and closes ─────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'a close is recorded before the tail is uploaded',
    file: 'ownership/upload-coordinator.js',
    find: 'const stored = await this.store(collected);\n        const freed',
    replace:
      'if (closing !== null) await metadata.commit(closing.changes(ends, new Map(), cut)); const stored = await this.store(collected);\n        const freed',
    judge: 'test/storage/broker/ownership.test.ts',
  },
  {
    name: 'a close does not wait for appends under way',
    file: 'shard/shard-partitions.js',
    find: 'await this.#settled(log);',
    replace: ';',
    judge: 'test/storage/broker/ownership.test.ts',
  },
  {
    name: 'a closing partition takes appends',
    file: 'log/log-manager.js',
    find: `beginClose(log) {
        log.writeError = ErrorCode.NOT_LEADER_OR_FOLLOWER;`,
    replace: `beginClose(log) {
        log.writeError = 0;`,
    judge: 'test/storage/broker/ownership.test.ts',
  },
  {
    name: 'a partition is opened without its producers',
    file: 'ownership/ownership.js',
    find: 'producers: producers.get(streamKey(topicId, index))?.snapshot() ?? [],',
    replace: 'producers: [],',
    judge: 'test/storage/broker/ownership.test.ts',
  },
  {
    name: 'fetches that wait for a closed partition are left waiting',
    file: 'log/log-manager.js',
    find: `log.live = false;
        log.touch();`,
    replace: 'log.live = false;',
    judge: 'test/storage/broker/ownership.test.ts',
  },
  {
    name: 'a close that failed leaves the partition closed for writes',
    file: 'ownership/ownership.js',
    find: 'await Promise.all(shards.map((shard) => shard.cancelClose(streams)));',
    replace: ';',
    judge: 'test/storage/broker/ownership.test.ts',
  },
  {
    name: 'a close of which nobody knows whether it was recorded is taken back',
    file: 'ownership/ownership.js',
    find: 'if (closing.committing && !refusedBy) {',
    replace: 'if (false) {',
    judge: 'test/unit/ownership/ownership.test.ts',
  },
  {
    name: 'partitions of a failed volume are opened in it again',
    file: 'ownership/volume-pins.js',
    find: 'return pinned === undefined || this.#failed.has(pinned) ?',
    replace: 'return pinned === undefined ?',
    judge: 'test/unit/ownership/ownership.test.ts',
  },
  // ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'blocks are cached without the name of their object',
    file: 'stream/cache/cached-block.js',
    find: '{objectId}@$',
    replace: '',
  },
  {
    name: 'batches are visible before they are durable',
    file: 'log/partition-log.js',
    find: `        this.tail.push(entry);
        this.nextOffset = lastOffset + 1;
        if (producerId`,
    replace: `        this.tail.push(entry);
        this.nextOffset = lastOffset + 1;
        journal.durable = journal.tail;
        this.onDurable(this.nextOffset);
        if (producerId`,
  },
  {
    name: 'what leaves memory while objects are searched by time is not searched',
    file: 'shard/cold-path.js',
    find: `while (searched < log.tailStart) {
                const end = log.tailStart;`,
    replace: `for (let once = 0; once < 1; once++) {
                const end = log.tailStart;`,
    judge: 'test/unit/shard/cold-path.test.ts',
  },
  {
    name: 'the CRC of a block that is read is not compared',
    file: 'stream/read/object-reader.js',
    find: 'if (this.#crc32c(memory, place, entry.size) !== entry.crc) {',
    replace: 'if (false) {',
    judge: 'test/unit/stream/read/cold-reader.test.ts',
  },
  {
    name: 'cached blocks are evicted while somebody reads them',
    file: 'stream/cache/block-slabs.js',
    find: 'if (slab.pins === 0 && !slab.touched && (slab.unread === 0 || slab.grace === 0)) {',
    replace: 'if (slab.loads === 0) {',
    judge: 'test/unit/stream/cache/block-cache.test.ts',
  },
  {
    name: 'a search by time passes over the record of that very time',
    file: 'stream/objects/object-index.js',
    find: '* entryBytes + 16) >= timestamp)',
    replace: '* entryBytes + 16) > timestamp)',
    judge: 'test/unit/stream/read/cold-reader.test.ts',
  },
  {
    name: 'a search by time ends at a block whose records are all too early',
    file: 'shard/cold-path.js',
    find: 'offset = batch.nextOffset;',
    replace: 'return null;',
    judge: 'test/unit/shard/cold-path.test.ts',
  },
  {
    name: 'a duplicate is answered before its original is durable',
    file: 'log/partition-log.js',
    find: 'if (baseOffset >= this.highWatermark)',
    replace: 'if (false)',
    judge: 'test/unit/log/partition-log.test.ts',
  },
  // ── What is deleted, merged and kept ─────────────────────────────────────────────────────────────────────────────
  {
    name: 'dropped objects are deleted without a grace period',
    file: 'upkeep/object-sweep.js',
    find: 'if (dueMs <= now && objectIds.length < passMax)',
    replace: 'if (objectIds.length < passMax)',
  },
  {
    name: 'the batch that holds the log start is forgotten',
    file: 'metadata/image-builder.js',
    find: `        for (const range of partition.objects) {
            if (range.endOffset > startOffset)
                break;
            if (range.endOffset > partition.stateOffset)`,
    replace: `        for (const range of partition.objects) {
            if (range.baseOffset >= startOffset)
                break;
            if (range.endOffset > partition.stateOffset)`,
  },
  {
    name: 'records are retained half a minute less than they should',
    file: 'upkeep/retention-plan.js',
    find: 'if (maxTimestamp >= oldest)',
    replace: 'if (maxTimestamp >= oldest + 30_000)',
  },
  {
    name: 'a merged object states a range that it does not hold',
    file: 'stream/compaction/merge-layout.js',
    find: 'ranges.push({ topicId, partition, baseOffset, endOffset, maxTimestamp, bytes });',
    replace:
      'ranges.push({ topicId, partition, baseOffset, endOffset: endOffset - 1, maxTimestamp, bytes });',
    judge: 'test/unit/stream/compaction/compact-objects.test.ts',
  },
  {
    name: "a manifest's version is not compared",
    file: 'metadata/conditions.js',
    find: 'if ((present?.version ?? 0) !== previous)',
    replace: 'if (false)',
    judge: 'test/unit/metadata/manifests.test.ts',
  },
  {
    name: "a manifest's number is written again",
    file: 'stream/manifest/manifest-writer.js',
    find: '[bytes], { ifAbsent: true });',
    replace: '[bytes]);',
    judge: 'test/unit/stream/manifest/manifest-writer.test.ts',
  },
  {
    name: 'a manifest takes objects over without their producers',
    file: 'stream/manifest/manifest-writer.js',
    find: `            for (const producer of cutProducers(part, endOffset))
                fold.take(producer, base.offset);`,
    replace: '',
    judge: 'test/unit/stream/manifest/manifest-writer.test.ts',
  },
  {
    name: 'objects below the log start are let go with the producers in them',
    file: 'metadata/image-builder.js',
    find: `            if (range.endOffset > partition.stateOffset)
                this.#keepLeftover(partition, range);`,
    replace: `            if (false)
                this.#keepLeftover(partition, range);`,
  },
  {
    name: 'objects below the log start are kept and not looked at',
    file: 'ownership/stored-producers.js',
    find: 'of [...partition.leftovers, ...partition.objects]',
    replace: 'of partition.objects',
  },
  {
    name: 'producers of records that a write-ahead log holds below the log start are forgotten',
    file: 'volumes/recovery-plan.js',
    find: 'this.#fates[log][i] = fate.headerOnly;',
    replace: ';',
    judge: 'test/storage/broker/deleted-records.test.ts',
  },
  {
    name: 'a compaction is committed whatever became of its sources',
    file: 'metadata/conditions.js',
    find: 'return this.#checkCompacted(change);',
    replace: 'return;',
    judge: 'test/unit/metadata/manifests.test.ts',
  },
  {
    name: 'a merged object may hold less than what it replaces',
    file: 'metadata/conditions.js',
    find: 'sources.find(({ needed, covered }) => needed && !covered)',
    replace: 'undefined',
    judge: 'test/unit/metadata/manifests.test.ts',
  },
  {
    name: 'blocks that are merged are not verified',
    file: 'stream/compaction/source-windows.js',
    find: 'if (this.#deps.crc32c(run.buffer, at, size) !== this.#pieces.crc[piece]) {',
    replace: 'if (false) {',
    judge: 'test/unit/stream/compaction/compact-objects.test.ts',
  },
  {
    name: 'a merged block keeps the CRC of its first part',
    file: 'stream/compaction/compact-objects.js',
    find: 'blocks.crc[pieces.block[this.#piece]] = this.#crc;',
    replace: '',
    judge: 'test/unit/stream/compaction/compact-objects.test.ts',
  },
  {
    name: 'retention by size takes one object too many',
    file: 'upkeep/retention-plan.js',
    find: 'if (excess < bytes)',
    replace: 'if (excess <= 0)',
    judge: 'test/unit/upkeep/retention-plan.test.ts',
  },
  {
    name: 'a manifest lets go of the object that holds the log start',
    file: 'upkeep/retention.js',
    find: 'manifest.objects.filter(({ endOffset }) => endOffset > startOffset)',
    replace: 'manifest.objects.filter(({ baseOffset }) => baseOffset >= startOffset)',
    judge: 'test/unit/upkeep/retention.test.ts',
  },
  {
    name: 'what manifests name is taken for orphans',
    file: 'upkeep/orphan-sweep.js',
    find: 'round.named.add(objectId);',
    replace: '',
    judge: 'test/unit/upkeep/orphan-sweep.test.ts',
  },
  {
    name: 'what this life has stored and not yet named is taken for orphans',
    file: 'upkeep/orphan-sweep.js',
    find: 'Number.parseInt(objectId, 16) >= round.idFloor)',
    replace: 'false)',
    judge: 'test/unit/upkeep/orphan-sweep.test.ts',
  },
  {
    name: 'a broker that was taken over sweeps on',
    file: 'upkeep/orphan-sweep.js',
    find: 'await metadata.persisted(await metadata.commit([]));',
    replace: '',
    judge: 'test/unit/upkeep/orphan-sweep.test.ts',
  },
];
