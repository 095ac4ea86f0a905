/**
 * Groups that change between the classic and the consumer protocol while their members live (KIP-848, online migration):
 *
 *     classic, consumers   ── a consumer-protocol member joins ──►   consumer group with classic members in it
 *     consumer group       ── its last consumer-protocol member goes, classic ones are left ──►   classic group
 *
 * Either way all is one batch: what the group was is deleted, what it is now is written, and generation and epoch go on as
 * one number. `group.consumer.migration.policy` says which way is allowed. A group without members changes freely.
 */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import { consumerProtocolType } from '../consumer-subscription.ts';
import { Group, type Member, metadataOf, newMember } from '../group.ts';
import { groupKey, groupValue } from '../group-records.ts';
import type { TopicNames } from '../group-services.ts';
import type { MigrationPolicy } from '../group-settings.ts';
import { assignmentOf, noAssignment, type OwnedPartitions } from './assignment.ts';
import { classicAssignmentBytes, readClassicAssignment, readClassicSubscription } from './classic-bytes.ts';
import type { ConsumerGroup } from './consumer-group.ts';
import {
  groupRecord,
  groupTombstones,
  memberRecord,
  progressRecord,
  targetEpochRecord,
  targetRecord,
} from './consumer-records.ts';
import { progressStates } from './reconcile.ts';

export interface Refusal {
  readonly errorCode: number;
  readonly errorMessage: string | null;
}

export function mayUpgrade(policy: MigrationPolicy): boolean {
  return policy === 'bidirectional' || policy === 'upgrade';
}

export function mayDowngrade(policy: MigrationPolicy): boolean {
  return policy === 'bidirectional' || policy === 'downgrade';
}

/** Deletes the classic record, if the log has one or is about to. */
export function classicTombstones(group: Group): CoordinatorRecord[] {
  const written = group.storedValue !== null || group.pendingStores > 0;
  return written ? [{ key: groupKey(group.id), value: null }] : [];
}

/** The records that make a classic group with members one of the consumer protocol, or why it stays what it is. */
export function upgradeRecords(
  group: Group,
  policy: MigrationPolicy,
  membersMax: number,
  topics: TopicNames,
): readonly CoordinatorRecord[] | Refusal {
  const { id, generation } = group;
  if (!mayUpgrade(policy)) return stays(id, 'online migration to the consumer protocol is off');
  if (group.protocolType !== consumerProtocolType) return stays(id, 'its members are no consumers');
  if (group.members.size > membersMax) return stays(id, 'it has too many members');
  const protocol = group.protocolName ?? group.selectProtocol();
  const records = [...classicTombstones(group), groupRecord(id, { epoch: generation, metadataHash: 0 })];
  for (const member of group.members.values()) {
    const subscription = readClassicSubscription(metadataOf(member.protocols, protocol), topics);
    const assigned = readClassicAssignment(member.assignment, topics);
    if (subscription === null || assigned === null)
      return stays(id, `what member ${member.id} told is malformed`);
    const target = assignmentOf(assigned);
    records.push(
      memberRecord(id, member.id, {
        instanceId: member.instanceId,
        rackId: subscription.rackId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        topics: subscription.topics,
        regex: null,
        rebalanceTimeoutMs: member.rebalanceTimeoutMs,
        assignor: null,
        classic: { sessionTimeoutMs: member.sessionTimeoutMs, protocols: member.protocols },
      }),
      targetRecord(id, member.id, target.size === 0 ? noAssignment : target),
      progressRecord(id, member.id, {
        epoch: generation,
        previousEpoch: generation,
        state: progressStates.stable,
        assigned: heldSince(target, generation),
        revoking: new Map(),
      }),
    );
  }
  records.push(targetEpochRecord(id, { assignmentEpoch: generation, assignmentTimestamp: 0 }));
  return records;
}

function heldSince(assignment: ReadonlyMap<string, readonly number[]>, epoch: number): OwnedPartitions {
  return new Map(
    [...assignment].map(([topicId, partitions]) => [
      topicId,
      new Map(partitions.map((partition) => [partition, epoch])),
    ]),
  );
}

function stays(groupId: string, reason: string): Refusal {
  return {
    errorCode: ErrorCode.GROUP_ID_NOT_FOUND,
    errorMessage: `Group ${groupId} is a classic group, and stays one: ${reason}.`,
  };
}

export interface Downgrade {
  readonly records: readonly CoordinatorRecord[];
  /** The classic group, to take the members' protocols from: a record holds only the chosen one. */
  readonly classic: Group;
}

/** The same way back, without one member; all others speak the classic protocol. */
export function downgradeOf(
  group: ConsumerGroup,
  leavingId: string,
  topics: TopicNames,
  now: number,
): Downgrade {
  const classic = new Group(group.id, now);
  classic.protocolType = consumerProtocolType;
  classic.generation = Math.max(group.epoch, 0);
  for (const { id, subscription, progress } of group.members.values()) {
    if (id === leavingId || subscription?.classic == null) continue;
    classic.add(
      newMember(
        id,
        subscription.instanceId,
        subscription.clientId,
        subscription.clientHost,
        subscription.classic.sessionTimeoutMs,
        subscription.rebalanceTimeoutMs,
        subscription.classic.protocols,
        classicAssignmentBytes(progress.assigned, topics),
      ),
    );
  }
  classic.protocolName = classic.selectProtocol();
  const value = groupValue(classic, null);
  return { records: [...groupTombstones(group), { key: groupKey(group.id), value }], classic };
}

/** All protocols of each member, where a restored group knows only the chosen one. */
export function adoptProtocols(group: Group, from: Group): void {
  for (const { id, protocols } of from.members.values()) {
    const member: Member | undefined = group.members.get(id);
    if (member !== undefined) group.setProtocols(member, protocols);
  }
}
