/**
 * Bugs to plant, one at a time, in a copy of the compiled product: each is a change of text in one file. The text must be
 * there exactly once, or the suite fails: whoever changes the code that a mutant changes, adapts the mutant.
 */
export interface Mutant {
  readonly name: string;
  /** Below the compiled src/. */
  readonly file: string;
  readonly find: string;
  readonly replace: string;
  /** The test file that finds it, asked first where no seed does; without one all judges are asked. */
  readonly judge?: string;
  /** False: the simulation does not drive this room, so the judge is asked at once. */
  readonly driven?: false;
}

export const mutants: readonly Mutant[] = [
  // ── The write-ahead log, writing ─────────────────────────────────────────────────────────────────────────────────
  {
    name: 'what a dead writer left in caches is not flushed',
    file: 'stream/wal/wal-writer.js',
    find: 'this.#device.sync((error) => this.#settle(number, error, 0));',
    replace: 'this.#clock.soon(() => this.#settle(number, null, 0));',
  },
  {
    name: 'a write is taken for done when it was begun',
    file: 'stream/wal/wal-writer.js',
    find: 'this.#device.write(plan, (error) => this.#settle(number, error, plan.bytes));',
    replace:
      'this.#device.write(plan, () => { }); this.#clock.soon(() => this.#settle(number, null, plan.bytes));',
  },
  {
    name: 'a failed write is taken for done',
    file: 'stream/wal/wal-writer.js',
    find: 'if (error === null && elapsed < this.#ioTimeoutMs) {',
    replace: 'if (elapsed < this.#ioTimeoutMs) {',
  },
  {
    name: 'ring space is reused before the superblock that trims it is durable',
    file: 'stream/wal/wal-writer.js',
    find: '            this.#superblock.trim(cut, done);',
    replace: `            {
                this.#superblock.trimmed = cut;
                this.#ring.trimPosition = cut.position;
                done(null);
            }`,
    judge: 'test/storage/wal-crash.test.ts',
  },
  {
    name: 'no pad where the ring wraps',
    file: 'stream/wal/wal-writer.js',
    find: 'return this.#start(works.pad, this.#builder.plan, now);',
    replace: 'this.#advance(); return true;',
  },
  {
    name: 'the ring grows before a superblock says so',
    file: 'stream/wal/wal-writer.js',
    find: `            this.#growPending = false;
            superblock.requireBoth();
            return this.#writeSuperblock(now);`,
    replace: `            this.#growPending = false;
            return true;`,
  },
  {
    name: 'superblocks do not alternate',
    file: 'stream/wal/superblock-keeper.js',
    find: 'this.#plan.filePosition = (s.generation % 2) * pageBytes;',
    replace: 'this.#plan.filePosition = 0;',
  },
  {
    name: 'a new epoch begins without its superblocks',
    file: 'stream/wal/wal-writer.js',
    find: 'this.#phase = phases.opening;',
    replace: `{
                    this.#superblock.written(0);
                    this.#superblock.written(0);
                    this.#phase = phases.open;
                }`,
    judge: 'test/storage/wal-crash.test.ts',
  },
  {
    name: 'only one superblock states a new epoch before its first commit',
    file: 'stream/wal/wal-writer.js',
    find: `now);
        this.#superblock.requireBoth();`,
    replace: 'now);',
    judge: 'test/unit/stream/wal/wal-writer.test.ts',
  },
  // ── The write-ahead log, recovering ──────────────────────────────────────────────────────────────────────────────
  {
    name: 'the chain CRC is not compared',
    file: 'stream/wal/recovery.js',
    find: 'header.previousCrc === this.#next.chainCrc &&',
    replace: '',
  },
  {
    name: 'commits of a given-up epoch count',
    file: 'stream/wal/recovery.js',
    find: 'return header.sequence >= s.epochFirstSequence ? header.epoch === s.epoch : header.epoch < s.epoch;',
    replace: 'return true;',
  },
  {
    name: 'the payload of the last commit is not verified',
    file: 'stream/wal/recovery.js',
    find: 'if (last === null || (await this.#verifyFrom(last.firstBatch)))',
    replace: 'if (true)',
  },
  {
    name: 'the CRC of recovered payload is not compared',
    file: 'stream/wal/payload-reader.js',
    find: 'const good = crc >>> 0 === batches.headers.readUInt32BE(header + 17);',
    replace: 'const good = true;',
  },
  {
    name: 'descriptors are ignored: recovered batches keep no header of theirs',
    file: 'stream/wal/payload-reader.js',
    find: 'batches.headers.copy(into, position, header, header + batchHeaderBytes);',
    replace: 'batches.headers.copy(into, position, 0, batchHeaderBytes);',
  },
  {
    name: 'a lock that somebody holds is taken',
    file: 'broker/wal-volumes.js',
    find: "if ('heldBy' in lock)",
    replace: 'lock.release ??= () => { };\n    if (false)',
    judge: 'test/storage/broker/refusals.test.ts',
  },
  {
    name: 'a WAL in use is recorded as empty',
    file: 'broker/wal-records.js',
    find: "state: 'open',\n        // A log that is empty",
    replace: "state: 'empty',\n        // A log that is empty",
  },
  // ── Upload ───────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'a commit is left out of the upload that frees it',
    file: 'broker/upload-coordinator.js',
    find: 'shard.collect(index, cut.sequence, withStates)',
    replace: 'shard.collect(index, Math.max(0, cut.sequence - 1), withStates)',
  },
  {
    name: 'the WAL is trimmed before the metadata name the objects',
    file: 'broker/upload-coordinator.js',
    find: 'const collected = await Promise.all(shards.map((shard) => shard.collect(index, cut.sequence, withStates)));',
    replace:
      'const collected = await Promise.all(shards.map((shard) => shard.collect(index, cut.sequence, withStates))); await this.trim(volume, cut);',
  },
  {
    name: 'batches may be evicted before their objects are named',
    file: 'broker/upload-coordinator.js',
    find: '        const stored = await this.store(collected);',
    replace:
      '        await Promise.all(shards.map((shard, i) => shard.uploaded(index, collected[i].end))); const stored = await this.store(collected);',
  },
  {
    name: 'object ids are granted without being recorded',
    file: 'broker/object-ids.js',
    find: "await this.metadata.commit([{ type: 'idBlock', kind: 'object', next: first + blockIds }]);",
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
  },
  {
    name: 'a seal is overlooked by its own writer',
    file: 'store/object-sequenced-log.js',
    find: `            if (found !== null && found.epoch >= this.#epoch)
                throw this.#fence(found);
            if (found !== null) {`,
    replace: '            if (found !== null) {',
  },
  {
    name: 'seals are trimmed away',
    file: 'store/sequenced-trim.js',
    find: ' && info.size > sequencedHeaderBytes)',
    replace: ')',
  },
  {
    name: 'the entry behind a snapshot is skipped',
    file: 'metadata/embedded-metadata-store.js',
    find: 'this.#readNext = snapshot === null ? 0 : snapshot.number + 1;',
    replace: 'this.#readNext = snapshot === null ? 0 : snapshot.number + 2;',
  },
  {
    name: 'a metadata change is answered before it is stored',
    file: 'metadata/embedded-metadata-store.js',
    find: 'await this.#log.append(batch.payload);',
    replace: 'this.#log.append(batch.payload).catch(() => { });',
  },
  {
    name: 'DeleteRecords is answered and not recorded',
    file: 'cluster/topic-admin.js',
    find: "this.#commitWithDrops({ type: 'logStart', topicId, partition, startOffset }, (drops) => drops.orphanedByLogStart([move]), settled));",
    replace: 'Promise.resolve(done));',
  },
  // ── Recovery ─────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "an epoch's start is taken for the committed end",
    file: 'broker/recovery.js',
    find: 'return Math.max(partition.startOffset, partition.manifest?.endOffset ?? 0, last?.endOffset ?? 0);',
    replace:
      'return Math.max(partition.startOffset, partition.manifest?.endOffset ?? 0, last?.endOffset ?? 0, partition.epochs.at(-1)?.startOffset ?? 0);',
  },
  {
    name: 'the log start is not applied',
    file: 'broker/recovery.js',
    find: 'startOffset: partition.startOffset,',
    replace: 'startOffset: 0,',
  },
  {
    name: "producers' windows are not restored",
    file: 'log/log-manager.js',
    find: `        for (const producer of spec.producers)
            log.producers.restore(producer);`,
    replace: '',
  },
  {
    name: 'the state object is forgotten at close',
    file: 'broker/close-changes.js',
    find: "stateObject: stateObjects.get(key) ?? '',",
    replace: "stateObject: '',",
  },
  {
    name: 'a closed partition ends one offset early',
    file: 'broker/close-changes.js',
    find: 'endOffset: ends.get(key),',
    replace: 'endOffset: Math.max(0, ends.get(key) - 1),',
  },
  {
    name: 'the leader epoch stays',
    file: 'broker/broker.js',
    find: 'leaderEpoch: partition.leaderEpoch + 1,',
    replace: 'leaderEpoch: partition.leaderEpoch,',
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
    file: 'broker/cold-path.js',
    find: 'while (searched < log.tailStart) {',
    replace: 'for (let once = 0; once < 1; once++) {',
    judge: 'test/unit/broker/cold-path.test.ts',
  },
  // ── What is deleted, merged and kept ─────────────────────────────────────────────────────────────────────────────
  {
    name: 'dropped objects are deleted without a grace period',
    file: 'broker/object-sweep.js',
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
    file: 'broker/retention-plan.js',
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
];
