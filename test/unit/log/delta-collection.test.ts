import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CollectedDelta } from '../../../src/log/delta-collection.ts';
import { LogManager } from '../../../src/log/log-manager.ts';
import type { PartitionLog } from '../../../src/log/partition-log.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import type { Wal } from '../../../src/stream/wal/wal.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const topicId = 'AAAAAAAAAAAAAAAAAAAAAQ';

class HeldWal implements Wal {
  readonly volume = 0;
  readonly logId = 'held';
  onDurable: Wal['onDurable'] = () => {};
  onFailed: Wal['onFailed'] = () => {};
  onReturned: Wal['onReturned'] = () => {};
  appended = 0;
  tryAppend(): number {
    return ++this.appended;
  }
  flush(): void {}
}

function world(partitions: number) {
  const arena = new HeapArena({ segmentBytes: 4096, segmentCount: 512 });
  const wal = new HeldWal();
  const clock = new VirtualClock();
  const logs = new LogManager({
    arena,
    wals: [wal],
    clock,
    logger: silentLogger,
    crc32c: (position, length) => javascriptCrc32c(arena.buffer, position, length),
    journalCapacity: 4096,
    logCacheBytes: 1 << 20,
    ringBytes: Number.POSITIVE_INFINITY,
    cold: { read: () => assert.fail('nothing is read'), lookup: () => assert.fail('nothing is looked up') },
  });
  logs.beginAppends();
  const all = Array.from({ length: partitions }, (_, partition) =>
    logs.open({
      name: 't',
      topicId,
      partition,
      settings: {
        maxMessageBytes: 1 << 20,
        logAppendTime: false,
        compacted: false,
        trustCompressed: false,
        decompressedBytesMax: 1 << 20,
        timestampBeforeMaxMs: Infinity,
        timestampAfterMaxMs: Infinity,
      },
      leaderEpoch: 1,
      epochs: [{ epoch: 1, startOffset: 0 }],
      startOffset: 0,
      endOffset: 0,
      volume: 0,
      producers: [],
    }),
  );
  const sequences = new Map<PartitionLog, number>();
  let place = arena.acquire() * arena.segmentBytes;
  let left = arena.segmentBytes;
  const append = (log: PartitionLog): void => {
    const sequence = sequences.get(log) ?? 0;
    sequences.set(log, sequence + 1);
    const batch = buildBatch(
      [{ timestamp: 1000, key: null, value: Buffer.from(`${sequence}`), headers: [] }],
      { producerId: 7, producerEpoch: 0, baseSequence: sequence },
      javascriptCrc32c,
    );
    if (batch.length > left) {
      place = arena.acquire() * arena.segmentBytes;
      left = arena.segmentBytes;
    }
    batch.copy(arena.buffer, place);
    log.append(place, batch.length, null, 0);
    place += batch.length;
    left -= batch.length;
  };
  const names = all.map(({ partition }) => ({ topicId, partition }));
  return { arena, wal, clock, logs, all, append, names };
}

/** All parts; `between` runs after each but the last. */
function inParts(
  logs: LogManager,
  commit: number,
  named: readonly { topicId: string; partition: number }[],
  work: number,
  between: () => void = () => {},
): CollectedDelta[] {
  const parts = [logs.collect(0, commit, named, work)];
  while (parts.at(-1)!.more) {
    between();
    parts.push(logs.collectMore(0, work));
  }
  return parts;
}

function joined(parts: readonly CollectedDelta[]) {
  const { volume, end } = parts[0]!;
  return {
    volume,
    end,
    bytes: parts.reduce((sum, { bytes }) => sum + bytes, 0),
    streams: parts.flatMap(({ streams }) => streams),
    states: parts.flatMap(({ states }) => states),
    ends: parts.flatMap(({ ends }) => ends),
  };
}

/** Many batches of a few partitions, durable in two commits; the newest belong to no cut. */
function filled(partitions: number, batches: number) {
  const given = world(partitions);
  const random = new SeededRandom(3);
  for (let i = 0; i < batches; i++) given.append(given.all[random.below(partitions)]!);
  given.wal.onDurable(batches >> 1, 1);
  given.wal.onDurable(batches, 2);
  for (let i = 0; i < partitions; i++) given.append(given.all[i]!);
  return given;
}

test('parts of any size hold together what one has', () => {
  for (const work of [1, 7, 64, 200]) {
    const { logs, names } = filled(5, 600);
    const whole = logs.collect(0, 1, names);
    assert.equal(whole.more, false);
    assert.equal(
      whole.streams.reduce((sum, { positions }) => sum + positions.length, 0),
      300,
    );
    assert.equal(whole.states.length, 5);
    const parts = inParts(logs, 1, names, work);
    assert.ok(parts.length > 1, `in parts of ${work}`);
    const { more, ...expected } = whole;
    assert.deepEqual(joined(parts), expected, `in parts of ${work}`);
  }
});

test('what comes, is evicted or is collected elsewhere meanwhile changes nothing of it', () => {
  const { logs, wal, all, append, names } = filled(5, 600);
  logs.uploaded(0, logs.collect(0, 1, []).end);
  const { more, ...expected } = logs.collect(0, 2, names);
  let appended = 0;
  const parts = inParts(logs, 2, names, 20, () => {
    // The newest of it are durable in a newer commit, and what was uploaded is evicted under it.
    for (const log of all) append(log);
    appended += all.length;
    wal.onDurable(600 + appended, 3);
    logs.journals[0]!.evictUntil(0, 40);
  });
  assert.ok(appended > 0);
  const { states, ends, ...rest } = joined(parts);
  assert.deepEqual(rest.streams, expected.streams);
  assert.deepEqual([rest.end, rest.bytes], [expected.end, expected.bytes]);
  assert.deepEqual(
    ends.map(({ heldEnd }) => heldEnd),
    expected.ends.map(({ heldEnd }) => heldEnd),
  );
  assert.equal(states.length, 5);
});

test('of a log that is deleted in the middle nothing is told, and the others are told whole', () => {
  const { logs, names } = filled(3, 600);
  const expected = logs.collect(0, 2, []).streams.filter(({ partition }) => partition !== 0);
  let parts = 0;
  const found = joined(
    inParts(logs, 2, names, 50, () => {
      // Fifty entries of the first have been read by now.
      if (parts++ === 1) logs.remove(topicId, 0);
    }),
  );
  assert.deepEqual(found.streams, expected);
  assert.deepEqual(
    found.ends.map(({ partition }) => partition),
    [1, 2],
  );
  assert.equal(
    found.bytes,
    expected.reduce((sum, { lengths }) => sum + lengths.reduce((all, length) => all + length, 0), 0),
  );
});

test('a part is bounded: by entries of one log, by logs that have a little each, by logs that have nothing', () => {
  const one = filled(1, 3000);
  const parts = inParts(one.logs, 2, [], 500);
  assert.ok(parts.length >= 6, `${parts.length} parts of 3000 entries`);
  const many = world(400);
  for (const log of many.all) many.append(log);
  many.wal.onDurable(400, 1);
  for (const { streams } of inParts(many.logs, 1, [], 100))
    assert.ok(streams.length <= 2, `${streams.length}`);
  const named = inParts(world(400).logs, 1, many.names, 100);
  assert.ok(named.length >= 8, `${named.length} parts of 400 that have nothing`);
});

test('idle producers are forgotten in turns, of logs that come and go meanwhile too', () => {
  const { logs, clock, all, append, wal, arena } = world(30);
  for (const log of all) append(log);
  wal.onDurable(30, 1);
  logs.uploaded(0, logs.collect(0, 1, []).end);
  logs.reclaim(arena.segmentCount);
  // Seen first, and idle from then on.
  logs.maintain(100);
  clock.advance(1000);
  const known = () => all.filter(({ producers }) => producers.size > 0).length;
  assert.equal(known(), 30);
  logs.maintain(100, 10);
  assert.equal(known(), 25, 'five logs with a producer each are a turn');
  logs.maintain(100, 10);
  assert.equal(known(), 25, 'it goes on by itself');
  logs.remove(topicId, 29);
  clock.runSoon();
  assert.equal(known(), 1, 'all but the one that is gone');
});

test('nothing follows behind the last part, and an upload that overtakes a collection is told', () => {
  const { logs } = filled(2, 100);
  assert.equal(logs.collect(0, 2, []).more, false);
  assert.throws(() => logs.collectMore(0), { code: 'COLLECT_ENDED' });
  const { end, more } = logs.collect(0, 2, [], 10);
  assert.equal(more, true);
  logs.uploaded(0, end);
  assert.throws(() => logs.collectMore(0), { code: 'COLLECT_OVERTAKEN' });
});
