/**
 * The range assignor: every subscriber of a topic gets an equal share of its partitions, and partitions of the same number
 * go to the same member in all topics that have the same subscribers and partition count, so that they can be joined.
 * Of its present target a member keeps what that allows.
 */
import type { Assignment } from './assignment.ts';
import type { AssignorMember, PartitionCount } from './assignor.ts';

/** Topics that are split alike. */
interface Bundle {
  readonly subscribers: readonly AssignorMember[];
  readonly partitions: number;
  readonly topicIds: string[];
}

export function assignRanges(
  members: readonly AssignorMember[],
  partitionsOf: PartitionCount,
): Map<string, Assignment> {
  const given = new Map<string, Map<string, readonly number[]>>(members.map(({ id }) => [id, new Map()]));
  for (const bundle of bundlesOf(members, partitionsOf)) {
    for (const [id, partitions] of split(bundle)) {
      if (partitions.length === 0) continue;
      for (const topicId of bundle.topicIds) given.get(id)!.set(topicId, partitions);
    }
  }
  return given;
}

function bundlesOf(members: readonly AssignorMember[], partitionsOf: PartitionCount): Iterable<Bundle> {
  const subscribersOf = new Map<string, number[]>();
  for (const [i, { topicIds }] of members.entries()) {
    for (const topicId of topicIds) {
      const subscribers = subscribersOf.get(topicId);
      if (subscribers === undefined) subscribersOf.set(topicId, [i]);
      else subscribers.push(i);
    }
  }
  const bundles = new Map<string, Bundle>();
  for (const [topicId, subscribers] of subscribersOf) {
    const partitions = partitionsOf(topicId);
    // A list of everybody is the common case, and long.
    const who = subscribers.length === members.length ? 'all' : subscribers.join();
    const key = `${partitions}:${who}`;
    let bundle = bundles.get(key);
    if (bundle === undefined) {
      bundle = { subscribers: subscribers.map((i) => members[i]!), partitions, topicIds: [] };
      bundles.set(key, bundle);
    }
    bundle.topicIds.push(topicId);
  }
  return bundles.values();
}

/** Partition numbers by member id, ascending. */
function split({ subscribers, partitions, topicIds }: Bundle): Map<string, number[]> {
  const least = Math.floor(partitions / subscribers.length);
  let extras = partitions % subscribers.length;
  const taken = new Uint8Array(partitions);
  const held = new Map<AssignorMember, readonly number[]>();
  // Topics of a bundle that were split before were split alike; one that is new in it tells nothing.
  const model = [...topicIds].sort().find((topicId) => subscribers.some(({ target }) => target.has(topicId)));
  for (const member of subscribers) {
    const before = model === undefined ? undefined : member.target.get(model);
    held.set(member, before?.filter((partition) => partition < partitions) ?? []);
  }
  const quotas = new Map<AssignorMember, number>();
  const byHeld = [...subscribers].sort((a, b) => held.get(b)!.length - held.get(a)!.length);
  for (const member of byHeld) {
    quotas.set(member, extras > 0 ? least + 1 : least);
    if (extras > 0) extras--;
  }
  const result = new Map<string, number[]>();
  for (const member of subscribers) {
    const kept: number[] = [];
    for (const partition of held.get(member)!) {
      if (kept.length >= quotas.get(member)! || taken[partition] === 1) continue;
      taken[partition] = 1;
      kept.push(partition);
    }
    result.set(member.id, kept);
  }
  let next = 0;
  for (const member of subscribers) {
    const mine = result.get(member.id)!;
    const more = quotas.get(member)! - mine.length;
    for (let i = 0; i < more; i++) {
      while (taken[next] === 1) next++;
      taken[next] = 1;
      mine.push(next);
    }
    mine.sort((a, b) => a - b);
  }
  return result;
}
