/** What the group coordinator answers of a group, made from the group alone. */
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { consumerProtocolType } from './consumer-subscription.ts';
import type { Group } from './group.ts';
import type { CommittedOffset, ListedGroup } from './group-api.ts';
import { groupStates } from './group-state.ts';

export function listedGroup({ id: groupId, protocolType, state, consumer, streams }: Group): ListedGroup {
  if (consumer !== null && state !== groupStates.dead)
    return { groupId, protocolType: consumerProtocolType, state: consumer.state, groupType: 'consumer' };
  if (streams !== null && state !== groupStates.dead)
    return { groupId, protocolType: 'streams', state: streams.state, groupType: 'streams' };
  return { groupId, protocolType: protocolType ?? '', state, groupType: 'classic' };
}

export function unstableOffset(topic: string, partition: number): CommittedOffset {
  return { topic, topicId: null, partition, offset: -1, leaderEpoch: -1, metadata: '', unstable: true };
}

/** Offsets of a group with members go only per topic, which only consumers' subscriptions tell. */
export function offsetDeleteProblem(group: Group | undefined): number {
  if (group === undefined || group.state === groupStates.dead) return ErrorCode.GROUP_ID_NOT_FOUND;
  if (group.state === groupStates.empty || group.protocolType === consumerProtocolType) return ErrorCode.NONE;
  return ErrorCode.NON_EMPTY_GROUP;
}
