/**
 * A damaged write-ahead log under `--salvage-wal`: every acknowledged record that is whole is read back at its offset, every
 * lost one answers CORRUPT_MESSAGE or is named, nothing else changes, and the log itself is never written again.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { decodeSuperblock, descriptorAt } from '../../../src/stream/wal/wal-format.ts';
import { commitHeaderBytes, pageBytes } from '../../../src/stream/wal/wal-limits.ts';
import { BrokerBed, readAll, until } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { change, commitsOf, range, survey, type WrittenCommit } from './damaged-wal.ts';
import {
  CountingProducer,
  commitOffset,
  committedOffset,
  deleteRecords,
  epochEnd,
  leaderEpoch,
  values,
} from './kafka-calls.ts';

const topic = 'records';
describe('salvage of a block WAL', () => {
  let bed: BrokerBed;
  afterEach(() => bed.dispose());

  interface Written {
    readonly producers: readonly CountingProducer[];
    readonly path: string;
    readonly logId: string;
    readonly commits: readonly WrittenCommit[];
  }

  const logOf = () => bed.broker['volumes'][0]!;

  /** A dead broker: two partitions with two batches each in objects and five each in the log, a commit per batch. */
  const written = async (valueBytes = 0): Promise<Written> => {
    bed = new BrokerBed();
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 2);
    const producers: CountingProducer[] = [];
    for (const partition of [0, 1])
      producers.push(await CountingProducer.create(connection, topic, partition, valueBytes));
    for (const producer of producers) await producer.produce(connection, 2);
    await bed.upload();
    for (let round = 0; round < 5; round++) for (const one of producers) await one.produce(connection, 1);
    const { path, logId } = logOf();
    await durableStated(path);
    await bed.crash();
    const commits = commitsOf(path).slice(-10);
    return { producers, path, logId, commits };
  };

  /** A superblock says that the newest commit is durable. */
  const durableStated = async (path: string): Promise<void> => {
    const newest = commitsOf(path).at(-1)!.sequence;
    await bed.jump(1_001);
    await until(() => {
      const pages = readFileSync(path).subarray(0, 2 * pageBytes);
      return [0, pageBytes].some((at) => decodeSuperblock(pages, at, crc32c)?.durableSequence === newest);
    });
  };

  const withoutFence = (path: string): Buffer => readFileSync(path).fill(0, 2 * pageBytes, 3 * pageBytes);

  /** Refused without the option, in words that name it; then started with it. */
  const salvage = async (logId: string, code = 'WAL_DAMAGED'): Promise<RawConnection> => {
    const options =
      code === 'WAL_DAMAGED' ? `--salvage-wal ${logId}.*--abandon-wal ${logId}` : `--salvage-wal ${logId}`;
    await assert.rejects(bed.start(), { code, message: new RegExp(options) });
    bed.lines.length = 0;
    await bed.start({ salvageWals: [logId] });
    return bed.connect();
  };

  const saidLost = (): unknown[][] =>
    bed.lines
      .filter(({ message }) => message === 'offsets are lost; they stay assigned')
      .map(({ fields }) => [fields.partition, fields.from, fields.until, fields.reason]);

  const saidOf = (partition: number): unknown =>
    bed.lines.find(
      ({ message, fields }) => message === 'partition salvaged' && fields.partition === partition,
    )?.fields;

  /** All is there but the lost offsets, the producers go on, and so it stays over a crash and a stop. */
  const holds = async (
    { producers, path, logId }: Written,
    lost: readonly (readonly number[])[],
  ): Promise<void> => {
    const kept = withoutFence(path);
    // Of a commit that is missing nobody knows which sequences it held: a retry is refused as out of order.
    for (const [, , , reason] of saidLost())
      for (const [partition, { batches }] of producers.entries())
        if (reason === 'gap')
          batches.splice(
            0,
            batches.length,
            ...batches.filter(({ offset }) => !lost[partition]!.includes(offset)),
          );
    for (const life of ['salvaged', 'crashed', 'stopped']) {
      if (life === 'crashed') await bed.crash();
      if (life === 'stopped') assert.equal(await bed.stop(), 'clean');
      if (life !== 'salvaged') await bed.start();
      const connection = await bed.connect();
      for (const [partition, producer] of producers.entries()) {
        if (life === 'salvaged') await producer.assertWindow(connection);
        const found = await survey(connection, topic, partition);
        assert.equal(found.end, producer.next, `${life}: end of ${partition}`);
        assert.deepEqual(found.lost, lost[partition], `${life}: lost of ${partition}`);
        const rest = values(producer.next, 0, producer.valueBytes).filter(
          ({ offset }) => !lost[partition]!.includes(offset),
        );
        assert.deepEqual(found.records, rest, `${life}: records of ${partition}`);
        await producer.produce(connection, 1);
      }
    }
    assert.notEqual(logOf().logId, logId);
    assert.deepEqual(withoutFence(path), kept, 'the damaged log was not written');
    // The option may stay where it was given.
    await bed.crash();
    bed.lines.length = 0;
    await bed.start({ salvageWals: [logId] });
    assert.ok(bed.lines.some(({ message }) => message.startsWith('nothing to salvage')));
  };

  for (const [place, number] of [
    ['first', 0],
    ['middle', 4],
  ] as const) {
    test(`the header page of the ${place} commit: its offsets are lost, all behind them is kept`, async () => {
      const log = await written();
      const commit = log.commits[number]!;
      change(log.path, (bytes) => bytes.fill(0, commit.at, commit.at + pageBytes));
      await salvage(log.logId);
      const [batch] = commit.batches;
      assert.deepEqual(saidLost(), [[0, batch!.from, batch!.until, 'gap']]);
      await holds(log, [range(batch!.from, batch!.until), []]);
    });

    test(`the payload of the ${place} commit, found only when it is read: the same`, async () => {
      const log = await written();
      const [batch] = log.commits[number]!.batches;
      change(log.path, (bytes) => {
        bytes[batch!.recordsAt + 3]! ^= 1;
      });
      await salvage(log.logId, 'WAL_PAYLOAD_DAMAGED');
      assert.deepEqual(saidLost(), [[0, batch!.from, batch!.until, 'payload']]);
      await holds(log, [range(batch!.from, batch!.until), []]);
    });
  }

  test('a bit of a descriptor: the header fails its CRC, and the commit is missing', async () => {
    const log = await written();
    const commit = log.commits[5]!;
    change(log.path, (bytes) => {
      bytes[commit.at + commitHeaderBytes + descriptorAt.header + 7]! ^= 1;
    });
    await salvage(log.logId);
    const [batch] = commit.batches;
    assert.deepEqual(saidLost(), [[1, batch!.from, batch!.until, 'gap']]);
    await holds(log, [[], range(batch!.from, batch!.until)]);
  });

  test('payload of batches in pages of their own, first and last: a whole lap of ranges', async () => {
    const log = await written(20_000);
    const lost: number[][] = [[], []];
    change(log.path, (bytes) => {
      for (const number of [0, 3, 9]) {
        const [batch] = log.commits[number]!.batches;
        bytes[batch!.recordsAt + batch!.recordBytes - 1]! ^= 0x80;
        lost[batch!.partition]!.push(...range(batch!.from, batch!.until));
      }
    });
    await salvage(log.logId);
    await holds(log, lost);
  });

  test('the newest commits are gone: partitions end before them, and it is said that they may have gone on', async () => {
    const log = await written();
    const [before, ...gone] = log.commits.slice(-3);
    change(log.path, (bytes) => {
      for (const { at, length } of gone) bytes.fill(0, at, at + length);
    });
    const connection = await salvage(log.logId);
    assert.deepEqual(saidLost(), []);
    const epoch = await leaderEpoch(connection, topic);
    for (const [partition, producer] of log.producers.entries()) {
      const end = producer.next - 2;
      const said = {
        log: log.logId,
        topic,
        partition,
        from: 4,
        until: end,
        lost: 0,
        newest: 'may be missing',
      };
      assert.deepEqual(saidOf(partition), said);
      assert.deepEqual((await survey(connection, topic, partition)).records, values(end));
      // Offsets that are not there any more are given again, under the next epoch.
      producer.next = end;
      producer.batches.length--;
      await producer.produce(connection, 1);
    }
    assert.deepEqual(await epochEnd(connection, topic, epoch - 1), [epoch - 1, log.producers[0]!.next - 2]);
    assert.equal(before!.batches[0]!.partition, 1);
    await holds(log, [[], []]);
  });

  test('both superblocks: nothing can be salvaged, and it is said; the objects remain', async () => {
    const log = await written();
    change(log.path, (bytes) => bytes.fill(0xee, 0, 2 * pageBytes));
    const message = new RegExp(`nothing of .* can be salvaged.*--abandon-wal ${log.logId}`);
    await assert.rejects(bed.start({ salvageWals: [log.logId] }), { code: 'WAL_SUPERBLOCKS_LOST', message });
    await bed.start({ abandonWals: [log.logId] });
    assert.deepEqual(await readAll(await bed.connect(), topic), values(4));
  });

  test('a whole log: recovered as usual, and goes on', async () => {
    const log = await written();
    await bed.start({ salvageWals: [log.logId] });
    assert.ok(
      bed.lines.some(({ message }) => message === 'the write-ahead log is whole: it is recovered as usual'),
    );
    assert.equal(logOf().logId, log.logId);
    const connection = await bed.connect();
    for (const [partition, producer] of log.producers.entries()) {
      await producer.assertWindow(connection);
      assert.deepEqual((await survey(connection, topic, partition)).records, values(producer.next));
    }
  });

  test('an id that is none, one that is abandoned too, and a damaged file that is named itself', async () => {
    const log = await written();
    const { at } = log.commits[4]!;
    change(log.path, (bytes) => bytes.fill(0, at, at + pageBytes));
    const before = readFileSync(log.path);
    const refusal = (message: RegExp) => ({ code: 'WAL_SALVAGE', message });
    await assert.rejects(
      bed.start({ salvageWals: ['nobody'] }),
      refusal(new RegExp(`no write-ahead log nobody.*${log.logId}`)),
    );
    const both = { salvageWals: [log.logId], abandonWals: [log.logId] };
    await assert.rejects(bed.start(both), refusal(/one of the two/));
    const wals = bed.config().wals.map((wal) => ({ ...wal, location: log.path }));
    await assert.rejects(bed.start({ salvageWals: [log.logId], wals }), refusal(/another place.*--wal/));
    assert.deepEqual(readFileSync(log.path), before);
    await bed.start({ salvageWals: [log.logId] });
  });

  test('dead before and behind the first upload of the salvage: refused as before, and the next one goes on', async () => {
    const log = await written();
    const commit = log.commits[4]!;
    change(log.path, (bytes) => bytes.fill(0, commit.at, commit.at + pageBytes));
    for (const failAt of [1, 2]) {
      let objects = 0;
      bed.store.cut = false;
      bed.store.beforePut = (key) => {
        if (key.startsWith('data/') && ++objects === failAt) bed.store.cut = true;
      };
      await assert.rejects(bed.start({ salvageWals: [log.logId] }), { code: 'STORE_UNAVAILABLE' });
    }
    bed.store.cut = true;
    const again = new RegExp(`${log.logId}.*all in use.*--salvage-wal`);
    await assert.rejects(bed.start(), { code: 'WAL_MISSING', message: again });
    await bed.start({ salvageWals: [log.logId] });
    const [batch] = commit.batches;
    await holds(log, [range(batch!.from, batch!.until), []]);
  });

  test('DeleteRecords behind the lost offsets heals the partition', async () => {
    const log = await written();
    const commit = log.commits[4]!;
    change(log.path, (bytes) => bytes.fill(0, commit.at, commit.at + pageBytes));
    const connection = await salvage(log.logId);
    const { from, until: behind } = commit.batches[0]!;
    await deleteRecords(connection, topic, from + 1);
    assert.deepEqual((await survey(connection, topic, 0)).lost, range(from + 1, behind));
    await deleteRecords(connection, topic, behind);
    const { next } = log.producers[0]!;
    assert.deepEqual(await survey(connection, topic, 0), {
      records: values(next, behind),
      lost: [],
      end: next,
    });
  });

  test('a lost commit of group offsets: what was committed later counts, and the group loads', async () => {
    bed = new BrokerBed();
    await bed.start();
    let connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 3);
    await commitOffset(connection, 'group', topic, 1);
    await commitOffset(connection, 'group', topic, 2);
    const { path, logId } = logOf();
    const lost = commitsOf(path).at(-1)!;
    await commitOffset(connection, 'group', topic, 3);
    await durableStated(path);
    await bed.crash();
    change(path, (bytes) => bytes.fill(0, lost.at, lost.at + pageBytes));
    connection = await salvage(logId);
    assert.equal(saidLost().length, 1);
    assert.deepEqual(await committedOffset(connection, 'group', topic), [3, 'at 3']);
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
  });

  test('the new log lies elsewhere', async () => {
    const log = await written();
    const commit = log.commits[4]!;
    change(log.path, (bytes) => bytes.fill(0, commit.at, commit.at + pageBytes));
    const place = pathToFileURL(`${bed.dir}/elsewhere`).pathname;
    const wals = bed.config().wals.map((wal) => ({ ...wal, location: place }));
    await bed.start({ salvageWals: [log.logId], wals });
    const [batch] = commit.batches;
    const { lost, records } = await survey(await bed.connect(), topic, 0);
    assert.deepEqual(lost, range(batch!.from, batch!.until));
    assert.equal(records.length, log.producers[0]!.next - lost.length);
    assert.ok(logOf().path.startsWith(place));
  });
});

describe('salvage of an object WAL', () => {
  let bed: BrokerBed;
  let other: BrokerBed | null = null;
  afterEach(async () => {
    await other?.dispose();
    other = null;
    await bed.dispose();
  });

  interface Written {
    readonly producer: CountingProducer;
    readonly logId: string;
    /** Key of each commit behind the upload, oldest first: a batch of two records each, from offset 4 on. */
    readonly keys: readonly string[];
  }

  const written = async (crash = true): Promise<Written> => {
    bed = new BrokerBed({ settings: { 'wal.url': 'store:' } });
    await bed.start();
    const connection = await bed.connect();
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 2);
    await bed.upload();
    const { logId } = bed.broker['volumes'][0]!;
    const list = async (): Promise<string[]> => {
      const keys = (await (await bed.openStore()).list(`wal/${logId}/`)).map(({ key }) => key);
      return keys.filter((key) => !key.endsWith('alive'));
    };
    const before = await list();
    await producer.produce(connection, 40);
    const keys = (await list()).filter((key) => !before.includes(key)).sort();
    assert.equal(keys.length, 40);
    if (crash) await bed.crash();
    return { producer, logId, keys };
  };

  const goesOn = async ({ producer, logId }: Written, lost: readonly number[]): Promise<void> => {
    const store = await bed.openStore();
    const log = (await store.list(`wal/${logId}/`)).map(({ key, size }) => `${key} ${size}`);
    for (const life of ['salvaged', 'crashed', 'stopped']) {
      if (life === 'crashed') await bed.crash();
      if (life === 'stopped') assert.equal(await bed.stop(), 'clean');
      if (life !== 'salvaged') await bed.start({ takeOver: true });
      const connection = await bed.connect();
      const found = await survey(connection, topic, 0);
      assert.deepEqual(found.lost, lost, `${life}: lost`);
      const rest = values(producer.next).filter(({ offset }) => !lost.includes(offset));
      assert.deepEqual(found.records, rest, `${life}: records`);
      await producer.produce(connection, 1);
    }
    assert.notEqual(bed.broker['volumes'][0]!.logId, logId);
    const now = (await store.list(`wal/${logId}/`)).map(({ key, size }) => `${key} ${size}`);
    assert.deepEqual(now, log, 'the damaged log was not written behind its seal');
  };

  test('a commit gone, another one broken, the payload of a third: each costs its own offsets', async () => {
    const log = await written();
    const store = await bed.openStore();
    await store.delete([log.keys[1]!]);
    for (const [number, at] of [
      [3, 200],
      [5, -1],
    ] as const) {
      const bytes = Buffer.from(await store.get(log.keys[number]!));
      bytes[at < 0 ? payloadByte(bytes) : at]! ^= 1;
      await store.put(log.keys[number]!, [bytes]);
    }
    const { logId } = log;
    const message = new RegExp(`--salvage-wal ${logId}.*--abandon-wal ${logId}`);
    await assert.rejects(bed.start({ takeOver: true }), { code: 'WAL_DAMAGED', message });
    await bed.start({ takeOver: true, salvageWals: [logId] });
    await goesOn(log, [6, 7, 10, 11, 14, 15]);
  });

  test('payload alone: found when it is read, and the option helps', async () => {
    const log = await written();
    const store = await bed.openStore();
    const bytes = Buffer.from(await store.get(log.keys[39]!));
    bytes[payloadByte(bytes)]! ^= 1;
    await store.put(log.keys[39]!, [bytes]);
    const refusal = { code: 'WAL_PAYLOAD_DAMAGED', message: new RegExp(`--salvage-wal ${log.logId}`) };
    await assert.rejects(bed.start({ takeOver: true }), refusal);
    await bed.start({ takeOver: true, salvageWals: [log.logId] });
    await goesOn(log, [82, 83]);
  });

  test('its owner lives: it is fenced like any other and acknowledges nothing more', async () => {
    const log = await written(false);
    const store = await bed.openStore();
    await store.delete([log.keys[2]!]);
    other = new BrokerBed({ settings: { 'wal.url': 'store:' } });
    await other.start({ storeUrl: bed.storeUrl, takeOver: true, salvageWals: [log.logId] });
    await assert.rejects(log.producer.produce(await bed.connect(), 1));
    assert.equal(((await bed.broker.failed) as Error & { kind: string }).kind, 'fenced');
    const found = await survey(await other.connect(), topic, 0);
    assert.deepEqual(found.lost, [8, 9]);
    assert.equal(found.end, 84);
  });
});

/** A byte of the records of the commit's first batch: its object is header, commit head with the records, page padding. */
function payloadByte(object: Buffer): number {
  const at = object.indexOf('MRWALCMT', 0, 'latin1');
  return at + object.readUInt32LE(at + commitHeaderBytes + descriptorAt.records) + 4;
}
