/** The write-ahead log's device in trouble: docs/operations/failures.md has the table. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { BrokerConfig } from '../../../src/broker/broker-config.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import type { WalDevice } from '../../../src/stream/wal/wal-device.ts';
import type { WalConfig } from '../../../src/volumes/wal-config.ts';
import { readAll, until } from '../../support/inline-broker.ts';
import { rawVersions } from '../../support/raw-client.ts';
import { CountingProducer, values } from '../broker/kafka-calls.ts';
import { TroubleBed, topic } from './trouble-bed.ts';

const MiB = 1024 * 1024;
const { KAFKA_STORAGE_ERROR, MESSAGE_TOO_LARGE, NOT_ENOUGH_REPLICAS, REQUEST_TIMED_OUT } = ErrorCode;

describe('write-ahead log trouble', () => {
  let bed: TroubleBed;
  afterEach(() => bed.dispose());

  const failLog = async (): Promise<void> => {
    await until(() => bed.devices[0]!.writing === 0);
    bed.devices[0]!.failing = new Error('EIO: i/o error');
    assert.equal(await bed.offer(), KAFKA_STORAGE_ERROR);
  };
  const failedWals = async (): Promise<number[]> =>
    (await bed.broker.metrics()).wals.map((wal) => wal.failed!);
  const readBack = async (): Promise<void> =>
    assert.deepEqual(await readAll(bed.connection, topic), values(bed.producer.next));

  test('a write fails, then a stop: clean, since everything acknowledged is in the store', async () => {
    bed = new TroubleBed();
    await bed.begin();
    await bed.offer();
    await bed.upload();
    await bed.offer();
    await failLog();
    assert.deepEqual(await failedWals(), [1]);
    assert.equal(await bed.offer(), KAFKA_STORAGE_ERROR, 'refused from now on');
    await readBack();
    assert.equal(await bed.stop(), 'clean');
    assert.deepEqual(
      [...bed.broker['metadata'].image.wals.values()].map((wal) => wal.state),
      ['empty'],
    );
    await bed.start();
    bed.connection = await bed.connect();
    await readBack();
    assert.equal(await bed.offer(), 0, 'the next life writes again');
    await bed.again();
    await readBack();
    await bed.assertNoStrays();
  });

  test('a write fails while retries of its batch wait with it: all of them are answered', async () => {
    bed = new TroubleBed();
    await bed.begin();
    await bed.offer();
    const [device] = bed.devices;
    await until(() => device!.writing === 0);
    device!.held = [];
    const { next } = bed.producer;
    const batches = async (): Promise<number> =>
      (await bed.broker.metrics()).shards.reduce((sum, shard) => sum + shard.producedBatches!, 0);
    const before = await batches();
    const connections = [bed.connection, await bed.connect(), await bed.connect()];
    const sent = connections.map((connection) => bed.producer.send(connection, next, 2));
    while ((await batches()) < before + 3) await new Promise(setImmediate);
    device!.failing = new Error('EIO: i/o error');
    device!.release();
    for (const answer of sent) assert.deepEqual(await answer, [KAFKA_STORAGE_ERROR, -1]);
    await readBack();
  });

  test('a write that failed and landed all the same stays given up behind the end of a clean stop', async () => {
    bed = new TroubleBed();
    await bed.begin();
    await bed.offer();
    await until(() => bed.devices[0]!.writing === 0);
    bed.devices[0]!.landing = true;
    await failLog();
    assert.equal(await bed.stop(), 'clean');
    await bed.start();
    bed.connection = await bed.connect();
    await readBack();
    assert.equal(await bed.offer(), 0);
    await bed.crash();
    await bed.start();
    bed.connection = await bed.connect();
    await readBack();
  });

  test('a write fails while the store is away: reads go on, and a stop keeps the log for the next start', async () => {
    bed = new TroubleBed({ config: { shutdownTimeoutMs: 800 } });
    await bed.begin();
    await bed.offer();
    await failLog();
    bed.troubled.trouble = (operation) => {
      throw new Error(`${operation}: the store is away, too`);
    };
    await readBack();
    assert.equal(await bed.stop(), 'unfinished');
    bed.troubled.trouble = () => null;
    await bed.start();
    bed.connection = await bed.connect();
    await readBack();
  });

  test('one of two volumes fails: partitions on the other go on', async () => {
    bed = new BedOfVolumes((wal, bed) =>
      ['a', 'b'].map((name) => ({ ...wal, location: `${bed.dataDir}/wal-${name}` })),
    );
    await bed.start();
    bed.connection = await bed.connect();
    await bed.connection.createTopic(topic, 8);
    const producers: CountingProducer[] = [];
    for (let partition = 0; partition < 8; partition++) {
      const producer = await CountingProducer.create(bed.connection, topic, partition);
      await producer.produce(bed.connection, 1);
      producers.push(producer);
    }
    await until(() => bed.devices.every((device) => device.writing === 0));
    bed.devices[0]!.failing = new Error('EIO: i/o error');
    const errors: number[] = [];
    for (const producer of producers) {
      const [error] = await producer.send(bed.connection, producer.next, 2);
      if (error === 0) producer.next += 2;
      errors.push(error);
    }
    assert.deepEqual(
      [...new Set(errors)].sort((a, b) => a - b),
      [0, KAFKA_STORAGE_ERROR],
    );
    assert.deepEqual(await failedWals(), [1, 0]);
    assert.equal(await bed.stop(), 'clean');
    await bed.start();
    bed.connection = await bed.connect();
    for (const producer of producers)
      assert.deepEqual(await readAll(bed.connection, topic, producer.partition), values(producer.next));
  });

  test('a write is not answered for 30 s: given up then, reads and uploads go on, a stop does not wait for it', async () => {
    bed = new TroubleBed();
    await bed.begin();
    await bed.offer();
    await until(() => bed.devices[0]!.writing === 0);
    bed.devices[0]!.held = [];
    const waiting = bed.offer();
    await until(() => bed.devices[0]!.held!.length > 0);
    bed.clock.jump(31_000);
    // The request's own time-out is 30 s, too.
    assert.ok([KAFKA_STORAGE_ERROR, REQUEST_TIMED_OUT].includes((await waiting) as never));
    await until(() => bed.said('its partitions refuse writes') === 1);
    assert.equal(await bed.offer(), KAFKA_STORAGE_ERROR);
    await readBack();
    await bed.upload();
    assert.equal(await bed.stop(), 'clean');
    assert.ok(bed.devices[0]!.held!.length > 0, 'the write has still not returned');
    bed.devices[0]!.cut = true;
    bed.devices[0]!.release();
  });

  test('an abort does not wait for a write that is stuck', async () => {
    bed = new TroubleBed();
    await bed.begin();
    await bed.offer();
    await until(() => bed.devices[0]!.writing === 0);
    bed.devices[0]!.held = [];
    const waiting = bed.offer().catch(() => -1);
    await until(() => bed.devices[0]!.held!.length > 0);
    await bed.broker.abort();
    assert.ok(bed.devices[0]!.held!.length > 0, 'the write has still not returned');
    assert.ok(bed.said('its lock is kept') === 1);
    await waiting;
    bed.devices[0]!.cut = true;
    bed.devices[0]!.release();
  });

  test('the disk is full when the log is to grow: it goes round in what it has, and nothing fails', async () => {
    let limit = Number.POSITIVE_INFINITY;
    bed = new TroubleBed({
      settings: { 'wal.capacity': '64MiB', 'upload.age.ms': 86_400_000 },
      // Nothing but the ring starts an upload.
      config: { uploadBytes: 1e9, logCacheBytes: 20 * MiB },
      layers: {
        walGrowth: { initial: 8 * MiB, chunk: 8 * MiB, slice: MiB },
        walDevice: (device) => full(device, () => limit),
      },
    });
    await bed.begin(50_000);
    limit = 8 * MiB;
    // 40 MB through a ring of 8 MiB: uploads begin at half of what there is, not of what was wished for.
    for (let i = 0; i < 200; i++) {
      const error = await bed.offer();
      if (error !== 0) {
        assert.equal(error, NOT_ENOUGH_REPLICAS);
        i--;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    assert.deepEqual(await failedWals(), [0]);
    const [wal] = (await bed.broker.metrics()).wals;
    assert.ok(wal!.capacityBytes! < 9 * MiB, 'the metric tells the size it has');
    assert.ok(bed.lastUpload >= 5);
    await bed.again();
    assert.equal((await readAll(bed.connection, topic)).length, bed.producer.next);
    await bed.assertNoStrays();
  });

  test('the disk is full and a legal batch is longer than the log has room for: it alone is refused', async () => {
    let limit = 2 * MiB;
    bed = new TroubleBed({
      settings: { 'wal.capacity': '64MiB', 'message.max.bytes': 3 * MiB },
      config: { logCacheBytes: 20 * MiB },
      layers: {
        walGrowth: { initial: 2 * MiB, chunk: MiB, slice: MiB },
        walDevice: (device) => full(device, () => limit),
      },
    });
    await bed.begin(500_000);
    let error: number = NOT_ENOUGH_REPLICAS;
    for (let i = 0; error === NOT_ENOUGH_REPLICAS; i++) {
      assert.ok(i < 100, 'the log has found out long ago that it cannot grow');
      error = await bed.offer(4);
    }
    assert.equal(error, MESSAGE_TOO_LARGE, 'clients split it');
    assert.equal(await bed.offer(1), 0, 'the connection and the volume go on');
    assert.deepEqual(await failedWals(), [0]);
    limit = Number.POSITIVE_INFINITY;
    await bed.again();
    error = NOT_ENOUGH_REPLICAS;
    for (let i = 0; error === NOT_ENOUGH_REPLICAS; i++) {
      assert.ok(i < 1_000, 'the log does not grow');
      error = await bed.offer(4);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    assert.equal(error, 0, 'with room on the disk, and after a restart, it is taken');
    assert.equal((await readAll(bed.connection, topic)).length, 5);
  });

  test('tiny commits fill the ring before their bytes count: producers are slowed, then refused, at once', async () => {
    bed = new BedOfVolumes((wal) => [{ ...wal, capacityBytes: 4 * MiB }]);
    await bed.begin();
    bed.troubled.trouble = () => {
      throw new Error('the store is away');
    };
    let slowed = 0;
    let refused = 0;
    for (let i = 0; i < 20_000 && refused === 0; i++) {
      const batch = bed.producer.batch(bed.producer.next, 1);
      const { throttleTimeMs, responses } = await bed.connection.request(ProduceCodec, rawVersions.produce, {
        acks: -1,
        timeoutMs: 30_000,
        topicData: [{ name: topic, partitionData: [{ index: 0, records: batch }] }],
      });
      if (throttleTimeMs > 0) slowed++;
      const { errorCode } = responses[0]!.partitionResponses[0]!;
      if (errorCode === 0) bed.producer.next++;
      else {
        assert.equal(errorCode, NOT_ENOUGH_REPLICAS);
        refused++;
      }
    }
    assert.equal(refused, 1, 'refused, not left to time out');
    assert.ok(slowed > 50, `${slowed} answers asked to slow down`);
    const { deltaBytes } = await bed.shard();
    assert.ok(deltaBytes! < MiB, `${deltaBytes} bytes of batches filled a ring of 4 MiB`);
    await readBack();
  });
});

class BedOfVolumes extends TroubleBed {
  readonly #volumes: (wal: WalConfig, bed: TroubleBed) => WalConfig[];

  constructor(volumes: (wal: WalConfig, bed: TroubleBed) => WalConfig[]) {
    super();
    this.#volumes = volumes;
  }

  override config(changes: Partial<BrokerConfig> = {}): BrokerConfig {
    const config = super.config(changes);
    return { ...config, wals: this.#volumes(config.wals[0]!, this) };
  }
}

/** A device on a disk that has no more than `limit` bytes for it. */
function full(device: WalDevice, limit: () => number): WalDevice {
  return new Proxy(device, {
    get(target, name) {
      if (name === 'write') {
        return (plan: Parameters<WalDevice['write']>[0], done: Parameters<WalDevice['write']>[1]) => {
          if (plan.filePosition + plan.bytes <= limit()) target.write(plan, done);
          else setImmediate(() => done(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC' })));
        };
      }
      const found = (target as unknown as Record<string | symbol, unknown>)[name];
      return typeof found === 'function' ? found.bind(target) : found;
    },
  });
}
