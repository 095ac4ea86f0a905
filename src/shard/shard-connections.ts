/**
 * The connections of one shard: opened, fed when memory has come back, counted, and ended. Owned by the shard. Bound:
 * `connectionsMax`; beyond it a connection is closed at once.
 */
import { Connection, type ConnectionOwner, type Peer } from '../net/connection.ts';
import type { Transport } from '../net/transport.ts';
import type { Logger } from '../ports/logger.ts';
import type { ShardCounters } from './shard-counters.ts';

export interface ShardConnectionsDeps
  extends Pick<ConnectionOwner, 'pool' | 'handler' | 'clock' | 'settings'> {
  /** Of this shard, and of the broker: ids are unique in the process. */
  readonly index: number;
  readonly shards: number;
  readonly connectionsMax: number;
  readonly logger: Logger;
  readonly counters: ShardCounters;
  /** A turn of a socket has brought what it had. */
  readonly delivered: () => void;
  /** A connection has ended. */
  readonly closed: (connectionId: number) => void;
  /** Frees so many segments of the arena, if it can. */
  readonly reclaim: (segments: number) => void;
}

export class ShardConnections {
  readonly #deps: ShardConnectionsDeps;
  readonly #connections = new Map<number, Connection>();
  readonly #starved = new Set<Connection>();
  #next: number;
  #draining: (() => void) | null = null;
  #feeding = false;

  constructor(deps: ShardConnectionsDeps) {
    this.#deps = deps;
    this.#next = deps.index;
  }

  get count(): number {
    return this.#connections.size;
  }

  /** Connections that wait for memory. */
  get starvedCount(): number {
    return this.#starved.size;
  }

  /** Registers a connection over a transport; it is closed at once where there are too many. */
  accept(peer: Peer, transport: Transport): Connection {
    const id = this.#next;
    this.#next += this.#deps.shards;
    const connection = new Connection(id, peer, transport, {
      pool: this.#deps.pool,
      handler: this.#deps.handler,
      clock: this.#deps.clock,
      settings: this.#deps.settings,
      onStarved: (starved) => this.#onStarved(starved),
      onDelivered: this.#deps.delivered,
      onClosed: (closed, reason, notable) => this.#onClosed(closed, reason, notable),
    });
    this.#connections.set(id, connection);
    this.#deps.counters.connectionsOpened++;
    if (this.#connections.size > this.#deps.connectionsMax) connection.close('too many connections');
    return connection;
  }

  #onStarved(connection: Connection): void {
    this.#starved.add(connection);
    this.#scheduleFeed();
  }

  #onClosed(connection: Connection, reason: string, notable: boolean): void {
    this.#connections.delete(connection.id);
    this.#starved.delete(connection);
    this.#deps.closed(connection.id);
    connection.peer.gone?.();
    this.#deps.counters.connectionsClosed++;
    const { host, listener, principal } = connection.peer;
    const fields = { connection: connection.id, host, listener, principal, reason };
    if (notable) this.#deps.logger.warn('a connection was closed', fields);
    else this.#deps.logger.debug('connection closed', fields);
    if (this.#connections.size === 0) this.#draining?.();
  }

  /** Memory comes back with uploads and finished sends, neither of which is announced: look again soon. */
  #scheduleFeed(): void {
    if (this.#feeding) return;
    this.#feeding = true;
    this.#deps.clock.after(5, () => {
      this.#feeding = false;
      if (this.#starved.size === 0) return;
      this.#deps.reclaim(2);
      const waiting = [...this.#starved];
      this.#starved.clear();
      for (const connection of waiting) connection.feed();
    });
  }

  /** Memory has come back. */
  feed(): void {
    if (this.#starved.size > 0) this.#scheduleFeed();
  }

  /** Ends every connection once its answers are out, at most after `timeoutMs`; resolves when none is left. */
  async drain(timeoutMs: number): Promise<void> {
    for (const connection of [...this.#connections.values()]) connection.leave();
    if (this.#connections.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.#deps.clock.after(timeoutMs, () => {
        for (const connection of [...this.#connections.values()]) connection.close('the broker stops');
        resolve();
      });
      this.#draining = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}
