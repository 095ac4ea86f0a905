/** Planted bugs of producers' states and of transactions in a partition's log. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const splits = 'test/unit/stream/producers/splits.test.ts';
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
];
