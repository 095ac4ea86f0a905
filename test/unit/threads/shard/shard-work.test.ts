/** A shard's sleep: every interleaving of its loop with a WAL that writes, a peer that sends and a main that ends an epoch. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Clock } from '../../../../src/ports/clock.ts';
import { attachLink, createLinkMemory, LinkPump } from '../../../../src/threads/link.ts';
import type { AtomicsPort } from '../../../../src/threads/memory/atomics-port.ts';
import { attachDoorbell } from '../../../../src/threads/memory/doorbell.ts';
import { createRingMemory, Ring } from '../../../../src/threads/memory/ring.ts';
import { LoopWaiter, type LoopWork, WaitAsyncSource } from '../../../../src/threads/memory/waiter.ts';
import { ShardWork } from '../../../../src/threads/shard/shard-work.ts';
import { BatchWish, createBatchWish } from '../../../../src/threads/wal/batch-wish.ts';
import {
  appendSlotWords,
  completionSlotWords,
  createWalStats,
} from '../../../../src/threads/wal/contract.ts';
import { RingAppendSource } from '../../../../src/threads/wal/ring-append-source.ts';
import { RingWal } from '../../../../src/threads/wal/ring-wal.ts';
import {
  createWriteWatch,
  WatchedEpoch,
  WatchedWrites,
  WriteJudge,
} from '../../../../src/threads/wal/write-watch.ts';
import { type Exploration, explore } from '../../../support/interleavings.ts';

interface Shape {
  readonly writes: number;
  readonly messages: number;
  /** Main may end the epoch inside the one write. */
  readonly judged: boolean;
}

function run({ writes, messages, judged }: Shape, planted = (work: LoopWork) => work): Exploration {
  const link = createLinkMemory(2, 1);
  const rings = {
    appends: createRingMemory(4, appendSlotWords),
    completions: createRingMemory(4, completionSlotWords),
  };
  const watch = createWriteWatch();
  const wish = createBatchWish();
  // Of a write that main judges the shard learns once, by its completion or by the end of its epoch.
  const expected = writes + messages;
  const shard = (port: AtomicsPort, trace: unknown[]): void => {
    const queue: (() => void)[] = [];
    const clock = { soon: (fn: () => void) => void queue.push(fn) } as Clock;
    let block = (): void => assert.fail('the loop blocks before anything armed it');
    const wal = new RingWal(
      0,
      'log',
      new Ring(rings.appends, port),
      new Ring(rings.completions, port),
      { ring() {} },
      createWalStats(),
      new WatchedEpoch(watch, port),
      new BatchWish(wish, port),
    );
    wal.onDurable = (through) => trace.push(`durable ${through}`);
    wal.onFailed = (_, outstanding) => trace.push(`ended, ${outstanding ? 'inside a write' : 'told'}`);
    const pump = new LinkPump(2);
    pump.add(attachLink(link, 'b', null, port), (at, words) => trace.push(port.load(words, at)));
    const source = new WaitAsyncSource(link.bellB, clock, port, (words, index, value) => ({
      async: true,
      value: {
        // biome-ignore lint/suspicious/noThenProperty: stands in for a promise
        then(wake) {
          block = () => {
            port.wait(words, index, value);
            wake();
          };
        },
      },
    }));
    new LoopWaiter(source, planted(new ShardWork([wal], pump, () => {})), clock).start();
    while (trace.length < expected) (queue.shift() ?? block)();
  };
  const wal = (port: AtomicsPort): void => {
    const appends = Object.assign(new Ring(rings.appends, port), { consume() {} });
    const source = new RingAppendSource(
      appends,
      new Ring(rings.completions, port),
      attachDoorbell(link.bellB, null, port),
    );
    const watched = new WatchedWrites(watch, port);
    for (let i = 0; i < writes; i++) {
      if (judged) watched.begin(0);
      if (!judged || watched.end()) source.durable(1, i + 1);
    }
  };
  const peer = (port: AtomicsPort): void => {
    const end = attachLink(link, 'a', null, port);
    for (let i = 1; i <= messages; i++) {
      port.store(end.words, end.reserve(), i);
      end.flush();
    }
  };
  const main = (port: AtomicsPort): void => {
    if (new WriteJudge(watch, port).judge(1, 1)) attachDoorbell(link.bellB, null, port).ring();
  };
  return explore({
    memory: [link.aToB, link.bToA, rings.appends, rings.completions]
      .map((ring) => ring.words)
      .concat(link.bellA.words, link.bellB.words, watch, wish),
    actors: [
      { name: 'shard', run: shard },
      { name: 'wal', run: wal },
      ...(messages > 0 ? [{ name: 'peer', run: peer }] : []),
      ...(judged ? [{ name: 'main', run: main }] : []),
    ],
    atEnd: ([first]) => assert.ok(first?.done, `the shard sleeps for ever after ${first?.trace.join(', ')}`),
  });
}

for (const shape of [
  { writes: 2, messages: 0, judged: false },
  { writes: 1, messages: 1, judged: false },
  { writes: 1, messages: 1, judged: true },
]) {
  test(`nothing is slept over: ${JSON.stringify(shape)}`, () => {
    const { schedules, states, failure } = run(shape);
    assert.equal(failure, undefined, `${failure?.message}\n${failure?.steps.join('\n')}`);
    process.stdout.write(`    ${schedules.toPrecision(3)} schedules through ${states} states\n`);
    assert.ok(schedules > 1000);
  });
}

test('planted: a shard that sleeps without looking at its WALs again', () => {
  const blind = (work: LoopWork): LoopWork => ({ turn: () => work.turn(), pending: () => false });
  assert.match(
    run({ writes: 1, messages: 1, judged: false }, blind).failure?.message ?? 'nothing found',
    /the shard sleeps for ever/,
  );
});
