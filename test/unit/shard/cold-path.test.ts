/** Which objects a read of older data goes by: the manifest's, the image's, and the newest ones after a stale look. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PartitionLog } from '../../../src/log/partition-log.ts';
import type { ClusterImage } from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { lastOffsetOf } from '../../../src/protocol/records/batch-header.ts';
import { ObjectColdPath } from '../../../src/shard/cold-path.ts';
import type { Manifest } from '../../../src/stream/manifest/manifest.ts';
import type { ManifestCache } from '../../../src/stream/manifest/manifest-cache.ts';
import type { ColdReader, ColdRequest } from '../../../src/stream/read/cold-reader.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { loopRecordWork } from '../../support/record-work.ts';
import { settle } from '../../support/store-fixtures.ts';
import { crc32c } from '../../support/stream-deltas.ts';
import { id } from '../metadata/fixtures.ts';
import { sample } from '../stream/manifest/manifests.ts';

const codecs = createCodecs();
const gone = (code: string) => new MillraceError('unavailable', code, 'gone');
const part = (objectId: string, baseOffset: number, endOffset: number, maxTimestamp = 1) => ({
  objectId,
  size: 100,
  baseOffset,
  endOffset,
  maxTimestamp,
  bytes: 50,
});

function rig() {
  const manifests: Record<number, Manifest> = {
    1: { ...sample, version: 1, endOffset: 20, objects: [part('m1', 0, 10), part('m2', 10, 20)] },
    2: { ...sample, version: 2, endOffset: 30, objects: [part('n1', 0, 30, 9)] },
  };
  const partition = {
    topicId: id(1),
    partition: 0,
    manifest: { version: 1, endOffset: 20 },
    objects: [part('o3', 20, 30), part('o4', 30, 40)],
  };
  const asked: string[] = [];
  /** What the next reads answer; nothing = no records. */
  const failures: Error[] = [];
  const arena = new HeapArena({ segmentBytes: 4_096, segmentCount: 8 });
  arena.acquireRun(8);
  /** What the next searches by time find; nothing = no batch. */
  const batches: Buffer[] = [];
  /** What every search by time below offset 6 finds; nothing = no batch. */
  const world: { batch?: Buffer } = {};
  /** What happens during the next searches by time. */
  const whileSearching: (() => void)[] = [];
  /** What the next reads bring, and what happens during them. */
  const reads: { ranges: object[]; bytes: number; nextOffset: number; release: () => void }[] = [];
  const whileReading: (() => void)[] = [];
  const names = ({ objects }: ColdRequest): string => objects.map(({ objectId }) => objectId).join();
  const empty = { ranges: [], bytes: 0, nextOffset: 0, release: () => {} };
  const reader = {
    async readCold(request: ColdRequest) {
      asked.push(`${request.offset}: ${names(request)}`);
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      whileReading.shift()?.();
      return reads.shift() ?? empty;
    },
    async abortedIn(_topicId: string, _partition: number, range: { readonly objectId: string }) {
      asked.push(`aborted: ${range.objectId}`);
      whileSearching.shift()?.();
      return true;
    },
    async findSince(request: ColdRequest, time: number) {
      asked.push(`${request.offset}@${time}: ${names(request)}`);
      whileSearching.shift()?.();
      const batch = batches.shift() ?? (request.offset < 6 ? world.batch : undefined);
      if (batch === undefined) return null;
      batch.copy(arena.buffer);
      passed.ms += passed.perBatch;
      const range = { position: 0, length: batch.length };
      return { ...empty, ranges: [range], nextOffset: lastOffsetOf(arena.view, 0) + 1 };
    },
  };
  const versions: number[] = [];
  const cache = {
    async get(_topicId: string, _partition: number, version: number) {
      versions.push(version);
      const failure = failures.shift();
      if (failure !== undefined) throw failure;
      return manifests[version]!;
    },
  };
  /** Turns of the loop that the unpacking of batches asked for. */
  const turns: unknown[] = [];
  const clock = { soon: (fn: () => void) => void turns.push(setImmediate(fn)) };
  /** Time that passes with each batch that is found. */
  const passed = { ms: 0, perBatch: 0 };
  const path = new ObjectColdPath({
    arena,
    reader: reader as unknown as ColdReader,
    manifests: cache as unknown as ManifestCache,
    image: () => ({ topicsById: new Map([[id(1), { partitions: [partition] }]]) }) as unknown as ClusterImage,
    logger: silentLogger,
    records: loopRecordWork(arena, clock),
    lookupBytes: 1_000,
    monotonic: () => passed.ms,
  });
  const log = {
    topicId: id(1),
    partition: 0,
    name: 'a',
    startOffset: 0,
    tailStart: 40,
    highWatermark: 40,
    tail: { count: 0 },
    journal: { durable: 0 },
    epochAt: () => 3,
  } as unknown as PartitionLog;
  const read = async (offset: number): Promise<number> => {
    let result = -2;
    path.read(log, offset, 1_000, 1e9, null, (error) => {
      result = error;
    });
    await settle();
    return result;
  };
  const lookup = (kind: number, time: number): Promise<number[]> =>
    new Promise((resolve) => path.lookup(log, kind, time, (...answer) => resolve(answer)));
  const advance = (): void => {
    partition.manifest = { version: 2, endOffset: 30 };
    partition.objects = [part('o4', 30, 40)];
  };
  return {
    read,
    lookup,
    asked,
    failures,
    versions,
    advance,
    partition,
    log,
    batches,
    whileSearching,
    world,
    path,
    reads,
    whileReading,
    turns,
    passed,
  };
}

describe('reads of older data', () => {
  it('go by the manifest up to its end, and by the image behind it', async () => {
    const { read, asked, versions } = rig();
    for (const offset of [0, 19, 20, 39]) assert.equal(await read(offset), 0);
    assert.deepEqual(asked, ['0: m1,m2', '19: m1,m2', '20: o3,o4', '39: o3,o4']);
    assert.deepEqual(versions, [1, 1]);
  });

  it('look once more when an object or the manifest is gone, and then say so', async () => {
    for (const code of ['OBJECT_GONE', 'MANIFEST_GONE']) {
      const { read, asked, failures, advance } = rig();
      failures.push(gone(code));
      const reading = read(5);
      advance();
      assert.equal(await reading, 0);
      assert.equal(asked.at(-1), '5: n1');
      failures.push(gone(code), gone(code));
      assert.equal(await read(5), ErrorCode.KAFKA_STORAGE_ERROR);
      failures.push(new MillraceError('corrupt', 'MANIFEST_CORRUPT', 'damaged'));
      assert.equal(await read(5), ErrorCode.CORRUPT_MESSAGE);
    }
  });

  it('of committed records bring nothing when the log start passes them before it is known what was aborted', async () => {
    const { path, log, partition, asked, reads, whileReading } = rig();
    let released = 0;
    const ranges = [{ position: 0, length: 10, buffer: null }];
    const brought = () => ({ ranges, bytes: 10, nextOffset: 40, release: () => released++ });
    Object.assign(log, { lastStableOffset: 40, producers: { abortedOver: () => [] } });
    const read = async (offset: number) => {
      const got: unknown[] = [];
      path.read(log, offset, 1_000, 1e9, log, (error, records, nextOffset) =>
        got.push(error, records === null, nextOffset),
      );
      await settle();
      return got;
    };
    reads.push(brought());
    assert.deepEqual(await read(20), [0, false, 40]);
    assert.deepEqual(asked.splice(0), ['20: o3,o4', 'aborted: o3', 'aborted: o4']);
    // Retention drops what was read, wholly or in part.
    for (const left of [[], [part('o4', 30, 40)]]) {
      reads.push(brought());
      partition.objects = [part('o3', 20, 30), part('o4', 30, 40)];
      whileReading.push(() => {
        partition.objects = left;
      });
      assert.deepEqual(await read(20), [0, true, 20]);
    }
    assert.equal(released, 2);
  });

  it('by time look through both', async () => {
    const { lookup, asked } = rig();
    assert.deepEqual(await lookup(0, 5), [0, -1, -1, -1]);
    assert.deepEqual(asked, ['0@5: m1,m2', '20@5: o3,o4']);
  });

  it('by time look as well through what leaves memory meanwhile, until nothing does', async () => {
    const { lookup, asked, partition, log, whileSearching } = rig();
    const leaves = (objectId: string, end: number) => () => {
      partition.objects = [...partition.objects, part(objectId, log.tailStart, end)];
      Object.assign(log, { tailStart: end, highWatermark: end });
    };
    // Nothing happens while the manifest is searched, then twice something while the image is.
    whileSearching.push(() => {}, leaves('o5', 50), leaves('o6', 60));
    assert.deepEqual(await lookup(0, 5), [0, -1, -1, -1]);
    assert.deepEqual(asked, ['0@5: m1,m2', '20@5: o3,o4', '40@5: o3,o4,o5', '50@5: o3,o4,o5,o6']);
  });

  it('by time go on behind a batch whose late record lies below the log start', async () => {
    const { lookup, asked, log, batches } = rig();
    Object.assign(log, { startOffset: 1 });
    const record = (timestamp: number) => ({ timestamp, key: null, value: Buffer.from('x') });
    batches.push(
      buildBatch([record(9), record(4)], { baseOffset: 0 }, crc32c),
      buildBatch([record(5), record(7), record(8)], { baseOffset: 2 }, crc32c),
    );
    assert.deepEqual(await lookup(0, 6), [0, 3, 7, 3]);
    assert.deepEqual(asked, ['1@6: m1,m2', '2@6: m1,m2']);
  });

  it("by time unpack in turns: between batches that hold no such record the loop is everybody's", async () => {
    const { lookup, batches, log, turns } = rig();
    const codec = { codec: 4, codecs };
    // Headers that promise a later time than any record has, as a producer on trust may send them.
    for (let i = 0; i < 20; i++) {
      const record = { timestamp: 4, key: null, value: Buffer.alloc(400_000) };
      batches.push(buildBatch([record], { ...codec, baseOffset: i }, crc32c));
    }
    Object.assign(log, { tailStart: 40 });
    const before = turns.length;
    assert.deepEqual(await lookup(0, 6), [0, -1, -1, -1]);
    assert.equal(batches.length, 0);
    assert.ok(turns.length - before >= 6, `${turns.length - before} turns for 8 MB`);
  });

  it('by time give up when they have cost too much, with an error instead of "none"', async () => {
    const { lookup, batches, passed } = rig();
    const record = { timestamp: 4, key: null, value: Buffer.from('x') };
    for (let i = 0; i < 10; i++) batches.push(buildBatch([record], { baseOffset: i }, crc32c));
    passed.perBatch = 2_001;
    assert.deepEqual(await lookup(0, 6), [ErrorCode.KAFKA_STORAGE_ERROR, -1, -1, -1]);
    assert.equal(batches.length, 10 - 5);
    // By bytes: five batches of 64 MiB are more than one look-up may unpack.
    const large = buildBatch([{ ...record, value: Buffer.alloc(64_000_000) }], { codec: 4, codecs }, crc32c);
    passed.perBatch = 0;
    batches.splice(0, 10, ...Array.from({ length: 10 }, () => large));
    assert.deepEqual(await lookup(0, 6), [ErrorCode.KAFKA_STORAGE_ERROR, -1, -1, -1]);
    assert.equal(batches.length, 10 - 6);
  });

  it('by the newest timestamp compare both', async () => {
    const { lookup, asked, advance, partition } = rig();
    advance();
    await lookup(1, 0);
    assert.equal(asked[0], '0@9: n1');
    partition.objects = [part('o4', 30, 40, 12)];
    asked.length = 0;
    await lookup(1, 0);
    assert.deepEqual(asked.slice(0, 2), ['0@12: n1', '30@12: o4']);
  });

  it('by the newest timestamp name the largest that is left when the newest lies below the log start', async () => {
    const { lookup, log, world, partition } = rig();
    partition.objects = [part('o3', 20, 40, 90)];
    const times = [90, 10, 40, 70, 20, 70];
    world.batch = buildBatch(
      times.map((timestamp) => ({ timestamp, key: null, value: Buffer.from('x') })),
      { baseOffset: 0 },
      crc32c,
    );
    for (const [startOffset, found] of [
      [0, [0, 0, 90, 3]],
      [1, [0, 3, 70, 3]],
      [4, [0, 5, 70, 3]],
      [6, [0, -1, -1, -1]],
    ] as const) {
      Object.assign(log, { startOffset });
      assert.deepEqual(await lookup(1, 0), found, `log start ${startOffset}`);
    }
  });
});
