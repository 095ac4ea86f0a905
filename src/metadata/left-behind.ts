/** What a broker that is to be forgotten would leave behind. Pure. */
import type { ClusterImage, PartitionImage } from './metadata-store.ts';

/** As the entry so far leaves them. */
export interface LeftFacts {
  log(logId: string): { readonly node: number; readonly state: string } | null;
  topic(topicId: string): unknown;
}

/**
 * A fenced broker is given nothing more, so what the image says can only have become less. Null = nothing is left.
 * O(logs and partitions).
 */
export function leftBehind(image: ClusterImage, facts: LeftFacts, node: number): string | null {
  for (const logId of image.wals.keys()) {
    const log = facts.log(logId);
    if (log?.node === node && log.state === 'open') return `WAL ${logId} of broker ${node} is open`;
  }
  for (const { name, topicId, partitions } of image.topicsById.values()) {
    if (facts.topic(topicId) === null) continue;
    const left = partitions.find((partition) => belongsTo(partition, node));
    if (left !== undefined) return `${name}-${left.partition} belongs to broker ${node}`;
  }
  return null;
}

/** Whether the stream is the broker's, or was and is nobody else's yet. */
function belongsTo({ state, node, target }: PartitionImage, broker: number): boolean {
  return target === broker || (node === broker && (target < 0 || state === 'open'));
}
