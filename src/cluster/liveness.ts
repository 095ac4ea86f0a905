/**
 * What a broker has seen of the others' leases since it began to look, whether it leads or not: so that the one that leads next
 * knows who was there and is not any more. Pure state; as many entries as there are brokers in force.
 *
 *   registered ──(joins)──► alive ──(lease gone)──► lost
 *       └── never seen alive for joinGraceMs ──────► lost
 */
import type { ClusterImage } from '../metadata/metadata-store.ts';

interface Sight {
  readonly epoch: number;
  /** Monotonic ms of when the registration was first seen. */
  readonly sinceMs: number;
  /** Since when it has been alive without a break; null = it is not. */
  aliveSinceMs: number | null;
  wasAlive: boolean;
}

export class Liveness {
  readonly #sights = new Map<number, Sight>();

  /** To be called whenever the image's brokers or the leases in force change. */
  see(image: ClusterImage, alive: ReadonlyMap<number, number>, nowMs: number): void {
    for (const [node, { epoch, state }] of image.brokers) {
      if (state === 'fenced') {
        this.#sights.delete(node);
        continue;
      }
      let sight = this.#sights.get(node);
      if (sight === undefined || sight.epoch !== epoch) {
        sight = { epoch, sinceMs: nowMs, aliveSinceMs: null, wasAlive: false };
        this.#sights.set(node, sight);
      }
      const holds = alive.get(node) === epoch;
      sight.wasAlive ||= holds;
      sight.aliveSinceMs = holds ? (sight.aliveSinceMs ?? nowMs) : null;
    }
  }

  /** Brokers in force, as last seen, that are gone, and why. */
  lost(alive: ReadonlyMap<number, number>, nowMs: number, joinGraceMs: number): Map<number, string> {
    const lost = new Map<number, string>();
    for (const [node, { epoch, sinceMs, aliveSinceMs, wasAlive }] of this.#sights) {
      if (aliveSinceMs !== null) continue;
      const other = alive.get(node);
      // A newer life of it: its registration is on its way into this broker's image.
      if (other !== undefined && other > epoch) continue;
      if (wasAlive) lost.set(node, 'its lease ran out');
      else if (nowMs - sinceMs >= joinGraceMs) lost.set(node, 'it registered and never joined');
    }
    return lost;
  }

  /** Ms until a broker that was never seen alive counts as lost; null = there is none. */
  nextGraceMs(nowMs: number, joinGraceMs: number): number | null {
    let next: number | null = null;
    for (const { sinceMs, wasAlive } of this.#sights.values())
      if (!wasAlive)
        next = Math.min(next ?? Number.POSITIVE_INFINITY, Math.max(0, sinceMs + joinGraceMs - nowMs));
    return next;
  }

  /** Ms that a broker has been alive without a break; −1 = it is not. */
  aliveMs(node: number, nowMs: number): number {
    const since = this.#sights.get(node)?.aliveSinceMs ?? null;
    return since === null ? -1 : nowMs - since;
  }
}
