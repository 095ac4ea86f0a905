/** Produce requests outside of the arena: what is copied in, what is refused before, and that all memory comes back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import type { ProduceRequest, ProduceResponseInput } from '../../../../src/protocol/generated/produce.ts';
import { ProduceCodec } from '../../../../src/protocol/generated/produce.ts';
import { ZERO_UUID } from '../../../../src/protocol/primitives.ts';
import type { RequestContext } from '../../../../src/requests/support/handler.ts';
import { withOutsideRecords } from '../../../../src/requests/support/outside-records.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { FakeTopics } from '../admin-fixtures.ts';

const segmentBytes = 1_000;

function rig(options: { batchBytesMax?: number; segments?: number } = {}) {
  const arena = new HeapArena({ segmentBytes, segmentCount: options.segments ?? 4 });
  const topics = new FakeTopics();
  const topicId = topics.add('t', 3);
  topics.partition(topicId, 1)!.settings.maxMessageBytes = 500;
  const refused: number[] = [];
  const closed: string[] = [];
  /** What the handler saw: partition, bytes of records, whether they lie in the arena. */
  const seen: [partition: number, records: string | null, inArena: boolean][] = [];
  let later: (() => void) | null = null;
  let broken = false;
  const handler = withOutsideRecords(
    {
      codec: ProduceCodec,
      handle: (_context, request, respond) => {
        for (const { partitionData } of request.topicData)
          for (const { index, records } of partitionData)
            seen.push([
              index,
              records === null ? null : `${records.byteLength} of ${records[0]}`,
              records !== null && records.buffer === arena.buffer.buffer,
            ]);
        if (broken) throw new Error('a bug');
        later = () =>
          respond(
            request.acks === 0
              ? null
              : {
                  responses: request.topicData.map(({ name, topicId: id, partitionData }) => ({
                    name,
                    topicId: id,
                    partitionResponses: partitionData.map(({ index }) => ({
                      index,
                      errorCode: 0,
                      baseOffset: 77,
                    })),
                  })),
                },
          );
      },
    },
    {
      topics,
      arena,
      allocate: (bytes) => {
        const segment = bytes > segmentBytes ? -1 : arena.acquire();
        return segment < 0 ? -1 : segment * segmentBytes;
      },
      batchBytesMax: options.batchBytesMax ?? 10_000,
      observe: { refused: (error) => void refused.push(error) },
    },
  );
  const produce = (
    batches: readonly (readonly [partition: number, records: Uint8Array | null])[],
    more: { version?: number; acks?: number; topic?: string } = {},
  ) => {
    const { version = 12, acks = -1, topic = 't' } = more;
    const answers: (ProduceResponseInput | null)[] = [];
    const request = {
      acks,
      topicData: [
        {
          name: version >= 13 ? '' : topic,
          topicId: version >= 13 ? topicId : ZERO_UUID,
          partitionData: batches.map(([index, records]) => ({ index, records })),
        },
      ],
    } as unknown as ProduceRequest;
    const context = {
      apiVersion: version,
      close: (why: string) => void closed.push(why),
    } as unknown as RequestContext;
    handler.handle(context, request, (answer) => void answers.push(answer));
    later?.();
    later = null;
    return answers.map((answer) =>
      answer === null
        ? null
        : answer.responses!.flatMap(({ partitionResponses }) =>
            partitionResponses!.map(({ index, errorCode, baseOffset }) => [index, errorCode, baseOffset]),
          ),
    );
  };
  return {
    arena,
    topics,
    refused,
    closed,
    seen,
    produce,
    breaks: () => {
      broken = true;
    },
  };
}

const bytes = (length: number, fill = 7): Uint8Array => Buffer.alloc(length, fill);
const { MESSAGE_TOO_LARGE, NOT_ENOUGH_REPLICAS } = ErrorCode;

test('batches are copied into the arena, each by itself, and let go when they were handled', () => {
  for (const version of [12, 13]) {
    const { arena, produce, seen, refused } = rig();
    assert.deepEqual(
      produce(
        [
          [0, bytes(900, 1)],
          [2, bytes(1_000, 2)],
        ],
        { version },
      ),
      [
        [
          [0, 0, 77],
          [2, 0, 77],
        ],
      ],
    );
    assert.deepEqual(seen, [
      [0, '900 of 1', true],
      [2, '1000 of 2', true],
    ]);
    assert.deepEqual([refused, arena.freeSegments()], [[], 4]);
  }
});

test('a request in the arena passes as it is', () => {
  const { arena, produce, seen } = rig();
  const segment = arena.acquire();
  const place = arena.buffer.subarray(segment * segmentBytes, segment * segmentBytes + 600);
  produce([
    [1, null],
    [1, place],
  ]);
  assert.deepEqual(seen, [
    [1, null, false],
    [1, '600 of 0', true],
  ]);
  assert.equal(arena.freeSegments(), 3);
});

test('what its topic or the log would refuse for its size is never copied, and answered in its place', () => {
  const { produce, seen, refused, arena } = rig({ batchBytesMax: 800 });
  assert.deepEqual(
    produce([
      [1, bytes(501)],
      [0, bytes(800)],
      [0, bytes(801)],
      [1, bytes(500)],
    ]),
    [
      [
        [1, MESSAGE_TOO_LARGE, -1],
        [0, 0, 77],
        [0, MESSAGE_TOO_LARGE, -1],
        [1, 0, 77],
      ],
    ],
  );
  assert.deepEqual(
    seen.map(([partition, records]) => [partition, records]),
    [
      [0, '800 of 7'],
      [1, '500 of 7'],
    ],
  );
  assert.deepEqual([refused, arena.freeSegments()], [[MESSAGE_TOO_LARGE, MESSAGE_TOO_LARGE], 4]);
});

test('what finds no memory is refused as when the log is full', () => {
  const { produce, refused, arena } = rig({ segments: 1 });
  assert.deepEqual(
    produce([
      [0, bytes(100)],
      [2, bytes(100)],
    ]),
    [
      [
        [0, 0, 77],
        [2, NOT_ENOUGH_REPLICAS, -1],
      ],
    ],
  );
  assert.deepEqual([refused, arena.freeSegments()], [[NOT_ENOUGH_REPLICAS], 1]);
});

test('partitions that are not here are the handler’s to answer, without their records', () => {
  const { produce, seen, refused } = rig();
  produce([
    [9, bytes(5_000)],
    [0, bytes(10)],
  ]);
  assert.deepEqual(
    seen.map(([partition, records]) => [partition, records]),
    [
      [9, null],
      [0, '10 of 7'],
    ],
  );
  produce([[0, bytes(10)]], { topic: 'u' });
  assert.deepEqual(seen[2], [0, null, false]);
  assert.deepEqual(refused, []);
});

test('a refusal without an answer ends the connection', () => {
  const { produce, closed } = rig();
  assert.deepEqual(produce([[0, bytes(100)]], { acks: 0 }), [null]);
  assert.deepEqual(closed, []);
  produce([[1, bytes(501)]], { acks: 1 });
  assert.deepEqual(closed, []);
  assert.deepEqual(produce([[1, bytes(501)]], { acks: 0 }), [null]);
  assert.deepEqual(closed, ['a produce request with acks=0 failed with MESSAGE_TOO_LARGE']);
});

test('memory comes back from a handler that throws, too', () => {
  const { produce, arena, breaks } = rig();
  breaks();
  assert.throws(() => produce([[0, bytes(100)]]), /a bug/);
  assert.equal(arena.freeSegments(), 4);
});
