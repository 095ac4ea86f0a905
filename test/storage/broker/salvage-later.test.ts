/**
 * What becomes of lost offsets after a salvage: merged, handed over to manifests, verified, looked up by time, deleted; and
 * salvages that are not of the common kind: a log larger than memory, a shared one.
 */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, test } from 'node:test';
import { PortableFiles } from '../../../native-bindings/portable/files.ts';
import type { BrokerConfig } from '../../../src/broker/broker-config.ts';
import { inspectStore } from '../../../src/inspect/inspect.ts';
import { FileWalDevice } from '../../../src/stream/wal/file-wal-device.ts';
import { pageBytes } from '../../../src/stream/wal/wal-limits.ts';
import { SystemClock } from '../../../src/threads/adapters/system-clock.ts';
import { SystemRandom } from '../../../src/threads/adapters/system-random.ts';
import { Compaction } from '../../../src/upkeep/compaction.ts';
import { ManifestKeeper } from '../../../src/upkeep/manifest-keeper.ts';
import { volumePath } from '../../../src/volumes/shared-volume.ts';
import { smallLimits, smallPolicy } from '../../support/compaction-world.ts';
import { type BedOptions, BrokerBed } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { change, commitsOf, range, survey } from './damaged-wal.ts';
import { CountingProducer, deleteRecords, values } from './kafka-calls.ts';

const topic = 'records';
const probe = mkdtempSync(join(tmpdir(), 'millrace-direct-'));
const { direct } = FileWalDevice.open(join(probe, 'x'), new PortableFiles(), { create: true });
rmSync(probe, { recursive: true });

describe('after a salvage', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  let producer: CountingProducer;
  let mount = '';
  afterEach(async () => {
    await bed.dispose();
    if (mount !== '') rmSync(mount, { recursive: true, force: true });
    mount = '';
  });

  /** Writes so many batches of two records, loses every one of those numbered, and salvages the rest. */
  const salvaged = async (
    options: BedOptions,
    count: number,
    numbers: readonly number[],
    valueBytes = 0,
    changes: Partial<BrokerConfig> = {},
  ): Promise<number[]> => {
    bed = new BrokerBed(options);
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1);
    producer = await CountingProducer.create(connection, topic, 0, valueBytes);
    await producer.produce(connection, count);
    const volume = bed.broker['volumes'][0]!;
    const path = volumePath(volume);
    await bed.crash();
    const commits = commitsOf(path).slice(-count);
    const lost: number[] = [];
    change(path, (bytes) => {
      for (const number of numbers) {
        const { at, batches } = commits[number]!;
        // By turns the commit, and only its payload.
        if (number % 2 === 0) bytes.fill(0, at, at + pageBytes);
        else bytes[batches[0]!.recordsAt + 3]! ^= 1;
        lost.push(...range(batches[0]!.from, batches[0]!.until));
      }
    });
    await bed.start({ ...changes, salvageWals: [volume.logId] });
    connection = await bed.connect();
    assert.ok(existsSync(path));
    return lost.sort((a, b) => a - b);
  };

  const assertAll = async (lost: readonly number[], from = 0): Promise<void> => {
    const found = await survey(connection, topic, 0);
    assert.deepEqual(found.lost, lost);
    const rest = values(producer.next, from, producer.valueBytes).filter(
      ({ offset }) => !lost.includes(offset),
    );
    assert.deepEqual(found.records, rest);
    assert.equal(found.end, producer.next);
  };

  const again = async (): Promise<void> => {
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
  };

  const service = <T>(kind: abstract new (...args: never[]) => T): T =>
    bed.broker['background'].find((each) => each instanceof kind) as T;

  const problems = async (): Promise<string[]> => {
    const ports = { clock: new SystemClock(), random: new SystemRandom(), crc32c };
    const report = await inspectStore(await bed.openStore(), ports, { verify: true, topic: null });
    return report.problems.map(({ what, concerns }) => `${what}: ${concerns}`);
  };

  test('merges and manifests carry them, inspect names them, DeleteRecords ends them', async () => {
    const lost = await salvaged(
      {
        settings: { 'compaction.interval.ms': 86_400_000, 'connections.max.idle.ms': 86_400_000 },
        layers: { compaction: { policy: smallPolicy, limits: smallLimits } },
      },
      12,
      [3, 4, 8],
      2_000,
    );
    assert.deepEqual(lost, [6, 7, 8, 9, 16, 17]);
    const image = () => bed.broker['metadata'].image;
    for (let round = 0; round < 70; round++) {
      await producer.produce(connection, 1);
      await bed.upload();
    }
    const before = image().objects.size;
    await service(Compaction).pass();
    assert.equal(service(Compaction).numbers.failures, 0);
    assert.ok(image().objects.size < before / 3, `${image().objects.size} of ${before} objects`);
    await assertAll(lost);
    const keeper = service(ManifestKeeper);
    await new ManifestKeeper({ ...keeper['deps'], doneBytesMin: 1, batchMin: 1 }).pass();
    const [partition] = image().topicsByName.get(topic)!.partitions;
    assert.ok(partition!.manifest !== null && partition!.manifest.endOffset > 17, 'a manifest has them');
    await again();
    await assertAll(lost);
    const named = lost.filter((_offset, i) => i % 2 === 0);
    const expected = named.map(
      (from) => `records were lost with a damaged write-ahead log: ${topic}/0 offsets ${from} to ${from + 1}`,
    );
    assert.deepEqual(await problems(), expected);
    await deleteRecords(connection, topic, 17);
    await assertAll([17], 17);
    await deleteRecords(connection, topic, 18);
    await assertAll([], 18);
    await producer.produce(connection, 1);
    await again();
    await assertAll([], 18);
  });

  test('a lookup by time passes over them', async () => {
    const lost = await salvaged({}, 6, [2, 3]);
    assert.deepEqual(lost, [4, 5, 6, 7]);
    assert.equal(await connection.listOffset(topic, 0, 1), 0);
    await deleteRecords(connection, topic, 4);
    assert.equal(await connection.listOffset(topic, 0, -2), 4);
    assert.equal(await connection.listOffset(topic, 0, 1), 8);
    await assertAll(lost, 4);
  });

  test('a log larger than the window of a drain: in several objects', async () => {
    const settings = { 'arena.bytes': '128MiB', 'log.cache.bytes': '64MiB', 'wal.capacity': '128MiB' };
    const lost = await salvaged({ settings }, 24, [0, 7, 12, 21], 400_000, { logCacheBytes: 4 << 20 });
    assert.equal(lost.length, 8);
    assert.ok(bed.broker['metadata'].image.objects.size >= 3, 'in several objects');
    await assertAll(lost);
    await producer.produce(connection, 1);
    await again();
    await assertAll(lost);
  });

  test('a shared log', { skip: direct ? false : `${tmpdir()} has no O_DIRECT` }, async () => {
    mount = mkdtempSync(join(tmpdir(), 'millrace-mount-'));
    const lost = await salvaged({ settings: { 'wal.url': `shared:${mount}` } }, 6, [1, 4]);
    await assertAll(lost);
    const { path } = bed.broker['volumes'][0]!.predecessors[0]!;
    const file = path.slice('shared:'.length);
    const kept = readFileSync(file);
    await producer.produce(connection, 1);
    await again();
    await assertAll(lost);
    assert.deepEqual(readFileSync(file), kept);
  });
});
