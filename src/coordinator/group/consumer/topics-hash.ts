/**
 * Hash of the topics that a group subscribes to, as they are now: it changes when one of them comes, goes, is made anew or
 * grows, and then the group needs new targets. Kept in the group's record, so that what changed while nobody coordinated
 * the group is found. Private to this broker: Kafka's hash also covers racks of replicas, of which there are none here.
 */
import { fnv1a } from '../../../ports/fnv1a.ts';
import type { GroupTopics } from '../group-services.ts';

/** 48 bits, the same for the same topics in whatever order; 0 = none of them exists. */
export function topicsHash(names: Iterable<string>, topics: GroupTopics): number {
  let high = 0;
  let low = 0;
  for (const name of names) {
    const id = topics.idOf(name);
    if (id === null) continue;
    const text = `${id}:${topics.partitionCount(id)}`;
    // A sum does not depend on the order.
    high = (high + hash24(text)) & 0xffffff;
    low = (low + hash24(text, 0x1b873593)) & 0xffffff;
  }
  return high * 0x1000000 + low;
}

/** FNV-1a, folded to 24 bits. */
function hash24(text: string, start?: number): number {
  let hash = fnv1a(text, start);
  hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d);
  return (hash ^ (hash >>> 13)) & 0xffffff;
}
