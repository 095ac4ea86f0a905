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
    file: 'requests/support/fetch-session.js',
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
  {
    name: 'histories part below the log start',
    file: 'requests/fetch.js',
    find: 'const below = this.reading[index].fetchOffset < handle.startOffset;',
    replace: 'const below = false;',
    judge: fetchTest,
  },
  {
    name: 'a request without time left is served',
    file: 'requests/support/time-limit.js',
    find: 'return timeoutMs <= 0;',
    replace: 'return false;',
    judge: 'test/unit/requests/create-topics.test.ts',
  },
  {
    name: 'a small time-out ends the waiting for a change that has begun',
    file: 'requests/support/time-limit.js',
    find: 'Math.max(begunMsMin, limitMs)',
    replace: 'Math.max(1, limitMs)',
    judge: 'test/unit/requests/support/time-limit.test.ts',
  },
  {
    name: 'of a partition named twice the first mention counts',
    file: 'requests/support/named-twice.js',
    find: 'of.set(partition.partitionIndex, partition);',
    replace: 'if (!of.has(partition.partitionIndex)) of.set(partition.partitionIndex, partition);',
    judge: 'test/unit/requests/delete-records.test.ts',
  },
  {
    name: 'pages of a listing may go round',
    file: 'store/s3-store.js',
    find: 'pages.next(page.NextContinuationToken)',
    replace: 'page.NextContinuationToken',
    judge: 'test/storage/s3-answers.test.ts',
  },
  {
    name: "a group's configs are bound by nothing",
    file: 'config/config-catalog.js',
    find: "return scope === 'group' ? groupRangeProblem(entries, brokerValue) : null;",
    replace: 'return null;',
    judge: 'test/storage/broker/configs.test.ts',
  },
  {
    name: 'keys of listeners are changed while the broker runs, without effect',
    file: 'requests/support/config-edits.js',
    find: 'if (listenerConfigs.test(name)) {',
    replace: 'if (false) {',
    judge: 'test/storage/broker/configs.test.ts',
  },
  {
    name: 'clients push metrics as often as they like',
    file: 'requests/push-telemetry.js',
    find: 'if (!terminating && now < instance.lastPushMs + subscription.pushIntervalMs) {',
    replace: 'if (false) {',
    judge: 'test/unit/requests/telemetry.test.ts',
  },
  {
    name: 'a feature is finalized beyond what is served',
    file: 'requests/support/features.js',
    find: 'Math.min(feature.maxVersion, Number(told))',
    replace: 'Number(told)',
    judge: 'test/unit/requests/update-features.test.ts',
  },
];
