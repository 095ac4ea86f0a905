/** Sessions of members, and the time that they have for a step, in virtual time. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemberTimes, type TimedMember } from '../../../../src/coordinator/group/member-times.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function rig() {
  const clock = new VirtualClock();
  const expired: string[] = [];
  const state = { gone: false, refusals: 0 };
  const times = new MemberTimes({
    clock,
    isGone: () => state.gone,
    expire: (groupId, { id }, reason) => {
      expired.push(`${clock.monotonic()} ${groupId} ${id} ${reason}`);
      return state.refusals-- > 0 ? 15 : 0;
    },
  });
  const member: TimedMember = { id: 'm', deadline: 0, sessionTimer: null, stepTimer: null };
  return { clock, expired, state, times, member };
}

test('a session ends its time after the last sign of life, to the millisecond', () => {
  const { clock, expired, times, member } = rig();
  times.touch('g', member, 100);
  clock.advance(60);
  times.touch('g', member, 100);
  assert.deepEqual([member.deadline, clock.timers], [160, 1]);
  clock.advance(99);
  assert.deepEqual(expired, []);
  clock.advance(1);
  assert.deepEqual(expired, ['160 g m session ended']);
  assert.deepEqual([clock.timers, member.sessionTimer], [0, null]);
});

test('a session that has become shorter ends sooner, a longer one later', () => {
  const shorter = rig();
  shorter.times.touch('g', shorter.member, 1_000);
  shorter.times.touch('g', shorter.member, 100);
  assert.equal(shorter.clock.timers, 1);
  shorter.clock.advance(2_000);
  assert.deepEqual(shorter.expired, ['100 g m session ended']);
  const longer = rig();
  longer.times.touch('g', longer.member, 100);
  longer.times.touch('g', longer.member, 1_000);
  longer.clock.advance(2_000);
  assert.deepEqual(longer.expired, ['1000 g m session ended']);
});

test('what the log refuses is tried again after a second, until it is taken', () => {
  const { clock, expired, state, times, member } = rig();
  state.refusals = 2;
  times.touch('g', member, 100);
  clock.advance(10_000);
  assert.deepEqual(expired, ['100 g m session ended', '1100 g m session ended', '2100 g m session ended']);
  state.refusals = 1;
  times.waitFor('g', member, 50, 'too slow');
  clock.advance(10_000);
  assert.deepEqual(expired.slice(3), ['10050 g m too slow', '11050 g m too slow']);
  assert.deepEqual([clock.timers, member.stepTimer], [0, null]);
});

test('a sign of life while the log refuses keeps the member', () => {
  const { clock, expired, state, times, member } = rig();
  state.refusals = 1;
  times.touch('g', member, 2_000);
  clock.advance(2_000);
  assert.equal(expired.length, 1);
  clock.advance(500);
  times.touch('g', member, 2_000);
  clock.advance(1_999);
  assert.equal(expired.length, 1);
  clock.advance(1);
  assert.deepEqual(expired[1], '4500 g m session ended');
});

test('who is gone is not taken out again', () => {
  const { clock, expired, state, times, member } = rig();
  times.touch('g', member, 100);
  times.waitFor('g', member, 50, 'too slow');
  state.gone = true;
  clock.advance(1_000);
  assert.deepEqual([expired, clock.timers], [[], 0]);
});

test('a step has one clock: it is set anew or stopped', () => {
  const { clock, expired, times, member } = rig();
  times.waitFor('g', member, 100, 'first');
  clock.advance(60);
  times.waitFor('g', member, 100, 'second');
  assert.equal(clock.timers, 1);
  clock.advance(99);
  assert.deepEqual(expired, []);
  clock.advance(1);
  assert.deepEqual(expired, ['160 g m second']);
  times.waitFor('g', member, 100, 'third');
  times.stopWaiting(member);
  times.stopWaiting(member);
  assert.deepEqual([clock.timers, member.stepTimer], [0, null]);
});
