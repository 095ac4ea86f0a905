/** Planted bugs of streams groups (KIP-1071). See mutants.ts. */
import type { Mutant } from './mutants.ts';

const directory = 'coordinator/group/streams/';
const tests = 'test/unit/coordinator/group/streams/';

export const streamsMutants: readonly Mutant[] = [
  {
    name: 'a task is given while another member still runs it',
    file: `${directory}task-reconcile.js`,
    find: "if (isHeld('active', id, partition, role !== 'active'))\n        return false;",
    replace: '',
    judge: `${tests}streams-walk.test.ts`,
  },
  {
    name: 'two copies of a task meet in one process',
    file: `${directory}task-reconcile.js`,
    find: "return !isHeld('standby', id, partition, true) && !isHeld('warmup', id, partition, true);",
    replace: 'return true;',
    judge: `${tests}streams-walk.test.ts`,
  },
  {
    name: 'who is to give a task up is forgotten as its holder',
    file: `${directory}streams-group.js`,
    find: `    #hold(id, { assigned, revoking }) {
        for (const key of [...heldKeys(assigned), ...heldKeys(revoking)]) {`,
    replace: `    #hold(id, { assigned }) {
        for (const key of heldKeys(assigned)) {`,
    judge: `${tests}streams-walk.test.ts`,
  },
  {
    name: 'a load forgets who has which task',
    file: `${directory}streams-group.js`,
    find: '            this.#hold(id, progress);',
    replace: '',
    judge: `${tests}streams-walk.test.ts`,
  },
  {
    name: 'a standby is given up before its task becomes active there',
    file: `${directory}task-reconcile.js`,
    find: '        take(revoking, role, id, partition);\n    const mustRevoke',
    replace: '        void take;\n    const mustRevoke',
    judge: `${tests}task-reconcile.test.ts`,
  },
  {
    name: 'the epoch of a member passes before it has given up',
    file: `${directory}task-reconcile.js`,
    find: 'return next(progress, epoch, taskStates.unrevoked, kept, revoking);',
    replace: 'return next(progress, targetEpoch, taskStates.unrevoked, kept, revoking);',
    judge: `${tests}task-reconcile.test.ts`,
  },
  {
    name: 'a task moves before its state is there',
    file: `${directory}warmups.js`,
    find: 'end - offset <= acceptableLag',
    replace: 'true',
    judge: `${tests}streams-group.test.ts`,
  },
  {
    name: 'more tasks warm up than may',
    file: `${directory}warmups.js`,
    find: 'else if (warmups < warmupsMax)',
    replace: 'else if (true)',
    judge: `${tests}warmups.test.ts`,
  },
  {
    name: 'a group that was empty waits for nobody',
    file: `${directory}streams-groups.js`,
    find: "if (group.delayTimer !== null)\n            return 'initial delay';",
    replace: '',
    judge: `${tests}streams-group.test.ts`,
  },
  {
    name: 'an earlier epoch commits for a task that the member got later',
    file: `${directory}streams-answers.js`,
    find: 'since !== undefined && since <= generation',
    replace: 'since !== undefined',
    judge: `${tests}streams-group.test.ts`,
  },
  {
    name: 'sessions of a streams group are not started again after a load',
    file: `${directory}streams-groups.js`,
    find: '            this.touch(groupId, member);\n            this.#watchRevocation',
    replace: '            this.#watchRevocation',
    judge: `${tests}streams-group.test.ts`,
  },
  {
    name: 'whatever topology a member brings is taken for that of the group',
    file: `${directory}streams-heartbeat.js`,
    find: 'sameTopology(topology, known)',
    replace: 'true',
    judge: `${tests}streams-group.test.ts`,
  },
  {
    name: 'the place of a static member is taken while it is there',
    file: `${directory}streams-heartbeat.js`,
    find: 'holder.progress.epoch !== staticLeaveEpoch',
    replace: 'false',
    judge: `${tests}streams-group.test.ts`,
  },
  {
    name: 'a member is told its tasks before they are durable',
    file: `${directory}streams-heartbeat.js`,
    find: 'this.#host.context.read((errorCode) => done(errorCode === ErrorCode.NONE ? answer',
    replace: '((then) => then(0))((errorCode) => done(errorCode === ErrorCode.NONE ? answer',
    judge: `${tests}streams-group.test.ts`,
  },
  {
    name: 'whoever did not hear what it is to give up is not told again',
    file: `${directory}streams-heartbeat.js`,
    find: 'changed || behind;',
    replace: 'changed;',
    judge: `${tests}streams-group.test.ts`,
  },
  {
    name: 'a standby lies beside the task that it is for',
    file: `${directory}sticky-assignor.js`,
    find: 'if (!process.copies.has(task.key) && this.#distanceOf(process, task) >= distance)',
    replace: 'if (this.#distanceOf(process, task) >= distance)',
    judge: `${tests}sticky-assignor.test.ts`,
  },
  {
    name: 'a repartition topic is sized by whichever input comes last',
    file: `${directory}configured-topology.js`,
    find: 'largest = Math.max(largest, this.#count(name));',
    replace: 'largest = this.#count(name);',
    judge: `${tests}configured-topology.test.ts`,
  },
  {
    name: 'tasks go on without their source topics',
    file: `${directory}streams-groups.js`,
    find: 'const ready = group.configured?.problem === null;',
    replace: 'const ready = group.configured !== null;',
    judge: `${tests}streams-group.test.ts`,
  },
];
