/** One step of a member towards its target: first it gives up, then its epoch rises, then it gets what is free. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { assignmentOf, ownedLists } from '../../../../../src/coordinator/group/consumer/assignment.ts';
import {
  freshProgress,
  type Progress,
  progressStates,
  reconcile,
} from '../../../../../src/coordinator/group/consumer/reconcile.ts';

const target = (...partitions: number[]) => assignmentOf([{ topicId: 't', partitions }]);
const lists = (...partitions: number[]) => (partitions.length === 0 ? [] : [{ topicId: 't', partitions }]);

function step(
  progress: Progress,
  epoch: number,
  wanted: number[],
  owned: number[] | null,
  taken: readonly number[] = [],
  force = false,
): Progress {
  return reconcile(progress, {
    targetEpoch: epoch,
    target: target(...wanted),
    owned: owned === null ? null : lists(...owned),
    isFree: (_topicId, partition) => !taken.includes(partition),
    force,
  });
}

const shown = ({ epoch, previousEpoch, state, assigned, revoking }: Progress) => ({
  epoch,
  previousEpoch,
  state,
  assigned: ownedLists(assigned),
  revoking: ownedLists(revoking),
});

it('a new member gets what is free at once, and the rest when it is', () => {
  const first = step(freshProgress, 5, [0, 1, 2], [], [2]);
  assert.deepEqual(shown(first), {
    epoch: 5,
    previousEpoch: 0,
    state: progressStates.unreleased,
    assigned: lists(0, 1),
    revoking: [],
  });
  assert.equal(step(first, 5, [0, 1, 2], null, [2]), first, 'nothing came free: nothing is written');
  const second = step(first, 5, [0, 1, 2], null);
  assert.deepEqual(shown(second), {
    epoch: 5,
    previousEpoch: 5,
    state: progressStates.stable,
    assigned: lists(0, 1, 2),
    revoking: [],
  });
  assert.deepEqual([...second.assigned.get('t')!.values()], [5, 5, 5]);
});

it('a member gives up first; its epoch stays until it has', () => {
  const stable = step(freshProgress, 3, [0, 1, 2], []);
  const told = step(stable, 4, [0, 3], [0, 1, 2]);
  assert.deepEqual(shown(told), {
    epoch: 3,
    previousEpoch: 3,
    state: progressStates.unrevoked,
    assigned: lists(0),
    revoking: lists(1, 2),
  });
  assert.equal(step(told, 4, [0, 3], null), told, 'it has not said what it owns');
  assert.equal(step(told, 5, [0, 3], [0, 2]), told, 'it still has one of them');
  const done = step(told, 5, [0, 3], [0]);
  assert.equal(done.epoch, 5);
  assert.equal(done.state, progressStates.stable);
  assert.deepEqual(ownedLists(done.assigned), lists(0, 3));
  // What it had all the time it has since then: its older commits are good (KIP-1251).
  assert.deepEqual(
    [...done.assigned.get('t')!],
    [
      [0, 3],
      [3, 5],
    ],
  );
});

it('what it does not own any more need not be given up', () => {
  const stable = step(freshProgress, 3, [0, 1], []);
  const joined = step(stable, 4, [1], []);
  assert.equal(joined.state, progressStates.stable);
  assert.equal(joined.epoch, 4);
  assert.deepEqual(ownedLists(joined.assigned), lists(1));
});

it('a partition that comes back while it is given up is free for its owner', () => {
  const told = step(step(freshProgress, 3, [0, 1], []), 4, [0], [0, 1]);
  const back = step(told, 5, [0, 1], [0]);
  assert.deepEqual(ownedLists(back.assigned), lists(0, 1));
  assert.deepEqual(
    [...back.assigned.get('t')!],
    [
      [0, 3],
      [1, 5],
    ],
  );
});

it('a target that lost a topic to the subscription counts at the same epoch', () => {
  const stable = step(freshProgress, 3, [0, 1], []);
  assert.equal(step(stable, 3, [0], [0, 1]), stable);
  assert.equal(step(stable, 3, [0], [0, 1], [], true).state, progressStates.unrevoked);
  assert.equal(step(stable, 3, [0, 1], [0, 1], [], true), stable);
});
