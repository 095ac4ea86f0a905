/**
 * Records of `__consumer_offsets` that streams groups write and read, types 17 and 19 to 23, as Kafka writes them. Type 18
 * (topic metadata, before Kafka 4.1) is never written, and read as nothing.
 *
 *     17  group: epoch, hash of its topics, validated topology    21  member: target
 *     19  member: what it told of itself                          22  member: progress towards the target
 *     20  epoch of the targets                                    23  topology
 *
 * Owned by the coordinator's shard.
 */
import {
  StreamsGroupCurrentMemberAssignmentKeyCodec,
  StreamsGroupCurrentMemberAssignmentValueCodec,
} from '../../../protocol/generated/coordinator/streams-group-current-member-assignment.ts';
import {
  StreamsGroupMemberMetadataKeyCodec,
  StreamsGroupMemberMetadataValueCodec,
} from '../../../protocol/generated/coordinator/streams-group-member-metadata.ts';
import {
  StreamsGroupMetadataKeyCodec,
  StreamsGroupMetadataValueCodec,
} from '../../../protocol/generated/coordinator/streams-group-metadata.ts';
import {
  StreamsGroupTargetAssignmentMemberKeyCodec,
  StreamsGroupTargetAssignmentMemberValueCodec,
} from '../../../protocol/generated/coordinator/streams-group-target-assignment-member.ts';
import {
  StreamsGroupTargetAssignmentMetadataKeyCodec,
  StreamsGroupTargetAssignmentMetadataValueCodec,
} from '../../../protocol/generated/coordinator/streams-group-target-assignment-metadata.ts';
import {
  StreamsGroupTopologyKeyCodec,
  StreamsGroupTopologyValueCodec,
} from '../../../protocol/generated/coordinator/streams-group-topology.ts';
import { Reader } from '../../../protocol/reader.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import { readRecordValue, recordOf } from '../../runtime/record-bytes.ts';
import type { StreamsGroup, StreamsGroupState, StreamsMetadata } from './streams-group.ts';
import type { TaskProgress } from './task-reconcile.ts';
import { type TaskEpochs, type Tasks, taskLists, taskSetOf } from './tasks.ts';
import type { Topology } from './topology.ts';

/** Record types, the first two bytes of a key. */
export const streamsRecordTypes = {
  group: 17,
  partitionMetadata: 18,
  member: 19,
  targetEpoch: 20,
  target: 21,
  progress: 22,
  topology: 23,
} as const;

// ── Writing; null as value deletes ────────────────────────────────────────────────────────────────────────────────

export function groupRecord(groupId: string, state: StreamsGroupState | null): CoordinatorRecord {
  return recordOf(
    StreamsGroupMetadataKeyCodec,
    { groupId },
    StreamsGroupMetadataValueCodec,
    state === null
      ? null
      : {
          epoch: state.epoch,
          metadataHash: state.metadataHash,
          validatedTopologyEpoch: state.validatedTopologyEpoch,
          lastAssignmentConfigs: [...state.assignmentConfigs]
            .map(([key, value]) => ({ key, value }))
            .sort((a, b) => (a.key < b.key ? -1 : 1)),
          storedDescriptionTopologyEpoch: state.storedDescriptionEpoch,
          failedDescriptionTopologyEpoch: state.failedDescriptionEpoch,
        },
  );
}

export function topologyRecord(groupId: string, topology: Topology | null): CoordinatorRecord {
  return recordOf(StreamsGroupTopologyKeyCodec, { groupId }, StreamsGroupTopologyValueCodec, topology);
}

export function memberRecord(
  groupId: string,
  memberId: string,
  metadata: StreamsMetadata | null,
): CoordinatorRecord {
  return recordOf(
    StreamsGroupMemberMetadataKeyCodec,
    { groupId, memberId },
    StreamsGroupMemberMetadataValueCodec,
    metadata === null
      ? null
      : {
          ...metadata,
          userEndpoint: metadata.endpoint,
          clientTags: [...metadata.clientTags]
            .map(([key, value]) => ({ key, value }))
            .sort((a, b) => (a.key < b.key ? -1 : 1)),
        },
  );
}

export function targetEpochRecord(
  groupId: string,
  value: { readonly assignmentEpoch: number; readonly assignmentTimestamp: number } | null,
): CoordinatorRecord {
  return recordOf(
    StreamsGroupTargetAssignmentMetadataKeyCodec,
    { groupId },
    StreamsGroupTargetAssignmentMetadataValueCodec,
    value,
  );
}

export function targetRecord(groupId: string, memberId: string, target: Tasks | null): CoordinatorRecord {
  return recordOf(
    StreamsGroupTargetAssignmentMemberKeyCodec,
    { groupId, memberId },
    StreamsGroupTargetAssignmentMemberValueCodec,
    target === null
      ? null
      : {
          activeTasks: taskLists(target.active),
          standbyTasks: taskLists(target.standby),
          warmupTasks: taskLists(target.warmup),
        },
  );
}

export function progressRecord(
  groupId: string,
  memberId: string,
  progress: TaskProgress | null,
): CoordinatorRecord {
  return recordOf(
    StreamsGroupCurrentMemberAssignmentKeyCodec,
    { groupId, memberId },
    StreamsGroupCurrentMemberAssignmentValueCodec,
    progress === null
      ? null
      : {
          memberEpoch: progress.epoch,
          previousMemberEpoch: progress.previousEpoch,
          state: progress.state,
          activeTasks: epochLists(progress.assigned.active, true),
          standbyTasks: epochLists(progress.assigned.standby, false),
          warmupTasks: epochLists(progress.assigned.warmup, false),
          activeTasksPendingRevocation: epochLists(progress.revoking.active, true),
          standbyTasksPendingRevocation: epochLists(progress.revoking.standby, false),
          warmupTasksPendingRevocation: epochLists(progress.revoking.warmup, false),
        },
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
export function groupTombstones(group: StreamsGroup): CoordinatorRecord[] {
  const records: CoordinatorRecord[] = [];
  for (const id of group.members.keys()) records.push(...memberTombstones(group.id, id));
  records.push(
    targetEpochRecord(group.id, null),
    topologyRecord(group.id, null),
    // The group goes with this one, so it is the last.
    groupRecord(group.id, null),
  );
  return records;
}

/** The records that a group is made of. */
export function* recordsOf(group: StreamsGroup): Generator<CoordinatorRecord, void, undefined> {
  const { id } = group;
  if (group.stored === null) return;
  yield groupRecord(id, group.stored);
  if (group.topology !== null) yield topologyRecord(id, group.topology);
  for (const member of group.members.values()) {
    if (member.metadata === null) continue;
    yield memberRecord(id, member.id, member.metadata);
    yield progressRecord(id, member.id, member.progress);
  }
  for (const [memberId, target] of group.targets) yield targetRecord(id, memberId, target);
  yield targetEpochRecord(id, group);
}

function epochLists(held: TaskEpochs, withEpochs: boolean) {
  return [...held]
    .map(([subtopologyId, epochs]) => {
      const partitions = [...epochs.keys()].sort((a, b) => a - b);
      const assignmentEpochs = withEpochs ? partitions.map((partition) => epochs.get(partition)!) : null;
      return { subtopologyId, partitions, assignmentEpochs };
    })
    .sort((a, b) => (a.subtopologyId < b.subtopologyId ? -1 : 1));
}

// ── Reading ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** A key of one of these records. */
export interface StreamsRecordKey {
  readonly type: number;
  readonly group: string;
  /** '' where the record is the group's. */
  readonly memberId: string;
}

/** null: the type is none of these. */
export function readStreamsKey(key: Buffer): StreamsRecordKey | null {
  const reader = new Reader(key);
  const type = reader.i16();
  switch (type) {
    case streamsRecordTypes.group:
    case streamsRecordTypes.partitionMetadata:
    case streamsRecordTypes.targetEpoch:
    case streamsRecordTypes.topology:
      return { type, group: StreamsGroupMetadataKeyCodec.decode(reader, 0).groupId, memberId: '' };
    case streamsRecordTypes.member:
    case streamsRecordTypes.target:
    case streamsRecordTypes.progress: {
      const { groupId, memberId } = StreamsGroupMemberMetadataKeyCodec.decode(reader, 0);
      return { type, group: groupId, memberId };
    }
    default:
      return null;
  }
}

/** Puts one record into its group; what is malformed throws a ProtocolDecodeError before anything has changed. */
export function replayStreamsRecord(
  group: StreamsGroup,
  { type, memberId }: StreamsRecordKey,
  value: Buffer | null,
): void {
  switch (type) {
    case streamsRecordTypes.group:
      group.stored = value === null ? null : readState(value);
      return;
    case streamsRecordTypes.topology:
      group.topology = value === null ? null : readRecordValue(StreamsGroupTopologyValueCodec, value);
      group.configured = null;
      return;
    case streamsRecordTypes.member:
      group.described(memberId, value === null ? null : readMetadata(value));
      return;
    case streamsRecordTypes.targetEpoch: {
      const stored =
        value === null
          ? { assignmentEpoch: 1, assignmentTimestamp: 0 }
          : readRecordValue(StreamsGroupTargetAssignmentMetadataValueCodec, value);
      group.assignmentEpoch = stored.assignmentEpoch;
      group.assignmentTimestamp = stored.assignmentTimestamp;
      return;
    }
    case streamsRecordTypes.target:
      if (value === null) group.targets.delete(memberId);
      else {
        const stored = readRecordValue(StreamsGroupTargetAssignmentMemberValueCodec, value);
        group.targets.set(memberId, {
          active: taskSetOf(stored.activeTasks),
          standby: taskSetOf(stored.standbyTasks),
          warmup: taskSetOf(stored.warmupTasks),
        });
      }
      return;
    case streamsRecordTypes.progress:
      group.progressed(memberId, value === null ? null : readProgress(value));
      return;
    default:
  }
}

function readState(value: Buffer): StreamsGroupState {
  const stored = readRecordValue(StreamsGroupMetadataValueCodec, value);
  return {
    epoch: stored.epoch,
    metadataHash: stored.metadataHash,
    validatedTopologyEpoch: stored.validatedTopologyEpoch,
    assignmentConfigs: new Map((stored.lastAssignmentConfigs ?? []).map(({ key, value }) => [key, value])),
    storedDescriptionEpoch: stored.storedDescriptionTopologyEpoch,
    failedDescriptionEpoch: stored.failedDescriptionTopologyEpoch,
  };
}

function readMetadata(value: Buffer): StreamsMetadata {
  const { userEndpoint, clientTags, ...stored } = readRecordValue(
    StreamsGroupMemberMetadataValueCodec,
    value,
  );
  return {
    ...stored,
    endpoint: userEndpoint === null ? null : { host: userEndpoint.host, port: userEndpoint.port },
    clientTags: new Map(clientTags.map(({ key, value }) => [key, value])),
  };
}

function readProgress(value: Buffer): TaskProgress {
  const stored = readRecordValue(StreamsGroupCurrentMemberAssignmentValueCodec, value);
  const { memberEpoch } = stored;
  return {
    epoch: memberEpoch,
    previousEpoch: stored.previousMemberEpoch,
    state: stored.state,
    assigned: {
      active: epochsOf(stored.activeTasks, memberEpoch),
      standby: epochsOf(stored.standbyTasks, 0),
      warmup: epochsOf(stored.warmupTasks, 0),
    },
    revoking: {
      active: epochsOf(stored.activeTasksPendingRevocation, memberEpoch),
      standby: epochsOf(stored.standbyTasksPendingRevocation, 0),
      warmup: epochsOf(stored.warmupTasksPendingRevocation, 0),
    },
  };
}

function epochsOf(
  lists: readonly {
    readonly subtopologyId: string;
    readonly partitions: readonly number[];
    readonly assignmentEpochs: readonly number[] | null;
  }[],
  epoch: number,
): TaskEpochs {
  const held = new Map<string, Map<number, number>>();
  for (const { subtopologyId, partitions, assignmentEpochs } of lists) {
    const epochs = new Map<number, number>();
    for (const [i, partition] of partitions.entries()) epochs.set(partition, assignmentEpochs?.[i] ?? epoch);
    if (epochs.size > 0) held.set(subtopologyId, epochs);
  }
  return held;
}
