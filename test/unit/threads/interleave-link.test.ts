/**
 * Every interleaving of a link's two or three ends: rings, doorbells and waiters as production uses them. Then the
 * same with bugs planted by name, to show that the explorer would see them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../../../src/ports/clock.ts';
import {
  attachLink,
  createLinkMemory,
  type LinkEnd,
  type LinkMemory,
  LinkPump,
  type LinkSide,
} from '../../../src/threads/link.ts';
import type { AtomicsPort } from '../../../src/threads/memory/atomics-port.ts';
import { doorbellStates } from '../../../src/threads/memory/contract.ts';
import { DoorbellWord, type EventFdNative } from '../../../src/threads/memory/doorbell.ts';
import { Ring } from '../../../src/threads/memory/ring.ts';
import {
  BlockingWaiter,
  EventFdSource,
  LoopWaiter,
  type WaitAsync,
  WaitAsyncSource,
} from '../../../src/threads/memory/waiter.ts';
import { type Actor, type ActorEnd, type Exploration, explore } from '../../support/interleavings.ts';
import { LinkTraffic } from '../../support/link-traffic.ts';

type Run = Actor['run'];

/** Sends `from`, from + 1, … in batches of `batch`, sleeping while the ring is full. */
function sender(memory: LinkMemory, from: number, count: number, batch: number, native?: NativeOf): Run {
  return (port) => {
    const end = attachLink(memory, 'a', native?.(port), port);
    const waiter = new BlockingWaiter(memory.bellA, port);
    for (let i = 0; i < count; i++) {
      let at = end.reserve();
      while (at < 0) {
        waiter.wait(() => end.pending());
        end.takeRoom();
        at = end.reserve();
      }
      port.store(end.words, at, from + i);
      if ((i + 1) % batch === 0) end.flush();
    }
    end.flush();
  };
}

type NativeOf = (port: AtomicsPort) => Pick<EventFdNative, 'ringEventFd'>;

/** Receives on all links until it has `count`, sleeping on the one doorbell in between. */
function receiver(
  memories: readonly LinkMemory[],
  count: number,
  pending = (ends: LinkEnd[]) => some(ends),
): Run {
  return (port, trace) => {
    const ends = memories.map((memory) => attachLink(memory, 'b', null, port));
    const waiter = new BlockingWaiter((memories[0] as LinkMemory).bellB, port);
    while (trace.length < count) {
      let got = 0;
      for (const end of ends) got += end.receive((at, words) => trace.push(port.load(words, at)), 2);
      if (got === 0) waiter.wait(() => pending(ends));
    }
  };
}

function some(ends: readonly LinkEnd[]): boolean {
  for (const end of ends) if (end.pending()) return true;
  return false;
}

function buffersOf(...memories: LinkMemory[]): SharedArrayBuffer[] {
  const all = memories.flatMap((m) => [m.aToB.words, m.bToA.words, m.bellA.words, m.bellB.words]);
  return [...new Set(all)];
}

/** Each sender's messages arrive once, in order; nobody sleeps on. */
function allArrive(...sent: number[][]): (ends: readonly ActorEnd[]) => void {
  return (ends) => {
    const got = ends.at(-1)?.trace as number[];
    for (const numbers of sent) {
      const seen = got.filter((n) => numbers.includes(n));
      assert.deepEqual(seen, numbers, `sent ${numbers}, received ${got}`);
    }
    assert.equal(got.length, sent.flat().length, `received ${got}`);
    for (const end of ends) assert.ok(end.done, `${end.name} sleeps for ever`);
  };
}

function holds(name: string, exploration: Exploration): void {
  const { schedules, states, failure } = exploration;
  assert.equal(failure, undefined, `${failure?.message}\n${failure?.steps.join('\n')}`);
  process.stdout.write(`    ${name}: ${schedules.toPrecision(3)} schedules through ${states} states\n`);
  assert.ok(schedules > 1000);
}

function caught(exploration: Exploration, message: RegExp): void {
  assert.match(exploration.failure?.message ?? 'nothing found', message);
}

for (const { slots, count, batch } of [
  { slots: 1, count: 3, batch: 1 },
  { slots: 2, count: 3, batch: 1 },
  { slots: 2, count: 4, batch: 3 },
  { slots: 4, count: 5, batch: 2 },
]) {
  test(`link of ${slots} slots, ${count} messages in batches of ${batch}, both ends blocking`, () => {
    const memory = createLinkMemory(slots, 1);
    const exploration = explore({
      memory: buffersOf(memory),
      actors: [
        { name: 'sender', run: sender(memory, 1, count, batch) },
        { name: 'receiver', run: receiver([memory], count) },
      ],
      atEnd: allArrive(Array.from({ length: count }, (_, i) => i + 1)),
    });
    holds('two ends', exploration);
  });
}

test('two senders share one sleeper and its one doorbell', () => {
  const first = createLinkMemory(1, 1);
  const second = createLinkMemory(1, 1, { b: first.bellB });
  const exploration = explore({
    memory: buffersOf(first, second),
    actors: [
      { name: 'first', run: oneMessage(first, 1) },
      { name: 'second', run: oneMessage(second, 11) },
      { name: 'receiver', run: receiver([first, second], 2) },
    ],
    atEnd: allArrive([1], [11]),
  });
  holds('three ends', exploration);
});

function oneMessage(memory: LinkMemory, value: number): Run {
  return (port) => {
    const ring = new Ring(memory.aToB, port);
    const bell = new DoorbellWord(new Int32Array(memory.bellB.words), port);
    port.store(ring.words, ring.reserve(), value);
    ring.publish();
    if (bell.takeArmed()) bell.notify();
  };
}

const virtualNative =
  (fd: Int32Array): NativeOf =>
  (port) => ({
    ringEventFd() {
      port.add(fd, 0, 1);
      port.notify(fd, 0);
    },
  });

/** An event loop reduced to what matters: a queue, and one place to block when it is empty. */
function loopReceiver(
  memory: LinkMemory,
  fd: Int32Array | null,
  count: number,
  work: (pump: LinkPump) => LinkPump,
): Run {
  return (port, trace) => {
    const queue: (() => void)[] = [];
    const clock = { soon: (fn: () => void) => void queue.push(fn) } as Clock;
    let block = (): void => assert.fail('the loop blocks before anything armed it');
    let source: EventFdSource | WaitAsyncSource;
    if (fd !== null) {
      class Watcher {
        constructor(_fd: number, callback: () => void) {
          block = () => {
            port.wait(fd as Int32Array, 0, 0);
            port.exchange(fd as Int32Array, 0, 0);
            callback();
          };
        }
        close(): void {}
      }
      source = new EventFdSource(memory.bellB, { EventFdWatcher: Watcher }, port);
    } else {
      const waitAsync: WaitAsync = (words, index, value) => ({
        async: true,
        value: {
          // Registered within the same step as the comparison: nothing runs between this and the block below.
          // biome-ignore lint/suspicious/noThenProperty: stands in for a promise
          then(wake) {
            block = () => {
              port.wait(words, index, value);
              wake();
            };
          },
        },
      });
      source = new WaitAsyncSource(memory.bellB, clock, port, waitAsync);
    }
    const pump = new LinkPump(2);
    pump.add(attachLink(memory, 'b', virtualNative(fd ?? new Int32Array(1))(port), port), (at, words) =>
      trace.push(port.load(words, at)),
    );
    new LoopWaiter(source, work(pump), clock).start();
    while (trace.length < count) (queue.shift() ?? block)();
  };
}

function loopScenario(kind: 'eventfd' | 'waitAsync', work = (pump: LinkPump) => pump): Exploration {
  const fd = kind === 'eventfd' ? new Int32Array(new SharedArrayBuffer(4)) : null;
  const portable = createLinkMemory(2, 1);
  const memory = fd ? { ...portable, bellB: { ...portable.bellB, eventFd: 9 } } : portable;
  const count = 3;
  return explore({
    memory: [...buffersOf(memory), ...(fd ? [fd.buffer as SharedArrayBuffer] : [])],
    actors: [
      { name: 'sender', run: sender(memory, 1, count, 1, fd ? virtualNative(fd) : undefined) },
      { name: 'loop', run: loopReceiver(memory, fd, count, work) },
    ],
    atEnd: allArrive([1, 2, 3]),
  });
}

for (const kind of ['eventfd', 'waitAsync'] as const) {
  test(`an event loop woken by ${kind} misses nothing`, () => holds(kind, loopScenario(kind)));

  test(`planted: event loop on ${kind} sleeps without looking again`, () => {
    const blind = (pump: LinkPump): LinkPump => Object.assign(pump, { pending: () => false });
    caught(loopScenario(kind, blind), /received/);
  });
}

/**
 * Both ends send and receive, as a thread's loop does.
 * @param onRoom what an end makes of room that its pump found
 */
function traffic(
  slots: number,
  aSends: number,
  bSends: number,
  onRoom?: (free: () => void) => void,
): Exploration {
  const memory = createLinkMemory(slots, 1);
  const run =
    (side: LinkSide, send: number, receive: number): Run =>
    (port, trace) => {
      const ours = new LinkTraffic(
        attachLink(memory, side, null, port),
        { send, receive, ahead: send, turnMax: 2, burst: () => send },
        {
          fill: (at, words, number) => void port.store(words, at, number + 1),
          check: (at, words) => trace.push(port.load(words, at)),
        },
        onRoom,
      );
      const waiter = new BlockingWaiter(side === 'a' ? memory.bellA : memory.bellB, port);
      while (!ours.over) {
        if (!ours.turn() && !ours.over) waiter.wait(() => ours.pending());
      }
      ours.flush();
    };
  const counted = (count: number): number[] => Array.from({ length: count }, (_, i) => i + 1);
  return explore({
    memory: buffersOf(memory),
    actors: [
      { name: 'a', run: run('a', aSends, bSends) },
      { name: 'b', run: run('b', bSends, aSends) },
    ],
    atEnd: ([a, b]) => {
      assert.ok(a?.done && b?.done, `${a?.done ? 'b' : 'a'} sleeps for ever`);
      assert.deepEqual([a.trace, b.trace], [counted(bSends), counted(aSends)]);
    },
  });
}

for (const { slots, aSends, bSends } of [
  { slots: 2, aSends: 3, bSends: 1 },
  { slots: 1, aSends: 2, bSends: 1 },
]) {
  test(`traffic over ${slots} slots, ${aSends} messages one way, ${bSends} the other, is never slept over`, () =>
    holds('both ways', traffic(slots, aSends, bSends)));
}

test('planted: an end forgets the room that its own turn has found', () =>
  caught(
    traffic(1, 2, 1, () => {}),
    /sleeps for ever/,
  ));

/** Sender and receiver written out, so that one line of either can be wrong. */
function planted(bug: string): Exploration {
  const memory = createLinkMemory(1, 1);
  const count = 3;
  const send: Run = (port) => {
    const ring = new Ring(memory.aToB, port);
    const peer = new DoorbellWord(new Int32Array(memory.bellB.words), port);
    const own = new BlockingWaiter(memory.bellA, port);
    for (let i = 1; i <= count; i++) {
      let at = ring.reserve();
      while (at < 0) {
        if (bug === 'asks for room without looking again') {
          ring.askForRoom();
          own.wait(() => false);
        } else if (bug === 'asks for room before arming only') {
          if (!ring.askForRoom()) own.wait(() => ring.hasRoom());
        } else own.wait(() => ring.askForRoom());
        at = ring.reserve();
      }
      if (bug === 'publishes before filling') ring.publish();
      port.store(ring.words, at, i);
      if (bug === 'armed flag checked before publish') {
        const armed = peer.takeArmed();
        ring.publish();
        if (armed) peer.notify();
        continue;
      }
      ring.publish();
      if (bug === 'rings only a word it swaps without looking at the old value') {
        port.store(peer.words, 0, doorbellStates.awake);
        continue;
      }
      if (peer.takeArmed()) peer.notify();
    }
  };
  const receive: Run = (port, trace) => {
    const ring = new Ring(memory.aToB, port);
    const peer = new DoorbellWord(new Int32Array(memory.bellA.words), port);
    const own = new BlockingWaiter(memory.bellB, port);
    while (trace.length < count) {
      const n = ring.available();
      if (n === 0) {
        own.wait(() => bug !== 'arm without looking again' && ring.available() > 0);
        continue;
      }
      const offsets = Array.from({ length: n }, (_, i) => ring.at(i));
      if (bug === 'consumes before reading') ring.consume(n);
      for (const at of offsets) trace.push(port.load(ring.words, at));
      if (bug !== 'consumes before reading') ring.consume(n);
      if (bug !== 'never rings for room' && ring.roomAsked() && peer.takeArmed()) peer.notify();
    }
  };
  return explore({
    memory: buffersOf(memory),
    actors: [
      { name: 'sender', run: send },
      { name: 'receiver', run: receive },
    ],
    atEnd: allArrive([1, 2, 3]),
  });
}

test('the written-out ends are right without a bug', () => holds('written out', planted('none')));

for (const bug of [
  'armed flag checked before publish',
  'arm without looking again',
  'rings only a word it swaps without looking at the old value',
  'consumes before reading',
  'publishes before filling',
  'asks for room without looking again',
  'asks for room before arming only',
  'never rings for room',
]) {
  test(`planted: ${bug}`, () => caught(planted(bug), /received|sleeps for ever/));
}
