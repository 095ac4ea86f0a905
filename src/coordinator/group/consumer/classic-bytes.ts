/**
 * The bytes that consumers of the classic protocol exchange through their group (protocol type "consumer"), read and written
 * where such members live in a group of the consumer protocol: there the broker assigns.
 */
import {
  ConsumerProtocolAssignmentCodec,
  type ConsumerProtocolAssignmentTopicPartition,
} from '../../../protocol/generated/data/consumer-protocol-assignment.ts';
import { ConsumerProtocolSubscriptionCodec } from '../../../protocol/generated/data/consumer-protocol-subscription.ts';
import { Reader } from '../../../protocol/reader.ts';
import { Writer } from '../../../protocol/writer.ts';
import type { TopicNames } from '../group-services.ts';
import { assignmentOf, type OwnedPartitions, type TopicPartitionList } from './assignment.ts';

export interface ClassicSubscription {
  /** Sorted, each once. */
  readonly topics: readonly string[];
  /** Empty when the member gives everything up before it joins (eager), or its version does not tell. */
  readonly owned: readonly TopicPartitionList[];
  readonly rackId: string | null;
}

/** null: the bytes are no subscription. */
export function readClassicSubscription(metadata: Buffer, names: TopicNames): ClassicSubscription | null {
  const stored = attempt(() => {
    const reader = new Reader(metadata);
    const version = Math.min(reader.i16(), ConsumerProtocolSubscriptionCodec.maxVersion);
    return ConsumerProtocolSubscriptionCodec.decode(reader, version);
  });
  if (stored === null) return null;
  return {
    topics: [...new Set(stored.topics)].sort(),
    owned: byId(stored.ownedPartitions, names),
    rackId: stored.rackId,
  };
}

/** What a classic leader assigned; topics that are gone are left out. null: the bytes are no assignment. */
export function readClassicAssignment(
  bytes: Buffer,
  names: TopicNames,
): readonly TopicPartitionList[] | null {
  if (bytes.length === 0) return [];
  const stored = attempt(() => {
    const reader = new Reader(bytes);
    const version = Math.min(reader.i16(), ConsumerProtocolAssignmentCodec.maxVersion);
    return ConsumerProtocolAssignmentCodec.decode(reader, version);
  });
  return stored === null ? null : byId(stored.assignedPartitions, names);
}

function attempt<T>(read: () => T): T | null {
  try {
    return read();
  } catch {
    return null;
  }
}

function byId(
  topics: readonly ConsumerProtocolAssignmentTopicPartition[],
  names: TopicNames,
): TopicPartitionList[] {
  const lists: TopicPartitionList[] = [];
  for (const { topic, partitions } of topics) {
    const topicId = names.idOf(topic);
    if (topicId !== null) lists.push({ topicId, partitions });
  }
  return [...assignmentOf(lists)].map(([topicId, partitions]) => ({ topicId, partitions }));
}

/** Version 0, which every client reads. */
export function classicAssignmentBytes(owned: OwnedPartitions, names: TopicNames): Buffer {
  const assignedPartitions: { topic: string; partitions: number[] }[] = [];
  for (const [topicId, epochs] of owned) {
    const topic = names.nameOf(topicId);
    if (topic !== null)
      assignedPartitions.push({ topic, partitions: [...epochs.keys()].sort((a, b) => a - b) });
  }
  const writer = new Writer();
  writer.i16(0);
  ConsumerProtocolAssignmentCodec.encode(writer, { assignedPartitions, userData: null }, 0);
  return Buffer.from(writer.written);
}
