import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type GroupState,
  groupStates,
  isBlank,
  mayStep,
} from '../../../../src/coordinator/group/group-state.ts';

test('steps between the states of a group', () => {
  const { empty, preparingRebalance: preparing, completingRebalance: completing, stable, dead } = groupStates;
  const steps = new Map<GroupState, readonly GroupState[]>([
    [empty, [preparing, dead]],
    [preparing, [empty, completing, dead]],
    [completing, [preparing, stable, dead]],
    [stable, [preparing, dead]],
    [dead, []],
  ]);
  for (const [from, allowed] of steps)
    for (const to of steps.keys()) assert.equal(mayStep(from, to), allowed.includes(to), `${from} to ${to}`);
});

test('blank is what Java trims to nothing', () => {
  for (const text of ['', ' ', '\t\n ', '\u0000', '\u0020'])
    assert.equal(isBlank(text), true, JSON.stringify(text));
  for (const text of ['a', ' a', 'a ', '!', '\u00a0', ' \u0021']) assert.equal(isBlank(text), false, text);
  assert.equal(isBlank(null), false);
});
