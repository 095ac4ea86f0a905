/**
 * The uniform assignor: members hold numbers of partitions as equal as their subscriptions allow, and keep of their
 * present target what that allows.
 *
 * With equal subscriptions no two members differ by more than one partition, and no assignment of that evenness moves
 * fewer. With different ones no single partition could move to a subscriber of its topic and make things more even.
 */
import type { Assignment } from './assignment.ts';
import type { AssignorMember, PartitionCount } from './assignor.ts';

interface Share {
  readonly member: AssignorMember;
  readonly topics: Map<string, number[]>;
  size: number;
}

/** Subscribers of one topic. */
interface Topic {
  readonly topicId: string;
  readonly subscribers: Share[];
}

export function assignUniformly(
  members: readonly AssignorMember[],
  partitionsOf: PartitionCount,
): Map<string, Assignment> {
  const shares = members.map((member): Share => ({ member, topics: new Map(), size: 0 }));
  const topics = topicsOf(shares);
  const first = members[0]?.topicIds;
  const equal = topics.every(({ subscribers }) => subscribers.length === members.length);
  if (first !== undefined && equal) assignEqually(shares, topics, partitionsOf);
  else assignUnequally(shares, topics, partitionsOf);
  return new Map(shares.map(({ member, topics: given }) => [member.id, sorted(given)]));
}

/** Topics by the number of their subscribers, those with the least choice first. */
function topicsOf(shares: readonly Share[]): Topic[] {
  const topics = new Map<string, Topic>();
  for (const share of shares) {
    for (const topicId of share.member.topicIds) {
      let topic = topics.get(topicId);
      if (topic === undefined) {
        topic = { topicId, subscribers: [] };
        topics.set(topicId, topic);
      }
      topic.subscribers.push(share);
    }
  }
  return [...topics.values()].sort(
    (a, b) => a.subscribers.length - b.subscribers.length || (a.topicId < b.topicId ? -1 : 1),
  );
}

function sorted(topics: ReadonlyMap<string, number[]>): Assignment {
  const assignment = new Map<string, readonly number[]>();
  for (const [topicId, partitions] of topics)
    if (partitions.length > 0)
      assignment.set(
        topicId,
        partitions.sort((a, b) => a - b),
      );
  return assignment;
}

function give(share: Share, topicId: string, partition: number): void {
  const partitions = share.topics.get(topicId);
  if (partitions === undefined) share.topics.set(topicId, [partition]);
  else partitions.push(partition);
  share.size++;
}

/** Partitions of the member's target that it may keep at all. */
function* keepable(
  share: Share,
  subscribed: ReadonlySet<string>,
  partitionsOf: PartitionCount,
): Generator<[string, number]> {
  for (const [topicId, partitions] of share.member.target) {
    if (!subscribed.has(topicId)) continue;
    const count = partitionsOf(topicId);
    for (const partition of partitions) if (partition < count) yield [topicId, partition];
  }
}

class Taken {
  readonly #topics = new Map<string, Uint8Array>();

  constructor(topics: readonly Topic[], partitionsOf: PartitionCount) {
    for (const { topicId } of topics) this.#topics.set(topicId, new Uint8Array(partitionsOf(topicId)));
  }

  /** False when somebody has it. */
  take(topicId: string, partition: number): boolean {
    const marks = this.#topics.get(topicId)!;
    if (marks[partition] === 1) return false;
    marks[partition] = 1;
    return true;
  }

  *free(topicId: string): Generator<number> {
    for (const [partition, mark] of this.#topics.get(topicId)!.entries()) if (mark === 0) yield partition;
  }
}

function assignEqually(shares: Share[], topics: readonly Topic[], partitionsOf: PartitionCount): void {
  const subscribed = new Set(topics.map(({ topicId }) => topicId));
  const taken = new Taken(topics, partitionsOf);
  let total = 0;
  for (const { topicId } of topics) total += partitionsOf(topicId);
  const least = Math.floor(total / shares.length);
  let extras = total % shares.length;
  // Who has most keeps most: an extra partition goes to those that have one already.
  const held = new Map(shares.map((share) => [share, [...keepable(share, subscribed, partitionsOf)]]));
  const byHeld = [...shares].sort((a, b) => held.get(b)!.length - held.get(a)!.length);
  const quotas = new Map<Share, number>();
  for (const share of byHeld) {
    quotas.set(share, extras > 0 ? least + 1 : least);
    if (extras > 0) extras--;
  }
  for (const share of shares) {
    const quota = quotas.get(share)!;
    for (const [topicId, partition] of held.get(share)!)
      if (share.size < quota && taken.take(topicId, partition)) give(share, topicId, partition);
  }
  let next = 0;
  for (const { topicId } of topics) {
    for (const partition of taken.free(topicId)) {
      while (shares[next]!.size >= quotas.get(shares[next]!)!) next++;
      give(shares[next]!, topicId, partition);
    }
  }
}

function assignUnequally(shares: Share[], topics: readonly Topic[], partitionsOf: PartitionCount): void {
  const taken = new Taken(topics, partitionsOf);
  for (const share of shares) {
    const subscribed = new Set(share.member.topicIds);
    for (const [topicId, partition] of keepable(share, subscribed, partitionsOf))
      if (taken.take(topicId, partition)) give(share, topicId, partition);
  }
  for (const { topicId, subscribers } of topics)
    for (const partition of taken.free(topicId)) give(smallest(subscribers), topicId, partition);
  // Each move makes the sum of the squared sizes smaller, so this ends.
  for (let moved = true; moved; ) {
    moved = false;
    for (const topic of topics) while (evenOut(topic)) moved = true;
  }
}

function smallest(subscribers: readonly Share[]): Share {
  let least = subscribers[0]!;
  for (const share of subscribers) if (share.size < least.size) least = share;
  return least;
}

/** Moves one partition of the topic from the largest share that has one to the smallest, if that evens them out. */
function evenOut({ topicId, subscribers }: Topic): boolean {
  const to = smallest(subscribers);
  let from: Share | null = null;
  for (const share of subscribers) {
    const has = (share.topics.get(topicId)?.length ?? 0) > 0;
    if (has && (from === null || share.size > from.size)) from = share;
  }
  if (from === null || from.size - to.size < 2) return false;
  const partition = from.topics.get(topicId)!.pop()!;
  from.size--;
  give(to, topicId, partition);
  return true;
}
