/** Planted bugs of the request handlers and of what answers them. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const fetchTest = 'test/unit/requests/fetch.test.ts';

export const requestMutants: readonly Mutant[] = [
  {
    name: 'a fetch does not look again at what changed while it read',
    file: 'requests/fetch.js',
    find: 'if (this.session.readyCount > 0) {',
    replace: 'if (false) {',
    judge: fetchTest,
  },
  {
    name: 'forgotten topics stay in a fetch session',
    file: 'requests/fetch.js',
    find: 'for (const topic of request.forgottenTopicsData) {',
    replace: 'for (const topic of []) {',
    judge: fetchTest,
  },
  {
    name: 'a fetch does not compare histories',
    file: 'requests/fetch.js',
    find: 'if (lastFetchedEpoch >= 0 &&',
    replace: 'if (false &&',
    judge: fetchTest,
  },
  {
    name: 'an epoch older than all that are known has no end',
    file: 'log/partition-log.js',
    find: 'return { epoch: at < 0 ? epoch : this.epochs[at].epoch, endOffset };',
    replace: 'return at < 0 ? { epoch: -1, endOffset: -1 } : { epoch: this.epochs[at].epoch, endOffset };',
    judge: 'test/storage/broker/leader-epochs.test.ts',
  },
  {
    name: 'duplicates of a batch whose write failed are not answered',
    file: 'log/append-journal.js',
    find: '        if (this.joined.size > 0) {',
    replace: '        if (error === 0 && this.joined.size > 0) {',
    judge: 'test/unit/log/partition-log.test.ts',
  },
];
