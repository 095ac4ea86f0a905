/**
 * How long streams have been on their way: to be let go of by their owner, or to be opened by whoever they were given to. Counted
 * from when this broker first saw it; whoever leads next counts anew. As many entries as there are such streams.
 */
import type { ClusterImage, PartitionImage } from '../metadata/metadata-store.ts';
import { homeOf, isInForce, isMoving } from '../metadata/owners.ts';
import { streamKey } from '../ports/stream-id.ts';

/** Time-outs after which a broker that did not open anything is given something again. */
const idleTimeouts = 10;

interface Way {
  readonly state: PartitionImage['state'];
  readonly target: number;
  /** Broker that is to open it; −1 = one that is to let go of it. */
  readonly opener: number;
  readonly sinceMs: number;
}

export class OnTheWay {
  #ways = new Map<string, Way>();
  /** Streams that are to be let go of, or were closed by one broker for another. */
  #moving = 0;
  /** Since when (ms). */
  readonly #idle = new Map<number, number>();

  /**
   * Brokers that did not open in time what they were given, and nothing since: better given nothing more. After a while they are
   * tried again, since one that is given nothing cannot show that it opens.
   */
  get idle(): ReadonlySet<number> {
    return new Set(this.#idle.keys());
  }

  /** Streams on their way from one broker to another, as last seen. */
  get moving(): number {
    return this.#moving;
  }

  see(image: ClusterImage, nowMs: number): void {
    const ways = new Map<string, Way>();
    this.#moving = 0;
    for (const { partitions } of image.topicsById.values()) {
      for (const partition of partitions) {
        const { state, target, node } = partition;
        const moving = isMoving(partition);
        if (moving) this.#moving++;
        if (!(moving || state !== 'open') || !isInForce(image, homeOf(partition))) continue;
        // Of a lost broker: its log is being brought into objects, which takes as long as it takes.
        if (state === 'open' && !isInForce(image, node)) continue;
        const key = streamKey(partition.topicId, partition.partition);
        const known = this.#ways.get(key);
        const goesOn = known !== undefined && known.state === state && known.target === target;
        const opener = state === 'open' ? -1 : homeOf(partition);
        ways.set(key, goesOn ? known : { state, target, opener, sinceMs: nowMs });
      }
    }
    this.#ways = ways;
  }

  /** Keys of those that have made no progress for so long. */
  overdue(nowMs: number, timeoutMs: number): Set<string> {
    const overdue = new Set<string>();
    for (const [key, { opener, sinceMs }] of this.#ways) {
      if (nowMs - sinceMs < timeoutMs) continue;
      overdue.add(key);
      if (opener >= 0) this.#idle.set(opener, nowMs);
    }
    for (const [node, sinceMs] of this.#idle)
      if (nowMs - sinceMs >= timeoutMs * idleTimeouts) this.#idle.delete(node);
    return overdue;
  }

  /** A broker opened a stream, or began anew. */
  opened(node: number): void {
    this.#idle.delete(node);
  }

  /** Ms until the next of them is overdue; null = none is on its way. */
  nextMs(nowMs: number, timeoutMs: number): number | null {
    let next: number | null = null;
    for (const { sinceMs } of this.#ways.values())
      next = Math.min(next ?? Number.POSITIVE_INFINITY, Math.max(0, sinceMs + timeoutMs - nowMs));
    return next;
  }
}
