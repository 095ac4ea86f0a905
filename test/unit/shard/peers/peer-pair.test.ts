import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LogManager } from '../../../../src/log/log-manager.ts';
import { appendGuard, type ReadResult, RecordRanges } from '../../../../src/log/partition-handle.ts';
import type { PartitionLog } from '../../../../src/log/partition-log.ts';
import { StreamTraffic } from '../../../../src/log/stream-traffic.ts';
import { MarkerAppender } from '../../../../src/log/transaction-seam.ts';
import { ImageBuilder } from '../../../../src/metadata/image-builder.ts';
import { Slab } from '../../../../src/net/slab.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { type BatchFields, buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import { javascriptCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import { crowdedSlots } from '../../../../src/shard/peers/outbox.ts';
import { callsMax } from '../../../../src/shard/peers/peer-calls.ts';
import type { PeerHost } from '../../../../src/shard/peers/peer-host.ts';
import { peerMessage, rangesPerRead, rangesPerSlot } from '../../../../src/shard/peers/peer-messages.ts';
import { LinkPeers, peerSlots, peerSlotWords } from '../../../../src/shard/peers/peers.ts';
import { describeProducersService, producersService } from '../../../../src/shard/peers/producers-service.ts';
import type { RemotePartition } from '../../../../src/shard/peers/remote-partition.ts';
import { MemoryWal } from '../../../../src/stream/wal/memory-wal.ts';
import { createLocalLink, LinkPump } from '../../../../src/threads/link.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';
import { opened, topicId } from './shard-group.ts';

const settings = {
  maxMessageBytes: 1 << 20,
  logAppendTime: false,
  compacted: false,
  trustCompressed: false,
  decompressedBytesMax: 1 << 20,
  timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
  timestampAfterMaxMs: Number.POSITIVE_INFINITY,
};

/** A partition with 100 offsets in objects on shard 1, asked from shard 0; shard 1 turns when the test says so. */
function pair(options: { slots?: number; walBytes?: number } = {}) {
  const clock = new VirtualClock();
  const arena = new HeapArena({ segmentBytes: 4096, segmentCount: 64 });
  const builder = new ImageBuilder();
  builder.apply([
    { type: 'topic', name: 't', topicId, partitions: 1, configs: {}, internal: false },
    opened(topicId, 0),
  ]);
  const link = createLocalLink(options.slots ?? peerSlots, peerSlotWords, {
    a: { ring: () => {} },
    b: { ring: () => {} },
  });
  let cold: () => RecordRanges | null = () => null;
  const capacityBytes = options.walBytes ?? Number.MAX_SAFE_INTEGER;
  const wal = new MemoryWal({ clock, logId: 'wal', capacityBytes });
  const logs = new LogManager({
    arena,
    wals: [wal],
    clock,
    logger: silentLogger,
    crc32c: () => 0,
    journalCapacity: 16384,
    logCacheBytes: 1 << 24,
    ringBytes: 1 << 24,
    cold: {
      read: (_log, offset, _maxBytes, _deadline, _committed, done) => done(0, cold(), offset, []),
      lookup: (_log, kind, argument, answer) => answer(0, argument, kind, 7),
    },
  });
  const spec = {
    name: 't',
    topicId,
    partition: 0,
    settings,
    leaderEpoch: 1,
    epochs: [],
    volume: 0,
    producers: [],
  };
  const log: PartitionLog = logs.open({ ...spec, startOffset: 3, endOffset: 100 });
  /** Appends that failed in a way no rule foresees. */
  const failed: unknown[] = [];
  const ends = [link.a, link.b].map((end, index) => {
    const pump = new LinkPump();
    const peers = new LinkPeers(index, index === 0 ? [null, end] : [end, null], pump, arena);
    const host: PeerHost = {
      clock,
      image: builder.image,
      logSettings: () => settings,
      appendFailed: (_log, error) => failed.push(error),
      logs: {
        get: (id, partition) => (index === 1 ? logs.get(id, partition) : undefined),
        traffic: new StreamTraffic(),
      },
      pool: { slab: new Slab(arena, () => false) },
      dispatcher: { serveForwarded: (_context, _frame, done) => done(null) },
      services: {
        serve: (service, bytes, answer) =>
          service === producersService ? describeProducersService(logs)(bytes, answer) : answer(null),
      },
    };
    peers.attach(host);
    return { pump, peers };
  });
  const [asker, owner] = [ends[0]!, ends[1]!];
  const remote = asker.peers.partition(
    1,
    topicId,
    0,
    builder.image.topicsByName.get('t')!,
  ) as RemotePartition;
  const reads: ReadResult[] = [];
  return {
    clock,
    arena,
    builder,
    logs,
    log,
    asker,
    owner,
    remote,
    reads,
    failed,
    client: asker.peers.peer(1).client,
    server: owner.peers.peer(0).server,
    serveCold: (fn: () => RecordRanges | null) => {
      cold = fn;
    },
    read: (offset: number) =>
      remote.read(offset, 1 << 20, true, 1000, { onRead: (_index, result) => reads.push(result) }, 0),
    ownerTurn: () => {
      clock.runSoon();
      owner.pump.turn();
      wal.flush();
      owner.peers.flush();
    },
    askerTurn: () => {
      asker.peers.flush();
      clock.runSoon();
      asker.pump.turn();
      asker.peers.flush();
    },
    /** Both take turns until nothing moves. */
    settle(): void {
      // Three quiet rounds: a turn may leave something to the clock, and that may leave something to send.
      for (let i = 0, quiet = 0; i < 40_000; i++) {
        this.askerTurn();
        this.ownerTurn();
        quiet = asker.pump.pending() || owner.pump.pending() ? 0 : quiet + 1;
        if (quiet === 3) return;
      }
      assert.fail('the pair does not come to rest');
    },
    batch(fields: BatchFields = {}): { position: number; length: number } {
      const record = { timestamp: 1, key: null, value: Buffer.from('v'), headers: [] };
      const bytes = buildBatch([record], fields, javascriptCrc32c);
      const segment = arena.acquire();
      assert(segment >= 0);
      bytes.copy(arena.buffer, segment * arena.segmentBytes);
      return { position: segment * arena.segmentBytes, length: bytes.length };
    },
  };
}

test('lent bytes stay lent until the reader gives them back', () => {
  const on = pair();
  let released = 0;
  const segment = on.arena.acquire();
  on.serveCold(() => {
    const records = new RecordRanges(on.arena, () => released++);
    for (let i = 0; i < 10; i++) records.adopt(segment * 4096 + i * 100, 100);
    return records;
  });
  on.read(5);
  on.read(6);
  on.settle();
  assert.equal(on.reads.length, 2);
  const [first, second] = [on.reads[0]!.records!, on.reads[1]!.records!];
  assert.deepEqual(
    first.positions,
    Array.from({ length: 10 }, (_, i) => segment * 4096 + i * 100),
  );
  assert.equal(first.byteLength, 1000);
  assert.equal(on.reads[0]!.highWatermark, 100);
  assert.deepEqual([released, on.server.lentReads, on.client.calls.count], [0, 2, 2]);
  second.release();
  on.settle();
  assert.deepEqual([released, on.server.lentReads, on.client.calls.count], [1, 1, 1]);
  first.release();
  first.release();
  on.settle();
  assert.deepEqual([released, on.server.lentReads, on.client.calls.count], [2, 0, 0]);
  assert.equal(on.arena.references(segment), 1, 'references are not touched');
});

test('transactions of a partition elsewhere: verified, ended by markers, read by isolation, described', () => {
  const on = pair();
  const outcomes: number[] = [];
  const waiter = { onAppended: (_index: number, error: number) => void outcomes.push(error) };
  const of = (producerId: number, baseSequence: number) =>
    on.batch({ producerId, producerEpoch: 0, baseSequence, transactional: true });
  const append = (batch: { position: number; length: number }, guard?: number) => {
    on.remote.append(batch.position, batch.length, waiter, 0, guard);
    on.settle();
    return outcomes.at(-1);
  };
  const verify = (producerId: number): [number, number] => {
    const answers: [number, number][] = [];
    on.remote.verify(producerId, 0, 0, false, (...answer) => answers.push(answer));
    on.settle();
    return answers[0]!;
  };
  assert.equal(append(of(2 ** 40, 0)), ErrorCode.INVALID_TXN_STATE);
  const [error, guard] = verify(2 ** 40);
  assert(error === 0 && guard > 0);
  assert.equal(append(of(2 ** 40, 0), guard), 0);
  assert.equal(append(of(2 ** 40, 1)), 0, 'the transaction is open');
  assert.deepEqual(verify(2 ** 40), [0, appendGuard.none]);
  assert.equal(append(of(8, 0), verify(8)[1]), 0);
  assert.deepEqual([on.remote.highWatermark, on.remote.lastStableOffset], [103, 100]);
  const appender = new MarkerAppender({
    arena: on.arena,
    slab: new Slab(on.arena, () => false),
    crc32c: javascriptCrc32c,
    clock: on.clock,
    flush: () => {},
  });
  const mark = (producerId: number, committed: boolean, coordinatorEpoch: number) => {
    const epochs = { producerEpoch: 0, coordinatorEpoch, transactionVersion: 1 };
    appender.append(on.remote, { producerId, committed, ...epochs }, waiter, 0);
    on.settle();
    return outcomes.at(-1);
  };
  assert.equal(mark(2 ** 40, false, 5), 0);
  assert.deepEqual([on.remote.highWatermark, on.remote.lastStableOffset], [104, 102]);
  assert.equal(mark(2 ** 40, false, 4), ErrorCode.TRANSACTION_COORDINATOR_FENCED);
  const read = (committed: boolean): ReadResult => {
    const results: ReadResult[] = [];
    const sink = { onRead: (_index: number, result: ReadResult) => void results.push(result) };
    on.remote.read(100, 1 << 20, true, 1000, sink, 0, committed);
    on.settle();
    return results[0]!;
  };
  const all = read(false);
  const stable = read(true);
  assert.deepEqual([all.records!.positions.length, all.aborted], [4, undefined]);
  assert.deepEqual(
    [stable.records!.positions.length, stable.aborted],
    [2, [{ producerId: 2 ** 40, firstOffset: 100 }]],
  );
  all.records!.release();
  stable.records!.release();
  const described: unknown[] = [];
  on.remote.describeProducers((code, producers) => described.push(code, ...producers));
  on.settle();
  const common = { epoch: 0, lastTimestamp: 1 };
  assert.deepEqual(described, [
    0,
    {
      ...common,
      producerId: 2 ** 40,
      lastSequence: 1,
      lastTimestamp: on.clock.now(),
      coordinatorEpoch: 5,
      txnFirstOffset: -1,
    },
    { ...common, producerId: 8, lastSequence: 0, coordinatorEpoch: -1, txnFirstOffset: 102 },
  ]);
  assert.equal(on.client.calls.count, 0);
});

test('without room for the aborted transactions a read of a partition elsewhere brings nothing', () => {
  const on = pair();
  const waiter = { onAppended: () => {} };
  const first = on.batch({ producerId: 7, producerEpoch: 0, baseSequence: 0, transactional: true });
  on.log.append(first.position, first.length, waiter, 0, appendGuard.trusted);
  const slab = new Slab(on.arena, () => false);
  const deps = { arena: on.arena, slab, crc32c: javascriptCrc32c, clock: on.clock, flush: () => {} };
  const fields = { producerId: 7, producerEpoch: 0, coordinatorEpoch: 0, transactionVersion: 1 };
  new MarkerAppender(deps).append(on.log, { ...fields, committed: false }, waiter, 0);
  on.settle();
  while (on.arena.acquire() >= 0);
  const results: ReadResult[] = [];
  const sink = { onRead: (_index: number, result: ReadResult) => void results.push(result) };
  on.remote.read(100, 1 << 20, true, 1000, sink, 0, true);
  on.settle();
  assert.deepEqual([results[0]!.error, results[0]!.records, results[0]!.lastStableOffset], [0, null, 102]);
});

test('a read over a link brings so many ranges at most, and few to a peer that lags; no reference is lost', () => {
  const on = pair({ slots: 8 });
  const segment = on.arena.acquire();
  const ranges = rangesPerRead + 10;
  on.serveCold(() => {
    const records = new RecordRanges(on.arena);
    for (let i = 0; i < ranges; i++) records.add(segment * 4096 + (i % 40) * 100, 100);
    return records;
  });
  const reads = Math.ceil(crowdedSlots / 512) + 3;
  for (let i = 0; i < reads; i++) on.read(5);
  on.askerTurn();
  while (on.owner.pump.turn() || on.owner.pump.pending()) on.asker.peers.flush();
  for (let i = 0; i < reads; i++) {
    on.asker.peers.peer(1).out.drain();
    on.asker.peers.flush();
    on.owner.pump.turn();
  }
  assert(on.owner.peers.peer(0).out.waiting < crowdedSlots + 520, 'the queue is bounded');
  on.settle();
  const counts = on.reads.map(({ records }) => records!.positions.length);
  assert.equal(counts.length, reads);
  assert.equal(counts[0], rangesPerRead);
  assert.equal(counts.at(-1), rangesPerSlot);
  assert.equal(on.arena.references(segment), 1 + counts.reduce((sum, count) => sum + count, 0));
  for (const { records } of on.reads) records!.release();
  assert.equal(on.arena.references(segment), 1);
  assert.equal(on.client.calls.count, 0);
});

test('questions travel with their arguments, and every answer refreshes the mirror', () => {
  const on = pair();
  assert.deepEqual([on.remote.highWatermark, on.remote.startOffset], [-1, 0]);
  const answers: unknown[] = [];
  on.remote.query(1, 2 ** 52 + 12_345, (...answer) => answers.push(answer));
  on.remote.query(0, -1, (...answer) => answers.push(answer));
  on.settle();
  assert.deepEqual(answers, [
    [0, 2 ** 52 + 12_345, 1, 7],
    [0, -1, 0, 7],
  ]);
  assert.deepEqual(
    [on.remote.highWatermark, on.remote.lastStableOffset, on.remote.startOffset],
    [100, 100, 3],
  );
});

test('changes are told once per turn with the newest state, and only while somebody watches', () => {
  const on = pair();
  const told: number[] = [];
  const watcher = { onPartitionChanged: () => told.push(on.remote.highWatermark) };
  on.remote.watch(watcher);
  on.settle();
  assert.deepEqual(told, [100], 'the first watch is answered with the state');
  const change = (highWatermark: number): void => on.log.onDurable(highWatermark);
  // The log tells its watchers once a turn; what it tells them in several turns goes out with one flush.
  for (const highWatermark of [101, 102, 103]) {
    change(highWatermark);
    on.log.notify();
  }
  on.settle();
  assert.deepEqual(told, [100, 103]);
  on.remote.unwatch(watcher);
  on.remote.watch(watcher);
  on.settle();
  change(104);
  on.settle();
  assert.deepEqual(told, [100, 103, 104], 'unwatched and watched again within a turn');
  on.remote.unwatch(watcher);
  on.settle();
  change(105);
  on.settle();
  assert.deepEqual([told.length, on.remote.highWatermark], [3, 104]);
  assert.equal(on.log.watchers.size, 0);
});

test('a change while the ring is full waits and is told as it is then', () => {
  const on = pair({ slots: 2 });
  const told: number[] = [];
  on.remote.watch({ onPartitionChanged: () => told.push(on.remote.highWatermark) });
  on.settle();
  for (let i = 0; i < 20; i++) on.remote.query(0, i, () => {});
  on.asker.peers.flush();
  for (let i = 0; i < 20; i++) {
    on.ownerTurn();
    on.asker.peers.peer(1).out.drain();
    on.asker.peers.flush();
  }
  assert(on.owner.peers.peer(0).out.waiting > 0);
  for (const highWatermark of [110, 120, 130]) {
    on.log.onDurable(highWatermark);
    on.ownerTurn();
  }
  on.settle();
  assert.deepEqual(told, [100, 130]);
});

test('beyond the calls a peer may have open, requests are refused with retriable errors', () => {
  const on = pair();
  const { position, length } = on.batch();
  const answered: number[] = [];
  const refused: number[] = [];
  const waiter = {
    onAppended: (index: number, error: number) => (index === 0 ? answered : refused).push(error),
  };
  for (let i = 0; i < callsMax; i++) on.remote.append(position, length, waiter, 0);
  on.remote.append(position, length, waiter, 1);
  on.read(5);
  on.remote.query(0, 1, (error) => refused.push(error));
  assert.deepEqual(refused, [19, 6]);
  assert.equal(on.reads[0]!.error, 6);
  assert.equal(on.arena.references(position / 4096), 1 + callsMax);
  on.settle();
  assert.equal(answered.length, callsMax);
  assert(answered.every((error) => error === 0));
  assert.equal(on.client.calls.count, 0);
  on.logs.uploaded(0, on.logs.collect(0, Number.MAX_SAFE_INTEGER, []).end);
  on.logs.reclaim(on.arena.segmentCount);
  assert.equal(on.arena.references(position / 4096), 1);
});

test('a batch that the WAL can never take is refused, and its memory comes back', () => {
  const on = pair({ walBytes: 20 });
  const { position, length } = on.batch();
  const errors: number[] = [];
  on.remote.append(position, length, { onAppended: (_index, error) => errors.push(error) }, 0);
  on.settle();
  assert.deepEqual(errors, [10]);
  assert.equal(on.arena.references(position / 4096), 1);
});

test('an append that fails in an unforeseen way fails alone: the link and its other calls go on', () => {
  const on = pair();
  const { position, length } = on.batch();
  const errors: number[] = [];
  const waiter = { onAppended: (_index: number, error: number) => void errors.push(error) };
  const { append } = on.log;
  on.log.append = () => {
    throw new RangeError('broken');
  };
  on.remote.append(position, length, waiter, 0);
  // Or after it has been answered: not answered twice.
  on.settle();
  on.log.append = (...args) => {
    args[2]!.onAppended(args[3], 0, 100, -1, 3);
    throw new RangeError('broken, too');
  };
  on.remote.append(position, length, waiter, 0);
  on.settle();
  on.log.append = append;
  on.remote.append(position, length, waiter, 0);
  on.settle();
  assert.deepEqual(errors, [-1, 0, 0]);
  assert.equal(on.failed.length, 2);
});

test('partitions that are not open at their owner: retriable, and served and told of once they are', () => {
  const on = pair();
  const lives: boolean[] = [];
  on.remote.watch({ onPartitionChanged: (partition) => lives.push(partition.live) });
  on.settle();
  on.logs.close(on.logs.get(topicId, 0)!);
  on.settle();
  on.read(5);
  on.settle();
  assert.equal(on.reads[0]!.error, 6);
  // Whether it is open the asker's own image says, not a message that may come later.
  const identity = { topicId, partition: 0 };
  on.builder.apply([{ type: 'close', ...identity, leaderEpoch: 1, endOffset: 100, stateObject: '' }]);
  on.remote.touch();
  assert.deepEqual([lives.length > 1, lives.at(-1)], [true, false]);
  on.builder.apply([{ type: 'open', ...identity, leaderEpoch: 2, startOffset: 100, node: 0, wal: 'w' }]);
  on.remote.touch();
  assert.equal(lives.at(-1), true);
  const spec = {
    name: 't',
    topicId,
    partition: 0,
    settings,
    leaderEpoch: 2,
    epochs: [],
    volume: 0,
    producers: [],
  };
  const log = on.logs.open({ ...spec, startOffset: 0, endOffset: 200 });
  on.read(200);
  on.settle();
  assert.equal(on.reads[1]!.error, 0);
  log.onDurable(201);
  on.settle();
  assert.deepEqual([lives.at(-1), on.remote.highWatermark, on.remote.leaderEpoch], [true, 201, 2]);
});

test('partitions of deleted topics are forgotten on both sides', () => {
  const on = pair();
  const ids = Array.from({ length: 200 }, (_, i) => Buffer.alloc(16, i + 1).toString('base64url'));
  for (const id of ids) {
    on.builder.apply([{ type: 'topic', name: id, topicId: id, partitions: 1, configs: {}, internal: false }]);
    const remote = on.asker.peers.partition(1, id, 0, on.builder.image.topicsById.get(id)!);
    remote.query(0, 1, () => {});
    on.settle();
    on.builder.apply([{ type: 'topicDeleted', topicId: id }]);
  }
  assert(on.client.partitions <= 65, `${on.client.partitions} remembered`);
  assert.equal(on.server.partitions, on.client.partitions);
  assert.equal(on.remote.retired, false);
});

test('a peer that breaks the contract is found out', () => {
  const on = pair();
  const words = new Int32Array(peerSlotWords);
  words[1] = 77;
  words[2] = 77;
  const broken: [number, string][] = [
    [peerMessage.appended, 'PEER_COOKIE'],
    [peerMessage.range, 'PEER_COOKIE'],
    [peerMessage.release, 'PEER_RELEASE'],
    [peerMessage.read, 'PEER_PARTITION'],
    [200, 'PEER_COOKIE'],
    [0, 'PEER_MESSAGE'],
  ];
  for (const [kind, code] of broken) {
    words[0] = kind;
    const receive = kind >= peerMessage.changed ? on.client : on.server;
    assert.throws(() => receive.receive(words, 0), { code }, `kind ${kind}`);
  }
});
