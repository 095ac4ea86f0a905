/** A producer with a transactional id: what it asks for, and what others see of it. */
import { AddPartitionsToTxnCodec } from '../../../src/protocol/generated/add-partitions-to-txn.ts';
import { DescribeProducersCodec } from '../../../src/protocol/generated/describe-producers.ts';
import { DescribeTransactionsCodec } from '../../../src/protocol/generated/describe-transactions.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import {
  InitProducerIdCodec,
  type InitProducerIdRequestInput,
} from '../../../src/protocol/generated/init-producer-id.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import type { Side } from '../side.ts';
import { batch, createTopic, produceOne, producerIdOf, records, someTime } from './topics.ts';

/** A transactional id (which is also the topic's name and the group's) and the producer that holds it. */
export interface Producer {
  readonly id: string;
  readonly producerId: number;
  readonly producerEpoch: number;
}

const timeoutMs = 60_000;

export function initializing(
  transactionalId: string | null,
  more: InitProducerIdRequestInput = {},
): InitProducerIdRequestInput {
  return { transactionalId, transactionTimeoutMs: timeoutMs, ...more };
}

/** A topic of two partitions, and a producer that has just come; Kafka's coordinators come in their own time. */
export async function producer(side: Side, id: string): Promise<Producer> {
  await createTopic(side, id, 2);
  await ready(side, id);
  const { producerId, producerEpoch } = await side.until(
    InitProducerIdCodec,
    4,
    initializing(id),
    ({ errorCode }) => errorCode === 0,
  );
  return { id, producerId, producerEpoch };
}

export async function ready(side: Side, id: string): Promise<void> {
  await producerIdOf(side);
  const asked = { keyType: 1, coordinatorKeys: [id] };
  await side.until(FindCoordinatorCodec, 4, asked, ({ coordinators }) => coordinators[0]!.errorCode === 0);
  await side.until(
    DescribeTransactionsCodec,
    0,
    { transactionalIds: [id] },
    ({ transactionStates }) => ![14, 15, 16].includes(transactionStates[0]!.errorCode),
  );
}

/** Waits until the markers are written. */
export async function settled(side: Side, id: string): Promise<void> {
  await side.until(
    DescribeTransactionsCodec,
    0,
    { transactionalIds: [id] },
    ({ transactionStates }) => !transactionStates[0]!.transactionState.startsWith('Prepare'),
  );
}

export interface Wrong {
  readonly id?: string;
  readonly producerId?: number;
  readonly producerEpoch?: number;
}

/** What may be wrong about who asks. */
export const strangers = ({ producerId, producerEpoch }: Producer): readonly (readonly [string, Wrong])[] => [
  ['of an older epoch', { producerEpoch: producerEpoch - 1 }],
  ['of a newer epoch', { producerEpoch: producerEpoch + 1 }],
  ['of another producer', { producerId: producerId + 100_000 }],
  ['of an unknown id', { id: 'nobody-knows' }],
  ['of no id', { id: '' }],
];

export function adding(
  who: Producer,
  version: number,
  topics = [{ name: who.id, partitions: [0] }],
  verifyOnly = false,
) {
  const { id, producerId, producerEpoch } = who;
  if (version >= 4)
    return { transactions: [{ transactionalId: id, producerId, producerEpoch, verifyOnly, topics }] };
  return {
    v3AndBelowTransactionalId: id,
    v3AndBelowProducerId: producerId,
    v3AndBelowProducerEpoch: producerEpoch,
    v3AndBelowTopics: topics,
  };
}

export function ending({ id, producerId, producerEpoch }: Producer, committed: boolean) {
  return { transactionalId: id, producerId, producerEpoch, committed };
}

export interface Sent {
  readonly sequence?: number;
  readonly transactional?: boolean;
  readonly transactionalId?: string | null;
  readonly partition?: number;
  readonly topic?: string;
}

export function producing(who: Producer, sent: Sent = {}) {
  const { sequence = 0, transactional = true, partition = 0 } = sent;
  const { producerId, producerEpoch } = who;
  const fields = { producerId, producerEpoch, baseSequence: sequence, transactional };
  return {
    ...produceOne(sent.topic ?? who.id, batch(records(2, sequence), fields), partition),
    transactionalId: sent.transactionalId === undefined ? who.id : sent.transactionalId,
  };
}

/** A transaction of two records in partition 0. */
export async function open(side: Side, who: Producer, sequence = 0): Promise<void> {
  await side.until(AddPartitionsToTxnCodec, 3, adding(who, 3), ({ resultsByTopicV3AndBelow: [topic] }) =>
    topic!.resultsByPartition.every(({ partitionErrorCode }) => partitionErrorCode === 0),
  );
  await side.prepare(ProduceCodec, 11, producing(who, { sequence }));
}

/** What consumers see in partition 0, committed and not. */
export async function seen(side: Side, topic: string): Promise<void> {
  for (const isolationLevel of [0, 1]) {
    for (const timestamp of [-1, -3, someTime])
      await side.ask(
        `offset ${timestamp > 0 ? 'of a time' : timestamp}, isolation ${isolationLevel}`,
        ListOffsetsCodec,
        9,
        {
          replicaId: -1,
          isolationLevel,
          topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp }] }],
        },
      );
    for (const fetchOffset of [0, 3])
      await side.ask(`read at ${fetchOffset}, isolation ${isolationLevel}`, FetchCodec, 12, {
        maxWaitMs: 50,
        minBytes: 0,
        maxBytes: 1 << 20,
        isolationLevel,
        sessionEpoch: -1,
        topics: [{ topic, partitions: [{ partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 }] }],
      });
  }
}

export async function described(side: Side, label: string, id: string): Promise<void> {
  await side.ask(label, DescribeTransactionsCodec, 0, { transactionalIds: [id] });
  await side.ask(label, DescribeProducersCodec, 0, { topics: [{ name: id, partitionIndexes: [0, 1] }] });
}
