/** One end of the link, or one user of the arena, in a thread of its own; says what it saw and ends. */
import assert from 'node:assert/strict';
import { parentPort, workerData } from 'node:worker_threads';
import { loadNative } from '../../../native-bindings/index.ts';
import { SystemClock } from '../../../src/threads/adapters/system-clock.ts';
import { attachLink, type LinkMemory, type LinkSide } from '../../../src/threads/link.ts';
import { type ArenaHandle, SharedArena } from '../../../src/threads/memory/arena.ts';
import { BlockingWaiter, LoopWaiter, wakeSource } from '../../../src/threads/memory/waiter.ts';
import { eventFdNative } from '../../../src/threads/shard/event-fd.ts';
import { LinkTraffic } from '../../support/link-traffic.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

export type HammerTask =
  | {
      readonly kind: 'link';
      readonly memory: LinkMemory;
      readonly side: LinkSide;
      readonly waiter: 'blocking' | 'loop';
      readonly messages: number;
    }
  | { readonly kind: 'arena'; readonly handle: ArenaHandle; readonly id: number; readonly rounds: number };

const task = workerData as HammerTask;
if (task.kind === 'link') hammerLink(task);
else hammerArena(task);

function hammerLink({ memory, side, waiter, messages }: Extract<HammerTask, { kind: 'link' }>): void {
  const native = eventFdNative(loadNative());
  const end = attachLink(memory, side, native);
  const bell = side === 'a' ? memory.bellA : memory.bellB;
  const { slotWords } = end;
  const traffic = new LinkTraffic(
    end,
    { send: messages, receive: messages, ahead: 96, turnMax: 64, burst: (sent) => 1 + (sent % 37) },
    {
      fill: (at, words, number) => {
        words[at] = number;
        for (let w = 1; w < slotWords; w++) words[at + w] = Math.imul(number, w) | 0;
      },
      check: (at, words, number) => {
        assert.equal(words[at], number, 'lost, repeated or out of order');
        for (let w = 1; w < slotWords; w++) assert.equal(words[at + w], Math.imul(number, w) | 0);
      },
    },
  );
  const report = (): void => {
    const { sent, received, refused, sleeps } = traffic;
    parentPort?.postMessage({ sent, received, refused, sleeps });
  };
  if (waiter === 'blocking') {
    const own = new BlockingWaiter(bell);
    while (!traffic.over) {
      if (!traffic.turn() && !traffic.over) own.wait(() => traffic.pending());
    }
    traffic.flush();
    report();
    return;
  }
  const keepAlive = setInterval(() => {}, 1_000);
  const loop = new LoopWaiter(
    wakeSource(bell, new SystemClock(), native),
    {
      turn: () => {
        const more = traffic.turn();
        if (!traffic.over) return more;
        loop.close();
        clearInterval(keepAlive);
        report();
        return false;
      },
      pending: () => traffic.pending(),
    },
    new SystemClock(),
  );
  loop.start();
}

/** Takes, marks, shares, checks and frees segments; a foreign mark in an owned segment means two owners. */
function hammerArena({ handle, id, rounds }: Extract<HammerTask, { kind: 'arena' }>): void {
  const arena = SharedArena.attach(handle);
  const random = new SeededRandom(id);
  const receive = arena.budget('receive');
  const held: { first: number; count: number; mark: number }[] = [];
  let taken = 0;
  let promised = 0;
  const letGo = (): void => {
    const run = held.splice(random.below(held.length), 1)[0];
    if (run === undefined) return;
    const bytes = run.count * arena.segmentBytes;
    const position = run.first * arena.segmentBytes;
    for (let s = run.first; s < run.first + run.count; s++) {
      assert.equal(arena.view.getInt32(s * arena.segmentBytes), run.mark, 'somebody else wrote here');
    }
    arena.retainRange(position, bytes);
    arena.releaseRange(position, bytes);
    arena.releaseRange(position, bytes);
    if (promised > 0) {
      promised--;
      receive.release(arena.segmentBytes);
    }
  };
  for (let round = 0; round < rounds; round++) {
    if (held.length > 0 && random.chance(0.5)) {
      letGo();
      continue;
    }
    const count = random.chance(0.3) ? 1 + random.below(4) : 1;
    const first = arena.acquireRun(count);
    if (first < 0) {
      if (held.length > 0) letGo();
      continue;
    }
    if (receive.tryReserve(arena.segmentBytes)) promised++;
    const mark = id * 1_000_000 + round;
    for (let s = first; s < first + count; s++) arena.view.setInt32(s * arena.segmentBytes, mark);
    held.push({ first, count, mark });
    taken += count;
  }
  while (held.length > 0) letGo();
  receive.release(promised * arena.segmentBytes);
  parentPort?.postMessage({ taken });
}
