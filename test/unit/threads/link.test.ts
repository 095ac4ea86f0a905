import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  attachLink,
  createLinkMemory,
  createLocalLink,
  type LinkEnd,
  LinkPump,
} from '../../../src/threads/link.ts';
import { type Doorbell, InlineDoorbell } from '../../../src/threads/memory/doorbell.ts';
import { InlineSource, LoopWaiter } from '../../../src/threads/memory/waiter.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

class CountingBell implements Doorbell {
  rings = 0;
  ring(): void {
    this.rings++;
  }
}

function push(end: LinkEnd, value: number): boolean {
  const at = end.reserve();
  if (at < 0) return false;
  end.words[at] = value;
  return true;
}

function drain(end: LinkEnd, max = 100): number[] {
  const got: number[] = [];
  end.receive((at, words) => got.push(words[at] as number), max);
  return got;
}

function localPair(slots: number) {
  const bells = { a: new CountingBell(), b: new CountingBell() };
  return { ...createLocalLink(slots, 2, bells), bells };
}

test('one ring per flush, none when there is nothing to say', () => {
  const { a, b, bells } = localPair(8);
  a.flush();
  assert.equal(bells.b.rings, 0);
  for (let i = 0; i < 3; i++) push(a, i);
  assert.equal(b.pending(), false);
  a.publish();
  assert.equal(b.pending(), true);
  assert.equal(bells.b.rings, 0, 'publish alone wakes nobody');
  push(a, 3);
  a.flush();
  a.flush();
  assert.equal(bells.b.rings, 1);
  assert.deepEqual(drain(b, 3), [0, 1, 2]);
  assert.deepEqual(drain(b, 3), [3]);
  assert.deepEqual(drain(b, 3), []);
});

test('both directions are independent and survive a structured clone', () => {
  const memory = createLinkMemory(4, 3);
  const a = attachLink(memory, 'a');
  const b = attachLink(structuredClone(memory), 'b');
  push(a, 1);
  push(b, 2);
  a.flush();
  b.flush();
  assert.deepEqual(drain(a), [2]);
  assert.deepEqual(drain(b), [1]);
});

test('a full ring is published and rung at once, and its room is announced once', () => {
  const { a, b, bells } = localPair(4);
  for (let i = 0; i < 4; i++) assert.equal(push(a, i), true);
  assert.equal(bells.b.rings, 0);
  assert.equal(push(a, 4), false);
  assert.equal(bells.b.rings, 1, 'the peer must not sleep on a full ring');
  assert.equal(a.takeRoom(), false);
  assert.equal(bells.a.rings, 0);
  assert.deepEqual(drain(b, 2), [0, 1]);
  assert.equal(bells.a.rings, 1);
  assert.deepEqual(drain(b, 1), [2]);
  assert.equal(bells.a.rings, 1);
  assert.equal(a.pending(), true);
  assert.equal(a.takeRoom(), true);
  assert.equal(a.takeRoom(), false);
  assert.equal(push(a, 4), true);
});

test('pumps on both ends carry a conversation many times the ring, inline', () => {
  const clock = new VirtualClock();
  const bellA = new InlineDoorbell(clock);
  const bellB = new InlineDoorbell(clock);
  const { a, b } = createLocalLink(8, 1, { a: bellA, b: bellB });
  const total = 1_000;
  const answers: number[] = [];
  let asked = 0;
  const ask = (): void => {
    while (asked < total && push(a, asked)) asked++;
  };
  const owed: number[] = [];
  const answer = (): void => {
    while (owed.length > 0 && push(b, ~(owed[0] as number))) owed.shift();
  };
  const pumpA = new LinkPump(3);
  pumpA.add(a, (at, words) => answers.push(words[at] as number), ask);
  const pumpB = new LinkPump(5);
  pumpB.add(
    b,
    (at, words) => {
      owed.push(words[at] as number);
      answer();
    },
    answer,
  );
  new LoopWaiter(new InlineSource(bellA), pumpA, clock).start();
  new LoopWaiter(new InlineSource(bellB), pumpB, clock).start();
  clock.runSoon();
  ask();
  pumpA.flush();
  clock.runSoon();
  assert.equal(answers.length, total);
  for (let i = 0; i < total; i++) assert.equal(answers[i], ~i);
});

test('a turn is bounded per link and serves each link', () => {
  const first = localPair(16);
  const second = localPair(16);
  for (let i = 0; i < 10; i++) {
    push(first.a, i);
    push(second.a, 100 + i);
  }
  first.a.flush();
  second.a.flush();
  const got: number[] = [];
  const pump = new LinkPump(4);
  for (const link of [first, second]) pump.add(link.b, (at, words) => got.push(words[at] as number));
  assert.equal(pump.turn(), true);
  assert.deepEqual(got, [0, 1, 2, 3, 100, 101, 102, 103]);
  assert.equal(pump.turn(), true);
  assert.equal(pump.pending(), true);
  assert.equal(pump.turn(), false);
  assert.equal(pump.pending(), false);
  assert.equal(got.length, 20);
});
