/** Planted bugs of producers' states and of transactions in a partition's log. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const splits = 'test/unit/stream/producers/splits.test.ts';
const reads = 'test/unit/shard/transaction-reads.test.ts';
const lives = 'test/storage/broker/transactions.test.ts';
const checks = 'test/unit/log/producer-check.test.ts';
const fold = 'test/unit/stream/producers/producer-fold.test.ts';

export const transactionMutants: readonly Mutant[] = [
  {
    name: 'the fold forgets a transaction that a stored state says is open',
    file: 'stream/producers/producer-fold.js',
    find: `        if (txnFirstOffset >= 0)
            this.#begin(producer, txnFirstOffset);`,
    replace: '',
    judge: splits,
  },
  {
    name: 'a cut forgets a transaction whose batches all lie behind it',
    file: 'stream/producers/producer.js',
    find: `        if (lastOffset < 0)
            return null;`,
    replace: `        if (lastOffset < 0 || batches.length === 0)
            return null;`,
    judge: splits,
  },
  {
    name: "a snapshot of an earlier end has today's first offset",
    file: 'stream/producers/producer.js',
    find: 'txnFirstOffset: change?.txnFirst ?? -1,',
    replace: 'txnFirstOffset: this.transaction?.first ?? -1,',
    judge: splits,
  },
  {
    name: 'the last stable offset passes a marker before it is durable',
    file: 'stream/producers/producer-fold.js',
    find: 'if (offset < this.#durableEnd)',
    replace: 'if (true)',
    judge: fold,
  },
  {
    name: 'the last stable offset passes an open transaction',
    file: 'stream/producers/producer-fold.js',
    find: 'const [oldest] = this.#transactions;',
    replace: 'const oldest = this.#transactions.at(-1);',
    judge: fold,
  },
  {
    name: 'a producer with an open transaction expires',
    file: 'stream/producers/producer-fold.js',
    find: `        if (transaction !== null)
            return false;
        return changes === null`,
    replace: `        return changes === null`,
    judge: fold,
  },
  {
    name: 'a producer expires while its marker is in no object',
    file: 'stream/producers/producer-fold.js',
    find: 'changes[changes.length - 1].offset < this.#storedEnd',
    replace: 'true',
    judge: fold,
  },
  {
    name: 'producers expire by the time of their records',
    file: 'stream/producers/producer-fold.js',
    find: 'idleSince(producer.activeMs, nowMs - expirationMs)',
    replace: 'idleSince(producer.timestamp, nowMs - expirationMs)',
    judge: fold,
  },
  {
    name: 'batches that memory has forgotten are missing in a state',
    file: 'stream/producers/producer-fold.js',
    find: '(entry?.batches.length ?? 0) < most',
    replace: 'entry === null',
    judge: splits,
  },
  {
    name: 'an older state of a producer replaces a newer one',
    file: 'stream/producers/producer-fold.js',
    find: 'if (known.lastOffset > entry.lastOffset)',
    replace: 'if (false)',
    judge: splits,
  },
  {
    name: 'after a crash the state at a close is that at its end, not at the end of the objects',
    file: 'log/delta-collection.js',
    find: 'producers.changedSince(held) ? held : Math.max(held, log.highWatermark)',
    replace: 'Math.max(held, log.highWatermark)',
    judge: lives,
  },
  {
    name: 'after a crash the state at a close is taken for that at its end',
    file: 'metadata/image-builder.js',
    find: 'this.#takeState(partition, covered, change.stateObject);',
    replace: 'this.#takeState(partition, change.endOffset, change.stateObject);',
    judge: lives,
  },
  {
    name: 'a batch of an epoch that a marker ended counts as a duplicate',
    file: 'log/producer-check.js',
    find: 'if (sequence === noSequence || epoch !== producer.epoch)',
    replace: 'if (sequence === noSequence)',
    judge: lives,
  },
  {
    name: 'a lost marker leaves its transaction to the next one',
    file: 'stream/producers/batch-fold.js',
    find: 'if (marker !== null && marker.type !== markerType.abort',
    replace: 'if (marker === null || marker.type !== markerType.abort',
    judge: 'test/unit/stream/producers/batch-fold.test.ts',
  },
  // ── Reading ──────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "the list of aborted transactions is cut at an object's edge",
    file: 'stream/read/aborted-index.js',
    find: 'return stableOf(opened, topicId, partition, range, group) < end;',
    replace: 'return false;',
    judge: reads,
  },
  {
    name: 'aborted transactions whose markers are in memory are missing for older records',
    file: 'shard/cold-path.js',
    find: `            if (txn.lastOffset >= searched)
                found.push(txn);`,
    replace: '',
    judge: reads,
  },
  {
    name: 'a read of committed records goes up to the high watermark',
    file: 'log/partition-log.js',
    find: 'const limit = committed ? this.lastStableOffset : this.highWatermark;',
    replace: 'const limit = this.highWatermark;',
    judge: reads,
  },
  {
    name: 'older records are read past the last stable offset',
    file: 'shard/cold-path.js',
    find: 'const limitOffset = committed?.lastStableOffset ?? log.highWatermark;',
    replace: 'const limitOffset = log.highWatermark;',
    judge: reads,
  },
  {
    name: 'a read of committed records that retention overtakes brings records without what was aborted',
    file: 'shard/cold-path.js',
    find: 'if (range.baseOffset > searched)',
    replace: 'if (false)',
    judge: 'test/unit/shard/cold-path.test.ts',
  },
  {
    name: 'a read of committed records ends the search for what was aborted where the objects end',
    file: 'shard/cold-path.js',
    find: 'if (searched === before)\n                throw overtaken(searched);',
    replace: 'if (searched === before)\n                break;',
    judge: 'test/unit/shard/cold-path.test.ts',
  },
  {
    name: 'an upload leaves its aborted transactions out',
    file: 'log/delta-collection.js',
    find: 'aborted: producers.abortedIn(baseOffset, endOffset),',
    replace: 'aborted: [],',
    judge: reads,
  },
  {
    name: 'a merge leaves aborted transactions out',
    file: 'stream/compaction/merge-sections.js',
    find: 'if (txn.lastOffset >= needed && txn.lastOffset < range.endOffset)',
    replace: 'if (false)',
    judge: reads,
  },
  {
    name: 'a merged object does not say what is open at its end',
    file: 'stream/compaction/merge-sections.js',
    find: 'transactions.length > 0 || lastStableOffset < endOffset',
    replace: 'transactions.length > 0',
    judge: reads,
  },
  {
    name: 'an object does not say what is open at its end',
    file: 'stream/upload/object-builder.js',
    find: 'delta.aborted.length > 0 || delta.lastStableOffset < delta.endOffset',
    replace: 'delta.aborted.length > 0',
    judge: reads,
  },
  {
    name: 'aborted transactions are forgotten while their records are in memory',
    file: 'log/log-manager.js',
    find: 'producers.forgetAborted(log.tailStart);',
    replace: 'producers.forgetAborted(log.nextOffset);',
    judge: reads,
  },
  {
    name: 'a gap at the end of a block ends the read',
    file: 'log/partition-log.js',
    find: 'else if (error === 0 && records === null && nextOffset > offset) {',
    replace: 'else if (false) {',
    judge: 'test/unit/log/partition-log.test.ts',
  },
  // ── Appending ────────────────────────────────────────────────────────────────────────────────────────────────────
  {
    name: "a marker with an older coordinator's epoch is accepted",
    file: 'log/producer-check.js',
    find: 'if (marker.coordinatorEpoch < producer.coordinatorEpoch)',
    replace: 'if (false)',
    judge: checks,
  },
  {
    name: 'a late marker of the transaction before ends the next one',
    file: 'log/producer-check.js',
    find: 'if (epoch < producer.epoch || late)',
    replace: 'if (epoch < producer.epoch)',
    judge: checks,
  },
  {
    name: 'a transaction begins without its coordinator knowing',
    file: 'log/producer-check.js',
    find: `        if (!verified)
            return ErrorCode.INVALID_TXN_STATE;`,
    replace: '',
    judge: checks,
  },
  {
    name: 'records outside of the transaction are taken into it',
    file: 'log/producer-check.js',
    find: 'if (plain && producer !== undefined && producer.transaction !== null)\n        return',
    replace: 'if (false)\n        return',
    judge: checks,
  },
];
