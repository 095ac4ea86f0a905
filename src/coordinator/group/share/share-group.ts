/**
 * One share group: what its records amount to, and the times of its members. Owned by the shard that leads the group's
 * `__consumer_offsets` partition; changed by replay only, but for times and callers.
 */
import type { Timer } from '../../../ports/clock.ts';
import type { ShareGroupMemberMetadataValue } from '../../../protocol/generated/coordinator/share-group-member-metadata.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import type { ShareTopic, TopicParts } from './share-group-api.ts';
import {
  currentRecord,
  groupRecord,
  memberRecord,
  type ShareGroupRecord,
  statePartitionsRecord,
  targetEpochRecord,
  targetRecord,
} from './share-group-records.ts';

export const shareGroupStates = { empty: 'Empty', stable: 'Stable', dead: 'Dead' } as const;

export class ShareMember {
  readonly id: string;
  metadata: ShareGroupMemberMetadataValue;
  /** Its record has been replayed: those of its assignment may come before it. */
  known: boolean;
  epoch = 0;
  previousEpoch = 0;
  assigned: readonly TopicParts[] = [];
  target: readonly TopicParts[] = [];
  session: Timer | null = null;

  constructor(id: string, metadata: ShareGroupMemberMetadataValue | null) {
    this.id = id;
    this.known = metadata !== null;
    this.metadata = metadata ?? noMetadata;
  }
}

const noMetadata: ShareGroupMemberMetadataValue = {
  rackId: null,
  clientId: '',
  clientHost: '',
  subscribedTopicNames: [],
};

export class ShareGroup {
  readonly id: string;
  epoch = 0;
  metadataHash = 0;
  assignmentEpoch = -1;
  assignmentTimestamp = 0;
  readonly members = new Map<string, ShareMember>();
  /** Share partitions that the share coordinator knows, by topic id. */
  topics: ReadonlyMap<string, ShareTopic> = new Map();
  /** Its epoch has a record. */
  stored = false;
  /** Share partitions are being initialised; the target waits for them. */
  initializing = false;
  retry: Timer | null = null;
  assignTimer: Timer | null = null;
  /** Monotonic time of the newest target of this life. */
  assignedAt = Number.NEGATIVE_INFINITY;
  /** Joins that wait for the target of the epoch in force. */
  waiting: (() => void)[] = [];
  /** An administrative change is under way: no member may join. */
  locked = false;

  constructor(id: string) {
    this.id = id;
  }

  get state(): string {
    return this.members.size === 0 ? shareGroupStates.empty : shareGroupStates.stable;
  }

  apply(record: ShareGroupRecord): void {
    switch (record.type) {
      case 10:
        if (record.value === null) this.#removeMember(record.memberId);
        else this.#putMember(record.memberId, record.value);
        return;
      case 11:
        this.stored = record.value !== null;
        this.epoch = record.value?.epoch ?? 0;
        this.metadataHash = record.value?.metadataHash ?? 0;
        return;
      case 12:
        this.assignmentEpoch = record.value?.assignmentEpoch ?? -1;
        this.assignmentTimestamp = record.value?.assignmentTimestamp ?? 0;
        return;
      case 13: {
        const member = this.#memberOf(record.memberId, record.value !== null);
        if (member !== undefined) member.target = record.value?.topicPartitions ?? [];
        return;
      }
      case 14: {
        const member = this.#memberOf(record.memberId, record.value !== null);
        if (member === undefined) return;
        member.epoch = record.value?.memberEpoch ?? 0;
        member.previousEpoch = record.value?.previousMemberEpoch ?? 0;
        member.assigned = record.value?.assignedPartitions ?? [];
        return;
      }
      case 15:
        this.topics = new Map(
          (record.value?.initializedTopics ?? []).map(({ topicId, topicName, partitions }) => [
            topicId,
            { topicId, name: topicName, partitions },
          ]),
        );
    }
  }

  #putMember(id: string, metadata: ShareGroupMemberMetadataValue): void {
    const known = this.members.get(id);
    if (known === undefined) this.members.set(id, new ShareMember(id, metadata));
    else {
      known.metadata = metadata;
      known.known = true;
    }
  }

  #memberOf(id: string, make: boolean): ShareMember | undefined {
    const known = this.members.get(id);
    if (known !== undefined || !make) return known;
    const member = new ShareMember(id, null);
    this.members.set(id, member);
    return member;
  }

  /** Loaded: what is left of members without a record of their own is none. */
  dropUnknown(): void {
    for (const member of this.members.values()) if (!member.known) this.members.delete(member.id);
  }

  #removeMember(id: string): void {
    this.members.get(id)?.session?.cancel();
    this.members.delete(id);
  }

  *liveRecords(): Generator<CoordinatorRecord, void, undefined> {
    const { id } = this;
    if (this.stored) yield groupRecord(id, { epoch: this.epoch, metadataHash: this.metadataHash });
    if (this.topics.size > 0) yield statePartitionsRecord(id, this.topicsValue([...this.topics.values()]));
    if (this.assignmentEpoch >= 0) {
      const { assignmentEpoch, assignmentTimestamp } = this;
      yield targetEpochRecord(id, { assignmentEpoch, assignmentTimestamp });
    }
    for (const member of this.members.values()) {
      yield memberRecord(id, member.id, member.metadata);
      if (member.target.length > 0)
        yield targetRecord(id, member.id, { topicPartitions: mutable(member.target) });
      if (member.epoch > 0) yield this.currentRecordOf(member, member.epoch, member.assigned);
    }
  }

  currentRecordOf(
    member: ShareMember,
    memberEpoch: number,
    assigned: readonly TopicParts[],
  ): CoordinatorRecord {
    return currentRecord(this.id, member.id, {
      memberEpoch,
      previousMemberEpoch: memberEpoch === member.epoch ? member.previousEpoch : member.epoch,
      state: 0,
      assignedPartitions: mutable(assigned),
    });
  }

  topicsValue(topics: readonly ShareTopic[]) {
    return {
      initializingTopics: [],
      initializedTopics: topics.map(({ topicId, name, partitions }) => ({
        topicId,
        topicName: name,
        partitions: [...partitions],
      })),
      deletingTopics: [],
    };
  }

  /** Topics that members subscribe to, with the subscribers, both ascending. */
  subscribed(): Map<string, string[]> {
    const topics = new Map<string, string[]>();
    for (const id of [...this.members.keys()].sort()) {
      for (const name of this.members.get(id)!.metadata.subscribedTopicNames) {
        const subscribers = topics.get(name);
        if (subscribers === undefined) topics.set(name, [id]);
        else if (!subscribers.includes(id)) subscribers.push(id);
      }
    }
    return new Map([...topics].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  stopTimers(): void {
    this.retry?.cancel();
    this.assignTimer?.cancel();
    for (const member of this.members.values()) member.session?.cancel();
  }
}

export function mutable(parts: readonly TopicParts[]): { topicId: string; partitions: number[] }[] {
  return parts.map(({ topicId, partitions }) => ({ topicId, partitions: [...partitions] }));
}

export function sameParts(a: readonly TopicParts[], b: readonly TopicParts[]): boolean {
  const text = (parts: readonly TopicParts[]): string =>
    parts
      .map(({ topicId, partitions }) => `${topicId}:${partitions.join(',')}`)
      .sort()
      .join(' ');
  return text(a) === text(b);
}
