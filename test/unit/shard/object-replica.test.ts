/** What a broker gives of partitions that it does not own: what objects hold; for the rest readers go back to the leader. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { offsetQuery, type ReadResult, RecordRanges } from '../../../src/log/partition-handle.ts';
import type { ColdPath, CommittedEnd } from '../../../src/log/partition-log.ts';
import type { PartitionImage, TopicImage } from '../../../src/metadata/metadata-store.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { ObjectReplica, type ReplicaPath } from '../../../src/shard/object-replica.ts';
import { HeapArena } from '../../support/heap-arena.ts';

type Asked = Parameters<ColdPath['read']>;
const { NOT_LEADER_OR_FOLLOWER, OFFSET_OUT_OF_RANGE } = ErrorCode;
const arena = new HeapArena({ segmentBytes: 4096, segmentCount: 2 });

/** Offsets 20 … 50 in one object; the owner has more. */
function replica(
  cold: ColdPath['read'] = () => assert.fail('not to be read'),
  committedInObjects: ReplicaPath['committedInObjects'] = () => assert.fail('not to be asked'),
): ObjectReplica {
  const objects = [{ objectId: 'x', baseOffset: 10, endOffset: 50, maxTimestamp: 0, bytes: 1 }];
  const partition = { partition: 3, leaderEpoch: 7, state: 'open', startOffset: 20, manifest: null, objects };
  return new ObjectReplica({
    topic: { name: 't', topicId: 'id' } as TopicImage,
    partition: partition as unknown as PartitionImage,
    cold: { read: cold, committedInObjects },
    settings: {} as ObjectReplica['settings'],
  });
}

function read(
  from: ObjectReplica,
  offset: number,
  { maxBytes = 100, atLeastOne = true, committed = false } = {},
) {
  const results: ReadResult[] = [];
  from.read(
    offset,
    maxBytes,
    atLeastOne,
    1e9,
    { onRead: (_index, result) => results.push(result) },
    0,
    committed,
  );
  return results;
}

function records(bytes: number): { ranges: RecordRanges; released: () => number } {
  let released = 0;
  const ranges = new RecordRanges(arena, () => void released++);
  ranges.adopt(0, bytes);
  return { ranges, released: () => released };
}

describe('a replica in objects', () => {
  for (const [what, offset] of [
    ['below the log start', 19],
    ['at the end of the objects', 50],
    ['behind it', 51],
  ] as const)
    test(`sends a reader ${what} to the leader`, () => {
      const [result] = read(replica(), offset);
      assert.equal(result!.error, OFFSET_OUT_OF_RANGE);
      assert.equal(result!.records, null);
    });

  for (const offset of [20, 49])
    test(`reads offset ${offset}, up to the objects' end`, () => {
      let asked: Asked | null = null;
      const { ranges } = records(80);
      const [result] = read(
        replica((...args) => {
          asked = args;
          args[5](0, ranges, 50, []);
        }),
        offset,
      );
      const [stream, from, maxBytes, , committed] = asked!;
      assert.deepEqual([stream.highWatermark, from, maxBytes, committed], [50, offset, 100, null]);
      assert.equal(result!.error, 0);
      assert.equal(result!.records, ranges);
      assert.deepEqual([result!.highWatermark, result!.startOffset], [50, 20]);
    });

  describe('to a reader of committed records', () => {
    const stable = (lastStableOffset: number): CommittedEnd => ({
      lastStableOffset,
      tailStart: 50,
      producers: { abortedOver: () => [] },
    });
    const settled = () => new Promise((resolve) => setImmediate(resolve));

    test('gives what is below the first open transaction, with what was aborted', async () => {
      const end = stable(40);
      let asked: Asked | null = null;
      const { ranges } = records(80);
      const aborted = [{ producerId: 9, firstOffset: 30, lastOffset: 35 }];
      const results = read(
        replica(
          (...args) => {
            asked = args;
            args[5](0, ranges, 40, aborted as never);
          },
          async () => end,
        ),
        39,
        { committed: true },
      );
      await settled();
      assert.equal(asked![4], end);
      assert.deepEqual([results[0]!.error, results[0]!.lastStableOffset], [0, 40]);
      assert.equal(results[0]!.aborted, aborted);
    });

    for (const [what, answer] of [
      ['from the first open transaction on', async () => stable(39)],
      ['where the object does not say', async () => stable(-1)],
      ['when the object cannot be read', () => Promise.reject(new Error('gone'))],
    ] as const)
      test(`sends it to the leader ${what}`, async () => {
        const results = read(replica(undefined, answer), 39, { committed: true });
        await settled();
        assert.equal(results[0]!.error, OFFSET_OUT_OF_RANGE);
      });

    test('sends it to the leader where a gap reaches the first open transaction', async () => {
      const results = read(
        replica(
          (_stream, _offset, _max, _by, _committed, done) => done(0, null, 40, []),
          async () => stable(40),
        ),
        39,
        { committed: true },
      );
      await settled();
      assert.equal(results[0]!.error, OFFSET_OUT_OF_RANGE);
    });
  });

  test('goes on behind a gap, and to the leader where the gap reaches the end', () => {
    const offsets: number[] = [];
    const [result] = read(
      replica((_stream, offset, _max, _by, _committed, done) => {
        offsets.push(offset);
        done(0, null, offset === 20 ? 30 : 50, []);
      }),
      20,
    );
    assert.deepEqual(offsets, [20, 30]);
    assert.equal(result!.error, OFFSET_OUT_OF_RANGE);
  });

  test('gives nothing where the first batch is larger than what is left, and lets it go', () => {
    const { ranges, released } = records(101);
    const [result] = read(
      replica((_stream, _offset, _max, _by, _committed, done) => done(0, ranges, 50, [])),
      20,
      { atLeastOne: false },
    );
    assert.deepEqual([result!.error, result!.records, released()], [0, null, 1]);
  });

  test('says what kept it from reading', () => {
    const { KAFKA_STORAGE_ERROR } = ErrorCode;
    const [result] = read(
      replica((_stream, offset, _max, _by, _committed, done) => done(KAFKA_STORAGE_ERROR, null, offset, [])),
      20,
    );
    assert.deepEqual([result!.error, result!.highWatermark], [KAFKA_STORAGE_ERROR, -1]);
  });

  test('is no leader to anything else', () => {
    const errors: number[] = [];
    const other = replica();
    other.append(0, 1, { onAppended: (_index, error) => void errors.push(error) }, 0);
    other.verify(1, 0, 0, true, (error) => errors.push(error));
    other.describeProducers((error) => errors.push(error));
    other.query(offsetQuery.byTime, 0, (error) => errors.push(error));
    assert.deepEqual(errors, Array(4).fill(NOT_LEADER_OR_FOLLOWER));
    assert.equal(other.live, false);
  });
});
