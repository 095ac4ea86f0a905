/** Planted bugs of groups of the consumer protocol (KIP-848). See mutants.ts. */
import type { Mutant } from './mutants.ts';

const directory = 'coordinator/group/consumer/';
const tests = 'test/unit/coordinator/group/consumer/';

export const groupMutants: readonly Mutant[] = [
  {
    name: 'a member goes on at an earlier epoch with partitions that it may not have',
    file: `${directory}consumer-heartbeat.js`,
    find: 'if (lost && isSubset(owned, progress.assigned))',
    replace: 'if (memberEpoch < progress.epoch)',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'a member commits at whatever epoch',
    file: `${directory}consumer-answers.js`,
    find: 'if (generation === member.progress.epoch || heldThen(member, query, topics))',
    replace: 'if (true)',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'an earlier epoch commits to a partition that the member got later',
    file: `${directory}consumer-answers.js`,
    find: 'since === undefined || since > query.generation',
    replace: 'since === undefined',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'a partition is given before its old owner has released it',
    file: `${directory}consumer-groups.js`,
    find: 'return owner === undefined || owner === member.id;',
    replace: 'return true;',
    judge: `${tests}consumer-walk.test.ts`,
  },
  {
    name: 'who is to give a partition up is forgotten as its owner, and it has two in one epoch',
    file: `${directory}consumer-group.js`,
    find: 'this.#own(id, member.progress.revoking);',
    replace: '',
    judge: `${tests}consumer-walk.test.ts`,
  },
  {
    name: 'a load forgets who is to give a partition up',
    file: `${directory}consumer-group.js`,
    find: 'this.#own(id, progress.revoking);',
    replace: '',
    judge: `${tests}consumer-walk.test.ts`,
  },
  {
    name: 'sessions are not started again after a load',
    file: `${directory}consumer-groups.js`,
    find: `            this.touch(shell, member);
            if (member.subscription.classic === null)`,
    replace: '            if (member.subscription.classic === null)',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'the target of a member that left is kept for who comes under its id',
    file: `${directory}consumer-records.js`,
    find: `        targetRecord(groupId, memberId, null),
        memberRecord(groupId, memberId, null),`,
    replace: '        memberRecord(groupId, memberId, null),',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'regexes are not resolved again when topics come',
    file: `${directory}regex-resolver.js`,
    find: 'group.regexVersion !== topics.version && clock.monotonic() >= group.resolveAt',
    replace: 'false',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'a heartbeat is answered before what it tells is durable',
    file: `${directory}consumer-heartbeat.js`,
    find: 'this.#host.context.read((errorCode) => done(errorCode === ErrorCode.NONE ? answer',
    replace: '((told) => told(0))((errorCode) => done(errorCode === ErrorCode.NONE ? answer',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'the epoch of a member rises before it has given up',
    file: `${directory}reconcile.js`,
    find: 'return next(progress, progress.epoch, progressStates.unrevoked',
    replace: 'return next(progress, targetEpoch, progressStates.unrevoked',
    judge: `${tests}reconcile.test.ts`,
  },
  {
    name: 'partitions that a topic got are not seen by its groups',
    file: `${directory}topics-hash.js`,
    find: 'topics.partitionCount(id)}`;',
    replace: '0}`;',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'a static member is taken over while it lives',
    file: `${directory}consumer-heartbeat.js`,
    find: 'takesOver && holder.progress.epoch !== staticLeaveEpoch',
    replace: 'false',
    judge: `${tests}consumer-group.test.ts`,
  },
  {
    name: 'the uniform assignor gives the larger shares to whoever comes first',
    file: `${directory}uniform-assignor.js`,
    find: 'const byHeld = [...shares].sort((a, b) => held.get(b).length - held.get(a).length);',
    replace: 'const byHeld = shares;',
    judge: `${tests}assignors.test.ts`,
  },
  {
    name: 'a group that goes back to the classic protocol takes another number for its generation',
    file: `${directory}migration.js`,
    find: 'classic.generation = Math.max(group.epoch, 0);',
    replace: 'classic.generation = 0;',
    judge: `${tests}migration.test.ts`,
  },
];
