import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AtomicsPort } from '../../../../src/threads/memory/atomics-port.ts';
import { doorbellStates } from '../../../../src/threads/memory/contract.ts';
import {
  attachDoorbell,
  createDoorbellMemory,
  type DoorbellMemory,
  type EventFdNative,
  InlineDoorbell,
} from '../../../../src/threads/memory/doorbell.ts';
import { LocalRing } from '../../../../src/threads/memory/ring.ts';
import {
  BlockingWaiter,
  EventFdSource,
  InlineSource,
  LoopWaiter,
  type LoopWork,
  wakeSource,
} from '../../../../src/threads/memory/waiter.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

class CountingWork implements LoopWork {
  readonly ring: LocalRing;
  readonly seen: number[] = [];
  turns = 0;
  constructor(ring: LocalRing) {
    this.ring = ring;
  }
  turn(): boolean {
    this.turns++;
    const n = Math.min(2, this.ring.available());
    for (let i = 0; i < n; i++) this.seen.push(this.ring.words[this.ring.at(i)] as number);
    this.ring.consume(n);
    return this.ring.available() > 0;
  }
  pending(): boolean {
    return this.ring.available() > 0;
  }
}

function push(ring: LocalRing, value: number): void {
  ring.words[ring.reserve()] = value;
  ring.publish();
}

/** An eventfd made of a counter, delivered when the test says so. */
class FakeEventFds implements EventFdNative {
  readonly counts: number[] = [];
  readonly watchers = new Map<number, () => void>();
  readonly EventFdWatcher: EventFdNative['EventFdWatcher'];
  constructor() {
    const watchers = this.watchers;
    this.EventFdWatcher = class {
      readonly #fd: number;
      constructor(fd: number, callback: () => void) {
        this.#fd = fd;
        watchers.set(fd, callback);
      }
      close(): void {
        watchers.delete(this.#fd);
      }
    };
  }
  createEventFd(): number {
    return this.counts.push(0) - 1;
  }
  ringEventFd(fd: number): void {
    this.counts[fd] = (this.counts[fd] ?? 0) + 1;
  }
  deliver(fd: number): void {
    if (this.counts[fd] === 0) return;
    this.counts[fd] = 0;
    this.watchers.get(fd)?.();
  }
}

test('inline: a sleeping loop is woken once per batch, works in bounded turns, and sleeps again', () => {
  const clock = new VirtualClock();
  const doorbell = new InlineDoorbell(clock);
  const work = new CountingWork(new LocalRing(8, 1));
  const waiter = new LoopWaiter(new InlineSource(doorbell), work, clock);
  waiter.start();
  clock.runSoon();
  assert.equal(work.turns, 1);
  for (let i = 0; i < 5; i++) {
    push(work.ring, i);
    doorbell.ring();
  }
  assert.deepEqual(work.seen, [], 'not inside the producer');
  clock.runSoon();
  assert.deepEqual(work.seen, [0, 1, 2, 3, 4]);
  assert.equal(work.turns, 4, 'two at a time: three turns');
  clock.runSoon();
  assert.equal(work.turns, 4, 'asleep');
  waiter.close();
  push(work.ring, 9);
  doorbell.ring();
  clock.runSoon();
  assert.equal(work.turns, 4);
});

test('inline: work that arrives during the last turn is seen without a ring', () => {
  const clock = new VirtualClock();
  const doorbell = new InlineDoorbell(clock);
  const ring = new LocalRing(8, 1);
  const work = new CountingWork(ring);
  const turn = work.turn.bind(work);
  let once = true;
  work.turn = () => {
    const more = turn();
    if (once) {
      once = false;
      push(ring, 42);
      doorbell.ring();
    }
    return more;
  };
  new LoopWaiter(new InlineSource(doorbell), work, clock).start();
  clock.runSoon();
  assert.deepEqual(work.seen, [42]);
});

test('eventfd: rung only when armed; a late wake-up changes nothing', () => {
  const clock = new VirtualClock();
  const native = new FakeEventFds();
  const memory = createDoorbellMemory(native);
  const doorbell = attachDoorbell(memory, native);
  const work = new CountingWork(new LocalRing(8, 1));
  const source = wakeSource(memory, clock, native);
  assert.ok(source instanceof EventFdSource);
  const waiter = new LoopWaiter(source, work, clock);
  waiter.start();
  doorbell.ring();
  assert.equal(native.counts[memory.eventFd], 0, 'awake: no system call');
  clock.runSoon();
  push(work.ring, 1);
  doorbell.ring();
  doorbell.ring();
  assert.equal(native.counts[memory.eventFd], 1);
  native.deliver(memory.eventFd);
  assert.deepEqual(work.seen, [1]);
  native.ringEventFd(memory.eventFd);
  native.deliver(memory.eventFd);
  push(work.ring, 2);
  doorbell.ring();
  native.deliver(memory.eventFd);
  assert.deepEqual(work.seen, [1, 2]);
  waiter.close();
  assert.equal(native.watchers.size, 0);
  assert.throws(() => attachDoorbell(memory), TypeError);
  assert.throws(() => wakeSource(memory, clock), TypeError);
});

test('waitAsync: the portable source wakes the loop', async () => {
  const clock = new VirtualClock();
  const memory = createDoorbellMemory();
  const doorbell = attachDoorbell(structuredClone(memory));
  const work = new CountingWork(new LocalRing(8, 1));
  const waiter = new LoopWaiter(wakeSource(memory, clock), work, clock);
  waiter.start();
  clock.runSoon();
  for (let round = 0; round < 3; round++) {
    push(work.ring, round);
    doorbell.ring();
    while (work.seen.length <= round) await new Promise((resolve) => setImmediate(resolve));
    clock.runSoon();
  }
  assert.deepEqual(work.seen, [0, 1, 2]);
  waiter.close();
});

test('blocking: arms, looks again, and sleeps only when there is nothing', () => {
  const memory: DoorbellMemory = createDoorbellMemory();
  const states: (number | undefined)[] = [];
  const slept: number[] = [];
  const port: AtomicsPort = {
    load: (w, i) => Atomics.load(w, i),
    store: (w, i, v) => Atomics.store(w, i, v),
    add: (w, i, v) => Atomics.add(w, i, v),
    sub: (w, i, v) => Atomics.sub(w, i, v),
    exchange: (w, i, v) => Atomics.exchange(w, i, v),
    compareExchange: (w, i, e, r) => Atomics.compareExchange(w, i, e, r),
    notify: (w, i, n) => Atomics.notify(w, i, n),
    wait: (_w, _i, _v, timeoutMs) => {
      slept.push(timeoutMs ?? -1);
      return 'timed-out';
    },
  };
  const waiter = new BlockingWaiter(memory, port);
  const words = new Int32Array(memory.words);
  const look = (pending: boolean) => () => {
    states.push(words[0]);
    return pending;
  };
  waiter.wait(look(true), 5);
  assert.deepEqual(slept, []);
  waiter.wait(look(false), 5);
  assert.deepEqual(slept, [5]);
  assert.deepEqual(states, [doorbellStates.armed, doorbellStates.armed]);
  assert.equal(words[0], doorbellStates.awake);
  assert.throws(() => new BlockingWaiter({ ...memory, eventFd: 3 }), TypeError);
});
