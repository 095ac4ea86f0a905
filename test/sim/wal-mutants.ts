/** Planted bugs of the write-ahead logs: on a block volume, in a bucket, on a shared file system. See mutants.ts. */
import type { Mutant } from './mutants.ts';

export const walMutants: readonly Mutant[] = [
  // ── The write-ahead log, writing ─────────────────────────────────────────────────────────────────────────────────
  {
    name: 'what a dead writer left in caches is not flushed',
    file: 'stream/wal/wal-writer.js',
    find: 'this.#device.sync((error) => this.#settle(number, error, 0));',
    replace: 'this.#clock.soon(() => this.#settle(number, null, 0));',
    judge: 'test/unit/stream/wal/wal-writer.test.ts',
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
    judge: 'test/unit/stream/wal/wal-writer.test.ts',
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
    judge: 'test/storage/wal-crash.test.ts',
  },
  {
    name: 'the ring grows before a superblock says so',
    file: 'stream/wal/wal-writer.js',
    find: `        if (this.#growth.takeChunk()) {
            superblock.requireBoth();
            return this.#writeSuperblock(now);`,
    replace: `        if (this.#growth.takeChunk()) {
            return true;`,
    judge: 'test/unit/stream/wal/wal-writer.test.ts',
  },
  {
    name: 'superblocks do not alternate',
    file: 'stream/wal/superblock-keeper.js',
    find: 'this.#plan.filePosition = (s.generation % 2) * pageBytes;',
    replace: 'this.#plan.filePosition = 0;',
    judge: 'test/unit/stream/wal/wal-writer.test.ts',
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
  },
  {
    name: 'only one superblock states a new epoch before its first commit',
    file: 'stream/wal/wal-writer.js',
    find: `now);
        this.#superblock.requireBoth();`,
    replace: 'now);',
    judge: 'test/unit/stream/wal/wal-writer.test.ts',
  },
  // ── The thread of a block log ────────────────────────────────────────────────────────────────────────────────────
  {
    name: 'an append is slept over while a superblock is due later',
    file: 'threads/wal/wal-loop.js',
    find: 'this.#parts.sources.some((source) => source.fresh);',
    replace:
      '(this.#parts.pump.wakeAt === Number.POSITIVE_INFINITY && this.#parts.sources.some((source) => source.fresh));',
    judge: 'test/unit/threads/wal/wal-loop.test.ts',
  },
  {
    name: 'a call is slept over by the thread of a log',
    file: 'threads/wal/wal-loop.js',
    find: '#pending = () => this.#takeCalls() ||',
    replace: '#pending = () =>',
    judge: 'test/unit/threads/wal/wal-loop.test.ts',
  },
  {
    name: 'each of two shards is asked for all the company that is missing',
    file: 'threads/wal/wal-loop.js',
    find: 'Math.ceil(missing / sources.length)',
    replace: 'missing',
    judge: 'test/unit/threads/wal/wal-loop.test.ts',
  },
  {
    name: 'company that is complete while the doorbell is armed is slept over',
    file: 'threads/wal/ring-append-source.js',
    find: 'there >= this.#wanted',
    replace: 'there > this.#wanted',
    judge: 'test/unit/threads/wal/wal-loop.test.ts',
  },
  {
    name: 'a shard does not ring for the append that completes the company',
    file: 'threads/memory/ring.js',
    find: '>= from;',
    replace: '> from;',
    judge: 'test/unit/threads/memory/ring.test.ts',
  },
  {
    name: 'a shard rings for each append',
    file: 'threads/wal/ring-wal.js',
    find: 'if (this.appends.wanted())',
    replace: 'if (true)',
    judge: 'test/unit/threads/wal/ring-wal.test.ts',
  },
  {
    name: 'the thread of a log still waits for company when nothing waits',
    file: 'stream/wal/wal-writer.js',
    find: '        this.enough = 0;\n        switch',
    replace: '        switch',
    judge: 'test/unit/threads/wal/wal-loop.test.ts',
  },
  {
    name: 'the thread of a log spins while an append waits for room',
    file: 'threads/wal/wal-loop.js',
    find: 'this.#parts.sources.some((source) => source.fresh);',
    replace: 'this.#parts.sources.some((source) => source.waiting() > 0);',
    judge: 'test/unit/threads/wal/wal-loop.test.ts',
  },
  {
    name: 'a batch is taken that the ring is too short for as yet',
    file: 'stream/wal/ring-growth.js',
    find: 'return batchBytesOf(this.#ring.ringBytes);',
    replace: 'return this.batchBytesEver;',
    judge: 'test/unit/stream/wal/wal-writer.test.ts',
  },
  {
    name: 'a shard hands any batch to the thread of a log',
    file: 'threads/wal/ring-wal.js',
    find: 'if (length > this.stats[walStats.batchBytesMax])',
    replace: 'if (false)',
    judge: 'test/unit/threads/wal/ring-wal.test.ts',
  },
  {
    name: 'the ring does not grow for a batch that is longer than it has room for',
    file: 'stream/wal/ring-growth.js',
    find: ' || this.#tooShort);',
    replace: ');',
    judge: 'test/unit/stream/wal/wal-writer.test.ts',
  },
  {
    name: 'a log that somebody opened is removed because nothing records it',
    file: 'volumes/wal-files.js',
    find: 'superblock.clusterId !== clusterId || superblock.epoch > 0)',
    replace: 'superblock.clusterId !== clusterId)',
    judge: 'test/storage/broker/unrecorded-wal.test.ts',
  },
  // ── A start on a volume that does not answer ─────────────────────────────────────────────────────────────────────
  {
    name: 'a start waits for ever for a volume that does not answer',
    file: 'volumes/start-watch.js',
    find: 'lookIn(Math.min(patienceMs, limitMs));',
    replace: 'limitMs = Number.POSITIVE_INFINITY; lookIn(patienceMs);',
    judge: 'test/unit/volumes/watched-files.test.ts',
  },
  {
    name: 'a start waits in silence',
    file: 'volumes/start-watch.js',
    find: 'if (wait.slow)\n                    say(waitedMs);',
    replace: '',
    judge: 'test/unit/volumes/start-watch.test.ts',
  },
  {
    name: 'a start that waits ignores a stop',
    file: 'volumes/start-watch.js',
    find: 'if (wait.slow && this.#stopping)',
    replace: 'if (false)',
    judge: 'test/unit/volumes/start-watch.test.ts',
  },
  {
    name: 'reads of a volume are not watched at a start',
    file: 'volumes/watched-files.js',
    find: 'return this.#call(() => this.#device.read(into, position));',
    replace: 'return this.#device.read(into, position);',
    judge: 'test/unit/volumes/watched-files.test.ts',
  },
  // ── The write-ahead log, recovering ──────────────────────────────────────────────────────────────────────────────
  {
    name: 'the chain CRC is not compared',
    file: 'stream/wal/recovery.js',
    find: 'header.previousCrc === this.#next.chainCrc &&',
    replace: '',
    judge: 'test/storage/wal-damage.test.ts',
  },
  {
    name: 'commits of a given-up epoch count',
    file: 'stream/wal/recovery.js',
    find: 'return header.sequence >= s.epochFirstSequence ? header.epoch === s.epoch : header.epoch < s.epoch;',
    replace: 'return true;',
    judge: 'test/storage/wal-crash.test.ts',
  },
  {
    name: 'the payload of the last commit is not verified',
    file: 'stream/wal/recovery.js',
    find: 'if (last === null || (await this.#verifyFrom(last.firstBatch)))',
    replace: 'if (true)',
    judge: 'test/storage/wal-crash.test.ts',
  },
  {
    name: 'the CRC of recovered payload is not compared',
    file: 'stream/wal/payload-reader.js',
    find: 'const good = crc >>> 0 === batches.headers.readUInt32BE(header + 17);',
    replace: 'const good = true;',
    judge: 'test/storage/wal-crash.test.ts',
  },
  {
    name: 'descriptors are ignored: recovered batches keep no header of theirs',
    file: 'stream/wal/payload-reader.js',
    find: 'batches.headers.copy(into, position, header, header + batchHeaderBytes);',
    replace: 'batches.headers.copy(into, position, 0, batchHeaderBytes);',
  },
  {
    name: 'a lock that somebody holds is taken',
    file: 'volumes/local-volume.js',
    find: "if ('heldBy' in lock)",
    replace: 'lock.release ??= () => { };\n    if (false)',
    judge: 'test/storage/broker/refusals.test.ts',
  },
  {
    name: 'a WAL in use is recorded as empty',
    file: 'volumes/wal-records.js',
    find: "state: 'open',\n        // A log that is empty",
    replace: "state: 'empty',\n        // A log that is empty",
  },
  {
    name: 'a chain that ends before what was durable is believed',
    file: 'stream/wal/recovery.js',
    find: 'if (this.#next.sequence < s.durableSequence) {',
    replace: 'if (false) {',
    judge: 'test/storage/wal-damage.test.ts',
  },
  {
    name: 'commits behind the end of the chain are not looked for',
    file: 'stream/wal/recovery.js',
    find: 'const beyond = await this.#searchBehind(tornAt);',
    replace: 'const beyond = 0;',
    judge: 'test/storage/wal-damage.test.ts',
  },
  // ── The write-ahead log in a bucket, and on a shared file system ────────────────────────────────────────────────
  {
    name: 'an object WAL answers when a put begins',
    file: 'store/pipelined-log.js',
    find: 'void this.#store(entry);',
    replace: 'void this.#store(entry); this.#options.clock.soon(() => this.#stored(entry));',
    judge: 'test/unit/store/pipelined-log.test.ts',
  },
  {
    name: 'a number that somebody else took counts as stored in an object WAL',
    file: 'store/pipelined-log.js',
    find: `            if (outcome === null)
                return this.#stored(entry);`,
    replace: `            if (outcome === null || hasCode(outcome, 'STORE_EXISTS'))
                return this.#stored(entry);`,
    judge: 'test/unit/store/pipelined-log.test.ts',
  },
  {
    name: 'an object WAL acknowledges what lies below a stored number',
    file: 'store/pipelined-log.js',
    find: 'oldest?.stored === true;',
    replace: 'oldest !== undefined && oldest.number <= entry.number;',
    judge: 'test/unit/store/pipelined-log.test.ts',
  },
  {
    name: 'a taker begins right behind its seal',
    file: 'store/pipelined-log.js',
    find: 'return sealed + pipelineWindowMax;',
    replace: 'return sealed + 1;',
    judge: 'test/unit/store/pipelined-log.test.ts',
  },
  {
    name: 'a taker does not seal the log of objects that it takes',
    file: 'stream/wal/object-wal-recovery.js',
    find: '(await sealNumber(this.#identity.entries, clock, number, epoch)) !== null',
    replace: 'false',
    judge: 'test/storage/wal-object-crash.test.ts',
  },
  {
    name: 'signs of life are overlooked',
    file: 'stream/wal/sign-of-life.js',
    find: 'if (now !== null && now > newest) {',
    replace: 'if (false) {',
    judge: 'test/storage/broker/object-wal.test.ts',
  },
  {
    name: 'an idle owner gives no sign of life',
    file: 'stream/wal/object-wal-writer.js',
    find: 'void this.#sign();',
    replace: 'this.#heardAt = now;',
    judge: 'test/storage/broker/object-wal.test.ts',
  },
  {
    name: 'the fence page is not read again after a write',
    file: 'stream/wal/wal-writer.js',
    find: `if (this.#fence === null)
                    this.#committed();`,
    replace: `if (true)
                    this.#committed();`,
    judge: 'test/storage/wal-shared.test.ts',
  },
  {
    name: 'a fence page that cannot be read is taken for the own one',
    file: 'stream/wal/fence-page.js',
    find: 'if (error === null && bytes === pageBytes && this.#found.equals(this.#expected))',
    replace: 'if (error !== null || this.#found.equals(this.#expected))',
    judge: 'test/storage/wal-shared.test.ts',
  },
  {
    name: 'a taker reads a shared log without fencing it',
    file: 'volumes/shared-volume.js',
    find: 'await writeFence(predecessor.device, encodeFence({ logId, clusterId, epoch, writer }, random, crc32c));',
    replace: '',
    judge: 'test/storage/broker/shared-wal.test.ts',
  },
  {
    name: "another machine's shared log is taken without being told to",
    file: 'volumes/shared-volume.js',
    find: 'if (fence === null || fence.writer === deps.writer)',
    replace: 'if (true)',
    judge: 'test/storage/broker/shared-wal.test.ts',
  },
  // ── Local logs: whose they are, and a thread inside a write ──────────────────────────────────────────────────────
  {
    name: 'a local fence page is not looked at',
    file: 'stream/wal/fence-page.js',
    find: 'return peek === undefined ? null',
    replace: 'return true ? null',
    judge: 'test/storage/broker/unproven-owner.test.ts',
  },
  {
    name: 'an owner that cannot be seen counts as gone',
    file: 'volumes/local-volume.js',
    find: 'lock.unproven === true &&',
    replace: 'false &&',
    judge: 'test/storage/broker/unproven-owner.test.ts',
  },
  {
    name: 'an older copy of a log is believed',
    file: 'volumes/wal-files.js',
    find: 'if (epoch < record.epoch)',
    replace: 'if (false)',
    judge: 'test/storage/broker/moved-wal.test.ts',
  },
  {
    name: 'a moved log that ends below what is in objects is believed',
    file: 'volumes/wal-files.js',
    find: 'if (next.sequence < record.freed.sequence)',
    replace: 'if (false)',
    judge: 'test/storage/broker/moved-wal.test.ts',
  },
  {
    name: 'a write is reported although its epoch was ended meanwhile',
    file: 'threads/wal/write-watch.js',
    find: 'if (found === this.#number)',
    replace: 'if (true)',
    judge: 'test/unit/threads/wal/write-watch.test.ts',
  },
  {
    name: 'memory of a write that is still out is given away',
    file: 'threads/wal/ring-wal.js',
    find: 'this.fail(true);',
    replace: 'this.fail(false);',
    judge: 'test/unit/threads/wal/ring-wal.test.ts',
  },
  {
    name: 'a broker acknowledges however long it is without its metadata',
    file: 'log/append-journal.js',
    find: 'if (!this.mayAcknowledge())',
    replace: 'if (false)',
    judge: 'test/storage/trouble/alone.test.ts',
  },
];
