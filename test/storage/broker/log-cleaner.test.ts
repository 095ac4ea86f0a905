/**
 * Compacted topics of running brokers: inline, where the test says when a pass is made and crashes the broker around it, and
 * with threads, where the service does it by itself. What is left is read over the wire as a consumer reads.
 */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { inspectStore } from '../../../src/inspect/inspect.ts';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { batchBytesOf, lastOffsetOf } from '../../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../../src/protocol/records/batch-reader.ts';
import { SystemRandom } from '../../../src/threads/adapters/system-random.ts';
import { LogCleaner } from '../../../src/upkeep/log-cleaner.ts';
import { ObjectSweep } from '../../../src/upkeep/object-sweep.ts';
import { Retention } from '../../../src/upkeep/retention.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';
import { eventually, RawConnection } from '../../support/raw-client.ts';
import { epochEnd } from './kafka-calls.ts';

const topic = 'compacted';
const minute = 60_000;
const codecs = createCodecs();
const compacted = {
  'cleanup.policy': 'compact',
  'min.cleanable.dirty.ratio': '0.01',
  'segment.ms': '1',
  'delete.retention.ms': String(10 * minute),
};

interface Read {
  readonly offset: number;
  readonly key: string;
  readonly value: string | null;
}

/** From the log start to the high watermark, going on behind each batch as consumers do. */
async function readLog(connection: RawConnection, maxBytes = 1 << 20, partition = 0): Promise<Read[]> {
  const records: Read[] = [];
  const cursor = new RecordCursor();
  let offset = await connection.listOffset(topic, partition, -2);
  const end = await connection.listOffset(topic, partition, -1);
  for (let empty = 0; offset < end; ) {
    const answer = await connection.fetch(topic, partition, offset, { maxWaitMs: 1_000, maxBytes });
    assert.equal(answer.errorCode, 0, `fetch at ${offset}`);
    const bytes = answer.records as Buffer | null;
    if (bytes === null || bytes.length === 0) {
      assert.ok(++empty < 20, `nothing at ${offset}, the log ends at ${end}`);
      continue;
    }
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.length; at += batchBytesOf(view, at)) {
      const length = batchBytesOf(view, at);
      if (at + length > bytes.length) break;
      cursor.open(bytes, at, length, codecs, 1 << 24);
      while (cursor.next())
        if (cursor.offset >= offset)
          records.push({
            offset: cursor.offset,
            key: cursor.key()!.toString(),
            value: cursor.value()?.toString() ?? null,
          });
      offset = Math.max(offset, lastOffsetOf(view, at) + 1);
    }
  }
  return records;
}

/** Newest record of each key, by offset. */
function newestOf(written: readonly Read[]): Read[] {
  const newest = new Map(written.map((record) => [record.key, record]));
  return [...newest.values()].sort((a, b) => a.offset - b.offset);
}

describe('a compacted topic of an inline broker', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  let ids: { readonly producerId: number; readonly producerEpoch: number };
  let written: Read[];
  let times: number[];
  afterEach(() => bed.dispose());

  const use = async (configs: Readonly<Record<string, string>>): Promise<void> => {
    bed = new BrokerBed({
      settings: {
        'compaction.enable': false,
        'connections.max.idle.ms': 86_400_000,
        // Passes are made when the test says so.
        'log.cleaner.backoff.ms': 86_400_000,
        'log.retention.check.interval.ms': 86_400_000,
      },
    });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1, configs);
    ids = await connection.initProducerId();
    written = [];
    times = [];
  };
  const batchOf = (sequence: number, pairs: readonly (readonly [string, string | null])[], time: number) =>
    buildBatch(
      pairs.map(([key, value]) => ({
        key: Buffer.from(key),
        value: value === null ? null : Buffer.from(value),
        timestamp: time,
      })),
      { ...ids, baseSequence: sequence, codec: sequence % 2, codecs },
      crc32c,
    );
  const write = async (pairs: readonly (readonly [string, string | null])[]): Promise<Buffer> => {
    const base = written.length;
    const time = Math.floor(bed.clock.now());
    const batch = batchOf(base, pairs, time);
    const sent = await connection.produce(topic, 0, batch);
    assert.deepEqual([sent.errorCode, sent.baseOffset], [0, base]);
    for (const [i, [key, value]] of pairs.entries()) {
      written.push({ offset: base + i, key, value });
      times.push(time);
    }
    return batch;
  };
  const round = async (count: number, keys: number): Promise<void> => {
    for (let i = 0; i < count; i++)
      await write([0, 1, 2].map((j) => [`k${(3 * i + j) % keys}`, `v${written.length + j}`] as const));
    await bed.upload();
  };
  const service = <T>(kind: abstract new (...args: never[]) => T): T => {
    const found = bed.broker['background'].find((each) => each instanceof kind);
    assert.ok(found !== undefined);
    return found as T;
  };
  const clean = async (): Promise<void> => {
    await bed.jump(1_000);
    await service(LogCleaner).pass();
  };
  const again = async (): Promise<void> => {
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
  };
  const byTime = async (time: number): Promise<[number, number]> => {
    const answer = await connection.request(ListOffsetsCodec, 7, {
      replicaId: -1,
      isolationLevel: 0,
      topics: [{ name: topic, partitions: [{ partitionIndex: 0, currentLeaderEpoch: -1, timestamp: time }] }],
    });
    const { offset, timestamp, errorCode } = answer.topics[0]!.partitions[0]!;
    assert.equal(errorCode, 0);
    return [offset, timestamp];
  };

  test('holds the newest of each key at its offset, through crashes; look-ups and producers go on', async () => {
    await use(compacted);
    for (let n = 0; n < 4; n++) {
      await round(10, 12);
      await bed.jump(minute);
    }
    await write([['k0', null]]);
    await write([['last', 'x']]);
    await bed.upload();
    await clean();
    assert.equal(service(LogCleaner).numbers.passes, 1);
    await again();
    assert.deepEqual(await readLog(connection), newestOf(written));
    const ports = { crc32c, clock: bed.clock, random: new SystemRandom() };
    const report = await inspectStore(await bed.openStore(), ports, { verify: true, topic: null });
    assert.deepEqual(report.problems, [], 'gaps of log compaction are no holes');
    // The tombstone goes when its time is over, by the checkpoint that survived.
    await bed.jump(11 * minute);
    await clean();
    await again();
    const left = newestOf(written).filter(({ value }) => value !== null);
    assert.deepEqual(await readLog(connection), left);
    for (const at of [0, 50, 100, written.length - 1]) {
      const found = left.find(({ offset }) => times[offset]! >= times[at]!)!;
      assert.deepEqual(await byTime(times[at]!), [found.offset, times[found.offset]]);
    }
    const newest = left.find(({ offset }) => times[offset] === times[left.at(-1)!.offset])!;
    assert.deepEqual(await byTime(-3), [newest.offset, times[newest.offset]]);
    assert.deepEqual((await epochEnd(connection, topic, 0))[0], 0);
    // The producer goes on where it was: what it sends again is known, the next batch follows.
    const last = batchOf(written.length - 1, [['last', 'x']], times.at(-1)!);
    const repeated = await connection.produce(topic, 0, last);
    assert.deepEqual([repeated.errorCode, repeated.baseOffset], [0, written.length - 1]);
    await write([['k1', 'on']]);
  });

  test('is read without an error while it is compacted, written and read from everywhere', async () => {
    await use(compacted);
    await round(20, 10);
    await again();
    let on = true;
    let reads = 0;
    const reader = async (maxBytes: number): Promise<void> => {
      const own = await bed.connect();
      while (on) {
        const known = written.length;
        const found = await readLog(own, maxBytes);
        // Whatever was taken meanwhile: of each key something at least as new as what was acknowledged before.
        const newest = new Map(found.map((record) => [record.key, record]));
        for (const { key, offset } of newestOf(written.slice(0, known))) {
          // Or something newer took it away, behind where this read ended.
          const replaced = written.some((record) => record.key === key && record.offset > offset);
          assert.ok(replaced || newest.get(key)?.offset === offset, `${key} at ${offset}`);
        }
        for (const record of found) assert.deepEqual(record, written[record.offset]);
        reads++;
      }
    };
    const readers = Promise.all([reader(200), reader(5_000), reader(1 << 20)]);
    for (let n = 0; n < 6; n++) {
      await round(5, 10 + n);
      await clean();
      const before = reads;
      while (reads < before + 3)
        await Promise.race([readers, new Promise((resolve) => setTimeout(resolve, 1))]);
    }
    on = false;
    await readers;
    assert.equal(service(LogCleaner).numbers.failures, 0);
    await again();
    assert.deepEqual(await readLog(connection), newestOf(written));
  });

  test('with compact,delete loses what is too old as well, and its objects', async () => {
    await use({ ...compacted, 'cleanup.policy': 'compact,delete', 'retention.ms': String(60 * minute) });
    await round(10, 12);
    await clean();
    await bed.jump(30 * minute);
    await round(2, 3);
    await bed.jump(30 * minute + 2_000);
    await service(Retention).pass();
    await again();
    assert.deepEqual(await readLog(connection), written.slice(30));
    assert.equal(await connection.listOffset(topic, 0, -2), 30);
    await clean();
    await bed.jump(20 * minute);
    for (let n = 0; n < 3; n++) await service(ObjectSweep).pass();
    await again();
    assert.deepEqual(await readLog(connection), newestOf(written.slice(30)));
  });

  test('with delete alone is left as it is, and so is everything without log.cleaner.enable', async () => {
    await use({ 'cleanup.policy': 'delete' });
    await round(5, 3);
    await clean();
    assert.equal(service(LogCleaner).numbers.passes, 0);
    await bed.stop();
    await bed.start({ logCleaner: false });
    connection = await bed.connect();
    assert.ok(!bed.broker['background'].some((each) => each instanceof LogCleaner));
    assert.deepEqual(await readLog(connection), written);
  });
});

test('a broker with threads compacts in its pool', async () => {
  const broker = await BrokerProcess.start({
    settings: {
      threads: 2,
      'wal.capacity': '64MiB',
      'arena.bytes': '128MiB',
      'upload.age.ms': 200,
      'log.cleaner.backoff.ms': 200,
      'log.cleaner.dedupe.buffer.size': 4_096,
    },
  });
  try {
    const [host, port] = broker.bootstrap.split(':') as [string, string];
    let connection = await RawConnection.connect({ host, port: Number(port) });
    await connection.createTopic(topic, 2, compacted);
    const written: Read[][] = [[], []];
    const keys = 400;
    for (let n = 0; n < 40; n++)
      for (const partition of [0, 1]) {
        const log = written[partition]!;
        const records = Array.from({ length: 50 }, (_, i) => ({
          key: `k${(50 * n + i) % keys}`,
          value: `p${partition} v${log.length + i}`,
        }));
        const batch = buildBatch(
          records.map(({ key, value }) => ({
            key: Buffer.from(key),
            value: Buffer.from(value),
            timestamp: Date.now(),
          })),
          { codec: n % 4, codecs },
          crc32c,
        );
        const sent = await connection.produce(topic, partition, batch);
        assert.deepEqual([sent.errorCode, sent.baseOffset], [0, log.length]);
        for (const record of records) log.push({ offset: log.length, ...record });
      }
    // More keys than one map of 4 KiB holds: many passes, until all but the newest of each is gone.
    await eventually(async () => {
      const page = await (await fetch(`${broker.http}/metrics`)).text();
      const number = (name: string): number =>
        Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(page)?.[1] ?? Number.NaN);
      assert.ok(
        number('millrace_log_cleaner_passes_total') >= 4,
        page.match(/millrace_log_cleaner.*/g)?.join('\n'),
      );
      assert.ok(number('millrace_log_cleaner_dirty_ratio_max') < 0.01);
      assert.equal(number('millrace_log_cleaner_failures_total'), 0);
    });
    await connection.close();
    await broker.kill();
    await broker.start();
    connection = await RawConnection.connect({ host, port: Number(port) });
    await eventually(async () => {
      for (const partition of [0, 1])
        assert.deepEqual(await readLog(connection, 1 << 20, partition), newestOf(written[partition]!));
    });
    await connection.close();
    assert.deepEqual(await broker.stop(), { code: 0, signal: null });
  } finally {
    await broker.dispose();
  }
});
