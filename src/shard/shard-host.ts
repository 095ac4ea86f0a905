/**
 * A shard with its sockets: opens accepted descriptors or sockets as plain or TLS connections. Shard thread.
 */
import type net from 'node:net';
import tls from 'node:tls';
import type { CollectedDelta, OpenPartition } from '../log/log-manager.ts';
import type { MetadataChange } from '../metadata/metadata-store.ts';
import { openAccepted, openPlain, openTls, rawSocket } from '../net/socket-transport.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { Logger } from '../ports/logger.ts';
import type { StreamState } from '../stream/objects/objects.ts';
import type { Shard } from './shard.ts';
import type { IncomingConnection, RestoredBatches, ShardApi, StreamEnd, StreamName } from './shard-api.ts';

/** PEM texts; structured-cloneable. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | null;
  readonly clientAuth: 'none' | 'requested' | 'required';
}

/** Throws for PEM texts that are none, or that do not fit each other. */
export function secureContext(material: TlsMaterial): tls.SecureContext {
  return tls.createSecureContext({
    cert: material.cert,
    key: material.key,
    ...(material.ca === null ? {} : { ca: material.ca }),
    minVersion: 'TLSv1.2',
  });
}

const handshakeTimeoutMs = 10_000;

export class ShardHost implements ShardApi {
  readonly shard: Shard;
  private readonly logger: Logger;
  private readonly tls: {
    readonly context: tls.SecureContext;
    readonly clientAuth: TlsMaterial['clientAuth'];
  } | null;
  private readonly tlsListeners: ReadonlySet<string>;

  constructor(shard: Shard, material: TlsMaterial | null, tlsListeners: readonly string[], logger: Logger) {
    this.shard = shard;
    this.logger = logger;
    this.tlsListeners = new Set(tlsListeners);
    this.tls =
      material === null
        ? null
        : {
            context: secureContext(material),
            clientAuth: material.clientAuth,
          };
  }

  connect({ fd, host, listener }: IncomingConnection): void {
    if (this.tlsListeners.has(listener)) this.secure(rawSocket(fd), host, listener);
    else openPlain(fd, host, (peer, transport) => this.shard.accept(peer, listener, transport));
  }

  /** A socket that a JavaScript server accepted in this thread. */
  connectSocket(socket: net.Socket, listener: string): void {
    const host = `/${socket.remoteAddress ?? 'unknown'}`;
    if (this.tlsListeners.has(listener)) this.secure(socket, host, listener);
    else openAccepted(socket, host, (peer, transport) => this.shard.accept(peer, listener, transport));
  }

  private secure(socket: net.Socket, host: string, listener: string): void {
    openTls(
      socket,
      host,
      { context: this.tls!.context, clientAuth: this.tls!.clientAuth, handshakeTimeoutMs },
      (peer, transport) => this.shard.accept(peer, listener, transport),
      (reason) => this.logger.info('a TLS handshake failed', { host, reason }),
    );
  }

  openPartitions(partitions: readonly OpenPartition[]): void {
    this.shard.openPartitions(partitions);
  }

  restore(batches: RestoredBatches): number {
    return this.shard.restore(batches);
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

  collect(volume: number, commit: number, withStates: boolean): CollectedDelta {
    return this.shard.collect(volume, commit, withStates);
  }

  uploaded(volume: number, end: number): void {
    this.shard.uploaded(volume, end);
  }

  states(streams: readonly StreamName[]): StreamState[] {
    return this.shard.states(streams);
  }

  metrics(): Readonly<Record<string, number>> {
    return this.shard.metrics();
  }

  snapshot(): MetricsSnapshot {
    return this.shard.snapshot();
  }

  maintain(): void {
    this.shard.maintain();
  }

  drain(timeoutMs: number): Promise<void> {
    return this.shard.drain(timeoutMs);
  }

  quiesce(): Promise<void> {
    return this.shard.quiesce();
  }
}
