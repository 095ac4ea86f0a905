/** Members of share groups as differential cases play them (KIP-932). */
import { DescribeShareGroupOffsetsCodec } from '../../../src/protocol/generated/describe-share-group-offsets.ts';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import {
  ShareAcknowledgeCodec,
  type ShareAcknowledgeRequestInput,
} from '../../../src/protocol/generated/share-acknowledge.ts';
import {
  ShareFetchCodec,
  type ShareFetchRequestAcknowledgementBatchInput,
  type ShareFetchRequestInput,
} from '../../../src/protocol/generated/share-fetch.ts';
import {
  ShareGroupHeartbeatCodec,
  type ShareGroupHeartbeatRequestInput,
} from '../../../src/protocol/generated/share-group-heartbeat.ts';
import type { Side } from '../side.ts';
import { coordinator, createTopic } from './topics.ts';

export const [anna, bert] = ['AAAAAAAAAAAAAAAAAAAAAQ', 'AAAAAAAAAAAAAAAAAAAAAg'] as const;
export const nowhere = '4cfbb9a5-9a9b-4d0c-8d3a-0b8e4f0a9a11';
export const [gap, accept, release, reject, renew] = [0, 1, 2, 3, 4] as const;

type Beat = ShareGroupHeartbeatRequestInput;
export type Batch = ShareFetchRequestAcknowledgementBatchInput;

export function joining(groupId: string, topic: string, more: Beat = {}): Beat {
  return { groupId, memberId: anna, memberEpoch: 0, subscribedTopicNames: [topic], ...more };
}

export const beat = (side: Side, label: string, request: Beat) =>
  side.ask(label, ShareGroupHeartbeatCodec, 1, request);

/** Sets configs of a group. */
export async function groupConfigs(
  side: Side,
  group: string,
  configs: Readonly<Record<string, string>>,
): Promise<void> {
  const list = Object.entries(configs).map(([name, value]) => ({ name, configOperation: 0, value }));
  const answer = await side.prepare(IncrementalAlterConfigsCodec, 1, {
    resources: [{ resourceType: 32, resourceName: group, configs: list }],
  });
  const { errorCode } = answer.responses[0]!;
  if (errorCode !== 0) throw new Error(`${side.name}: configs of ${group}: ${errorCode}`);
}

/** Joins and waits until the group's share partitions are assigned: Kafka initialises them in its own time. */
export async function join(
  side: Side,
  group: string,
  topic: string,
  memberId: string = anna,
): Promise<number> {
  const joined = await side.prepare(ShareGroupHeartbeatCodec, 1, joining(group, topic, { memberId }));
  if (joined.errorCode !== 0) throw new Error(`${side.name}: joining ${group}: ${joined.errorCode}`);
  let epoch = joined.memberEpoch;
  let assigned = (joined.assignment?.topicPartitions.length ?? 0) > 0;
  while (!assigned) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const beating = { groupId: group, memberId, memberEpoch: epoch, subscribedTopicNames: [topic] };
    const answer = await side.prepare(ShareGroupHeartbeatCodec, 1, beating);
    if (answer.errorCode !== 0) throw new Error(`${side.name}: beating ${group}: ${answer.errorCode}`);
    epoch = answer.memberEpoch;
    assigned = (answer.assignment?.topicPartitions.length ?? 0) > 0;
  }
  return epoch;
}

/** A group of one over a new topic, read from its beginning. */
export async function shared(
  side: Side,
  name: string,
  { partitions = 1, configs = {} as Readonly<Record<string, string>> } = {},
): Promise<Reader> {
  await coordinator(side, name);
  const topicId = await createTopic(side, name, partitions);
  await groupConfigs(side, name, { 'share.auto.offset.reset': 'earliest', ...configs });
  await join(side, name, name);
  return new Reader(side, name, topicId);
}

/** A member with a share session; counts epochs as a client does. */
export class Reader {
  readonly side: Side;
  readonly group: string;
  readonly topicId: string;
  readonly member: string;
  readonly connection: string;
  epoch = 0;

  constructor(side: Side, group: string, topicId: string, member: string = anna, connection = 'main') {
    this.side = side;
    this.group = group;
    this.topicId = topicId;
    this.member = member;
    this.connection = connection;
  }

  topics(batches: readonly Batch[] = [], partitionIndex = 0, topicId = this.topicId) {
    return [{ topicId, partitions: [{ partitionIndex, acknowledgementBatches: batches }] }];
  }

  /** Asks for records; with `batches` the fetch acknowledges them. */
  async fetch(label: string, more: ShareFetchRequestInput = {}, batches: readonly Batch[] = [], version = 2) {
    const answer = await this.side.ask(
      label,
      ShareFetchCodec,
      version,
      {
        groupId: this.group,
        memberId: this.member,
        shareSessionEpoch: this.epoch,
        maxWaitMs: 3_000,
        minBytes: 1,
        maxBytes: 1 << 20,
        maxRecords: 500,
        batchSize: 500,
        topics: this.epoch === 0 || batches.length > 0 ? this.topics(batches) : [],
        ...more,
      },
      this.connection,
    );
    if (answer?.errorCode === 0) this.epoch++;
    return answer;
  }

  /** Asks for what should not be there. */
  nothing(label: string, more: ShareFetchRequestInput = {}, batches: readonly Batch[] = []) {
    return this.fetch(label, { maxWaitMs: 300, ...more }, batches);
  }

  async acknowledge(
    label: string,
    batches: readonly Batch[],
    more: ShareAcknowledgeRequestInput = {},
    version = 2,
  ) {
    const answer = await this.side.ask(
      label,
      ShareAcknowledgeCodec,
      version,
      {
        groupId: this.group,
        memberId: this.member,
        shareSessionEpoch: this.epoch,
        topics: this.topics(batches),
        ...more,
      },
      this.connection,
    );
    if (answer?.errorCode === 0) this.epoch++;
    return answer;
  }

  /** What the coordinator has of the topic's first partition. */
  offsets(label: string, partitions: readonly number[] = [0]) {
    return this.side.ask(label, DescribeShareGroupOffsetsCodec, 1, {
      groups: [{ groupId: this.group, topics: [{ topicName: this.group, partitions }] }],
    });
  }
}

export const of = (firstOffset: number, lastOffset: number, ...acknowledgeTypes: number[]): Batch => ({
  firstOffset,
  lastOffset,
  acknowledgeTypes,
});
