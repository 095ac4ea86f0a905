/**
 * A shard with its sockets: opens accepted descriptors or sockets as plain or TLS connections. Shard thread.
 */
import type net from 'node:net';
import type { CollectedDelta, StreamName } from '../log/delta-collection.ts';
import type { OpenPartition } from '../log/log-manager.ts';
import type { MetadataChange } from '../metadata/metadata-store.ts';
import { anonymous, type Connection, type Peer } from '../net/connection.ts';
import { LoopSockets, type SocketCalls } from '../net/loop-sockets.ts';
import { openAccepted, openPlain, rawSocket } from '../net/socket-transport.ts';
import {
  type Handshake,
  openTls,
  secureContext,
  type TlsMaterial,
  type TlsSettings,
} from '../net/tls-handshake.ts';
import type { Transport } from '../net/transport.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { Logger } from '../ports/logger.ts';
import type { StreamState } from '../stream/objects/objects.ts';
import { AddressCounts } from '../threads/memory/address-counts.ts';
import type { Shard } from './shard.ts';
import type {
  IncomingConnection,
  RestoredBatches,
  ShardApi,
  ShardNumbers,
  ShardTraffic,
  StreamEnd,
} from './shard-api.ts';

const handshakeTimeoutMs = 10_000;

export class ShardHost implements ShardApi {
  readonly shard: Shard;
  private readonly logger: Logger;
  private readonly tls: TlsSettings | null;
  private readonly tlsListeners: ReadonlySet<string>;
  /** Sockets on their way to be connections. */
  private readonly handshakes = new Set<Handshake>();
  private leaving = false;
  /** Where plain connections by descriptor go; null: to Node's sockets. */
  private readonly sockets: LoopSockets | null;
  /** Where connections are counted by their address; null where they are not. */
  private readonly addresses: AddressCounts | null;

  /** @param native has plain connections received and answered by the addon's socket loop; null: by Node's sockets. */
  constructor(
    shard: Shard,
    material: TlsMaterial | null,
    tlsListeners: readonly string[],
    logger: Logger,
    native: SocketCalls | null,
    addresses: SharedArrayBuffer | null,
  ) {
    this.shard = shard;
    this.addresses = addresses === null ? null : new AddressCounts(addresses);
    this.logger = logger;
    this.sockets = native === null ? null : this.openLoop(native);
    this.tlsListeners = new Set(tlsListeners);
    this.tls =
      material === null
        ? null
        : {
            context: secureContext(material),
            clientAuth: material.clientAuth,
            handshakeTimeoutMs,
            clock: shard.clock,
          };
  }

  connect({ fd, host, listener, slot }: IncomingConnection): void {
    const from = this.counted({ host, listener }, slot);
    if (this.leaving) refuse(rawSocket(fd), from);
    else if (this.tlsListeners.has(listener)) this.secure(rawSocket(fd), from);
    else this.openPlain(fd, { ...from, principal: anonymous });
  }

  private counted(from: { readonly host: string; readonly listener: string }, slot: number): Incoming {
    const { addresses } = this;
    return addresses === null || slot < 0 ? from : { ...from, gone: () => addresses.ended(slot) };
  }

  /** Without the loop the shard works all the same. */
  private openLoop(native: SocketCalls): LoopSockets | null {
    try {
      const { pool, clock } = this.shard;
      return new LoopSockets(native, pool, clock, this.shard);
    } catch (error) {
      this.logger.warn('plain connections are served without the native socket loop', {
        error: String(error),
      });
      return null;
    }
  }

  /** Runs something that may complete many requests: their answers leave together when it ends. */
  turn<Result>(work: () => Result): Result {
    return this.sockets === null ? work() : this.sockets.turn(work);
  }

  private openPlain(fd: number, peer: Peer): void {
    if (this.sockets === null) {
      openPlain(fd, peer, this.accept);
      return;
    }
    try {
      this.sockets.open(fd, peer, this.accept);
    } catch (error) {
      this.logger.warn('a connection could not be taken', { host: peer.host, error: String(error) });
      refuse(rawSocket(fd), peer);
    }
  }

  /** A socket that a JavaScript server accepted in this thread. */
  connectSocket(socket: net.Socket, listener: string, slot: number): void {
    const from = this.counted({ host: hostText(socket.remoteAddress), listener }, slot);
    if (this.leaving) refuse(socket, from);
    else if (this.tlsListeners.has(listener)) this.secure(socket, from);
    else openAccepted(socket, { ...from, principal: anonymous }, this.accept);
  }

  private readonly accept = (peer: Peer, transport: Transport): Connection =>
    this.shard.accept(peer, transport);

  private secure(socket: net.Socket, from: Incoming): void {
    // A client that stops in the middle of a handshake has a connection as much as any other.
    if (this.shard.connections.count + this.handshakes.size >= this.shard.settings.connectionsMax) {
      refuse(
        socket.on('error', () => {}),
        from,
      );
      return;
    }
    const handshake = openTls(socket, from, this.tls!, this.accept, {
      onOver: (over, admitted) => {
        this.handshakes.delete(over);
        if (!admitted) from.gone?.();
      },
      onFailed: (reason) => this.logger.info('a TLS handshake failed', { host: from.host, reason }),
    });
    this.handshakes.add(handshake);
  }

  stagePartitions(partitions: readonly OpenPartition[]): void {
    this.shard.stagePartitions(partitions);
  }

  unstage(streams: readonly StreamName[]): void {
    this.shard.unstage(streams);
  }

  beginClose(streams: readonly StreamName[]): Promise<void> {
    return this.shard.beginClose(streams);
  }

  cancelClose(streams: readonly StreamName[]): void {
    this.shard.cancelClose(streams);
  }

  restore(batches: RestoredBatches): void {
    this.shard.restore(batches);
  }

  ends(): StreamEnd[] {
    return this.shard.ends();
  }

  beginServing(): void {
    this.shard.beginServing();
  }

  applyChanges(revision: number, changes: readonly MetadataChange[]): void {
    this.shard.applyChanges(revision, changes);
  }

  collect(volume: number, commit: number, named: readonly StreamName[]): CollectedDelta {
    return this.shard.collect(volume, commit, named);
  }

  collectMore(volume: number): CollectedDelta {
    return this.shard.collectMore(volume);
  }

  uploaded(volume: number, end: number): void {
    this.shard.uploaded(volume, end);
  }

  evictUploaded(): void {
    this.shard.evictUploaded();
  }

  states(streams: readonly StreamName[]): StreamState[] {
    return this.shard.states(streams);
  }

  metrics(): ShardNumbers {
    return { ...this.shard.metrics(), loopConnections: this.sockets?.connectionCount ?? 0 };
  }

  takeTraffic(): ShardTraffic {
    return this.shard.takeTraffic();
  }

  snapshot(): MetricsSnapshot {
    return this.shard.snapshot();
  }

  maintain(): void {
    this.shard.maintain();
  }

  async drain(timeoutMs: number): Promise<void> {
    this.leaving = true;
    for (const handshake of [...this.handshakes]) handshake.abort();
    await this.shard.drain(timeoutMs);
    this.sockets?.end();
  }

  quiesce(): Promise<void> {
    return this.shard.quiesce();
  }
}

/** A connection that is on its way to be one. */
type Incoming = Omit<Peer, 'principal'>;

function refuse(socket: net.Socket, from: Incoming): void {
  socket.destroy();
  from.gone?.();
}

/** An IPv4 client of an IPv6 socket is shown as the IPv4 address it has. */
function hostText(remote: string | undefined): string {
  return `/${(remote ?? 'unknown').replace(/^::ffff:(?=\d+\.)/i, '')}`;
}
