/** Uploads: what a request carries, how many run, what a failure leaves, and which plans are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MillraceError } from '../../../../src/ports/errors.ts';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import type { MultipartUpload } from '../../../../src/store/object-store.ts';
import { objectKey } from '../../../../src/stream/objects/object-format.ts';
import type { StreamDelta } from '../../../../src/stream/objects/objects.ts';
import { ObjectReader } from '../../../../src/stream/read/object-reader.ts';
import { ObjectBuilder } from '../../../../src/stream/upload/object-builder.ts';
import { runObjectTask, transferablesOf } from '../../../../src/stream/upload/object-pool.ts';
import { planObjects } from '../../../../src/stream/upload/plan-objects.ts';
import { StagingPool, stagingChunkBytes } from '../../../../src/stream/upload/staging-pool.ts';
import { partBytesFor, uploadObject } from '../../../../src/stream/upload/upload-object.ts';
import { keyHash } from '../../../../src/threads/adapters/key-hash.ts';
import { crc32c, topicIdOf } from '../../../support/stream-deltas.ts';
import { coded, ObjectWorld, planOf, turns } from '../../../support/stream-objects.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const MiB = 1 << 20;

/** Holds every part until the test lets it go, and records what happens. */
class HeldStore extends MemoryStore {
  readonly parts: { readonly number: number; readonly bytes: number; settle(error?: Error): void }[] = [];
  inFlight = 0;
  inFlightMax = 0;
  completed = 0;
  aborted = 0;

  constructor() {
    super(new VirtualClock());
  }

  override async multipart(key: string): Promise<MultipartUpload> {
    const upload = await super.multipart(key);
    return {
      ...upload,
      uploadPart: async (number, body) => {
        this.inFlight++;
        this.inFlightMax = Math.max(this.inFlightMax, this.inFlight);
        let bytes = 0;
        for (const piece of body) bytes += piece.length;
        try {
          await new Promise<void>((resolve, reject) => {
            const settle = (error?: Error) => (error === undefined ? resolve() : reject(error));
            this.parts.push({ number, bytes, settle });
          });
          await upload.uploadPart(number, body);
        } finally {
          this.inFlight--;
        }
      },
      complete: async () => {
        this.completed++;
        await upload.complete();
      },
      abort: async () => {
        this.aborted++;
        await upload.abort();
      },
    };
  }
}

function largeDelta(world: ObjectWorld): StreamDelta {
  return world.writer.delta(
    topicIdOf(1),
    0,
    0,
    Array.from({ length: 60 }, () => ({ bytes: 50_000, gap: 3 })),
  );
}

const settings = { putBytesMax: MiB, partBytesMax: MiB / 2, partsInFlight: 2 };

test('parts are equal, numbered in order, and never more in flight than allowed', async () => {
  const world = new ObjectWorld();
  const store = new HeldStore();
  const plan = planOf(1, [largeDelta(world)]);
  const upload = uploadObject(plan, world.sources, store, { crc32c, staging: world.staging, settings });
  for (let settled = 0; settled < 6; settled++) {
    await turns(40);
    assert.equal(store.inFlight, Math.min(2, 6 - settled));
    store.parts[settled]!.settle();
  }
  const { size, objectId } = await upload;
  assert.deepEqual(
    store.parts.map((part) => part.number),
    [1, 2, 3, 4, 5, 6],
  );
  for (const part of store.parts.slice(0, 5)) assert.equal(part.bytes, MiB / 2);
  assert.equal(store.inFlightMax, 2);
  assert.equal((await store.head(objectKey(objectId)))!.size, size);
  assert.equal(world.staging.reservedChunks, 0);
});

test('a failed part aborts the upload, after every other part has ended', async () => {
  const world = new ObjectWorld();
  const store = new HeldStore();
  const plan = planOf(1, [largeDelta(world)]);
  let ended = false;
  const upload = uploadObject(plan, world.sources, store, { crc32c, staging: world.staging, settings });
  const failure = assert.rejects(upload, coded('STORE_UNAVAILABLE')).finally(() => {
    ended = true;
  });
  await turns(40);
  store.parts[0]!.settle(new MillraceError('unavailable', 'STORE_UNAVAILABLE', 'gone away'));
  await turns(40);
  assert.equal(ended, false, 'ended while a part still reads the arena');
  store.parts[1]!.settle();
  await failure;
  assert.deepEqual([store.parts.length, store.aborted, store.completed], [2, 1, 0]);
  assert.equal(await store.head(objectKey(plan.objectId)), null);
  assert.equal(world.staging.reservedChunks, 0);
});

test('neighbouring batches leave as one piece, large scattered ones from where they lie, small ones copied together', () => {
  const world = new ObjectWorld();
  const bodyOf = (delta: StreamDelta) => {
    const builder = new ObjectBuilder(planOf(1, [delta]), world.sources, crc32c);
    return { builder, part: builder.nextPart(builder.objectBytes, world.staging)! };
  };
  const inArena = (piece: Uint8Array) => piece.buffer === world.sources.buffer.buffer;

  const neighbours = bodyOf(
    world.writer.delta(
      topicIdOf(1),
      0,
      0,
      Array.from({ length: 50 }, () => ({ bytes: 1000 })),
    ),
  );
  assert.deepEqual(neighbours.part.body.map((piece) => [piece.length, inArena(piece)]).slice(0, 2), [
    [32, false],
    [50_000, true],
  ]);
  assert.equal(neighbours.part.body.length, 3);

  const large = bodyOf(
    world.writer.delta(
      topicIdOf(1),
      1,
      0,
      Array.from({ length: 5 }, () => ({ bytes: 9000, gap: 1 })),
    ),
  );
  assert.equal(large.part.body.filter(inArena).length, 5);
  assert.equal(large.builder.stagedBytes, 0);

  const small = bodyOf(
    world.writer.delta(
      topicIdOf(1),
      2,
      0,
      Array.from({ length: 500 }, () => ({ bytes: 100, gap: 1 })),
    ),
  );
  assert.equal(small.part.body.filter(inArena).length, 0);
  assert.deepEqual(
    [small.builder.stagedBytes, small.part.body.length, small.part.taken.length],
    [50_000, 3, 1],
  );
});

test('copies stay within the staging pool: parts wait for each other, and none is larger than the pool', async () => {
  const world = new ObjectWorld();
  const staging = new StagingPool({ bytesMax: 3 * stagingChunkBytes });
  const store = new HeldStore();
  const delta = world.writer.delta(
    topicIdOf(1),
    0,
    0,
    Array.from({ length: 3000 }, () => ({ bytes: 1500, gap: 1 })),
  );
  const deps = {
    crc32c,
    staging,
    settings: { putBytesMax: 64 * MiB, partBytesMax: 64 * MiB, partsInFlight: 4 },
  };
  const upload = uploadObject(planOf(1, [delta]), world.sources, store, deps);
  let settled = 0;
  for (let round = 0; round < 3; round++) {
    await turns(60);
    assert.equal(store.inFlight, 1);
    assert(staging.reservedChunks <= 3);
    store.parts[settled++]!.settle();
  }
  const { size } = await upload;
  assert.equal(
    size,
    store.parts.reduce((sum, part) => sum + part.bytes, 0),
  );
  assert.equal(staging.reservedChunks, 0);
});

test('a plan that contradicts the bytes is refused before anything is stored', async () => {
  const world = new ObjectWorld();
  const delta = world.writer.delta(topicIdOf(1), 0, 100, [
    { bytes: 80, leaderEpoch: 2 },
    { bytes: 90, leaderEpoch: 2 },
  ]);
  const older = world.writer.delta(topicIdOf(1), 0, 102, [{ bytes: 80, leaderEpoch: 1 }]);
  const both = {
    ...delta,
    endOffset: 103,
    positions: Float64Array.of(...delta.positions, ...older.positions),
    lengths: Uint32Array.of(...delta.lengths, ...older.lengths),
  };
  const state = {
    topicId: delta.topicId,
    partition: 0,
    endOffset: 101,
    lastStableOffset: 101,
    producers: [],
  };
  const plans = {
    'another first offset': planOf(1, [{ ...delta, baseOffset: 99 }]),
    'another end': planOf(1, [{ ...delta, endOffset: 103 }]),
    'a hole': planOf(1, [{ ...delta, positions: delta.positions.slice(1), lengths: delta.lengths.slice(1) }]),
    'a wrong length': planOf(1, [{ ...delta, lengths: Uint32Array.of(80, 91) }]),
    'beyond the arena': planOf(1, [
      { ...delta, positions: Float64Array.of(delta.positions[0]!, world.sources.buffer.length - 60) },
    ]),
    'an epoch that goes back': planOf(1, [both]),
    'a stream twice': planOf(1, [delta, delta]),
    'a state that ends before the data': planOf(1, [delta], [state]),
    nothing: planOf(1, []),
    'a bad object id': { ...planOf(1, [delta]), objectId: '../../../etc/x' },
  };
  for (const [name, plan] of Object.entries(plans)) {
    const upload = uploadObject(plan, world.sources, world.store, { crc32c, staging: world.staging });
    await assert.rejects(upload, coded('UPLOAD_PLAN'), name);
  }
  assert.deepEqual(await world.store.list(''), []);
});

test('an upload needs at most 20 PUT-class requests per GB', () => {
  for (const bytes of [65 * MiB, 100e6, 500e6, 1e9]) {
    const part = partBytesFor(bytes, 64 * MiB);
    const requests = Math.ceil(bytes / part) + 2;
    assert(part <= 64 * MiB && part >= 16 * MiB, `${bytes}: parts of ${part}`);
    if (bytes >= 500e6) assert(requests / (bytes / 1e9) <= 20, `${bytes}: ${requests} requests`);
  }
});

test('streams with much data get objects of their own, the others share, states go with the shared data', () => {
  const world = new ObjectWorld();
  const shape = (n: number) => Array.from({ length: n }, () => ({ bytes: 1000 }));
  const deltas = [3, 20, 4, 4].map((n, i) => world.writer.delta(topicIdOf(1), i, 0, shape(n)));
  const state = { topicId: topicIdOf(9), partition: 0, endOffset: 5, lastStableOffset: 5, producers: [] };
  const identity = { clusterId: 'c', node: 1, brokerEpoch: 2 };
  let next = 0;
  const ids = () => ({ objectId: String(++next).padStart(16, '0'), sequence: next });
  const limits = { ownObjectBytes: 20_000, sharedObjectBytesMax: 7000 };
  const plans = planObjects(deltas, [state], identity, ids, limits);
  assert.deepEqual(
    plans.map((plan) => [plan.sequence, plan.streams.map((s) => s.partition), plan.states.length]),
    [
      [1, [1], 0],
      [2, [0, 2], 0],
      [3, [3], 1],
    ],
  );
  assert.deepEqual(planObjects([], [], identity, ids), []);
  assert.equal(planObjects([], [state], identity, ids)[0]!.states.length, 1);
  assert.throws(() => planObjects([deltas[0]!, deltas[0]!], [], identity, ids), RangeError);
});

test('a pool task survives the crossing, and its failure is a value', async () => {
  const world = new ObjectWorld();
  const plan = planOf(5, [world.writer.delta(topicIdOf(1), 0, 0, [{ bytes: 5000 }])]);
  const reader = new ObjectReader({ store: world.store, crc32c });
  const context = {
    arena: world.sources,
    store: world.store,
    reader,
    upload: { crc32c, staging: world.staging },
    compaction: { store: world.store, crc32c, pace: async () => {} },
    cleaning: {
      store: world.store,
      crc32c,
      codecs: createCodecs(),
      hash: keyHash,
      pace: async () => {},
      clock: world.clock,
    },
  };
  assert.equal(transferablesOf(plan).length, 2);
  const task = structuredClone({ kind: 'upload' as const, plan }, { transfer: transferablesOf(plan) });
  assert.equal(plan.streams[0]!.positions.length, 0, 'moved, not copied');
  const done = structuredClone(await runObjectTask(task, context));
  assert(done.kind === 'upload' && done.result.error === undefined);

  const opened = await reader.open(plan.objectId);
  const entries = reader.findBlocks(opened, topicIdOf(1), 0, 0, 1);
  const place = 40 * world.sources.segmentBytes;
  assert.deepEqual(
    await runObjectTask({ kind: 'readBlocks', objectId: plan.objectId, entries, position: place }, context),
    {
      kind: 'readBlocks',
      requests: 1,
      error: null,
    },
  );
  assert(world.sources.buffer.subarray(place, place + 5000).equals(world.sources.buffer.subarray(0, 5000)));
  const wrong = entries.map((entry) => ({ ...entry, crc: entry.crc ^ 1 }));
  const failed = await runObjectTask(
    { kind: 'readBlocks', objectId: plan.objectId, entries: wrong, position: place },
    context,
  );
  assert(failed.kind === 'readBlocks' && failed.error?.code === 'OBJECT_CORRUPT');
  const refused = await runObjectTask({ kind: 'upload', plan: planOf(6, []) }, context);
  assert(refused.kind === 'upload' && refused.result.error?.code === 'UPLOAD_PLAN');
});

test('an object without a part in the data is not held up when the pace is lifted', async () => {
  const world = new ObjectWorld();
  const plan = planOf(1, [world.writer.delta(topicIdOf(1), 0, 0, [{ bytes: 100 }])]);
  const flow = { uploadRate: Number.POSITIVE_INFINITY, stored() {} };
  const deps = { crc32c, staging: world.staging, clock: new VirtualClock(), flow };
  const { ranges } = await uploadObject(plan, world.sources, world.store, deps, 0);
  assert.equal(ranges.length, 1);
});
