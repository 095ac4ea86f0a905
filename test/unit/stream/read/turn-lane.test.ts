/** No turn of the loop lets out more than its portion; readers take turns; everything gets out. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TurnLane } from '../../../../src/stream/read/turn-lane.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

test('answers leave in portions, reader by reader', async () => {
  const clock = new VirtualClock();
  const lane = new TurnLane(clock, 100);
  const left: { reader: string; turn: number; bytes: number }[] = [];
  let turn = 0;
  const enter = (reader: string, bytes: number) => {
    const wait = lane.enter(reader, bytes);
    const note = () => left.push({ reader, turn, bytes });
    if (wait === undefined) note();
    else void wait.then(note);
  };
  for (let i = 0; i < 12; i++) enter('greedy', 60);
  for (const reader of ['a', 'b', 'c']) enter(reader, 60);
  enter('large', 500);
  assert.equal(left.length, 1, 'the first goes at once');
  assert.equal(lane.waiting, 15);
  // A turn at a time: the clock would run them all.
  const soon: (() => void)[] = [];
  clock.soon = (fn) => soon.push(fn);
  clock.runSoon();
  for (turn = 1; lane.waiting > 0 && turn < 100; turn++) {
    await new Promise((resolve) => setImmediate(resolve));
    soon.shift()?.();
  }
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(left.length, 16);
  for (let t = 0; t <= turn; t++) {
    const of = left.filter((each) => each.turn === t);
    const bytes = of.reduce((sum, each) => sum + each.bytes, 0);
    assert(of.length <= 1 || bytes <= 100, `turn ${t}: ${bytes} bytes`);
  }
  const order = left.map(({ reader }) => reader);
  assert(Math.max(...['a', 'b', 'c', 'large'].map((reader) => order.indexOf(reader))) <= 6, order.join());
});

test('small answers share a turn, and an idle lane holds nothing back', () => {
  const clock = new VirtualClock();
  const lane = new TurnLane(clock, 100);
  for (let i = 0; i < 4; i++) assert.equal(lane.enter('r', 25), undefined);
  assert.notEqual(lane.enter('r', 25), undefined);
  clock.runSoon();
  clock.runSoon();
  assert.equal(lane.enter('r', 500), undefined);
});
