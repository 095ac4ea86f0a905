/**
 * The assignor "simple" of share groups (KIP-932): every partition of a topic has at least one of the topic's subscribers, every
 * subscriber at least one partition, and both are shared out evenly. Partitions need not be revoked before another member has
 * them, so what was before does not matter: the result follows from members and partitions alone. Pure.
 */

export interface AssignedTopic {
  readonly topicId: string;
  readonly partitions: readonly number[];
  /** Member ids, ascending. */
  readonly subscribers: readonly string[];
}

export type Assignment = ReadonlyMap<string, ReadonlyMap<string, readonly number[]>>;

/** By member and topic id, ascending partitions. */
export function assignSimply(topics: readonly AssignedTopic[]): Assignment {
  const assignment = new Map<string, Map<string, number[]>>();
  // Where one topic ended the next one begins, so that small topics do not all go to the first members.
  let begin = 0;
  for (const { topicId, partitions, subscribers } of topics) {
    if (partitions.length === 0 || subscribers.length === 0) continue;
    const pairs = Math.max(partitions.length, subscribers.length);
    for (let i = 0; i < pairs; i++) {
      const member = subscribers[(begin + i) % subscribers.length]!;
      const partition = partitions[i % partitions.length]!;
      let parts = assignment.get(member);
      if (parts === undefined) {
        parts = new Map();
        assignment.set(member, parts);
      }
      const list = parts.get(topicId);
      if (list === undefined) parts.set(topicId, [partition]);
      else if (!list.includes(partition)) list.push(partition);
    }
    begin += pairs;
  }
  for (const parts of assignment.values()) for (const list of parts.values()) list.sort((a, b) => a - b);
  return assignment;
}
