/**
 * Old records of a running broker: by time, by size, by DeleteRecords, by deletion of the topic, with and without
 * manifests. The clock jumps; what is left is read over the wire, what is stored is listed.
 */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { ManifestCache } from '../../../src/stream/manifest/manifest-cache.ts';
import { ManifestWriter } from '../../../src/stream/manifest/manifest-writer.ts';
import { ObjectReader } from '../../../src/stream/read/object-reader.ts';
import { ObjectSweep } from '../../../src/upkeep/object-sweep.ts';
import { Retention } from '../../../src/upkeep/retention.ts';
import { StateKeeper } from '../../../src/upkeep/state-keeper.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import { crc32c, sequencedBatch } from '../../support/load/batches.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { deleteRecords, value, values } from './kafka-calls.ts';

const topic = 'records';
const minute = 60_000;
const graceMs = 10 * minute;

describe('retention of a broker', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  let ids: { readonly producerId: number; readonly producerEpoch: number };
  let next = 0;
  afterEach(() => bed.dispose());

  const use = async (configs: Readonly<Record<string, string>>, valueBytes = 0): Promise<void> => {
    bed = new BrokerBed({ settings: { 'compaction.enable': false, 'connections.max.idle.ms': 86_400_000 } });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1, configs);
    ids = await connection.initProducerId();
    next = 0;
    bytes = valueBytes;
  };
  let bytes = 0;
  /** Ten records of now, uploaded into an object of their own; their timestamp. */
  const batch = async (upload = true): Promise<number> => {
    const time = Math.floor(bed.clock.now());
    const records = Array.from({ length: 10 }, (_, i) => Buffer.from(value(next + i, bytes)));
    const sent = await connection.produce(topic, 0, sequencedBatch(ids, next, records, time));
    assert.deepEqual([sent.errorCode, sent.baseOffset], [0, next]);
    next += 10;
    if (upload) await bed.upload();
    return time;
  };
  const service = <T>(kind: abstract new (...args: never[]) => T): T => {
    const found = bed.broker['background'].find((each) => each instanceof kind);
    assert.ok(found !== undefined);
    return found as T;
  };
  const retain = () => service(Retention).pass();
  const sweep = () => service(ObjectSweep).pass();
  const stored = async (prefix: string): Promise<number> => (await bed.store.list(prefix)).length;
  const start = () => connection.listOffset(topic, 0, -2);
  const partition = () => bed.broker['metadata'].image.topicsByName.get(topic)!.partitions[0]!;
  const again = async (): Promise<void> => {
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
  };
  /** What compaction does with objects that are large enough. */
  const adopt = async (count: number): Promise<void> => {
    const { metadata } = bed.broker as unknown as { metadata: RunningMetadata };
    const { store } = bed;
    const cache = new ManifestCache({ store, crc32c, clusterId: () => metadata.image.clusterId });
    const writer = new ManifestWriter({
      store,
      metadata,
      cache,
      reader: new ObjectReader({ store, crc32c }),
      crc32c,
      clock: bed.clock,
      graceMs,
      producerExpirationMs: 86_400_000,
    });
    const made = await writer.advance(partition().topicId, 0, ({ ranges, manifest }) => {
      const taken = ranges.slice(0, count);
      return {
        objects: [
          ...manifest.objects,
          ...taken.map((range) => ({ ...range, size: metadata.image.objects.get(range.objectId)!.size })),
        ],
        endOffset: taken.at(-1)!.endOffset,
        adopted: taken.map(({ objectId }) => objectId),
      };
    });
    assert.ok(made !== null);
  };
  type RunningMetadata = ConstructorParameters<typeof ManifestWriter>[0]['metadata'];
  /** The log begins at `from`: what lies below is refused, all behind is there. */
  const assertBegins = async (from: number): Promise<void> => {
    assert.equal(await start(), from);
    if (from > 0) {
      const below = await connection.fetch(topic, 0, from - 1);
      assert.equal(below.errorCode, ErrorCode.OFFSET_OUT_OF_RANGE);
    }
    assert.deepEqual(await readAll(connection, topic), values(next, from, bytes));
  };

  test('by time: objects go after the grace and not before', async () => {
    await use({ 'retention.ms': String(60 * minute) });
    await batch();
    await bed.jump(30 * minute);
    await batch();
    await batch(false);
    await retain();
    await assertBegins(0);
    await bed.jump(30 * minute + 1);
    await retain();
    await assertBegins(10);
    await sweep();
    // One more has the states of producers.
    assert.equal(await stored('data/'), 3);
    await bed.jump(graceMs - 1_000);
    await sweep();
    assert.equal(await stored('data/'), 3);
    await bed.jump(1_000);
    await sweep();
    assert.equal(await stored('data/'), 2);
    await assertBegins(10);
    // An idle partition lets all go that was uploaded; what only the write-ahead log has stays.
    await bed.jump(60 * minute);
    await retain();
    await assertBegins(20);
    await bed.upload();
    await retain();
    assert.equal(await start(), 30);
    await batch();
    await assertBegins(30);
    await again();
    await assertBegins(30);
  });

  test('by size', async () => {
    await use({ 'retention.bytes': '25000' }, 1_000);
    for (let i = 0; i < 4; i++) await batch();
    await retain();
    await assertBegins(10);
    await again();
    await assertBegins(10);
    await batch();
    await retain();
    await assertBegins(20);
  });

  test('by DeleteRecords', async () => {
    await use({});
    for (let i = 0; i < 3; i++) await batch();
    assert.equal(await deleteRecords(connection, topic, 15), 15);
    await sweep();
    await bed.jump(graceMs);
    await sweep();
    assert.equal(await stored('data/'), 3, 'the first holds the newest state of its producers');
    await service(StateKeeper).pass();
    await sweep();
    await bed.jump(graceMs - 1_000);
    await sweep();
    assert.equal(await stored('data/'), 4);
    await bed.jump(1_000);
    await sweep();
    assert.equal(await stored('data/'), 3);
    await assertBegins(15);
  });

  test('through manifests: read, looked up by time, recovered and let go', async () => {
    await use({ 'retention.ms': String(60 * minute) }, 500);
    const times: number[] = [];
    for (let i = 0; i < 5; i++) {
      times.push(await batch());
      await bed.jump(10 * minute);
    }
    await adopt(2);
    await adopt(1);
    assert.equal(partition().manifest!.version, 2);
    assert.equal(partition().objects.length, 2);
    // Nothing in memory: all is read through manifest and image, producers are folded from both.
    await again();
    await assertBegins(0);
    for (const [i, time] of times.entries()) {
      assert.equal(await connection.listOffset(topic, 0, time), i * 10);
      if (i > 0) assert.equal(await connection.listOffset(topic, 0, times[i - 1]! + 1), i * 10);
    }
    // Offset of the newest timestamp (KIP-734), for which all lists are looked through.
    const newest = await connection.request(ListOffsetsCodec, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: topic, partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: -3 }] }],
    });
    assert.equal(newest.topics[0]!.partitions[0]!.offset, 40);
    const retry = Array.from({ length: 10 }, (_, i) => Buffer.from(value(20 + i, bytes)));
    const twice = await connection.produce(topic, 0, sequencedBatch(ids, 20, retry, times[2]!));
    assert.deepEqual([twice.errorCode, twice.baseOffset], [0, 20], 'a retry is known');
    await batch();

    await bed.jump(25 * minute);
    await retain();
    await assertBegins(20);
    assert.equal(partition().manifest!.objects, 1);
    await sweep();
    await bed.jump(graceMs);
    await sweep();
    await retain();
    await assertBegins(30);
    await sweep();
    await bed.jump(graceMs);
    await retain();
    await sweep();
    assert.deepEqual([await stored('manifest/'), partition().manifest!.objects], [1, 0]);
    await assertBegins(40);
    await again();
    await assertBegins(40);
    // A retry whose records are gone is still known as one.
    const gone = await connection.produce(topic, 0, sequencedBatch(ids, 20, retry, times[2]!));
    assert.deepEqual([gone.errorCode, gone.baseOffset], [0, 20]);
  });

  test('with the topic: everything goes, manifests too', async () => {
    await use({});
    for (let i = 0; i < 4; i++) await batch();
    await adopt(2);
    await adopt(1);
    await connection.deleteTopics([topic]);
    await sweep();
    assert.equal(await stored('data/'), 4);
    await again();
    await bed.jump(graceMs);
    await sweep();
    await sweep();
    // The state that the restart stored is held by nobody either.
    await bed.jump(graceMs);
    await sweep();
    assert.deepEqual([await stored('data/'), await stored('manifest/')], [0, 0]);
  });
});
