/**
 * What groups of the consumer protocol tell beside the course of heartbeats: their description, refusals of a member, and whether the offsets of a request may be
 * committed or read by its caller. Pure functions of a group.
 */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { CommitQuery, ConsumerDescribeAnswer, OffsetReader } from '../group-api.ts';
import type { TopicNames } from '../group-services.ts';
import { assignmentLists, ownedLists } from './assignment.ts';
import type { ConsumerGroup, ConsumerMember } from './consumer-group.ts';

export function describeConsumerGroup(group: ConsumerGroup): ConsumerDescribeAnswer {
  return {
    errorCode: ErrorCode.NONE,
    errorMessage: null,
    state: group.state,
    epoch: Math.max(group.epoch, 0),
    assignmentEpoch: group.assignmentEpoch,
    assignor: group.preferredAssignor(),
    members: [...group.members.values()].map(({ id, subscription, progress }) => ({
      memberId: id,
      instanceId: subscription!.instanceId,
      rackId: subscription!.rackId,
      memberEpoch: progress.epoch,
      clientId: subscription!.clientId,
      clientHost: subscription!.clientHost,
      topics: subscription!.topics,
      regex: subscription!.regex,
      assignment: ownedLists(progress.assigned),
      target: assignmentLists(group.targetOf(id)),
      classic: subscription!.classic !== null,
    })),
  };
}

export function describeError(errorCode: number, errorMessage: string | null): ConsumerDescribeAnswer {
  return {
    errorCode,
    errorMessage,
    state: '',
    epoch: 0,
    assignmentEpoch: 0,
    assignor: '',
    members: [],
  };
}

/** 0, or why the caller may not commit: a member commits at its epoch, whoever is none only while there are no members. */
export function commitProblem(group: ConsumerGroup, query: CommitQuery, topics: TopicNames): number {
  const { generation, memberId, instanceId } = query;
  if (generation < 0 && group.members.size === 0) return ErrorCode.NONE;
  const transactional = query.producer !== undefined;
  if (transactional && generation < 0 && memberId === '' && instanceId === null) return ErrorCode.NONE;
  const member = group.members.get(memberId);
  if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
  if (member.subscription!.classic !== null)
    return generation === member.progress.epoch ? ErrorCode.NONE : ErrorCode.ILLEGAL_GENERATION;
  if (query.generationOnly === true && !transactional) return ErrorCode.UNSUPPORTED_VERSION;
  if (generation === member.progress.epoch || heldThen(member, query, topics)) return ErrorCode.NONE;
  return query.staleEpochCode ?? ErrorCode.STALE_MEMBER_EPOCH;
}

/** An earlier epoch of the member is as good for partitions that it has had since (KIP-1251). */
function heldThen({ progress }: ConsumerMember, query: CommitQuery, topics: TopicNames): boolean {
  if (query.generation < 1 || query.generation > progress.epoch) return false;
  for (const { topic, topicId, partition } of query.offsets) {
    const since = progress.assigned.get(topicId ?? topics.idOf(topic) ?? '')?.get(partition);
    if (since === undefined || since > query.generation) return false;
  }
  return true;
}

/** 0, or why the caller may not read offsets; whoever claims to be no member may. */
export function readProblem(group: ConsumerGroup, { memberId, memberEpoch }: OffsetReader): number {
  if ((memberId === null || memberId === '') && memberEpoch < 0) return ErrorCode.NONE;
  const member = group.members.get(memberId ?? '');
  if (member === undefined) return ErrorCode.UNKNOWN_MEMBER_ID;
  if (memberEpoch === member.progress.epoch) return ErrorCode.NONE;
  return member.subscription!.classic === null ? ErrorCode.STALE_MEMBER_EPOCH : ErrorCode.ILLEGAL_GENERATION;
}

/** A heartbeat whose member is unknown, or whose instance id another has; streams groups say the same. */
export function memberRefusal(
  errorCode: number,
  {
    memberId,
    instanceId,
    groupId,
  }: { readonly memberId: string; readonly instanceId: string | null; readonly groupId: string },
): { readonly errorCode: number; readonly errorMessage: string } {
  const errorMessage =
    errorCode === ErrorCode.FENCED_INSTANCE_ID
      ? `Instance id ${instanceId} belongs to another member than ${memberId}.`
      : `Member ${memberId} is not a member of group ${groupId}.`;
  return { errorCode, errorMessage };
}
