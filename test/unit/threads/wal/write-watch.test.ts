/** Of the WAL thread and main, exactly one decides about a write: it is reported, or its epoch has ended. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AtomicsPort, systemAtomics } from '../../../../src/threads/memory/atomics-port.ts';
import {
  createWriteWatch,
  WatchedEpoch,
  WatchedWrites,
  WriteJudge,
} from '../../../../src/threads/wal/write-watch.ts';

const status = {
  logId: 'log',
  cut: { sequence: 2 ** 40, position: 2 ** 41 + 1, chainCrc: 0xfedcba98 },
  trimmed: { sequence: 7, position: 4096, chainCrc: 3 },
  usedBytes: 5,
  capacityBytes: 6,
  writtenBytes: 8,
  failed: null,
};

test('a write in time is reported, and one that follows is judged by its own begin', () => {
  const memory = createWriteWatch();
  const writes = new WatchedWrites(memory);
  const judge = new WriteJudge(memory);
  assert.equal(judge.judge(1e9, 10), false, 'nothing under way');
  writes.begin(100);
  assert.equal(judge.writing, true);
  assert.equal(judge.judge(109, 10), false);
  assert.equal(writes.end(), true);
  assert.equal(judge.writing, false);
  writes.begin(120);
  assert.equal(judge.judge(129, 10), false);
  assert.equal(writes.end(), true);
  assert.equal(judge.ended, false);
});

test('a write that had its time ends the epoch once, for good, and tells where the log stood', () => {
  const memory = createWriteWatch();
  const writes = new WatchedWrites(memory);
  const judge = new WriteJudge(memory);
  writes.publish(status);
  writes.begin(100);
  assert.equal(judge.judge(110, 10), true);
  assert.equal(judge.judge(111, 10), false, 'once');
  assert.deepEqual([judge.ended, new WatchedEpoch(memory).ended, judge.writing], [true, true, true]);
  assert.deepEqual(judge.status('log', 'too late'), { ...status, failed: 'too late' });
  assert.equal(writes.end(), false);
  assert.deepEqual([judge.ended, judge.writing], [true, false]);
  writes.begin(200);
  assert.equal(judge.judge(300, 10), false);
  assert.equal(writes.end(), false, 'no later write counts either');
});

/** Runs `between` right before one chosen step of the judge. */
class Interleaved implements AtomicsPort {
  step = 0;
  readonly at: number;
  readonly between: () => void;

  constructor(at: number, between: () => void) {
    this.at = at;
    this.between = between;
  }
  #next(): void {
    if (this.step++ === this.at) this.between();
  }
  load(words: Int32Array, index: number): number {
    this.#next();
    return systemAtomics.load(words, index);
  }
  compareExchange(words: Int32Array, index: number, expected: number, replacement: number): number {
    this.#next();
    return systemAtomics.compareExchange(words, index, expected, replacement);
  }
  store = systemAtomics.store;
  add = systemAtomics.add;
  sub = systemAtomics.sub;
  exchange = systemAtomics.exchange;
  wait = systemAtomics.wait;
  notify = systemAtomics.notify;
}

for (const again of [false, true]) {
  for (const at of [0, 1, 2]) {
    const what = again ? 'returns and the next one begins' : 'returns';
    test(`the write ${what} before step ${at} of the judge: never both reported and ended`, () => {
      const memory = createWriteWatch();
      const writes = new WatchedWrites(memory);
      writes.begin(0);
      let reported: boolean | null = null;
      const judge = new WriteJudge(
        memory,
        new Interleaved(at, () => {
          reported = writes.end();
          if (again) writes.begin(100);
        }),
      );
      const ended = judge.judge(100, 100);
      reported ??= writes.end();
      assert.equal(reported, !ended);
      if (again && reported) assert.equal(new WriteJudge(memory).judge(199, 100), false, 'a time of its own');
    });
  }
}
