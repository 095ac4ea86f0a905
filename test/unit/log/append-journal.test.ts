/** The journal of a shard's batches by itself: its bounds to the byte, cuts, eviction, and who is answered what. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { AppendJournal, type JournaledLog } from '../../../src/log/append-journal.ts';
import { TailIndex } from '../../../src/log/tail-index.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { HeapArena } from '../../support/heap-arena.ts';

const segmentBytes = 1_000;

function rig(options: { capacity?: number; deltaBytesMax?: number } = {}) {
  const arena = new HeapArena({ segmentBytes, segmentCount: 16 });
  arena.acquireRun(16);
  const on = { fullness: 0, mayAcknowledge: true };
  const journal = new AppendJournal(
    0,
    options.capacity ?? 8,
    options.deltaBytesMax ?? 1_000,
    arena,
    { fullness: () => on.fullness },
    () => on.mayAcknowledge,
  );
  const ends: string[] = [];
  const logOf = (name: string) => {
    const tail = new TailIndex();
    const log: JournaledLog = {
      stream: {} as never,
      startOffset: 2,
      tail,
      onDurable: (end) => void ends.push(`${name} ${end}`),
      logAppendTimeOf: (maxTimestamp) => maxTimestamp + 1,
    };
    return { log, tail };
  };
  const a = logOf('a');
  const b = logOf('b');
  const answers: string[] = [];
  const waiter = {
    onAppended: (index: number, error: number, baseOffset: number, time: number, start: number) =>
      void answers.push(`${index}: ${error} ${baseOffset} ${time} ${start}`),
  };
  let offset = 10;
  /** A batch of two offsets. */
  const append = (length: number, position = 0, of = a): number => {
    const entry = journal.append(of.log, position, length, offset, offset + 1, 50, 3, waiter, offset);
    of.tail.push(entry);
    offset += 2;
    return entry;
  };
  return { arena, journal, on, ends, answers, waiter, a, b, append };
}

const bytesOf = ({ heldBytes, deltaBytes, pendingBytes }: AppendJournal): number[] => [
  heldBytes,
  deltaBytes,
  pendingBytes,
];

describe('room in the journal', () => {
  test('is a power of two of entries, two at least', () => {
    for (const capacity of [0, 1, 3, 6, 12]) assert.throws(() => rig({ capacity }), /power of two/);
    assert.equal(rig({ capacity: 2 }).journal.capacity, 2);
  });

  test('is there until what waits for its upload reaches the bound, durable or not', () => {
    const { journal, append } = rig({ deltaBytesMax: 100 });
    append(60);
    append(39);
    assert.equal(journal.makeRoom(), true);
    assert.equal(journal.congestion(), 0.99);
    append(1);
    assert.equal(journal.makeRoom(), false);
    assert.equal(journal.congestion(), 1);
    journal.completeThrough(3, 1);
    assert.equal(journal.makeRoom(), false, 'durable bytes count, too');
    assert.deepEqual(bytesOf(journal), [100, 100, 0]);
    journal.markUploaded(2);
    assert.equal(journal.makeRoom(), true);
    assert.deepEqual(bytesOf(journal), [100, 40, 0]);
    append(200);
    assert.equal(journal.congestion(), 1, 'no more than that');
  });

  test('is not there while the ring is full, or nothing may be acknowledged', () => {
    const { journal, on } = rig();
    on.fullness = 0.89;
    assert.equal(journal.makeRoom(), true);
    assert.equal(journal.congestion().toFixed(3), '0.989');
    on.fullness = 0.9;
    assert.equal(journal.makeRoom(), false);
    assert.equal(journal.congestion(), 1);
    on.fullness = 0;
    on.mayAcknowledge = false;
    assert.equal(journal.makeRoom(), false);
  });

  test('is made in place of the oldest uploaded entry', () => {
    const { journal, append, a } = rig({ capacity: 4 });
    for (let i = 0; i < 3; i++) append(10);
    assert.equal(journal.entriesFull(), false);
    assert.equal(journal.congestion(), 0.75);
    append(10);
    assert.equal(journal.entriesFull(), true);
    assert.equal(journal.makeRoom(), false);
    journal.completeThrough(2, 1);
    journal.markUploaded(2);
    assert.equal(journal.congestion(), 0.75, 'what is uploaded does not press');
    assert.equal(journal.makeRoom(), true);
    assert.deepEqual([journal.head, a.tail.count, journal.entriesFull()], [2, 3, false]);
    append(10);
    assert.equal(journal.makeRoom(), false, 'the rest waits');
    assert.equal(journal.slot(5), journal.slot(1));
  });
});

describe('entries that become durable', () => {
  test('move each log once for neighbours, then are answered in order', () => {
    const { journal, append, ends, answers, b } = rig();
    append(10);
    append(10);
    append(10, 0, b);
    append(10);
    journal.completeThrough(4, 7);
    assert.deepEqual(ends, ['a 14', 'b 16', 'a 18']);
    assert.deepEqual(answers, ['10: 0 10 51 2', '12: 0 12 51 2', '14: 0 14 51 2', '16: 0 16 51 2']);
    assert.equal(journal.durable, 5);
    journal.completeThrough(4, 8);
    journal.completeThrough(2, 8);
    assert.deepEqual([ends.length, answers.length, journal.durable], [3, 4, 5], 'once');
  });

  test('are those that were appended', () => {
    const { journal, append } = rig();
    append(10);
    assert.throws(() => journal.completeThrough(2, 1), /entry 2 is said to be durable, the last one is 1/);
    journal.completeThrough(1, 1);
  });

  test('are answered as timed out while nothing may be acknowledged', () => {
    const { journal, append, answers, on } = rig();
    append(10);
    on.mayAcknowledge = false;
    journal.completeThrough(1, 1);
    assert.deepEqual(answers, [`10: ${ErrorCode.REQUEST_TIMED_OUT} 10 51 2`]);
  });

  test('answer those who joined, too, once each', () => {
    const { journal, append, answers, waiter } = rig();
    append(10);
    append(10);
    journal.join(1, waiter, 100);
    journal.join(1, waiter, 101);
    journal.join(2, waiter, 102);
    journal.completeThrough(1, 1);
    assert.deepEqual(answers.splice(0), ['10: 0 10 51 2', '100: 0 10 51 2', '101: 0 10 51 2']);
    journal.failPending(ErrorCode.KAFKA_STORAGE_ERROR, false);
    assert.deepEqual(answers, ['12: 56 12 51 2', '102: 56 12 51 2']);
  });
});

test('a cut is the entries of commits up to it, of those that are durable and not uploaded', () => {
  const { journal, append } = rig();
  for (let i = 0; i < 6; i++) append(10);
  journal.completeThrough(2, 5);
  journal.completeThrough(3, 6);
  journal.completeThrough(5, 9);
  const cuts = (): number[] => [4, 5, 6, 7, 8, 9, 99].map((commit) => journal.endOfCut(commit));
  assert.deepEqual(cuts(), [1, 3, 4, 4, 4, 6, 6]);
  journal.markUploaded(4);
  assert.deepEqual(cuts(), [4, 4, 4, 4, 4, 6, 6]);
  journal.markUploaded(2);
  assert.equal(journal.uploaded, 4, 'it does not go back');
  assert.deepEqual(bytesOf(journal), [60, 20, 10]);
});

describe('eviction', () => {
  const uploaded = () => {
    const on = rig({ deltaBytesMax: 100_000 });
    // Over the edge of a segment, side by side in one, and over several.
    for (const [position, length] of [
      [900, 200],
      [1_100, 100],
      [1_200, 100],
      [5_500, 2_600],
    ] as const)
      on.append(length, position);
    for (let segment = 0; segment < 16; segment++) on.arena.release(segment);
    on.journal.completeThrough(4, 1);
    return on;
  };

  test('takes uploaded entries, oldest first, until few enough bytes are held', () => {
    const { journal, arena, a } = uploaded();
    assert.equal(journal.evictUntil(0, 9), 0, 'none is uploaded');
    journal.markUploaded(4);
    assert.equal(journal.evictUntil(3_000, 9), 0, 'that many may be held');
    assert.equal(journal.evictUntil(2_999, 9), 1);
    assert.deepEqual([journal.head, journal.heldBytes, a.tail.count], [2, 2_800, 3]);
    assert.deepEqual([arena.references(0), arena.references(1)], [0, 2]);
    assert.equal(journal.evictUntil(0, 9), 2);
    assert.deepEqual([journal.head, journal.heldBytes, arena.references(1)], [4, 2_600, 0]);
    assert.equal(journal.evictOldest(), false, 'only the delta is left');
    journal.markUploaded(5);
    assert.equal(journal.evictOldest(), true);
    assert.deepEqual([arena.freeSegments(), journal.heldBytes], [16, 0]);
  });

  test('takes no more than asked for at a time', () => {
    const { journal } = uploaded();
    journal.markUploaded(5);
    assert.deepEqual(
      [journal.evictUntil(0, 1), journal.evictUntil(0, 2), journal.evictUntil(0, 2)],
      [1, 2, 1],
    );
  });

  test('of all at once lets every reference go', () => {
    const { journal, arena } = uploaded();
    journal.markUploaded(5);
    assert.equal(journal.evictUntil(0, Number.POSITIVE_INFINITY), 4);
    assert.equal(arena.freeSegments(), 16);
  });
});

describe('a WAL epoch that ended', () => {
  test('fails what was pending, newest out first, and keeps what is durable', () => {
    const { journal, append, answers, a, b, arena } = rig();
    append(10);
    append(20);
    append(30, 0, b);
    journal.completeThrough(1, 1);
    answers.splice(0);
    const references = arena.references(0);
    journal.failPending(ErrorCode.KAFKA_STORAGE_ERROR, false);
    assert.deepEqual(answers, ['12: 56 12 51 2', '14: 56 14 51 2']);
    assert.deepEqual([journal.tail, journal.durable, a.tail.count, b.tail.count], [2, 2, 1, 0]);
    assert.deepEqual(bytesOf(journal), [10, 10, 0]);
    assert.equal(arena.references(0), references - 2);
    journal.releaseGivenUp();
    assert.equal(arena.references(0), references - 2);
  });

  test('keeps memory that a write may still read, until it has returned', () => {
    const { journal, append, arena } = rig();
    append(10);
    append(20, 1_000);
    const references = [arena.references(0), arena.references(1)];
    journal.failPending(ErrorCode.KAFKA_STORAGE_ERROR, true);
    assert.deepEqual([arena.references(0), arena.references(1)], references);
    journal.releaseGivenUp();
    journal.releaseGivenUp();
    assert.deepEqual(
      [arena.references(0), arena.references(1)],
      references.map((n) => n - 1),
    );
  });
});
