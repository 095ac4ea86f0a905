/** Topics and batches that cases begin with. */

import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { ConsumerGroupHeartbeatCodec } from '../../../src/protocol/generated/consumer-group-heartbeat.ts';
import { CreateTopicsCodec } from '../../../src/protocol/generated/create-topics.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { InitProducerIdCodec } from '../../../src/protocol/generated/init-producer-id.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { MetadataCodec } from '../../../src/protocol/generated/metadata.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import {
  type BatchFields,
  type BatchRecord,
  buildBatch,
} from '../../../src/protocol/records/batch-builder.ts';
import { crcStart, patchCrc } from '../../../src/protocol/records/batch-header.ts';
import { portableCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { type Side, someTime } from '../side.ts';

export { someTime };

const { crc32c } = portableCrc32c();
export const codecs = createCodecs();

/** Creates a topic and waits until it serves: Kafka's partitions come after its answer. */
export async function createTopic(
  side: Side,
  name: string,
  partitions = 1,
  configs: Readonly<Record<string, string>> = {},
): Promise<string> {
  const list = Object.entries(configs).map(([key, value]) => ({ name: key, value }));
  const answer = await side.prepare(CreateTopicsCodec, 5, {
    topics: [{ name, numPartitions: partitions, replicationFactor: 1, configs: list }],
    timeoutMs: 30_000,
  });
  if (answer.topics[0]!.errorCode !== 0)
    throw new Error(`${side.name}: creating ${name}: ${answer.topics[0]!.errorCode}`);
  const metadata = await side.until(
    MetadataCodec,
    12,
    { topics: [{ name }], allowAutoTopicCreation: false },
    ({ topics }) => topics[0]!.partitions.length === partitions,
  );
  const places = Array.from({ length: partitions }, (_, partitionIndex) => ({
    partitionIndex,
    timestamp: -1,
  }));
  await side.until(
    ListOffsetsCodec,
    7,
    { replicaId: -1, topics: [{ name, partitions: places }] },
    ({ topics }) => topics[0]!.partitions.every(({ errorCode }) => errorCode === 0),
  );
  return metadata.topics[0]!.topicId;
}

/** Waits until the coordinator of groups knows the topic: Kafka's learns of it after the brokers that serve it. */
export async function seenByGroups(side: Side, topic: string): Promise<void> {
  const member = { groupId: `${topic}-looks`, memberId: 'looks', rebalanceTimeoutMs: 30_000 };
  const joining = { ...member, subscribedTopicNames: [topic], topicPartitions: [] };
  await coordinator(side, member.groupId);
  await side.until(
    ConsumerGroupHeartbeatCodec,
    1,
    { ...joining, memberEpoch: 0 },
    ({ assignment }) => (assignment?.topicPartitions.length ?? 0) > 0,
  );
  await side.prepare(ConsumerGroupHeartbeatCodec, 1, { ...member, memberEpoch: -1 });
}

/** An id of its own for an idempotent producer: Kafka's first ones come in its own time. */
export async function producerIdOf(side: Side): Promise<number> {
  const request = { transactionalId: null, transactionTimeoutMs: 60_000 };
  return (await side.until(InitProducerIdCodec, 4, request, ({ errorCode }) => errorCode === 0)).producerId;
}

/** Both brokers make the topic of their groups with the first question after a coordinator. */
export async function coordinator(side: Side, group: string): Promise<void> {
  await side.until(
    FindCoordinatorCodec,
    4,
    { keyType: 0, coordinatorKeys: [group] },
    ({ coordinators }) => coordinators[0]!.errorCode === 0,
  );
  await side.until(OffsetFetchCodec, 7, { groupId: group, topics: null }, ({ errorCode }) => errorCode === 0);
}

export function records(count: number, from = 0, valueBytes = 20): BatchRecord[] {
  return Array.from({ length: count }, (_, at) => ({
    key: Buffer.from(`key ${from + at}`),
    value: Buffer.from(`value ${from + at} `.padEnd(valueBytes, '.')),
    timestamp: someTime + 1_000 * (from + at),
  }));
}

export function batch(some: readonly BatchRecord[], fields: BatchFields = {}): Buffer {
  return buildBatch(some, { codecs, ...fields }, crc32c);
}

/** Changes bytes of a batch; its CRC follows unless `keepCrc`. */
export function changed(
  bytes: Buffer,
  change: (view: DataView, bytes: Buffer) => void,
  keepCrc = false,
): Buffer {
  const copy = Buffer.from(bytes);
  const view = new DataView(copy.buffer, copy.byteOffset, copy.length);
  change(view, copy);
  if (!keepCrc) patchCrc(view, 0, crc32c(copy, crcStart, copy.length - crcStart));
  return copy;
}

export function produceOne(
  topic: string,
  bytes: Uint8Array | null,
  index = 0,
  acks = -1,
  timeoutMs = 30_000,
) {
  return { acks, timeoutMs, topicData: [{ name: topic, partitionData: [{ index, records: bytes }] }] };
}

/** Appends without a word in the transcript. */
export async function fill(side: Side, topic: string, bytes: Uint8Array, index = 0): Promise<void> {
  const answer = await side.prepare(ProduceCodec, 9, produceOne(topic, bytes, index));
  const { errorCode } = answer.responses[0]!.partitionResponses[0]!;
  if (errorCode !== 0) throw new Error(`${side.name}: filling ${topic}: ${errorCode}`);
}
