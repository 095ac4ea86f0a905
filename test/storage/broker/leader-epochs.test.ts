/**
 * Leader epochs (KIP-320) of a broker that restarts and deletes old records: a consumer that comes back with the epoch
 * of its last record goes on where it was, however little the log remembers of that epoch.
 */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { Retention } from '../../../src/upkeep/retention.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { sequencedBatch } from '../../support/load/batches.ts';
import { type RawConnection, rawVersions } from '../../support/raw-client.ts';
import { CountingProducer, deleteRecords, epochEnd, leaderEpoch, value } from './kafka-calls.ts';

const topic = 'records';
const hour = 3_600_000;

describe('leader epochs', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  let producer: CountingProducer;
  afterEach(() => bed.dispose());

  const use = async (configs: Readonly<Record<string, string>> = {}): Promise<void> => {
    bed = new BrokerBed({
      settings: { 'compaction.enable': false, 'connections.max.idle.ms': 86_400_000 },
    });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1, configs);
    producer = await CountingProducer.create(connection, topic);
  };
  const restart = async (clean = false): Promise<void> => {
    if (clean) assert.equal(await bed.stop(), 'clean');
    else await bed.crash();
    await bed.start();
    connection = await bed.connect();
  };
  /** What a consumer sends that has read up to `offset`, whose last record was of `lastFetchedEpoch`. */
  const resume = async (offset: number, lastFetchedEpoch: number) => {
    const answer = await connection.request(FetchCodec, rawVersions.fetch, {
      maxWaitMs: 0,
      minBytes: 1,
      maxBytes: 1 << 20,
      sessionEpoch: -1,
      topics: [
        {
          topic,
          partitions: [
            {
              partition: 0,
              fetchOffset: offset,
              lastFetchedEpoch,
              currentLeaderEpoch: await leaderEpoch(connection, topic),
              partitionMaxBytes: 1 << 20,
            },
          ],
        },
      ],
    });
    const { errorCode, divergingEpoch, records } = answer.responses[0]!.partitions[0]!;
    const diverging = divergingEpoch.endOffset < 0 ? null : [divergingEpoch.epoch, divergingEpoch.endOffset];
    return { errorCode, diverging, some: (records?.length ?? 0) > 0 };
  };
  const goesOn = { errorCode: 0, diverging: null, some: true };

  test('a restart and retention: the consumer at the log start reads on, none of its records is skipped', async () => {
    await use({ 'retention.ms': String(hour) });
    await producer.produce(connection, 3);
    const consumed = producer.next;
    await bed.upload();
    await bed.jump(hour + 60_000);
    await restart();
    const records = [consumed, consumed + 1].map((offset) => Buffer.from(value(offset)));
    const time = Math.floor(bed.clock.now());
    const sent = await connection.produce(topic, 0, sequencedBatch(producer.ids, consumed, records, time));
    assert.deepEqual([sent.errorCode, sent.baseOffset], [0, consumed]);
    await bed.upload();
    await (bed.broker['background'].find((each) => each instanceof Retention) as Retention).pass();
    assert.equal(await connection.listOffset(topic, 0, -2), consumed, 'all of epoch 0 is deleted');
    assert.deepEqual(await epochEnd(connection, topic, 0), [0, consumed]);
    assert.deepEqual(await resume(consumed, 0), goesOn);
    for (const clean of [true, false]) {
      await restart(clean);
      assert.deepEqual(await epochEnd(connection, topic, 0), [0, consumed]);
      assert.deepEqual(await resume(consumed, 0), goesOn);
    }
  });

  test('several restarts, and the log start in the middle of an epoch', async () => {
    await use();
    for (let life = 0; life < 4; life++) {
      if (life > 0) await restart(life === 2);
      await producer.produce(connection, 2);
    }
    // Epochs 0 to 3 of four records each.
    await deleteRecords(connection, topic, 6);
    const expectations = async (): Promise<void> => {
      assert.deepEqual(await resume(6, 0), goesOn, 'its epoch is forgotten, and ended where the log begins');
      assert.deepEqual(await resume(8, 1), goesOn);
      assert.deepEqual(await resume(9, 1), { errorCode: 0, diverging: [1, 8], some: false });
      assert.equal((await resume(5, 0)).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE);
      assert.equal((await resume(10, 9)).errorCode, ErrorCode.OFFSET_OUT_OF_RANGE);
      assert.deepEqual(await epochEnd(connection, topic, 0), [0, 6]);
      assert.deepEqual(await epochEnd(connection, topic, 2), [2, 12]);
    };
    await expectations();
    await deleteRecords(connection, topic, 9);
    assert.deepEqual(await epochEnd(connection, topic, 1), [1, 9]);
    assert.deepEqual(await resume(9, 1), goesOn);
    await restart();
    assert.deepEqual(await epochEnd(connection, topic, 1), [1, 9]);
    assert.deepEqual(await resume(9, 1), goesOn);
    assert.deepEqual(await resume(12, 2), goesOn);
  });

  test('deleted before the restart: what nobody remembers after it ends where the log begins', async () => {
    await use();
    await producer.produce(connection, 2);
    await deleteRecords(connection, topic, 4);
    await restart();
    await producer.produce(connection, 1);
    assert.deepEqual(await epochEnd(connection, topic, 0), [0, 4]);
    assert.deepEqual(await resume(4, 0), goesOn);
    assert.deepEqual(await resume(5, 0), { errorCode: 0, diverging: [0, 4], some: false });
  });
});
