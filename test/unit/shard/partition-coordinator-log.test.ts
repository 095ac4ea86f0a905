/** The coordinators' log over a real partition log: refused, durable and unknown are told apart, and memory comes back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndMarker, LoadSink } from '../../../src/coordinator/runtime/coordinator-log.ts';
import { LogManager } from '../../../src/log/log-manager.ts';
import { Slab } from '../../../src/net/slab.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { headerField, patchCrc } from '../../../src/protocol/records/batch-header.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { PartitionCoordinatorLog } from '../../../src/shard/partition-coordinator-log.ts';
import type { Wal } from '../../../src/stream/wal/wal.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const topicId = 'AAAAAAAAAAAAAAAAAAAAAQ';

class HeldWal implements Wal {
  readonly volume = 0;
  readonly logId = 'held';
  onDurable: Wal['onDurable'] = () => {};
  onFailed: Wal['onFailed'] = () => {};
  onReturned: Wal['onReturned'] = () => {};
  appended = 0;
  full = false;
  tryAppend(): number {
    return this.full ? 0 : ++this.appended;
  }
  flush(): void {}
}

function setup() {
  const arena = new HeapArena({ segmentBytes: 4096, segmentCount: 64 });
  const clock = new VirtualClock();
  const wal = new HeldWal();
  const logs = new LogManager({
    arena,
    wals: [wal],
    clock,
    logger: silentLogger,
    crc32c: (position, length) => javascriptCrc32c(arena.buffer, position, length),
    journalCapacity: 64,
    logCacheBytes: 1 << 20,
    ringBytes: Number.POSITIVE_INFINITY,
    cold: {
      read: (_log, offset, _maxBytes, _deadline, _committed, done) =>
        done(ErrorCode.KAFKA_STORAGE_ERROR, null, offset, []),
      lookup: (_log, _kind, _argument, answer) => answer(0, -1, -1, -1),
    },
  });
  logs.beginAppends();
  const partition = logs.open({
    name: '__ledger',
    topicId,
    partition: 0,
    settings: {
      maxMessageBytes: 1 << 20,
      logAppendTime: false,
      compacted: true,
      trustCompressed: false,
      decompressedBytesMax: 1 << 20,
      timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
      timestampAfterMaxMs: Number.POSITIVE_INFINITY,
    },
    leaderEpoch: 1,
    epochs: [],
    startOffset: 0,
    endOffset: 0,
    volume: 0,
    producers: [],
  });
  const slab = new Slab(arena, (segments) => logs.reclaim(segments));
  const log = new PartitionCoordinatorLog({
    topic: '__ledger',
    arena,
    slab,
    clock,
    codecs: createCodecs(),
    crc32c: javascriptCrc32c,
    partition: (index) => (index === 0 ? partition : undefined),
    moveStart: async () => 0,
    logger: silentLogger,
    flush: () => {},
  });
  const settled: [string | null, number][] = [];
  const note = (error: Error | null, base: number) => settled.push([error?.message ?? null, base]);
  return { arena, clock, wal, logs, partition, slab, log, settled, note };
}

const record = (key: string, value: string | null) => ({
  key: Buffer.from(key),
  value: value === null ? null : Buffer.from(value),
});
const producer = { producerId: 7, producerEpoch: 2 };
const ended = (committed: boolean, producerEpoch = 2): EndMarker => ({
  producerId: 7,
  producerEpoch,
  coordinatorEpoch: 3,
  committed,
});

/** What a load hands over, as lines. */
async function loaded(bed: ReturnType<typeof setup>): Promise<string[]> {
  const lines: string[] = [];
  const sink: LoadSink = {
    onRecord: (key, value, offset, of) =>
      lines.push(`${offset} ${key}=${value}${of === null ? '' : ` of ${of.producerId}`}`),
    onMarker: ({ committed, coordinatorEpoch }, offset) =>
      lines.push(`${offset} ${committed ? 'commit' : 'abort'} by ${coordinatorEpoch}`),
    onUnreadable: (offset) => lines.push(`${offset} unreadable`),
  };
  let over = false;
  const load = bed.log.load(0, sink).finally(() => {
    over = true;
  });
  while (!over) await bed.clock.settle();
  await load;
  return lines;
}

test('a full log refuses at once, and nothing of the batch is left', () => {
  const { wal, log, settled, note, logs, arena, slab } = setup();
  wal.full = true;
  assert.equal(log.append(0, [record('a', '1')], null, note), ErrorCode.NOT_ENOUGH_REPLICAS);
  assert.equal(log.appendMarker(0, ended(true), note), ErrorCode.NOT_ENOUGH_REPLICAS);
  assert.equal(log.append(3, [record('a', '1')], null, note), ErrorCode.NOT_LEADER_OR_FOLLOWER);
  wal.full = false;
  assert.equal(log.append(0, [record('a', '1')], null, note), 0);
  assert.deepEqual(settled, []);
  wal.onDurable(1, 1);
  assert.deepEqual(settled, [[null, 0]]);
  logs.uploaded(0, 2);
  logs.reclaim(100);
  slab.close();
  assert.equal(arena.freeSegments(), arena.segmentCount);
});

test('a volume that fails leaves the fate of what it took open, and refuses from then on', () => {
  const { wal, log, settled, note } = setup();
  assert.equal(log.append(0, [record('a', '1')], null, note), 0);
  wal.onFailed(new Error('the device is gone'), false);
  assert.equal(settled.length, 1);
  assert.match(settled[0]![0]!, /append failed/);
  assert.equal(settled[0]![1], -1);
  assert.equal(log.append(0, [record('a', '1')], null, note), ErrorCode.KAFKA_STORAGE_ERROR);
  assert.equal(settled.length, 1);
});

test('batches of a transaction carry no sequences, are fenced by their epoch, and come back with their marker', async () => {
  const bed = setup();
  const { log, note, wal } = bed;
  assert.equal(log.append(0, [record('a', '1')], null, note), 0);
  assert.equal(log.append(0, [record('b', '1')], producer, note), 0);
  assert.equal(log.append(0, [record('b', '2'), record('c', null)], producer, note), 0);
  assert.equal(log.appendMarker(0, ended(true), note), 0);
  assert.equal(log.append(0, [record('b', '3')], producer, note), 0);
  assert.equal(log.appendMarker(0, ended(false, 3), note), 0);
  wal.onDurable(6, 1);
  const stale = ErrorCode.INVALID_PRODUCER_EPOCH;
  assert.equal(log.append(0, [record('b', '4')], producer, note), stale);
  assert.equal(log.appendMarker(0, ended(true), note), stale);
  assert.deepEqual(await loaded(bed), [
    '0 a=1',
    '1 b=1 of 7',
    '2 b=2 of 7',
    '3 c=null of 7',
    '4 commit by 3',
    '5 b=3 of 7',
    '6 abort by 3',
  ]);
});

test('a batch that no reader can open is passed over, and its memory comes back', async () => {
  const bed = setup();
  const { log, note, wal, arena, slab, partition, logs } = bed;
  assert.equal(log.append(0, [record('a', '1')], null, note), 0);
  // Says gzip, and is none: as a producer that nobody checked may leave it.
  const broken = buildBatch([{ ...record('x', 'y'), timestamp: 1 }], {}, javascriptCrc32c);
  const view = new DataView(broken.buffer, broken.byteOffset, broken.length);
  view.setInt16(headerField.attributes, 1);
  patchCrc(view, 0, javascriptCrc32c(broken, headerField.attributes, broken.length - headerField.attributes));
  const position = slab.allocate(broken.length);
  broken.copy(arena.buffer, position);
  partition.append(position, broken.length, null, 0);
  arena.releaseRange(position, broken.length);
  assert.equal(log.append(0, [record('a', '2')], null, note), 0);
  wal.onDurable(3, 1);
  for (let i = 0; i < 3; i++) assert.deepEqual(await loaded(bed), ['0 a=1', '1 unreadable', '2 a=2']);
  const failing: LoadSink = {
    onRecord: () => {
      throw new Error('a sink that throws');
    },
    onMarker: () => {},
    onUnreadable: () => {
      throw new Error('here, too');
    },
  };
  await assert.rejects(log.load(0, failing), /here, too/);
  logs.uploaded(0, 4);
  logs.reclaim(100);
  slab.close();
  assert.equal(arena.freeSegments(), arena.segmentCount);
});
