/** Planted bugs of the transaction coordinator and of the ways of its markers. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const steps = 'test/unit/coordinator/transaction/transaction-coordinator.test.ts';
const crashes = 'test/unit/coordinator/transaction/transaction-crashes.test.ts';
const links = 'test/unit/shard/transaction-links.test.ts';

export const transactionCoordinatorMutants: readonly Mutant[] = [
  {
    name: 'the end of a transaction does not take the epoch on',
    file: 'coordinator/transaction/transaction.js',
    find: 'producerEpoch: bumps ? value.producerEpoch + 1 : value.producerEpoch,',
    replace: 'producerEpoch: value.producerEpoch,',
    judge: steps,
  },
  {
    name: "a fence takes the epoch on by one, as a producer's own end does",
    file: 'coordinator/transaction/transaction.js',
    find: 'Math.min(producerEpoch + 2, lastEpoch + 1)',
    replace: 'Math.min(producerEpoch + 1, lastEpoch + 1)',
    judge: steps,
  },
  {
    name: "a fenced instance's abort of nothing takes the epoch on",
    file: 'coordinator/transaction/transaction.js',
    find: 'if (committed || !bumps || isRetry)',
    replace: 'if (committed || !bumps)',
    judge: steps,
  },
  {
    name: 'who repeats an end is fenced while its last record is on its way',
    file: 'coordinator/transaction/transaction.js',
    find: 'const isBumped = mayBeRetry && ',
    replace: 'const isBumped = mayBeRetry && !pending && ',
    judge: steps,
  },
  {
    name: 'partitions are added to a transaction that is being completed',
    file: 'coordinator/transaction/transaction.js',
    find: 'if (transaction.pending || transaction.isPreparing)\n        return ErrorCode.CONCURRENT',
    replace: 'if (transaction.pending)\n        return ErrorCode.CONCURRENT',
    judge: steps,
  },
  {
    name: 'a step is computed while another one is on its way to the log',
    file: 'coordinator/transaction/transaction.js',
    find: 'if (transaction.pending || transaction.isPreparing)\n        return ErrorCode.CONCURRENT',
    replace: 'if (transaction.isPreparing)\n        return ErrorCode.CONCURRENT',
    judge: steps,
  },
  {
    name: 'an id that was replaced is forgotten, and a lost answer fences its producer',
    file: 'coordinator/transaction/transaction.js',
    find: 'previousProducerId: replaced ? value.producerId : value.previousProducerId,',
    replace: 'previousProducerId: value.previousProducerId,',
    judge: steps,
  },
  {
    name: 'a transaction is complete with its first marker',
    file: 'coordinator/transaction/transaction-markers.js',
    find: 'if (--completion.left > 0)',
    replace: 'if (--completion.left > 1)',
    judge: steps,
  },
  {
    name: 'a marker that cannot be written now is given up',
    file: 'coordinator/transaction/transaction-markers.js',
    find: 'timers.add(timer);',
    replace: 'timers.add(timer); timer.cancel();',
    judge: steps,
  },
  {
    name: 'a commit is answered before it is durable',
    file: 'coordinator/transaction/transaction-coordinator.js',
    find: 'at.take(transaction, step, (error) => done(error === ErrorCode.NONE ? answerOf(transaction.value, version) : failed(error)));',
    replace:
      'at.take(transaction, step, () => {}); done(step.next === null ? failed(step.error) : answerOf(step.next, version));',
    judge: crashes,
  },
  {
    name: 'markers are not gone on with after a load',
    file: 'coordinator/transaction/transaction-partition.js',
    find: `        for (const transaction of this.transactions.values()) {
            if (transaction.isPreparing)`,
    replace: `        for (const transaction of this.transactions.values()) {
            if (false)`,
    judge: steps,
  },
  {
    name: 'what was open before a load never runs out of time',
    file: 'coordinator/transaction/transaction-partition.js',
    find: 'new Transaction(id, readTransactionValue(value))',
    replace: 'new Transaction(id, { ...readTransactionValue(value), startedMs: Number.MAX_SAFE_INTEGER })',
    judge: steps,
  },
  {
    name: "markers of offsets are written past the group's coordinator",
    file: 'shard/transaction-links.js',
    find: 'if (endTransaction(topic, partition, marker, done))\n            return;',
    replace: '',
    judge: links,
  },
];
