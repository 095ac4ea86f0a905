/** When committed offsets may go (KIP-211). Pure. */
import type { Group } from './group.ts';
import { groupStates } from './group-state.ts';

/**
 * Wall-clock time at which an offset may go (KIP-211): of an empty classic group, counted from when it emptied; of a group
 * that consumes, only what it does not subscribe to, from its commit; of others from its commit.
 */
export function expiryOf(
  group: Group,
  entry: { readonly topic: string; readonly commitTimestamp: number; readonly expireTimestamp: number },
  retentionMs: number,
): number {
  let base: number;
  if ((group.consumer ?? group.streams)?.isSubscribed(entry.topic) === true) return Number.POSITIVE_INFINITY;
  if (group.protocolType === null) base = entry.commitTimestamp;
  else if (group.state === groupStates.empty) base = Math.max(group.stateTimestamp, entry.commitTimestamp);
  else if (group.state === groupStates.stable && !group.isSubscribed(entry.topic))
    base = entry.commitTimestamp;
  else return Number.POSITIVE_INFINITY;
  return entry.expireTimestamp === -1 ? base + retentionMs : entry.expireTimestamp;
}
