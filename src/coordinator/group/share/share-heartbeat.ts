/** What is wrong with a ShareGroupHeartbeat, as Kafka words and numbers it. Pure. */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import { isBlank } from '../group-state.ts';
import type { ShareGroup } from './share-group.ts';
import type { ShareGroupSettings, ShareHeartbeatAnswer, ShareHeartbeatQuery } from './share-group-api.ts';

export function refusedHeartbeat(
  errorCode: number,
  errorMessage: string | null = null,
): ShareHeartbeatAnswer {
  return { errorCode, errorMessage, memberEpoch: 0, heartbeatIntervalMs: 0, assignment: null };
}

export function heartbeatProblem(
  query: ShareHeartbeatQuery,
  group: ShareGroup | undefined,
  { membersMax }: ShareGroupSettings,
): ShareHeartbeatAnswer | null {
  const { groupId, memberId, memberEpoch, topics, rackId } = query;
  const invalid = (text: string) => refusedHeartbeat(ErrorCode.INVALID_REQUEST, text);
  if (isBlank(memberId)) return invalid("MemberId can't be empty.");
  if (isBlank(groupId)) return invalid("GroupId can't be empty.");
  if (isBlank(rackId)) return invalid("RackId can't be empty.");
  if (memberEpoch < -1)
    return invalid(`MemberEpoch is ${memberEpoch}, but must be greater than or equal to -1.`);
  if (memberEpoch === 0) {
    if (topics === null || topics.length === 0)
      return invalid('SubscribedTopicNames must be set in first request.');
    if (group?.locked === true) return refusedHeartbeat(ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const full = group !== undefined && group.members.size >= membersMax && !group.members.has(memberId);
    return full
      ? refusedHeartbeat(
          ErrorCode.GROUP_MAX_SIZE_REACHED,
          `The share group has reached its maximum capacity of ${membersMax} members.`,
        )
      : null;
  }
  if (group === undefined)
    return refusedHeartbeat(ErrorCode.GROUP_ID_NOT_FOUND, `Share group ${groupId} not found.`);
  const member = group.members.get(memberId);
  if (member === undefined)
    return refusedHeartbeat(
      ErrorCode.UNKNOWN_MEMBER_ID,
      `Member ${memberId} is not a member of group ${groupId}.`,
    );
  if (memberEpoch === -1) return null;
  // An answer may have been lost: the epoch before is as good.
  const current = memberEpoch === Math.max(member.epoch, 1) || memberEpoch === member.previousEpoch;
  return current
    ? null
    : refusedHeartbeat(
        ErrorCode.FENCED_MEMBER_EPOCH,
        `The share group member has epoch ${memberEpoch}, which is not the one known by the group coordinator (${member.epoch}). The member must abandon all its partitions and rejoin.`,
      );
}
