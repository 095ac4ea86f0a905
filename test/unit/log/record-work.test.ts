/** Which tasks on records run at once, in later turns and with a worker, and what holds at the bounds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { loopBytesMax, RecordWork } from '../../../src/log/record-work.ts';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import {
  type JudgeResult,
  type RecordTask,
  type RecordTaskResult,
  recordTaskContext,
  runRecordTask,
} from '../../../src/protocol/records/record-tasks.ts';
import { portableRecordWalk } from '../../../src/protocol/records/record-walk.ts';
import { batchVerdict } from '../../../src/protocol/records/validate.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const codecs = createCodecs();
const rules = {
  requireKeys: false,
  judgeTimes: true,
  timeMin: 0,
  timeMax: Number.MAX_SAFE_INTEGER,
  decompressedBytesMax: 64 << 20,
};

function rig(options: { worker?: boolean; workerTasksMax?: number } = {}) {
  const arena = new HeapArena({ segmentBytes: 1 << 16, segmentCount: 256 });
  const clock = new VirtualClock();
  const context = recordTaskContext({ arena, codecs, walk: portableRecordWalk });
  /** Bytes that the loop has unpacked. */
  let unpacked = 0;
  const counted = {
    ...context,
    codecs: {
      ...codecs,
      decompress(id: number, input: Uint8Array, maxBytes: number) {
        const output = codecs.decompress(id, input, maxBytes);
        unpacked += output.length;
        return output;
      },
    },
  };
  const sent: { task: RecordTask; answer: (result?: RecordTaskResult) => void; fail: () => void }[] = [];
  const worker = (task: RecordTask) =>
    new Promise<RecordTaskResult>((resolve, reject) =>
      sent.push({
        task,
        answer: (result) => resolve(result ?? runRecordTask(task, context)),
        fail: () => reject(new Error('the thread is gone')),
      }),
    );
  const work = new RecordWork({
    arena,
    clock,
    context: counted,
    worker: options.worker === false ? null : worker,
    workerTasksMax: options.workerTasksMax ?? 2,
  });
  const done: (number | null)[] = [];
  /** Places a batch of `bytes` in one record and gives it to the work. */
  const judge = (bytes: number, codec = 3, spoil?: (batch: Buffer) => Buffer): number => {
    const record = { key: null, value: Buffer.alloc(bytes), timestamp: 1_700_000_000_000 };
    let batch = buildBatch([record], { codec, codecs }, javascriptCrc32c);
    if (spoil !== undefined) batch = spoil(batch);
    const segment = arena.acquireRun(Math.ceil(batch.length / arena.segmentBytes));
    assert.ok(segment >= 0);
    const position = segment * arena.segmentBytes;
    batch.copy(arena.buffer, position);
    const place = done.length;
    done.push(-1);
    work.run({ kind: 'judge', position, length: batch.length, rules }, (result) => {
      assert.equal(done[place], -1, 'answered once');
      done[place] = result === null ? null : (result as JudgeResult).verdict;
    });
    // The caller's own reference ends with its turn.
    arena.releaseRange(position, batch.length);
    return place;
  };
  return { arena, clock, work, judge, done, sent, unpacked: () => unpacked };
}

test('a small batch is judged at once; what a turn has no bytes left for waits, oldest first', () => {
  const { judge, done, clock, arena, work, unpacked } = rig();
  const free = arena.freeSegments();
  for (let i = 0; i < 7; i++) judge(400_000);
  assert.deepEqual(done, [0, 0, 0, -1, -1, -1, -1]);
  assert.ok(unpacked() < 1_300_000);
  clock.runSoon();
  assert.deepEqual(done, [0, 0, 0, 0, 0, 0, 0]);
  assert.equal(work.open, 0);
  assert.equal(arena.freeSegments(), free);
});

test('no turn unpacks more than its share, however much waits', () => {
  const arena = new HeapArena({ segmentBytes: 1 << 16, segmentCount: 4 });
  const turns: (() => void)[] = [];
  const counting = new RecordWork({
    arena,
    clock: { soon: (fn) => void turns.push(fn) },
    context: recordTaskContext({ arena, codecs, walk: portableRecordWalk }),
    worker: null,
    workerTasksMax: 0,
  });
  const batch = buildBatch(
    [{ key: null, value: Buffer.alloc(300_000), timestamp: 1 }],
    { codec: 4, codecs },
    javascriptCrc32c,
  );
  arena.acquire();
  batch.copy(arena.buffer, 0);
  let judged = 0;
  for (let i = 0; i < 40; i++) {
    counting.run({ kind: 'judge', position: 0, length: batch.length, rules }, () => judged++);
  }
  for (let turn = 0; turn < 40 && judged < 40; turn++) {
    const before = judged;
    turns.shift()!();
    assert.ok(judged - before <= 4, `${judged - before} batches in a turn`);
  }
  assert.equal(judged, 40);
});

test('large batches go to the worker, so many at a time, and their memory stays until the answer', async () => {
  const { judge, done, sent, arena, work, unpacked } = rig();
  const free = arena.freeSegments();
  for (let i = 0; i < 4; i++) judge(loopBytesMax + 1, 1 + i);
  assert.equal(sent.length, 2);
  assert.equal(unpacked(), 0);
  assert.ok(arena.freeSegments() < free);
  sent[0]!.answer();
  await Promise.resolve();
  await Promise.resolve();
  assert.equal(sent.length, 3);
  for (let i = 1; i < 4; i++) {
    sent[i]!.answer();
    await new Promise(setImmediate);
  }
  assert.deepEqual(done, [0, 0, 0, 0]);
  assert.equal(arena.freeSegments(), free);
  assert.equal(work.open, 0);
});

test('gzip that lies about its size costs the loop no more than its bound, and goes on with the worker', async () => {
  const { judge, done, sent, unpacked } = rig();
  const lie = (batch: Buffer) => {
    batch.writeUInt32LE(100, batch.length - 4);
    return batch;
  };
  judge(8 << 20, 1, lie);
  assert.equal(unpacked(), 0);
  assert.equal(sent.length, 1);
  sent[0]!.answer();
  await new Promise(setImmediate);
  // Its trailer is wrong, too, after all.
  assert.deepEqual(done, [batchVerdict.undecodable]);
});

test('a bomb is refused at the bound of its task', async () => {
  const { judge, done, sent } = rig();
  const bomb = gzipSync(Buffer.alloc(65 << 20));
  judge(10, 1, (batch) => Buffer.concat([batch.subarray(0, 61), bomb]));
  sent[0]!.answer();
  await new Promise(setImmediate);
  assert.deepEqual(done, [batchVerdict.decompressedTooLarge]);
});

test('without a worker a large batch has a turn for itself', () => {
  const { judge, done, clock } = rig({ worker: false });
  judge(10_000);
  judge(4 << 20, 4);
  judge(10_000);
  assert.deepEqual(done, [0, -1, -1]);
  clock.runSoon();
  assert.deepEqual(done, [0, 0, 0]);
});

test('a worker that is gone, and a queue that is full, turn tasks away', async () => {
  const { judge, done, sent, arena, work } = rig({ workerTasksMax: 1 });
  const free = arena.freeSegments();
  judge(loopBytesMax + 1);
  sent[0]!.fail();
  await new Promise(setImmediate);
  assert.deepEqual(done, [null]);
  assert.equal(arena.freeSegments(), free);
  let refused = 0;
  const segment = arena.acquireRun(1);
  const batch = buildBatch(
    [{ key: null, value: Buffer.alloc(loopBytesMax + 1), timestamp: 1 }],
    { codec: 4, codecs },
    javascriptCrc32c,
  );
  batch.copy(arena.buffer, segment * arena.segmentBytes);
  const task = {
    kind: 'judge',
    position: segment * arena.segmentBytes,
    length: batch.length,
    rules,
  } as const;
  for (let i = 0; i < 16_390; i++) work.run(task, (result) => (refused += result === null ? 1 : 0));
  assert.equal(work.open, 16_384);
  assert.equal(refused, 6);
});
