/**
 * CONTRACT of a cluster's membership: which brokers are alive, and which of them leads (design §7, §8). Liveness only: who
 * may write is decided by the commits of the metadata and by the fences of the WALs, so a view that is out of date delays
 * what it would cause and harms nothing. Main thread.
 *
 *   join ──► lease granted ──► alive/<node> = epoch, under the lease ──► kept alive ──► leave: keys and lease go
 *                 ▲                    controller, if there is none          │
 *                 └──────────── lease lost: granted anew, same epoch ◄───────┘
 */
export interface Membership {
  /**
   * Makes this broker known as alive under the epoch of its registration, and lets it stand for leader. Resolves once it is in
   * `alive`; rejects with MEMBERSHIP_SUPERSEDED (fenced) when the node is alive under a higher epoch. Once.
   */
  join(node: number, epoch: number): Promise<void>;
  /** Nodes whose lease is in force as last seen → registration epoch. */
  readonly alive: ReadonlyMap<number, number>;
  readonly leader: { readonly node: number; readonly epoch: number } | null;
  /** Boottime ms up to which this broker's own lease surely is in force; −∞ before the first. */
  readonly validUntil: number;
  /**
   * Boottime ms as of which `alive` and `leader` were known to be right: what happened since may not have been told. Moves on
   * with every answer; stands still while the authority does not answer.
   */
  readonly seenAt: number;
  /** Told after alive or leader changed, and when this broker's lease is found to be gone. */
  watch(listener: () => void): () => void;
  /** Gives up leadership and lease; resolves also when the authority does not answer: then the lease runs out. */
  leave(): Promise<void>;
}
