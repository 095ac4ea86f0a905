/**
 * What wakes a shard and what it then does: completions of the WALs, and messages of the other shards. Sockets, timers
 * and main's calls come by the event loop itself. test/unit/threads/shard/shard-work.test.ts runs every interleaving of
 * it with a WAL, a peer and main.
 */
import type { LinkPump } from '../link.ts';
import type { LoopWork } from '../memory/waiter.ts';
import type { RingWal } from '../wal/ring-wal.ts';

export class ShardWork implements LoopWork {
  readonly #wals: readonly Pick<RingWal, 'poll' | 'pending'>[];
  readonly #pump: LinkPump;
  readonly #flush: () => void;

  /** @param flush hands on what the turn has appended, sent and answered. */
  constructor(wals: readonly Pick<RingWal, 'poll' | 'pending'>[], pump: LinkPump, flush: () => void) {
    this.#wals = wals;
    this.#pump = pump;
    this.#flush = flush;
  }

  turn(): boolean {
    for (const wal of this.#wals) wal.poll();
    const more = this.#pump.turn();
    this.#flush();
    return more;
  }

  pending(): boolean {
    return this.#wals.some((wal) => wal.pending()) || this.#pump.pending();
  }
}
