/**
 * Transactions in a partition's log through a whole broker: appended as a coordinator would have them appended, read over the wire
 * with both isolations, through crashes, uploads, merges, deleted records and stops.
 */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { appendGuard } from '../../../src/log/partition-handle.ts';
import type { PartitionLog } from '../../../src/log/partition-log.ts';
import { MarkerAppender } from '../../../src/log/transaction-seam.ts';
import { DescribeProducersCodec } from '../../../src/protocol/generated/describe-producers.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import {
  attributesOf,
  batchBytesOf,
  isControl,
  isTransactional,
  lastOffsetOf,
  producerIdOf,
} from '../../../src/protocol/records/batch-header.ts';
import { markerType, readMarker } from '../../../src/protocol/records/control-marker.ts';
import { StateKeeper } from '../../../src/upkeep/state-keeper.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';
import { type RawConnection, rawVersions } from '../../support/raw-client.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { deleteRecords } from './kafka-calls.ts';

const topic = 'records';

interface Author {
  readonly producerId: number;
  /** KIP-890: the epoch grows with each transaction. */
  readonly bumps: boolean;
  epoch: number;
  sequence: number;
  /** First offsets of the batches of its open transaction. */
  open: number[];
}

/** Fate of each batch by its offset. */
type Fates = Map<number, 'open' | 'committed' | 'aborted'>;

describe('transactions in the log', () => {
  let bed: BrokerBed;
  let connection: RawConnection;
  let fates: Fates;
  const authors: Author[] = [];

  beforeEach(async () => {
    bed = new BrokerBed({ settings: { 'compaction.enable': false, 'connections.max.idle.ms': 86_400_000 } });
    await bed.start();
    connection = await bed.connect();
    await connection.createTopic(topic, 1);
    fates = new Map();
    authors.length = 0;
    for (let i = 0; i < 4; i++)
      authors.push({ producerId: 5_000 + i, bumps: i % 2 === 0, epoch: 0, sequence: 0, open: [] });
  });
  afterEach(() => bed.dispose());

  const shard = () => bed.broker['deployment'].local!.shard;
  const log = (): PartitionLog => [...shard().logs.all()].find(({ name }) => name === topic)!;
  const restart = async (): Promise<void> => {
    await bed.crash();
    await bed.start();
    connection = await bed.connect();
  };

  /** Appends a batch of one record; resolves with error and offset when it is settled. */
  const append = (author: Author, guard: number = appendGuard.trusted): Promise<[number, number]> => {
    const value = Buffer.from(`${author.producerId}/${author.epoch}/${author.sequence}`);
    const fields = {
      producerId: author.producerId,
      producerEpoch: author.epoch,
      baseSequence: author.sequence,
      transactional: true,
    };
    const batch = buildBatch([{ key: null, value, timestamp: Date.now() }], fields, crc32c);
    const { slab, arena } = shard().pool;
    const position = slab.allocate(batch.length);
    batch.copy(arena.buffer, position);
    return new Promise((resolve) => {
      const waiter = {
        onAppended: (_index: number, error: number, offset: number) => resolve([error, offset]),
      };
      log().append(position, batch.length, waiter, 0, guard);
      arena.releaseRange(position, batch.length);
      shard().flush();
    });
  };
  const write = async (author: Author): Promise<void> => {
    const [error, offset] = await append(author);
    assert.equal(error, 0);
    author.sequence++;
    author.open.push(offset);
    fates.set(offset, 'open');
  };
  const mark = (author: Author, committed: boolean, coordinatorEpoch = 1): Promise<[number, number]> => {
    const { slab, arena } = shard().pool;
    const flush = () => shard().flush();
    const appender = new MarkerAppender({ arena, slab, crc32c, clock: bed.clock, flush });
    const marker = {
      producerId: author.producerId,
      producerEpoch: author.epoch + (author.bumps ? 1 : 0),
      coordinatorEpoch,
      committed,
      transactionVersion: author.bumps ? 2 : 1,
    };
    return new Promise((resolve) => {
      const waiter = {
        onAppended: (_index: number, error: number, offset: number) => resolve([error, offset]),
      };
      appender.append(log(), marker, waiter, 0);
    });
  };
  const end = async (author: Author, committed: boolean): Promise<void> => {
    assert.equal((await mark(author, committed))[0], 0);
    for (const offset of author.open) fates.set(offset, committed ? 'committed' : 'aborted');
    author.open = [];
    if (!author.bumps) return;
    author.epoch++;
    author.sequence = 0;
  };

  const latest = async (isolationLevel: number): Promise<number> => {
    const topics = [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -1 }] }];
    const answer = await connection.request(ListOffsetsCodec, 5, { replicaId: -1, isolationLevel, topics });
    return answer.topics[0]!.partitions[0]!.offset;
  };
  /** Offsets that a consumer of committed records keeps, from `from` on, in fetches of about `bytes`. */
  const consume = async (from: number, bytes: number): Promise<number[]> => {
    const kept: number[] = [];
    const stable = await latest(1);
    for (let offset = from; offset < stable; ) {
      const answer = await connection.request(FetchCodec, rawVersions.fetch, {
        maxWaitMs: 5_000,
        minBytes: 1,
        maxBytes: bytes,
        isolationLevel: 1,
        sessionId: 0,
        sessionEpoch: -1,
        topics: [{ topic, partitions: [{ partition: 0, fetchOffset: offset, partitionMaxBytes: bytes }] }],
      });
      const found = answer.responses[0]!.partitions[0]!;
      assert.equal(found.errorCode, 0);
      const records = found.records!;
      assert(records.byteLength > 0, `nothing at ${offset} of ${stable}`);
      const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
      const waiting = [...found.abortedTransactions!];
      const taken = new Set<number>();
      for (let at = 0; at < records.byteLength; at += batchBytesOf(view, at)) {
        const last = lastOffsetOf(view, at);
        const producerId = producerIdOf(view, at);
        while (waiting.length > 0 && waiting[0]!.firstOffset <= last) taken.add(waiting.shift()!.producerId);
        if (isControl(attributesOf(view, at))) {
          if (readMarker(view, at)!.type === markerType.abort) taken.delete(producerId);
        } else if (last >= offset && !(isTransactional(attributesOf(view, at)) && taken.has(producerId)))
          kept.push(last);
        offset = Math.max(offset, last + 1);
      }
    }
    return kept;
  };
  const assertRead = async (from = 0): Promise<void> => {
    const stable = await latest(1);
    const open = authors.flatMap((author) => author.open.slice(0, 1));
    assert.equal(stable, Math.max(from, Math.min(await latest(0), ...open)), 'last stable offset');
    const committed = [...fates].filter(([offset, fate]) => fate === 'committed' && offset >= from);
    const expected = committed.map(([offset]) => offset).filter((offset) => offset < stable);
    for (const bytes of [1, 400, 1 << 20])
      assert.deepEqual(await consume(from, bytes), expected, `${bytes} bytes`);
  };
  const openTransactions = async (): Promise<[number, number, number][]> => {
    const topics = [{ name: topic, partitionIndexes: [0] }];
    const answer = await connection.request(DescribeProducersCodec, 0, { topics });
    const { activeProducers } = answer.topics[0]!.partitions[0]!;
    return activeProducers
      .map(({ producerId, coordinatorEpoch, currentTxnStartOffset }): [number, number, number] => [
        producerId,
        coordinatorEpoch,
        currentTxnStartOffset,
      ])
      .sort(([a], [b]) => a - b);
  };

  test('an open transaction is found again after a crash, and ended', async () => {
    const [first, second] = authors as [Author, Author];
    await write(first);
    await write(second);
    await write(first);
    await restart();
    assert.deepEqual(await openTransactions(), [
      [5_000, -1, 0],
      [5_001, -1, 1],
    ]);
    await assertRead();
    await bed.upload();
    await end(first, false);
    await restart();
    assert.deepEqual(await openTransactions(), [
      [5_000, 1, -1],
      [5_001, -1, 1],
    ]);
    await assertRead();
    await end(second, true);
    await restart();
    await assertRead();
    assert.equal(await latest(1), 5);
  });

  test('a marker that never became durable has ended nothing', async () => {
    const [first] = authors as [Author];
    await write(first);
    // The write of the marker is lost with the power.
    for (const device of bed.devices) device.cut = true;
    void mark(first, true);
    assert.equal(log().lastStableOffset, 0);
    await restart();
    assert.deepEqual([await latest(0), await latest(1)], [1, 0]);
    assert.deepEqual(await openTransactions(), [[5_000, -1, 0]]);
    await end(first, true);
    await assertRead();
    assert.equal(await latest(1), 2);
  });

  test('epochs fence after crashes as before: coordinators, producers, late markers, unverified batches', async () => {
    const [first] = authors as [Author];
    await write(first);
    assert.deepEqual(await mark({ ...first, epoch: first.epoch - 1 }, true), [
      ErrorCode.INVALID_PRODUCER_EPOCH,
      -1,
    ]);
    await end(first, false);
    for (const where of ['memory', 'log', 'objects']) {
      if (where === 'objects') await bed.upload();
      if (where !== 'memory') await restart();
      const refused = async (error: number, call: Promise<[number, number]>) =>
        assert.deepEqual(await call, [error, -1], where);
      await refused(ErrorCode.TRANSACTION_COORDINATOR_FENCED, mark(first, true, 0));
      await refused(ErrorCode.INVALID_PRODUCER_EPOCH, append({ ...first, epoch: first.epoch - 1 }));
      await refused(ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, append({ ...first, sequence: 3 }));
      await refused(ErrorCode.INVALID_TXN_STATE, append(first, appendGuard.none));
    }
    await write(first);
    // The marker of the transaction before comes once more: its epoch is the present one.
    const late = { ...first, epoch: first.epoch - 1 };
    assert.deepEqual(await mark(late, false), [ErrorCode.INVALID_PRODUCER_EPOCH, -1]);
    await end(first, true);
    await assertRead();
  });

  test('deleted records take what they had of transactions along, and no more', async () => {
    const [first, second] = authors as [Author, Author];
    await write(first);
    await write(second);
    await end(second, false);
    await write(second);
    await bed.upload();
    await write(first);
    await deleteRecords(connection, topic, 4);
    assert.deepEqual([await latest(0), await latest(1)], [5, 4]);
    const keeper = bed.broker['background'].find((each) => each instanceof StateKeeper);
    await (keeper as unknown as StateKeeper).pass();
    await restart();
    assert.deepEqual(await openTransactions(), [
      [5_000, -1, 0],
      [5_001, 1, 3],
    ]);
    await end(first, false);
    await write(second);
    await restart();
    await end(second, true);
    await assertRead(4);
    assert.deepEqual(await consume(4, 1 << 20), [6]);
  });

  test('random transactions through random lives', async () => {
    const random = new SeededRandom(14);
    let start = 0;
    for (let step = 0; step < 400; step++) {
      const author = authors[random.below(authors.length)]!;
      const what = random.below(30);
      if (what < 16) await write(author);
      else if (what < 25) {
        if (author.open.length > 0) await end(author, random.below(2) === 0);
      } else if (what === 25) await bed.upload();
      else if (what < 28) await restart();
      else if (what === 28 && random.below(3) === 0) {
        assert.equal(await bed.stop(), 'clean');
        await bed.start();
        connection = await bed.connect();
      } else if (what === 29 && random.below(3) === 0) {
        start = (await latest(0)) - random.below(10);
        await deleteRecords(connection, topic, start);
      }
      if (step % 20 === 19) await assertRead(start);
    }
    for (const author of authors) if (author.open.length > 0) await end(author, true);
    await assertRead(start);
    assert.equal(await latest(1), await latest(0));
  });
});
