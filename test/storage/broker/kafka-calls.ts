/** What broker tests ask over a connection, shortened to the values they compare. */
import assert from 'node:assert/strict';
import { CreatePartitionsCodec } from '../../../src/protocol/generated/create-partitions.ts';
import { DeleteRecordsCodec } from '../../../src/protocol/generated/delete-records.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { OffsetCommitCodec } from '../../../src/protocol/generated/offset-commit.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { OffsetForLeaderEpochCodec } from '../../../src/protocol/generated/offset-for-leader-epoch.ts';
import { sequencedBatch } from '../../support/load/batches.ts';
import type { RawConnection } from '../../support/raw-client.ts';

/** Of now: a producer whose newest record is a day old may be forgotten. */
const timestamp = Date.now();

/** Values `v0`, `v1`, …, by offset. */
export function value(offset: number, bytes = 0): string {
  return `v${offset}`.padEnd(bytes, '.');
}

/** An idempotent producer of one partition whose records say at which offset they belong. */
export class CountingProducer {
  readonly topic: string;
  readonly partition: number;
  readonly valueBytes: number;
  readonly ids: { readonly producerId: number; readonly producerEpoch: number };
  /** Sequence and, where nobody else writes, offset of the next record. */
  next = 0;
  /** Base sequences of what was acknowledged, with its offset and length. */
  readonly batches: { sequence: number; offset: number; records: number }[] = [];

  private constructor(topic: string, partition: number, valueBytes: number, ids: CountingProducer['ids']) {
    this.topic = topic;
    this.partition = partition;
    this.valueBytes = valueBytes;
    this.ids = ids;
  }

  static async create(
    connection: RawConnection,
    topic: string,
    partition = 0,
    valueBytes = 0,
  ): Promise<CountingProducer> {
    return new CountingProducer(topic, partition, valueBytes, await connection.initProducerId());
  }

  batch(sequence: number, records: number): Buffer {
    const values = Array.from({ length: records }, (_, i) =>
      Buffer.from(value(sequence + i, this.valueBytes)),
    );
    return sequencedBatch(this.ids, sequence, values, timestamp);
  }

  /** Error code and base offset of one batch, whatever the answer. */
  async send(
    connection: RawConnection,
    sequence: number,
    records: number,
  ): Promise<[error: number, offset: number]> {
    const { errorCode, baseOffset } = await connection.produce(
      this.topic,
      this.partition,
      this.batch(sequence, records),
    );
    return [errorCode, baseOffset];
  }

  async produce(connection: RawConnection, batches: number, records = 2): Promise<void> {
    for (let i = 0; i < batches; i++) {
      const [error, offset] = await this.send(connection, this.next, records);
      assert.deepEqual([error, offset], [0, this.next], `batch at sequence ${this.next}`);
      this.batches.push({ sequence: this.next, offset, records });
      this.next += records;
    }
  }

  /** The last five are answered as duplicates with their offsets, a gap is refused, and the next one is taken. */
  async assertWindow(connection: RawConnection): Promise<void> {
    for (const { sequence, offset, records } of this.batches.slice(-5)) {
      assert.deepEqual(
        await this.send(connection, sequence, records),
        [0, offset],
        `retry of sequence ${sequence}`,
      );
    }
    assert.deepEqual(await this.send(connection, this.next + 7, 1), [45, -1], 'a gap');
    await this.produce(connection, 1);
  }
}

export function values(until: number, from = 0, bytes = 0): { offset: number; value: string }[] {
  return Array.from({ length: until - from }, (_, i) => ({
    offset: from + i,
    value: value(from + i, bytes),
  }));
}

export async function leaderEpoch(connection: RawConnection, topic: string, partition = 0): Promise<number> {
  const { topics } = await connection.metadata([topic]);
  return topics[0]!.partitions.find((one) => one.partitionIndex === partition)!.leaderEpoch;
}

/** Epoch found and offset at which it ended. */
export async function epochEnd(
  connection: RawConnection,
  topic: string,
  epoch: number,
): Promise<[number, number]> {
  const { topics } = await connection.request(OffsetForLeaderEpochCodec, 3, {
    replicaId: -1,
    topics: [{ topic, partitions: [{ partition: 0, currentLeaderEpoch: -1, leaderEpoch: epoch }] }],
  });
  const found = topics[0]!.partitions[0]!;
  assert.equal(found.errorCode, 0);
  return [found.leaderEpoch, found.endOffset];
}

export async function deleteRecords(
  connection: RawConnection,
  topic: string,
  offset: number,
): Promise<number> {
  const { topics } = await connection.request(DeleteRecordsCodec, 2, {
    topics: [{ name: topic, partitions: [{ partitionIndex: 0, offset }] }],
    timeoutMs: 10_000,
  });
  assert.equal(topics[0]!.partitions[0]!.errorCode, 0);
  return topics[0]!.partitions[0]!.lowWatermark;
}

export async function growTopic(connection: RawConnection, topic: string, partitions: number): Promise<void> {
  const { results } = await connection.request(CreatePartitionsCodec, 2, {
    topics: [{ name: topic, count: partitions, assignments: null }],
    timeoutMs: 10_000,
    validateOnly: false,
  });
  assert.equal(results[0]!.errorCode, 0);
}

/** Answers that a coordinator gives while it is being made or loaded. */
const notYet = new Set([14, 15, 16]);

async function again<T>(call: () => Promise<T>, error: (answer: T) => number): Promise<T> {
  for (let attempt = 0; ; attempt++) {
    const answer = await call();
    if (!notYet.has(error(answer))) return answer;
    assert.ok(attempt < 500, `still error ${error(answer)}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export async function commitOffset(
  connection: RawConnection,
  group: string,
  topic: string,
  offset: number,
): Promise<void> {
  const found = await again(
    () => connection.request(FindCoordinatorCodec, 3, { key: group, keyType: 0 }),
    (answer) => answer.errorCode,
  );
  assert.equal(found.errorCode, 0);
  const committed = await again(
    () =>
      connection.request(OffsetCommitCodec, 7, {
        groupId: group,
        generationIdOrMemberEpoch: -1,
        topics: [
          {
            name: topic,
            partitions: [{ partitionIndex: 0, committedOffset: offset, committedMetadata: `at ${offset}` }],
          },
        ],
      }),
    (answer) => answer.topics[0]!.partitions[0]!.errorCode,
  );
  assert.equal(committed.topics[0]!.partitions[0]!.errorCode, 0);
}

export async function committedOffset(
  connection: RawConnection,
  group: string,
  topic: string,
): Promise<[number, string | null]> {
  const answer = await again(
    () =>
      connection.request(OffsetFetchCodec, 6, {
        groupId: group,
        topics: [{ name: topic, partitionIndexes: [0] }],
      }),
    ({ errorCode, topics }) => errorCode || (topics[0]?.partitions[0]?.errorCode ?? 0),
  );
  assert.equal(answer.errorCode, 0);
  const { committedOffset: offset, metadata } = answer.topics[0]!.partitions[0]!;
  return [offset, metadata];
}
