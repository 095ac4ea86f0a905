/**
 * Records of `__consumer_offsets` that groups of the consumer protocol write and read, types 3 to 8 and 16; layouts come
 * from the generated codecs. Type 4 (topic metadata, before Kafka 4.1) is never written, and read as nothing.
 *
 *      3  group: epoch, hash of its topics      6  epoch of the targets
 *      5  member: what it told of itself        7  member: target
 *     16  regex: topics that it stands for      8  member: progress towards the target
 *
 * Owned by the coordinator's shard.
 */
import {
  ConsumerGroupCurrentMemberAssignmentKeyCodec,
  ConsumerGroupCurrentMemberAssignmentValueCodec,
} from '../../../protocol/generated/coordinator/consumer-group-current-member-assignment.ts';
import {
  ConsumerGroupMemberMetadataKeyCodec,
  ConsumerGroupMemberMetadataValueCodec,
} from '../../../protocol/generated/coordinator/consumer-group-member-metadata.ts';
import {
  ConsumerGroupMetadataKeyCodec,
  ConsumerGroupMetadataValueCodec,
} from '../../../protocol/generated/coordinator/consumer-group-metadata.ts';
import {
  ConsumerGroupRegularExpressionKeyCodec,
  ConsumerGroupRegularExpressionValueCodec,
} from '../../../protocol/generated/coordinator/consumer-group-regular-expression.ts';
import {
  ConsumerGroupTargetAssignmentMemberKeyCodec,
  ConsumerGroupTargetAssignmentMemberValueCodec,
} from '../../../protocol/generated/coordinator/consumer-group-target-assignment-member.ts';
import {
  ConsumerGroupTargetAssignmentMetadataKeyCodec,
  ConsumerGroupTargetAssignmentMetadataValueCodec,
} from '../../../protocol/generated/coordinator/consumer-group-target-assignment-metadata.ts';
import { Reader } from '../../../protocol/reader.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import { readRecordValue, recordOf } from '../../runtime/record-bytes.ts';
import { type Assignment, assignmentLists, assignmentOf, type OwnedPartitions } from './assignment.ts';
import type { ConsumerGroup, ResolvedRegex, Subscription } from './consumer-group.ts';
import type { Progress } from './reconcile.ts';

/** Record types, the first two bytes of a key. */
export const consumerRecordTypes = {
  group: 3,
  partitionMetadata: 4,
  member: 5,
  targetEpoch: 6,
  target: 7,
  progress: 8,
  regex: 16,
} as const;

// ── Writing; null as value deletes ────────────────────────────────────────────────────────────────────────────────

export function groupRecord(
  groupId: string,
  value: { readonly epoch: number; readonly metadataHash: number } | null,
): CoordinatorRecord {
  return recordOf(ConsumerGroupMetadataKeyCodec, { groupId }, ConsumerGroupMetadataValueCodec, value);
}

export function memberRecord(
  groupId: string,
  memberId: string,
  subscription: Subscription | null,
): CoordinatorRecord {
  return recordOf(
    ConsumerGroupMemberMetadataKeyCodec,
    { groupId, memberId },
    ConsumerGroupMemberMetadataValueCodec,
    subscription === null
      ? null
      : {
          instanceId: subscription.instanceId,
          rackId: subscription.rackId,
          clientId: subscription.clientId,
          clientHost: subscription.clientHost,
          subscribedTopicNames: subscription.topics,
          subscribedTopicRegex: subscription.regex,
          rebalanceTimeoutMs: subscription.rebalanceTimeoutMs,
          serverAssignor: subscription.assignor,
          classicMemberMetadata:
            subscription.classic === null
              ? null
              : {
                  sessionTimeoutMs: subscription.classic.sessionTimeoutMs,
                  supportedProtocols: subscription.classic.protocols,
                },
        },
  );
}

export function targetEpochRecord(
  groupId: string,
  value: { readonly assignmentEpoch: number; readonly assignmentTimestamp: number } | null,
): CoordinatorRecord {
  return recordOf(
    ConsumerGroupTargetAssignmentMetadataKeyCodec,
    { groupId },
    ConsumerGroupTargetAssignmentMetadataValueCodec,
    value,
  );
}

export function targetRecord(
  groupId: string,
  memberId: string,
  target: Assignment | null,
): CoordinatorRecord {
  return recordOf(
    ConsumerGroupTargetAssignmentMemberKeyCodec,
    { groupId, memberId },
    ConsumerGroupTargetAssignmentMemberValueCodec,
    target === null ? null : { topicPartitions: assignmentLists(target) },
  );
}

export function progressRecord(
  groupId: string,
  memberId: string,
  progress: Progress | null,
): CoordinatorRecord {
  return recordOf(
    ConsumerGroupCurrentMemberAssignmentKeyCodec,
    { groupId, memberId },
    ConsumerGroupCurrentMemberAssignmentValueCodec,
    progress === null
      ? null
      : {
          memberEpoch: progress.epoch,
          previousMemberEpoch: progress.previousEpoch,
          state: progress.state,
          assignedPartitions: ownedToList(progress.assigned),
          partitionsPendingRevocation: ownedToList(progress.revoking),
        },
  );
}

export function regexRecord(
  groupId: string,
  regularExpression: string,
  resolved: ResolvedRegex | null,
): CoordinatorRecord {
  return recordOf(
    ConsumerGroupRegularExpressionKeyCodec,
    { groupId, regularExpression },
    ConsumerGroupRegularExpressionValueCodec,
    resolved,
  );
}

/** Everything of a member, deleted. */
export function memberTombstones(groupId: string, memberId: string): CoordinatorRecord[] {
  return [
    progressRecord(groupId, memberId, null),
    targetRecord(groupId, memberId, null),
    memberRecord(groupId, memberId, null),
  ];
}

/** Everything of a group, deleted. */
export function groupTombstones(group: ConsumerGroup): CoordinatorRecord[] {
  const records: CoordinatorRecord[] = [];
  for (const id of group.members.keys()) records.push(...memberTombstones(group.id, id));
  for (const regex of group.regexes.keys()) records.push(regexRecord(group.id, regex, null));
  records.push(targetEpochRecord(group.id, null), groupRecord(group.id, null));
  return records;
}

/** The records that a group is made of. */
export function* recordsOf(group: ConsumerGroup): Generator<CoordinatorRecord, void, undefined> {
  const { id } = group;
  if (group.epoch < 0) return;
  yield groupRecord(id, group);
  for (const [regex, resolved] of group.regexes) yield regexRecord(id, regex, resolved);
  for (const member of group.members.values()) {
    if (member.subscription === null) continue;
    yield memberRecord(id, member.id, member.subscription);
    yield progressRecord(id, member.id, member.progress);
  }
  for (const [memberId, target] of group.targets) yield targetRecord(id, memberId, target);
  yield targetEpochRecord(id, group);
}

function ownedToList(owned: OwnedPartitions) {
  return [...owned].map(([topicId, epochs]) => {
    const partitions = [...epochs.keys()].sort((a, b) => a - b);
    return { topicId, partitions, assignmentEpochs: partitions.map((partition) => epochs.get(partition)!) };
  });
}

// ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** A key of one of these records. */
export interface ConsumerRecordKey {
  readonly type: number;
  readonly group: string;
  /** Member id, or regex; '' where the record is the group's. */
  readonly name: string;
}

/** null: the type is none of these. */
export function readConsumerKey(key: Buffer): ConsumerRecordKey | null {
  const reader = new Reader(key);
  const type = reader.i16();
  switch (type) {
    case consumerRecordTypes.group:
    case consumerRecordTypes.partitionMetadata:
    case consumerRecordTypes.targetEpoch:
      return { type, group: ConsumerGroupMetadataKeyCodec.decode(reader, 0).groupId, name: '' };
    case consumerRecordTypes.member:
    case consumerRecordTypes.target:
    case consumerRecordTypes.progress: {
      const { groupId, memberId } = ConsumerGroupMemberMetadataKeyCodec.decode(reader, 0);
      return { type, group: groupId, name: memberId };
    }
    case consumerRecordTypes.regex: {
      const { groupId, regularExpression } = ConsumerGroupRegularExpressionKeyCodec.decode(reader, 0);
      return { type, group: groupId, name: regularExpression };
    }
    default:
      return null;
  }
}

/** Puts one record into its group; what is malformed throws a ProtocolDecodeError before anything has changed. */
export function replayConsumerRecord(
  group: ConsumerGroup,
  { type, name }: ConsumerRecordKey,
  value: Buffer | null,
): void {
  switch (type) {
    case consumerRecordTypes.group: {
      if (value === null) return;
      const { epoch, metadataHash } = readRecordValue(ConsumerGroupMetadataValueCodec, value);
      group.epoch = epoch;
      group.metadataHash = metadataHash;
      return;
    }
    case consumerRecordTypes.member:
      group.subscribe(name, value === null ? null : readSubscription(value));
      return;
    case consumerRecordTypes.targetEpoch: {
      const stored =
        value === null
          ? { assignmentEpoch: 0, assignmentTimestamp: 0 }
          : readRecordValue(ConsumerGroupTargetAssignmentMetadataValueCodec, value);
      group.assignmentEpoch = stored.assignmentEpoch;
      group.assignmentTimestamp = stored.assignmentTimestamp;
      return;
    }
    case consumerRecordTypes.target: {
      if (value === null) group.targets.delete(name);
      else {
        const { topicPartitions } = readRecordValue(ConsumerGroupTargetAssignmentMemberValueCodec, value);
        group.targets.set(name, assignmentOf(topicPartitions));
      }
      return;
    }
    case consumerRecordTypes.progress:
      group.progressed(name, value === null ? null : readProgress(value));
      return;
    case consumerRecordTypes.regex:
      group.resolved(
        name,
        value === null ? null : readRecordValue(ConsumerGroupRegularExpressionValueCodec, value),
      );
      return;
    default:
  }
}

function readSubscription(value: Buffer): Subscription {
  const stored = readRecordValue(ConsumerGroupMemberMetadataValueCodec, value);
  const { classicMemberMetadata: classic } = stored;
  return {
    instanceId: stored.instanceId,
    rackId: stored.rackId,
    clientId: stored.clientId,
    clientHost: stored.clientHost,
    topics: [...stored.subscribedTopicNames].sort(),
    regex: stored.subscribedTopicRegex === '' ? null : stored.subscribedTopicRegex,
    rebalanceTimeoutMs: stored.rebalanceTimeoutMs,
    assignor: stored.serverAssignor,
    classic:
      // Absent, as before Kafka 3.8, reads as one without protocols.
      classic === null || classic.supportedProtocols.length === 0
        ? null
        : {
            sessionTimeoutMs: classic.sessionTimeoutMs,
            protocols: classic.supportedProtocols.map(({ name, metadata }) => ({
              name,
              metadata: Buffer.from(metadata),
            })),
          },
  };
}

function readProgress(value: Buffer): Progress {
  const stored = readRecordValue(ConsumerGroupCurrentMemberAssignmentValueCodec, value);
  return {
    epoch: stored.memberEpoch,
    previousEpoch: stored.previousMemberEpoch,
    state: stored.state,
    assigned: ownedOf(stored.assignedPartitions, stored.memberEpoch),
    revoking: ownedOf(stored.partitionsPendingRevocation, stored.memberEpoch),
  };
}

function ownedOf(
  lists: readonly {
    readonly topicId: string;
    readonly partitions: readonly number[];
    readonly assignmentEpochs: readonly number[] | null;
  }[],
  epoch: number,
): OwnedPartitions {
  const owned = new Map<string, Map<number, number>>();
  for (const { topicId, partitions, assignmentEpochs } of lists) {
    const epochs = new Map<number, number>();
    for (const [i, partition] of partitions.entries()) epochs.set(partition, assignmentEpochs?.[i] ?? epoch);
    if (epochs.size > 0) owned.set(topicId, epochs);
  }
  return owned;
}
