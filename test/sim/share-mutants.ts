/** Planted bugs of share groups. See mutants.ts. */
import type { Mutant } from './mutants.ts';

const walk = 'test/unit/log/share/share-walk.test.ts';
const partition = 'test/unit/log/share/share-partition.test.ts';
const requests = 'test/unit/requests/share-requests.test.ts';
const states = 'test/unit/coordinator/share/share-state.test.ts';

export const shareMutants: readonly Mutant[] = [
  {
    name: 'a share lock is released twice',
    file: 'log/share/share-partition.js',
    find: 'if (run.state !== recordStates.acquired || run.member !== memberId)\n                    return ErrorCode.INVALID_RECORD_STATE;',
    replace: '',
    judge: walk,
  },
  {
    name: 'a record that was acknowledged is delivered again after a crash',
    file: 'log/share/share-partition.js',
    find: 'this.#writes.durable(done);',
    replace: 'done(0);',
    judge: walk,
  },
  {
    name: 'deliveries are forgotten with a reload',
    file: 'log/share/share-window.js',
    find: 'this.extend(lastOffset, deliveryState, deliveryCount);',
    replace: 'this.extend(lastOffset, deliveryState, 0);',
    judge: walk,
  },
  {
    name: 'the start of a share partition passes a record that is not finished',
    file: 'log/share/share-window.js',
    find: 'return state === recordStates.acknowledged || state === recordStates.archived;',
    replace: 'return state !== recordStates.available;',
    judge: walk,
  },
  {
    name: 'a committed transaction is taken for the aborted one before it',
    file: 'log/share/share-acquire.js',
    find: 'this.#aborting.delete(producerIdOf(view, at));',
    replace: '',
    judge: partition,
  },
  {
    name: 'an older snapshot of a share partition undoes the updates behind it',
    file: 'coordinator/share/share-state-partition.js',
    find: 'if (known === undefined || known.snapshotEpoch < fields.snapshotEpoch) {',
    replace: 'if (true) {',
    judge: states,
  },
  {
    name: 'a deposed owner of a share partition still writes its state',
    file: 'coordinator/share/share-state-partition.js',
    find: 'if (write.leaderEpoch < known.leaderEpoch)',
    replace: 'if (false)',
    judge: states,
  },
  {
    name: 'a share session begun anew gives others what its member holds',
    file: 'requests/support/share-session.js',
    find: 'this.#drop(known);',
    replace: 'this.end(known, ignore);',
    judge: requests,
  },
];
